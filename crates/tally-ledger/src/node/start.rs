//! Starting a node: checks first, then the directory, then consensus, then whoever calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use openraft::{Config, SnapshotPolicy};
use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::{MeshId, NodeId};
use tally_core::ledger::State;
use tally_core::register::{LedgerNode, MemberRecord};
use tally_net::endpoint::{ConnectionLimits, endpoint, server_config};
use tally_net::quinn::Endpoint;
use tally_net::tls;
use tally_net::{Accept, Identity, Listener, ListenerLimits, Role, SpiffeId, TrustStore, alpn};
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::hello::{Hello, Welcome};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::founding::{Founding, founders};
use super::reads::Shown;
use super::{Bound, Node, Settings, StartError, Threads, follow, roles, watch};
use crate::applied::{Ledger, Replica};
use crate::cluster::Cluster;
use crate::disk::RealDisk;
use crate::marks::Start;
use crate::metrics::Metrics;
use crate::published::Board;
use crate::raft::{
    CONNECTION, Consensus, Links, LogStorage, Machine, MachineParts, Prepared, RaftNode,
    RaftServer, Standing,
};
use crate::saved::{Saver, load};
use crate::segment::Owner;
use crate::sequencer::{Sequencer, SequencerParts};
use crate::server::{CALLERS, Counters, Server, ServerParts, halves};
use crate::signer::LogSigner;
use crate::store::{Empty, FatalHook, Opened, Settings as StoreSettings, Store};
use crate::tiles::{GATHER_WAIT_MAX, Resume, TileReader, TileStore, TileWriterHandle};
use crate::witnesses::{VISITORS_MAX, Visitor};

/// The directory, open.
struct OpenDirectory {
    store: Store,
    opened: Opened,
    ledger: Ledger,
    tiles: Arc<TileWriterHandle>,
}

/// What consensus was started with.
struct Joined {
    consensus: Consensus,
    links: Links,
    raft: Endpoint,
    address: SocketAddr,
}

pub(super) async fn start(settings: Settings) -> Result<Node, StartError> {
    let mesh_id = MeshId(settings.genesis.leaf_hash());
    check(&settings)?;
    let directory = open(&settings, mesh_id)?;
    // The store knows of a forced recovery before its leaf is applied.
    let epoch = directory.opened.epoch;
    let signer = LogSigner::new(&settings.genesis.value().mesh, epoch, settings.log_key.clone())?;
    let signer = Arc::new(signer.within(directory.ledger.clone()));
    check_registers(&settings, &directory.ledger)?;
    let trust = trust_of(&settings.genesis, &directory.ledger);
    let (agents, bound_agents) = listen_agents(&settings, &trust)?;
    let parts = machine_parts(&settings, &directory, &trust)?;
    let OpenDirectory { store, opened, ledger, tiles } = directory;
    let standing = Arc::new(Standing::new(opened.start == Start::Trusted));
    let welcome = welcome(&settings, epoch);
    let board = Board::default();
    let joining = Joining {
        listen: settings.raft_listen,
        node: settings.node_id.0,
        identity: settings.identity.clone(),
        trust: trust.clone(),
        hello: hello(&welcome, mesh_id),
        welcome: welcome.clone(),
        peers: settings.peers.clone(),
        // One that may have lost its disk asks the others first.
        founders: founders(&settings, &store, epoch).filter(|_| standing.is_trusted()),
        machine: Machine::new(parts.clone()),
        store: store.clone(),
        ledger: ledger.clone(),
        standing: Arc::clone(&standing),
        tiles: tiles.reader(),
        signer: Arc::clone(&signer),
        board: board.clone(),
    };
    let threads = Threads::start().map_err(StartError::Thread)?;
    let Joined { consensus, links, raft, address } = threads.spawn(join(joining)).await??;
    let cluster =
        Cluster::new(consensus.clone(), ledger.clone(), Arc::clone(&standing), links.clone());
    let (doorbell, visitors) = mpsc::channel(VISITORS_MAX);
    let MachineParts { prepared, saver, metrics, .. } = parts;
    let mut node = Node {
        bound: Bound { agents: bound_agents, raft: address },
        ledger,
        trust,
        consensus,
        standing,
        cluster,
        counters: Arc::new(Counters::default()),
        metrics,
        support: links.support(),
        shown: Shown::of(&settings),
        board,
        links: links.clone(),
        visitors: Mutex::new(Some(visitors)),
        opened,
        store,
        saver,
        tiles,
        agents,
        raft,
        hand_over_wait_max: settings.tuning.hand_over_wait_max,
        tasks: JoinSet::new(),
        threads,
    };
    serve(&mut node, &settings, Serving { prepared, signer, welcome, links, doorbell });
    Ok(node)
}

