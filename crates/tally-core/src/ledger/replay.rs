//! A ledger from its leaves alone, judged again by the rules that it was written by.
//!
//! Invariant: what [`Replay`] takes, a ledger node took that kept to the rules, with the same
//! bytes; a leaf that no such node would have written is named. What left no leaf is not seen: a
//! batch that was rejected has used up its number, so numbers may be missing. A session's start has
//! no time of its own: it is judged by the last seal before it.
//!
//! Feed it leaf by leaf with [`take`](Replay::take), then [`finish`](Replay::finish) it. It keeps
//! the state and one batch, however long the ledger is.

use tally_log::{Hash, root_of};

use super::State;
use super::applied::Verdict;
use super::rejection::Rejection;
use super::submission::{Batch, Surroundings};
use crate::encoded::Encoded;
use crate::entry::{BATCH_ENTRIES_MAX, Entry, Seal};
use crate::id::{LeafIndex, MemberId, MeshId};

/// A ledger that is judged again.
#[derive(Debug, Clone)]
pub struct Replay {
    state: State,
    /// The entries after the last seal, and their leaf hashes.
    entries: Vec<Encoded<Entry>>,
    hashes: Vec<Hash>,
}

/// A batch that was closed by its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The leaf of its first entry.
    pub first_leaf: LeafIndex,
    /// Its entries, 1 to 512.
    pub entries: Vec<Encoded<Entry>>,
    /// Its seal.
    pub seal: Encoded<Seal>,
    /// Whose session it was filed in.
    pub member: MemberId,
}

/// The first leaf that is not as it must be: the fault of whoever wrote or changed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("leaf {leaf}: {why}")]
pub struct BadLeaf {
    /// Which leaf. Of a batch whose entries are at fault, its first.
    pub leaf: LeafIndex,
    /// Why.
    pub why: Misfit,
}

/// Why a leaf does not belong where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The rules reject it, or the batch that begins with it.
    #[error("the rules reject it, {0}: {meaning}", meaning = .0.meaning())]
    Rejected(Rejection),
    /// Another kind of leaf stands where the run of a batch's entries should go on to its seal.
    #[error("the batch that begins here is not closed by a seal")]
    NotSealed,
    /// It is the same as an earlier one.
    #[error("the same leaf stands on the ledger already")]
    StandsAlready,
    /// A seal that closes nothing.
    #[error("a seal stands where no entry came before it")]
    NothingToSeal,
    /// The seal counts other entries than stand before it.
    #[error("the seal after this batch is for {said} entries, not for {there}")]
    OtherCount {
        /// What the seal says.
        said: u16,
        /// Entries that are there.
        there: usize,
    },
    /// The seal's root is not that of the entries before it.
    #[error("the entries from here on are not those that their seal was made for")]
    OtherEntries,
    /// Ledger time went back.
    #[error("ledger time goes back")]
    TimeGoesBack,
    /// The rules would have made another seal.
    #[error("the seal does not name the last register leaf before it, or is not as it must be")]
    OtherSeal,
    /// From here on newer rules hold: a newer program is needed to judge it.
    #[error("from here on rules of version {0} hold, which this program does not know")]
    NewerRules(u64),
}

impl Replay {
    /// Before leaf 0. A mesh's id is the hash of its leaf 0: whoever trusts a ledger knows it from
    /// elsewhere.
    #[must_use]
    pub fn new(mesh_id: MeshId) -> Self {
        Self { state: State::new(mesh_id), entries: Vec::new(), hashes: Vec::new() }
    }

