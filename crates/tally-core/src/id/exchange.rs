//! Exchange ids and salts: 128 bits from outside.

use std::fmt;
use std::str::FromStr;

/// One exchange: 128 bits, drawn by the requester's agent. Prints as 26 characters of Crockford's
/// base 32, as a ULID does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub [u8; 16]);

/// 128 random bits given in from outside: no two leaves of a member are equal, and none can be
/// guessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt16(pub [u8; 16]);

/// The text is no exchange id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an exchange id: expected 26 characters of Crockford's base 32, the first at most 7")]
pub struct BadExchangeId;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        (0..26).rev().try_for_each(|place| {
            let digit = usize::try_from((bits >> (place * 5)) & 31).map_err(|_| fmt::Error)?;
            let character = ALPHABET.get(digit).ok_or(fmt::Error)?;
            write!(f, "{}", char::from(*character))
        })
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Salt16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt16(…)")
    }
}

impl FromStr for ExchangeId {
    type Err = BadExchangeId;

    fn from_str(text: &str) -> Result<Self, BadExchangeId> {
        if text.len() != 26 || !text.starts_with(|first: char| ('0'..='7').contains(&first)) {
            return Err(BadExchangeId);
        }
        let mut bits = 0_u128;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|known| *known == byte).ok_or(BadExchangeId)?;
            bits = (bits << 5) | u128::try_from(digit).map_err(|_| BadExchangeId)?;
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_id_prints_and_parses() {
        let known = ExchangeId([0xff; 16]);
        assert_eq!(known.to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        let id = ExchangeId(*b"one exchange id!");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "7ZZZZZZZZZZZZZZZZZZZZZZZZ",
            "7zzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert_eq!(bad.parse::<ExchangeId>(), Err(BadExchangeId), "{bad:?}");
        }
    }
}
