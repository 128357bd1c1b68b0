//! A ledger node's configuration: one TOML file, and `TALLY_LEDGER_*` variables that take the place
//! of what it says.
//!
//! ```toml
//! tally = 1
//! data_dir = "data"                # relative paths are relative to this file
//! log_format = "human"             # human | json; this and the next are the defaults
//! log_level = "warn"               # error | warn | info | debug
//! member = "RZ9"
//! node_id = 1
//! epoch = 1                        # optional: the ledger's, if the node joins after a forced recovery
//!
//! [mesh]
//! id = "…"                         # 64 hexadecimal digits: the hash of the genesis
//! genesis = "genesis.cbor"
//!
//! [identity]
//! cert = "node.pem"
//! key = "node.key"
//! ca = "ca.pem"                    # optional: the member's own CA, to check the certificate by
//!
//! [log]
//! key = "log.key"
//!
//! [witnesses]
//! ca = "witness-ca.pem"            # optional: who vouches for witnesses that are reached over https
//!
//! [raft]
//! listen = "0.0.0.0:7613"          # UDP; this and the next three are the defaults
//! address = "ledger.rz9.example:7613"   # optional: where the founding node is reached by later ones
//! [[raft.peer]]                    # one for each other node that founded the mesh
//! node_id = 2
//! address = "ledger.rz8.example:7613"
//! [agents]
//! listen = "0.0.0.0:7610"          # UDP
//! [https]
//! listen = "0.0.0.0:7611"          # TCP
//! [health]
//! listen = "0.0.0.0:7612"          # TCP
//! ```
//!
//! A variable's name is `TALLY_LEDGER_` and the key in capitals, with `_` for the dot:
//! `TALLY_LEDGER_RAFT_LISTEN` is `raft.listen`. Unknown keys and variables are errors.

mod reference;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tally_core::file::{self, Keys, OverrideKind, Problem, Reader, Section, Value, overrides};
use tally_core::id::{MemberId, MeshId, NodeId};
use tally_core::register::Address;
use tally_net::config_file::{LogLevel, LogSettings, load_config};

pub use reference::REFERENCE;
pub use tally_net::config_file::ConfigError;

/// Bytes of a configuration file at most.
pub const FILE_LEN_MAX: usize = 64 * 1024;

/// What the name of a variable begins with that takes the place of a key.
pub const PREFIX: &str = "TALLY_LEDGER_";
/// Other nodes at most.
const PEERS_MAX: usize = 64;

/// Keys, and what each takes from a variable.
pub const KEYS: &[(&str, OverrideKind)] = &[
    ("tally", OverrideKind::Number),
    ("data_dir", OverrideKind::Text),
    ("log_format", OverrideKind::Text),
    ("log_level", OverrideKind::Text),
    ("member", OverrideKind::Text),
    ("node_id", OverrideKind::Number),
    ("epoch", OverrideKind::Number),
    ("mesh.id", OverrideKind::Text),
    ("mesh.genesis", OverrideKind::Text),
    ("identity.cert", OverrideKind::Text),
    ("identity.key", OverrideKind::Text),
    ("identity.ca", OverrideKind::Text),
    ("log.key", OverrideKind::Text),
    ("witnesses.ca", OverrideKind::Text),
    ("raft.listen", OverrideKind::Text),
    ("raft.address", OverrideKind::Text),
    ("agents.listen", OverrideKind::Text),
    ("https.listen", OverrideKind::Text),
    ("health.listen", OverrideKind::Text),
    ("limits.agents_connections_max", OverrideKind::Number),
    ("limits.agents_member_connections_max", OverrideKind::Number),
    ("limits.https_connections_max", OverrideKind::Number),
    ("limits.https_member_connections_max", OverrideKind::Number),
    ("limits.log_cache_bytes_max", OverrideKind::Number),
];

