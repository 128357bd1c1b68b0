//! Ids that are short texts. Cheap to clone; equal texts are equal ids.

use std::fmt;
use std::str::FromStr;

use super::short::ShortText;

/// The text is no id of this kind. Says what was expected, never what was given: an id can be
/// mistaken for another kind, and a person's number must not end up in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: expected {shape}")]
pub struct BadId {
    /// Which kind of id was expected.
    pub what: &'static str,
    /// The shape that it must have.
    pub shape: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $shape:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ShortText);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(ShortText::new(text)))
                } else {
                    Err(BadId { what: $what, shape: $shape })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

text_id!(
    /// A member of the mesh: `RZ9`. Never changes, whatever becomes of the organisation's codes.
    MemberId,
    "a member id",
    "1 to 32 of A-Z, 0-9 and '-', beginning with a letter or digit",
    |text| shaped(text, 32, |c| c.is_ascii_uppercase() || c.is_ascii_digit(), b"-")
);

text_id!(
    /// The mesh's name: `dev.example`. Its log's origin and its SPIFFE trust domain begin with it.
    MeshName,
    "a mesh name",
    "1 to 200 of a-z, 0-9, '-' and '.', beginning with a letter or digit",
    |text| shaped(text, 200, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), b"-.")
);

impl MeshName {
    /// The name of the mesh's log in an epoch, the origin of its checkpoints: `dev.example/ledger/0`.
    #[must_use]
    pub fn log(&self, epoch: u64) -> String {
        format!("{self}/ledger/{epoch}")
    }

    /// The epoch in which a log of this name is the mesh's; none if it is another's, or the number is
    /// written in any other way.
    #[must_use]
    pub fn epoch_of(&self, log: &str) -> Option<u64> {
        let number = log.strip_prefix(self.as_str())?.strip_prefix("/ledger/")?;
        let epoch = number.parse().ok()?;
        (self.log(epoch) == log).then_some(epoch)
    }
}

text_id!(
    /// An agreement: `DSA-1`.
    AgreementId,
    "an agreement id",
    "1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.', beginning with a letter or digit",
    |text| shaped(text, 64, |c| c.is_ascii_alphanumeric(), b"-_.")
);

text_id!(
    /// A source of a member: `fhir`, `beds`. The part of a URL after the member.
    SourceId,
    "a source id",
    "1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit",
    |text| shaped(text, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), b"-_.")
);

text_id!(
    /// A group of members: `north-councils`. Begins with a small letter, so that it can't be taken
    /// for a member's id.
    GroupId,
    "a group id",
    "1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter",
    |text| {
        shaped(text, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), b"-_.")
            && text.starts_with(|c: char| c.is_ascii_lowercase())
    }
);

text_id!(
    /// The role in which an officer signs: `ig-lead`, `caldicott`. A role, never a person's name.
    OfficerRole,
    "an officer's role",
    "1 to 32 of a-z, 0-9 and '-', beginning with a letter or digit",
    |text| shaped(text, 32, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), b"-")
);

/// Why data is asked for: a code in a code system. `TREAT` alone means the code of v3-ActReason;
/// `local:CODE` one of our published local list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose {
    system: PurposeSystem,
    code: ShortText,
}

/// The code systems that a purpose may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PurposeSystem {
    /// HL7 v3-ActReason, <http://terminology.hl7.org/CodeSystem/v3-ActReason>.
    ActReason,
    /// Our published local list, for councils' purposes that have no code.
    Local,
}

impl Purpose {
    /// The code system.
    #[must_use]
    pub const fn system(&self) -> PurposeSystem {
        self.system
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        self.code.as_str()
    }

    /// A purpose of this system.
    ///
    /// # Errors
    /// [`BadId`] if the code is not 1 to 32 of A-Z, a-z, 0-9, `-` and `_`.
    pub fn new(system: PurposeSystem, code: &str) -> Result<Self, BadId> {
        if shaped(code, 32, |c| c.is_ascii_alphanumeric(), b"-_") {
            Ok(Self { system, code: ShortText::new(code) })
        } else {
            Err(BadId {
                what: "a purpose",
                shape: "a v3-ActReason code such as TREAT, or local:CODE from the local list",
            })
        }
    }
}

impl FromStr for Purpose {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match text.strip_prefix("local:") {
            Some(code) => Self::new(PurposeSystem::Local, code),
            None => Self::new(PurposeSystem::ActReason, text),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.system {
            PurposeSystem::ActReason => f.write_str(self.code()),
            PurposeSystem::Local => write!(f, "local:{}", self.code()),
        }
    }
}

/// Whether it is a text of so many bytes at most, all of the alphabet, that begins as it must: byte by
/// byte, as all that may stand in an id is ASCII.
fn shaped(text: &str, len_max: usize, first: impl Fn(u8) -> bool, further: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= len_max
        && bytes.first().is_some_and(|byte| first(*byte))
        && bytes.iter().all(|byte| first(*byte) || further.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_to_their_alphabet_and_length() {
        assert!("RZ9".parse::<MemberId>().is_ok());
        for bad in ["", "rz9", "-RZ9", "RZ 9", "RZ9/", &"R".repeat(33)] {
            assert!(bad.parse::<MemberId>().is_err(), "{bad:?}");
        }
        assert_eq!("dev.example".parse::<MeshName>().unwrap().log(3), "dev.example/ledger/3");
        for bad in ["", "Dev", "dev example", "dev+example", ".dev"] {
            assert!(bad.parse::<MeshName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_purpose_prints_as_it_was_written() {
        for text in ["TREAT", "local:SAFEGUARDING"] {
            assert_eq!(text.parse::<Purpose>().unwrap().to_string(), text);
        }
        assert!("local:".parse::<Purpose>().is_err());
        assert!("http://x|TREAT".parse::<Purpose>().is_err());
    }

    #[test]
    fn an_error_does_not_repeat_what_was_given() {
        let error = "999 000 0018".parse::<MemberId>().unwrap_err();
        assert!(!error.to_string().contains("0018"));
    }
}
