//! Checkpoints that all voters sign, and that witnesses cosign.

mod judge;
mod published;

use std::time::Duration;

use serde_json::Value;
use tally_core::entry::{Algorithm, Entry};
use tally_core::id::{KeyId, Salt16};
use tally_core::register::{
    Approval, RegisterBody, RegisterName, RegisterWrite, Witness, register_preimage, witness_quorum,
};
use tally_log::{NoteKey, Policy, SignedCheckpoint};
use tally_net::Role;
use tally_net::ledger::{Client, Link, Recorded, Travel};
use tally_tests::mesh::{Mesh, Plan, until};
use tally_wire::encode_checked;
use tally_wire::message::ledger::{
    Query, QueryAnswer, QueryRefusal, QueryRefused, WitnessedReceiptQuery,
};
use tokio::time::Instant;

use self::judge::{Judge, Way};
use super::TALLY;
use super::load::entry;

const LONG: Duration = Duration::from_secs(30);
/// What is a second on a machine that does nothing else.
const WITNESSED_WAIT_MAX: Duration = Duration::from_secs(5);
const CHECKPOINT: &str = "/checkpoint";
const WITNESSED: &str = "/checkpoint/witnessed";

/// The first version of the register of witnesses, approved by all members.
fn register(mesh: &Mesh, witnesses: Vec<Witness>) -> Entry {
    let name = RegisterName::Witnesses;
    let body = encode_checked(RegisterBody::Witnesses(witnesses)).unwrap();
    let preimage = register_preimage(&mesh.id(), &name, 1, None, true, body.bytes());
    let approvals = mesh.members.iter().map(|by| Approval {
        member: by.id.clone(),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&by.officer_key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: by.officer_key.sign(&preimage),
    });
    let (salt, approvals) = (Salt16([8; 16]), approvals.collect());
    let (version, previous, narrows) = (1, None, true);
    let write = RegisterWrite { salt, name, version, previous, narrows, body, approvals };
    Entry::Register(Box::new(write))
}

/// A member's, which dials out.
fn of_member(mesh: &Mesh, member: usize, judge: &Judge) -> Witness {
    let member = Some(mesh.members[member].id.clone());
    Witness { member, vkey: judge.key().to_string(), url: String::new() }
}

fn of_others(key: &NoteKey, address: std::net::SocketAddr) -> Witness {
    Witness { member: None, vkey: key.to_string(), url: format!("http://{address}/w") }
}

async fn append(mesh: &Mesh, client: &Client, number: u64) -> Recorded {
    client.append(entry(mesh, 0, number), Travel::Alone, LONG).await.unwrap()
}

