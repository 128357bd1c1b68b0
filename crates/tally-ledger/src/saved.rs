//! The applied state in a file, so that a start need not replay the whole log.
//!
//! Invariant: what the file says was applied is durable in the log and in the tiles. It is replaced
//! whole, and a file that is damaged is as good as none: the log is the truth.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::StoredMembership;
use tally_wire::{decode_state, encode_state};
use tokio::sync::Mutex;

use crate::applied::{Ledger, Replica};
use crate::frame::{Fields, LogId};
use crate::raft::{decode_membership, encode_membership, from_log_id, to_log_id};
use crate::store::{Store, StoreError};
use crate::tiles::{TileWriterHandle, TilesStopped};

/// When the state is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePolicy {
    /// After so many Raft entries. Default 10,000: to apply them again, each with a signature or
    /// more, takes about a second.
    pub entries: u64,
    /// After so many leaves. Default 200,000: again about a second, and three on a machine that is
    /// busy with other things.
    pub leaves: u64,
    /// And after this long, if anything was applied. Default 5 minutes.
    pub wait: Duration,
}

/// Saves the applied state now and then, off the apply path. Clones share the work.
#[derive(Debug, Clone)]
pub struct Saver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    policy: SavePolicy,
    ledger: Ledger,
    tiles: Arc<TileWriterHandle>,
    store: Store,
    unsaved: AtomicU64,
    unsaved_leaves: AtomicU64,
    started: Instant,
    /// Milliseconds after the start at which the state was last saved.
    saved_ms: AtomicU64,
    /// Held while a file is written.
    writing: Arc<Mutex<()>>,
}

