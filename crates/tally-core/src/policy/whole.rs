//! The gates that are about the request as a whole: members, agreement, user.

use std::collections::BTreeSet;

use super::facts::{AgreementFact, Facts, OptOutAnswers, Registers};
use super::glass;
use super::reason::Reason;
use super::{Queried, Request};
use crate::agreement::condition::{Circumstances, Extent};
use crate::agreement::{AllowList, Condition, DataKind, Party, Share, Standing, user_known_word};
use crate::entry::Environment;
use crate::id::{MemberId, Purpose};
use crate::purpose::{Class, class_of, covers, is_emergency, needs_reason};
use crate::record::Item;
use crate::refusal::Refusal;
use crate::register::{AssessmentStatus, MemberStatus, RegisterName, RegisterRef};

/// A share that could carry the request: its provider, its source, and the requester among those
/// who may ask.
pub(super) struct Attempt<'a> {
    pub(super) agreement: AgreementFact<'a>,
    pub(super) share: &'a Share,
    /// The groups by which provider and requester are in it.
    pub(super) groups: Vec<RegisterRef>,
    /// Whether both are parties of the agreement.
    are_parties: bool,
}

/// All shares that could carry the request, ascending by agreement.
pub(super) fn attempts<'a, R: Registers>(
    request: &'a Request,
    facts: &Facts<'a, R>,
) -> impl Iterator<Item = Attempt<'a>> {
    let registers = facts.registers;
    let asked = request.agreement.as_ref();
    let named = asked.and_then(|id| registers.agreement(id));
    let others = asked.is_none().then(|| registers.agreements());
    let agreements = named.into_iter().chain(others.into_iter().flatten());
    agreements.flat_map(move |agreement| {
        let shares = agreement.document.shares.iter();
        shares.filter_map(move |share| attempt(request, registers, agreement, share))
    })
}

pub(super) fn attempt<'a, R: Registers>(
    request: &Request,
    registers: &R,
    agreement: AgreementFact<'a>,
    share: &'a Share,
) -> Option<Attempt<'a>> {
    if share.provider != request.provider || share.source != request.source {
        return None;
    }
    let mut groups = Vec::new();
    if !is_among(&share.requesters, &request.requester, registers, &mut groups) {
        return None;
    }
    let parties = &agreement.document.parties;
    let are_parties = [&request.provider, &request.requester]
        .into_iter()
        .all(|member| is_among(parties, member, registers, &mut groups));
    Some(Attempt { agreement, share, groups, are_parties })
}

/// Whether a member is among parties, by its own id or else by a group, which is then noted.
fn is_among<R: Registers>(
    parties: &[Party],
    member: &MemberId,
    registers: &R,
    groups: &mut Vec<RegisterRef>,
) -> bool {
    let by_name = |party: &Party| matches!(party, Party::Member(id) if id == member);
    if parties.iter().any(by_name) {
        return true;
    }
    let by_group = parties.iter().find_map(|party| {
        let Party::Group(id) = party else { return None };
        let (version, members) = registers.group(id)?;
        let name = || RegisterName::Group(id.clone());
        members.contains(member).then(|| RegisterRef { name: name(), version })
    });
    groups.extend(by_group.clone());
    by_group.is_some()
}

/// Who asks, and who is asked.
pub(super) fn check_members<R: Registers>(request: &Request, facts: &Facts<'_, R>) -> Vec<Reason> {
    let mut refusals = Vec::new();
    for id in [&request.requester, &request.provider] {
        match facts.registers.member(id).map(|member| member.status) {
            Some(MemberStatus::Active) => {}
            Some(MemberStatus::Suspended) => refusals.push(Refusal::MemberSuspended),
            Some(MemberStatus::Removed) | None => refusals.push(Refusal::NotAMember),
        }
    }
    refusals.into_iter().map(Reason::whole).collect()
}

/// What is wrong with a purpose, whatever an agreement says.
pub(super) fn check_purpose(purpose: &Purpose) -> Option<Reason> {
    match class_of(purpose) {
        None => Some(Reason::whole(Refusal::PurposeUnclassified)),
        Some(Class::Forbidden) => Some(Reason::whole(Refusal::PurposeForbidden)),
        Some(_) => None,
    }
}

