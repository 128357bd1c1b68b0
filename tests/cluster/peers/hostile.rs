//! A member whose agent misbehaves is held within limits, and the others are served meanwhile.

use std::time::Duration;

use tally_core::id::LeafIndex;
use tally_net::endpoint::{ConnectionLimits, client_config, connect, endpoint};
use tally_net::frame::FrameLimits;
use tally_net::ledger::Client;
use tally_net::quinn::{Connection, ReadToEndError, RecvStream, SendStream};
use tally_net::{Expect, Role, alpn, read_frame, tls, write_frame};
use tally_tests::mesh::{Mesh, Plan, node_id};
use tally_wire::encode;
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::hello::Hello;
use tally_wire::message::ledger::FeedStart;
use tokio::time::{Instant, timeout};

use crate::TALLY;
use crate::history::Recorder;
use crate::load::{append, entry};

const FRAMES: FrameLimits =
    FrameLimits { len_max: LEDGER_FRAME_LEN_MAX, wait_max: Duration::from_secs(20) };
/// A node says that a stream went wrong within this time: its own limit is 10 s.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(15);
/// What another member's append may take meanwhile, on a machine with two cores.
const SERVED_WAIT_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_oversized_or_stalled_ends_its_stream_and_nothing_else() {
    let mesh = Mesh::running(TALLY, Plan { members: 2, nodes: 1 }).await.unwrap();
    let good = mesh.client(0);
    let connection = hostile(&mesh).await;
    let too_long = u32::try_from(LEDGER_FRAME_LEN_MAX).unwrap() + 1;
    let cases: [(&str, Vec<u8>); 5] = [
        ("no message", framed(b"\xff\xff\xff")),
        ("an unknown kind", framed(&[0x82, 0x19, 0x03, 0xe7, 0x01])),
        ("a message cut short", framed(&encode(&FeedStart { from: LeafIndex(0) })[..2])),
        ("a frame too long", too_long.to_be_bytes().to_vec()),
        ("a frame begun and not ended", vec![0, 0, 1, 0, 1, 2, 3]),
    ];
    let mut streams = Vec::new();
    for (what, bytes) in cases {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        // Kept open: a stream that merely ended would prove nothing.
        streams.push((what, send, receive));
    }
    served(&mesh, &good, 0).await;
    for (what, send, mut receive) in streams {
        let ended = timeout(TOLD_WAIT_MAX, receive.read_to_end(1 << 20)).await;
        let ended = ended.unwrap_or_else(|_| panic!("{what}: the stream goes on"));
        assert!(matches!(ended, Err(ReadToEndError::Read(_))), "{what}: {ended:?}");
        drop(send);
    }
    assert!(connection.close_reason().is_none(), "only the streams were at fault");
    served(&mesh, &good, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_streams_feeds_and_connections_leaves_the_others_served() {
    let mesh = Mesh::running(TALLY, Plan { members: 2, nodes: 1 }).await.unwrap();
    let good = mesh.client(0);
    served(&mesh, &good, 0).await;
    let mut held = Vec::<(Connection, Vec<(SendStream, RecvStream)>)>::new();
    let begin = Instant::now();
    for _ in 0..8 {
        let connection = hostile(&mesh).await;
        let mut streams = Vec::new();
        // Feeds that nobody reads, as many as the node lets a connection have.
        while let Ok(Ok((mut send, receive))) =
            timeout(Duration::from_millis(200), connection.open_bi()).await
        {
            let feed = framed(&encode(&FeedStart { from: LeafIndex(0) }));
            send.write_all(&feed).await.unwrap();
            streams.push((send, receive));
            assert!(streams.len() <= 1000, "a connection may have any number of streams");
        }
        held.push((connection, streams));
    }
    for number in 1..20 {
        served(&mesh, &good, number).await;
    }
    println!("{} connections were held for {:?}", held.len(), begin.elapsed());
}

/// Another member's append is acknowledged as if nothing were.
async fn served(mesh: &Mesh, client: &Client, number: u64) {
    let recorder = Recorder::new();
    let entry = entry(mesh, 0, number);
    let served = timeout(SERVED_WAIT_MAX, append(&recorder, client, 0, entry)).await;
    served.expect("the others are served").unwrap();
}

/// A connection of the second member's agent that has said hello, and then may say anything.
async fn hostile(mesh: &Mesh) -> Connection {
    let config = mesh.config(1);
    let name = Some(node_id(0).to_string());
    let expect = Expect { member: None, role: Role::Ledger, name };
    let identity = Some(config.identity.clone());
    let tls = tls::client_config(identity, config.trust, expect, &[alpn::LEDGER]).unwrap();
    let limits = ConnectionLimits::default();
    let quic = client_config(tls, &limits).unwrap();
    let local = endpoint("0.0.0.0:0".parse().unwrap(), None).unwrap();
    let connection = connect(&local, quic, mesh.agents_address(0), &limits).await.unwrap();
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        mesh_id: mesh.id(),
        epoch: 0,
        member: config.member,
        node: None,
        protocol: 1,
        frame_len_max: LEDGER_FRAME_LEN_MAX as u64,
    };
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    write_frame(&mut send, &encode(&hello), FRAMES).await.unwrap();
    send.finish().unwrap();
    read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
    connection
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}