/// Why the state was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The log could not be made durable.
    #[error("the log: {0}")]
    Log(#[from] StoreError),
    /// The tiles could not.
    #[error(transparent)]
    Tiles(#[from] TilesStopped),
    /// The file could not be written.
    #[error("the applied state can't be saved: {0}")]
    Io(#[from] io::Error),
}

const MAGIC: [u8; 8] = *b"tallyap1";
const NAME: &str = "applied";
const UNFINISHED: &str = "applied.new";

impl Default for SavePolicy {
    fn default() -> Self {
        Self { entries: 10_000, leaves: 200_000, wait: Duration::from_secs(300) }
    }
}

impl Saver {
    /// Saves what is applied to `ledger` into `directory`.
    #[must_use]
    pub fn new(
        directory: &Path,
        policy: SavePolicy,
        ledger: Ledger,
        tiles: Arc<TileWriterHandle>,
        store: Store,
    ) -> Self {
        Self(Arc::new(Inner {
            path: directory.to_owned(),
            policy,
            ledger,
            tiles,
            store,
            unsaved: AtomicU64::new(0),
            unsaved_leaves: AtomicU64::new(0),
            started: Instant::now(),
            saved_ms: AtomicU64::new(0),
            writing: Arc::new(Mutex::new(())),
        }))
    }

    /// Counts a Raft entry and its leaves, and saves if it is time to. Never waits: if a file is being written, the
    /// next entry asks again.
    pub(crate) fn applied_one(&self, leaves: u64) {
        let unsaved = self.0.unsaved.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let before = self.0.unsaved_leaves.fetch_add(leaves, Ordering::Relaxed);
        let unsaved_leaves = before.saturating_add(leaves);
        let since_ms = self.0.now_ms().saturating_sub(self.0.saved_ms.load(Ordering::Relaxed));
        let due = unsaved >= self.0.policy.entries
            || unsaved_leaves >= self.0.policy.leaves
            || u128::from(since_ms) >= self.0.policy.wait.as_millis();
        if !due {
            return;
        }
        let Ok(place) = Arc::clone(&self.0.writing).try_lock_owned() else { return };
        self.0.restart();
        let saver = self.clone();
        tokio::spawn(async move {
            // A file that can't be written costs time at the next start, and nothing else; a log or
            // tiles that can't be, end the node by themselves.
            drop(saver.0.save().await);
            drop(place);
        });
    }

    /// Saves what is applied now.
    ///
    /// # Errors
    /// [`SaveError`]; the file that was there before is still there.
    pub async fn save(&self) -> Result<(), SaveError> {
        let _place = self.0.writing.lock().await;
        self.0.restart();
        self.0.save().await
    }
}

impl Inner {
    async fn save(&self) -> Result<(), SaveError> {
        let replica = self.ledger.snapshot();
        self.store.flushed().await?;
        self.tiles.sync().await?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || match encode(&replica) {
            Some(bytes) => replace(&path, &bytes),
            None => Ok(()),
        });
        let written = written.await;
        Ok(written.map_err(io::Error::other)??)
    }

    fn restart(&self) {
        self.unsaved.store(0, Ordering::Relaxed);
        self.unsaved_leaves.store(0, Ordering::Relaxed);
        self.saved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What was saved in a directory; none if there is nothing, or nothing that can be used.
///
/// # Errors
/// What the system says.
pub fn load(directory: &Path) -> io::Result<Option<Replica>> {
    match fs::read(directory.join(NAME)) {
        Ok(bytes) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn replace(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

/// None for a state that may not be saved: one before anything was applied, or one that halted.
fn encode(replica: &Replica) -> Option<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    put_id(&mut bytes, replica.log_id?);
    let at = replica.membership.log_id().as_ref().map(to_log_id);
    bytes.push(u8::from(at.is_some()));
    if let Some(at) = at {
        put_id(&mut bytes, at);
    }
    let membership = encode_membership(replica.membership.membership());
    bytes.extend_from_slice(&u32::try_from(membership.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&membership);
    bytes.extend_from_slice(&encode_state(&replica.state)?);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    Some(bytes)
}

fn decode(bytes: &[u8]) -> Option<Replica> {
    let (body, checksum) = bytes.split_last_chunk()?;
    if u32::from_be_bytes(*checksum) != crc32c::crc32c(body) {
        return None;
    }
    let mut fields = Fields(body.strip_prefix(&MAGIC)?);
    let log_id = take_id(&mut fields)?;
    let at = match fields.take()? {
        [0] => None,
        [1] => Some(from_log_id(take_id(&mut fields)?)),
        _ => return None,
    };
    let length = usize::try_from(fields.u32()?).ok()?;
    let (membership, state) = fields.rest().split_at_checked(length)?;
    let membership = StoredMembership::new(at, decode_membership(membership)?);
    let state = decode_state(state).ok()?;
    Some(Replica { state, log_id: Some(log_id), membership })
}

fn put_id(bytes: &mut Vec<u8>, id: LogId) {
    for number in [id.term, id.leader, id.index] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
}

fn take_id(fields: &mut Fields<'_>) -> Option<LogId> {
    Some(LogId { term: fields.u64()?, leader: fields.u64()?, index: fields.u64()? })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tally_core::id::MeshId;
    use tally_core::ledger::State;
    use tally_log::Hash;

    use super::*;
    use crate::raft::{Membership, RaftNode};

    fn replica() -> Replica {
        let nodes: BTreeMap<_, _> = (1..=3).map(|id| (id, RaftNode::default())).collect();
        let membership = Membership::new(vec![BTreeSet::from([1, 2, 3])], nodes).unwrap();
        let id = LogId { term: 0, leader: 0, index: 0 };
        Replica {
            state: State::new(MeshId(Hash::from_bytes([5; 32]))),
            log_id: Some(LogId { term: 4, leader: 2, index: 77 }),
            membership: StoredMembership::new(Some(from_log_id(id)), membership),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_none());
        let saved = replica();
        let bytes = encode(&saved).unwrap();
        replace(dir.path(), &bytes).unwrap();
        let loaded = load(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.state, saved.state);
        assert_eq!(loaded.log_id, saved.log_id);
        assert_eq!(loaded.membership, saved.membership);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(decode(&damaged).is_none(), "{place}");
            assert!(decode(&bytes[..place]).is_none(), "{place}");
        }
    }

    #[test]
    fn a_state_to_which_nothing_was_applied_is_not_saved() {
        assert!(encode(&Replica { log_id: None, ..replica() }).is_none());
    }
}
