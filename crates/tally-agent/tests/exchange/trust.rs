//! Connections between agents last as long as the registers let them: the registers say it, and no
//! certificate has to be revoked.

use std::time::Instant;

use tally_core::refusal::Refusal;
use tally_core::register::MemberStatus;
use tally_net::quinn::ConnectionError;
use tally_net::{Authority, IdentityError};
use tokio::time::timeout;

use super::data::*;
use super::mesh::*;
use tally_agent::exchange::Head;

/// Opens a stream from who asks to who provides, changes something, and waits until the connection that
/// carries it has ended; why, as who asks hears it.
async fn ended_by(mesh: &Mesh, change: impl Future<Output = ()>) -> String {
    let peers = mesh.agent(ASKS).exchange.peers().clone();
    let stream = timeout(LONG, peers.open(&MEMBERS[PROVIDES].parse().unwrap())).await;
    let connection = stream.unwrap().unwrap().connection;
    assert!(connection.close_reason().is_none());
    change.await;
    let applied = Instant::now();
    let why = timeout(LONG, connection.closed()).await.unwrap();
    println!("ended {:?} after the registers were applied", applied.elapsed());
    match why {
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        ConnectionError::LocallyClosed => String::new(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_removed_loses_its_connections_to_other_agents_at_once() {
    let mesh = Mesh::running().await;
    let answer = mesh.ask(patient()).await.unwrap();
    answer.body.read().await.unwrap();
    let why = ended_by(&mesh, mesh.set_status(ASKS, MemberStatus::Removed)).await;
    // Whichever side heard it first has closed it.
    let removed = IdentityError::MemberRemoved.to_string();
    assert!(why.is_empty() || why == removed, "{why}");
    // And it gets no other one.
    let peers = mesh.agent(ASKS).exchange.peers().clone();
    let again = timeout(LONG, peers.open(&MEMBERS[PROVIDES].parse().unwrap())).await.unwrap();
    if let Ok(stream) = again {
        timeout(LONG, stream.connection.closed()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_ca_is_replaced_shakes_hands_anew_with_what_the_new_one_issues() {
    let mesh = Mesh::running().await;
    let answer = mesh.ask(patient()).await.unwrap();
    answer.body.read().await.unwrap();
    let new = Authority::create("LZ9", mesh.validity()).unwrap();
    let ca = new.certificate_der().to_vec();
    ended_by(&mesh, mesh.set_member(ASKS, |record| record.ca = ca)).await;
    // What the old CA has issued is refused from here on.
    let answer = mesh.ask(patient()).await.unwrap();
    let Head::Refused(no) = answer.head else { panic!("{:?}", answer.head) };
    assert_eq!(no.refusal, Refusal::Unreachable);
    // The agent is given a certificate of the new one, and goes on without a restart.
    let identity = mesh.agent(ASKS).exchange.recorder().ledger().identity.clone();
    let issued = new.issue(&identity.id().unwrap(), &[], mesh.validity()).unwrap();
    identity.replace(&issued.identity());
    let served = async {
        loop {
            match mesh.ask(patient()).await.unwrap().head {
                Head::Permit { .. } => return,
                Head::Refused(_) => next_look().await,
            }
        }
    };
    timeout(LONG, served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_agent_key_is_replaced_loses_its_connections() {
    let mesh = Mesh::running().await;
    let other = key("agent LZ9, the next").verifying_key();
    ended_by(&mesh, mesh.set_member(ASKS, |record| record.agent_key = other)).await;
}
