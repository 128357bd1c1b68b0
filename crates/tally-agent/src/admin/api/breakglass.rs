//! Accesses that broke the glass, and their reviews.

use serde::{Deserialize, Serialize};

/// `/breakglass/list`: whose records were opened by breaking the glass, and how far the reviews are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListBreakGlass {
    /// Only those whose review this member has not concluded.
    pub open: bool,
    /// Only those of them whose review is overdue.
    pub overdue: bool,
}

/// Break-glass accesses, in the order of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassRows {
    /// Each began an episode.
    pub rows: Vec<BreakGlassRow>,
    /// Emergencies without the ledger whose entry is not on it yet: own ones, and those that another
    /// member has promised to record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<OwedEntry>,
}

/// An entry that is owed. It names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedEntry {
    /// The exchange.
    pub exchange: String,
    /// When it was promised, RFC 3339.
    pub at: String,
    /// Who released, and owes it.
    pub provider: String,
    /// Who asked, and holds the promise.
    pub requester: String,
}

/// One break-glass access. It names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassRow {
    /// The exchange.
    pub exchange: String,
    /// Where the provider's half is.
    pub leaf: u64,
    /// When, RFC 3339.
    pub at: String,
    /// Who released.
    pub provider: String,
    /// Who asked.
    pub requester: String,
    /// How far this member's review is: open, under-review, justified or inappropriate.
    pub state: String,
    /// How far the other member's is.
    pub other_state: String,
    /// Whether this member's review is overdue.
    pub overdue: bool,
    /// Whether the alert was given.
    pub alerted: bool,
}

/// `/breakglass/show`: what a privacy officer needs to judge one access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowBreakGlass {
    /// The exchange.
    pub exchange: String,
}

/// An access as its opening tells it. For this member's own officers: it names the person and the user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassShown {
    /// What the ledger has of it.
    pub access: BreakGlassRow,
    /// Whether it goes on with an episode that began earlier, which is the one to review.
    pub continues: bool,
    /// The user, as the requester said.
    pub user: Option<String>,
    /// Their role, as the requester said.
    pub role: Option<String>,
    /// How they are related to the person, as the requester said.
    pub relationship: Option<String>,
    /// Why, as the requester said.
    pub reason: Option<String>,
    /// Whose records.
    pub subject: Option<String>,
    /// Which, as `Type/id`.
    pub records: Vec<String>,
    /// The reads of its episode, as far as this member knows which they are: the custodian does.
    pub reads: Vec<BreakGlassRead>,
    /// What this member's officers noted.
    pub notes: Vec<BreakGlassNote>,
}

/// One read of an episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassRead {
    /// The exchange.
    pub exchange: String,
    /// Where its half is.
    pub leaf: u64,
    /// When, RFC 3339.
    pub at: String,
}

/// What an officer noted at a step of the review.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassNote {
    /// When, RFC 3339.
    pub at: String,
    /// In which office.
    pub role: String,
    /// At which step.
    pub state: String,
    /// In words.
    pub note: String,
}

/// `/breakglass/review`: a privacy officer takes the next step.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewBreakGlass {
    /// The exchange.
    pub exchange: String,
    /// under-review, justified or inappropriate.
    pub state: String,
    /// In which office.
    pub role: String,
    /// What was found, in words: kept here, encrypted, and nowhere else.
    pub note: Option<String>,
}

/// A step of a review that is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewDone {
    /// The exchange.
    pub exchange: String,
    /// The provider's half that is reviewed.
    pub leaf: u64,
    /// Where the step is.
    pub review_leaf: u64,
    /// What the review has come to.
    pub state: String,
}
