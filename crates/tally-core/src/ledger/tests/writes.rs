//! The register lane: compare-and-set, consents, groups, witnesses, who approves.

use super::super::*;
use super::world::*;
use crate::register::*;
use tally_log::{Cosigner, KeyName, NoteSigner, SigningKey};

fn written(world: &mut World, write: RegisterWrite) -> Result<(), Rejection> {
    world.write("RZ9", write).map(|_| ())
}

fn group(members: &[&str]) -> RegisterBody {
    let members = members.iter().map(|member| id(member)).collect();
    RegisterBody::Group(GroupRecord { id: id("north"), members })
}

fn group_write(world: &World, members: &[&str], signers: &[&str]) -> RegisterWrite {
    let write = world.next_write(name("group/north"), group(members));
    world.approved(write, signers)
}

#[test]
fn a_write_names_the_leaf_before_it() {
    let mut world = World::new();
    let at = world.state.size();
    let write = world.consent_write("RZ9", 0, true);
    assert_eq!(written(&mut world, write.clone()), Ok(()));
    let register = world.state.register(&name("consent/RZ9/0")).unwrap();
    assert_eq!((register.version, register.leaf), (2, LeafIndex(at)));
    assert_eq!(world.state.last_register_leaf(), LeafIndex(at));
    // Whoever had not seen that leaf overwrites nothing.
    assert_eq!(written(&mut world, write), Err(Rejection::RegisterMoved));
    let first = RegisterWrite { previous: None, ..world.consent_write("RZ9", 0, true) };
    assert_eq!(written(&mut world, first), Err(Rejection::RegisterMoved));
    let ahead =
        RegisterWrite { previous: Some(LeafIndex(0)), ..world.consent_write("RZ9", 1, true) };
    assert_eq!(written(&mut world, ahead), Err(Rejection::RegisterMoved));
}

#[test]
fn versions_go_up_one_by_one() {
    let mut world = World::new();
    for version in [0, 1, 3, u64::MAX] {
        let write = RegisterWrite { version, ..world.consent_write("RZ9", 0, true) };
        assert_eq!(written(&mut world, write), Err(Rejection::VersionWrong), "{version}");
    }
}

#[test]
fn a_seal_names_the_register_leaf_before_its_batch() {
    let mut world = World::new();
    let before = world.state.last_register_leaf();
    let write = world.consent_write("RZ9", 0, true);
    let accepted = world.write("RZ9", write).unwrap();
    assert_eq!(accepted.seal.value().last_register_leaf, before);
    let half = world.permit_half("fhir");
    let after = world.permit(half).unwrap();
    assert_eq!(after.seal.value().last_register_leaf, accepted.first_leaf);
}

#[test]
fn a_custodian_makes_its_own_consent_registers() {
    let mut world = World::new();
    let write = world.consent_write("RZ9", 255, false);
    assert_eq!(written(&mut world, write), Ok(()));
    let register = world.state.register(&name("consent/RZ9/255")).unwrap();
    assert_eq!((register.version, register.narrowed_at), (1, 1));
    let write = world.consent_write("LZ9", 0, false);
    assert_eq!(written(&mut world, write), Err(Rejection::NotOwnRegister));
    let write = world.consent_write("RZ9", 0, false);
    let write = world.approved(write, &["RZ9"]);
    assert_eq!(written(&mut world, write), Err(Rejection::ApprovalInvalid));
}

#[test]
fn only_a_consent_write_may_say_that_it_narrows_nothing() {
    let mut world = World::new();
    let write =
        RegisterWrite { narrows: false, ..world.agreement_write(agreement(), &["LZ9", "RZ9"]) };
    assert_eq!(written(&mut world, write), Err(Rejection::NarrowsUnsaid));
}

#[test]
fn a_body_is_what_its_name_says() {
    let mut world = World::new();
    let bodies = [
        (name("consent/RZ9/0"), RegisterBody::Protocol(2)),
        (name("protocol"), RegisterBody::Consent),
        (name("witnesses"), group(&["RZ9"])),
        (name("group/south"), group(&["RZ9"])),
        (name("member/RZ9"), RegisterBody::Member(Box::new(member("LZ9", 1)))),
        (name("agreement/DSA-2"), {
            let document = encode(agreement());
            RegisterBody::Agreement(Box::new(AgreementRecord {
                document,
                suspended_by: Vec::new(),
            }))
        }),
    ];
    for (name, body) in bodies {
        let write = world.next_write(name, body);
        assert_eq!(written(&mut world, write), Err(Rejection::BodyMismatch));
    }
}

#[test]
fn a_majority_of_active_members_approves() {
    let mut world = World::new();
    let write = group_write(&world, &["LZ9"], &["QX1"]);
    assert_eq!(written(&mut world, write), Err(Rejection::ApprovalsMissing));
    let write = group_write(&world, &["LZ9"], &["LZ9", "QX1"]);
    assert_eq!(written(&mut world, write), Ok(()));
    // Of two, one is no majority; and the third has no vote while it is suspended.
    world.set_status("LZ9", MemberStatus::Suspended);
    let write = group_write(&world, &[], &["QX1"]);
    assert_eq!(written(&mut world, write), Err(Rejection::ApprovalsMissing));
    let write = group_write(&world, &[], &["LZ9", "QX1"]);
    assert_eq!(written(&mut world, write), Err(Rejection::ApprovalInvalid));
    let write = group_write(&world, &[], &["QX1", "RZ9"]);
    assert_eq!(written(&mut world, write), Ok(()));
}

