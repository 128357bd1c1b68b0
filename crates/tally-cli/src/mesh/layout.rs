//! The directory of a mesh whose founders are made in one place: keys, certificates, the genesis and
//! configurations. For tests and demonstrations; in a live mesh each founder makes its own keys and
//! they never leave it.
//!
//! ```text
//! genesis.cbor  policy.txt  ca.pem  auditor.toml  auditor.pem  auditor.key
//! <MEMBER>/     tally.toml  identity.pem  identity.key  ca.pem  ca.key  agent.key
//!               witness.key  witness.vkey, where it has an agent
//!               officers/ig-lead.key  officers/caldicott.key; officers/auditor.key of one member
//! ledger-<N>/   tally.toml  node.pem  node.key  log.key
//! ```

mod text;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::{MemberId, MeshId, MeshName, NodeId, OdsCode, Salt16};
use tally_core::register::{
    AUDITOR_ROLE, Address, LedgerNode, MemberRecord, MemberStatus, ODS, Officer, OrganisationCode,
};
use tally_log::{KeyName, NoteKey, Policy, SigningKey};
use tally_net::authority::Validity;
use tally_net::keyfile::{self, KeyUse};
use tally_net::{Authority, Issued, Role, SpiffeId};

use self::text::agent_config;
use super::file::MeshFile;
use crate::failure::Failure;
use crate::system::{create_dir, new_key, now_s, random, write_file, write_secret};
use crate::witness;

/// Officers of each member, ascending.
const OFFICERS: [&str; 2] = ["caldicott", "ig-lead"];
/// For how long a CA holds: ten years.
const CA_VALID_S: i64 = 10 * 365 * 24 * 3600;
/// Certificates begin a little before they are issued: clocks differ.
const BEFORE_S: i64 = 300;

/// Where a ledger node is reached, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// Its number.
    pub(crate) id: NodeId,
    /// The name or address that others reach it by.
    pub(crate) host: String,
    /// Where it listens.
    pub(crate) listen: IpAddr,
    /// The ports.
    pub(crate) ports: NodePorts,
}

/// The ports of a ledger node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodePorts {
    /// For agents, over UDP.
    pub(crate) agents: u16,
    /// For readers, over TCP.
    pub(crate) https: u16,
    /// Health and metrics, over TCP.
    pub(crate) health: u16,
    /// For its peers, over UDP.
    pub(crate) raft: u16,
}

/// Where a member's agent is reached, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentPlan {
    /// The name or address that other agents reach it by.
    pub(crate) host: String,
    /// Where it listens for them.
    pub(crate) listen: IpAddr,
    /// For other agents, over UDP.
    pub(crate) quic: u16,
    /// For the member's applications, over TCP on loopback.
    pub(crate) ingress: u16,
    /// Health and metrics, over TCP.
    pub(crate) health: u16,
}

/// A mesh that was laid out.
pub(crate) struct Layout<'a> {
    /// Its directory.
    pub(crate) dir: &'a Path,
    /// Its founders and their plans.
    pub(crate) file: &'a MeshFile,
    /// Its ledger nodes, dealt out to the members in turn.
    pub(crate) nodes: &'a [NodePlan],
    /// Its members' agents, in the order of the file.
    pub(crate) agents: &'a [AgentPlan],
}

/// A founder with its secrets.
pub(crate) struct Founder {
    /// What its register says.
    pub(crate) record: MemberRecord,
    authority: Authority,
}

/// ODS says that its codes have up to nine letters and digits; its own database holds twelve.
fn warn_of_length(code: &OrganisationCode) {
    let long = code.value.parse::<OdsCode>().is_ok_and(|code| code.is_unusually_long());
    if code.system == ODS && long {
        let text = format!("{}: no ODS code is known to have more than 9 characters", code.value);
        drop(writeln!(std::io::stderr().lock(), "tally: {text}"));
    }
}

/// Where the genesis is.
pub(crate) fn genesis_path(dir: &Path) -> PathBuf {
    dir.join("genesis.cbor")
}

/// Where a member's keys are.
pub(crate) fn member_dir(dir: &Path, member: &MemberId) -> PathBuf {
    dir.join(member.as_str())
}

/// Where a ledger node's files are.
pub(crate) fn node_dir(dir: &Path, node: NodeId) -> PathBuf {
    dir.join(format!("ledger-{node}"))
}

