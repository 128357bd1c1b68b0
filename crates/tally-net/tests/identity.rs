//! Real handshakes on loopback: who is let in, who is not, and that both sides name the same cause.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as loudly as tests"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tally_core::id::{LeafIndex, MeshId, MeshName, NodeId};
use tally_core::register::{Address, LedgerNode, MemberRecord, MemberStatus};
use tally_log::SigningKey;
use tally_net::authority::Validity;
use tally_net::endpoint::{self, ConnectionLimits, endpoint as bind};
use tally_net::frame::{FrameLimits, FrameReader};
use tally_net::ledger::{
    ClientLimits, Feed, FeedEvent, LedgerAddress, LedgerConfig, Link, LinkError,
};
use tally_net::tls::{self, Accept, Expect};
use tally_net::*;
use tokio::time::timeout;

const LIMITS: FrameLimits = FrameLimits { len_max: 1024, wait_max: Duration::from_millis(200) };

/// A mesh of two members, their CAs, and a ledger node that listens.
struct Mesh {
    trust: TrustStore,
    rz9: Authority,
    lz9: Authority,
    listener: Listener,
    address: SocketAddr,
}

impl Mesh {
    fn start() -> Self {
        Self::start_within(ListenerLimits::default())
    }

    fn start_within(limits: ListenerLimits) -> Self {
        let trust = TrustStore::new(mesh_name());
        let [rz9, lz9] = ["RZ9", "LZ9"].map(|id| {
            let authority = Authority::create(id, always()).unwrap();
            trust.update(&member(id, &authority, MemberStatus::Active));
            authority
        });
        let identity = rz9.issue(&id("RZ9/ledger/1"), &[], always()).unwrap().identity();
        let accept = Accept { roles: &[Role::Agent, Role::Ledger], anonymous: false };
        let tls = tls::server_config(identity, trust.clone(), accept, &[alpn::LEDGER]).unwrap();
        let server = endpoint::server_config(tls, &limits.connection).unwrap();
        let endpoint = bind(loopback(), Some(server)).unwrap();
        let address = endpoint.local_addr().unwrap();
        let listener = Listener::start(endpoint, trust.clone(), limits);
        Self { trust, rz9, lz9, listener, address }
    }

    /// Dials as `identity`, and waits until the node has let the caller in or refused it.
    async fn dial(&self, identity: Identity) -> Result<quinn::Connection, ConnectError> {
        self.dial_expecting(identity, Expect { member: None, role: Role::Ledger, name: None }).await
    }

    async fn dial_expecting(
        &self,
        identity: Identity,
        expect: Expect,
    ) -> Result<quinn::Connection, ConnectError> {
        let alpn = &[alpn::LEDGER];
        let tls = tls::client_config(Some(identity), self.trust.clone(), expect, alpn).unwrap();
        let limits = ConnectionLimits::default();
        let config = endpoint::client_config(tls, &limits).unwrap();
        let endpoint = bind(loopback(), None).unwrap();
        let connection = connect(&endpoint, config, self.address, &limits).await?;
        // A TLS 1.3 client is done before the server has seen its certificate: only an answer shows
        // that the server let it in.
        let (mut send, mut receive) = connection.open_bi().await?;
        write_frame(&mut send, b"hello", LIMITS).await.unwrap();
        tokio::select! {
            error = connection.closed() => Err(error.into()),
            frame = read_frame(&mut receive, LIMITS) => match frame {
                Ok(_) => Ok(connection),
                Err(_) => Err(connection.closed().await.into()),
            },
        }
    }
}

#[tokio::test]
async fn a_member_is_let_in_and_known_by_its_certificate() {
    let mut mesh = Mesh::start();
    let identity = mesh.lz9.issue(&id("LZ9/agent/a"), &[], always()).unwrap().identity();
    let listener = &mut mesh.listener;
    let serve = async { answer(listener.next().await.unwrap().unwrap()).await };
    let dial = dial_like(&mesh.trust, identity, mesh.address);
    let (peer, dialled) = tokio::join!(serve, dial);
    assert_eq!(peer, id("LZ9/agent/a"));
    assert!(dialled.is_ok());
}

