//! What officers and auditors of the own organisation say to the agent, and what it answers: JSON
//! over the socket in its data directory. Bytes stand in base64.
//!
//! Requests are POST, their path in each type's text; an error is [`Refused`] with status 400, 404,
//! 409 or 503.

mod breakglass;
mod erasure;
mod fhir_consents;
mod opt_out;
mod registers;
mod witness;

pub use breakglass::{
    BreakGlassNote, BreakGlassRead, BreakGlassRow, BreakGlassRows, BreakGlassShown, ListBreakGlass,
    OwedEntry, ReviewBreakGlass, ReviewDone, ShowBreakGlass,
};
pub use erasure::{
    Certificate, ErasureDone, ErasurePlan, ErasurePrepared, ErasureYear, HoldDone, HoldRow,
    HoldRows, HoldSubject, PlanErasure, PrepareErasure, ReleaseSubject, RunErasure,
};
pub use fhir_consents::{
    ActorText, ConsentExplained, ConsentImported, ConsentStep, ExplainConsent, ImportConsent,
    RecordText,
};
pub use opt_out::{ImportOptOut, OptOutCheckRow, OptOutCheckRows, OptOutRequest, RequestOptOut};
pub use registers::{
    CheckRegister, ListRegisters, NodeRules, RegisterDone, RegisterFits, RegisterKind, RegisterRow,
    RegisterRows, RulesShown, WriteRegister,
};
pub use witness::{EvidenceFiles, EvidenceRow, RefusedCount, WitnessStatus};

use serde::{Deserialize, Serialize};

/// The name of the socket in the agent's data directory.
pub const SOCKET: &str = "admin.sock";
/// Bytes of a request at most.
pub const REQUEST_LEN_MAX: usize = 1024 * 1024;

/// `/status`: how the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whose agent it is.
    pub member: String,
    /// The mesh.
    pub mesh: String,
    /// Its id.
    pub mesh_id: String,
    /// The ledger's epoch.
    pub epoch: u64,
    /// Whether it serves.
    pub ready: bool,
    /// Leaves on the ledger, as far as is known.
    pub ledger_size: u64,
    /// Entries that wait to be filed.
    pub outbox_entries: u64,
    /// The session on the ledger.
    pub session: Option<u64>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it is the request that has to change.
    pub caller: bool,
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Yes.
    Permit,
    /// No.
    Deny,
    /// An objection: a no until it is declined.
    Object,
    /// A FHIR Consent, which says yes and no: it is imported, never recorded.
    Consent,
}

/// `/consents/record`: a person has said something.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordConsent {
    /// Who, as `nhs-number|9990000018` or `MEMBER/Patient|ID`.
    pub subject: String,
    /// What.
    pub effect: Effect,
    /// For which purpose; none is any.
    pub purpose: Option<String>,
    /// For whom; none is anyone.
    pub requesters: Vec<String>,
    /// Why, in words.
    pub reason: Option<String>,
}

/// `/consents/withdraw`: what a person said no longer holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawConsent {
    /// Who.
    pub subject: String,
    /// Which directive.
    pub id: u64,
}

/// What became of a consent that was recorded or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentDone {
    /// The directive.
    pub id: u64,
    /// The consent register that it is in.
    pub register: u8,
    /// The version that the register has since.
    pub version: u64,
    /// Whether the ledger has that version: from then on no access entry rests on what was before.
    pub on_ledger: bool,
}

/// `/consents/list`: what a person has said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConsents {
    /// Who.
    pub subject: String,
}

/// One thing that a person has said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRow {
    /// Its number.
    pub id: u64,
    /// permit, deny, object or consent; none if it can't be read: then nothing of its person is released.
    pub effect: Option<Effect>,
    /// For which purpose; none is any. Those of a Consent stand in its provisions.
    pub purpose: Option<String>,
    /// For whom; none is anyone.
    pub requesters: Vec<String>,
    /// How many provisions a Consent has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisions: Option<u16>,
    /// When it was recorded, RFC 3339.
    pub recorded_at: Option<String>,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// Whether decisions keep to it now.
    pub counts: bool,
}

/// `/consents/list` answers with all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRows {
    /// In the order in which they were recorded.
    pub rows: Vec<ConsentRow>,
}

/// `/agreements/write`: propose a document, sign it, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteAgreement {
    /// The document, as officers sign it.
    pub document: String,
    /// Signatures to add.
    pub approvals: Vec<ApprovalText>,
    /// Whether members join by it and nothing else changes: then what others have signed stands.
    #[serde(default)]
    pub accession: bool,
}

/// `/groups/write`: a group's next version, with all approvals that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteGroup {
    /// The version of its register, as the approvals have it.
    pub version: u64,
    /// The leaf of the version before, as the approvals have it.
    pub previous: Option<u64>,
    /// The register's new body.
    pub body: String,
    /// Officers' signatures.
    pub approvals: Vec<ApprovalText>,
}

