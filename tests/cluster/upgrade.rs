//! A rolling upgrade, and the rules raised under load: who knows the new rules goes on, who does not
//! stops, and says so.

use std::time::Duration;

use tally_core::entry::{Algorithm, Entry};
use tally_core::id::{KeyId, LeafIndex, Salt16};
use tally_core::ledger::{PROTOCOL_MAX, Rejection};
use tally_core::register::{
    Approval, RegisterBody, RegisterName, RegisterWrite, register_preimage,
};
use tally_net::ledger::{AppendError, Client, Travel};
use tally_tests::mesh::{Mesh, Plan, until};

use super::history::{Fault, Recorder, check};
use super::load::Load;
use super::{NEXT, TALLY};

const MEMBERS: usize = 3;
const ENTRIES_EACH: u64 = 1500;
/// Longer than a raise takes, whoever has to lead first.
const RAISE_WAIT_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_are_raised_once_most_nodes_know_them_and_the_others_stop_until_they_do() {
    let plan = Plan { members: MEMBERS + 1, nodes: 3 };
    let mut mesh = Mesh::running(TALLY, plan).await.unwrap();
    let recorder = Recorder::new();
    let load = Load::start_for(&mesh, &recorder, MEMBERS, 0..ENTRIES_EACH);
    let all = MEMBERS as u64 * ENTRIES_EACH;
    // The last member's session is for the raise alone: what is not proposed uses up no number.
    let officer = mesh.client(MEMBERS);
    let early = raise(&mesh, &recorder, &officer, 1).await;
    assert!(is_unsupported(&early), "{early:?}");
    drop(officer);

    // One by one, while the others go on. One that knows them is not enough.
    upgrade(&mut mesh, &load, 0, all / 5).await;
    let officer = mesh.client(MEMBERS);
    let early = raise(&mesh, &recorder, &officer, 2).await;
    assert!(is_unsupported(&early), "{early:?}");
    drop(officer);
    upgrade(&mut mesh, &load, 1, all / 5).await;
    let officer = mesh.client(MEMBERS);
    raise_until_taken(&mesh, &recorder, &officer).await;

    // The third stops, says so, neither serves nor votes, and the others go on.
    let halted = 2;
    is_halted(&mesh, halted, 1).await;
    let (_, metrics) = mesh.health(halted, "/metrics").await.unwrap();
    let line = format!("tally_ledger_protocol_version{{what=\"halted-at\"}} {}", PROTOCOL_MAX + 1);
    assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    // Started again as it is, it stops again at the same place.
    mesh.stop(halted).await.unwrap();
    mesh.start(halted).unwrap();
    is_halted(&mesh, halted, 2).await;

    // Upgraded, it applies the very proposal, and holds what the others hold.
    mesh.stop(halted).await.unwrap();
    mesh.run_as(halted, NEXT);
    mesh.start(halted).unwrap();
    load.finish().await;
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.reach(size).await.unwrap();
    let leaves = mesh.leaves(halted, size).await.unwrap();
    let appends = recorder.appends();
    let loaded = appends.iter().filter(|it| it.caller < MEMBERS).count();
    assert_eq!(loaded as u64, all);
    assert_eq!(check(&appends, &leaves), Vec::<Fault>::new());
    let mut heads = Vec::new();
    for node in 0..3 {
        heads.push(mesh.head(node).await.unwrap());
        assert_eq!(mesh.leaves(node, size).await.unwrap(), leaves, "of node {}", node + 1);
        assert_eq!(mesh.status(node).await.unwrap().protocol, PROTOCOL_MAX + 1);
    }
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

/// Waits until a node says everywhere that it has halted, so often since the test began, and serves
/// nobody.
async fn is_halted(mesh: &Mesh, node: usize, times: usize) {
    let halted = until("a node that has halted", RAISE_WAIT_MAX, async || {
        let ready = mesh.health(node, "/ready").await?;
        if ready.0 != 503 || !ready.1.contains("\"reason\":\"halted\"") {
            return Err(format!("{ready:?}"));
        }
        let said = mesh.said(node);
        let told = said.matches("neither votes nor serves, and waits to be upgraded").count();
        if told != times {
            return Err(format!("it has said so {told} times"));
        }
        mesh.status(node).await.err().map(drop).ok_or_else(|| "it serves".to_owned())
    });
    halted.await.unwrap();
}

/// Stops a node, once the load has gone on, and starts it as the next version.
async fn upgrade(mesh: &mut Mesh, load: &Load, node: usize, more: u64) {
    let wanted = load.done() + more;
    let goes_on = until("a load that goes on", Duration::from_secs(60), async || {
        let done = load.done();
        if done >= wanted { Ok(()) } else { Err(format!("{done} answers")) }
    });
    goes_on.await.unwrap();
    mesh.stop(node).await.unwrap();
    mesh.run_as(node, NEXT);
    mesh.start(node).unwrap();
    mesh.reach(1).await.unwrap();
    mesh.leader().await.unwrap();
}

fn is_unsupported(outcome: &Result<u64, AppendError>) -> bool {
    matches!(outcome, Err(AppendError::Rejected { rejection: Rejection::ProtocolUnsupported }))
}

/// A leader may not have heard yet what the upgraded nodes know, and one that does not know it itself
/// hands over first.
async fn raise_until_taken(mesh: &Mesh, recorder: &Recorder, client: &Client) {
    for attempt in 3..100 {
        match raise(mesh, recorder, client, attempt).await {
            Ok(_) => return,
            Err(AppendError::Rejected { rejection: Rejection::ProtocolUnsupported })
            | Err(AppendError::SessionEnded { .. }) => {}
            // An earlier attempt was taken after all.
            Err(AppendError::Rejected { rejection: Rejection::RegisterMoved }) => return,
            Err(other) => panic!("{other}"),
        }
        tokio::task::yield_now().await;
    }
    panic!("the raise is never taken");
}

/// Raises the rules to the next version, as a majority of the members has it.
async fn raise(
    mesh: &Mesh,
    recorder: &Recorder,
    client: &Client,
    salt: u8,
) -> Result<u64, AppendError> {
    let body = RegisterBody::Protocol(PROTOCOL_MAX + 1);
    let body = tally_wire::encode_checked(body).unwrap();
    let (name, previous) = (RegisterName::Protocol, Some(LeafIndex(0)));
    let preimage = register_preimage(&mesh.id(), &name, 2, previous, true, body.bytes());
    let approvals = mesh.members.iter().take(MEMBERS).map(|member| Approval {
        member: member.id.clone(),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&member.officer_key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: member.officer_key.sign(&preimage),
    });
    let write = RegisterWrite {
        salt: Salt16([salt; 16]),
        name,
        version: 2,
        previous,
        narrows: true,
        body,
        approvals: approvals.collect(),
    };
    let entry = Entry::Register(Box::new(write));
    let asked = recorder.ask(MEMBERS, &entry);
    let outcome = client.append(entry, Travel::Alone, RAISE_WAIT_MAX).await;
    recorder.told(asked, &outcome);
    outcome.map(|recorded| recorded.leaf().0)
}
