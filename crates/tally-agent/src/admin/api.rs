//! What officers and auditors of the own organisation say to the agent, and what it answers: JSON
//! over the socket in its data directory. Bytes stand in base64.
//!
//! Requests are POST, their path in each type's text; an error is [`Refused`] with status 400, 404,
//! 409 or 503.

mod erasure;

pub use erasure::{
    Certificate, ErasureDone, ErasurePlan, ErasurePrepared, ErasureYear, HoldDone, HoldRow,
    HoldRows, HoldSubject, PlanErasure, PrepareErasure, ReleaseSubject, RunErasure,
};

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
    /// permit, deny or object; none if it can't be read: then nothing of its person is released.
    pub effect: Option<Effect>,
    /// For which purpose; none is any.
    pub purpose: Option<String>,
    /// For whom; none is anyone.
    pub requesters: Vec<String>,
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

/// `/agreements/write`: propose a document, sign it, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteAgreement {
    /// The document, as officers sign it.
    pub document: String,
    /// Signatures to add.
    pub approvals: Vec<ApprovalText>,
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
    /// Which of its parties have not, members named by themselves.
    pub missing: Vec<String>,
}

/// `/agreements/get`: one agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetAgreement {
    /// Its id.
    pub id: String,
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
    /// Who has suspended it.
    pub suspended_by: Vec<String>,
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
    /// The records, as `Type/id`.
    pub records: Vec<String>,
}

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
