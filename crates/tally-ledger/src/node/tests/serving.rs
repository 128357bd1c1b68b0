//! What callers get, and what they can't do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tally_core::id::{LeafIndex, NodeId};
use tally_net::endpoint::{ConnectionLimits, client_config, connect, endpoint};
use tally_net::frame::{FrameLimits, read_frame, write_frame};
use tally_net::ledger::{Feed, FeedEvent};
use tally_net::quinn::{Connection, Endpoint, SendStream};
use tally_net::{Expect, Identity, Role, alpn, tls};
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome};
use tally_wire::message::ledger::FeedStart;
use tally_wire::{decode_value, encode};
use tokio::time::timeout;

use super::mesh::*;
use crate::server::{FEEDS_MAX, STREAM_FAILED};

const FRAMES: FrameLimits = FrameLimits { len_max: 1 << 20, wait_max: LONG };

/// A caller that may say anything.
struct Caller {
    connection: Connection,
    _endpoint: Endpoint,
}

impl Caller {
    async fn dial(mesh: &Mesh, place: usize) -> Self {
        Self::dial_as(mesh, mesh.config(place).identity).await
    }

    async fn dial_as(mesh: &Mesh, identity: Identity) -> Self {
        let config = mesh.config(0);
        let expect = Expect { member: None, role: Role::Ledger, name: None };
        let identity = Some(identity);
        let tls = tls::client_config(identity, config.trust, expect, &[alpn::LEDGER]).unwrap();
        let limits = ConnectionLimits::default();
        let quic = client_config(tls, &limits).unwrap();
        let endpoint = endpoint("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let to = config.nodes[0].address;
        let connection = connect(&endpoint, quic, to, &limits).await.unwrap();
        Self { connection, _endpoint: endpoint }
    }

    async fn hello(&self, hello: &Hello) -> HelloAnswer {
        let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
        write_frame(&mut send, &encode(hello), FRAMES).await.unwrap();
        let answer = read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
        decode_value(&answer).unwrap()
    }

    /// A stream to which these bytes were sent, and the code that it was stopped with.
    async fn stopped(&self, bytes: &[u8]) -> u32 {
        let (mut send, _receive) = self.connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        stop_code(&mut send).await
    }
}

async fn stop_code(send: &mut SendStream) -> u32 {
    let code = timeout(LONG, send.stopped()).await.unwrap().unwrap();
    code.unwrap().into_inner().try_into().unwrap()
}

fn hello(mesh: &Mesh, place: usize) -> Hello {
    let config = mesh.config(place);
    Hello {
        version_min: 1,
        version_max: 1,
        mesh_id: config.mesh_id,
        epoch: 0,
        member: config.member,
        node: None,
        protocol: 1,
        frame_len_max: 1 << 18,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_who_it_says_or_means_another_mesh_is_unwelcome() {
    let mut mesh = Mesh::new();
    mesh.start(0).await;
    let right = hello(&mesh, 1);
    let mut other_mesh = right.clone();
    other_mesh.mesh_id.0 = tally_log::sha256(&[b"another"]);
    let wrong = [
        (Hello { version_min: 2, version_max: 3, ..right.clone() }, NotWelcome::VersionUnknown),
        (other_mesh, NotWelcome::WrongMesh),
        (Hello { member: "RZ9".parse().unwrap(), ..right.clone() }, NotWelcome::NotAMember),
    ];
    for (hello, why) in wrong {
        let caller = Caller::dial(&mesh, 1).await;
        match caller.hello(&hello).await {
            HelloAnswer::Unwelcome(refused) => assert_eq!(refused.why, why),
            HelloAnswer::Welcome(_) => panic!("welcome, though {why:?}"),
        }
        timeout(LONG, caller.connection.closed()).await.unwrap();
    }
    let caller = Caller::dial(&mesh, 1).await;
    assert!(matches!(caller.hello(&right).await, HelloAnswer::Welcome(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_node_is_one_that_the_registers_name() {
    let mesh = Mesh::running().await;
    mesh.reach(1).await;
    for (name, node, welcome) in [("2", Some(2), true), ("9", Some(9), false), ("x", None, false)] {
        let caller = Caller::dial_as(&mesh, mesh.identity(1, Role::Ledger, name)).await;
        let hello = Hello { node: node.map(NodeId), ..hello(&mesh, 1) };
        match caller.hello(&hello).await {
            HelloAnswer::Welcome(_) => assert!(welcome, "{name}"),
            HelloAnswer::Unwelcome(refused) => {
                assert!(!welcome, "{name}");
                assert_eq!(refused.why, NotWelcome::NotAMember);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_few_feeds() {
    let mesh = Mesh::running().await;
    let caller = Caller::dial(&mesh, 1).await;
    caller.hello(&hello(&mesh, 1)).await;
    let mut feeds = Vec::new();
    for _ in 0..FEEDS_MAX {
        let (mut send, mut receive) = caller.connection.open_bi().await.unwrap();
        let start = encode(&FeedStart { from: LeafIndex(0) });
        write_frame(&mut send, &start, FRAMES).await.unwrap();
        let first = timeout(LONG, read_frame(&mut receive, FRAMES)).await.unwrap().unwrap();
        assert!(first.is_some());
        feeds.push((send, receive));
    }
    let start = encode(&FeedStart { from: LeafIndex(0) });
    let frame = [&u32::try_from(start.len()).unwrap().to_be_bytes()[..], &start].concat();
    assert_eq!(caller.stopped(&frame).await, STREAM_FAILED);
    append(&mesh.client(1), 1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_its_stream_and_is_counted_and_others_are_served() {
    let mesh = Mesh::running().await;
    let caller = Caller::dial(&mesh, 1).await;
    caller.hello(&hello(&mesh, 1)).await;
    let oversized = u32::MAX.to_be_bytes();
    let no_message = [&3_u32.to_be_bytes()[..], b"abc"].concat();
    for bytes in [&oversized[..], &no_message] {
        assert_eq!(caller.stopped(bytes).await, crate::server::STREAM_MALFORMED);
    }
    let counters = mesh.nodes[0].as_ref().unwrap().counters();
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 2);
    append(&mesh.client(1), 1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_tells_of_registers_and_falls_silent_without_a_quorum() {
    let mut mesh = Mesh::running().await;
    let recorded = append(&mesh.client(0), 0, 1).await;
    let mut config = mesh.config(0);
    let place = mesh.leader().await;
    config.nodes = vec![config.nodes[place]];
    let mut feed = Feed::follow(config, LeafIndex(0));
    match timeout(LONG, feed.next()).await.unwrap().unwrap() {
        FeedEvent::Register { leaf, entry, .. } => {
            assert_eq!(leaf, LeafIndex(0));
            assert_eq!(entry.bytes(), mesh.genesis.bytes());
        }
        other => panic!("{other:?}"),
    }
    let beat = async {
        loop {
            if let Some(FeedEvent::Beat { size, .. }) = feed.next().await
                && size >= recorded.leaf().0 + 2
            {
                return;
            }
        }
    };
    timeout(LONG, beat).await.unwrap();
    mesh.kill((place + 1) % 3).await;
    mesh.kill((place + 2) % 3).await;
    let silent = async {
        // Several beats' time without one.
        while timeout(Duration::from_millis(2500), feed.next()).await.is_ok() {
            next_look().await;
        }
    };
    timeout(LONG, silent).await.unwrap();
}