impl Layout<'_> {
    /// Makes everything. Nothing is overwritten: the directory must not hold a mesh yet.
    ///
    /// # Errors
    /// [`Failure`] if something can't be made.
    pub(crate) fn make(&self, valid_for_s: i64) -> Result<Encoded<Genesis>, Failure> {
        let path = genesis_path(self.dir);
        if path.exists() {
            let what = format!("{}: there is a mesh already", path.display());
            return Err(Failure::usage(what, "give an empty directory"));
        }
        create_dir(self.dir)?;
        let mut founders = Vec::new();
        for (place, plan) in self.file.members.iter().enumerate() {
            let audits = *self.auditor()? == plan.id;
            let mut founder = make_member(&member_dir(self.dir, &plan.id), &plan.id, audits)?;
            founder.record.name.clone_from(&plan.name);
            plan.codes.iter().for_each(warn_of_length);
            founder.record.codes.clone_from(&plan.codes);
            founder.record.supersedes.clone_from(&plan.supersedes);
            founder.record.assessment = plan.assessment;
            if let Some(agent) = self.agents.get(place) {
                founder.record.address = Some(address(&agent.host, agent.quic)?);
            }
            let count = self.file.members.len();
            let own = self.nodes.iter().enumerate().filter(|(node, _)| node % count == place);
            for (_, node) in own {
                founder.record.nodes.push(self.make_node(node)?);
            }
            founders.push(founder);
        }
        founders.sort_by(|one, other| one.record.id.cmp(&other.record.id));
        let genesis = self.genesis(&founders)?;
        let mesh_id = MeshId(genesis.leaf_hash());
        for (place, node) in self.nodes.iter().enumerate() {
            let config = self.node_config(place, node, &mesh_id);
            write_file(&node_dir(self.dir, node.id).join("tally.toml"), config.as_bytes())?;
        }
        for (member, agent) in self.file.members.iter().zip(self.agents) {
            let dir = member_dir(self.dir, &member.id);
            witness::make(&dir, &dir.join("data"), &self.file.mesh, &member.id)?;
            let config = agent_config(member, agent, &mesh_id);
            write_file(&dir.join("tally.toml"), config.as_bytes())?;
        }
        self.write_public(&founders, &mesh_id)?;
        self.issue(valid_for_s)?;
        // Last: what has a genesis is complete.
        write_file(&path, genesis.bytes())?;
        Ok(genesis)
    }

    /// Issues the certificates of all workloads, anew if there are some already.
    ///
    /// # Errors
    /// [`Failure`] if a CA can't be read or a certificate not be written.
    pub(crate) fn issue(&self, valid_for_s: i64) -> Result<(), Failure> {
        for (place, node) in self.nodes.iter().enumerate() {
            let member = self.member_of(place)?;
            let name = node.id.to_string();
            let addresses = node.host.parse::<IpAddr>().into_iter().collect::<Vec<_>>();
            let id = self.spiffe_id(member, Role::Ledger, &name);
            let issued = issue(&member_dir(self.dir, member), &id, &addresses, valid_for_s)?;
            write_issued(&node_dir(self.dir, node.id), "node", &issued)?;
        }
        for (member, agent) in self.file.members.iter().zip(self.agents) {
            let id = self.spiffe_id(&member.id, Role::Agent, "agent");
            let addresses = agent.host.parse::<IpAddr>().into_iter().collect::<Vec<_>>();
            let dir = member_dir(self.dir, &member.id);
            let issued = issue(&dir, &id, &addresses, valid_for_s)?;
            write_issued(&dir, "identity", &issued)?;
        }
        let auditor = self.auditor()?;
        let id = self.spiffe_id(auditor, Role::Auditor, "auditor");
        let issued = issue(&member_dir(self.dir, auditor), &id, &[], valid_for_s)?;
        write_issued(self.dir, "auditor", &issued)
    }

    fn spiffe_id(&self, member: &MemberId, role: Role, name: &str) -> SpiffeId {
        let mesh = self.file.mesh.clone();
        SpiffeId { mesh, member: member.clone(), role, name: name.to_owned() }
    }

    /// Who runs a node, counted from 0.
    pub(crate) fn member_of(&self, node: usize) -> Result<&MemberId, Failure> {
        let place = node.checked_rem(self.file.members.len());
        let member = place.and_then(|place| self.file.members.get(place));
        member.map(|it| &it.id).ok_or_else(no_member)
    }

    /// Whose auditor there is.
    fn auditor(&self) -> Result<&MemberId, Failure> {
        self.file.members.iter().map(|it| &it.id).min().ok_or_else(no_member)
    }

    fn make_node(&self, node: &NodePlan) -> Result<LedgerNode, Failure> {
        let dir = node_dir(self.dir, node.id);
        create_dir(&dir)?;
        let log_key = make_key(&dir.join("log.key"), KeyUse::Log)?.verifying_key();
        let quic = address(&node.host, node.ports.agents)?;
        let https = address(&node.host, node.ports.https)?;
        Ok(LedgerNode { id: node.id, log_key, quic, https })
    }

    fn genesis(&self, founders: &[Founder]) -> Result<Encoded<Genesis>, Failure> {
        let genesis = Genesis {
            salt: Salt16(random()?),
            mesh: self.file.mesh.clone(),
            environment: self.file.environment,
            protocol: 1,
            members: founders.iter().map(|founder| founder.record.clone()).collect(),
            voters: self.nodes.iter().map(|node| node.id).collect(),
        };
        tally_wire::encode_checked(genesis).map_err(|why| {
            let remedy = "name fewer members, or shorten their names and codes";
            Failure::usage(format!("these founders make no genesis: {why}"), remedy)
        })
    }

    fn node_config(&self, place: usize, node: &NodePlan, mesh_id: &MeshId) -> String {
        let member = self.member_of(place).map(MemberId::as_str).unwrap_or_default();
        let listen = |port| SocketAddr::new(node.listen, port);
        let mut text = format!(
            "tally = 1\ndata_dir = \"data\"\nmember = \"{member}\"\nnode_id = {id}\n\n\
             [mesh]\nid = \"{mesh_id}\"\ngenesis = \"../genesis.cbor\"\n\n\
             [identity]\ncert = \"node.pem\"\nkey = \"node.key\"\nca = \"../{member}/ca.pem\"\n\n\
             [log]\nkey = \"log.key\"\n\n\
             [agents]\nlisten = \"{agents}\"\n\n[https]\nlisten = \"{https}\"\n\n\
             [health]\nlisten = \"{health}\"\n\n[raft]\nlisten = \"{raft}\"\n",
            id = node.id,
            agents = listen(node.ports.agents),
            https = listen(node.ports.https),
            health = listen(node.ports.health),
            raft = listen(node.ports.raft),
        );
        for peer in self.nodes.iter().filter(|peer| peer.id != node.id) {
            let address = format!("{}:{}", host_in_address(&peer.host), peer.ports.raft);
            // Writing to a text can't fail.
            let _ =
                write!(text, "\n[[raft.peer]]\nnode_id = {}\naddress = \"{address}\"\n", peer.id);
        }
        text
    }

    fn write_public(&self, founders: &[Founder], mesh_id: &MeshId) -> Result<(), Failure> {
        let cas: String = founders.iter().map(|it| it.authority.certificate_pem()).collect();
        write_file(&self.dir.join("ca.pem"), cas.as_bytes())?;
        let keys = founders.iter().flat_map(|founder| &founder.record.nodes);
        let keys: Result<Vec<NoteKey>, Failure> =
            keys.map(|node| note_key(&self.file.mesh, node)).collect();
        let policy = Policy::threshold(keys?, [], 0)
            .map_err(|why| Failure::environment(why, "try again: two keys were the same"))?;
        write_file(&self.dir.join("policy.txt"), policy.to_string().as_bytes())?;
        let https = self.nodes.iter().map(|node| {
            format!("\"https://{}:{}\"", host_in_address(&node.host), node.ports.https)
        });
        let auditor = format!(
            "tally = 1\n\n[mesh]\nid = \"{mesh_id}\"\ngenesis = \"genesis.cbor\"\n\n\
             [identity]\ncert = \"auditor.pem\"\nkey = \"auditor.key\"\n\n\
             [ledger]\nhttps = [{}]\npolicy = \"policy.txt\"\n",
            https.collect::<Vec<_>>().join(", "),
        );
        write_file(&self.dir.join("auditor.toml"), auditor.as_bytes())
    }
}

