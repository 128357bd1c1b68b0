//! Contradictions in an agreement: what could be signed, but would never permit what it says.

use super::file::Problem;
use super::{Agreement, AllowList, CommonLaw, DataKind, Party, Share};
use crate::entry::UserKnown;
use crate::id::MemberId;
use crate::purpose::{Class, class_of, covers};
use crate::refusal::Refusal;
use crate::time::Date;

/// Refusals that break-glass may lift: what protects the person's own wish, and the relationship.
/// Never identity, membership, agreement or law.
pub const LIFTABLE: &[Refusal] = &[
    Refusal::RelationshipMissing,
    Refusal::ConsentAbsent,
    Refusal::ConsentDenied,
    Refusal::ConsentUnreadable,
    Refusal::PolicyForbids,
];

/// All contradictions of an agreement, without lines.
#[must_use]
pub fn check(agreement: &Agreement) -> Vec<Problem> {
    let mut problems = check_dates(agreement.start, agreement.review, agreement.end);
    for (place, share) in agreement.shares.iter().enumerate() {
        problems.extend(check_share(place, share, Some(&agreement.parties)));
    }
    problems.extend(check_overlaps(agreement.shares.iter().map(Some)));
    problems
}

/// What is no contradiction, and what whoever signs should know all the same.
#[must_use]
pub fn warnings(agreement: &Agreement) -> Vec<String> {
    let mut found = Vec::new();
    let special = agreement.shares.iter().any(|share| share.data == DataKind::Special);
    if special && agreement.dpia.is_empty() {
        found.push(
            "it shares special category data and names no data protection impact assessment (UK \
             GDPR Article 35): add dpia"
                .to_owned(),
        );
    }
    for party in &agreement.parties {
        let gives = |share: &Share| *party == Party::Member(share.provider.clone());
        let asks = |share: &Share| share.requesters.contains(party);
        if !agreement.shares.iter().any(|share| gives(share) || asks(share)) {
            found.push(format!("{party} is a party, and neither gives nor asks for anything"));
        }
    }
    for (place, share) in agreement.shares.iter().enumerate() {
        found.extend(share_warnings(share).into_iter().map(|it| format!("share[{place}]: {it}")));
    }
    found
}

fn share_warnings(share: &Share) -> Vec<String> {
    let mut found = Vec::new();
    for purpose in &share.purposes {
        let secondary = class_of(purpose).is_some_and(Class::asks_opt_out);
        if !secondary || share.data != DataKind::Special {
            continue;
        }
        if !share.confidential {
            found.push(format!(
                "{purpose} is a secondary use of data about health that is said not to be \
                 confidential: then neither a basis at common law nor the national data opt-out is \
                 asked for; is that right?"
            ));
        } else if !matches!(
            share.basis.common_law,
            Some(CommonLaw::Section251 | CommonLaw::ExplicitConsent) | None
        ) {
            found.push(format!(
                "{purpose} is a secondary use on neither section-251 nor explicit-consent: who has \
                 opted out is left in, so name the statute or the order"
            ));
        }
    }
    let lifts = |refusal| share.overrides.contains(&refusal);
    if lifts(Refusal::RelationshipMissing) && !share.relationship_required {
        let what = "break-glass may lift that no relationship was stated, and none is required";
        found.push(what.to_owned());
    }
    if share.offline_emergency {
        found.push(
            "a record may leave in an emergency before the ledger has its entry, on what the provider \
             heard last: a withdrawal that was made meanwhile elsewhere is not known to it"
                .to_owned(),
        );
    }
    if share.data == DataKind::Special && share.user_known == UserKnown::Service {
        let what = "any application of those who ask will do, with no user named: user_known says \
                    how far users must be known";
        found.push(what.to_owned());
    }
    found
}

pub(super) fn check_dates(start: Date, review: Date, end: Date) -> Vec<Problem> {
    let mut problems = Problems::new(String::new());
    if review < start {
        problems.add("review", format!("the review on {review} comes before the start on {start}"));
    }
    if end < review {
        problems.add("end", format!("the end on {end} comes before the review on {review}"));
    }
    problems.found
}

/// One share. What is about the parties is left out where they could not be read.
pub(super) fn check_share(place: usize, share: &Share, parties: Option<&[Party]>) -> Vec<Problem> {
    let mut problems = Problems::new(format!("share[{place}]."));
    if let Some(parties) = parties {
        check_parties(share, parties, &mut problems);
    }
    if share.requesters == [Party::Member(share.provider.clone())] {
        problems.add("requesters", "the provider can't be the only one who asks".to_owned());
    }
    check_basis(share, &mut problems);
    check_purposes(share, &mut problems);
    if share.fields == AllowList::Everything && share.data != DataKind::None {
        let what = "data about people needs fields or columns: what is not named is withheld";
        problems.add("fields", what.to_owned());
    }
    for refusal in share.overrides.iter().filter(|refusal| !LIFTABLE.contains(refusal)) {
        let may: Vec<_> = LIFTABLE.iter().map(|refusal| refusal.code()).collect();
        let may = may.join(", ");
        problems.add("overrides", format!("break-glass can't lift {refusal}, only {may}"));
    }
    check_offline_emergency(share, &mut problems);
    for fault in share.condition.check().err().into_iter().flatten() {
        problems.add("when", fault.to_string());
    }
    problems.found
}

