//! Mends a log whose bytes went bad, with the help of the other nodes.
//!
//! Invariant: nothing is written before it is proven. The frames that are made again must follow on
//! the good one before and lead to the good one behind; with them the whole directory must pass
//! [`fsck`](crate::fsck), and another node must sign the root that the tree then has. What was there
//! is kept beside the log.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tally_core::entry::Genesis;
use tally_core::register::MemberRecord;
use tally_log::note::KeyName;
use tally_log::{NoteKey, SignedCheckpoint};
use tally_net::endpoint::endpoint;
use tally_net::{GenesisError, Identity, LoadIdentityError, TrustStore, read_genesis};
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::hello::Hello;
use tokio::runtime::Runtime;

use crate::config::LedgerConfig;
use crate::disk::patched::PatchedDisk;
use crate::disk::{Disk, ReadOnlyDisk, RealDisk};
use crate::fsck::{Fault, Progress, Report, check_on};
use crate::raft::Links;
use crate::saved::load;
use crate::store::{NotMended, OpenError, Patch, StoredEntry, epoch_of, mend};
use crate::tiles::Head;
use crate::trust::owner;

/// What was mended.
#[derive(Debug)]
pub struct Repaired {
    /// Each place, with the file that keeps what was there.
    pub places: Vec<Place>,
    /// What a check says of the directory now.
    pub report: Report,
    /// The node that signed the root.
    pub signed_by: Option<u64>,
}

/// Bytes that were put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The segment's file.
    pub segment: String,
    /// Where the first byte was put.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// The file beside it that keeps what was there.
    pub kept: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The node's files.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Certificate and key.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// The gap can't be made again.
    #[error("{0}; if no copy can be repaired, replace the node by a new one with another number")]
    NotMended(#[from] NotMended),
    /// What is wrong is not bytes in the log, or is still wrong with what was made.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Nobody signs the root that the tree would have.
    #[error("nothing was written: {0}")]
    NotProven(String),
    /// The system's.
    #[error("the directory can't be repaired: {0}")]
    Io(#[from] io::Error),
}

/// Gaps at most; a disk that has more is not to be trusted with what it still shows.
const GAPS_MAX: usize = 64;

/// Repairs the log of a node that does not run, and keeps what was bad.
///
/// # Errors
/// [`RepairError`]: nothing was written.
pub fn repair(
    config: &LedgerConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<Repaired, RepairError> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::new(config.data_dir.join("log")));
    let mut patches: Vec<Patch> = Vec::new();
    let mut peers: Option<Asked> = None;
    let report = loop {
        let patched: Arc<dyn Disk> = Arc::new(PatchedDisk::new(Arc::clone(&disk), patches.clone()));
        let checked =
            check_on(Arc::clone(&patched), &config.data_dir, Some(owner(config)), None, progress);
        match checked {
            Ok(report) => break report,
            Err(Fault::Log(OpenError::Corrupt { .. })) if patches.len() < GAPS_MAX => {
                let asked = match &mut peers {
                    Some(asked) => asked,
                    none => {
                        let epoch = epoch_of(&*patched, config.epoch).map_err(Fault::Log)?;
                        none.insert(Asked::new(config, epoch)?)
                    }
                };
                let owner = Some(owner(config));
                let patch = mend(&*patched, owner, &mut |index| asked.entry(index))?;
                if patches.contains(&patch) {
                    let why = "what was made again does not make the log good";
                    return Err(RepairError::NotProven(why.to_owned()));
                }
                patches.push(patch);
            }
            Err(fault) => return Err(fault.into()),
        }
    };
    let Some(asked) = peers else {
        return Ok(Repaired { places: Vec::new(), report, signed_by: None });
    };
    let signed_by = Some(asked.prove(report.head)?);
    let places = write(&config.data_dir.join("log"), &patches)?;
    Ok(Repaired { places, report, signed_by })
}

/// Puts the bytes in place, once what was there is kept.
fn write(log: &Path, patches: &[Patch]) -> io::Result<Vec<Place>> {
    let disk = RealDisk::new(log)?;
    let _lock = disk.lock()?;
    let mut places = Vec::new();
    for Patch { segment, offset, bytes } in patches {
        let file = disk.open(segment)?;
        let mut bad = vec![0; bytes.len()];
        file.read_at(&mut bad, *offset)?;
        let kept = format!("bad-{segment}-{offset}");
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let aside = disk.create(&kept, length)?;
        aside.write_at(&bad, 0)?;
        aside.sync()?;
        disk.sync_directory()?;
        file.write_at(bytes, *offset)?;
        file.sync()?;
        let (segment, offset) = (segment.clone(), *offset);
        places.push(Place { segment, offset, bytes: length, kept });
    }
    Ok(places)
}