/// Everything about one attempt that needs no item.
pub(super) fn check<R: Registers>(
    request: &Request,
    facts: &Facts<'_, R>,
    attempt: &Attempt<'_>,
) -> Vec<Reason> {
    let share = attempt.share;
    let mut refusals = Vec::new();
    if !is_assured(request, facts, share) {
        refusals.push(Refusal::AssuranceTooLow);
    }
    check_parties(request, facts, attempt, &mut refusals);
    check_law(share, &request.purpose, &mut refusals);
    refusals.extend(check_purpose(&request.purpose).map(|reason| reason.refusal));
    if !share.purposes.iter().any(|granted| covers(granted, &request.purpose)) {
        refusals.push(Refusal::PurposeNotInAgreement);
    }
    check_fields(request, share, &mut refusals);
    match attempt.agreement.document.standing_on(facts.today) {
        Standing::NotStarted => refusals.push(Refusal::AgreementNotStarted),
        Standing::Ended => refusals.push(Refusal::AgreementEnded),
        Standing::InForce | Standing::PastReview => {}
    }
    if !holds(Extent::BeforeRecords, request, Found::default(), facts, attempt) {
        refusals.push(Refusal::ConditionNotMet);
    }
    check_user(request, facts.environment, share, &mut refusals);
    if share.asks_opt_out(&request.purpose) && facts.opt_out == OptOutAnswers::Unavailable {
        refusals.push(Refusal::OptOutUnavailable);
    }
    refusals.into_iter().map(Reason::whole).collect()
}

/// What was found, whatever of it is withheld.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) records: usize,
    pub(super) people: usize,
}

/// Whether the share's condition is met, as far as it is asked for.
///
/// What it asks rests on the request and on what was found, never on what is withheld: otherwise
/// somebody's objection could make it true for others.
pub(super) fn holds<R: Registers>(
    extent: Extent,
    request: &Request,
    found: Found,
    facts: &Facts<'_, R>,
    attempt: &Attempt<'_>,
) -> bool {
    let condition = &attempt.share.condition;
    // What asks for no number was asked before any record was looked at.
    let asked = extent == Extent::Whole && !condition.counts();
    asked || is_true(condition, extent, request, found, facts)
}

/// Whether the provider's own policy lets it through: the last gate, which can only forbid.
pub(super) fn own_policy_holds<R: Registers>(
    request: &Request,
    items: &[Item],
    facts: &Facts<'_, R>,
) -> bool {
    let policy = facts.own_policy;
    let people = || items.iter().flat_map(|item| &item.people).collect::<BTreeSet<_>>().len();
    let people = if policy.counts() { people() } else { 0 };
    is_true(policy, Extent::Whole, request, Found { records: items.len(), people }, facts)
}

fn is_true<R: Registers>(
    condition: &Condition,
    extent: Extent,
    request: &Request,
    found: Found,
    facts: &Facts<'_, R>,
) -> bool {
    if condition.is_empty() {
        return true;
    }
    condition.holds(
        extent,
        &Circumstances {
            date: facts.today,
            hour: facts.hour,
            assessment: assessment(request, facts),
            emergency: is_emergency(&request.purpose),
            records: found.records,
            people: found.people,
            provider: request.provider.as_str(),
            requester: request.requester.as_str(),
            source: request.source.as_str(),
            purpose: &request.purpose.to_string(),
            user_known: user_known_word(request.user_known),
            relationship: request.relationship,
        },
    )
}

/// Whether the requester's data security was assessed as well as the share asks for, if it asks at
/// all: what nobody has signed for cuts nobody off. Of what is asked for, no word is no.
pub(super) fn is_assured<R: Registers>(
    request: &Request,
    facts: &Facts<'_, R>,
    share: &Share,
) -> bool {
    share
        .assessment_min
        .is_none_or(|least| assessment(request, facts).is_some_and(|assessed| assessed >= least))
}

fn assessment<R: Registers>(request: &Request, facts: &Facts<'_, R>) -> Option<AssessmentStatus> {
    facts.registers.member(&request.requester)?.assessment
}

