//! A mesh of three members, each with a ledger node and an agent, on real sockets and real disks, in
//! one process. An agent has a runtime of its own, so that it can end in the middle of anything.

mod registers;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tally_agent::clock::Clock;
use tally_agent::exchange::{AgentParts, Answer, Ask, Exchange, Uncounted};
use tally_agent::opt_out::OptOutSettings;
use tally_agent::source::Sources;
use tally_agent::spool::Spool;
use tally_agent::store::{Store, StoreSettings};
use tally_core::Encoded;
use tally_core::agreement::{Agreement, Condition, file};
use tally_core::entry::{Algorithm, Entry, Environment, Genesis};
use tally_core::id::{ExchangeId, KeyId, LeafIndex, MemberId, MeshId, NodeId, Salt16};
use tally_core::limits::Limits;
use tally_core::refusal::Refusal;
use tally_core::register::{
    AgreementRecord, Approval, LedgerNode, MemberRecord, MemberStatus, Officer, RegisterBody,
    RegisterName, agreement_preimage, register_preimage,
};
use tally_ledger::node::{Node, Settings, StartError, Tuning};
use tally_ledger::store::OpenError;
use tally_log::note::KeyName;
use tally_log::{NoteKey, SigningKey, sha256};
use tally_net::authority::Validity;
use tally_net::ledger::{AgentKey, Client, ClientLimits, LedgerAddress, LedgerConfig, Link};
use tally_net::{Authority, Identity, Role, SpiffeId, TrustStore};
use tally_wire::encode_checked;
use tally_wire::message::ledger::{EntriesQuery, Query, QueryAnswer, StatusQuery};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::data::{AGREEMENT, DATASETS, sources, write_data};

pub(crate) const MESH: &str = "dev.example";
pub(crate) const MEMBERS: [&str; 3] = ["LZ9", "QX1", "RZ9"];
/// Whose auditors audit the mesh.
const AUDITS: &str = MEMBERS[0];
/// Who asks, and who provides.
pub(crate) const ASKS: usize = 0;
pub(crate) const PROVIDES: usize = 2;
/// Far longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Mesh {
    pub(crate) genesis: Encoded<Genesis>,
    dirs: Vec<TempDir>,
    pub(crate) stores: Vec<TempDir>,
    pub(crate) data: TempDir,
    authorities: Vec<Authority>,
    raft: Vec<SocketAddr>,
    ledger: Vec<SocketAddr>,
    pub(crate) agents_listen: Vec<SocketAddr>,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) agents: Vec<Option<Agent>>,
    pub(crate) limits: Limits,
}

pub(crate) struct Agent {
    runtime: Runtime,
    pub(crate) exchange: Exchange,
    pub(crate) store: Store,
}

