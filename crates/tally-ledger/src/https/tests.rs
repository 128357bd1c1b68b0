//! Real handshakes and requests on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tally_core::id::{LeafIndex, NodeId};
use tally_core::register::{LedgerNode, MemberRecord, MemberStatus, Officer};
use tally_core::time::Timestamp;
use tally_log::tile::tiles_at;
use tally_log::{Hash, SigningKey};
use tally_net::authority::Validity;
use tally_net::{Authority, Expect};
use tally_wire::registers::RegisterLeaves;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::published::tests::signer;
use crate::published::{Publisher, PublisherSettings};
use crate::tiles::tests::{head, leaves};
use crate::tiles::{Head, Leaf, Resume, TileStore};

mod reads;

const MESH: &str = "dev.example";

/// A node that serves a tree, and the CAs of two members.
struct Node {
    trust: TrustStore,
    rz9: Authority,
    lz9: Authority,
    server: HttpServer,
    store: TileStore,
    publisher: Publisher,
    _dir: TempDir,
}

impl Node {
    async fn start(leaves: &[Leaf], head: Head) -> Self {
        Self::start_within(leaves, head, HttpLimits::default()).await
    }

    async fn start_within(leaves: &[Leaf], head: Head, limits: HttpLimits) -> Self {
        let trust = TrustStore::new(MESH.parse().unwrap());
        let [rz9, lz9] = ["RZ9", "LZ9"].map(|id| {
            let authority = Authority::create(id, always()).unwrap();
            trust.update(&member(id, &authority, MemberStatus::Active));
            authority
        });
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        store.append(leaves, head).unwrap();
        let settings = PublisherSettings::new(Arc::new(signer()), dir.path().to_owned());
        let publisher = Publisher::start(settings, store.reader()).unwrap();
        publisher.checkpoints().reach(head.size).await.unwrap();
        let reads = Reads {
            tiles: store.reader(),
            checkpoints: publisher.checkpoints(),
            status: Arc::new(status),
            trust: trust.clone(),
            metrics: Metrics::new().unwrap(),
            cluster: None,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let identity = issue(&rz9, "RZ9/ledger/1", always());
        let server = start(listener, identity, reads, limits).unwrap();
        Self { trust, rz9, lz9, server, store, publisher, _dir: dir }
    }

    async fn dial(&self, identity: Option<Identity>) -> std::io::Result<TlsStream<TcpStream>> {
        dial(self.server.address(), &self.trust, identity).await
    }

    /// One request on a connection of its own.
    async fn get(&self, identity: Option<Identity>, path: &str) -> Answer {
        let mut stream = self.dial(identity).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        ask(&mut stream, &request).await
    }

    fn auditor(&self) -> Option<Identity> {
        Some(issue(&self.lz9, "LZ9/auditor/a", always()))
    }

    fn agent(&self) -> Option<Identity> {
        Some(issue(&self.lz9, "LZ9/agent/a", always()))
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.lines().filter_map(|line| line.split_once(": "));
        named.into_iter().find(|(it, _)| *it == name).map(|(_, value)| value)
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["code"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn anyone_reads_checkpoints_and_hash_tiles_of_any_width() {
    let node = Node::start(&leaves(0, 600), head(600)).await;
    let checkpoint = node.get(None, "/checkpoint").await;
    assert_eq!((checkpoint.status, checkpoint.header("cache-control")), (200, Some("no-cache")));
    assert_eq!(checkpoint.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(checkpoint.body, node.publisher.checkpoints().last().unwrap().note);
    for path in ["tile/0/000", "tile/0/000.p/7", "tile/0/002.p/88", "tile/1/000.p/2"] {
        let tile = node.get(None, &format!("/{path}")).await;
        assert_eq!(tile.status, 200, "{path}");
        assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
        let expected = node.store.reader().read(path.parse().unwrap()).unwrap();
        assert_eq!(Some(tile.body), expected, "{path}");
    }
    for path in [
        "/tile/0/002",
        "/tile/0/002.p/89",
        "/tile/0/003.p/1",
        "/tile/0/0",
        "/tile/0/%30%30%30",
        "/tile/0/../0/000",
        "/tile",
        "/nothing",
        "/",
    ] {
        let gone = node.get(None, path).await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "not-found"), "{path}");
    }
}

#[tokio::test]
async fn entries_are_for_auditors_and_ledger_nodes_alone() {
    let node = Node::start(&leaves(0, 300), head(300)).await;
    let ledger = Some(issue(&node.rz9, "RZ9/ledger/2", always()));
    for identity in [node.auditor(), ledger] {
        for path in tiles_at(300) {
            let read = node.get(identity.clone(), &format!("/{path}")).await;
            assert_eq!(read.status, 200, "{path}");
            assert_eq!(Some(read.body), node.store.reader().read(path).unwrap(), "{path}");
        }
        let bundle = node.get(identity, "/tile/entries/000").await;
        assert_eq!(bundle.header("cache-control"), Some("no-store"));
    }
    let path = "/tile/entries/000";
    let refused = node.get(None, path).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "certificate-missing"));
    for stranger in ["LZ9/ledger/2", "LZ9/ledger/x"] {
        let refused = node.get(Some(issue(&node.lz9, stranger, always())), path).await;
        let told = (refused.status, refused.code());
        assert_eq!(told, (403, "identity-role-refused".to_owned()), "no register names {stranger}");
    }
    for role in ["agent", "sidecar", "operator", "officer"] {
        let identity = issue(&node.lz9, &format!("LZ9/{role}/a"), always());
        let refused = node.get(Some(identity), path).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "identity-role-refused"));
    }
    node.trust.update(&member("LZ9", &node.lz9, MemberStatus::Suspended));
    let refused = node.get(node.auditor(), path).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "member-suspended"));
    assert_eq!(node.get(node.auditor(), "/checkpoint").await.status, 200);
}

