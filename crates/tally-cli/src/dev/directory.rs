//! The directory of a mesh on this machine: laid out once, and used again.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use tally_agent::config::IngressAddress;
use tally_core::id::{MemberId, MeshId, NodeId};
use tally_log::leaf_hash;

use super::ports;
use crate::config::load_ledger;
use crate::failure::Failure;
use crate::mesh::file::{FILE_LEN_MAX, MeshFile};
use crate::mesh::layout::{
    AgentPlan, Layout, NodePlan, NodePorts, genesis_path, member_dir, node_dir,
};
use crate::system::{create_dir, random, read_text, write_file};

/// Certificates are issued anew at each start, for this long: a mesh that stays up for a month.
const VALID_S: i64 = 30 * 24 * 3600;

/// A mesh's directory.
pub(super) struct Directory {
    dir: PathBuf,
    file: MeshFile,
    nodes: Vec<NodePlan>,
    agents: Vec<AgentPlan>,
}

/// Whether a directory was laid out just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Yes,
    No,
}

impl Directory {
    /// Lays out a mesh, or goes on with the one that is there, with new certificates.
    ///
    /// # Errors
    /// [`Failure`] if the directory holds something else.
    pub(super) fn open(dir: &Path, mesh: Option<&Path>) -> Result<(Self, Fresh), Failure> {
        let kept = dir.join("mesh.toml");
        if genesis_path(dir).exists() {
            let directory = Self::again(dir, &kept, mesh)?;
            directory.layout().issue(VALID_S)?;
            return Ok((directory, Fresh::No));
        }
        let named = match mesh {
            None => crate::demo::lay_down(&dir.join("sample"))?,
            Some(path) => absolute(path)?,
        };
        let folder = named.parent().unwrap_or(&named).to_owned();
        let text = read_text(&named, FILE_LEN_MAX as u64)?;
        let file = MeshFile::read(&text, &folder)
            .map_err(|problems| Failure::problems(&named, &problems))?;
        if file.environment != tally_core::entry::Environment::Test {
            let what = format!("{}: tally dev is for test meshes", named.display());
            return Err(Failure::usage(what, "say environment = \"test\""));
        }
        let first = mesh.is_none().then_some(ports::DEFAULT);
        let (nodes, agents) = place(&file, first)?;
        let directory = Self { dir: dir.to_owned(), file, nodes, agents };
        create_dir(dir)?;
        write_file(&kept, text.as_bytes())?;
        // Paths in the file are relative to where it was.
        write_file(&dir.join("mesh.folder"), folder.display().to_string().as_bytes())?;
        directory.layout().make(VALID_S)?;
        Ok((directory, Fresh::Yes))
    }

    fn again(dir: &Path, kept: &Path, mesh: Option<&Path>) -> Result<Self, Failure> {
        let text = read_text(kept, FILE_LEN_MAX as u64)?;
        if let Some(path) = mesh
            && read_text(path, FILE_LEN_MAX as u64)? != text
        {
            let what = format!("{}: holds a mesh that another file describes", dir.display());
            return Err(Failure::usage(what, "give another --dir, or leave out --mesh"));
        }
        let folder = read_text(&dir.join("mesh.folder"), 4096)?;
        let file = MeshFile::read(&text, Path::new(&folder))
            .map_err(|problems| Failure::problems(kept, &problems))?;
        let mut nodes = Vec::new();
        for id in 1..=file.ledger_nodes {
            let config = load_ledger(&node_dir(dir, NodeId(id)).join("tally.toml"))?;
            let ports = NodePorts {
                agents: config.agents_listen.port(),
                https: config.https_listen.port(),
                health: config.health_listen.port(),
                raft: config.raft_listen.port(),
            };
            nodes.push(plan_node(id, ports));
        }
        let mut agents = Vec::new();
        for member in &file.members {
            let config = crate::acting::load(&member_dir(dir, &member.id).join("tally.toml"))?;
            agents.push(plan_agent([
                config.quic_listen.port(),
                match config.ingress.listen {
                    IngressAddress::Tcp(address) => address.port(),
                    IngressAddress::Unix(_) => 0,
                },
                config.health_listen.port(),
            ]));
        }
        Ok(Self { dir: dir.to_owned(), file, nodes, agents })
    }

