//! Floods at an agent's QUIC socket: by anybody, and by somebody with a certificate of the mesh.

use std::sync::Arc;

use tally_net::quinn::{Connection, ReadError, RecvStream, SendStream};
use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};

use super::memory::{metric, resident_kib};
use super::peer::{Peer, quic_address};
use super::world::{COUNCIL, OTHER, PROVIDER, is_served, running};

/// What a flood may cost in memory while it lasts. Measured, at most: 91 MiB, for hundreds of callers at
/// once whose handshakes go on to their end, each with its keys and buffers; 37 MiB for streams, 10 MiB for
/// handshakes without an end, nothing for datagrams.
const GROWTH_KIB_MAX: u64 = 160 * 1024;
/// Longer than any limit that makes an agent say something.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Care goes on, and memory has not grown by more than it may.
async fn goes_on(dev: &Dev, member: &str, (what, before): (&str, u64)) {
    let asked = Instant::now();
    is_served(dev, member).await;
    let (took, after) = (asked.elapsed(), resident_kib(dev, PROVIDER));
    println!("{what}: served in {took:?}; {before} to {after} KiB");
    assert!(took < Duration::from_secs(5), "{what}: {took:?}");
    assert!(after < before + GROWTH_KIB_MAX, "{what}: {before} to {after} KiB");
}