#[tokio::test]
async fn each_bad_certificate_is_refused_with_its_code_on_both_sides() {
    let mut mesh = Mesh::start();
    let stranger = Authority::create("XX1", always()).unwrap();
    let gone = Authority::create("GZ9", always()).unwrap();
    mesh.trust.update(&member("GZ9", &gone, MemberStatus::Removed));
    let other_mesh = "spiffe://other.example/LZ9/agent/a".parse().unwrap();
    let past = Validity { from_s: now_s() - 7200, until_s: now_s() - 3600 };
    let future = Validity { from_s: now_s() + 3600, until_s: now_s() + 7200 };
    let issue = |ca: &Authority, text: &str, validity| {
        ca.issue(&id(text), &[], validity).unwrap().identity()
    };
    let cases = [
        (IdentityError::Expired, issue(&mesh.lz9, "LZ9/agent/a", past)),
        (IdentityError::NotYetValid, issue(&mesh.lz9, "LZ9/agent/a", future)),
        (IdentityError::OtherMesh, mesh.lz9.issue(&other_mesh, &[], always()).unwrap().identity()),
        (IdentityError::OtherIssuer, issue(&mesh.rz9, "LZ9/agent/a", always())),
        (IdentityError::OtherIssuer, issue(&stranger, "LZ9/agent/a", always())),
        (IdentityError::MemberUnknown, issue(&stranger, "XX1/agent/a", always())),
        (IdentityError::MemberRemoved, issue(&gone, "GZ9/agent/a", always())),
        (IdentityError::RoleRefused, issue(&mesh.lz9, "LZ9/auditor/a", always())),
    ];
    for (expected, identity) in cases {
        let dialled = mesh.dial(identity).await;
        let told = dialled.expect_err("must be refused");
        assert!(matches!(told, ConnectError::Identity(e) if e == expected), "{expected:?}: {told}");
        let seen = mesh.listener.next().await.unwrap().expect_err("must be refused");
        assert!(matches!(seen, ConnectError::Identity(e) if e == expected), "{expected:?}: {seen}");
    }
}

#[tokio::test]
async fn the_certificate_of_another_node_is_refused_by_who_dials() {
    let mesh = Mesh::start();
    let identity = mesh.lz9.issue(&id("LZ9/ledger/2"), &[], always()).unwrap().identity();
    let node_3 = Expect { member: None, role: Role::Ledger, name: Some("3".into()) };
    let told = mesh.dial_expecting(identity, node_3).await.expect_err("it is node 1");
    assert!(matches!(told, ConnectError::Identity(IdentityError::OtherWorkload)), "{told}");
}

#[tokio::test]
async fn removing_a_member_ends_its_connections() {
    let mut mesh = Mesh::start();
    let identity = mesh.lz9.issue(&id("LZ9/agent/a"), &[], always()).unwrap().identity();
    let dial = dial_like(&mesh.trust, identity, mesh.address);
    let listener = &mut mesh.listener;
    let (accepted, dialled) = tokio::join!(
        async {
            let accepted = listener.next().await.unwrap().unwrap();
            answer_on(&accepted).await;
            accepted
        },
        dial
    );
    let connection = dialled.unwrap();
    mesh.trust.update(&member("LZ9", &mesh.lz9, MemberStatus::Removed));
    let told = ConnectError::from(connection.closed().await);
    assert!(matches!(told, ConnectError::Identity(IdentityError::MemberRemoved)), "{told}");
    drop(accepted);
}

