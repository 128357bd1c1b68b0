//! A mesh of three members, each with a ledger node and an agent, on this machine.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tally_core::Encoded;
use tally_core::entry::{Entry, Environment, Genesis, RefusalCount};
use tally_core::id::{MeshId, NodeId, Salt16};
use tally_core::refusal::Refusal;
use tally_core::register::{LedgerNode, MemberRecord, MemberStatus, Officer};
use tally_core::time::Timestamp;
use tally_log::note::KeyName;
use tally_log::{NoteKey, SigningKey, sha256};
use tally_net::authority::Validity;
use tally_net::ledger::{
    AgentKey, AppendError, Client, ClientLimits, LedgerAddress, LedgerConfig, Recorded, Travel,
};
use tally_net::{Authority, Identity, Role, SpiffeId, TrustStore};
use tempfile::TempDir;
use tokio::time::timeout;

use super::super::*;
use crate::store::OpenError;

pub(super) const MESH: &str = "dev.example";
pub(super) const MEMBERS: [&str; 3] = ["LZ9", "QX1", "RZ9"];
/// Whose auditors audit the mesh.
const AUDITS: &str = MEMBERS[1];
/// Far longer than anything takes on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) struct Mesh {
    pub(super) genesis: Encoded<Genesis>,
    pub(super) dirs: Vec<TempDir>,
    authorities: Vec<Authority>,
    raft: Vec<SocketAddr>,
    agents: Vec<SocketAddr>,
    pub(super) nodes: Vec<Option<Node>>,
}

pub(super) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(sha256(&[name.as_bytes()]).as_bytes())
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// Addresses that were free a moment ago, all different.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
}

/// A fact that nobody announces is looked at again on the next beat.
pub(super) async fn next_look() {
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    beat.tick().await;
    beat.tick().await;
}

impl Mesh {
    /// Nothing runs yet.
    pub(super) fn new() -> Self {
        let validity = Validity { from_s: now_s() - 3600, until_s: now_s() + 24 * 3600 };
        let authorities: Vec<_> =
            MEMBERS.iter().map(|name| Authority::create(name, validity).unwrap()).collect();
        let members = MEMBERS.iter().zip(&authorities).zip(1..);
        let members = members.map(|((name, ca), node)| member(name, ca, node)).collect();
        let genesis = Genesis {
            salt: Salt16([1; 16]),
            mesh: MESH.parse().unwrap(),
            environment: Environment::Test,
            protocol: 1,
            members,
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        };
        let addresses = free_addresses(6);
        Self {
            genesis: tally_wire::encode_checked(genesis).unwrap(),
            dirs: (0..3).map(|_| tempfile::tempdir().unwrap()).collect(),
            authorities,
            raft: addresses[..3].to_vec(),
            agents: addresses[3..].to_vec(),
            nodes: vec![None, None, None],
        }
    }

    pub(super) async fn running() -> Self {
        let mut mesh = Self::new();
        for place in 0..3 {
            mesh.start(place).await;
        }
        mesh
    }

    pub(super) fn identity(&self, place: usize, role: Role, name: &str) -> Identity {
        let id = SpiffeId {
            mesh: MESH.parse().unwrap(),
            member: MEMBERS[place].parse().unwrap(),
            role,
            name: name.to_owned(),
        };
        let validity = Validity { from_s: now_s() - 60, until_s: now_s() + 3600 };
        self.authorities[place].issue(&id, &[], validity).unwrap().identity()
    }

    pub(super) fn settings(&self, place: usize) -> Settings {
        let node = place + 1;
        let peers = (1..).zip(&self.raft).map(|(id, address)| (id, address.to_string()));
        Settings {
            data_dir: self.dirs[place].path().to_owned(),
            member: MEMBERS[place].parse().unwrap(),
            node_id: NodeId(node as u64),
            genesis: self.genesis.clone(),
            identity: self.identity(place, Role::Ledger, &node.to_string()),
            log_key: key(&format!("log {node}")),
            raft_listen: self.raft[place],
            peers: peers.filter(|(id, _)| *id != node as u64).collect(),
            raft_address: None,
            epoch: 0,
            agents_listen: self.agents[place],
            fatal: Arc::new(|fatal| eprintln!("fatal: {fatal}")),
            tuning: Tuning { segment_bytes: 8 << 20, ..Tuning::default() },
        }
    }

    /// Starts a node, once nothing holds its directory and ports any more.
    pub(super) async fn start(&mut self, place: usize) {
        let started = async {
            loop {
                match Node::start(self.settings(place)).await {
                    Err(StartError::Open(OpenError::InUse) | StartError::Listen { .. }) => {
                        next_look().await;
                    }
                    other => return other.unwrap(),
                }
            }
        };
        self.nodes[place] = Some(timeout(LONG, started).await.unwrap());
    }

