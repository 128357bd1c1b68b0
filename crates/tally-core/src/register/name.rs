//! Names of registers: `member/RZ9`, `agreement/DSA-1`, `consent/RZ9/0`, `group/x`, `protocol`,
//! `witnesses`.

use std::fmt;
use std::str::FromStr;

use crate::id::{AgreementId, GroupId, MemberId};

/// Consent registers of one custodian at most.
pub const CONSENT_REGISTERS_MAX: u16 = 256;

/// A register's name. Orders as kinds stand here, then by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterName {
    /// A member of the mesh.
    Member(MemberId),
    /// An agreement.
    Agreement(AgreementId),
    /// One of a custodian's consent registers, 0 to 255.
    Consent(MemberId, u8),
    /// A group of members.
    Group(GroupId),
    /// The version of the rules.
    Protocol,
    /// Who cosigns checkpoints.
    Witnesses,
}

/// A register at a version: one fact of a read set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisterRef {
    /// Which register.
    pub name: RegisterName,
    /// At which version, from 1.
    pub version: u64,
}

/// The text names no register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a register's name: expected member/ID, agreement/ID, consent/ID/N, group/ID, protocol or witnesses"
)]
pub struct BadRegisterName;

impl fmt::Display for RegisterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => write!(f, "member/{id}"),
            Self::Agreement(id) => write!(f, "agreement/{id}"),
            Self::Consent(id, number) => write!(f, "consent/{id}/{number}"),
            Self::Group(id) => write!(f, "group/{id}"),
            Self::Protocol => f.write_str("protocol"),
            Self::Witnesses => f.write_str("witnesses"),
        }
    }
}

impl FromStr for RegisterName {
    type Err = BadRegisterName;

    fn from_str(text: &str) -> Result<Self, BadRegisterName> {
        let bad = |_| BadRegisterName;
        Ok(match text.split_once('/') {
            None if text == "protocol" => Self::Protocol,
            None if text == "witnesses" => Self::Witnesses,
            Some(("member", id)) => Self::Member(id.parse().map_err(bad)?),
            Some(("agreement", id)) => Self::Agreement(id.parse().map_err(bad)?),
            Some(("group", id)) => Self::Group(id.parse().map_err(bad)?),
            Some(("consent", rest)) => {
                let (id, number) = rest.split_once('/').ok_or(BadRegisterName)?;
                Self::Consent(id.parse().map_err(bad)?, parse_number(number)?)
            }
            _ => return Err(BadRegisterName),
        })
    }
}

/// The one text that a number has: "consent/RZ9/007" and "consent/RZ9/+7" are no names.
fn parse_number(text: &str) -> Result<u8, BadRegisterName> {
    let padded = text.starts_with(['+', '0']) && text != "0";
    if padded { Err(BadRegisterName) } else { text.parse().map_err(|_| BadRegisterName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_text() {
        let names = [
            "member/RZ9",
            "agreement/DSA-1",
            "consent/RZ9/255",
            "group/x",
            "protocol",
            "witnesses",
        ];
        for text in names {
            assert_eq!(text.parse::<RegisterName>().unwrap().to_string(), text);
        }
        for bad in [
            "consent/RZ9/256",
            "consent/RZ9/07",
            "consent/RZ9/+7",
            "consent/RZ9/00",
            "consent/RZ9/",
            "consent/RZ9",
            "x",
            "",
        ] {
            assert_eq!(bad.parse::<RegisterName>(), Err(BadRegisterName), "{bad:?}");
        }
    }
}