/// In force between those who have signed, while none of the two has suspended it.
pub(super) fn check_parties<R: Registers>(
    request: &Request,
    facts: &Facts<'_, R>,
    attempt: &Attempt<'_>,
    refusals: &mut Vec<Refusal>,
) {
    let both = [&request.provider, &request.requester];
    let id = &attempt.agreement.document.id;
    let signed = both.iter().all(|member| facts.registers.has_signed(member, id));
    if !signed || !attempt.are_parties {
        refusals.push(Refusal::AgreementNotSigned);
    }
    if both.iter().any(|member| attempt.agreement.suspended_by.contains(member)) {
        refusals.push(Refusal::AgreementSuspended);
    }
}

/// The two legal tests and the power, each where it applies and only there.
pub(super) fn check_law(share: &Share, purpose: &Purpose, refusals: &mut Vec<Refusal>) {
    let basis = &share.basis;
    if share.data != DataKind::None {
        if basis.article_6.is_none() {
            refusals.push(Refusal::Article6Missing);
        }
        if basis.power.is_empty() {
            refusals.push(Refusal::PowerMissing);
        }
    }
    if share.data == DataKind::Special && basis.article_9.is_none() {
        refusals.push(Refusal::Article9Missing);
    }
    if share.confidential {
        let fits = |basis| class_of(purpose).is_some_and(|class| class.allows(basis));
        if basis.common_law.is_none_or(|basis| !fits(basis)) {
            refusals.push(Refusal::CommonLawMissing);
        }
    }
}

/// The types that the request names, and what it searches by.
///
/// Judged by the request alone: what is refused here says nothing of whether there is a record.
fn check_fields(request: &Request, share: &Share, refusals: &mut Vec<Refusal>) {
    let kinds = &request.kinds;
    if !kinds.is_empty() && !kinds.iter().any(|kind| place_of(share, kind).is_some()) {
        refusals.push(Refusal::TypeNotInAgreement);
    }
    if !request.queried.iter().all(|queried| may_query(share, queried)) {
        refusals.push(Refusal::QueryNotPermitted);
    }
}

pub(super) fn may_query(share: &Share, queried: &Queried) -> bool {
    let element = &queried.element;
    match &share.fields {
        AllowList::Everything => share.data == DataKind::None,
        AllowList::Columns(columns) => columns.contains(element),
        AllowList::Elements(types) => {
            let known = types.iter().find(|(kind, _)| *kind == queried.kind);
            known.is_some_and(|(_, elements)| {
                elements.lists(element) || ALWAYS_RELEASED.contains(&element.as_str())
            })
        }
    }
}

/// The elements that every released resource keeps.
const ALWAYS_RELEASED: [&str; 6] =
    ["id", "meta.lastUpdated", "meta.profile", "meta.security", "meta.tag", "meta.versionId"];

/// Where in the allow-list a kind of item stands; 0 for lists that know no kinds. None: withheld.
pub(super) fn place_of(share: &Share, kind: &str) -> Option<usize> {
    match &share.fields {
        // Only data about nobody may go as it is.
        AllowList::Everything => (share.data == DataKind::None).then_some(0),
        AllowList::Columns(columns) => (!columns.is_empty()).then_some(0),
        AllowList::Elements(types) => types.iter().position(|(known, _)| known == kind),
    }
}

fn check_user(
    request: &Request,
    environment: Environment,
    share: &Share,
    refusals: &mut Vec<Refusal>,
) {
    refusals.extend(glass::check_user(request, environment));
    let too_little = request.user_known < share.user_known;
    if too_little && !refusals.iter().any(|known| is_about_user(*known)) {
        refusals.push(Refusal::UserNotKnownEnough);
    }
    let lifted = glass::lifts(share, &request.purpose, Refusal::RelationshipMissing);
    if share.relationship_required && request.relationship.is_none() && !lifted {
        refusals.push(Refusal::RelationshipMissing);
    }
    if needs_reason(&request.purpose) && !request.has_reason {
        refusals.push(Refusal::ReasonMissing);
    }
}

const fn is_about_user(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::UserNotNamed | Refusal::UserNotKnownEnough)
}
