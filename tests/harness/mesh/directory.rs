//! The files of a mesh: what its founders would have made before their nodes first start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tally_core::entry::{Environment, Genesis};
use tally_core::id::Salt16;
use tally_core::register::{LedgerNode, MemberRecord, MemberStatus, Officer};
use tally_log::{SigningKey, sha256};
use tally_net::authority::Validity;
use tally_net::keyfile::{self, KeyUse};
use tally_net::{Authority, Role, SpiffeId};

use super::node::NodeProcess;
use super::wires::Wires;
use super::{MESH, Member, Mesh, Plan, node_id, own_loopback, validity};

const MEMBERS: [&str; 8] = ["RA1", "RB2", "RC3", "RD4", "RE5", "RF6", "RG7", "RH8"];

/// Ports on an address of its own: nobody else is there.
const AGENTS_PORT: u16 = 7610;
const PORTS_APART: u16 = 10;

pub(super) fn make(binary: &str, plan: Plan, wired: bool) -> io::Result<Mesh> {
    let dir = tempfile::tempdir()?;
    let host = own_loopback();
    let ports = (AGENTS_PORT..).step_by(usize::from(PORTS_APART)).take(plan.nodes);
    let nodes = ports.enumerate().map(|(node, port)| NodeProcess {
        binary: binary.to_owned(),
        dir: dir.path().join(format!("ledger-{}", node + 1)),
        agents: SocketAddr::new(host, port),
        https: SocketAddr::new(host, port + 1),
        health: SocketAddr::new(host, port + 2),
        raft: SocketAddr::new(host, port + 3),
        child: None,
        stdin: None,
        faults: None,
    });
    let nodes = nodes.collect::<Vec<_>>();
    let raft = nodes.iter().map(|node| node.raft).collect::<Vec<_>>();
    let wires = wired.then(|| Wires::lay(host, &raft)).transpose()?;
    let validity = Validity { from_s: now_s() - 3 * 3600, until_s: now_s() + 24 * 3600 };
    let members = MEMBERS.iter().take(plan.members).map(|name| Member {
        id: name.parse().unwrap(),
        authority: Authority::create(name, validity).unwrap(),
        agent_key: key("agent", name),
        officer_key: key("ig-lead", name),
    });
    let members = members.collect::<Vec<_>>();
    let log_keys = (0..plan.nodes).map(|node| key("log", &node.to_string())).collect::<Vec<_>>();
    let genesis = genesis(&members, &nodes, &log_keys);
    let genesis = tally_wire::encode_checked(genesis).map_err(io::Error::other)?;
    let records = BTreeMap::new();
    let mesh = Mesh { nodes, members, genesis, log_keys, records, wires, epoch: 0, dir };
    for node in 0..plan.nodes {
        write_node(&mesh, node)?;
    }
    Ok(mesh)
}

fn genesis(members: &[Member], nodes: &[NodeProcess], log_keys: &[SigningKey]) -> Genesis {
    let records = members.iter().enumerate().map(|(place, member)| {
        let own = (0..nodes.len()).filter(|node| node % members.len() == place);
        let own = own.map(|node| LedgerNode {
            id: node_id(node),
            log_key: log_keys[node].verifying_key(),
            quic: nodes[node].agents.to_string().parse().unwrap(),
            https: nodes[node].https.to_string().parse().unwrap(),
        });
        MemberRecord {
            id: member.id.clone(),
            name: format!("{} (fictional)", member.id),
            codes: Vec::new(),
            ca: member.authority.certificate_der().to_vec(),
            agent_key: member.agent_key.verifying_key(),
            officers: officers(place, member),
            nodes: own.collect(),
            address: None,
            status: MemberStatus::Active,
            supersedes: Vec::new(),
            assessment: None,
        }
    });
    Genesis {
        salt: Salt16(now_s().to_be_bytes().repeat(2).try_into().unwrap()),
        mesh: MESH.parse().unwrap(),
        environment: Environment::Test,
        protocol: 1,
        members: records.collect(),
        voters: (0..nodes.len()).map(node_id).collect(),
    }
}

/// The first member's auditors audit the mesh: one key may have several offices.
fn officers(place: usize, member: &Member) -> Vec<Officer> {
    let roles = if place == 0 { &["auditor", "ig-lead"][..] } else { &["ig-lead"] };
    let key = member.officer_key.verifying_key();
    roles.iter().map(|role| Officer { role: role.parse().unwrap(), key }).collect()
}

fn write_node(mesh: &Mesh, node: usize) -> io::Result<()> {
    let dir = mesh.node_dir(node);
    fs::create_dir_all(&dir)?;
    let member = &mesh.members[node % mesh.members.len()];
    let process = mesh.node(node);
    let name = node_id(node).to_string();
    let id = SpiffeId {
        mesh: MESH.parse().unwrap(),
        member: member.id.clone(),
        role: Role::Ledger,
        name,
    };
    let issued = member.authority.issue(&id, &[process.https.ip()], validity());
    let issued = issued.map_err(io::Error::other)?;
    fs::write(dir.join("node.pem"), &issued.certificate_pem)?;
    write_secret(&dir.join("node.key"), &issued.key_pem)?;
    fs::write(dir.join("genesis.cbor"), mesh.genesis.bytes())?;
    keyfile::create(&dir.join("log.key"), KeyUse::Log, &mesh.log_keys[node])
        .map_err(io::Error::other)?;
    fs::write(dir.join("tally.toml"), config(mesh, node))
}

fn config(mesh: &Mesh, node: usize) -> String {
    let process = mesh.node(node);
    let member = &mesh.members[node % mesh.members.len()].id;
    let mut text = format!(
        "tally = 1\ndata_dir = \"data\"\nmember = \"{member}\"\nnode_id = {id}\n\n\
         [mesh]\nid = \"{mesh_id}\"\ngenesis = \"genesis.cbor\"\n\n\
         [identity]\ncert = \"node.pem\"\nkey = \"node.key\"\n\n[log]\nkey = \"log.key\"\n\n\
         [agents]\nlisten = \"{agents}\"\n\n[https]\nlisten = \"{https}\"\n\n\
         [health]\nlisten = \"{health}\"\n\n[raft]\nlisten = \"{raft}\"\n",
        id = node_id(node),
        mesh_id = mesh.id(),
        agents = process.agents,
        https = process.https,
        health = process.health,
        raft = process.raft,
    );
    for peer in (0..mesh.node_count()).filter(|peer| *peer != node) {
        let address = mesh.peer_address(node, peer);
        let id = node_id(peer);
        write!(text, "\n[[raft.peer]]\nnode_id = {id}\naddress = \"{address}\"\n").unwrap();
    }
    text
}

pub(super) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn key(what: &str, whose: &str) -> SigningKey {
    SigningKey::from_seed(sha256(&[what.as_bytes(), b" of ", whose.as_bytes()]).as_bytes())
}

/// The time of day, in seconds since the Unix epoch.
#[must_use]
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
