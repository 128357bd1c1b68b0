//! `tally mesh`: how a mesh begins, and what its members decide together.

pub(crate) mod file;
pub(crate) mod group;
pub(crate) mod layout;
pub(crate) mod protocol;
pub(crate) mod show;
pub(crate) mod witnesses;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde::Serialize;
use tally_core::id::{MeshId, NodeId};

use crate::args::MeshInitArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, pairs, print};
use crate::system::read_text;

use file::MeshFile;
use layout::{AgentPlan, Layout, NodePlan, NodePorts};

/// The ports that a ledger node has where nobody says otherwise.
const PORTS: NodePorts = NodePorts { agents: 7610, https: 7611, health: 7612, raft: 7613 };
/// Nodes on one host have ports so far apart.
const PORTS_APART: u16 = 10;
/// The ports that an agent has where nobody says otherwise: for agents, applications, health.
const AGENT_PORTS: [u16; 3] = [7600, 7601, 7602];
/// Agents on one host, and its ledger nodes, are so far apart.
const AGENTS_FROM: u16 = 1000;

#[derive(Debug, Serialize)]
struct Initialised {
    mesh: String,
    mesh_id: String,
    environment: &'static str,
    dir: String,
    members: Vec<String>,
    ledger_nodes: Vec<u64>,
}

/// `tally mesh init`.
///
/// # Errors
/// [`Failure`] if the mesh can't be made.
pub(crate) fn init(args: &MeshInitArgs, output: Output) -> Result<Exit, Failure> {
    let file = read_file(&args.mesh)?;
    let nodes = plan(&file, &args.node)?;
    let agents = plan_agents(&file, &args.agent)?;
    let layout = Layout { dir: &args.to, file: &file, nodes: &nodes, agents: &agents };
    let genesis = layout.make(args.valid_for)?;
    let live = genesis.value().environment == tally_core::entry::Environment::Live;
    let answer = Initialised {
        mesh: file.mesh.to_string(),
        mesh_id: MeshId(genesis.leaf_hash()).to_string(),
        environment: if live { "live" } else { "test" },
        dir: args.to.display().to_string(),
        members: file.members.iter().map(|it| it.id.to_string()).collect(),
        ledger_nodes: nodes.iter().map(|it| it.id.0).collect(),
    };
    print(output, &answer, || {
        let first = nodes.first().map_or(1, |node| node.id.0);
        let next = format!("tally ledger --config {}/ledger-{first}/tally.toml", answer.dir);
        pairs(&[
            ("mesh", answer.mesh.clone()),
            ("mesh id", answer.mesh_id.clone()),
            ("environment", answer.environment.to_owned()),
            ("members", answer.members.join(" ")),
            (
                "ledger nodes",
                answer.ledger_nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            ),
            ("next", next),
        ])
    })?;
    Ok(Exit::Done)
}

/// Reads a mesh file.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn read_file(path: &Path) -> Result<MeshFile, Failure> {
    let text = read_text(path, file::FILE_LEN_MAX as u64)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    MeshFile::read(&text, folder).map_err(|problems| Failure::problems(path, &problems))
}

/// Where the nodes are: on this machine, each with ports of its own, but for those that have a host.
fn plan(file: &MeshFile, hosts: &[(u64, String)]) -> Result<Vec<NodePlan>, Failure> {
    if let Some((id, _)) = hosts.iter().find(|(id, _)| !(1..=file.ledger_nodes).contains(id)) {
        let what = format!("there is no ledger node {id}");
        let remedy = format!("the mesh file says that there are {}", file.ledger_nodes);
        return Err(Failure::usage(what, remedy));
    }
    let node = |id: u64| match hosts.iter().find(|(node, _)| *node == id) {
        Some((_, host)) => NodePlan {
            id: NodeId(id),
            host: host.clone(),
            listen: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: PORTS,
        },
        None => NodePlan {
            id: NodeId(id),
            host: Ipv4Addr::LOCALHOST.to_string(),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: PORTS.moved(u16::try_from(id - 1).unwrap_or(0) * PORTS_APART),
        },
    };
    Ok((1..=file.ledger_nodes).map(node).collect())
}

/// Where the agents are, in the order of the file: on this machine, each with ports of its own, but
/// for those that have a host.
fn plan_agents(file: &MeshFile, hosts: &[(String, String)]) -> Result<Vec<AgentPlan>, Failure> {
    let known = |id: &str| file.members.iter().any(|member| member.id.as_str() == id);
    if let Some((id, _)) = hosts.iter().find(|(id, _)| !known(id)) {
        let what = format!("the mesh file has no member {id}");
        return Err(Failure::usage(what, "name one that it has"));
    }
    let plan = |(place, member): (usize, &file::MemberPlan)| {
        let named = hosts.iter().find(|(id, _)| member.id.as_str() == id);
        let step = u16::try_from(place).unwrap_or(0).saturating_mul(PORTS_APART);
        let (host, listen, by) = match named {
            Some((_, host)) => (host.clone(), IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            None => (
                Ipv4Addr::LOCALHOST.to_string(),
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                AGENTS_FROM.saturating_add(step),
            ),
        };
        let [quic, ingress, health] = AGENT_PORTS.map(|port| port.saturating_add(by));
        AgentPlan { host, listen, quic, ingress, health }
    };
    Ok(file.members.iter().enumerate().map(plan).collect())
}

impl NodePorts {
    /// The same ports, all higher by so many.
    const fn moved(self, by: u16) -> Self {
        Self {
            agents: self.agents + by,
            https: self.https + by,
            health: self.health + by,
            raft: self.raft + by,
        }
    }
}
