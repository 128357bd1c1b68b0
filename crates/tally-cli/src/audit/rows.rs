//! Entries as rows: what an auditor is shown of a half or a close.

use serde::Serialize;
use tally_core::entry::{
    Action, Close, Disposal, Entry, Flags, How, OptOut, Outcome, ProviderHalf, Recovery,
    RefusalCount, RequesterHalf, Review, UserKnown,
};
use tally_core::time::Timestamp;
use tally_log::Hash;

/// One half, one close, one step of a review, or what else an auditor has to know of.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) exchange: Option<String>,
    pub(crate) half: &'static str,
    pub(crate) leaf: u64,
    pub(crate) at: String,
    pub(crate) provider: Option<String>,
    /// What it was called then.
    pub(crate) provider_name: Option<String>,
    pub(crate) requester: Option<String>,
    /// What it was called then.
    pub(crate) requester_name: Option<String>,
    operator: Option<String>,
    agreement: Option<String>,
    agreement_version: Option<u64>,
    pub(crate) purpose: Option<String>,
    pub(crate) source: Option<String>,
    action: Option<&'static str>,
    pub(crate) outcome: &'static str,
    pub(crate) code: Option<&'static str>,
    user_known: Option<&'static str>,
    people: Option<u64>,
    people_withheld: Option<u64>,
    records: Option<u64>,
    bytes: u64,
    digest: Option<String>,
    break_glass: bool,
    late: bool,
    /// Whether nobody but the user says how they are related to the person.
    self_claimed: bool,
    pub(crate) matched: bool,
    /// The exchange that this one resumes; none if it begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resumes: Option<String>,
    /// The checks of the national data opt-out that a permit rests on, or why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    opt_out: Option<OptOutRow>,
    /// The office, and whose, that took this step of a review; none for what is no review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reviewer: Option<String>,
    /// Refusals that this entry counts; none for a half of one exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// What was disposed of; none for anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    disposal: Option<DisposalRow>,
    /// Where the ledger went on in a new epoch; none for anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<RecoveryRow>,
}

/// The ledger went on in a new epoch.
#[derive(Debug, Clone, Serialize)]
struct RecoveryRow {
    epoch: u64,
    size: u64,
    root: String,
    node: u64,
    approved_by: Vec<String>,
}

/// Keys of openings that a member has destroyed.
#[derive(Debug, Clone, Serialize)]
struct DisposalRow {
    basis: &'static str,
    before: u16,
    authorised_by: String,
    key: String,
    keys: u64,
    openings: u64,
    held: u64,
    certificate: String,
}

/// What a permit says of the national data opt-out.
#[derive(Debug, Clone, Serialize)]
struct OptOutRow {
    exempt: Option<&'static str>,
    checks: Vec<OptOutCheckRow>,
}

#[derive(Debug, Clone, Serialize)]
struct OptOutCheckRow {
    reference: String,
    asked: u64,
    answered: u64,
    reply: String,
    age_s: u64,
}

impl Row {
    /// Whether it is one of the two halves, which has the other to match.
    pub(super) fn is_half(&self) -> bool {
        matches!(self.half, "provider" | "requester")
    }
}

/// The row of an entry; none if it is neither a half nor about one. A close and a review say what the
/// half says that they are about.
pub(crate) fn row(
    leaf: u64,
    entry: &Entry,
    at: Timestamp,
    about: Option<&ProviderHalf>,
) -> Option<Row> {
    let row = match entry {
        Entry::ProviderHalf(half) => of_provider(half),
        Entry::RequesterHalf(half) => of_requester(half),
        Entry::Close(close) => of_close(close, about),
        Entry::RefusalCount(refusals) => of_refusals(refusals),
        Entry::Review(review) => of_review(review, about),
        Entry::Disposal(disposal) => of_disposal(disposal),
        Entry::Recovery(recovery) => of_recovery(recovery),
        _ => return None,
    };
    Some(Row { leaf, at: at.rfc3339(), ..row })
}

fn of_provider(half: &ProviderHalf) -> Row {
    let (outcome, code) = outcome(half.outcome);
    Row {
        exchange: Some(half.exchange.to_string()),
        half: "provider",
        provider: Some(half.provider.to_string()),
        requester: Some(half.requester.to_string()),
        operator: half.operator.as_ref().map(ToString::to_string),
        agreement: half.agreement.as_ref().map(|it| it.id.to_string()),
        agreement_version: half.agreement.as_ref().map(|it| it.version),
        purpose: Some(half.purpose.to_string()),
        source: Some(half.source.to_string()),
        action: Some(action(half.action)),
        outcome,
        code,
        user_known: Some(user_known(half.user_known)),
        people: Some(half.people),
        people_withheld: Some(half.people_withheld),
        records: Some(half.records),
        bytes: half.bytes,
        digest: half.digest.as_ref().map(digest),
        break_glass: half.flags.has(Flags::BREAK_GLASS),
        late: half.flags.has(Flags::LATE),
        self_claimed: half.flags.has(Flags::SELF_CLAIMED),
        resumes: half.resumes.map(|it| it.to_string()),
        opt_out: half.opt_out.as_ref().map(opt_out),
        ..Row::default()
    }
}