#[tokio::test]
async fn a_bad_certificate_is_refused_even_for_what_is_public() {
    let node = Node::start(&leaves(0, 3), head(3)).await;
    let past = Validity { from_s: now_s() - 7200, until_s: now_s() - 3600 };
    let stranger = Authority::create("XX1", always()).unwrap();
    for identity in [
        issue(&node.lz9, "LZ9/auditor/a", past),
        issue(&node.rz9, "LZ9/auditor/a", always()),
        issue(&stranger, "XX1/auditor/a", always()),
    ] {
        let mut stream = node.dial(Some(identity)).await.unwrap();
        // A TLS 1.3 client is done before the server has seen its certificate.
        let request = "GET /checkpoint HTTP/1.1\r\nhost: x\r\n\r\n";
        drop(stream.write_all(request.as_bytes()).await);
        let mut answer = Vec::new();
        let told = stream.read_to_end(&mut answer).await.unwrap_err();
        assert_eq!(answer, b"", "{told}");
    }
}

#[tokio::test]
async fn a_connection_of_a_member_that_is_removed_ends() {
    // Nothing else would end it while the test waits.
    let ages = Duration::from_secs(600);
    let limits = HttpLimits { header_wait_max: ages, idle_wait_max: ages, ..HttpLimits::default() };
    let node = Node::start_within(&leaves(0, 3), head(3), limits).await;
    let mut stream = node.dial(node.auditor()).await.unwrap();
    let mut anonymous = node.dial(None).await.unwrap();
    let request = "GET /checkpoint HTTP/1.1\r\nhost: x\r\n\r\n";
    for stream in [&mut stream, &mut anonymous] {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
    }
    node.trust.update(&member("LZ9", &node.lz9, MemberStatus::Removed));
    // It ends without a goodbye, which rustls calls an error.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
    anonymous.write_all(request.as_bytes()).await.unwrap();
    anonymous.read_u8().await.unwrap();
}

#[tokio::test]
async fn the_state_of_a_node_is_for_those_who_run_or_check_it() {
    let node = Node::start(&leaves(0, 5), head(5)).await;
    let path = "/admin/status";
    assert_eq!(node.get(None, path).await.status, 401);
    assert_eq!(node.get(node.agent(), path).await.status, 403);
    for id in ["LZ9/operator/a", "LZ9/officer/ig-lead", "LZ9/auditor/a"] {
        let status = node.get(Some(issue(&node.lz9, id, always())), path).await;
        assert_eq!((status.status, status.header("content-type")), (200, Some("application/json")));
        let status: Value = serde_json::from_slice(&status.body).unwrap();
        assert_eq!(status["role"], "leader");
        assert_eq!((&status["published_size"], &status["leader"]), (&5.into(), &Value::Null));
        assert_eq!(status["mesh_id"], "07".repeat(32));
        assert_eq!(status["voters"], serde_json::json!([1, 2, 3]));
    }
}