/// What applies entries, and what it works with.
fn machine_parts(
    settings: &Settings,
    directory: &OpenDirectory,
    trust: &TrustStore,
) -> Result<MachineParts, StartError> {
    let OpenDirectory { store, ledger, tiles, .. } = directory;
    let metrics = Metrics::new().map_err(|error| StartError::Metrics(error.to_string()))?;
    metrics.vouched(store.reader().status().vouched);
    store.measure_syncs(metrics.syncs());
    let (of, with) = (ledger.clone(), Arc::clone(tiles));
    let saver = Saver::new(&settings.data_dir, settings.tuning.save, of, with, store.clone());
    Ok(MachineParts {
        ledger: ledger.clone(),
        trust: trust.clone(),
        tiles: Arc::clone(tiles),
        prepared: Prepared::default(),
        saver,
        metrics,
    })
}

/// What serving takes beside the node.
struct Serving {
    prepared: Prepared,
    signer: Arc<LogSigner>,
    welcome: Welcome,
    links: Links,
    doorbell: mpsc::Sender<Visitor>,
}

/// Starts what works on its own: serving agents, founding the ledger, regaining trust.
fn serve(node: &mut Node, settings: &Settings, with: Serving) {
    let Serving { prepared, signer, welcome, links, doorbell } = with;
    let Settings { tuning, genesis, .. } = settings;
    let consensus = node.consensus.clone();
    let sequencing = SequencerParts {
        consensus: consensus.clone(),
        standing: Arc::clone(&node.standing),
        prepared,
        signer: Arc::clone(&signer),
        links: links.clone(),
        ledger: node.ledger.clone(),
        metrics: node.metrics.clone(),
    };
    let sequencer = Sequencer::start(sequencing, tuning.sequencer);
    let server = Server::new(ServerParts {
        ledger: node.ledger.clone(),
        consensus: consensus.clone(),
        standing: Arc::clone(&node.standing),
        sequencer: sequencer.clone(),
        tiles: node.tiles.reader(),
        signer,
        welcome,
        limits: tuning.server,
        counters: Arc::clone(&node.counters),
        metrics: node.metrics.clone(),
        reads: Arc::new(Semaphore::new(tuning.server.reads_max.max(1))),
        checkpoints: node.board.checkpoints(),
        visitors: doorbell,
    });
    let listener = Listener::start(node.agents.clone(), node.trust.clone(), tuning.listener);
    node.tasks.spawn(server.run(listener));
    let (ledger, leaf) = (node.ledger.clone(), genesis.clone());
    node.tasks.spawn(watch::found(consensus.clone(), ledger, sequencer, leaf));
    node.tasks.spawn(roles::tell(consensus.clone(), node.metrics.clone()));
    let (tiles, metrics) = (node.tiles.reader(), node.metrics.clone());
    node.tasks.spawn(halves::follow(consensus.clone(), tiles, metrics));
    let (standing, store) = (Arc::clone(&node.standing), node.store.clone());
    if let Some(founding) = Founding::of(node, settings) {
        node.tasks.spawn(founding.run());
    }
    node.tasks.spawn(watch::regain_trust(consensus.clone(), standing, store, links.clone()));
    let standing = Arc::clone(&node.standing);
    let founder = genesis.value().voters.contains(&settings.node_id);
    let followed = follow::Followed { consensus, standing, links, founder };
    node.tasks.spawn(follow::tell(followed.clone()));
    node.tasks.spawn(follow::mind(followed, node.cluster.clone()));
}

/// What can be known to be wrong before anything is opened.
fn check(settings: &Settings) -> Result<(), StartError> {
    let Settings { node_id, member, genesis, identity, log_key, .. } = settings;
    let genesis = genesis.value();
    if genesis.voters.is_empty() {
        return Err(StartError::Genesis("it names no voters"));
    }
    match node_of(&genesis.members, *node_id) {
        Some((owner, _)) if owner.id != *member => {
            let (owner, member) = (owner.id.clone(), member.clone());
            return Err(StartError::OtherMember { node: *node_id, owner, member });
        }
        Some((_, node)) if node.log_key != log_key.verifying_key() => {
            return Err(StartError::OtherLogKey(*node_id));
        }
        Some(_) => {}
        // One that joins later: the registers will name it. Somebody has to say where the others
        // are, and a founder's key is no newcomer's.
        None => {
            let mut founders = genesis.members.iter().flat_map(|member| &member.nodes);
            let is_founder = founders.any(|node| node.log_key == log_key.verifying_key());
            let knows_nobody = settings.peers.is_empty() && !knows_cluster(settings);
            if is_founder || knows_nobody {
                return Err(StartError::UnknownNode(*node_id));
            }
        }
    }
    let found = identity.id()?;
    let wanted = SpiffeId {
        mesh: genesis.mesh.clone(),
        member: member.clone(),
        role: Role::Ledger,
        name: node_id.to_string(),
    };
    if found != wanted {
        let (found, wanted) = (Box::new(found), Box::new(wanted));
        return Err(StartError::OtherIdentity { found, wanted });
    }
    // Where the others are is known from the log, once there is one.
    if knows_cluster(settings) || !genesis.voters.contains(node_id) {
        return Ok(());
    }
    let others = genesis.voters.iter().filter(|id| *id != node_id);
    match others.map(|id| id.0).find(|id| !settings.peers.contains_key(id)) {
        Some(missing) => Err(StartError::PeerMissing(missing)),
        None => Ok(()),
    }
}