async fn admitted(dev: &Dev, what: &str) -> u64 {
    metric(dev, PROVIDER, &format!("tally_agent_quic_admissions_total{{what=\"{what}\"}} ")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_anybody_floods_still_serves() {
    let dev = running().await;
    is_served(&dev, COUNCIL).await;
    let before = resident_kib(&dev, PROVIDER);
    garbage(&dev).await;
    goes_on(&dev, COUNCIL, ("datagrams that are none", before)).await;

    // Handshakes that are begun and never go on: what the agent answers is heard by nobody.
    let hole = Hole::towards(&dev).await;
    let nobody = Peer::nobody(&dev, COUNCIL);
    let mut dialling = JoinSet::new();
    for _ in 0..600 {
        let (nobody, address) = (nobody.clone(), hole.address);
        dialling.spawn(async move { nobody.connects_to(address).await.is_ok() });
    }
    let retried = until("a caller that has to prove its address", TOLD_WAIT_MAX, async || {
        let count = admitted(&dev, "retried").await;
        if count > 100 { Ok(count) } else { Err(count.to_string()) }
    });
    let retried = retried.await.unwrap();
    // Meanwhile somebody comes who was not connected before.
    dev.stop(OTHER).await.unwrap();
    dev.start_again(OTHER).await.unwrap();
    goes_on(&dev, OTHER, ("handshakes without an end", before)).await;
    goes_on(&dev, COUNCIL, ("handshakes without an end", before)).await;
    assert_eq!(dialling.join_all().await.into_iter().filter(|it| *it).count(), 0);
    println!("{retried} had to prove their address");

    // Handshakes without a certificate, which go on to their end.
    let mut dialling = JoinSet::new();
    for _ in 0..300 {
        let nobody = nobody.clone();
        dialling.spawn(async move {
            let Ok(connection) = nobody.connects().await else { return };
            // TLS 1.3 lets the client believe that it is in, until it hears otherwise.
            connection.closed().await;
        });
    }
    goes_on(&dev, COUNCIL, ("callers without a certificate", before)).await;
    dialling.join_all().await;
    goes_on(&dev, COUNCIL, ("callers without a certificate", before)).await;
    assert!(admitted(&dev, "failed").await + admitted(&dev, "identity").await > 0);
    let lines = dev.log(PROVIDER).matches("an agent was not let in").count();
    assert!(lines < 60, "{lines} lines: a flood fills the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_floods_is_held_within_its_share() {
    let dev = running().await;
    is_served(&dev, OTHER).await;
    let before = resident_kib(&dev, PROVIDER);
    let peer = Peer::of(&dev, COUNCIL);
    let mut held = Vec::new();
    for _ in 0..60 {
        held.extend(peer.connects().await.ok());
    }
    let full = until("a member that has all its connections", TOLD_WAIT_MAX, async || {
        let count = admitted(&dev, "member-full").await;
        if count >= 20 { Ok(()) } else { Err(count.to_string()) }
    });
    full.await.unwrap();
    goes_on(&dev, OTHER, ("connections", before)).await;
    held.clear();

    let connection = joined(&peer).await;
    let malformed = [
        ("a frame too long", vec![0xff; 4]),
        ("a frame longer than a request", [&[0, 1, 0, 0][..], &[0; 2000]].concat()),
        ("no message", vec![0, 0, 0, 3, 0xff, 0xff, 0xff]),
    ];
    for (what, bytes) in malformed {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let ended = timeout(TOLD_WAIT_MAX, receive.read_to_end(1024)).await;
        assert!(ended.expect("it is told").is_err(), "{what}");
    }
    goes_on(&dev, OTHER, ("oversized frames", before)).await;

    let streams = silent_streams(&connection).await;
    goes_on(&dev, OTHER, ("streams", before)).await;
    let away = "tally_agent_turned_away_total{code=\"quota-exceeded\",side=\"provider\"} ";
    let away = metric(&dev, PROVIDER, away).await;
    println!("{} streams, {away} turned away", streams.len());
    assert!(away > 100, "{away}");
    assert!(connection.close_reason().is_none(), "only its streams were at fault");
}

/// A connection that is as good as any.
async fn joined(peer: &Peer) -> Connection {
    let connection = until("a place for a connection", TOLD_WAIT_MAX, async || {
        let connection = peer.connects().await.map_err(|why| why.to_string())?;
        // One that is a member's too many is closed a moment after the handshake.
        match timeout(Duration::from_millis(300), connection.closed()).await {
            Err(_) => Ok(connection),
            Ok(why) => Err(why.to_string()),
        }
    });
    let connection = connection.await.unwrap();
    peer.greets(&connection).await;
    connection
}

/// As many streams as there may be, on each of which something is begun and nothing is asked.
async fn silent_streams(connection: &Connection) -> Vec<(SendStream, RecvStream)> {
    let mut streams = Vec::new();
    while let Ok(Ok((mut send, receive))) =
        timeout(Duration::from_millis(500), connection.open_bi()).await
    {
        // A request of 32 KiB, but for its last byte.
        drop(send.write_all(&[&[0, 0, 0x7f, 0xff][..], &[0; 0x7ffe]].concat()).await);
        streams.push((send, receive));
        assert!(streams.len() < 5000, "a connection may have any number of streams");
    }
    let (_, receive) = streams.last_mut().unwrap();
    let ended = timeout(TOLD_WAIT_MAX, receive.read_to_end(1)).await.expect("it is told");
    let why = matches!(&ended, Err(tally_net::quinn::ReadToEndError::Read(ReadError::Reset(_))));
    assert!(why, "{ended:?}");
    streams
}

/// Datagrams of many kinds and lengths, none of which means anything.
async fn garbage(dev: &Dev) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = quic_address(dev);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut datagram = [0_u8; 1400];
    for number in 0..20_000_usize {
        for byte in &mut datagram {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = seed.to_be_bytes()[0];
        }
        // Some look like the first packet of a handshake (RFC 9000 §17.2.2), some like a late one.
        datagram[0] = if number % 3 == 0 { 0xc0 } else { datagram[0] };
        if number % 3 == 0 {
            datagram[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        let len = if number % 3 == 0 { 1200 } else { 1 + number % 1400 };
        // The socket may be full for a moment.
        drop(socket.send_to(&datagram[..len], address).await);
    }
}

/// Lets datagrams through in one direction.
struct Hole {
    address: std::net::SocketAddr,
}

impl Hole {
    async fn towards(dev: &Dev) -> Self {
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = inside.local_addr().unwrap();
        let (out, agent) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), quic_address(dev));
        tokio::spawn(async move {
            let mut datagram = [0; 2048];
            while let Ok((len, _)) = inside.recv_from(&mut datagram).await {
                drop(out.send_to(&datagram[..len], agent).await);
            }
        });
        Self { address }
    }
}