#[tokio::test]
async fn whoever_shakes_hands_meets_the_certificate_of_today_and_older_connections_go_on() {
    let mut mesh = Mesh::start();
    let [old, new] = [3600, 7200].map(|until_s| {
        let validity = Validity { until_s: now_s() + until_s, ..always() };
        mesh.lz9.issue(&id("LZ9/agent/a"), &[], validity).unwrap().identity()
    });
    let identity = Identity::new(old.chain(), old.key());
    let mut held = Vec::new();
    for presented in [&old, &new] {
        let dial = dial_like(&mesh.trust, identity.clone(), mesh.address);
        let listener = &mut mesh.listener;
        let serve = async {
            let accepted = listener.next().await.unwrap().unwrap();
            answer_on(&accepted).await;
            accepted
        };
        let (accepted, dialled) = tokio::join!(serve, dial);
        let seen = accepted.connection.peer_identity().unwrap();
        let seen = seen.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
        assert_eq!(*seen, presented.chain());
        held.push((accepted, dialled.unwrap()));
        identity.replace(&new);
    }
    assert!(held.iter().all(|(_, connection)| connection.close_reason().is_none()));
}

#[tokio::test]
async fn one_member_does_not_take_the_places_of_the_others() {
    let limits = ListenerLimits { member_connections_max: 1, ..ListenerLimits::default() };
    let mut mesh = Mesh::start_within(limits);
    let [first, second] = ["LZ9/agent/a", "LZ9/agent/b"]
        .map(|text| mesh.lz9.issue(&id(text), &[], always()).unwrap().identity());
    let other = mesh.rz9.issue(&id("RZ9/agent/a"), &[], always()).unwrap().identity();
    let mut held = Vec::new();
    for (identity, let_in) in [(first, true), (second, false), (other, true)] {
        let dial = dial_like(&mesh.trust, identity, mesh.address);
        let listener = &mut mesh.listener;
        let serve = async {
            let accepted = listener.next().await.unwrap();
            if let Ok(accepted) = &accepted {
                answer_on(accepted).await;
            }
            accepted
        };
        let (accepted, dialled) = tokio::join!(serve, dial);
        assert_eq!((accepted.is_ok(), dialled.is_ok()), (let_in, let_in));
        held.push((accepted, dialled));
    }
    let counts = mesh.listener.admissions().counts();
    let counted: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("let-in", 2), ("member-full", 1)]);
}

#[tokio::test]
async fn a_frame_too_long_or_begun_and_stalled_is_refused_and_the_next_caller_served() {
    let mut mesh = Mesh::start();
    let identity = mesh.lz9.issue(&id("LZ9/agent/a"), &[], always()).unwrap().identity();
    let dial = dial_like(&mesh.trust, identity, mesh.address);
    let listener = &mut mesh.listener;
    let (accepted, dialled) = tokio::join!(
        async {
            let accepted = listener.next().await.unwrap().unwrap();
            answer_on(&accepted).await;
            accepted
        },
        dial
    );
    let connection = dialled.unwrap();
    let cases: [(&[u8], FrameError); 3] = [
        (&[0, 0, 4, 1], FrameError::TooLong { len: 1025, len_max: 1024 }),
        (&[0, 0, 0], FrameError::Stalled { wait_max: LIMITS.wait_max }),
        (&[0, 0, 0, 9, 1], FrameError::Stalled { wait_max: LIMITS.wait_max }),
    ];
    for (bytes, expected) in cases {
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let (_, mut theirs) = accepted.connection.accept_bi().await.unwrap();
        assert_eq!(read_frame(&mut theirs, LIMITS).await, Err(expected));
    }
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    send.finish().unwrap();
    let (_, mut theirs) = accepted.connection.accept_bi().await.unwrap();
    assert_eq!(read_frame(&mut theirs, LIMITS).await, Err(FrameError::Truncated));
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    write_frame(&mut send, b"whole", LIMITS).await.unwrap();
    send.finish().unwrap();
    let (_, mut theirs) = accepted.connection.accept_bi().await.unwrap();
    assert_eq!(read_frame(&mut theirs, LIMITS).await, Ok(Some(b"whole".to_vec())));
    assert_eq!(read_frame(&mut theirs, LIMITS).await, Ok(None));
}

