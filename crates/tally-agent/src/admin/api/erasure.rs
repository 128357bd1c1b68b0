//! What is said about the end of retention, about legal holds, and about orders.

use serde::{Deserialize, Serialize};

/// `/erase/plan`: what would be destroyed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanErasure {
    /// The retention years before this one.
    pub before: u16,
}

/// `/erase/prepare`: makes the certificate that an officer signs for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareErasure {
    /// Why it is lawful: retention-ended, court-order or legal-obligation.
    pub basis: String,
    /// The retention years before this one; none for one person.
    pub before: Option<u16>,
    /// The one person; none for whole years.
    pub subject: Option<String>,
    /// The office that authorises it.
    pub role: String,
}

/// `/erase/prepare` answers with what is to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasurePrepared {
    /// The certificate, as the member is to keep it.
    pub text: String,
    /// What it says.
    pub certificate: Certificate,
}

/// `/erase/run`: an officer has signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunErasure {
    /// The certificate, as it was prepared.
    pub text: String,
    /// The one person; none for whole years.
    pub subject: Option<String>,
    /// The public half of the officer's key.
    pub public_key: String,
    /// The signature.
    pub signature: String,
}

/// What became of a disposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureDone {
    /// Keys that were destroyed, each of one person and one retention year.
    pub keys: u64,
    /// Openings of which nothing can be read any more.
    pub openings: u64,
    /// Keys that a legal hold has kept.
    pub held: u64,
    /// SHA-256 of the certificate: by it the entry on the ledger is known.
    pub certificate: String,
    /// Whether the ledger has the entry; if not, it will.
    pub on_ledger: bool,
}

/// The certificate of a disposal: what an organisation keeps with its records. It names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The form of this document: 1.
    pub tally: u64,
    /// "disposal".
    pub what: String,
    /// The mesh.
    pub mesh: String,
    /// Its id.
    pub mesh_id: String,
    /// Who disposes.
    pub member: String,
    /// Why it is lawful.
    pub basis: String,
    /// The retention years before this one.
    pub before: u16,
    /// Each of them of which there was something.
    pub years: Vec<ErasureYear>,
    /// Keys of people, in all years.
    pub keys: u64,
    /// Openings, in all years.
    pub openings: u64,
    /// Keys that a legal hold keeps, in all years.
    pub held: u64,
    /// The office that authorises it.
    pub authorised_by: String,
    /// When this was made, RFC 3339.
    pub made_at: String,
}

/// What goes of one retention year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureYear {
    /// Which year.
    pub year: u16,
    /// Keys of people.
    pub keys: u64,
    /// Openings of entries of the member's own.
    pub own_openings: u64,
    /// Openings that came with other members' releases.
    pub received_openings: u64,
    /// Keys that a legal hold keeps.
    pub held: u64,
}

/// `/erase/plan` answers with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasurePlan {
    /// The retention years before this one.
    pub before: u16,
    /// Whether all of them have ended at ledger time.
    pub ended: bool,
    /// Each of them of which there is something.
    pub years: Vec<ErasureYear>,
    /// Keys of people, in all years.
    pub keys: u64,
    /// Openings, in all years.
    pub openings: u64,
    /// Keys that a legal hold keeps, in all years.
    pub held: u64,
}

/// `/erase/hold`: keeps what is known of a person's access history.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldSubject {
    /// Who.
    pub subject: String,
    /// Why, as a code of the organisation's own.
    pub reason_code: String,
}

/// `/erase/release`: ends it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSubject {
    /// Who.
    pub subject: String,
}

/// What a hold, or its end, has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldDone {
    /// Whether the person is on hold now.
    pub held: bool,
    /// Whether that is new.
    pub changed: bool,
}

/// `/erase/holds` answers with how many there are, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRows {
    /// By reason.
    pub rows: Vec<HoldRow>,
}

/// Holds of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// The reason's code.
    pub reason_code: String,
    /// Names that are on hold for it; a person may have several.
    pub names: u64,
}