/// The other nodes, as this one may ask them.
struct Asked {
    runtime: Runtime,
    links: Links,
    log_keys: BTreeMap<u64, NoteKey>,
    fetched: BTreeMap<u64, StoredEntry>,
}

impl Asked {
    /// Of a log in this epoch: nodes of others say nothing to it.
    fn new(config: &LedgerConfig, epoch: u64) -> Result<Self, RepairError> {
        let genesis = read_genesis(&config.genesis, config.mesh_id)?;
        let identity = Identity::load(&config.identity_cert, &config.identity_key)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let members = members(config, genesis.value())?;
        let trust = TrustStore::new(genesis.value().mesh.clone());
        members.iter().for_each(|member| trust.update(member));
        let links = links(config, epoch, &runtime, identity, trust)?;
        let name = KeyName::new(&genesis.value().mesh.log(epoch));
        let name = name.map_err(|error| io::Error::other(error.to_string()))?;
        let nodes = members.iter().flat_map(|member| &member.nodes);
        let keys = nodes.map(|node| (node.id.0, NoteKey::ed25519(name.clone(), node.log_key)));
        Ok(Self { runtime, links, log_keys: keys.collect(), fetched: BTreeMap::new() })
    }

    /// The committed entry of an index.
    fn entry(&mut self, index: u64) -> Result<StoredEntry, String> {
        if let Some(entry) = self.fetched.get(&index) {
            return Ok(entry.clone());
        }
        let mut said = Vec::new();
        for target in self.links.targets() {
            let asked = self.links.entries_of(target, index..index.saturating_add(16));
            match self.runtime.block_on(asked) {
                Ok(entries) if entries.first().is_some_and(|it| it.log_id.index == index) => {
                    let found = entries.first().cloned();
                    self.fetched.extend(entries.into_iter().map(|it| (it.log_id.index, it)));
                    return found.ok_or_else(String::new);
                }
                Ok(_) => {
                    said.push(format!("node {target} does not know entry {index} as committed"))
                }
                Err(error) => said.push(error.to_string()),
            }
        }
        Err(format!("no other node gives entry {index}: {}", said.join("; ")))
    }

    /// The first other node that signs this head.
    fn prove(&self, head: Head) -> Result<u64, RepairError> {
        let mut said = Vec::new();
        for target in self.links.targets() {
            match self.signs(target, head) {
                Ok(()) => return Ok(target),
                Err(why) => said.push(why),
            }
        }
        let why =
            format!("no other node signs the root at size {}: {}", head.size, said.join("; "));
        Err(RepairError::NotProven(why))
    }

    fn signs(&self, target: u64, head: Head) -> Result<(), String> {
        let note = self.runtime.block_on(self.links.head_of(target, head.size));
        let note = note.map_err(|error| error.to_string())?;
        let note = note.ok_or_else(|| format!("node {target} has fewer leaves"))?;
        let signed = SignedCheckpoint::parse(&note);
        let signed = signed.map_err(|error| format!("node {target}: {error}"))?;
        let checkpoint = signed.checkpoint();
        let key = self.log_keys.get(&target);
        let key = key.ok_or_else(|| format!("no register holds a log key of node {target}"))?;
        signed.verify_log([key]).map_err(|error| format!("node {target}: {error}"))?;
        if checkpoint.size != head.size || checkpoint.root != head.root {
            return Err(format!("node {target} has another root at that size"));
        }
        Ok(())
    }
}

/// The members as the saved state has them, or the founders.
fn members(config: &LedgerConfig, genesis: &Genesis) -> io::Result<Vec<MemberRecord>> {
    let saved = load(&config.data_dir)?.filter(|it| *it.state.mesh_id() == config.mesh_id);
    Ok(match saved {
        Some(saved) => saved.state.registers().members().cloned().collect(),
        None => genesis.members.clone(),
    })
}

fn links(
    config: &LedgerConfig,
    epoch: u64,
    runtime: &Runtime,
    identity: Identity,
    trust: TrustStore,
) -> io::Result<Links> {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        mesh_id: config.mesh_id,
        epoch,
        member: config.member.clone(),
        node: Some(config.node_id),
        protocol: tally_net::rules::newest(),
        frame_len_max: u64::try_from(LEDGER_FRAME_LEN_MAX).unwrap_or(u64::MAX),
    };
    let peers = config.raft_peers.iter().map(|(id, at)| (id.0, at.to_string()));
    let mut listen = config.raft_listen;
    listen.set_port(0);
    let _within = runtime.enter();
    Ok(Links::new(endpoint(listen, None)?, identity, trust, hello, peers.collect()))
}
