//! Why bytes were refused.

use tally_core::refusal::Fault;

/// Bytes from elsewhere that are not what they should be. Always the fault of whoever wrote them.
/// Says which rule was broken, never what stood there: it could be about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the object does.
    #[error("the bytes end too early")]
    Truncated,
    /// The object ends before the bytes do.
    #[error("there are bytes after the end")]
    TrailingBytes,
    /// An integer or a length is not in its shortest form.
    #[error("the encoding is not the canonical one")]
    NotCanonical,
    /// An array or a string without a length.
    #[error("an array or a string has no definite length")]
    Indefinite,
    /// No object of this kind stands here.
    #[error("unknown kind {0}")]
    UnknownKind(u64),
    /// Written by a later version than this one knows.
    #[error("unknown version {version} of kind {kind}")]
    UnknownVersion {
        /// The object's kind.
        kind: u64,
        /// The version that it names.
        version: u64,
    },
    /// Another type of CBOR item is due: maps, floats, null and tags stand nowhere.
    #[error("an item of this type does not stand here")]
    WrongType,
    /// An array has too few or too many items, or a string of fixed length has another.
    #[error("{0} has a wrong length")]
    WrongLength(&'static str),
    /// More bytes or items than the limit.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Bytes or items at most.
        limit: usize,
    },
    /// A number that has no meaning here.
    #[error("no {0} has this number")]
    UnknownNumber(&'static str),
    /// A reserved bit is set.
    #[error("a reserved flag is set")]
    ReservedFlag,
    /// A list that must ascend does not, or an item stands in it twice.
    #[error("a list does not ascend")]
    NotAscending,
    /// A text or an id has not the shape that it must have.
    #[error("not {0}")]
    BadText(&'static str),
    /// The bytes are no public key.
    #[error("not a usable public key")]
    BadKey,
}

impl DecodeError {
    /// The code: for metrics, logs and the vectors in `proto/vectors`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing-bytes",
            Self::NotCanonical => "not-canonical",
            Self::Indefinite => "indefinite",
            Self::UnknownKind(_) => "unknown-kind",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::WrongType => "wrong-type",
            Self::WrongLength(_) => "wrong-length",
            Self::TooLarge { .. } => "too-large",
            Self::UnknownNumber(_) => "unknown-number",
            Self::ReservedFlag => "reserved-flag",
            Self::NotAscending => "not-ascending",
            Self::BadText(_) => "bad-text",
            Self::BadKey => "bad-key",
        }
    }

    /// Whose fault it is: that of whoever wrote the bytes.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}
