//! Writes to agreements: propose, sign, suspend, amend.

use super::super::*;
use super::world::*;
use crate::agreement::{Agreement, Party};
use crate::register::*;

fn written(world: &mut World, by: &str, write: RegisterWrite) -> Result<(), Rejection> {
    world.write(by, write).map(|_| ())
}

/// The write with other suspensions.
fn suspended(mut write: RegisterWrite, document: Agreement, by: &[&str]) -> RegisterWrite {
    let suspended_by = by.iter().map(|member| id(member)).collect();
    let record = AgreementRecord { document: encode(document), suspended_by };
    write.body = encode(RegisterBody::Agreement(Box::new(record)));
    write
}

fn signers(world: &World) -> Vec<String> {
    let (_, approvals) = world.state.registers().agreement(&id("DSA-1")).unwrap();
    approvals.iter().map(|approval| approval.member.to_string()).collect()
}

fn amended() -> Agreement {
    Agreement { version: 2, title: "Discharge support, amended".to_owned(), ..agreement() }
}

#[test]
fn an_agreement_is_proposed_and_then_signed_one_by_one() {
    let mut world = World::founded();
    for (by, signed) in [("QX1", &[][..]), ("RZ9", &["RZ9"]), ("LZ9", &["LZ9", "RZ9"])] {
        let write = world.agreement_write(agreement(), signed);
        assert_eq!(written(&mut world, by, write), Ok(()));
        assert_eq!(signers(&world), signed);
    }
    // Signing changes no document: an approval is for every leaf that carries it.
    let write = world.agreement_write(agreement(), &["LZ9"]);
    assert_eq!(written(&mut world, "LZ9", write), Err(Rejection::ApprovalsLost));
}

#[test]
fn only_parties_file_and_sign() {
    let without_qx1 = || {
        let mut agreement = agreement();
        agreement.parties.retain(|party| *party != Party::Member(id("QX1")));
        agreement
    };
    let mut world = World::founded();
    let write = world.agreement_write(without_qx1(), &[]);
    assert_eq!(written(&mut world, "QX1", write), Err(Rejection::NotAParty));
    let write = world.agreement_write(without_qx1(), &["QX1", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::NotAParty));
    let write = suspended(world.agreement_write(without_qx1(), &[]), without_qx1(), &["QX1"]);
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::NotAParty));
}

#[test]
fn a_signature_is_over_this_document_by_the_present_key() {
    let mut world = World::founded();
    let mut write = world.agreement_write(agreement(), &["LZ9", "RZ9"]);
    write.approvals[0].signature = write.approvals[1].signature;
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::ApprovalInvalid));
    let mut write = world.agreement_write(agreement(), &["RZ9"]);
    write.approvals = world.agreement_write(amended(), &["RZ9"]).approvals;
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::ApprovalInvalid));
    let mut write = world.agreement_write(agreement(), &["RZ9"]);
    write.approvals[0].role = id("caldicott");
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::ApprovalInvalid));
}

