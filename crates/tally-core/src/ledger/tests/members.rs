//! Writes to members: admit, change, rotate, suspend, remove.

use super::super::*;
use super::world::*;
use crate::entry::Entry;
use crate::id::NodeId;
use crate::register::*;

fn changed(world: &mut World, by: &str, record: MemberRecord) -> Result<(), Rejection> {
    let write = world.member_write(record);
    world.write(by, write).map(|_| ())
}

#[test]
fn a_majority_admits_a_member_which_then_opens_a_session() {
    let mut world = World::new();
    let record = member("NEW", 4);
    let write = world.member_write(record.clone());
    let lone = world.approved(write, &["QX1"]);
    assert_eq!(world.write("QX1", lone), Err(Rejection::ApprovalsMissing));
    assert_eq!(changed(&mut world, "QX1", record), Ok(()));
    world.open_session("NEW");
    let consent = world.consent_write("NEW", 0, false);
    assert!(world.write("NEW", consent).is_ok());
}

#[test]
fn a_member_that_changes_stales_what_was_read_of_it() {
    let mut world = World::new();
    let half = world.permit_half("fhir");
    let record = MemberRecord { name: "Renamed".to_owned(), ..member("LZ9", 1) };
    assert_eq!(changed(&mut world, "LZ9", record), Ok(()));
    assert_eq!(world.permit(half), Err(Rejection::Stale(vec![name("member/LZ9")])));
}

#[test]
fn a_replaced_agent_key_ends_the_session_that_it_signed() {
    let mut world = World::new();
    let record =
        MemberRecord { agent_key: key("next agent RZ9").verifying_key(), ..member("RZ9", 3) };
    let session = world.state.current_session(&id("RZ9"));
    assert_eq!(changed(&mut world, "RZ9", record), Ok(()));
    let close = Entry::Close(world.close(0));
    assert_eq!(world.record("RZ9", close), Err(Rejection::SessionNotOpen));
    // The next session still names it.
    assert_eq!(world.state.current_session(&id("RZ9")), session);
    let start = world.session_start("RZ9");
    let verdict = world.submit(Submission::SessionStart(encode(start)));
    assert_eq!(verdict, Verdict::Rejected(Rejection::WrongKey));
}

#[test]
fn a_ledger_nodes_number_is_never_used_again() {
    let mut world = World::new();
    let with_node = |node: u64| MemberRecord { id: id("RZ9"), ..with_log(member("RZ9", 3), node) };
    assert_eq!(changed(&mut world, "RZ9", with_node(2)), Err(Rejection::NodeReused));
    assert_eq!(changed(&mut world, "RZ9", with_node(4)), Ok(()));
    assert_eq!(changed(&mut world, "RZ9", with_node(3)), Err(Rejection::NodeReused));
    assert!(world.state.registers().was_used(NodeId(3)));
    // What stays is not used again: it is used still.
    assert_eq!(changed(&mut world, "RZ9", with_node(4)), Ok(()));
}

fn with_log(mut record: MemberRecord, node: u64) -> MemberRecord {
    record.nodes[0].id = NodeId(node);
    record.nodes[0].log_key = key(&format!("another log {node}")).verifying_key();
    record
}

#[test]
fn a_key_has_one_use_in_the_whole_mesh() {
    let spoils: [fn(&mut MemberRecord); 6] = [
        |record| record.agent_key = key("agent LZ9").verifying_key(),
        |record| record.agent_key = key("ig-lead RZ9").verifying_key(),
        |record| record.agent_key = key("log 3").verifying_key(),
        |record| record.officers[0].key = key("ig-lead QX1").verifying_key(),
        |record| record.nodes[0].log_key = key("agent QX1").verifying_key(),
        |record| record.nodes[0].log_key = key("caldicott RZ9").verifying_key(),
    ];
    for (place, spoil) in spoils.into_iter().enumerate() {
        let mut world = World::new();
        let mut record = member("RZ9", 3);
        record.codes = vec![code()];
        spoil(&mut record);
        let verdict = changed(&mut world, "RZ9", record);
        assert_eq!(verdict, Err(Rejection::KeyReused), "spoil {place}");
    }
}

#[test]
fn one_officer_may_hold_two_roles() {
    let mut world = World::new();
    let mut record = member("RZ9", 3);
    record.officers[0].key = record.officers[1].key;
    assert_eq!(changed(&mut world, "RZ9", record), Ok(()));
}

#[test]
fn a_members_lists_are_in_order_and_short() {
    let spoils: [fn(&mut MemberRecord); 12] = [
        |record| record.officers.reverse(),
        |record| record.nodes.push(record.nodes[0].clone()),
        |record| record.nodes[0].id = NodeId(0),
        |record| record.codes = vec![code(); 17],
        |record| record.codes[0].value = "rz9".to_owned(),
        |record| record.codes[0].value = "R Z9".to_owned(),
        |record| record.codes[0].system = "gss".to_owned(),
        |record| {
            record.codes[0].from = "2025-04-02".parse().ok();
            record.codes[0].until = "2025-04-01".parse().ok();
        },
        |record| record.supersedes = vec![id("RZ9")],
        |record| record.supersedes = vec![id("RZ8"), id("RZ7")],
        |record| record.officers = (10..27).map(officer).collect(),
        |record| record.nodes = (10..19).map(|node| member("RZ9", node).nodes.remove(0)).collect(),
    ];
    for (place, spoil) in spoils.into_iter().enumerate() {
        let mut world = World::new();
        let mut record = member("RZ9", 3);
        record.codes = vec![code()];
        spoil(&mut record);
        let verdict = changed(&mut world, "RZ9", record);
        assert_eq!(verdict, Err(Rejection::MemberMalformed), "spoil {place}");
    }
}

fn code() -> OrganisationCode {
    OrganisationCode { system: "ods".to_owned(), value: "RZ9".to_owned(), from: None, until: None }
}

fn officer(number: u32) -> Officer {
    let role = format!("role-{number}");
    Officer { key: key(&role).verifying_key(), role: id(&role) }
}

#[test]
fn a_removed_member_comes_back_only_by_the_members() {
    let mut world = World::new();
    world.set_status("RZ9", MemberStatus::Removed);
    let close = Entry::Close(world.close(0));
    assert_eq!(world.record("RZ9", close), Err(Rejection::SessionNotOpen));
    world.set_status("RZ9", MemberStatus::Active);
    world.open_session("RZ9");
    let half = world.permit_half("fhir");
    assert!(world.permit(half).is_ok());
}