#[tokio::test]
async fn the_cluster_is_changed_by_operators_of_active_members_alone() {
    let node = Node::start(&leaves(0, 3), head(3)).await;
    let post = async |identity: Option<Identity>, path: &str| {
        let mut stream = node.dial(identity).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        ask(&mut stream, &request).await
    };
    let operator = || Some(issue(&node.lz9, "LZ9/operator/a", always()));
    for path in ["nodes/add", "nodes/promote", "nodes/remove", "nodes/replace", "transfer"] {
        let path = format!("/admin/{path}");
        assert_eq!(post(None, &path).await.status, 401, "{path}");
        for id in ["LZ9/agent/a", "LZ9/officer/ig-lead", "LZ9/auditor/a", "LZ9/sidecar/a"] {
            let refused = post(Some(issue(&node.lz9, id, always())), &path).await;
            let told = (refused.status, refused.code());
            assert_eq!(told, (403, "identity-role-refused".to_owned()), "{id} {path}");
        }
        let refused = node.get(operator(), &path).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")), "{path}");
        // An operator is let in as far as there is a cluster.
        assert_eq!(post(operator(), &path).await.status, 404, "{path}");
    }
    node.trust.update(&member("LZ9", &node.lz9, MemberStatus::Suspended));
    let refused = post(operator(), "/admin/nodes/remove").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "member-suspended"));
}

#[tokio::test]
async fn a_member_pages_through_the_registers() {
    let entries: Vec<Vec<u8>> = ["genesis", "seal", "register-consent"].map(vector).to_vec();
    let leaves: Vec<Leaf> = (0..40)
        .map(|index| {
            let kind = if index == 0 { 0 } else { 1 + index % 2 };
            let bytes = entries[kind].clone();
            let hash = tally_log::leaf_hash(&bytes);
            Leaf { hash, bytes: bytes.into(), register: kind != 1 }
        })
        .collect();
    let mut edge = tally_log::Edge::new();
    edge.extend(leaves.iter().map(|leaf| leaf.hash));
    let node = Node::start(&leaves, Head::of(&edge)).await;
    let page = async |path: &str| {
        let page = node.get(node.agent(), path).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("application/cbor")));
        tally_wire::decode_value::<RegisterLeaves>(&page.body).unwrap()
    };
    let whole = page("/registers").await;
    assert_eq!((whole.size, whole.leaves.len()), (40, 21));
    assert_eq!(whole.leaves[0].entry.bytes(), entries[0]);
    assert_eq!(whole.leaves[1].leaf, LeafIndex(1));
    let rest = page("/registers?from=36").await;
    assert_eq!(rest.leaves, whole.leaves[19..]);
    assert_eq!(page("/registers?from=40").await.leaves, []);
    for query in ["?from=", "?from=-1", "?from=01", "?to=3", "?", "?from=1&x=2"] {
        let refused = node.get(node.agent(), &format!("/registers{query}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad-request"), "{query}");
    }
    assert_eq!(node.get(None, "/registers").await.status, 401);
}