/// Waits until a node shows a checkpoint at this path that is as it is looked for.
async fn shows(
    mesh: &Mesh,
    node: usize,
    path: &str,
    mut fits: impl FnMut(&SignedCheckpoint) -> bool,
) -> SignedCheckpoint {
    until(&format!("{path} at node {}", node + 1), LONG, async || {
        match mesh.checkpoint(node, path).await? {
            Some(signed) if fits(&signed) => Ok(signed),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap()
}

/// How a node says that the witnesses are.
async fn seen(mesh: &Mesh, node: usize) -> Vec<Value> {
    let (_, status) = mesh.get(node, "/admin/status").await.unwrap();
    let status: Value = serde_json::from_slice(&status).unwrap();
    status["witnesses"].as_array().unwrap().clone()
}

fn voters(mesh: &Mesh, signed: &SignedCheckpoint) -> usize {
    signed.verify_log(&mesh.log_keys()).map_or(0, |verified| verified.len())
}

fn cosigners(signed: &SignedCheckpoint, keys: &[NoteKey]) -> usize {
    signed.note().verify(keys).map_or(0, |verified| verified.len())
}

/// Asks for the receipt of a leaf under a witnessed checkpoint, as an auditor.
async fn witnessed_receipt(mesh: &Mesh, node: usize, of: &Recorded) -> QueryAnswer {
    let config = mesh.config_as(0, mesh.identity(0, Role::Auditor, "tests"));
    let mut config = config;
    config.limits.query_wait_max = LONG;
    let link = Link::dial(&config, mesh.ledger_address(node)).await.unwrap();
    let query = Query::WitnessedReceipt(WitnessedReceiptQuery { leaf: of.leaf() });
    let answer = link.ask(&query).await.unwrap();
    link.close();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_voters_sign_and_a_quorum_of_witnesses_cosigns_soon_on_every_node() {
    let mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let client = mesh.client(0);
    let before = append(&mesh, &client, 0).await;
    // All three nodes show one note, with all three signatures.
    let whole = |it: &SignedCheckpoint| {
        it.checkpoint().size >= before.leaf().0 + 2 && voters(&mesh, it) == 3
    };
    let first = shows(&mesh, 0, CHECKPOINT, whole).await;
    for node in 1..3 {
        shows(&mesh, node, CHECKPOINT, |it| it.to_string() == first.to_string()).await;
    }
    assert_eq!(first.note().signatures().len(), 3);
    assert!(mesh.checkpoint(0, WITNESSED).await.unwrap().is_none());

    let ours = [0, 1].map(|it| Judge::new(&mesh, &format!("witness/{it}"), Way::Honest));
    let _agents = [0, 1].map(|member| ours[member].dial(&mesh, member));
    let others = published::start(&mesh).await;
    let stand_in = Judge::new(&mesh, "witness/stand-in", Way::Honest);
    let (at, _serving) = stand_in.serve().await;
    let third = others.as_ref().map_or_else(|| (stand_in.key(), at), |it| (&it.key, it.address));
    let mut witnesses = vec![of_others(third.0, third.1)];
    witnesses.extend([0, 1].map(|member| of_member(&mesh, member, &ours[member])));
    let keys = [third.0.clone(), ours[0].key().clone(), ours[1].key().clone()];
    let named = register(&mesh, witnesses);
    let named = client.append(named, Travel::Alone, LONG).await.unwrap();
    // All three cosign the same checkpoint, the one of others too.
    let after = named.leaf().0 + 2;
    let all = |it: &SignedCheckpoint| it.checkpoint().size >= after && cosigners(it, &keys) == 3;
    shows(&mesh, 0, WITNESSED, all).await;

    for number in 1..=3 {
        // Idle again: what came before is witnessed by all, and a round is free.
        until("an idle mesh", LONG, async || {
            let leader = mesh.leader().await.map_err(|error| error.to_string())?;
            let seen = seen(&mesh, leader).await;
            let idle = seen.iter().all(|it| it["age_ms"].as_u64() > Some(2200));
            if idle { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await
        .unwrap();
        let began = Instant::now();
        let recorded = append(&mesh, &client, number).await;
        let acknowledged = began.elapsed();
        let size = recorded.leaf().0 + 2;
        let reaches = |it: &SignedCheckpoint| it.checkpoint().size >= size;
        shows(&mesh, 0, CHECKPOINT, reaches).await;
        let published = began.elapsed();
        for node in 0..3 {
            let signed = shows(&mesh, node, WITNESSED, reaches).await;
            assert!(cosigners(&signed, &keys) >= witness_quorum(3));
            assert_eq!(voters(&mesh, &signed), 3);
        }
        let witnessed = began.elapsed();
        println!("acknowledged {acknowledged:?}, published {published:?}, witnessed {witnessed:?}");
        assert!(witnessed < WITNESSED_WAIT_MAX, "{witnessed:?}");
        let answer = witnessed_receipt(&mesh, 1, &recorded).await;
        let QueryAnswer::Receipt(receipt) = answer else { panic!("{answer:?}") };
        let receipt = receipt.receipt.into_parts().0;
        let signed = SignedCheckpoint::parse(&receipt.checkpoint).unwrap();
        let named = keys.iter().enumerate().map(|(it, key)| (format!("w{it}"), key.clone()));
        let policy = Policy::threshold(mesh.log_keys(), named, witness_quorum(3)).unwrap();
        assert_eq!(policy.check(&signed).unwrap().logs.len(), 3);
        assert!(signed.checkpoint().size > receipt.seal_leaf.0);
    }

    let leader = mesh.leader().await.unwrap();
    let (_, status) = mesh.get(leader, "/admin/status").await.unwrap();
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["witnessed_size"], status["published_size"]);
    let seen = seen(&mesh, leader).await;
    assert!(seen.iter().all(|it| it["state"] == "cosigning" && it["age_ms"].is_u64()), "{status}");
    assert_eq!(seen[1]["member"], "RA1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_lies_or_saw_another_history_does_not_count_and_publishing_goes_on() {
    let mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let client = mesh.client(0);
    let judges = [Way::Honest, Way::Lies, Way::SawAnother].map(|way| {
        let judge = Judge::new(&mesh, &format!("witness/{way:?}"), way);
        (way, judge)
    });
    let mut serving = Vec::new();
    let mut witnesses = Vec::new();
    for (_, judge) in &judges {
        let (at, running) = judge.serve().await;
        witnesses.push(of_others(judge.key(), at));
        serving.push(running);
    }
    let named = register(&mesh, witnesses);
    let named = client.append(named, Travel::Alone, LONG).await.unwrap();
    let leader = mesh.leader().await.unwrap();
    let states = async || {
        let seen = seen(&mesh, leader).await;
        seen.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until("what each witness does", LONG, async || match states().await {
        seen if seen == ["cosigning", "bad-signature", "other-history"] => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await
    .unwrap();
    // One good cosignature of three stands on what is published, and makes no quorum.
    let recorded = append(&mesh, &client, 1).await;
    let good = [judges[0].1.key().clone()];
    let size = recorded.leaf().0 + 2;
    let cosigned =
        |it: &SignedCheckpoint| it.checkpoint().size >= size && cosigners(it, &good) == 1;
    let shown = shows(&mesh, leader, CHECKPOINT, cosigned).await;
    assert_eq!(shown.note().signatures().len(), 4);
    assert_eq!(mesh.get(leader, WITNESSED).await.unwrap().0, 404);
    let unknown = QueryAnswer::Refused(QueryRefused { why: QueryRefusal::Unknown });
    assert_eq!(witnessed_receipt(&mesh, leader, &named).await, unknown);
    // Once a second one is honest, there is a quorum.
    judges[1].1.turn(Way::Honest);
    let enough = |it: &SignedCheckpoint| it.checkpoint().size >= size;
    shows(&mesh, leader, WITNESSED, enough).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_goes_on_without_a_frozen_voter_and_never_back_when_the_leader_is_killed()
{
    let mut mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let client = mesh.client(0);
    append(&mesh, &client, 0).await;
    let leader = mesh.leader().await.unwrap();
    let [frozen, other] = [1, 2].map(|more| (leader + more) % 3);
    for node in 0..3 {
        shows(&mesh, node, CHECKPOINT, |it| voters(&mesh, it) == 3).await;
    }
    mesh.freeze(frozen);
    let recorded = append(&mesh, &client, 1).await;
    let size = recorded.leaf().0 + 2;
    let two = |it: &SignedCheckpoint| it.checkpoint().size >= size && voters(&mesh, it) == 2;
    for node in [leader, other] {
        shows(&mesh, node, CHECKPOINT, two).await;
    }
    mesh.thaw(frozen);
    // Whoever was left out signs as soon as it can, though nothing new is recorded.
    let three = |it: &SignedCheckpoint| it.checkpoint().size >= size && voters(&mesh, it) == 3;
    for node in 0..3 {
        shows(&mesh, node, CHECKPOINT, three).await;
    }

    let mut last = [0; 3];
    for round in 2..5 {
        let leader = mesh.leader().await.unwrap();
        let recorded = append(&mesh, &client, round).await;
        mesh.kill(leader).await.unwrap();
        let next = append(&mesh, &client, round + 10).await;
        assert!(next.leaf() > recorded.leaf());
        mesh.start(leader).unwrap();
        let size = next.leaf().0 + 2;
        for (node, sizes) in last.iter_mut().enumerate() {
            shows(&mesh, node, CHECKPOINT, |it| {
                let now = it.checkpoint().size;
                assert!(now >= *sizes, "node {} shows {now} after {sizes}", node + 1);
                *sizes = now;
                now >= size && voters(&mesh, it) == 3
            })
            .await;
        }
    }
    let mut notes = Vec::new();
    for node in 0..3 {
        notes.push(mesh.checkpoint(node, CHECKPOINT).await.unwrap().unwrap().to_string());
    }
    assert!(notes.iter().all(|note| *note == notes[0]), "{notes:?}");
    for node in 0..3 {
        mesh.stop(node).await.unwrap();
    }
    let tiles = mesh.tiles(0);
    assert!((1..3).all(|node| mesh.tiles(node) == tiles));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn witnesses_go_on_with_the_next_leader_and_a_node_that_comes_back_shows_what_was_witnessed()
{
    let mut mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let client = mesh.client(0);
    let judges = [0, 1, 2].map(|it| Judge::new(&mesh, &format!("witness/{it}"), Way::Honest));
    let _agents = [0, 1].map(|member| judges[member].dial(&mesh, member));
    let (at, _serving) = judges[2].serve().await;
    let mut witnesses = vec![of_others(judges[2].key(), at)];
    witnesses.extend([0, 1].map(|member| of_member(&mesh, member, &judges[member])));
    let keys = judges.each_ref().map(|it| it.key().clone());
    let named = register(&mesh, witnesses);
    let named = client.append(named, Travel::Alone, LONG).await.unwrap();
    let mut least = named.leaf().0 + 2;
    for round in 0..2 {
        for node in 0..3 {
            shows(&mesh, node, WITNESSED, |it| it.checkpoint().size >= least).await;
        }
        let leader = mesh.leader().await.unwrap();
        mesh.kill(leader).await.unwrap();
        let size = append(&mesh, &client, round).await.leaf().0 + 2;
        for node in (0..3).filter(|node| *node != leader) {
            let all =
                |it: &SignedCheckpoint| it.checkpoint().size >= size && cosigners(it, &keys) == 3;
            let signed = shows(&mesh, node, WITNESSED, all).await;
            // Each signs once: the two nodes that are there, and all witnesses.
            assert_eq!((voters(&mesh, &signed), signed.note().signatures().len()), (2, 5));
        }
        // It shows what it kept, or what the next leader tells it.
        mesh.start(leader).unwrap();
        let kept = |it: &SignedCheckpoint| {
            it.checkpoint().size >= least && cosigners(it, &keys) >= witness_quorum(3)
        };
        shows(&mesh, leader, WITNESSED, kept).await;
        least = size;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_signs_alone_and_at_once() {
    let mesh = Mesh::running(TALLY, Plan { members: 1, nodes: 1 }).await.unwrap();
    let client = mesh.client(0);
    for number in 0..5 {
        let began = Instant::now();
        let recorded = append(&mesh, &client, number).await;
        let acknowledged = began.elapsed();
        let size = recorded.leaf().0 + 2;
        let signed = shows(&mesh, 0, CHECKPOINT, |it| it.checkpoint().size >= size).await;
        println!("acknowledged {acknowledged:?}, published {:?}", began.elapsed());
        assert_eq!((voters(&mesh, &signed), signed.note().signatures().len()), (1, 1));
    }
}