    /// The state after the last seal.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The root of the tree over all leaves so far, whether their batch is closed or not.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.state.edge().clone();
        edge.extend(self.hashes.iter().copied());
        edge.root()
    }

    /// Takes the next leaf, whose RFC 6962 leaf hash is `hash`. Gives the batch if this is its seal.
    ///
    /// # Errors
    /// [`BadLeaf`], after which nothing more can be judged.
    pub fn take(
        &mut self,
        leaf: Encoded<Entry>,
        hash: Hash,
        with: &impl Surroundings,
    ) -> Result<Option<Sealed>, BadLeaf> {
        let (value, bytes) = leaf.into_parts();
        match value {
            Entry::Genesis(genesis) => {
                let genesis = Encoded::new(*genesis, bytes);
                self.take_alone(|state, hashes| state.found(&genesis, with, hashes)).map(|()| None)
            }
            Entry::Recovery(recovery) => {
                let recovery = Encoded::new(*recovery, bytes);
                self.take_alone(|state, hashes| state.recover(&recovery, with, hashes))
                    .map(|()| None)
            }
            Entry::SessionStart(start) => {
                let start = Encoded::new(start, bytes);
                self.take_alone(|state, hashes| state.start_session(&start, with, hashes))
                    .map(|()| None)
            }
            Entry::Seal(seal) => self.take_seal(Encoded::new(seal, bytes), hash, with).map(Some),
            _ if self.entries.len() >= BATCH_ENTRIES_MAX => Err(self.bad_batch(Misfit::NotSealed)),
            entry => {
                self.entries.push(Encoded::new(entry, bytes));
                self.hashes.push(hash);
                Ok(None)
            }
        }
    }

    /// The state after the last leaf.
    ///
    /// # Errors
    /// [`Misfit::NotSealed`] if the ledger ends within a batch: no checkpoint is made there.
    pub fn finish(self) -> Result<State, BadLeaf> {
        if self.entries.is_empty() {
            Ok(self.state)
        } else {
            Err(self.bad_batch(Misfit::NotSealed))
        }
    }

    /// A leaf that stands outside batches.
    fn take_alone(
        &mut self,
        judge: impl FnOnce(&mut State, &mut Vec<Hash>) -> Verdict,
    ) -> Result<(), BadLeaf> {
        if !self.entries.is_empty() {
            return Err(self.bad_batch(Misfit::NotSealed));
        }
        let leaf = self.state.next_leaf();
        let mut new = Vec::new();
        let why = match judge(&mut self.state, &mut new) {
            Verdict::Rejected(rejection) => Misfit::Rejected(rejection),
            Verdict::Halted => Misfit::NewerRules(self.state.halted().unwrap_or_default()),
            _ if !new.is_empty() => return Ok(()),
            // It was answered as something that is there already.
            _ => Misfit::StandsAlready,
        };
        Err(BadLeaf { leaf, why })
    }

    fn take_seal(
        &mut self,
        seal: Encoded<Seal>,
        hash: Hash,
        with: &impl Surroundings,
    ) -> Result<Sealed, BadLeaf> {
        let Seal { session, number, count: said, root, time, .. } = *seal.value();
        let there = self.entries.len();
        let first_leaf = self.state.next_leaf();
        let leaf = LeafIndex(first_leaf.0.saturating_add(there as u64));
        if there == 0 {
            return Err(BadLeaf { leaf, why: Misfit::NothingToSeal });
        }
        if there != usize::from(said) {
            return Err(self.bad_batch(Misfit::OtherCount { said, there }));
        }
        if root_of(&self.hashes) != root {
            return Err(self.bad_batch(Misfit::OtherEntries));
        }
        if time < self.state.time() {
            return Err(BadLeaf { leaf, why: Misfit::TimeGoesBack });
        }
        self.state.time = time;
        let rejected = |rejection| BadLeaf { leaf, why: Misfit::Rejected(rejection) };
        let session = self.state.sessions.open_mut(session);
        let session = session.ok_or_else(|| rejected(Rejection::SessionNotOpen))?;
        if number < session.next {
            return Err(rejected(Rejection::Conflict));
        }
        // Those between were rejected, and left no leaf.
        session.next = number;
        let member = session.member.clone();
        let batch = self.batch(seal.value());
        self.judge(&batch, seal.value(), hash, leaf, with)?;
        self.hashes.clear();
        Ok(Sealed { first_leaf, entries: batch.entries, seal, member })
    }

    /// The batch as its agent submitted it.
    fn batch(&mut self, seal: &Seal) -> Batch {
        let Seal { session, number, lane, algorithm, signature, .. } = seal;
        Batch {
            session: *session,
            number: *number,
            lane: *lane,
            entries: std::mem::take(&mut self.entries),
            algorithm: *algorithm,
            signature: *signature,
        }
    }

    fn judge(
        &mut self,
        batch: &Batch,
        seal: &Seal,
        seal_hash: Hash,
        seal_leaf: LeafIndex,
        with: &impl Surroundings,
    ) -> Result<(), BadLeaf> {
        let first_leaf = self.state.next_leaf();
        let mut new = Vec::new();
        let verdict =
            self.state.judge_next(batch, seal.count, seal.root, &self.hashes, with, &mut new);
        if let Some(session) = self.state.sessions.open_mut(batch.session) {
            // Nobody asks again.
            session.ring.clear();
        }
        let (leaf, why) = match verdict {
            Ok(Verdict::Accepted(_)) if new.last() == Some(&seal_hash) => return Ok(()),
            Ok(Verdict::Accepted(_)) => (seal_leaf, Misfit::OtherSeal),
            Ok(Verdict::Rejected(why)) => (first_leaf, Misfit::Rejected(why)),
            // The batch is known, its signature is in the seal.
            Err(why) => (seal_leaf, Misfit::Rejected(why)),
            Ok(_) => (first_leaf, Misfit::NewerRules(self.state.halted().unwrap_or_default())),
        };
        Err(BadLeaf { leaf, why })
    }

    /// The entries after the last seal are at fault.
    fn bad_batch(&self, why: Misfit) -> BadLeaf {
        BadLeaf { leaf: self.state.next_leaf(), why }
    }
}
