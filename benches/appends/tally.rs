//! Three ledger nodes as `tally dev` starts them, and one agent through which all callers append.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tally_core::Encoded;
use tally_core::entry::{
    Action, AgreementRef, Entry, Flags, Genesis, Outcome, ProviderHalf, UserKnown,
};
use tally_core::id::{AgreementId, ExchangeId, MemberId, MeshId, NodeId, Salt16};
use tally_core::refusal::Refusal;
use tally_core::register::{MemberRecord, RegisterName, RegisterRef};
use tally_log::sha256;
use tally_net::authority::Validity;
use tally_net::keyfile::{self, KeyUse};
use tally_net::ledger::{AgentKey, Client, ClientLimits, LedgerAddress, LedgerConfig, Travel};
use tally_net::{Authority, Identity, Role, SpiffeId, TrustStore};

use crate::Trouble;
use crate::measure::Caller;
use crate::members::{Member, Officers};
use crate::process::Process;

/// Bytes of an entry once its counter has five.
const ENTRY_LEN: usize = 256;
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// A mesh that runs.
pub(crate) struct Mesh {
    _dev: Process,
    /// Where it is laid out.
    pub(crate) dir: PathBuf,
    /// What dev.json says.
    pub(crate) document: Value,
}

impl Mesh {
    /// Lays out a mesh in `mesh` below a directory, as `tally dev` does with these arguments, and
    /// waits until all of it answers.
    ///
    /// # Errors
    /// [`Trouble`] if it does not come up.
    pub(crate) fn start<A: AsRef<OsStr>>(
        binary: &Path,
        dir: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self, Trouble> {
        let dir = dir.join("mesh");
        let log = dir.with_extension("log");
        let mut command = Command::new(binary);
        command.args(["dev", "--dir"]).arg(&dir).args(args);
        let mut dev = Process::start(&mut command, &log, true)?;
        let said = dev.child().stdout.take().ok_or("tally dev has no standard output")?;
        let ready = BufReader::new(said).lines().map_while(Result::ok).any(|line| line == "ready");
        if !ready {
            let why = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("the mesh does not come up: {why}").into());
        }
        let document = serde_json::from_slice(&fs::read(dir.join("dev.json"))?)?;
        Ok(Self { _dev: dev, dir, document })
    }

    /// The processes of the nodes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        pids(self.nodes())
    }

    /// So many agents, each of a member of its own: who has not founded the mesh is admitted. Must be
    /// called in a tokio runtime.
    ///
    /// # Errors
    /// [`Trouble`] if the mesh's files are not what they should be, or a member is not admitted.
    pub(crate) async fn agents(&self, count: usize) -> Result<Vec<Agent>, Trouble> {
        let genesis = self.genesis()?;
        let Genesis { mesh, members, .. } = genesis.value();
        let mut agents = Vec::new();
        for founder in members.iter().take(count) {
            agents.push(self.agent_of(&genesis, self.founder(&genesis, founder)?)?);
        }
        let mesh_id = MeshId(genesis.leaf_hash());
        let mut officers = Officers::of(&self.dir, mesh.clone(), mesh_id, members)?;
        for number in members.len()..count {
            let by = &agents.first().ok_or("too few members")?.client;
            let member = officers.admit(number, by).await?;
            agents.push(self.agent_of(&genesis, member)?);
        }
        Ok(agents)
    }

    fn genesis(&self) -> Result<Encoded<Genesis>, Trouble> {
        Ok(tally_wire::decode(&fs::read(self.dir.join("genesis.cbor"))?)?)
    }

    fn founder(&self, genesis: &Encoded<Genesis>, own: &MemberRecord) -> Result<Member, Trouble> {
        let dir = self.dir.join(own.id.as_str());
        let (mesh, member) = (genesis.value().mesh.clone(), own.id.clone());
        let id = SpiffeId { mesh, member, role: Role::Agent, name: "bench".to_owned() };
        let agent_key = keyfile::load(&dir.join("agent.key"), KeyUse::Agent)?;
        Ok(Member { id: own.id.clone(), agent_key, identity: identity(&dir, &id)? })
    }

    fn agent_of(&self, genesis: &Encoded<Genesis>, own: Member) -> Result<Agent, Trouble> {
        let members = &genesis.value().members;
        let other = members.iter().find(|other| other.id != own.id).ok_or("too few members")?;
        let trust = TrustStore::new(genesis.value().mesh.clone());
        members.iter().for_each(|member| trust.update(member));
        let mut nodes = Vec::new();
        let mut log_keys = Vec::new();
        for node in self.nodes() {
            let text = |what| node.get(what).and_then(Value::as_str).ok_or("dev.json lacks a text");
            let id = node.get("id").and_then(Value::as_u64).ok_or("dev.json lacks a number")?;
            nodes.push(LedgerAddress { node: NodeId(id), address: text("quic")?.parse()? });
            log_keys.push(text("vkey")?.parse()?);
        }
        let config = LedgerConfig {
            member: own.id.clone(),
            mesh_id: MeshId(genesis.leaf_hash()),
            epoch: 0,
            nodes,
            identity: own.identity,
            trust,
            log_keys,
            limits: ClientLimits::default(),
        };
        let client = Client::start(config, AgentKey::new(own.agent_key));
        let template = refusal(&own.id, &other.id)?;
        let len = tally_wire::encode_entry(&next(&template, 255, 1 << 20)).len();
        if len != ENTRY_LEN {
            return Err(
                format!("an entry has {len} bytes, where {ENTRY_LEN} are to be measured").into()
            );
        }
        Ok(Agent { client, template })
    }

    fn nodes(&self) -> impl Iterator<Item = &Value> {
        self.document.get("ledger").and_then(Value::as_array).into_iter().flatten()
    }
}