fn of_requester(half: &RequesterHalf) -> Row {
    let (outcome, code) = outcome(half.outcome);
    Row {
        exchange: Some(half.exchange.to_string()),
        half: "requester",
        provider: Some(half.provider.to_string()),
        requester: Some(half.requester.to_string()),
        agreement: half.agreement.as_ref().map(|it| it.id.to_string()),
        agreement_version: half.agreement.as_ref().map(|it| it.version),
        purpose: Some(half.purpose.to_string()),
        source: Some(half.source.to_string()),
        action: Some(action(half.action)),
        outcome,
        code,
        bytes: half.bytes_arrived,
        digest: half.digest.as_ref().map(digest),
        break_glass: half.flags.has(Flags::BREAK_GLASS),
        late: half.flags.has(Flags::LATE),
        self_claimed: half.flags.has(Flags::SELF_CLAIMED),
        ..Row::default()
    }
}

fn of_close(close: &Close, closed: Option<&ProviderHalf>) -> Row {
    let of_half = closed.map(of_provider).unwrap_or_default();
    Row {
        half: "close",
        outcome: how(close.how),
        code: None,
        bytes: close.bytes,
        digest: close.root.as_ref().map(digest),
        matched: closed.is_some(),
        late: of_half.late || close.how == How::Late,
        ..of_half
    }
}

/// The outcome is what the review has come to; bytes and digest are none of its business.
fn of_review(review: &Review, reviewed: Option<&ProviderHalf>) -> Row {
    let of_half = reviewed.map(of_provider).unwrap_or_default();
    Row {
        half: "review",
        outcome: review.state.word(),
        code: None,
        bytes: 0,
        digest: None,
        reviewer: Some(format!("{}@{}", review.role, review.member)),
        matched: reviewed.is_some(),
        ..of_half
    }
}

fn of_refusals(refusals: &RefusalCount) -> Row {
    Row {
        half: "provider",
        provider: Some(refusals.provider.to_string()),
        requester: Some(refusals.requester.to_string()),
        outcome: "refuse",
        code: Some(refusals.refusal.code()),
        // Nothing is owed for them.
        matched: true,
        count: Some(refusals.count),
        ..Row::default()
    }
}

fn opt_out(opt_out: &OptOut) -> OptOutRow {
    let (exempt, checks) = match opt_out {
        OptOut::Exempt(why) => (Some(why.code()), &[][..]),
        OptOut::Checked(checks) => (None, checks.as_slice()),
    };
    let checks = checks.iter().map(|check| OptOutCheckRow {
        reference: check.reference.to_string(),
        asked: check.asked,
        answered: check.answered,
        reply: digest(&check.reply),
        age_s: check.age_s,
    });
    OptOutRow { exempt, checks: checks.collect() }
}

fn of_disposal(disposal: &Disposal) -> Row {
    let what = &disposal.what;
    let digits = disposal.key.0.iter().map(|byte| format!("{byte:02x}"));
    Row {
        half: "disposal",
        provider: Some(disposal.member.to_string()),
        outcome: "disposed",
        code: Some(what.basis.code()),
        // Nothing is owed for it.
        matched: true,
        disposal: Some(DisposalRow {
            basis: what.basis.code(),
            before: what.before,
            authorised_by: disposal.role.to_string(),
            key: digits.collect(),
            keys: what.keys,
            openings: what.openings,
            held: what.held,
            certificate: format!("sha256:{}", what.certificate),
        }),
        ..Row::default()
    }
}

fn of_recovery(recovery: &Recovery) -> Row {
    Row {
        half: "recovery",
        outcome: "recovered",
        // Nothing is owed for it.
        matched: true,
        recovery: Some(RecoveryRow {
            epoch: recovery.epoch,
            size: recovery.size,
            root: recovery.root.to_string(),
            node: recovery.node.0,
            approved_by: recovery.approvals.iter().map(|it| it.member.to_string()).collect(),
        }),
        ..Row::default()
    }
}

const fn outcome(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Permit => ("permit", None),
        Outcome::Refuse(refusal) => ("refuse", Some(refusal.code())),
    }
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Read => "read",
        Action::VersionRead => "vread",
        Action::Search => "search",
        Action::Everything => "everything",
        Action::Dataset => "dataset",
    }
}

const fn user_known(known: UserKnown) -> &'static str {
    match known {
        UserKnown::Service => "service",
        UserKnown::Asserted => "asserted",
        UserKnown::Verified => "verified",
    }
}

const fn how(how: How) -> &'static str {
    match how {
        How::Sent => "sent",
        How::Withdrawn => "withdrawn",
        How::Abandoned => "abandoned",
        How::NothingSent => "nothing-sent",
        How::OpeningLost => "opening-lost",
        How::Late => "late",
    }
}

fn digest(hash: &Hash) -> String {
    format!("hmac-sha256:{hash}")
}