/// Whether there is a log already, which says who is in the cluster.
fn knows_cluster(settings: &Settings) -> bool {
    settings.data_dir.join("log").exists()
}

/// What the registers that were applied say of this node.
fn check_registers(settings: &Settings, ledger: &Ledger) -> Result<(), StartError> {
    let (id, key) = (settings.node_id, settings.log_key.verifying_key());
    let (named, used) = ledger.with_state(|state| {
        let registers = state.registers();
        let mut nodes = registers.members().flat_map(|member| &member.nodes);
        (nodes.find(|node| node.id == id).map(|node| node.log_key), registers.was_used(id))
    });
    match named {
        None if used => return Err(StartError::NodeGone(id)),
        Some(known) if known != key => return Err(StartError::OtherLogKey(id)),
        _ => {}
    }
    Ok(())
}

fn node_of(members: &[MemberRecord], id: NodeId) -> Option<(&MemberRecord, &LedgerNode)> {
    members.iter().find_map(|member| {
        let node = member.nodes.iter().find(|node| node.id == id)?;
        Some((member, node))
    })
}

/// Opens log, state and tiles, so that they say the same.
fn open(settings: &Settings, mesh_id: MeshId) -> Result<OpenDirectory, StartError> {
    let path = &settings.data_dir;
    let io = |source| StartError::Io { path: path.clone(), source };
    let owner = Owner { mesh_id, epoch: settings.epoch, node_id: settings.node_id };
    let disk = RealDisk::new(path.join("log")).map_err(io)?;
    // Where there is nobody else, nobody has heard anything from this node.
    let alone = settings.genesis.value().voters == [settings.node_id] && settings.peers.is_empty();
    let store_settings = StoreSettings {
        empty: if alone { Empty::Trusted } else { Empty::Doubted },
        segment_bytes: settings.tuning.segment_bytes,
        cache_bytes_max: settings.tuning.log_cache_bytes_max,
        ..StoreSettings::new(owner)
    };
    let fatal = Arc::clone(&settings.fatal);
    let hook: FatalHook = Box::new(move |why| fatal(why));
    let (store, opened) = Store::open(Arc::new(disk), store_settings, hook)?;
    let trusted = opened.start == Start::Trusted;
    let last = store.reader().status().last;
    let mut replica = load(path).map_err(io)?.filter(|it| *it.state.mesh_id() == mesh_id);
    if let Some(saved) = replica.as_ref().and_then(|replica| replica.log_id)
        && Some(saved) > last
    {
        if trusted {
            return Err(StartError::LogBehind { path: path.clone(), saved, last });
        }
        // The log may have lost its end, which its peers still have: the state comes from them.
        replica = None;
    }
    let (replica, tiles) = match replica {
        Some(replica) => at(path, replica, mesh_id)?,
        None => anew(path, mesh_id)?,
    };
    let tiles = TileWriterHandle::start(tiles, settings.tuning.tile_jobs_max, GATHER_WAIT_MAX);
    let tiles = Arc::new(tiles.map_err(StartError::Thread)?);
    Ok(OpenDirectory { store, opened, ledger: Ledger::new(replica), tiles })
}

/// Goes on from a saved state, if the tiles are there that belong to it.
fn at(path: &Path, replica: Replica, mesh_id: MeshId) -> Result<(Replica, TileStore), StartError> {
    match TileStore::open(&path.join("tiles"), &Resume::of(&replica.state)) {
        Ok(tiles) => Ok((replica, tiles)),
        // Whatever is wrong with them, the log has all that they are made of.
        Err(_) => anew(path, mesh_id),
    }
}

/// Applies the whole log again.
fn anew(path: &Path, mesh_id: MeshId) -> Result<(Replica, TileStore), StartError> {
    let tiles = TileStore::rebuild(&path.join("tiles"))?;
    Ok((Replica::empty(State::new(mesh_id)), tiles))
}

/// The registers' members, or the founders before there are any.
fn trust_of(genesis: &Encoded<Genesis>, ledger: &Ledger) -> TrustStore {
    let trust = TrustStore::new(genesis.value().mesh.clone());
    genesis.value().members.iter().for_each(|member| trust.update(member));
    ledger.with_state(|state| state.registers().members().for_each(|it| trust.update(it)));
    trust
}

