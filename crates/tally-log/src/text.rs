//! The few encodings that all C2SP texts share. Invariant: one value has one text, so what parses
//! prints as it was read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;

/// Base64 with padding (RFC 4648 §4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64, the canonical form only (RFC 4648 §3.5): no stray bits, no missing padding.
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A hash in base64: 44 characters.
pub(crate) fn hash_text(hash: &Hash) -> String {
    base64(hash.as_bytes())
}

/// Reads a hash in base64.
pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    Hash::try_from(parse_base64(text)?.as_slice()).ok()
}

/// Reads a plain decimal: no sign, no leading zeros, no empty text.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_text() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for other in ["", "+1", "-1", "01", "00", " 1", "1 ", "1_0", "18446744073709551616"] {
            assert_eq!(parse_decimal(other), None, "{other:?}");
        }
    }

    #[test]
    fn bytes_have_one_text() {
        assert_eq!(parse_base64("TWE="), Some(b"Ma".to_vec()));
        for other in ["TWE", "TWF=", "TWE==", "TWE=\n", "TW E=", "TW-_"] {
            assert_eq!(parse_base64(other), None, "{other:?}");
        }
    }
}