    /// Throws the mesh away: nothing was recorded yet.
    ///
    /// # Errors
    /// [`Failure`] if it can't be.
    pub(super) fn discard(&self) -> Result<(), Failure> {
        let members = self.file.members.iter().map(|it| self.dir.join(it.id.as_str()));
        let nodes = self.nodes.iter().map(|it| node_dir(&self.dir, it.id));
        for dir in members.chain(nodes) {
            fs::remove_dir_all(&dir).map_err(|why| {
                Failure::environment(format!("{}: {why}", dir.display()), "give another --dir")
            })?;
        }
        let genesis = genesis_path(&self.dir);
        fs::remove_file(&genesis).map_err(|why| {
            Failure::environment(format!("{}: {why}", genesis.display()), "give another --dir")
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn nodes(&self) -> &[NodePlan] {
        &self.nodes
    }

    pub(super) fn agents(&self) -> impl Iterator<Item = (&MemberId, &AgentPlan)> {
        self.file.members.iter().map(|member| &member.id).zip(&self.agents)
    }

    /// The agreements that are signed at the first start.
    pub(super) fn agreements(&self) -> &[PathBuf] {
        &self.file.agreements
    }

    pub(super) fn layout(&self) -> Layout<'_> {
        let Self { dir, file, nodes, agents } = self;
        Layout { dir, file, nodes, agents }
    }

    pub(super) fn dev_json(&self) -> PathBuf {
        self.dir.join("dev.json")
    }

    /// The hash of the genesis.
    ///
    /// # Errors
    /// [`Failure`] if it can't be read.
    pub(super) fn mesh_id(&self) -> Result<MeshId, Failure> {
        let path = genesis_path(&self.dir);
        let genesis = fs::read(&path).map_err(|why| {
            Failure::environment(format!("{}: {why}", path.display()), "give another --dir")
        })?;
        Ok(MeshId(leaf_hash(&genesis)))
    }
}

/// Free ports for all parts: the last member's agent and the first ledger node come first, so that
/// they have the default ports where those are free.
fn place(file: &MeshFile, first: Option<u16>) -> Result<(Vec<NodePlan>, Vec<AgentPlan>), Failure> {
    let members = file.members.len();
    let nodes = usize::try_from(file.ledger_nodes).unwrap_or(usize::MAX);
    let blocks = u16::try_from(members.saturating_add(nodes)).unwrap_or(u16::MAX);
    let found = ports::find(blocks, first, u32::from_be_bytes(random()?)).ok_or_else(|| {
        Failure::environment("there are no free ports", "end other processes that listen")
    })?;
    let mut blocks = found.into_iter();
    let last = blocks.next();
    let nodes = (1..=file.ledger_nodes).zip(blocks.by_ref());
    let nodes = nodes.map(|(id, first)| plan_node(id, ports::node_ports(first))).collect();
    let agents = blocks.take(members.saturating_sub(1)).chain(last);
    let agents = agents.map(|first| plan_agent([first, first + 1, first + 2])).collect();
    Ok((nodes, agents))
}

fn plan_node(id: u64, ports: NodePorts) -> NodePlan {
    let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    NodePlan { id: NodeId(id), host: listen.to_string(), listen, ports }
}

fn plan_agent([quic, ingress, health]: [u16; 3]) -> AgentPlan {
    let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    AgentPlan { host: listen.to_string(), listen, quic, ingress, health }
}

/// A path that holds wherever a process runs.
///
/// # Errors
/// [`Failure`] if nobody knows where this one runs.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|why| {
        Failure::environment(format!("{}: {why}", path.display()), "give an absolute path")
    })
}