fn address(host: &str, port: u16) -> Result<Address, Failure> {
    let address = format!("{}:{port}", host_in_address(host)).parse();
    address.map_err(|why| Failure::usage(format!("{host}: {why}"), "name a host"))
}

/// The key of a ledger node as notes name it, in the ledger's first epoch.
///
/// # Errors
/// [`Failure`] if the mesh's name can't be part of a key's.
pub(crate) fn note_key(mesh: &MeshName, node: &LedgerNode) -> Result<NoteKey, Failure> {
    note_key_in(mesh, 0, node)
}

/// The same in a later epoch.
///
/// # Errors
/// As [`note_key`].
pub(crate) fn note_key_in(
    mesh: &MeshName,
    epoch: u64,
    node: &LedgerNode,
) -> Result<NoteKey, Failure> {
    let name = KeyName::new(&mesh.log(epoch));
    let name = name.map_err(|why| Failure::usage(format!("{mesh}: {why}"), "shorten the name"))?;
    Ok(NoteKey::ed25519(name, node.log_key))
}

/// Makes a member's CA and keys in a directory. `audits`: whether it audits the mesh.
///
/// # Errors
/// [`Failure`] if something can't be made.
pub(crate) fn make_member(dir: &Path, id: &MemberId, audits: bool) -> Result<Founder, Failure> {
    create_dir(&dir.join("officers"))?;
    let from_s = now_s().saturating_sub(BEFORE_S);
    let validity = Validity { from_s, until_s: from_s.saturating_add(CA_VALID_S) };
    let authority = Authority::create(&format!("{id} CA"), validity)
        .map_err(|why| Failure::environment(why, "try again"))?;
    write_file(&dir.join("ca.pem"), authority.certificate_pem().as_bytes())?;
    write_secret(&dir.join("ca.key"), authority.key_pem().as_bytes())?;
    let agent_key = make_key(&dir.join("agent.key"), KeyUse::Agent)?.verifying_key();
    let mut officers = Vec::new();
    for role in audits.then_some(AUDITOR_ROLE).into_iter().chain(OFFICERS) {
        let path = dir.join("officers").join(format!("{role}.key"));
        let key = make_key(&path, KeyUse::Officer)?.verifying_key();
        let role = role.parse().map_err(|why| Failure::environment(why, "report this"))?;
        officers.push(Officer { role, key });
    }
    let record = MemberRecord {
        id: id.clone(),
        name: id.to_string(),
        codes: Vec::new(),
        ca: authority.certificate_der().to_vec(),
        agent_key,
        officers,
        nodes: Vec::new(),
        address: None,
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    };
    Ok(Founder { record, authority })
}

