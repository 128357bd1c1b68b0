//! Continues the ledger from one node's directory after too many other nodes were lost for good: a new
//! epoch, in which this node is the only voter.
//!
//! Invariant: nothing is written that the rules do not accept. All entries are applied again, those
//! that are not known to be committed too, for a quorum may have acknowledged them; then the recovery
//! is, which names their number and their root and bears the approvals of a majority of the members.
//! What is written is one segment, which gets its name once it is whole: whatever happens meanwhile,
//! the directory is as before or in the new epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tally_core::Encoded;
use tally_core::entry::Recovery;
use tally_core::id::NodeId;
use tally_core::ledger::{Proposal, Rejection, Submission, Verdict};
use tally_log::SignedCheckpoint;
use tally_wire::encode;

use crate::applied::Codec;
use crate::config::LedgerConfig;
use crate::disk::{Disk, ReadOnlyDisk, RealDisk};
use crate::frame::{EntryKind, LogId, Vote};
use crate::fsck::{Examined, Fault, Progress, Reach, examine};
use crate::marks::Doubt;
use crate::published::Which;
use crate::raft::{Membership, RaftNode, encode_membership};
use crate::store::{Beginning, OpenError, StoredEntry, begin_epoch};
use crate::tiles::Head;
use crate::trust::owner;

/// What a recovery from a directory would continue from: what officers approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The node.
    pub node: NodeId,
    /// The epoch that would begin.
    pub epoch: u64,
    /// Leaves that are kept, and the root over them.
    pub head: Head,
    /// The last Raft entry. Of two copies the one whose last entry is later, by term and then by index,
    /// has all that the other has.
    pub last: LogId,
    /// Raft entries that are kept although this node does not know whether a quorum has them.
    pub uncommitted: u64,
    /// The other voters, whose copies are to be compared first.
    pub others: Vec<NodeId>,
    /// The largest size of a checkpoint that this node has shown: leaves beyond it were not published
    /// by this node; those of a larger checkpoint that others have are lost.
    pub shown: Option<u64>,
}

/// What became of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// It is in the new epoch.
    Now,
    /// It was already.
    Before,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The directory is not in order.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The directory may have forgotten something.
    #[error("this directory is not trusted, because {0}: see `tally ledger trust`")]
    NotTrusted(Doubt),
    /// There is nothing to continue from.
    #[error("no ledger was founded in this directory")]
    Empty,
    /// It joined after an earlier recovery, and has not its leaf yet.
    #[error("this node has not caught up with epoch {0}: continue from one that has")]
    NotCaughtUp(u64),
    /// It was approved for another node.
    #[error("the recovery was approved for node {named}, and this is node {own}")]
    OtherNode {
        /// The node that continues.
        named: NodeId,
        /// Whose directory this is.
        own: NodeId,
    },
    /// The rules do not accept it here.
    #[error("the recovery does not fit this directory: {0}")]
    Rejected(Rejection),
    /// Whoever was asked said no.
    #[error("nobody confirmed it")]
    Declined,
    /// The system's.
    #[error("the directory can't be read or written: {0}")]
    Io(#[from] io::Error),
}

