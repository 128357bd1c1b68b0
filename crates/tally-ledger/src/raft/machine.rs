//! Applying what consensus has decided.
//!
//! Invariant: leaves go to the tiles in their order, and the applied state is saved only as far as
//! log and tiles are durable.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, StoredMembership};
use tally_core::entry::Entry;
use tally_core::ledger::{Applied, LeafValue, Proposal, State};
use tally_core::register::RegisterName;
use tally_log::Hash;
use tally_net::TrustStore;

use super::{Payload, Response, TypeConfig, from_log_id, to_log_id};
use crate::ahead::Ahead;
use crate::applied::{Ledger, Replica};
use crate::frame::LogId;
use crate::metrics::Metrics;
use crate::saved::Saver;
use crate::tiles::{Head, Leaf, TileWriterHandle};

/// What the machine works on and with.
#[derive(Debug, Clone)]
pub struct MachineParts {
    /// The state.
    pub ledger: Ledger,
    /// Who may connect follows the member registers.
    pub trust: TrustStore,
    /// Writes leaves to disk.
    pub tiles: Arc<TileWriterHandle>,
    /// Proposals that need not be decoded.
    pub prepared: Prepared,
    /// Saves the applied state.
    pub saver: Saver,
    /// Where verdicts are counted.
    pub metrics: Metrics,
}

/// openraft's state machine over the ledger.
#[derive(Debug)]
pub struct Machine(MachineParts);

/// What came of a proposal, for its proposer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The verdicts.
    pub applied: Applied,
    /// Leaves on the ledger then.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// Proposals as their proposer had them: nobody decodes what he encoded himself.
#[derive(Debug, Clone, Default)]
pub struct Prepared(Arc<Mutex<VecDeque<Kept>>>);

#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    proposal: Arc<Proposal>,
    ahead: Arc<Ahead>,
}

/// Proposals that are kept at most: as many as can be on their way through consensus, and some.
const PREPARED_MAX: usize = 8;

impl Machine {
    /// Goes on from the ledger's state.
    #[must_use]
    pub const fn new(parts: MachineParts) -> Self {
        Self(parts)
    }

    /// Applies it. The leaves come back beside what came of it: whoever waits is told before they are
    /// written.
    async fn apply_proposal(
        &self,
        log_id: LogId,
        payload: &Payload,
    ) -> io::Result<(Outcome, Vec<Leaf>)> {
        let MachineParts { ledger, trust, .. } = &self.0;
        let Kept { proposal, ahead, .. } = self.0.prepared.take(&payload.bytes)?;
        ahead.end();
        let (applied, (leaves, head)) =
            ledger.apply(log_id, &proposal, &*ahead, |state, applied| {
                let leaves = applied.leaves(&proposal);
                let leaves = Leaf::copies(leaves.inspect(|leaf| follow(trust, state, &leaf.value)));
                (leaves, Head { size: state.size(), root: state.root() })
            });
        // If it halted nothing was applied, and nothing will be: the node sees it and stops. It is no
        // error of this entry, which a start would meet again before anybody could be told why.
        if !ledger.is_halted() {
            self.0.metrics.applied(&proposal, &applied);
        }
        Ok((Outcome { applied, size: head.size, root: head.root }, leaves))
    }
}

/// Trust follows the registers with the leaf that changes them.
fn follow(trust: &TrustStore, state: &State, leaf: &LeafValue<'_>) {
    match leaf {
        LeafValue::Genesis(genesis) => genesis.members.iter().for_each(|it| trust.update(it)),
        LeafValue::Entry(Entry::Register(write)) => {
            if let RegisterName::Member(id) = &write.name
                && let Some(record) = state.registers().member(id)
            {
                trust.update(record);
            }
        }
        _ => {}
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        let Replica { log_id, membership, .. } = self.0.ledger.snapshot();
        Ok((log_id.map(from_log_id), membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let log_id = to_log_id(&entry.log_id);
            let applied = match entry.payload {
                EntryPayload::Blank => {
                    self.0.ledger.advance(log_id, None);
                    None
                }
                EntryPayload::Membership(membership) => {
                    let membership = StoredMembership::new(Some(entry.log_id), membership);
                    self.0.ledger.advance(log_id, Some(membership));
                    None
                }
                EntryPayload::Normal(payload) => Some(self.apply_proposal(log_id, &payload).await?),
            };
            let (outcome, leaves) = applied.unzip();
            let head = outcome.as_ref().map(|it| Head { size: it.size, root: it.root });
            // Who waits for the answer is woken first: writing tiles wakes a thread that would take
            // its turn.
            if let Some(responder) = responder {
                responder.send(Response(outcome.map(Arc::new)));
            }
            let leaves = leaves.unwrap_or_default();
            let count = leaves.len() as u64;
            if let Some(head) = head.filter(|_| count > 0) {
                self.0.tiles.append(leaves, head).await.map_err(io::Error::other)?;
            }
            self.0.saver.applied_one(count);
            // Whoever has many to apply must not keep heartbeats and votes from being answered: they
            // are on this thread.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn install_snapshot(&mut self, _: &SnapshotMetaOf<TypeConfig>, (): ()) -> io::Result<()> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        Ok(None)
    }
}

/// A ledger is never purged, so nobody needs a snapshot.
#[derive(Debug)]
pub struct NoSnapshots;

impl RaftSnapshotBuilder<TypeConfig> for NoSnapshots {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a ledger has no snapshots: it is never purged")
}

impl Prepared {
    /// Keeps a proposal until its bytes are applied, or others come. What is found out about it
    /// meanwhile goes where this says.
    pub(crate) fn put(&self, bytes: Bytes, proposal: Arc<Proposal>) -> Arc<Ahead> {
        let ahead = Arc::default();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PREPARED_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { bytes, proposal, ahead: Arc::clone(&ahead) });
        ahead
    }

    /// The proposal of these very bytes in memory, or one decoded from them.
    fn take(&self, bytes: &Bytes) -> io::Result<Kept> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The bytes that are kept are in use, so that no others can be where they are.
        let same = |it: &Bytes| it.as_ptr() == bytes.as_ptr() && it.len() == bytes.len();
        if let Some(place) = kept.iter().position(|it| same(&it.bytes))
            && let Some(kept) = kept.remove(place)
        {
            return Ok(kept);
        }
        drop(kept);
        let proposal = tally_wire::decode_value::<Proposal>(bytes).map(Arc::new);
        let proposal = proposal.map_err(|error| {
            let why = format!("a committed proposal can't be read by this version: {error}");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        Ok(Kept { bytes: bytes.clone(), proposal, ahead: Arc::default() })
    }
}
