//! Nodes that join a mesh which runs, and operators who let them in: by the binary, as people type it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tally_core::entry::{Algorithm, Entry};
use tally_core::id::{KeyId, LeafIndex, Salt16};
use tally_core::register::{
    Approval, LedgerNode, MemberRecord, RegisterBody, RegisterName, RegisterWrite,
    register_preimage,
};
use tally_log::sha256;
use tally_net::authority::Validity;
use tally_net::keyfile::{self, KeyUse};
use tally_net::{Role, SpiffeId};
use tokio::process::Command;

use super::node::{Exit, NodeProcess, run_within};
use super::{MESH, Mesh, Waited, node_id, now_s};

/// How long a command about the cluster may take.
const OPERATE_WAIT_MAX: Duration = Duration::from_secs(120);

impl Mesh {
    /// Runs `tally ledger` with these arguments as a workload of a member, and waits until it has ended.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn operate_as(
        &self,
        member: usize,
        role: Role,
        args: &[&str],
    ) -> Result<Exit, Waited> {
        let config = self.workload(member, role);
        let config = config.map_err(|error| Waited::of("an operator", error))?;
        let mut command = Command::new(&self.nodes[0].binary);
        command.arg("--config").arg(config).arg("ledger").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        run_within(command, OPERATE_WAIT_MAX).await
    }

    /// The same as a member's operator.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn operate(&self, member: usize, args: &[&str]) -> Result<Exit, Waited> {
        self.operate_as(member, Role::Operator, args).await
    }

    /// Makes the directory of one more node, as `tally ledger join` does, with its certificate. Says at
    /// which place the node is; it does not run yet.
    ///
    /// # Errors
    /// [`Waited`] if it can't be made.
    pub async fn join(&mut self) -> Result<usize, Waited> {
        self.join_by(&[]).await
    }

    /// The same, telling the command where these nodes are reached by their peers.
    ///
    /// # Errors
    /// [`Waited`] if it can't be made.
    pub async fn join_by(&mut self, peers: &[usize]) -> Result<usize, Waited> {
        let place = self.nodes.len();
        let member = place % self.members.len();
        let (host, last) = (self.nodes[0].agents.ip(), self.nodes[place - 1].agents.port());
        let port = last + 10;
        let dir = self.node_dir(place);
        let (number, to) = (node_id(place).to_string(), dir.to_string_lossy().into_owned());
        let (name, host, port_text) =
            (self.members[member].id.to_string(), host.to_string(), port.to_string());
        let mut args = vec!["join", "--to", &to, "--member", &name, "--node", &number];
        args.extend(["--host", &host, "--listen", &host, "--port", &port_text]);
        let peers = peers.iter().map(|it| format!("{}={}", node_id(*it), self.raft_address(*it)));
        let peers = peers.collect::<Vec<_>>();
        peers.iter().for_each(|peer| args.extend(["--peer", peer]));
        let exit = self.operate(member, &args).await?;
        if exit.code != Some(0) {
            return Err(Waited::of("the directory of a node", exit.said));
        }
        let made = self.certify(member, &number, &dir);
        made.map_err(|error| Waited::of("a certificate", error))?;
        let key = keyfile::load(&dir.join("log.key"), KeyUse::Log);
        self.log_keys.push(key.map_err(|error| Waited::of("a log key", error))?);
        let at = |above| SocketAddr::new(self.nodes[0].agents.ip(), port + above);
        let binary = self.nodes[0].binary.clone();
        self.nodes.push(NodeProcess {
            binary,
            dir,
            agents: at(0),
            https: at(1),
            health: at(2),
            raft: at(3),
            faults: None,
            child: None,
            stdin: None,
        });
        Ok(place)
    }

    /// What a member's register must say of the node at this place.
    #[must_use]
    pub fn ledger_node(&self, place: usize) -> LedgerNode {
        LedgerNode {
            id: node_id(place),
            log_key: self.log_keys[place].verifying_key(),
            quic: self.nodes[place].agents.to_string().parse().unwrap(),
            https: self.nodes[place].https.to_string().parse().unwrap(),
        }
    }

    /// The write that changes a member's register, approved by all members. Once it is on the ledger,
    /// [`written`](Self::written) has to be told.
    pub fn member_write(
        &self,
        member: usize,
        change: impl FnOnce(&mut MemberRecord),
    ) -> (Entry, MemberRecord) {
        let founded = || (self.record(member).clone(), 1, LeafIndex(0));
        let (mut record, version, previous) =
            self.records.get(&member).cloned().unwrap_or_else(founded);
        change(&mut record);
        (self.approved(record.clone(), version + 1, previous), record)
    }

    /// A member's register was written at this leaf.
    pub fn written(&mut self, member: usize, record: MemberRecord, leaf: LeafIndex) {
        let version = self.records.get(&member).map_or(1, |(_, version, _)| *version);
        self.records.insert(member, (record, version + 1, leaf));
    }

    fn approved(&self, record: MemberRecord, version: u64, previous: LeafIndex) -> Entry {
        let name = RegisterName::Member(record.id.clone());
        let body = RegisterBody::Member(Box::new(record));
        let body = tally_wire::encode_checked(body).unwrap();
        let (previous, narrows) = (Some(previous), true);
        let preimage =
            register_preimage(&self.id(), &name, version, previous, narrows, body.bytes());
        let approvals = self.members.iter().map(|by| Approval {
            member: by.id.clone(),
            role: "ig-lead".parse().unwrap(),
            key: KeyId::of(&by.officer_key.verifying_key()),
            algorithm: Algorithm::EdDsa,
            signature: by.officer_key.sign(&preimage),
        });
        let approvals = approvals.collect();
        let salt = sha256(&[body.bytes(), &version.to_be_bytes()]);
        let salt = Salt16(*salt.as_bytes().first_chunk().unwrap());
        let write = RegisterWrite { salt, name, version, previous, narrows, body, approvals };
        Entry::Register(Box::new(write))
    }

    /// The certificate of the new node, named as its configuration has it.
    fn certify(&self, member: usize, number: &str, dir: &Path) -> io::Result<()> {
        let validity = Validity { from_s: now_s() - 60, until_s: now_s() + 3600 };
        let mesh = MESH.parse().map_err(io::Error::other)?;
        let member = &self.members[member];
        let name = number.to_owned();
        let id = SpiffeId { mesh, member: member.id.clone(), role: Role::Ledger, name };
        let issued = member.authority.issue(&id, &[], validity).map_err(io::Error::other)?;
        fs::write(dir.join(format!("{number}.pem")), &issued.certificate_pem)?;
        super::directory::write_secret(&dir.join(format!("{number}.key")), &issued.key_pem)
    }

    /// The configuration of a workload that asks ledger nodes over HTTPS, with all that it names.
    fn workload(&self, member: usize, role: Role) -> io::Result<PathBuf> {
        let name = format!("{}-{}", self.members[member].id, role.as_str());
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir)?;
        let validity = Validity { from_s: now_s() - 60, until_s: now_s() + 3600 };
        let member = &self.members[member];
        let mesh = MESH.parse().map_err(io::Error::other)?;
        let name = "tests".to_owned();
        let id = SpiffeId { mesh, member: member.id.clone(), role, name };
        let issued = member.authority.issue(&id, &[], validity).map_err(io::Error::other)?;
        fs::write(dir.join("own.pem"), &issued.certificate_pem)?;
        fs::write(dir.join("own.key"), &issued.key_pem)?;
        fs::write(dir.join("genesis.cbor"), self.genesis.bytes())?;
        let https = self.nodes.iter().map(|node| format!("\"https://{}\"", node.https));
        let text = format!(
            "tally = 1\n\n[mesh]\nid = \"{}\"\ngenesis = \"genesis.cbor\"\n\n\
             [identity]\ncert = \"own.pem\"\nkey = \"own.key\"\n\n[ledger]\nhttps = [{}]\n",
            self.id(),
            https.collect::<Vec<_>>().join(", "),
        );
        let path = dir.join("tally.toml");
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// Who is in the cluster, as an auditor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSeen {
    /// The numbers of the nodes that vote.
    pub voters: Vec<u64>,
    /// The numbers of those that only replicate.
    pub learners: Vec<u64>,
    /// The entry that made it so, as commands name it.
    pub entry: String,
    /// Whether no change is under way.
    pub settled: bool,
}

impl Mesh {
    /// Who is in the cluster, as the auditor of a member is told.
    pub async fn cluster(&self, member: usize) -> ClusterSeen {
        let member = member % self.members.len();
        let args = ["nodes", "--output", "json"];
        let exit = self.operate(member, &args).await.unwrap();
        let json = exit.said.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let cluster = &json["cluster"];
        let nodes = cluster["nodes"].as_array().unwrap();
        let numbers = |votes: bool| {
            let those = nodes.iter().filter(|node| node["votes"] == votes);
            those.filter_map(|node| node["node"].as_u64()).collect()
        };
        let id = &cluster["membership_log_id"];
        ClusterSeen {
            voters: numbers(true),
            learners: numbers(false),
            entry: format!("{}-{}-{}", id["term"], id["leader"], id["index"]),
            settled: cluster["settled"] == true,
        }
    }

    /// Ends a process as a power cut of it would, without waiting.
    pub fn kill_process(pid: u32) {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap_or_default());
        if let Some(pid) = pid {
            // A process that has just ended needs no signal.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