#[tokio::test]
async fn a_ledger_node_that_takes_nothing_is_left_in_time() {
    let deaf = ConnectionLimits { stream_window_bytes: 0, ..ConnectionLimits::default() };
    let mute = ConnectionLimits { streams_max: 0, ..ConnectionLimits::default() };
    for connection in [deaf, mute] {
        let limits = ListenerLimits { connection, ..ListenerLimits::default() };
        let mesh = Mesh::start_within(limits);
        let identity = mesh.lz9.issue(&id("LZ9/agent/a"), &[], always()).unwrap().identity();
        let node = LedgerAddress { node: NodeId(1), address: mesh.address };
        let limits =
            ClientLimits { answer_wait_max: Duration::from_millis(50), ..ClientLimits::default() };
        let config = LedgerConfig {
            member: "LZ9".parse().unwrap(),
            mesh_id: MeshId(tally_log::sha256(&[b"mesh"])),
            epoch: 0,
            nodes: vec![node],
            identity,
            trust: mesh.trust.clone(),
            log_keys: vec![],
            limits,
        };
        let dialled = timeout(Duration::from_secs(20), Link::dial(&config, node)).await;
        let told = dialled.expect("it is left in time").expect_err("it never answers");
        assert!(matches!(told, LinkError::NoAnswer { .. }), "{told}");
    }
}

/// The CA of any member can issue a certificate that says ledger node.
#[tokio::test]
async fn only_a_node_that_the_registers_name_is_believed_that_it_turns_an_agent_away() {
    for named in [false, true] {
        let mut mesh = Mesh::start();
        let trust = TrustStore::new(mesh_name());
        trust.update(&member("LZ9", &mesh.lz9, MemberStatus::Active));
        let nodes = if named { vec![node_at(mesh.address)] } else { vec![] };
        let active = MemberStatus::Active;
        trust.update(&MemberRecord { nodes, ..member("RZ9", &mesh.rz9, active) });
        mesh.trust.update(&member("LZ9", &mesh.lz9, MemberStatus::Removed));
        let config = LedgerConfig {
            member: "LZ9".parse().unwrap(),
            mesh_id: MeshId(tally_log::sha256(&[b"mesh"])),
            epoch: 0,
            nodes: vec![LedgerAddress { node: NodeId(1), address: mesh.address }],
            identity: mesh.lz9.issue(&id("LZ9/agent/a"), &[], always()).unwrap().identity(),
            trust: trust.clone(),
            log_keys: vec![],
            limits: ClientLimits::default(),
        };
        let mut feed = Feed::follow(config, LeafIndex(0));
        // Refused three times, it has heard at least two of them.
        for _ in 0..3 {
            let refused = mesh.listener.next().await.unwrap().err();
            let removed = ConnectError::Identity(IdentityError::MemberRemoved);
            assert_eq!(refused.map(|it| it.to_string()), Some(removed.to_string()));
        }
        let heard = tokio::select! {
            biased;
            heard = feed.next() => heard,
            () = std::future::ready(()) => None,
        };
        let removed = FeedEvent::TurnedAway(IdentityError::MemberRemoved);
        assert_eq!(heard, named.then_some(removed));
        assert_eq!(trust.is_active(&"LZ9".parse().unwrap()), !named);
    }
}

#[tokio::test]
async fn a_frame_that_nobody_listened_for_has_its_time_from_when_somebody_does() {
    let mut mesh = Mesh::start();
    let identity = mesh.lz9.issue(&id("LZ9/agent/a"), &[], always()).unwrap().identity();
    let dial = dial_like(&mesh.trust, identity, mesh.address);
    let listener = &mut mesh.listener;
    let accept = async {
        let accepted = listener.next().await.unwrap().unwrap();
        answer_on(&accepted).await;
        accepted
    };
    let (accepted, connection) = tokio::join!(accept, dial);
    let connection = connection.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 0, 3, 1]).await.unwrap();
    let (_, theirs) = accepted.connection.accept_bi().await.unwrap();
    let mut reader = FrameReader::new(theirs, LIMITS);
    // It looks what there is, as who gathers frames does, and has something else to do for a while.
    timeout(LIMITS.wait_max / 4, reader.next()).await.unwrap_err();
    timeout(LIMITS.wait_max, std::future::pending::<()>()).await.unwrap_err();
    let rest = async { send.write_all(&[2, 3]).await.unwrap() };
    let (frame, ()) = tokio::join!(reader.next(), rest);
    assert_eq!(frame, Ok(Some(vec![1, 2, 3])));
    // Whoever listens waits no longer than that for the rest.
    send.write_all(&[0, 0, 0, 3, 1]).await.unwrap();
    let stalled = timeout(LIMITS.wait_max * 20, reader.next()).await.unwrap();
    assert_eq!(stalled, Err(FrameError::Stalled { wait_max: LIMITS.wait_max }));
}

