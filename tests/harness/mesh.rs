//! A mesh of real processes on this machine: ledger nodes that are started, killed, frozen and
//! started again, and what it takes to be an agent of one of its members.
//!
//! Nothing here waits for time to pass: it waits for facts, each with a limit, and says which one did
//! not come true. What the processes said is printed when a test fails.

mod auditor;
mod directory;
mod facts;
mod faults;
mod https;
mod joining;
mod node;
mod recovering;
mod wires;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::{LeafIndex, MemberId, MeshId, NodeId};
use tally_core::register::MemberRecord;
use tally_log::note::KeyName;
use tally_log::{NoteKey, SigningKey};
use tally_net::authority::Validity;
use tally_net::ledger::{AgentKey, Client, ClientLimits, LedgerAddress, LedgerConfig};
use tally_net::{Authority, Identity, Role, SpiffeId, TrustStore};
use tempfile::TempDir;

pub use directory::now_s;
pub use facts::{Waited, until};
pub use joining::ClusterSeen;
pub use node::Exit;
pub use recovering::Planned;

use node::NodeProcess;
use wires::Wires;

/// The mesh's name.
pub const MESH: &str = "dev.example";

/// How a mesh is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Founding members, 1 to 8; each has an agent.
    pub members: usize,
    /// Ledger nodes, dealt out to the members in turn.
    pub nodes: usize,
}

/// A member, with all that only it knows.
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its CA.
    pub authority: Authority,
    /// Signs its sessions and batches.
    pub agent_key: SigningKey,
    /// Signs as its ig-lead.
    pub officer_key: SigningKey,
}

/// A mesh, and its processes. Dropped, all of them are killed and its directory is gone; but first the
/// tiles of its nodes are compared.
pub struct Mesh {
    /// Dropped first: processes end before their directory does.
    nodes: Vec<NodeProcess>,
    /// The members, in order of their ids.
    pub members: Vec<Member>,
    /// Leaf 0.
    pub genesis: Encoded<Genesis>,
    log_keys: Vec<SigningKey>,
    wires: Option<Wires>,
    /// In which the ledger is: what clients are told, and how keys are named.
    epoch: u64,
    /// Members' registers that were written since: record, version and leaf.
    records: BTreeMap<usize, (MemberRecord, u64, LeafIndex)>,
    dir: TempDir,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_tiles();
        }
    }
}

impl Plan {
    /// Three nodes of three members.
    pub const THREE: Self = Self { members: 3, nodes: 3 };
}

impl Mesh {
    /// Makes keys, certificates, genesis and configurations; nothing runs yet. `binary` is the `tally`
    /// to run.
    ///
    /// # Errors
    /// [`io::Error`] if the directory can't be written.
    pub fn new(binary: &str, plan: Plan) -> io::Result<Self> {
        directory::make(binary, plan, false)
    }

    /// The same, and nodes reach each other by wires that a test can cut.
    ///
    /// # Errors
    /// [`io::Error`] if the directory can't be written, or a socket is not to be had.
    pub fn new_wired(binary: &str, plan: Plan) -> io::Result<Self> {
        directory::make(binary, plan, true)
    }

    /// Makes a mesh, starts all its nodes and waits until they have founded a ledger.
    ///
    /// # Errors
    /// [`Waited`] if they don't.
    pub async fn running(binary: &str, plan: Plan) -> Result<Self, Waited> {
        let mut mesh = Self::new(binary, plan).map_err(|error| Waited::of("a directory", error))?;
        mesh.start_all().await?;
        Ok(mesh)
    }

    /// Starts all nodes and waits until they have founded a ledger.
    ///
    /// # Errors
    /// [`Waited`] if they don't.
    pub async fn start_all(&mut self) -> Result<(), Waited> {
        for node in 0..self.node_count() {
            self.start(node)?;
        }
        self.reach(1).await.map(drop)
    }

    /// The mesh's id.
    #[must_use]
    pub fn id(&self) -> MeshId {
        MeshId(self.genesis.leaf_hash())
    }

    /// Where a ledger node, counted from 0, has its files.
    #[must_use]
    pub fn data_dir(&self, node: usize) -> PathBuf {
        self.node_dir(node).join("data")
    }