#[test]
fn a_signature_outlives_the_key_that_made_it() {
    let mut world = World::new();
    let mut record = member("RZ9", 3);
    record.officers[1].key = key("next ig-lead RZ9").verifying_key();
    let write = world.member_write(record);
    world.write("QX1", write).unwrap();
    let write = world.agreement_write(agreement(), &["LZ9", "QX1", "RZ9"]);
    assert_eq!(written(&mut world, "QX1", write), Ok(()));
    // But the old key signs nothing new.
    let write = world.agreement_write(amended(), &["RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::ApprovalInvalid));
}

#[test]
fn a_changed_document_has_a_higher_version_and_no_signatures() {
    let mut world = World::new();
    let changed = Agreement { title: "Something else".to_owned(), ..agreement() };
    let write = world.agreement_write(changed, &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::AgreementVersionWrong));
    let write = world.agreement_write(amended(), &["RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Ok(()));
    assert_eq!(signers(&world), ["RZ9"]);
    let write = world.agreement_write(agreement(), &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::AgreementVersionWrong));
}

#[test]
fn each_party_suspends_and_resumes_for_itself() {
    let mut world = World::new();
    let write = |world: &World, document: Agreement, signed: &[&str], by: &[&str]| {
        suspended(world.agreement_write(document.clone(), signed), document, by)
    };
    let signed = ["LZ9", "RZ9"];
    let not_own = Err(Rejection::SuspensionNotOwn);
    let attempt = write(&world, agreement(), &signed, &["LZ9"]);
    assert_eq!(written(&mut world, "RZ9", attempt), not_own);
    let attempt = write(&world, agreement(), &signed, &["LZ9"]);
    assert_eq!(written(&mut world, "LZ9", attempt), Ok(()));
    let attempt = write(&world, agreement(), &signed, &[]);
    assert_eq!(written(&mut world, "RZ9", attempt), not_own);
    // Nor does a new document resume for another party.
    let attempt = write(&world, amended(), &["RZ9"], &[]);
    assert_eq!(written(&mut world, "RZ9", attempt), not_own);
    let attempt = write(&world, agreement(), &signed, &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", attempt), Ok(()));
    let attempt = write(&world, agreement(), &signed, &["RZ9"]);
    assert_eq!(written(&mut world, "LZ9", attempt), Ok(()));
    let attempt = write(&world, agreement(), &signed, &["RZ9", "LZ9"]);
    assert_eq!(written(&mut world, "LZ9", attempt), Err(Rejection::AgreementMalformed));
}

#[test]
fn who_is_no_party_any_more_suspends_nothing() {
    let mut world = World::new();
    let write = world.agreement_write(agreement(), &["LZ9", "RZ9"]);
    let write = suspended(write, agreement(), &["QX1"]);
    assert_eq!(written(&mut world, "QX1", write), Ok(()));
    let mut document = amended();
    document.parties.retain(|party| *party != Party::Member(id("QX1")));
    let write = world.agreement_write(document, &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Ok(()));
}

#[test]
fn a_member_that_left_its_group_takes_its_approval_along() {
    let mut world = World::founded();
    let group = |members: &[&str]| {
        let members = members.iter().map(|member| id(member)).collect();
        RegisterBody::Group(GroupRecord { id: id("boards"), members })
    };
    let fill = |world: &mut World, members: &[&str]| {
        let write = world.next_write(name("group/boards"), group(members));
        let write = world.approved(write, &["LZ9", "QX1"]);
        world.write("QX1", write).unwrap();
    };
    let document = || {
        let mut document = agreement();
        document.parties.retain(|party| *party != Party::Member(id("QX1")));
        document.parties.push(Party::Group(id("boards")));
        document
    };
    fill(&mut world, &["QX1"]);
    let write = world.agreement_write(document(), &["LZ9", "QX1", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Ok(()));
    assert_eq!(signers(&world), ["LZ9", "QX1", "RZ9"]);
    fill(&mut world, &[]);
    // Nobody has to write the agreement for that: who comes straight back signs again, too.
    assert_eq!(signers(&world), ["LZ9", "RZ9"]);
    fill(&mut world, &["QX1"]);
    assert_eq!(signers(&world), ["LZ9", "RZ9"]);
    fill(&mut world, &[]);
    // Those who are left can still suspend, and still lose no approval.
    let suspend = |world: &World, signed: &[&str]| {
        suspended(world.agreement_write(document(), signed), document(), &["RZ9"])
    };
    let attempt = suspend(&world, &["LZ9", "QX1", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", attempt), Err(Rejection::NotAParty));
    let attempt = suspend(&world, &["RZ9"]);
    assert_eq!(written(&mut world, "RZ9", attempt), Err(Rejection::ApprovalsLost));
    let attempt = suspend(&world, &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", attempt), Ok(()));
    // The same after a write.
    fill(&mut world, &["QX1"]);
    assert_eq!(signers(&world), ["LZ9", "RZ9"]);
}

#[test]
fn a_document_has_parties_shares_and_an_end_after_its_start() {
    let spoils: [fn(&mut Agreement); 5] = [
        |agreement| agreement.parties.reverse(),
        |agreement| agreement.parties.drain(..2).for_each(drop),
        |agreement| agreement.shares.clear(),
        |agreement| agreement.end = "2025-12-31".parse().unwrap(),
        |agreement| agreement.version = 0,
    ];
    for spoil in spoils {
        let mut world = World::founded();
        let mut agreement = agreement();
        spoil(&mut agreement);
        let write = world.agreement_write(agreement, &[]);
        assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::AgreementMalformed));
    }
}

/// The agreement without QX1, signed by both others; and the version by which QX1 joins it.
fn joined() -> (World, Agreement) {
    let mut world = World::founded();
    let mut before = agreement();
    before.parties.retain(|party| *party != Party::Member(id("QX1")));
    let write = world.agreement_write(before.clone(), &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Ok(()));
    let mut after = Agreement { version: 2, ..before };
    after.parties = agreement().parties;
    let joins = Party::Member(id("QX1"));
    for share in &mut after.shares {
        if !share.requesters.contains(&joins) {
            share.requesters.push(joins.clone());
            share.requesters.sort();
        }
    }
    (world, after)
}

/// The write by which a member joins, with what the others had signed before.
fn accession(world: &World, document: &Agreement, signed: &[&str], kept: &[&str]) -> RegisterWrite {
    let mut write = world.agreement_write(document.clone(), signed);
    let (_, standing) = world.state.registers().agreement(&id("DSA-1")).unwrap();
    let kept = standing.iter().filter(|it| kept.contains(&it.member.as_str()));
    write.approvals.extend(kept.cloned());
    write.approvals.sort_by(|one, other| one.member.cmp(&other.member));
    write
}

#[test]
fn a_new_party_accedes_with_its_own_signature_and_the_providers_acceptance() {
    let (mut world, document) = joined();
    let write = accession(&world, &document, &["QX1", "RZ9"], &["LZ9"]);
    assert_eq!(written(&mut world, "QX1", write), Ok(()));
    // Nothing changed for those who were there: they need not sign again.
    assert_eq!(signers(&world), ["LZ9", "QX1", "RZ9"]);
}

#[test]
fn nobody_accedes_without_the_providers_or_without_signing() {
    for (signed, kept) in
        [(&["QX1"][..], &["LZ9", "RZ9"][..]), (&["RZ9"], &["LZ9"]), (&[], &["LZ9", "RZ9"])]
    {
        let (mut world, document) = joined();
        let write = accession(&world, &document, signed, kept);
        assert_eq!(written(&mut world, "QX1", write), Err(Rejection::NotAParty), "{signed:?}");
        let write = accession(&world, &document, signed, kept);
        assert_eq!(
            written(&mut world, "RZ9", write),
            Err(Rejection::ApprovalInvalid),
            "{signed:?}"
        );
    }
}

#[test]
fn whoever_was_no_party_puts_no_agreement_out_of_force() {
    let (mut world, document) = joined();
    let write = world.agreement_write(document, &["QX1"]);
    assert_eq!(written(&mut world, "QX1", write), Err(Rejection::NotAParty));
}

#[test]
fn an_accession_changes_nothing_else() {
    let spoils: [fn(&mut Agreement); 5] = [
        |it| it.end = "2099-12-31".parse().unwrap(),
        |it| it.title = "Something more".to_owned(),
        |it| it.shares[0].purposes = vec!["local:PLANNING".parse().unwrap()],
        |it| it.shares[0].condition = "true".into(),
        |it| it.shares.push(it.shares[0].clone()),
    ];
    for spoil in spoils {
        let (mut world, mut document) = joined();
        spoil(&mut document);
        let write = accession(&world, &document, &["QX1", "RZ9"], &["LZ9"]);
        assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::ApprovalInvalid));
    }
}

#[test]
fn a_group_alone_may_hold_all_parties() {
    let mut world = World::founded();
    let members = ["LZ9", "RZ9"].map(id).to_vec();
    let group = RegisterBody::Group(GroupRecord { id: id("boards"), members });
    let write = world.next_write(name("group/boards"), group);
    let write = world.approved(write, &["LZ9", "QX1"]);
    world.write("QX1", write).unwrap();
    let with = |party| Agreement { parties: vec![party], ..agreement() };
    let write = world.agreement_write(with(Party::Group(id("boards"))), &["LZ9", "RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Ok(()));
    let mut world = World::founded();
    let write = world.agreement_write(with(Party::Member(id("RZ9"))), &["RZ9"]);
    assert_eq!(written(&mut world, "RZ9", write), Err(Rejection::AgreementMalformed));
}