#[test]
fn an_approval_is_for_this_write_by_the_present_ig_lead() {
    let spoils: [fn(&World, &mut RegisterWrite); 7] = [
        |_, write| write.body = encode(group(&["RZ9"])),
        |_, write| write.approvals[1].member = id("XX1"),
        |_, write| write.approvals[1].role = id("caldicott"),
        |_, write| write.approvals[1].key = crate::id::KeyId([0; 8]),
        // Rightly signed, in a role that approves nothing.
        |world, write| {
            let key = key("caldicott QX1");
            let preimage = world.preimage(write);
            write.approvals[1].role = id("caldicott");
            write.approvals[1].key = crate::id::KeyId::of(&key.verifying_key());
            write.approvals[1].signature = key.sign(&preimage);
        },
        |_, write| write.approvals[1].signature = write.approvals[0].signature,
        |world, write| {
            let other = RegisterWrite { version: 2, ..write.clone() };
            write.approvals = world.approved(other, &["LZ9", "QX1"]).approvals;
        },
    ];
    for (place, spoil) in spoils.into_iter().enumerate() {
        let mut world = World::new();
        let mut write = group_write(&world, &["LZ9"], &["LZ9", "QX1"]);
        spoil(&world, &mut write);
        assert_eq!(written(&mut world, write), Err(Rejection::ApprovalInvalid), "spoil {place}");
    }
}

#[test]
fn approvals_are_ascending_and_each_stands_once() {
    let mut world = World::new();
    for signers in [&["QX1", "LZ9"][..], &["QX1", "QX1"]] {
        let write = group_write(&world, &["LZ9"], signers);
        assert_eq!(written(&mut world, write), Err(Rejection::ApprovalsDisordered));
    }
}

#[test]
fn a_group_names_known_members_once_and_ascending() {
    let mut world = World::new();
    for members in [&["RZ9", "LZ9"][..], &["LZ9", "LZ9"], &["XX1"]] {
        let write = group_write(&world, members, &["LZ9", "QX1"]);
        assert_eq!(written(&mut world, write), Err(Rejection::GroupMalformed));
    }
}

fn vkey(number: usize) -> String {
    let name = KeyName::new(&format!("witness.example/{number}")).unwrap();
    let seed = [u8::try_from(number).unwrap(); 32];
    Cosigner::new(name, SigningKey::from_seed(&seed)).key().to_string()
}

#[test]
fn a_witness_has_a_key_that_its_cosignatures_can_be_verified_with() {
    let mut world = World::new();
    let good = vkey(1);
    let log = NoteSigner::new(KeyName::new("w").unwrap(), SigningKey::from_seed(&[1; 32]));
    let (other_id, cut) = (good.replacen("+", "x+", 1), good[..good.len() - 4].to_owned());
    for (bad, member) in [
        (String::new(), Some("RZ9")),
        ("witness of RZ9".to_owned(), Some("RZ9")),
        (log.key().to_string(), Some("RZ9")),
        (other_id, Some("RZ9")),
        (cut, None),
    ] {
        let witness = Witness { member: member.map(id), vkey: bad.clone(), url: String::new() };
        let other = Witness { member: None, vkey: good.clone(), url: String::new() };
        let body = RegisterBody::Witnesses(vec![other, witness]);
        let write = world.next_write(name("witnesses"), body);
        let write = world.approved(write, &["LZ9", "QX1"]);
        let malformed = Err(Rejection::WitnessKeyMalformed);
        assert_eq!(written(&mut world, write), malformed, "{bad}");
    }
}

#[test]
fn witnesses_are_few_distinct_and_known() {
    let witness = |number: usize, member: Option<&str>| Witness {
        member: member.map(id),
        vkey: vkey(number),
        url: String::new(),
    };
    let mut world = World::new();
    let cases = [
        ((0..17).map(|number| witness(number, None)).collect(), false),
        (vec![witness(1, None), witness(1, None)], false),
        (vec![witness(1, Some("XX1"))], false),
        ((0..13).map(|number| witness(number, Some("RZ9"))).collect::<Vec<_>>(), true),
    ];
    for (witnesses, fits) in cases {
        let write = world.next_write(name("witnesses"), RegisterBody::Witnesses(witnesses));
        let write = world.approved(write, &["LZ9", "QX1"]);
        let expected = if fits { Ok(()) } else { Err(Rejection::WitnessesMalformed) };
        assert_eq!(written(&mut world, write), expected);
    }
}

#[test]
fn no_more_than_sixteen_sign_a_checkpoint() {
    let witness = |number: usize| Witness { member: None, vkey: vkey(number), url: String::new() };
    let mut world = World::new();
    let put = |world: &mut World, count: usize| {
        let witnesses = (0..count).map(witness).collect();
        let write = world.next_write(name("witnesses"), RegisterBody::Witnesses(witnesses));
        let write = world.approved(write, &["LZ9", "QX1"]);
        written(world, write)
    };
    // Three ledger nodes sign, too.
    assert_eq!(put(&mut world, 14), Err(Rejection::CosignersTooMany));
    assert_eq!(put(&mut world, 13), Ok(()));
    let grown = member("NEW", 4);
    let write = world.member_write(grown.clone());
    assert_eq!(written(&mut world, write), Err(Rejection::CosignersTooMany));
    // What takes nobody on is let through.
    let renamed = MemberRecord { name: "Renamed".to_owned(), ..member("LZ9", 1) };
    let write = world.member_write(renamed);
    assert_eq!(written(&mut world, write), Ok(()));
    assert_eq!(put(&mut world, 12), Ok(()));
    let write = world.member_write(grown);
    assert_eq!(written(&mut world, write), Ok(()));
}