/// What officers would approve: looks at the directory of a node that does not run, and changes
/// nothing.
///
/// # Errors
/// [`RecoveryError`], if it can't be continued from.
pub fn plan(
    config: &LedgerConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<Plan, RecoveryError> {
    let disk = Arc::new(ReadOnlyDisk::new(log_dir(config)?));
    let examined = look(disk, config, progress)?;
    plan_of(config, &examined)
}

/// Continues the ledger from this directory, if the recovery fits it and `confirm` says yes to what is
/// kept. Once more is as good as once.
///
/// # Errors
/// [`RecoveryError`]: the directory is as it was.
pub fn recover(
    config: &LedgerConfig,
    recovery: &Encoded<Recovery>,
    confirm: &mut dyn FnMut(&Plan) -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, RecoveryError> {
    let disk = Arc::new(RealDisk::new(log_dir(config)?)?);
    let examined = look(disk, config, progress)?;
    let done = examined.state.epochs().recoveries().last();
    if done.is_some_and(|done| done.leaf_hash == recovery.leaf_hash()) {
        return Ok(Recovered::Before);
    }
    let plan = plan_of(config, &examined)?;
    let beginning = begin(config, &plan, &examined, recovery)?;
    if !confirm(&plan) {
        return Err(RecoveryError::Declined);
    }
    begin_epoch(&examined.log, &beginning)?;
    Ok(Recovered::Now)
}

fn log_dir(config: &LedgerConfig) -> io::Result<std::path::PathBuf> {
    let path = config.data_dir.join("log");
    if path.is_dir() { Ok(path) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn look(
    disk: Arc<dyn Disk>,
    config: &LedgerConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<Examined, RecoveryError> {
    let (dir, owner) = (&config.data_dir, owner(config));
    Ok(examine(disk, dir, Some(owner), None, Reach::Whole, progress)?)
}

fn plan_of(config: &LedgerConfig, examined: &Examined) -> Result<Plan, RecoveryError> {
    let Examined { report, state, membership, log } = examined;
    if let Some(doubt) = report.doubt {
        return Err(RecoveryError::NotTrusted(doubt));
    }
    let last = report.last.filter(|_| state.size() > 0).ok_or(RecoveryError::Empty)?;
    if state.epoch() != report.owner.epoch {
        return Err(RecoveryError::NotCaughtUp(report.owner.epoch));
    }
    let committed = log.committed.map_or(0, |id| id.index.saturating_add(1));
    let voters = membership.membership().voter_ids();
    Ok(Plan {
        node: config.node_id,
        epoch: state.epoch().saturating_add(1),
        head: report.head,
        last,
        uncommitted: last.index.saturating_add(1).saturating_sub(committed),
        others: voters.map(NodeId).filter(|id| *id != config.node_id).collect(),
        shown: shown(&config.data_dir.join("tiles")),
    })
}

/// The largest size that this node has shown.
fn shown(tiles: &Path) -> Option<u64> {
    let sizes = [Which::Published, Which::Witnessed].into_iter().filter_map(|which| {
        let note = std::fs::read(tiles.join(which.file_name())).ok()?;
        Some(SignedCheckpoint::parse(&note).ok()?.checkpoint().size)
    });
    sizes.max()
}

/// The frames with which the epoch begins, if the rules accept the recovery here.
fn begin(
    config: &LedgerConfig,
    plan: &Plan,
    examined: &Examined,
    recovery: &Encoded<Recovery>,
) -> Result<Beginning, RecoveryError> {
    let (named, own) = (recovery.value().node, config.node_id);
    if named != own {
        return Err(RecoveryError::OtherNode { named, own });
    }
    let mut state = examined.state.clone();
    // Ledger time goes on with the first entry after: no clock is believed for this one.
    let submissions = vec![Submission::Recovery(recovery.clone())];
    let proposal = Proposal { time: state.time(), submissions };
    match state.apply(&proposal, &Codec).verdicts.into_iter().next() {
        Some(Verdict::Recovered(_)) => {}
        Some(Verdict::Rejected(rejection)) => return Err(RecoveryError::Rejected(rejection)),
        _ => return Err(RecoveryError::Rejected(Rejection::RecoveryOutOfTurn)),
    }
    let voted = examined.log.reader.status().vote.map_or(0, |vote| vote.term);
    let term = voted.max(plan.last.term).saturating_add(1);
    let id =
        |behind: u64| LogId { term, leader: own.0, index: plan.last.index.saturating_add(behind) };
    let entry =
        |log_id, kind, payload: Vec<u8>| StoredEntry { log_id, kind, payload: payload.into() };
    let membership = alone(config, examined)?;
    Ok(Beginning {
        epoch: recovery.value().epoch,
        vote: Vote { term, leader: own.0, committed: true },
        entries: vec![
            entry(id(1), EntryKind::Membership, encode_membership(&membership)),
            entry(id(2), EntryKind::Proposal, encode(&proposal)),
        ],
    })
}

/// This node as the only voter, where the cluster knew it to be.
fn alone(config: &LedgerConfig, examined: &Examined) -> Result<Membership, RecoveryError> {
    let own = config.node_id.0;
    let before = examined.membership.membership();
    let known = before.get_node(&own).and_then(|node| node.address.clone());
    let node = RaftNode { address: config.raft_address.clone().or(known) };
    let membership = Membership::new(vec![BTreeSet::from([own])], BTreeMap::from([(own, node)]));
    membership.map_err(|error| RecoveryError::Io(io::Error::other(error.to_string())))
}

impl From<OpenError> for RecoveryError {
    fn from(error: OpenError) -> Self {
        Self::Fault(error.into())
    }
}