    /// Where a ledger node has its configuration, keys and output.
    #[must_use]
    pub fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("ledger-{}", node + 1))
    }

    /// Where a ledger node listens for agents.
    #[must_use]
    pub fn agents_address(&self, node: usize) -> SocketAddr {
        self.node(node).agents
    }

    /// Where a ledger node listens for its peers.
    #[must_use]
    pub fn raft_address(&self, node: usize) -> SocketAddr {
        self.node(node).raft
    }

    /// Where a ledger node reaches another.
    fn peer_address(&self, node: usize, peer: usize) -> SocketAddr {
        let wires = self.wires.as_ref();
        wires.map_or_else(|| self.raft_address(peer), |wires| wires.address(node, peer))
    }

    /// A certificate of a member's workload that holds now.
    #[must_use]
    pub fn identity(&self, member: usize, role: Role, name: &str) -> Identity {
        let validity = validity();
        self.identity_within(member, role, name, validity)
    }

    /// A certificate of a member's workload for some other time.
    #[must_use]
    pub fn identity_within(
        &self,
        member: usize,
        role: Role,
        name: &str,
        validity: Validity,
    ) -> Identity {
        let Member { id, authority, .. } = &self.members[member];
        let mesh = MESH.parse().unwrap();
        let id = SpiffeId { mesh, member: id.clone(), role, name: name.to_owned() };
        authority.issue(&id, &[], validity).unwrap().identity()
    }

    /// What a member's agent knows of the ledger.
    #[must_use]
    pub fn config(&self, member: usize) -> LedgerConfig {
        self.config_as(member, self.identity(member, Role::Agent, "agent"))
    }

    /// The same with another certificate.
    #[must_use]
    pub fn config_as(&self, member: usize, identity: Identity) -> LedgerConfig {
        let trust = TrustStore::new(MESH.parse().unwrap());
        self.genesis.value().members.iter().for_each(|member| trust.update(member));
        LedgerConfig {
            member: self.members[member].id.clone(),
            mesh_id: self.id(),
            epoch: self.epoch,
            nodes: (0..self.nodes.len()).map(|node| self.ledger_address(node)).collect(),
            identity,
            trust,
            log_keys: self.log_keys(),
            limits: ClientLimits::default(),
        }
    }

    /// How a client names a node.
    #[must_use]
    pub fn ledger_address(&self, node: usize) -> LedgerAddress {
        LedgerAddress { node: node_id(node), address: self.agents_address(node) }
    }

    /// Starts the client of a member's agent. Must be called in a tokio runtime.
    #[must_use]
    pub fn client(&self, member: usize) -> Client {
        let key = AgentKey::new(self.members[member].agent_key.clone());
        Client::start(self.config(member), key)
    }

    /// The keys that sign checkpoints.
    #[must_use]
    pub fn log_keys(&self) -> Vec<NoteKey> {
        self.log_keys_of(self.epoch)
    }

    /// The same as they are named in an epoch.
    #[must_use]
    pub fn log_keys_of(&self, epoch: u64) -> Vec<NoteKey> {
        let name = KeyName::new(&format!("{MESH}/ledger/{epoch}")).unwrap();
        let keys = self.log_keys.iter();
        keys.map(|key| NoteKey::ed25519(name.clone(), key.verifying_key())).collect()
    }

    /// From now on the ledger is in this epoch.
    pub const fn go_on_in(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// What the genesis says of a member.
    #[must_use]
    pub fn record(&self, member: usize) -> &MemberRecord {
        &self.genesis.value().members[member]
    }

    fn node(&self, node: usize) -> &NodeProcess {
        &self.nodes[node]
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

/// The number of the node at this place.
#[must_use]
pub const fn node_id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

/// Long enough for a clock that is an hour ahead or behind.
fn validity() -> Validity {
    Validity { from_s: now_s() - 2 * 3600, until_s: now_s() + 2 * 3600 }
}

/// A loopback address that no other mesh uses, here or in another process of tests: so ports stay free
/// for as long as a node is down, whatever the sockets of clients are given.
fn own_loopback() -> IpAddr {
    static MESHES: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id() % (200 * 256);
    let [_, _, high, low] = process.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, high + 32, low, MESHES.fetch_add(1, Ordering::Relaxed)))
}