fn welcome(settings: &Settings, epoch: u64) -> Welcome {
    Welcome {
        version: 1,
        epoch,
        member: settings.member.clone(),
        node: Some(settings.node_id),
        protocol: tally_net::rules::newest(),
        frame_len_max: u64::try_from(LEDGER_FRAME_LEN_MAX).unwrap_or(u64::MAX),
    }
}

fn hello(welcome: &Welcome, mesh_id: MeshId) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        mesh_id,
        epoch: welcome.epoch,
        member: welcome.member.clone(),
        node: welcome.node,
        protocol: welcome.protocol,
        frame_len_max: welcome.frame_len_max,
    }
}

/// What joining the peers takes.
struct Joining {
    listen: SocketAddr,
    node: u64,
    identity: Identity,
    trust: TrustStore,
    hello: Hello,
    welcome: Welcome,
    peers: BTreeMap<u64, String>,
    founders: Option<BTreeMap<u64, RaftNode>>,
    machine: Machine,
    store: Store,
    ledger: Ledger,
    standing: Arc<Standing>,
    tiles: TileReader,
    signer: Arc<LogSigner>,
    board: Board,
}

/// Starts consensus, on the threads that are its own.
async fn join(with: Joining) -> Result<Joined, StartError> {
    let accept = Accept { roles: &[Role::Ledger], anonymous: false };
    let (what, identity) = ("[raft] listen", with.identity.clone());
    let (endpoint, address) =
        listen(what, with.listen, identity, &with.trust, accept, alpn::RAFT, &CONNECTION)?;
    let links =
        Links::new(endpoint.clone(), with.identity, with.trust.clone(), with.hello, with.peers);
    let config = raft_config().validate();
    let config = config.map_err(|error| StartError::Consensus(error.to_string()))?;
    let (node, reader) = (with.node, with.store.reader());
    let log = LogStorage::new(with.store);
    let (config, ways) = (Arc::new(config), links.clone());
    let consensus = Consensus::build(node, config, ways, log, with.machine).await;
    let consensus = consensus.map_err(|error| StartError::Consensus(error.to_string()))?;
    consensus.runtime_config().elect(with.standing.is_trusted());
    consensus.run();
    let limits = ListenerLimits { connection: CONNECTION, ..ListenerLimits::default() };
    let listener = Listener::start(endpoint.clone(), with.trust, limits);
    let server = RaftServer {
        consensus: consensus.clone(),
        ledger: with.ledger,
        standing: with.standing,
        welcome: with.welcome,
        log: reader,
        tiles: with.tiles,
        signer: with.signer,
        support: links.support(),
        links: links.clone(),
        board: with.board,
    };
    tokio::spawn(crate::raft::serve(listener, server));
    if let Some(founders) = with.founders {
        // Another node may have begun meanwhile: then there is nothing to begin.
        drop(consensus.initialize(founders).await);
    }
    Ok(Joined { consensus, links, raft: endpoint, address })
}

/// As the ledger needs openraft: nothing is purged, and a leader that comes back has to be elected
/// again, since it may have forgotten what it had not yet synced.
fn raft_config() -> Config {
    Config {
        cluster_name: "tally".to_owned(),
        heartbeat_interval: 100,
        // A follower waits for the lease, which is the longest of these, and then as long again: it
        // campaigns 0.6 to 0.7 s after it last heard from its leader.
        election_timeout_min: 250,
        election_timeout_max: 350,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        // A follower that lost its end says so, and has no vote before it has caught up. Without
        // this it would be its leader that stops.
        allow_log_reversion: Some(true),
        ..Config::default()
    }
}

fn listen_agents(
    settings: &Settings,
    trust: &TrustStore,
) -> Result<(Endpoint, SocketAddr), StartError> {
    let accept = Accept { roles: CALLERS, anonymous: false };
    let limits = &settings.tuning.listener.connection;
    let identity = settings.identity.clone();
    let (what, address) = ("[agents] listen", settings.agents_listen);
    listen(what, address, identity, trust, accept, alpn::LEDGER, limits)
}

fn listen(
    what: &'static str,
    address: SocketAddr,
    identity: Identity,
    trust: &TrustStore,
    accept: Accept,
    alpn: &[u8],
    limits: &ConnectionLimits,
) -> Result<(Endpoint, SocketAddr), StartError> {
    let tls = tls::server_config(identity, trust.clone(), accept, &[alpn]);
    let tls = tls.map_err(|error| StartError::Tls(error.to_string()))?;
    let config = server_config(tls, limits);
    let config = config.map_err(|error| StartError::Tls(error.to_string()))?;
    let bound = endpoint(address, Some(config)).and_then(|endpoint| {
        let address = endpoint.local_addr()?;
        Ok((endpoint, address))
    });
    bound.map_err(|source| StartError::Listen { what, address, source })
}
