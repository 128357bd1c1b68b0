//! openraft's two traits over the store.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use futures_util::{Stream, TryStreamExt, stream};
use openraft::alias::{LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};

use super::{
    RaftEntry, TypeConfig, from_log_id, from_stored, from_vote, to_log_id, to_stored, to_vote,
};
use crate::store::{Reader, Store, StoreError};

/// The log, as openraft writes it.
#[derive(Debug)]
pub struct LogStorage {
    store: Store,
    purge: Purge,
}

/// The log, as openraft reads it.
#[derive(Debug, Clone)]
pub struct LogReader(Reader);

/// What is done when openraft asks that entries be purged.
#[derive(Debug, Clone, Copy)]
enum Purge {
    /// The ledger keeps everything. A node that is asked has an applied state ahead of its log, or a
    /// configuration that purges: it must not go on.
    Refuse,
    /// A floor is raised, and the frames stay.
    #[cfg(test)]
    RaiseFloor,
}

/// Payload and frame headers that go to a peer, or to be applied, at once.
const READ_BYTES_MAX: usize = 512 << 10;

impl LogStorage {
    /// Over an open store, of which the caller keeps a clone to close it once openraft has stopped.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store, purge: Purge::Refuse }
    }

    /// openraft's own tests purge.
    #[cfg(test)]
    pub(super) const fn that_purges(store: Store) -> Self {
        Self { store, purge: Purge::RaiseFloor }
    }
}

impl LogReader {
    /// Over a log that others write.
    #[cfg(test)]
    pub(crate) const fn over(reader: Reader) -> Self {
        Self(reader)
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<RaftEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        fetch(&self.0, indices(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<RaftEntry>> {
        fetch(&self.0, start..end, READ_BYTES_MAX).await
    }

    /// Reads on as the entries are taken, so that to apply a long log costs little memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let reader = self.0.clone();
        let Range { start, end } = indices(&range);
        let pieces = stream::try_unfold((reader, start), move |(reader, start)| async move {
            let entries = fetch(&reader, start..end, READ_BYTES_MAX).await?;
            let Some(last) = entries.last() else { return Ok(None) };
            let next = last.log_id.index.saturating_add(1);
            Ok::<_, io::Error>(Some((stream::iter(entries.into_iter().map(Ok)), (reader, next))))
        });
        Box::pin(pieces.try_flatten())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        Ok(self.0.status().vote.map(from_vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogStorage {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let status = self.store.reader().status();
        Ok(LogState {
            last_purged_log_id: status.floor.map(from_log_id),
            last_log_id: status.last.map(from_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(self.store.reader())
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> io::Result<()> {
        Ok(self.store.save_vote(to_vote(vote)).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        Ok(self.store.save_committed(committed.as_ref().map(to_log_id)).await?)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<TypeConfig>>> {
        Ok(self.store.reader().status().committed.map(from_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(to_stored).collect();
        Ok(self.store.append(entries, |result| callback.io_completed(result)).await?)
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        Ok(self.store.truncate_after(last.as_ref().map(to_log_id)).await?)
    }

    async fn purge(&mut self, log_id: LogIdOf<TypeConfig>) -> io::Result<()> {
        match self.purge {
            Purge::Refuse => {
                let why = format!("asked to purge up to {log_id}, but a ledger keeps everything");
                Err(io::Error::new(io::ErrorKind::Unsupported, why))
            }
            #[cfg(test)]
            Purge::RaiseFloor => Ok(self.store.raise_floor(to_log_id(&log_id)).await?),
        }
    }
}

async fn fetch(reader: &Reader, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<RaftEntry>> {
    let entries = reader.fetch(range, bytes_max).await?;
    let entries = entries.into_iter().map(|entry| {
        let log_id = entry.log_id;
        let bad = || format!("entry {log_id} holds no membership that this version knows");
        from_stored(entry).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, bad()))
    });
    entries.collect()
}

fn indices(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => error,
            StoreError::Damaged { .. } => Self::new(io::ErrorKind::InvalidData, error),
            _ => Self::other(error),
        }
    }
}