/// The processes of some of dev.json's nodes or members.
pub(crate) fn pids<'a>(parts: impl Iterator<Item = &'a Value>) -> Vec<u32> {
    let pids = parts.filter_map(|part| part.get("pid")?.as_u64());
    pids.filter_map(|pid| u32::try_from(pid).ok()).collect()
}

fn identity(dir: &Path, id: &SpiffeId) -> Result<Identity, Trouble> {
    let pem = |name| fs::read_to_string(dir.join(name));
    let authority = Authority::from_pem(&pem("ca.pem")?, &pem("ca.key")?)?;
    Ok(authority.issue(id, &[], validity()?)?.identity())
}

/// From a minute ago for a day.
///
/// # Errors
/// [`Trouble`] if the clock is before 1970.
pub(crate) fn validity() -> Result<Validity, Trouble> {
    let now_s = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    Ok(Validity { from_s: now_s - 60, until_s: now_s + 24 * 3600 })
}

/// An agent: its callers' entries travel together.
pub(crate) struct Agent {
    client: Client,
    /// What all entries have in common.
    template: ProviderHalf,
}

/// A caller of the agent.
pub(crate) struct Appender {
    client: Client,
    template: ProviderHalf,
    caller: u64,
    number: u64,
}

impl Agent {
    pub(crate) fn caller(&self, caller: usize) -> Appender {
        Appender {
            client: self.client.clone(),
            template: self.template.clone(),
            caller: u64::try_from(caller).unwrap_or(u64::MAX),
            number: 0,
        }
    }
}

impl Caller for Appender {
    async fn ask(&mut self) -> Result<u16, Trouble> {
        self.number += 1;
        let entry = next(&self.template, self.caller, self.number);
        let recorded = self.client.append(entry, Travel::Together, ANSWER_WAIT_MAX).await?;
        // What a caller keeps: seal, path and checkpoint were checked for the whole batch.
        std::hint::black_box(recorded.receipt()?);
        Ok(recorded.seal().count)
    }
}

/// An entry unlike any other.
fn next(template: &ProviderHalf, caller: u64, number: u64) -> Entry {
    let [caller, number] = [caller, number].map(u64::to_be_bytes);
    let mut unique = [0; 16];
    unique.iter_mut().zip(caller.into_iter().chain(number)).for_each(|(to, from)| *to = from);
    let mut half = template.clone();
    half.salt = Salt16(unique);
    half.exchange = ExchangeId(unique);
    Entry::ProviderHalf(Box::new(half))
}

/// A decision with what one on a real request names, of 256 bytes, in the unconditional lane: which
/// registers it went by is recorded, and the ledger does not look whether they are current.
fn refusal(provider: &MemberId, requester: &MemberId) -> Result<ProviderHalf, Trouble> {
    let agreement = "DSA-CARE-2026-0417".parse::<AgreementId>()?;
    let names = [
        RegisterName::Member(provider.clone()),
        RegisterName::Member(requester.clone()),
        RegisterName::Agreement(agreement.clone()),
        RegisterName::Consent(provider.clone(), 0),
        RegisterName::Consent(provider.clone(), 1),
    ];
    let mut read_set = names.map(|name| RegisterRef { name, version: 1 }).to_vec();
    read_set.sort();
    Ok(ProviderHalf {
        salt: Salt16([0; 16]),
        exchange: ExchangeId([0; 16]),
        counter: 0,
        provider: provider.clone(),
        requester: requester.clone(),
        operator: None,
        agreement: Some(AgreementRef { id: agreement, version: 1 }),
        purpose: "TREAT".parse()?,
        source: "lists".parse()?,
        action: Action::Read,
        outcome: Outcome::Refuse(Refusal::PurposeNotInAgreement),
        user_known: UserKnown::Verified,
        people: 0,
        people_withheld: 0,
        records: 0,
        bytes: 0,
        digest: None,
        tags_root: sha256(&[b"tags"]),
        commitment: sha256(&[b"commitment"]),
        flags: Flags::NONE,
        read_set,
        resumes: None,
        rectifies: None,
        opt_out: None,
    })
}