/// A ledger node's configuration. Paths are absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// The node's directory: log, applied state, tiles. It is the node's alone.
    pub data_dir: PathBuf,
    /// How it writes what happens.
    pub log: LogSettings,
    /// The member that runs it.
    pub member: MemberId,
    /// Its number, never used twice.
    pub node_id: NodeId,
    /// The epoch in which an empty directory begins. Default 0; a directory that is in a later one goes
    /// on in that.
    pub epoch: u64,
    /// The mesh.
    pub mesh_id: MeshId,
    /// The file with the genesis.
    pub genesis: PathBuf,
    /// The file with its certificate chain, in PEM.
    pub identity_cert: PathBuf,
    /// The file with the certificate's key, in PEM.
    pub identity_key: PathBuf,
    /// The file with the member's own CA, in PEM.
    pub identity_ca: Option<PathBuf>,
    /// The key file that signs its checkpoints.
    pub log_key: PathBuf,
    /// The file with the authorities that vouch for witnesses which are reached over https, in PEM.
    pub witness_ca: Option<PathBuf>,
    /// Where other nodes reach it, over UDP. Default port 7613.
    pub raft_listen: SocketAddr,
    /// Where the other nodes are reached by their peers.
    pub raft_peers: BTreeMap<NodeId, Address>,
    /// Where the others reach it, if nodes that join later are to know.
    pub raft_address: Option<Address>,
    /// Where agents reach it, over UDP. Default port 7610.
    pub agents_listen: SocketAddr,
    /// Where it is read, over TCP. Default port 7611.
    pub https_listen: SocketAddr,
    /// Where its health is seen, over TCP. Default port 7612.
    pub health_listen: SocketAddr,
    /// Its limits.
    pub limits: LedgerLimits,
}

/// What a person who runs a node may limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Connections of agents. Default 1,024.
    pub agents_connections_max: usize,
    /// Connections of agents of one member. Default 128.
    pub agents_member_connections_max: usize,
    /// HTTPS connections with a certificate, and again as many without. Default 256.
    pub https_connections_max: usize,
    /// HTTPS connections of one member. Default 64.
    pub https_member_connections_max: usize,
    /// Bytes of the log that are kept in memory. Default 16 MiB.
    pub log_cache_bytes_max: usize,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            agents_connections_max: 1024,
            agents_member_connections_max: 128,
            https_connections_max: 256,
            https_member_connections_max: 64,
            log_cache_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl LedgerConfig {
    /// Reads a configuration file, and this process's variables.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load_config(path, FILE_LEN_MAX, Self::read)
    }

    /// Reads a configuration from a text and variables. Relative paths, those of variables too, are
    /// relative to `folder`.
    ///
    /// # Errors
    /// All that is wrong, in the order of the lines.
    pub fn read(
        text: &str,
        folder: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let variables = overrides(PREFIX, KEYS, variables);
        file::read_with(text, FILE_LEN_MAX, variables, |reader, keys| {
            read_config(&mut Section { reader, folder }, keys)
        })
    }
}

fn read_config(section: &mut Section<'_, '_>, mut keys: Keys<'_>) -> Option<LedgerConfig> {
    section.format(&mut keys);
    let data_dir = section.path(&mut keys, "data_dir");
    // Consensus says much when all is well.
    let logs = LogSettings::read(section, &mut keys, LogLevel::Warn);
    let member = section.reader.required(&mut keys, "member");
    let member = member.and_then(|it| section.reader.parsed(&it));
    let node_id = section.reader.required(&mut keys, "node_id");
    let node_id = node_id.and_then(|it| section.reader.number(&it)).map(NodeId);

    let epoch = match section.reader.optional(&mut keys, "epoch") {
        None => Some(0),
        Some(value) => section.reader.number(&value),
    };

    let mut mesh = section.table(&mut keys, "mesh");
    let mesh_id = section.reader.required(&mut mesh, "id");
    let mesh_id = mesh_id.and_then(|it| read_mesh_id(section.reader, &it));
    let genesis = section.path(&mut mesh, "genesis");
    section.reader.close(mesh);

    let mut identity = section.table(&mut keys, "identity");
    let identity_cert = section.path(&mut identity, "cert");
    let identity_key = section.path(&mut identity, "key");
    let identity_ca = section.optional_path(&mut identity, "ca");
    section.reader.close(identity);

    let mut log = section.table(&mut keys, "log");
    let log_key = section.path(&mut log, "key");
    section.reader.close(log);

    let mut witnesses = section.table(&mut keys, "witnesses");
    let witness_ca = section.optional_path(&mut witnesses, "ca");
    section.reader.close(witnesses);

    let mut raft = section.table(&mut keys, "raft");
    let raft_listen = section.listen_in(&mut raft, everywhere(7613));
    let raft_address = match section.reader.optional(&mut raft, "address") {
        None => Some(None),
        Some(value) => section.reader.parsed(&value).map(Some),
    };
    let raft_peers = peers(section, &mut raft, node_id);
    section.reader.close(raft);
    let agents_listen = section.listen(&mut keys, "agents", everywhere(7610));
    let https_listen = section.listen(&mut keys, "https", everywhere(7611));
    let health_listen = section.listen(&mut keys, "health", everywhere(7612));
    apart(section, ("raft", raft_listen), ("agents", agents_listen));
    apart(section, ("https", https_listen), ("health", health_listen));
    let limits = limits(section, &mut keys);
    section.reader.close(keys);

    Some(LedgerConfig {
        data_dir: data_dir?,
        log: logs?,
        member: member?,
        node_id: node_id?,
        epoch: epoch?,
        mesh_id: mesh_id?,
        genesis: genesis?,
        identity_cert: identity_cert?,
        identity_key: identity_key?,
        identity_ca: identity_ca?,
        log_key: log_key?,
        witness_ca: witness_ca?,
        raft_listen: raft_listen?,
        raft_peers: raft_peers?,
        raft_address: raft_address?,
        agents_listen: agents_listen?,
        https_listen: https_listen?,
        health_listen: health_listen?,
        limits: limits?,
    })
}

