//! FHIR Consents, and what all that a person has said comes to.

use serde::{Deserialize, Serialize};

/// `/consents/import`: a person has signed a FHIR Consent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConsent {
    /// The Consent, as FHIR R4 JSON. It says whose it is.
    pub consent: String,
    /// Which members its recipients stand for, where it does not say so itself.
    pub actors: Vec<ActorText>,
    /// What officers should know of it, in words.
    pub reason: Option<String>,
}

/// A recipient of a Consent, and the member that it stands for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorText {
    /// As the Consent refers to it: `Group/night-shift`.
    pub reference: String,
    /// The member: its id, or a code that it has.
    pub member: String,
}

/// What became of a Consent that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentImported {
    /// The directives: one for each name that its person is decided about under.
    pub directives: Vec<u64>,
    /// How many provisions it has.
    pub provisions: u16,
    /// Whether it may turn a yes into a no.
    pub narrows: bool,
    /// Whether the ledger has it: from then on no access entry rests on what was before.
    pub on_ledger: bool,
    /// Where recipients stand of whom nobody could tell which member they are. A permit for one
    /// reaches nobody, a denial everybody.
    pub unknown_actors: Vec<String>,
}

/// `/consents/explain`: what a person's directives say to a request about one record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainConsent {
    /// Who.
    pub subject: String,
    /// Which member asks.
    pub requester: String,
    /// Why.
    pub purpose: String,
    /// On which day; none is today.
    pub on: Option<String>,
    /// The record.
    pub record: RecordText,
}

/// A record, as far as consents look at it. What is not told counts against its release.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordText {
    /// Its type.
    pub kind: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Its labels: a code of v3-Confidentiality or v3-ActCode, or `system|code`.
    pub labels: Vec<String>,
    /// The day that it is about.
    pub date: Option<String>,
    /// Who wrote it, as references.
    pub authors: Vec<String>,
    /// The encounters that it belongs to, as references.
    pub encounters: Vec<String>,
}

/// What decided, and what each directive says by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentExplained {
    /// permit, deny, absent or unreadable.
    pub decision: String,
    /// The rule by which it is decided.
    pub rule: String,
    /// The directive that decides.
    pub directive: Option<u64>,
    /// Its provision that decides: `provision.provision[0]`.
    pub provision: Option<String>,
    /// Each directive that binds decisions now.
    pub steps: Vec<ConsentStep>,
}

/// What one directive says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentStep {
    /// Which.
    pub directive: u64,
    /// permits, denies, silent or replaced.
    pub says: String,
    /// The provision of a Consent that says it.
    pub provision: Option<String>,
    /// Why, in words.
    pub because: String,
}