/// A group that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDone {
    /// Where it is on the ledger.
    pub leaf: u64,
    /// The version of its register.
    pub version: u64,
}

/// `/groups/list` answers with all groups, and how a next one comes about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRows {
    /// By id.
    pub rows: Vec<GroupRow>,
    /// How many members must approve a write.
    pub approvals_needed: usize,
}

/// A group of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its id.
    pub id: String,
    /// Its members.
    pub members: Vec<String>,
    /// The version of its register.
    pub version: u64,
    /// Where it is on the ledger.
    pub leaf: u64,
}

/// An officer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalText {
    /// For which member.
    pub member: String,
    /// In which role.
    pub role: String,
    /// The public half of the key.
    pub public_key: String,
    /// The signature.
    pub signature: String,
}

/// What became of an agreement that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementDone {
    /// Where it is on the ledger.
    pub leaf: u64,
    /// The version of its register.
    pub register_version: u64,
    /// Who has signed it.
    pub signed_by: Vec<String>,
    /// Members of it that have not.
    pub missing: Vec<String>,
}

/// `/agreements/suspend`: this member suspends an agreement, or resumes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspendAgreement {
    /// Its id.
    pub id: String,
    /// Whether it is suspended from now on.
    pub suspended: bool,
}

/// `/agreements/get`: one agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetAgreement {
    /// Its id.
    pub id: String,
    /// Which version of its document; none is the present one.
    pub version: Option<u64>,
}

/// An agreement as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementRow {
    /// Its id.
    pub id: String,
    /// The version of the document.
    pub version: u64,
    /// Its title.
    pub title: String,
    /// Its first day.
    pub start: String,
    /// The day by which it is reviewed.
    pub review: String,
    /// Its last day.
    pub end: String,
    /// Its parties.
    pub parties: Vec<String>,
    /// Who has signed it.
    pub signed_by: Vec<String>,
    /// Members of it that have not.
    pub missing: Vec<String>,
    /// Who has suspended it.
    pub suspended_by: Vec<String>,
    /// How its dates stand today: not-started, in-force, past-review or ended. Replaced: there is a
    /// newer version.
    pub standing: String,
    /// Where it is on the ledger.
    pub leaf: u64,
    /// The document, as officers sign it.
    pub document: String,
}

/// `/agreements/list` answers with all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementRows {
    /// By id.
    pub rows: Vec<AgreementRow>,
}

/// `/ledger/own`: what of the ledger concerns this member, from a leaf on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOwn {
    /// The first leaf that is looked at.
    pub first: u64,
    /// How many at most.
    pub count: u16,
}

/// A page of what concerns this member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnPage {
    /// The leaf to go on from.
    pub next: u64,
    /// Leaves on the ledger.
    pub size: u64,
    /// The leaves.
    pub leaves: Vec<OwnLeaf>,
}

/// A leaf that concerns this member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnLeaf {
    /// Where it is.
    pub leaf: u64,
    /// Ledger time of its seal, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The leaf.
    pub entry: String,
}

/// `/subject`: who asked for a person's records here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSubject {
    /// Who.
    pub subject: String,
}

/// Everybody who asked, and how far that is the whole truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAnswer {
    /// In the order of the ledger.
    pub rows: Vec<SubjectRow>,
    /// Own entries that were tested for the person's tag.
    pub tested: u64,
    /// Own entries that there are.
    pub own_entries: u64,
    /// Own entries whose openings were disposed of: nobody can say any more whom they are about.
    pub disposed: u64,
    /// Retention years before this one were disposed of; none if none ever was.
    pub disposed_before: Option<u16>,
    /// Leaves on the ledger up to which this holds.
    pub size: u64,
}

/// One exchange about a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectRow {
    /// Which.
    pub exchange: String,
    /// Where its entry is.
    pub leaf: u64,
    /// When, RFC 3339; none if no ledger node could be asked.
    pub at: Option<String>,
    /// Who asked.
    pub requester: String,
    /// What it was called then.
    pub requester_name: Option<String>,
    /// Why.
    pub purpose: String,
    /// Under which agreement.
    pub agreement: Option<String>,
    /// Of which source.
    pub source: String,
    /// permit or refuse.
    pub outcome: String,
    /// Why not, as the custodian may know it.
    pub code: Option<String>,
    /// The user, as the requester said.
    pub user: Option<String>,
    /// The user's role, likewise.
    pub role: Option<String>,
    /// How the user is related to the person, likewise.
    pub relationship: Option<String>,
    /// The reason, as the requester said.
    pub reason: Option<String>,
    /// The application's own ids of the request, likewise.
    pub request_ids: Vec<String>,
    /// The records, as `Type/id`.
    pub records: Vec<String>,
}