pub(crate) fn key(name: &str) -> SigningKey {
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
pub(crate) async fn next_look() {
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    beat.tick().await;
    beat.tick().await;
}

impl Mesh {
    /// Ledger nodes and the two agents run, and the agreement is in force.
    pub(crate) async fn running() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::set_up(Self::new(limits, true)).await
    }

    /// The provider's address is in no register: nobody can dial it.
    pub(crate) async fn with_unlisted_provider() -> Self {
        Self::set_up(Self::new(Limits::default(), false)).await
    }

    async fn set_up(mut mesh: Self) -> Self {
        for place in 0..3 {
            mesh.start_node(place).await;
        }
        for place in [ASKS, PROVIDES] {
            mesh.start_agent(place).await;
        }
        for text in [AGREEMENT, DATASETS] {
            mesh.agree(PROVIDES, text, &["LZ9", "RZ9"]).await;
        }
        mesh
    }

    /// `listed` says whether the provider's address is in its register.
    fn new(limits: Limits, listed: bool) -> Self {
        let validity = Validity { from_s: now_s() - 3600, until_s: now_s() + 24 * 3600 };
        let authorities: Vec<_> =
            MEMBERS.iter().map(|name| Authority::create(name, validity).unwrap()).collect();
        let addresses = free_addresses(9);
        let members = MEMBERS.iter().zip(&authorities).zip(&addresses[6..]).zip(1..);
        let members = members.map(|(((name, ca), address), node)| {
            let address = Some(*address).filter(|_| listed || *name != MEMBERS[PROVIDES]);
            member(name, ca, node, address)
        });
        let members = members.collect();
        let genesis = Genesis {
            salt: Salt16([1; 16]),
            mesh: MESH.parse().unwrap(),
            environment: Environment::Test,
            protocol: 1,
            members,
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        };
        let dirs = || (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let data = tempfile::tempdir().unwrap();
        write_data(data.path());
        Self {
            genesis: encode_checked(genesis).unwrap(),
            dirs: dirs(),
            stores: dirs(),
            data,
            authorities,
            raft: addresses[..3].to_vec(),
            ledger: addresses[3..6].to_vec(),
            agents_listen: addresses[6..].to_vec(),
            nodes: vec![None, None, None],
            agents: vec![None, None, None],
            limits,
        }
    }

    pub(crate) fn identity(&self, place: usize, role: Role, name: &str) -> Identity {
        let id = SpiffeId {
            mesh: MESH.parse().unwrap(),
            member: MEMBERS[place].parse().unwrap(),
            role,
            name: name.to_owned(),
        };
        let validity = Validity { from_s: now_s() - 60, until_s: now_s() + 3600 };
        self.authorities[place].issue(&id, &[], validity).unwrap().identity()
    }

    fn node_settings(&self, place: usize) -> Settings {
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
            agents_listen: self.ledger[place],
            fatal: Arc::new(|fatal| eprintln!("fatal: {fatal}")),
            tuning: Tuning { segment_bytes: 8 << 20, ..Tuning::default() },
        }
    }

    pub(crate) async fn start_node(&mut self, place: usize) {
        let started = async {
            loop {
                match Node::start(self.node_settings(place)).await {
                    Err(StartError::Open(OpenError::InUse) | StartError::Listen { .. }) => {
                        next_look().await;
                    }
                    other => return other.unwrap(),
                }
            }
        };
        self.nodes[place] = Some(timeout(LONG, started).await.unwrap());
    }

    pub(crate) async fn stop_node(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        node.run_until(async {}).await.unwrap();
    }

    /// The client of a member whose agent does not run, or should not know.
    pub(crate) fn client(&self, place: usize) -> Client {
        let config = self.ledger_config(place, self.identity(place, Role::Agent, "agent"));
        Client::start(config, AgentKey::new(key(&format!("agent {}", MEMBERS[place]))))
    }

    /// Starts an agent, and waits until what it left is settled.
    pub(crate) async fn start_agent(&mut self, place: usize) {
        let settings = StoreSettings {
            directory: self.stores[place].path().join("store"),
            member: MEMBERS[place].parse().unwrap(),
            mesh_id: self.mesh_id(),
            consent_registers: 1,
        };
        let store = Store::open(settings).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = self.parts(place, store.clone());
        let guard = runtime.enter();
        let exchange = Exchange::start(parts).unwrap();
        drop(guard);
        let mut settled = exchange.settled();
        timeout(LONG, settled.wait_for(|settled| *settled)).await.unwrap().unwrap();
        self.agents[place] = Some(Agent { runtime, exchange, store });
    }

    fn parts(&self, place: usize, store: Store) -> AgentParts {
        let member = MEMBERS[place].parse().unwrap();
        let sources = if place == PROVIDES { sources(self.data.path()) } else { Vec::new() };
        let spool = Spool::open(&self.stores[place].path().join("spool"), &self.limits).unwrap();
        let limits = (&self.limits, spool);
        let sources = Sources::open(sources, &member, Environment::Test, limits).unwrap();
        let config = self.ledger_config(place, self.identity(place, Role::Agent, "agent"));
        AgentParts {
            member,
            operator: None,
            mesh_id: config.mesh_id,
            epoch: 0,
            genesis: self.genesis.value().clone(),
            identity: config.identity,
            agent_key: AgentKey::new(key(&format!("agent {}", MEMBERS[place]))),
            trust: config.trust,
            ledger: config.nodes,
            log_keys: config.log_keys,
            ledger_limits: config.limits,
            store,
            sources: Arc::new(sources),
            limits: self.limits.clone(),
            listen: self.agents_listen[place],
            retention_years: 8,
            opt_out: OptOutSettings::default(),
            own_policy: Condition::default(),
            clock: Clock::start(),
            outcomes: Arc::new(Uncounted),
        }
    }

    /// Ends an agent as if its process had been killed; what its store had been given is there.
    pub(crate) fn kill_agent(&mut self, place: usize) {
        let Agent { runtime, exchange, store } = self.agents[place].take().unwrap();
        tokio::task::block_in_place(|| {
            runtime.shutdown_timeout(LONG);
            drop(exchange);
            store.close();
        });
    }

    pub(crate) async fn drain_agent(&mut self, place: usize) {
        let Agent { runtime, exchange, store } = self.agents[place].take().unwrap();
        runtime.spawn(exchange.drain(async {})).await.unwrap();
        tokio::task::block_in_place(|| {
            runtime.shutdown_timeout(LONG);
            store.close();
        });
    }

    pub(crate) fn agent(&self, place: usize) -> &Agent {
        self.agents[place].as_ref().unwrap()
    }

    pub(crate) fn mesh_id(&self) -> MeshId {
        MeshId(self.genesis.leaf_hash())
    }

    pub(crate) fn ledger_config(&self, place: usize, identity: Identity) -> LedgerConfig {
        let name = KeyName::new(&format!("{MESH}/ledger/0")).unwrap();
        let log_key =
            |node| NoteKey::ed25519(name.clone(), key(&format!("log {node}")).verifying_key());
        let trust = TrustStore::new(MESH.parse().unwrap());
        self.genesis.value().members.iter().for_each(|member| trust.update(member));
        let nodes = (1..).zip(&self.ledger);
        LedgerConfig {
            member: MEMBERS[place].parse().unwrap(),
            mesh_id: self.mesh_id(),
            epoch: 0,
            nodes: nodes
                .map(|(id, address)| LedgerAddress { node: NodeId(id), address: *address })
                .collect(),
            identity,
            trust,
            log_keys: (1..=3).map(log_key).collect(),
            limits: ClientLimits::default(),
        }
    }

    /// The parties' officers sign, and one party's agent writes the agreement.
    pub(crate) async fn agree(&self, place: usize, text: &str, parties: &[&str]) {
        self.agree_on(place, file::read(text).unwrap(), parties).await;
    }

    /// The same on a document that no check has seen.
    pub(crate) async fn agree_on(&self, place: usize, document: Agreement, parties: &[&str]) {
        let document = encode_checked(document).unwrap();
        let preimage = agreement_preimage(&self.mesh_id(), document.bytes());
        let approvals = parties.iter().map(|member| approval(member, &preimage)).collect();
        let name = format!("agreement/{}", document.value().id).parse().unwrap();
        let record = AgreementRecord { document, suspended_by: Vec::new() };
        let body = encode_checked(RegisterBody::Agreement(Box::new(record))).unwrap();
        let written =
            self.agent(place).exchange.recorder().write_register(&name, true, body, approvals);
        let written = timeout(LONG, written).await.unwrap().unwrap();
        for place in [ASKS, PROVIDES] {
            let reached = self.agent(place).exchange.replica().reach(written.leaf.0 + 1);
            timeout(LONG, reached).await.unwrap();
        }
    }

    /// For long enough.
    pub(crate) fn validity(&self) -> Validity {
        Validity { from_s: now_s() - 60, until_s: now_s() + 3600 }
    }

    /// All leaves of the ledger.
    pub(crate) async fn leaves(&self) -> Vec<Entry> {
        let config = self.ledger_config(0, self.identity(0, Role::Auditor, "auditor"));
        let place = self.nodes.iter().position(Option::is_some).unwrap();
        let link = Link::dial(&config, config.nodes[place]).await.unwrap();
        let QueryAnswer::Status(status) = link.ask(&Query::Status(StatusQuery {})).await.unwrap()
        else {
            panic!("no status");
        };
        let mut leaves = Vec::new();
        while (leaves.len() as u64) < status.size {
            let first = LeafIndex(leaves.len() as u64);
            match link.ask(&Query::Entries(EntriesQuery { first, count: 512 })).await.unwrap() {
                QueryAnswer::Entries(page) => {
                    leaves.extend(page.entries.into_iter().map(|entry| entry.into_parts().0));
                }
                _ => next_look().await,
            }
        }
        leaves
    }

    /// Waits until the ledger has so many entries of an exchange, sees that no more are owed, and
    /// gives them.
    pub(crate) async fn entries(&self, exchange: ExchangeId, count: usize) -> Vec<Entry> {
        let found = async {
            loop {
                let entries = self.of(exchange).await;
                if entries.len() >= count && self.nothing_is_owed() {
                    return entries;
                }
                next_look().await;
            }
        };
        let Ok(entries) = timeout(LONG, found).await else {
            panic!("{:#?}", self.of(exchange).await)
        };
        assert_eq!(entries.len(), count, "{entries:#?}");
        entries
    }

    /// The entries of an exchange that there are now.
    pub(crate) async fn of(&self, exchange: ExchangeId) -> Vec<Entry> {
        of_exchange(&self.leaves().await, exchange)
    }

    pub(crate) fn nothing_is_owed(&self) -> bool {
        self.agents.iter().flatten().all(|it| it.store.outbox_len() == 0)
    }

    /// How many entries of exchanges there are at all.
    pub(crate) async fn count_entries(&self) -> usize {
        let is_entry = |entry: &&Entry| {
            matches!(
                entry,
                Entry::ProviderHalf(_)
                    | Entry::RequesterHalf(_)
                    | Entry::Close(_)
                    | Entry::RefusalCount(_)
            )
        };
        self.leaves().await.iter().filter(is_entry).count()
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Refusal> {
        timeout(LONG, self.agent(ASKS).exchange.requester().ask(ask)).await.unwrap()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for agent in self.agents.drain(..).flatten() {
            agent.runtime.shutdown_background();
        }
    }
}

/// The halves of an exchange, and the close of its provider's half.
fn of_exchange(leaves: &[Entry], exchange: ExchangeId) -> Vec<Entry> {
    let half_at = |at: LeafIndex| match &leaves[at.0 as usize] {
        Entry::ProviderHalf(half) => half.exchange == exchange,
        _ => false,
    };
    let of = |entry: &&Entry| match entry {
        Entry::ProviderHalf(half) => half.exchange == exchange,
        Entry::RequesterHalf(half) => half.exchange == exchange,
        Entry::Close(close) => half_at(close.provider_leaf),
        _ => false,
    };
    leaves.iter().filter(of).cloned().collect()
}

/// What a member's IG lead signs.
pub(crate) fn approval(member: &str, preimage: &[u8]) -> Approval {
    let key = key(&format!("ig-lead {member}"));
    Approval {
        member: member.parse().unwrap(),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: key.sign(preimage),
    }
}

fn member(name: &str, ca: &Authority, node: u64, address: Option<SocketAddr>) -> MemberRecord {
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
        address: address.map(|address| address.to_string().parse().unwrap()),
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    }
}
