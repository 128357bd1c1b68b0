//! What is kept of streams: at the requester the providers' signed ends, at the provider of what each
//! was and how far the digests of the contents have come, so that it can be resumed.
//!
//! Invariant: nothing here is about a person: only datasets about nobody are streamed.

use std::time::Duration;

use rusqlite::Connection;
use tally_core::dataset::ContentMark;
use tally_core::id::{ExchangeId, MemberId, SourceId};
use tally_core::time::Timestamp;
use tally_log::Hash;

use super::schema::{number, unsigned};
use super::thread::Desk;
use super::{Store, StoreError};

/// What is resumed later than this begins anew.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of a hash.
const HASH_LEN: usize = 32;

/// A stream that began: of what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Who asked.
    pub requester: MemberId,
    /// In which exchange.
    pub exchange: ExchangeId,
    /// Of which source.
    pub source: SourceId,
    /// Which version of what of it.
    pub etag: String,
}

/// How far the digest of a content has come, on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotedMark {
    pub(super) etag: String,
    pub(super) mark: ContentMark,
    pub(super) at: Timestamp,
}

/// Makes the tables of a store that has none of them yet.
pub(super) fn make(db: &Connection) -> Result<(), StoreError> {
    Ok(db.execute_batch(TABLES)?)
}

impl Store {
    /// Keeps the signed end of a stream, beside the half with this commitment.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn keep_stream_end(&self, commitment: Hash, end: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |desk| {
            let sql = "INSERT INTO stream_ends (commitment, end) VALUES (?1, ?2) \
                       ON CONFLICT (commitment) DO NOTHING";
            desk.change(sql, (commitment.as_bytes(), end)).map(drop)
        })
        .await
    }

    /// The signed end of the stream under the half with this commitment; none of what was no stream, or
    /// came to no end.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn stream_end(&self, commitment: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT end FROM stream_ends WHERE commitment = ?1";
            desk.find(sql, [commitment.as_bytes()], |row| row.get(0))
        })
        .await
    }

    /// A stream begins: kept for 30 days.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn begin(&self, begun: Begun, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |desk| {
            let before = number(now.before(KEPT).0);
            desk.change("DELETE FROM streams WHERE at < ?1", [before])?;
            desk.change("DELETE FROM content_marks WHERE at < ?1", [before])?;
            let Begun { requester, exchange, source, etag } = begun;
            let sql = "INSERT INTO streams (requester, exchange, source, etag, at) \
                       VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (requester, exchange) DO NOTHING";
            let values = (requester.as_str(), exchange.0, source.as_str(), etag, number(now.0));
            desk.change(sql, values).map(drop)
        })
        .await
    }

    /// Of what the stream was that this requester had under this name; none if there was none.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn begun(
        &self,
        requester: MemberId,
        exchange: ExchangeId,
    ) -> Result<Option<Begun>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT source, etag FROM streams WHERE requester = ?1 AND exchange = ?2";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
            let found = desk.find(sql, (requester.as_str(), exchange.0), read)?;
            Ok(found.and_then(|(source, etag)| {
                let source = source.parse().ok()?;
                Some(Begun { requester, exchange, source, etag })
            }))
        })
        .await
    }

    /// Says sometime soon how far the digest of a version's content has come. Nobody waits for it.
    pub fn note_content_mark(&self, etag: &str, mark: ContentMark, at: Timestamp) {
        let noted = NotedMark { etag: etag.to_owned(), mark, at };
        self.shared.writer.note(|lazy| lazy.marked(noted));
    }

    /// The last mark of a version's content that does not lie beyond this byte.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn content_mark(
        &self,
        etag: String,
        first: u64,
    ) -> Result<Option<ContentMark>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT bytes, hashes FROM content_marks WHERE etag = ?1 AND bytes <= ?2 \
                       ORDER BY bytes DESC LIMIT 1";
            let read = |row: &rusqlite::Row<'_>| Ok((unsigned(row.get(0)?), row.get(1)?));
            let found: Option<(u64, Vec<u8>)> = desk.find(sql, (etag, number(first)), read)?;
            Ok(found.and_then(|(bytes, hashes)| {
                let hashes = hashes.chunks(HASH_LEN).map(|it| it.try_into().map(Hash::from_bytes));
                ContentMark::from_parts(bytes, hashes.collect::<Result<_, _>>().ok()?)
            }))
        })
        .await
    }
}

impl NotedMark {
    pub(super) fn write(&self, desk: &Desk<'_>) -> Result<(), StoreError> {
        let hashes = self.mark.hashes().iter().flat_map(|it| *it.as_bytes()).collect::<Vec<u8>>();
        let sql = "INSERT INTO content_marks (etag, bytes, hashes, at) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (etag, bytes) DO NOTHING";
        let values = (&self.etag, number(self.mark.bytes()), hashes, number(self.at.0));
        desk.change(sql, values).map(drop)
    }
}

const TABLES: &str = "
    -- What providers' agents have signed at the ends of streams that came whole.
    CREATE TABLE IF NOT EXISTS stream_ends (
        commitment BLOB PRIMARY KEY,
        end BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Streams that began here, of what they were.
    CREATE TABLE IF NOT EXISTS streams (
        requester TEXT NOT NULL,
        exchange BLOB NOT NULL,
        source TEXT NOT NULL,
        etag TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (requester, exchange)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS streams_by_time ON streams (at);

    -- How far the digests of contents have come: the edge of each tree.
    CREATE TABLE IF NOT EXISTS content_marks (
        etag TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        hashes BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (etag, bytes)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS content_marks_by_time ON content_marks (at);
";