/// Whether two shares say something about the same request: then it would be left to their order
/// which of them holds.
pub(super) fn check_overlaps<'a>(shares: impl Iterator<Item = Option<&'a Share>>) -> Vec<Problem> {
    let shares: Vec<_> = shares.enumerate().collect();
    let mut problems = Problems::new(String::new());
    for (place, second) in &shares {
        let earlier = shares.iter().take(*place);
        let overlapping = earlier.filter(|(_, first)| match (first, second) {
            (Some(first), Some(second)) => overlap(first, second),
            _ => false,
        });
        for (first, _) in overlapping {
            let what = format!("says again what share[{first}] says: requesters and purposes meet");
            problems.add(&format!("share[{place}]"), what);
        }
    }
    problems.found
}

fn overlap(first: &Share, second: &Share) -> bool {
    let same = first.provider == second.provider && first.source == second.source;
    let asks = first.requesters.iter().any(|party| second.requesters.contains(party));
    let meet = first
        .purposes
        .iter()
        .any(|one| second.purposes.iter().any(|other| covers(one, other) || covers(other, one)));
    same && asks && meet
}

/// Whether each is among the parties. Who is in a group is not known here, so where a group is a
/// party, a member that is not named may be in it.
fn check_parties(share: &Share, parties: &[Party], problems: &mut Problems) {
    let has_group = parties.iter().any(|party| matches!(party, Party::Group(_)));
    let is_named = |id: &MemberId| parties.contains(&Party::Member(id.clone()));
    let provider = &share.provider;
    if !has_group && !is_named(provider) {
        problems.add("provider", format!("{provider} is not among the parties"));
    }
    for requester in &share.requesters {
        match requester {
            Party::Member(id) if !has_group && !is_named(id) => {
                problems.add("requesters", format!("{id} is not among the parties"));
            }
            Party::Group(id) if !parties.contains(requester) => {
                problems.add("requesters", format!("the group {id} is not among the parties"));
            }
            Party::Member(_) | Party::Group(_) => {}
        }
    }
}

/// The legal tests, each where it applies: open data needs none.
fn check_basis(share: &Share, problems: &mut Problems) {
    let basis = &share.basis;
    if share.data != DataKind::None {
        if basis.article_6.is_none() {
            let what = "personal data needs a basis under UK GDPR Article 6, such as 6(1)(e)";
            problems.add("basis.art6", what.to_owned());
        }
        if basis.power.is_empty() {
            let what = "sharing personal data needs a statutory power, by name";
            problems.add("basis.power", what.to_owned());
        }
    }
    if share.data == DataKind::Special && basis.article_9.is_none() {
        let what = "special category data needs a condition of UK GDPR Article 9, such as 9(2)(h)";
        problems.add("basis.art9", what.to_owned());
    }
    if share.confidential && share.data == DataKind::None {
        let what = "data about nobody owes no duty of confidence to anybody";
        problems.add("confidential", what.to_owned());
    } else if share.confidential && basis.common_law.is_none() {
        let what = "confidential data needs a basis at common law, such as implied-consent";
        problems.add("basis.common_law", what.to_owned());
    }
}

fn check_purposes(share: &Share, problems: &mut Problems) {
    for purpose in &share.purposes {
        match class_of(purpose) {
            None => {
                let what = format!("{purpose} has no class, so no rule says what it is for");
                problems.add("purposes", what);
            }
            Some(Class::Forbidden) => {
                problems.add("purposes", format!("no agreement can permit {purpose}"));
            }
            Some(Class::OpenData) if share.data != DataKind::None => {
                let what =
                    format!("{purpose} is for data about nobody, and this is {}", share.data);
                problems.add("purposes", what);
            }
            Some(class) => {
                let basis = share.basis.common_law.filter(|_| share.confidential);
                if let Some(basis) = basis.filter(|basis| !class.allows(*basis)) {
                    problems.add("basis.common_law", unfit(basis, &purpose.to_string()));
                }
            }
        }
    }
}

/// Emergency access without the ledger is break-glass, or it is nothing.
fn check_offline_emergency(share: &Share, problems: &mut Problems) {
    if !share.offline_emergency {
        return;
    }
    let breaks = |purpose| class_of(purpose) == Some(Class::Override);
    if !share.purposes.iter().any(breaks) {
        let what = "emergency access without the ledger is for break-glass, and BTG is not among the \
                    purposes";
        problems.add("offline_emergency", what.to_owned());
    }
    if share.data == DataKind::None {
        let what = "data about nobody is needed in nobody's emergency";
        problems.add("offline_emergency", what.to_owned());
    }
    if share.user_known != UserKnown::Verified {
        let what = "emergency access without the ledger is for users whose sign-in was verified: set \
                    user_known = \"verified\"";
        problems.add("offline_emergency", what.to_owned());
    }
}

fn unfit(basis: CommonLaw, purpose: &str) -> String {
    match basis {
        CommonLaw::ImpliedConsent => {
            format!("implied consent reaches direct care and no further, so not {purpose}")
        }
        other => format!("{other} does not carry {purpose}"),
    }
}

/// What was found, below one key.
struct Problems {
    below: String,
    found: Vec<Problem>,
}

impl Problems {
    const fn new(below: String) -> Self {
        Self { below, found: Vec::new() }
    }

    fn add(&mut self, key: &str, what: String) {
        self.found.push(Problem { path: format!("{}{key}", self.below), line: None, what });
    }
}
