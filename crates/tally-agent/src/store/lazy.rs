//! Updates that nobody waits for: they ride along with the next transaction, or get one of their
//! own after a moment. A crash before it costs a close, or a half, that says less than is true.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::id::ExchangeId;
use tally_log::Hash;

use super::StoreError;
use super::schema::number;
use super::streams::NotedMark;
use super::thread::Desk;

/// Updates that are kept in memory at most, before they get a transaction of their own.
const LAZY_MAX: usize = 1024;

/// What is to be written sometime. The same thing said twice is said once.
#[derive(Default)]
pub(super) struct Lazy {
    /// Openings about which all is said.
    finished: BTreeSet<Hash>,
    /// Bytes that are known to have left.
    left: BTreeMap<Hash, u64>,
    /// Bytes that are known to have arrived.
    arrived: BTreeMap<ExchangeId, u64>,
    /// How far digests of contents have come.
    marked: Vec<NotedMark>,
}

impl Lazy {
    pub(super) fn finish(&mut self, commitment: Hash) {
        self.left.remove(&commitment);
        self.finished.insert(commitment);
    }

    pub(super) fn left(&mut self, commitment: Hash, bytes: u64) {
        self.left.insert(commitment, bytes);
    }

    pub(super) fn arrived(&mut self, exchange: ExchangeId, bytes: u64) {
        self.arrived.insert(exchange, bytes);
    }

    pub(super) fn marked(&mut self, mark: NotedMark) {
        self.marked.push(mark);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= LAZY_MAX
    }

    fn len(&self) -> usize {
        self.finished.len() + self.left.len() + self.arrived.len() + self.marked.len()
    }

    /// Writes all of it.
    pub(super) fn write(&self, desk: &Desk<'_>) -> Result<(), StoreError> {
        for (commitment, bytes) in &self.left {
            desk.change(
                "UPDATE openings SET bytes = ?2 WHERE commitment = ?1 AND bytes < ?2",
                (commitment.as_bytes(), number(*bytes)),
            )?;
        }
        for (exchange, bytes) in &self.arrived {
            desk.change(
                "UPDATE intents SET bytes = ?2 WHERE exchange = ?1 AND bytes < ?2",
                (exchange.0, number(*bytes)),
            )?;
        }
        self.marked.iter().try_for_each(|mark| mark.write(desk))?;
        self.finished.iter().try_for_each(|commitment| super::openings::finish(desk, commitment))
    }
}