#[tokio::test]
async fn nothing_is_written_and_too_much_is_not_read() {
    let limits = HttpLimits { headers_max: 8, header_bytes_max: 8192, ..HttpLimits::default() };
    let node = Node::start_within(&leaves(0, 3), head(3), limits).await;
    let ask = async |request: String| {
        let mut stream = node.dial(None).await.unwrap();
        ask(&mut stream, &request).await
    };
    for method in ["POST", "PUT", "DELETE"] {
        let request = format!(
            "{method} /checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        let refused = ask(request).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(refused.code(), "method-refused");
    }
    let head = ask("HEAD /tile/0/000.p/3 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into());
    let head = head.await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("96")));
    assert_eq!(head.body, b"");
    let many = "a: b\r\n".repeat(9);
    let many = ask(format!("GET /checkpoint HTTP/1.1\r\n{many}\r\n")).await;
    assert_eq!(many.status, 431);
    let long = ask(format!("GET /checkpoint HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(9000))).await;
    assert_eq!(long.status, 431);
}

#[tokio::test]
async fn who_sends_nothing_or_takes_nothing_is_let_go() {
    let limits = HttpLimits {
        handshake_wait_max: Duration::from_millis(200),
        header_wait_max: Duration::from_millis(200),
        idle_wait_max: Duration::from_millis(300),
        ..HttpLimits::default()
    };
    let node = Node::start_within(&leaves(0, 3), head(3), limits).await;
    // No handshake.
    let mut silent = TcpStream::connect(node.server.address()).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    // Half a request.
    let mut half = node.dial(None).await.unwrap();
    half.write_all(b"GET /checkpoint HTT").await.unwrap();
    drop(half.read_to_end(&mut Vec::new()).await);
    // Requests without end, and no answer is ever read.
    let mut deaf = node.dial(None).await.unwrap();
    let request = b"GET /tile/0/000.p/3 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
    while deaf.write_all(&request).await.is_ok() {}
    assert_eq!(node.get(None, "/checkpoint").await.status, 200);
}

#[tokio::test]
async fn those_without_a_certificate_do_not_take_the_places_of_members() {
    let limits =
        HttpLimits { connections_max: 2, member_connections_max: 1, ..HttpLimits::default() };
    let node = Node::start_within(&leaves(0, 3), head(3), limits).await;
    let request = "GET /checkpoint HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut held = Vec::new();
    let lz9 = node.auditor();
    let rz9 = Some(issue(&node.rz9, "RZ9/auditor/a", always()));
    let callers =
        [(None, true), (None, true), (None, false), (lz9.clone(), true), (lz9, false), (rz9, true)];
    for (identity, let_in) in callers {
        let mut stream = node.dial(identity).await.unwrap();
        drop(stream.write_all(request.as_bytes()).await);
        assert_eq!(stream.read_u8().await.is_ok(), let_in);
        held.push(stream);
    }
}

#[tokio::test]
async fn a_stop_lets_the_answer_in_flight_arrive() {
    let node = Node::start(&leaves(0, 3), head(3)).await;
    let mut stream = node.dial(None).await.unwrap();
    stream.write_all(b"GET /checkpoint HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
    let address = node.server.address();
    node.server.stop().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"TTP/1.1 200"));
    assert!(TcpStream::connect(address).await.is_err());
}

pub(crate) async fn dial(
    address: SocketAddr,
    trust: &TrustStore,
    identity: Option<Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let expect = Expect { member: None, role: Role::Ledger, name: Some("1".into()) };
    let config = tls::client_config(identity, trust.clone(), expect, &[b"http/1.1"]).unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = tls::SERVER_NAME.try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends a request and reads until the server closes.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let headers = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

/// The bytes of a vector.
fn vector(name: &str) -> Vec<u8> {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/vectors");
    std::fs::read(format!("{vectors}/{name}.cbor")).unwrap()
}

pub(crate) fn status() -> NodeStatus {
    NodeStatus {
        node: NodeId(1),
        member: "RZ9".parse().unwrap(),
        mesh: MESH.parse().unwrap(),
        mesh_id: tally_core::id::MeshId(Hash::from_bytes([7; 32])),
        epoch: 0,
        protocol: 1,
        role: NodeRole::Leader,
        term: 3,
        leader: None,
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        learners: Vec::new(),
        peer_lags: Vec::new(),
        place: Place::Voter,
        last_log_index: Some(9),
        applied_index: Some(8),
        time: Timestamp(1_700_000_000_000),
        size: 5,
        root: Hash::from_bytes([1; 32]),
        registers: 4,
        sessions: 2,
        trust: NodeTrust::Trusted,
        disk: DiskUse::default(),
        rules: RulesKnown::default(),
    }
}

fn member(id: &str, authority: &Authority, status: MemberStatus) -> MemberRecord {
    MemberRecord {
        id: id.parse().unwrap(),
        name: id.into(),
        codes: vec![],
        ca: authority.certificate_der().to_vec(),
        agent_key: SigningKey::from_seed(&[1; 32]).verifying_key(),
        officers: vec![Officer {
            role: "auditor".parse().unwrap(),
            key: SigningKey::from_seed(&[3; 32]).verifying_key(),
        }],
        nodes: if id == "RZ9" { vec![node(1), node(2)] } else { vec![] },
        address: None,
        status,
        supersedes: Vec::new(),
        assessment: None,
    }
}

fn node(id: u64) -> LedgerNode {
    LedgerNode {
        id: NodeId(id),
        log_key: SigningKey::from_seed(&[2; 32]).verifying_key(),
        quic: "127.0.0.1:1".parse().unwrap(),
        https: "127.0.0.1:2".parse().unwrap(),
    }
}

fn issue(authority: &Authority, rest: &str, validity: Validity) -> Identity {
    let id = format!("spiffe://{MESH}/{rest}").parse().unwrap();
    authority.issue(&id, &[Ipv4Addr::LOCALHOST.into()], validity).unwrap().identity()
}

fn always() -> Validity {
    Validity { from_s: now_s() - 60, until_s: now_s() + 3600 }
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}
