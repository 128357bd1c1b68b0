//! Checks at the service of the national data opt-out.

use serde::{Deserialize, Serialize};

/// `/opt-out/request`: people are to be asked about at the national data opt-out's service. Either those
/// of a source or those of a list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestOptOut {
    /// Whose people, by the id of one of this member's sources.
    pub source: Option<String>,
    /// NHS numbers, one a line.
    pub list: Option<String>,
    /// Whether their check digits are not looked at: in a test mesh only.
    pub synthetic: bool,
    /// The mailbox that the request is sent from; none: the configured one.
    pub mailbox: Option<String>,
    /// How many of these people, in the order of their numbers, earlier requests have asked about.
    pub skip: usize,
}

/// A request that is ready to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutRequest {
    /// What the check is called.
    pub reference: String,
    /// What the file has to be called.
    pub file_name: String,
    /// What has to stand in it.
    pub file: String,
    /// People whom it is about.
    pub asked: usize,
    /// People of the source who have no NHS number, and can't be asked about.
    pub without_number: usize,
    /// What to skip in the next request; none if this was the last.
    pub next: Option<usize>,
}

/// `/opt-out/import`: the service's reply to a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportOptOut {
    /// What the check is called.
    pub reference: String,
    /// The whole reply.
    pub reply: String,
}

/// A check, as far as it is about nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutCheckRow {
    /// What it is called.
    pub reference: String,
    /// `unfinished`, `waiting`, `usable` or `too-old`.
    pub state: String,
    /// When the request was made, RFC 3339.
    pub asked_at: String,
    /// People who were asked about.
    pub asked: Option<u64>,
    /// When the reply was taken.
    pub answered_at: Option<String>,
    /// Those of them whom the reply names: they may be used.
    pub answered: Option<u64>,
    /// Until when it may be used.
    pub usable_until: String,
    /// The keyed digest of the reply, as permits name it.
    pub reply: Option<String>,
}

/// `/opt-out/status` answers with the latest checks, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutCheckRows {
    /// The checks.
    pub rows: Vec<OptOutCheckRow>,
}