fn peers(
    section: &mut Section<'_, '_>,
    raft: &mut Keys<'_>,
    own: Option<NodeId>,
) -> Option<BTreeMap<NodeId, Address>> {
    let mut peers = BTreeMap::new();
    let Some(value) = section.reader.optional(raft, "peer") else { return Some(peers) };
    for element in section.reader.list(&value, PEERS_MAX)? {
        let mut keys = section.reader.table(&element)?;
        let node = section.reader.required(&mut keys, "node_id");
        let node = node.and_then(|it| section.reader.number(&it)).map(NodeId);
        let address = section.reader.required(&mut keys, "address");
        let address = address.and_then(|it| section.reader.parsed(&it));
        section.reader.close(keys);
        if let (Some(node), Some(address)) = (node, address)
            && (Some(node) == own || peers.insert(node, address).is_some())
        {
            let what = format!("node {node} stands here twice, or is this node itself");
            section.reader.complain(&element, what);
        }
    }
    Some(peers)
}

/// Two sockets of one protocol can't have one address.
fn apart(
    section: &mut Section<'_, '_>,
    (_, one): (&str, Option<SocketAddr>),
    (name, other): (&str, Option<SocketAddr>),
) {
    if let (Some(one), Some(other)) = (one, other)
        && one == other
        && one.port() != 0
    {
        let path = format!("{name}.listen");
        let what = format!("{other} is taken by another of this node's sockets");
        section.reader.complain_at(Problem { path, line: None, what });
    }
}

fn limits(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<LedgerLimits> {
    let mut table = section.table(keys, "limits");
    let default = LedgerLimits::default();
    let mut limit = |key, default| match section.reader.optional(&mut table, key) {
        None => Some(default),
        Some(value) => {
            let number = section.reader.number(&value)?;
            usize::try_from(number).ok()
        }
    };
    let agents = limit("agents_connections_max", default.agents_connections_max);
    let agents_member =
        limit("agents_member_connections_max", default.agents_member_connections_max);
    let https = limit("https_connections_max", default.https_connections_max);
    let https_member = limit("https_member_connections_max", default.https_member_connections_max);
    let log_cache = limit("log_cache_bytes_max", default.log_cache_bytes_max);
    section.reader.close(table);
    Some(LedgerLimits {
        agents_connections_max: agents?,
        agents_member_connections_max: agents_member?,
        https_connections_max: https?,
        https_member_connections_max: https_member?,
        log_cache_bytes_max: log_cache?,
    })
}

/// Every address of this machine.
fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

fn read_mesh_id(reader: &mut Reader, value: &Value<'_>) -> Option<MeshId> {
    reader.parsed(value)
}

#[cfg(test)]
mod tests;
