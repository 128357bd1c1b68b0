//! Applies the log again, and compares what comes of it with what was saved, written and published.

use std::fs;
use std::path::{Path, PathBuf};

use openraft::StoredMembership;
use openraft::alias::StoredMembershipOf;
use tally_core::id::LeafIndex;
use tally_core::ledger::{Proposal, State};
use tally_log::SignedCheckpoint;
use tally_wire::decode_value;

use super::tiles::TileCheck;
use super::{Fault, Progress, empty_head};
use crate::applied::{Codec, Replica};
use crate::frame::{EntryKind, LogId};
use crate::published::{epoch_of, last_of};
use crate::raft::{TypeConfig, decode_membership, from_log_id};
use crate::segment::Owner;
use crate::store::{Reader, StoredEntry};
use crate::tiles::Head;

/// A log that is applied again.
pub(super) struct Replay<'a> {
    dir: &'a Path,
    state: State,
    membership: StoredMembershipOf<TypeConfig>,
    saved: Option<&'a Replica>,
    tiles: Option<TileCheck>,
    /// Heads that the tree must have had, each with the file that says so.
    known: Vec<Known>,
    checkpoint: Option<Head>,
}

/// A head that somebody signed.
struct Known {
    head: Head,
    path: PathBuf,
    /// The epoch that it was signed in; none if it is whichever has the size.
    epoch: Option<u64>,
}

/// What a replay came to.
pub(super) struct Finished {
    /// The head that all came to.
    pub(super) head: Head,
    /// The one that saved state and tiles were compared at.
    pub(super) compared: Option<Head>,
    /// The one that was published, if it was reached.
    pub(super) checkpoint: Option<Head>,
    pub(super) state: State,
    /// The last set of nodes.
    pub(super) membership: StoredMembershipOf<TypeConfig>,
}

/// Bytes of entries that are read at once.
const READ_BYTES_MAX: usize = 1 << 20;

impl<'a> Replay<'a> {
    pub(super) fn new(
        dir: &'a Path,
        owner: &Owner,
        saved: Option<&'a Replica>,
        known: Option<Head>,
    ) -> Self {
        let published = dir.join("tiles").join("checkpoint");
        let note = fs::read(&published).ok();
        let note = note.and_then(|bytes| SignedCheckpoint::parse(&bytes).ok());
        let said = note.map(|note| {
            let checkpoint = note.checkpoint();
            let head = Head { size: checkpoint.size, root: checkpoint.root };
            (head, epoch_of(&checkpoint.origin))
        });
        let checkpoint = said.map(|(head, _)| head);
        let own = said.map(|(head, epoch)| Known { head, path: published, epoch });
        let earlier = (0..owner.epoch).filter_map(|epoch| {
            let note = last_of(&dir.join("tiles"), epoch).ok().flatten()?;
            let note = SignedCheckpoint::parse(&note).ok()?;
            let head = Head { size: note.checkpoint().size, root: note.checkpoint().root };
            let path = PathBuf::from(format!("the last checkpoint of epoch {epoch}"));
            Some(Known { head, path, epoch: Some(epoch) })
        });
        let own = own.into_iter().chain(earlier);
        let path = PathBuf::from("the peers' checkpoint");
        let others = known.map(|head| Known { head, path, epoch: None });
        Self {
            dir,
            state: State::new(owner.mesh_id),
            membership: StoredMembershipOf::<TypeConfig>::default(),
            saved,
            tiles: saved.map(|saved| TileCheck::new(&dir.join("tiles"), &saved.state)),
            known: own.chain(others).collect(),
            checkpoint,
        }
    }

    /// Applies everything up to `end`.
    pub(super) fn run(
        &mut self,
        reader: &Reader,
        end: Option<LogId>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Fault> {
        let of = end.map_or(0, |end| end.index.saturating_add(1));
        let mut next = 0;
        while next < of {
            let entries = reader.read(next..of, READ_BYTES_MAX)?;
            if entries.is_empty() {
                return Err(self.fault(reader, next, "is not there"));
            }
            for entry in &entries {
                next = entry.log_id.index.saturating_add(1);
                self.apply(reader, entry)?;
            }
            progress(Progress::Entries { done: next, of });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Finished, Fault> {
        let compared = self.tiles.map(TileCheck::finish).transpose()?;
        let head = match self.state.size() {
            0 => empty_head(),
            size => Head { size, root: self.state.root() },
        };
        let checkpoint = self.checkpoint.filter(|it| it.size <= head.size);
        let Self { state, membership, .. } = self;
        Ok(Finished { head, compared, checkpoint, state, membership })
    }

    fn apply(&mut self, reader: &Reader, entry: &StoredEntry) -> Result<(), Fault> {
        let index = entry.log_id.index;
        match entry.kind {
            EntryKind::Blank => {}
            EntryKind::Membership => {
                let membership = decode_membership(&entry.payload);
                let bad = || self.fault(reader, index, "holds no membership");
                let membership = membership.ok_or_else(bad)?;
                let at = Some(from_log_id(entry.log_id));
                self.membership = StoredMembership::new(at, membership);
            }
            EntryKind::Proposal => self.propose(reader, entry)?,
        }
        match self.saved {
            Some(saved) if saved.log_id == Some(entry.log_id) => self.compare(saved),
            Some(saved) if saved.log_id.is_some_and(|id| id.index == index) => {
                Err(self.state_fault("it has another entry there"))
            }
            _ => Ok(()),
        }
    }

    fn propose(&mut self, reader: &Reader, entry: &StoredEntry) -> Result<(), Fault> {
        let index = entry.log_id.index;
        let proposal = decode_value::<Proposal>(&entry.payload);
        let proposal = proposal
            .map_err(|why| self.fault(reader, index, &format!("holds no proposal: {why}")))?;
        let applied = self.state.apply(&proposal, &Codec);
        if let Some(version) = self.state.halted() {
            let why = format!("needs version {version} of the rules, which this one does not know");
            return Err(self.fault(reader, index, &why));
        }
        if let Some(tiles) = &mut self.tiles {
            for leaf in applied.leaves(&proposal) {
                let register = leaf.value.is_for_followers();
                tiles.take(LeafIndex(leaf.index.0), leaf.hash, leaf.bytes, register)?;
            }
        }
        let size = self.state.size();
        // A checkpoint is of the state after some Raft entry. One of an epoch that ended before that
        // size speaks of leaves that the recovery gave up.
        let wrong = self.known.iter().find(|Known { head, epoch, .. }| {
            let same_epoch = epoch.is_none_or(|epoch| epoch == self.state.epoch());
            head.size == size && size > 0 && same_epoch && head.root != self.state.root()
        });
        match wrong {
            Some(Known { path, .. }) => Err(Fault::Checkpoint { path: path.clone(), size }),
            None => Ok(()),
        }
    }

    fn compare(&self, saved: &Replica) -> Result<(), Fault> {
        if saved.state != self.state {
            return Err(self.state_fault("the state"));
        }
        if saved.membership != self.membership {
            return Err(self.state_fault("the set of nodes"));
        }
        Ok(())
    }

    fn state_fault(&self, what: &'static str) -> Fault {
        Fault::State { path: self.dir.join("applied"), what }
    }

    fn fault(&self, reader: &Reader, index: u64, why: &str) -> Fault {
        let (segment, offset) = reader.place_of(index).unwrap_or_default();
        Fault::Entry { segment, offset, index, why: why.to_owned() }
    }
}