    /// As if its process had been killed: nothing is closed.
    pub(super) async fn kill(&mut self, place: usize) {
        let mut node = self.nodes[place].take().unwrap();
        let threads = node.threads.0.take().unwrap();
        node.tasks.shutdown().await;
        drop(node);
        tokio::task::spawn_blocking(move || threads.shutdown_timeout(LONG)).await.unwrap();
    }

    pub(super) async fn stop(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        node.run_until(async {}).await.unwrap();
    }

    pub(super) fn running_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// The place of the node that leads, as all that run agree.
    pub(super) async fn leader(&self) -> usize {
        let agreed = async {
            loop {
                let mut leaders = self.running_nodes().map(Node::leader);
                let first = leaders.next().flatten();
                if let Some(id) = first
                    && leaders.all(|leader| leader == first)
                    && let Some(node) = &self.nodes[id.0 as usize - 1]
                    && node.consensus().is_leader()
                {
                    return id.0 as usize - 1;
                }
                next_look().await;
            }
        };
        timeout(LONG, agreed).await.unwrap()
    }

    pub(super) fn config(&self, place: usize) -> LedgerConfig {
        let name = KeyName::new(&format!("{MESH}/ledger/0")).unwrap();
        let log_key =
            |node| NoteKey::ed25519(name.clone(), key(&format!("log {node}")).verifying_key());
        let trust = TrustStore::new(MESH.parse().unwrap());
        self.genesis.value().members.iter().for_each(|member| trust.update(member));
        let nodes = (1..).zip(&self.agents);
        LedgerConfig {
            member: MEMBERS[place].parse().unwrap(),
            mesh_id: MeshId(self.genesis.leaf_hash()),
            epoch: 0,
            nodes: nodes
                .map(|(id, address)| LedgerAddress { node: NodeId(id), address: *address })
                .collect(),
            identity: self.identity(place, Role::Agent, "agent"),
            trust,
            log_keys: (1..=3).map(log_key).collect(),
            limits: ClientLimits::default(),
        }
    }

    pub(super) fn client(&self, place: usize) -> Client {
        let agent = AgentKey::new(key(&format!("agent {}", MEMBERS[place])));
        Client::start(self.config(place), agent)
    }

    /// Waits until all that run have applied so many leaves, and have them in their tiles.
    pub(super) async fn reach(&self, size: u64) {
        for node in self.running_nodes() {
            let mut heads = node.tiles().heads();
            timeout(LONG, heads.wait_for(|head| head.size >= size)).await.unwrap().unwrap();
        }
    }
}

fn member(name: &str, ca: &Authority, node: u64) -> MemberRecord {
    let officer = |role: &str| Officer {
        role: role.parse().unwrap(),
        key: key(&format!("{role} {name}")).verifying_key(),
    };
    let mut officers = vec![officer("caldicott"), officer("ig-lead")];
    if name == AUDITS {
        officers.insert(0, officer("auditor"));
    }
    MemberRecord {
        id: name.parse().unwrap(),
        name: format!("{name} (fictional)"),
        codes: Vec::new(),
        ca: ca.certificate_der().to_vec(),
        agent_key: key(&format!("agent {name}")).verifying_key(),
        officers,
        nodes: vec![LedgerNode {
            id: NodeId(node),
            log_key: key(&format!("log {node}")).verifying_key(),
            quic: "127.0.0.1:7610".parse().unwrap(),
            https: "127.0.0.1:7611".parse().unwrap(),
        }],
        address: None,
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    }
}

/// An entry of this member, told from others by `number`.
pub(super) fn entry(place: usize, number: u64) -> Entry {
    let other = MEMBERS[(place + 1) % 3];
    Entry::RefusalCount(RefusalCount {
        salt: Salt16([8; 16]),
        counter: 0,
        provider: MEMBERS[place].parse().unwrap(),
        requester: other.parse().unwrap(),
        refusal: Refusal::PersonLevel,
        count: number + 1,
        from: Timestamp(1),
        to: Timestamp(2),
    })
}

/// Appends an entry and waits for as long as it takes to be known to be there.
pub(super) async fn append(client: &Client, place: usize, number: u64) -> Recorded {
    let recorded = match client.append(entry(place, number), Travel::Together, LONG).await {
        Err(AppendError::Unanswered(late)) => late.wait().await,
        other => other,
    };
    recorded.unwrap()
}
