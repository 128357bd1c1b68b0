//! Who may ask for what, by the registers of a mesh.

use tally_core::entry::{Environment, Genesis};
use tally_core::id::{MemberId, NodeId, Salt16};
use tally_core::ledger::Registers;
use tally_core::register::{LedgerNode, MemberRecord, MemberStatus};
use tally_core::time::Timestamp;
use tally_log::{SigningKey, sha256};

use super::rules::{may_ask, may_transfer};
use super::{ClusterRefusal, Request};

fn member(id: &str, nodes: &[u64], status: MemberStatus) -> MemberRecord {
    let key = |what: String| SigningKey::from_seed(sha256(&[what.as_bytes()]).as_bytes());
    let node = |number: &u64| LedgerNode {
        id: NodeId(*number),
        log_key: key(format!("log {number}")).verifying_key(),
        quic: "127.0.0.1:1".parse().unwrap(),
        https: "127.0.0.1:2".parse().unwrap(),
    };
    MemberRecord {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        codes: Vec::new(),
        ca: Vec::new(),
        agent_key: key(format!("agent {id}")).verifying_key(),
        officers: Vec::new(),
        nodes: nodes.iter().map(node).collect(),
        address: None,
        status,
        supersedes: Vec::new(),
        assessment: None,
    }
}

fn registers() -> Registers {
    let genesis = Genesis {
        salt: Salt16([1; 16]),
        mesh: "dev.example".parse().unwrap(),
        environment: Environment::Test,
        protocol: 1,
        members: vec![
            member("LZ9", &[1, 4], MemberStatus::Active),
            member("QX1", &[2], MemberStatus::Removed),
            member("RZ9", &[], MemberStatus::Active),
        ],
        voters: vec![NodeId(1), NodeId(2)],
    };
    let mut registers = Registers::default();
    registers.found(&genesis, Timestamp(1));
    registers
}

#[test]
fn what_an_operator_may_do_is_what_the_registers_say() {
    let registers = registers();
    let id = |text: &str| text.parse::<MemberId>().unwrap();
    let add = |node| Request::Add { node: NodeId(node), address: "a.example:1".parse().unwrap() };
    let promote = |node| Request::Promote { node: NodeId(node) };
    let remove = |node| Request::Remove { node: NodeId(node) };
    let replace = |old, new| Request::Replace { old: NodeId(old), new: NodeId(new) };
    let (foreign, unknown) = (ClusterRefusal::NotYourNode, ClusterRefusal::NodeNotRegistered);
    for (by, request, allowed) in [
        ("LZ9", add(4), Ok(())),
        ("RZ9", add(4), Err(foreign)),
        ("LZ9", add(9), Err(unknown)),
        ("LZ9", promote(4), Ok(())),
        ("RZ9", promote(4), Err(foreign)),
        ("LZ9", remove(1), Ok(())),
        ("RZ9", remove(1), Err(foreign)),
        ("RZ9", remove(9), Ok(())),
        ("RZ9", remove(2), Ok(())),
        ("LZ9", replace(1, 4), Ok(())),
        ("LZ9", replace(1, 9), Err(unknown)),
        ("RZ9", replace(1, 4), Err(foreign)),
        ("QX1", remove(9), Err(ClusterRefusal::NotTakingPart)),
        ("QX1", remove(2), Err(ClusterRefusal::NotTakingPart)),
        ("XX1", remove(9), Err(ClusterRefusal::NotTakingPart)),
    ] {
        assert_eq!(may_ask(&registers, &id(by), &request), allowed, "{by} {request:?}");
    }
    assert_eq!(may_transfer(&registers, &id("LZ9")), Ok(()));
    assert_eq!(may_transfer(&registers, &id("RZ9")), Err(foreign));
    assert_eq!(may_transfer(&registers, &id("QX1")), Err(ClusterRefusal::NotTakingPart));
}
