//! What it costs a leader that a node without anything catches up.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use openraft::RaftLogReader;
use openraft::network::{NetStreamAppend, RPCOption, RaftNetworkFactory};
use openraft::raft::AppendEntriesRequest;
use tally_core::id::{MeshId, NodeId};
use tally_core::ledger::PROTOCOL_MAX;
use tally_net::endpoint::{endpoint, server_config};
use tally_net::frame::{FrameLimits, read_frame, write_frame};
use tally_net::quinn::RecvStream;
use tally_net::{Accept, Listener, ListenerLimits, Role, TrustStore, alpn, tls};
use tally_wire::message::hello::{Hello, HelloAnswer, Welcome};
use tally_wire::{decode_value, encode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::mesh::*;
use crate::disk::RealDisk;
use crate::frame::{EntryKind, LogId};
use crate::raft::{CONNECTION, Links, LogReader, RaftNode};
use crate::segment::Owner;
use crate::store::{Settings as StoreSettings, Store, StoredEntry};

const FRAMES: FrameLimits = FrameLimits { len_max: 4 << 20, wait_max: LONG };

/// A log of 160 MiB, none of it in memory: as many entries as a Raft entry may be large, and many that
/// are small.
async fn long_log(directory: &std::path::Path, owner: Owner) -> Store {
    let disk = RealDisk::new(directory).unwrap();
    let settings =
        StoreSettings { segment_bytes: 64 << 20, cache_bytes_max: 0, ..StoreSettings::new(owner) };
    let store = Store::open(Arc::new(disk), settings, Box::new(|_| {})).unwrap().0;
    let mut next = 0;
    for round in 0..80 {
        let sizes = if round % 2 == 0 { vec![1 << 20; 2] } else { vec![16 << 10; 128] };
        let entries = sizes.into_iter().map(|size| {
            let log_id = LogId { term: 1, leader: 1, index: next };
            next += 1;
            StoredEntry { log_id, kind: EntryKind::Proposal, payload: vec![7; size].into() }
        });
        store.append(entries.collect(), |result| result.unwrap()).await.unwrap();
    }
    store.flushed().await.unwrap();
    store
}

/// A peer that lets its leader in, and then reads only when it is told to.
async fn stuck_peer(mesh: &Mesh, trust: TrustStore) -> (SocketAddr, oneshot::Receiver<RecvStream>) {
    let accept = Accept { roles: &[Role::Ledger], anonymous: false };
    let identity = mesh.identity(1, Role::Ledger, "2");
    let tls = tls::server_config(identity, trust.clone(), accept, &[alpn::RAFT]).unwrap();
    let config = server_config(tls, &CONNECTION).unwrap();
    let endpoint = endpoint("127.0.0.1:0".parse().unwrap(), Some(config)).unwrap();
    let address = endpoint.local_addr().unwrap();
    let limits = ListenerLimits { connection: CONNECTION, ..ListenerLimits::default() };
    let mut listener = Listener::start(endpoint, trust, limits);
    let (opened, replication) = oneshot::channel();
    tokio::spawn(async move {
        let accepted = listener.next().await.unwrap().unwrap();
        let (mut send, mut receive) = accepted.connection.accept_bi().await.unwrap();
        let hello = read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
        let hello = decode_value::<Hello>(&hello).unwrap();
        let welcome = Welcome {
            version: 1,
            epoch: 0,
            member: MEMBERS[1].parse().unwrap(),
            node: Some(NodeId(2)),
            protocol: hello.protocol,
            frame_len_max: hello.frame_len_max,
        };
        write_frame(&mut send, &encode(&HelloAnswer::Welcome(welcome)), FRAMES).await.unwrap();
        send.finish().unwrap();
        let (send, receive) = accepted.connection.accept_bi().await.unwrap();
        drop(opened.send(receive));
        // The connection lives for as long as somebody reads.
        accepted.connection.closed().await;
        drop((send, listener));
    });
    (address, replication)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_costs_its_leader_less_than_half_of_64_mebibytes_however_long_the_log() {
    let mesh = Mesh::new();
    let mesh_id = MeshId(mesh.genesis.leaf_hash());
    let owner = Owner { mesh_id, epoch: 0, node_id: NodeId(1) };
    let directory = tempfile::tempdir().unwrap();
    let store = long_log(directory.path(), owner).await;
    let reader = store.reader();
    let trust = mesh.config(0).trust;
    let (address, replication) = stuck_peer(&mesh, trust.clone()).await;
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        mesh_id,
        epoch: 0,
        member: MEMBERS[0].parse().unwrap(),
        node: Some(NodeId(1)),
        protocol: PROTOCOL_MAX,
        frame_len_max: 4 << 20,
    };
    let identity = mesh.identity(0, Role::Ledger, "1");
    let own = endpoint("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let peers = [(2, address.to_string())].into_iter().collect();
    let mut links = Links::new(own, identity, trust, hello, peers);
    let mut link = links.new_client(2, &RaftNode::default()).await;
    let log = LogReader::over(reader.clone());
    let requests = Box::pin(stream::unfold((log, 0), |(mut log, next)| async move {
        let entries = log.limited_get_log_entries(next, u64::MAX).await.unwrap();
        let after = entries.last()?.log_id.index + 1;
        let vote = openraft::Vote::new_committed(1, 1);
        let request =
            AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None };
        Some((request, (log, after)))
    }));
    let option = RPCOption::new(LONG);
    let answers = timeout(LONG, link.stream_append(requests, option)).await.unwrap().unwrap();
    let mut replication = timeout(LONG, replication).await.unwrap().unwrap();

    // The peer reads nothing: all is held that ever can be. That is less where what its window takes in
    // was acknowledged before the next was read.
    let filled = async {
        let mut held = (0, 0);
        while held.1 < 100 {
            next_look().await;
            let now = reader.held_bytes_max();
            held = if now == held.0 && now > 0 { (now, held.1 + 1) } else { (now, 0) };
        }
    };
    timeout(LONG, filled).await.expect("no more is held than there was");
    let mut read = 0;
    for _ in 0..40 {
        let frame = timeout(LONG, read_frame(&mut replication, FRAMES)).await.unwrap().unwrap();
        read += frame.map_or(0, |frame: Vec<u8>| Bytes::from(frame).len());
    }
    assert!(read > 20 << 20, "{read} bytes were read");
    let most = reader.held_bytes_max();
    eprintln!("{most} bytes were held at most");
    assert!(most <= 32 << 20, "{most} bytes were held at once");
    drop(answers);
}