fn make_key(path: &Path, used_for: KeyUse) -> Result<SigningKey, Failure> {
    let key = new_key()?;
    keyfile::create(path, used_for, &key)
        .map_err(|why| Failure::environment(why, "no key is overwritten: give a new directory"))?;
    Ok(key)
}

/// Issues a workload's certificate from the CA in a member's directory.
///
/// # Errors
/// [`Failure`] if the CA can't be used.
pub(crate) fn issue(
    member_dir: &Path,
    id: &SpiffeId,
    addresses: &[IpAddr],
    valid_for_s: i64,
) -> Result<Issued, Failure> {
    issue_run_by(member_dir, None, id, addresses, valid_for_s)
}

/// The same for a workload that the member's processor runs.
///
/// # Errors
/// As [`issue`].
pub(crate) fn issue_run_by(
    member_dir: &Path,
    operator: Option<&MemberId>,
    id: &SpiffeId,
    addresses: &[IpAddr],
    valid_for_s: i64,
) -> Result<Issued, Failure> {
    let remedy = "give the directory of a member, with ca.pem and ca.key in it";
    let read = |name: &str| crate::system::read_text(&member_dir.join(name), 64 * 1024);
    let authority = Authority::from_pem(&read("ca.pem")?, &read("ca.key")?).map_err(|why| {
        Failure::configuration(format!("{}: {why}", member_dir.display()), remedy)
    })?;
    let now_s = now_s();
    let until_s = now_s.saturating_add(valid_for_s);
    let validity = Validity { from_s: now_s.saturating_sub(BEFORE_S), until_s };
    let issued = authority.issue_run_by(operator, id, addresses, validity);
    issued.map_err(|why| Failure::environment(why, remedy))
}

/// Writes a certificate and its key as `NAME.pem` and `NAME.key`.
///
/// # Errors
/// [`Failure`] if they can't be written.
pub(crate) fn write_issued(dir: &Path, name: &str, issued: &Issued) -> Result<(), Failure> {
    create_dir(dir)?;
    write_secret(&dir.join(format!("{name}.key")), issued.key_pem.as_bytes())?;
    write_file(&dir.join(format!("{name}.pem")), issued.certificate_pem.as_bytes())
}

/// An IPv6 address stands in brackets before a port.
fn host_in_address(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn no_member() -> Failure {
    Failure::usage("a mesh has at least one member", "name one in the mesh file")
}
