//! A result about nobody that is larger than memory: its beginning is read before the decision, the rest
//! while it leaves. The server waits when the requester does.
//!
//! Invariants:
//!
//! * Both are one query, in one snapshot: what leaves is never a mixture.
//! * Whoever drops the result before its end has the query cancelled at the server.
//! * A result that breaks off is an error, never an end.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use tally_core::id::SourceId;
use tally_core::opening::CHUNK_LEN;
use tally_core::policy::Permit;
use tally_core::record::Item;
use tally_core::refusal::Refusal;
use tally_record::csv::{CsvLimits, Projection, Row};

use super::copying::Copying;
use super::unread_of;
use crate::source::stream::refusal_of;
use crate::source::table::released;

/// A result that has begun.
pub struct QueryResult {
    pub(super) source: SourceId,
    pub(super) items: [Item; 1],
    /// What was read of it, with the names of its columns.
    pub(super) head: Vec<u8>,
    /// Taken by whoever releases it.
    pub(super) rest: Arc<Mutex<Option<Copying>>>,
}

/// What of a result leaves, in pieces of [`CHUNK_LEN`]; the last one may be shorter. After an error there
/// is nothing more.
pub struct ResultChunks {
    source: SourceId,
    projection: Projection,
    /// What may leave, and has not yet.
    out: Vec<u8>,
    rest: Rest,
}

enum Rest {
    /// Nobody has begun to read on.
    Waiting(Arc<Mutex<Option<Copying>>>),
    Reading(Box<Copying>),
    Read,
}

impl QueryResult {
    /// What the policy decides about.
    pub(in crate::source) const fn items(&self) -> &[Item] {
        &self.items
    }

    /// The media type of what leaves.
    #[must_use]
    pub const fn media_type(&self) -> &'static str {
        "text/csv"
    }

    /// Begins with what a permit lets go: a result whose columns are wrong is refused before anything is
    /// recorded.
    ///
    /// # Errors
    /// `type-not-in-agreement` where no column may leave; `source-malformed`.
    pub fn open(&self, permit: &Permit) -> Result<ResultChunks, Refusal> {
        let released = released(permit.fields())?;
        let mut chunks = ResultChunks {
            source: self.source.clone(),
            projection: Projection::new(released, None, CsvLimits::default()),
            out: Vec::new(),
            rest: Rest::Waiting(Arc::clone(&self.rest)),
        };
        chunks.project(Some(&self.head))?;
        Ok(chunks)
    }
}

impl ResultChunks {
    /// The next piece; none at the end. Waits for the server.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, Refusal>> {
        while self.out.len() < CHUNK_LEN {
            match self.read_on().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(refusal) => {
                    // Nobody may take what came so far for all.
                    (self.rest, self.out) = (Rest::Read, Vec::new());
                    return Some(Err(refusal));
                }
            }
        }
        let later = self.out.split_off(self.out.len().min(CHUNK_LEN));
        let chunk = std::mem::replace(&mut self.out, later);
        (!chunk.is_empty()).then_some(Ok(chunk))
    }

    /// Takes what the server gives next; false if that was all.
    async fn read_on(&mut self) -> Result<bool, Refusal> {
        if let Rest::Waiting(rest) = &self.rest {
            let rest = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.rest = Rest::Reading(Box::new(rest.ok_or(Refusal::SourceChanged)?));
        }
        let Rest::Reading(copying) = &mut self.rest else { return Ok(false) };
        match copying.next().await {
            Some(Ok(piece)) => self.project(Some(&piece))?,
            Some(Err(why)) => return Err(unread_of(&self.source, &why).refusal),
            None => {
                self.project(None)?;
                self.rest = Rest::Read;
            }
        }
        Ok(true)
    }

    fn project(&mut self, piece: Option<&[u8]>) -> Result<(), Refusal> {
        let Self { projection, out, .. } = self;
        let mut each = |row: &Row<'_>| row.write(out);
        let done = match piece {
            Some(piece) => projection.push(piece, &mut each),
            None => projection.finish(&mut each),
        };
        done.map_err(|error| refusal_of(&error))
    }
}

impl fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryResult").field("source", &self.source).finish_non_exhaustive()
    }
}

impl fmt::Debug for ResultChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultChunks").field("source", &self.source).finish_non_exhaustive()
    }
}