#[test]
fn the_first_key_exchange_is_post_quantum() {
    let groups = tls::provider().kx_groups;
    assert_eq!(groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn an_authority_survives_its_files() {
    let made = Authority::create("RZ9", always()).unwrap();
    let read = Authority::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();
    assert_eq!(read.certificate_der(), made.certificate_der());
    let node = read.issue(&id("RZ9/ledger/7"), &[Ipv4Addr::LOCALHOST.into()], always()).unwrap();
    let identity = node.identity();
    assert_eq!(identity.id().unwrap().node(), Some(NodeId(7)));
}

/// Dials and waits for the answer that shows that the caller was let in.
async fn dial_like(
    trust: &TrustStore,
    identity: Identity,
    address: SocketAddr,
) -> Result<quinn::Connection, ConnectError> {
    let expect = Expect { member: None, role: Role::Ledger, name: Some("1".into()) };
    let tls = tls::client_config(Some(identity), trust.clone(), expect, &[alpn::LEDGER]).unwrap();
    let limits = ConnectionLimits::default();
    let config = endpoint::client_config(tls, &limits).unwrap();
    let endpoint = bind(loopback(), None).unwrap();
    let connection = connect(&endpoint, config, address, &limits).await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    write_frame(&mut send, b"hello", LIMITS).await.unwrap();
    match read_frame(&mut receive, LIMITS).await {
        Ok(_) => Ok(connection),
        Err(_) => Err(connection.closed().await.into()),
    }
}

async fn answer(accepted: Accepted) -> SpiffeId {
    assert_eq!(accepted.alpn, alpn::LEDGER);
    answer_on(&accepted).await;
    accepted.peer.clone()
}

async fn answer_on(accepted: &Accepted) {
    let (mut send, mut receive) = accepted.connection.accept_bi().await.unwrap();
    assert_eq!(read_frame(&mut receive, LIMITS).await, Ok(Some(b"hello".to_vec())));
    write_frame(&mut send, b"welcome", LIMITS).await.unwrap();
    send.finish().unwrap();
    send.stopped().await.unwrap();
}

fn member(id: &str, authority: &Authority, status: MemberStatus) -> MemberRecord {
    MemberRecord {
        id: id.parse().unwrap(),
        name: id.into(),
        codes: vec![],
        ca: authority.certificate_der().to_vec(),
        agent_key: SigningKey::from_seed(&[1; 32]).verifying_key(),
        officers: vec![],
        nodes: vec![],
        address: None,
        status,
        supersedes: Vec::new(),
        assessment: None,
    }
}

fn node_at(address: SocketAddr) -> LedgerNode {
    let address: Address = address.to_string().parse().unwrap();
    let log_key = SigningKey::from_seed(&[2; 32]).verifying_key();
    LedgerNode { id: NodeId(1), log_key, quic: address.clone(), https: address }
}

fn id(rest: &str) -> SpiffeId {
    format!("spiffe://{}/{rest}", mesh_name()).parse().unwrap()
}

fn mesh_name() -> MeshName {
    "dev.example".parse().unwrap()
}

fn always() -> Validity {
    Validity { from_s: now_s() - 60, until_s: now_s() + 3600 }
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
