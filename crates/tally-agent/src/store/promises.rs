//! Promises that came in place of receipts, and the own halves until the promised ones are on the ledger.
//!
//! Invariant: a promise is durable before anything of its record is handed on, and is owed until a half
//! that it is kept by is on the ledger, with its receipt.

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::{ExchangeId, LeafIndex, MemberId};
use tally_core::opening::Opening;
use tally_core::time::Timestamp;
use tally_log::Hash;

use super::openings::StoreOpening;
use super::receipts::{self, Received};
use super::schema::{leaf, number};
use super::thread::Desk;
use super::{Store, StoreError, intents, mirror, openings, outbox};

/// Promises of one answer at most.
const LISTED_MAX: u32 = 4096;

/// A promise that came in place of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPromise {
    /// What its half commits to.
    pub commitment: Hash,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who promised.
    pub provider: MemberId,
    /// When, by its clock.
    pub at: Timestamp,
    /// The promise's bytes.
    pub promise: Vec<u8>,
    /// What the half commits to, readable.
    pub opening: Encoded<Opening>,
    /// The year after which the keys of its people may be destroyed.
    pub retention_year: u16,
}

/// A promise, and what came onto the ledger of its exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The exchange.
    pub exchange: ExchangeId,
    /// The promise's bytes.
    pub promise: Vec<u8>,
    /// Where a half of the exchange is.
    pub leaf: LeafIndex,
    /// Its bytes.
    pub entry: Vec<u8>,
}

impl Store {
    /// Keeps a promise and the opening that it makes readable.
    ///
    /// # Errors
    /// [`StoreError`] if they are not durable: then nothing may be handed on.
    pub async fn keep_promise(&self, kept: KeptPromise) -> Result<(), StoreError> {
        self.write(move |desk| {
            let KeptPromise { commitment, exchange, provider, at, promise, opening, .. } = kept;
            let opening =
                StoreOpening { commitment, opening, retention_year: kept.retention_year, known: BTreeMap::new() };
            openings::insert(desk, &opening, true)?;
            let values = (
                commitment.as_bytes(),
                exchange.0,
                number(at.0),
                provider.as_str(),
                desk.home.member.as_str().to_owned(),
                promise,
            );
            let sql = "INSERT INTO emergencies (side, commitment, exchange, at, provider, requester, \
                       promise) VALUES (2, ?1, ?2, ?3, ?4, ?5, ?6) \
                       ON CONFLICT (side, commitment) DO NOTHING";
            desk.change(sql, values).map(drop)
        })
        .await
    }

    /// Keeps the own half until the promised one is on the ledger, and forgets the intent.
    ///
    /// # Errors
    /// [`StoreError`] if neither is durable.
    pub async fn owe_late(&self, exchange: ExchangeId, half: Draft) -> Result<(), StoreError> {
        self.write(move |desk| {
            intents::forget(desk, exchange)?;
            let sql = "SELECT leaf FROM emergencies WHERE side = 2 AND exchange = ?1";
            let at = desk.find(sql, [exchange.0], |row| row.get::<_, Option<i64>>(0))?.flatten();
            match at.map(leaf) {
                Some(at) => answer(desk, exchange, half, at),
                None => {
                    let half = tally_wire::encode_entry(half.entry());
                    let sql = "UPDATE emergencies SET half = ?2 WHERE side = 2 AND exchange = ?1";
                    desk.change(sql, (exchange.0, half)).map(drop)
                }
            }
        })
        .await
    }

    /// The promises that an earlier life was given and did not come to the end of, with their exchanges.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn unfinished_promises(&self) -> Result<Vec<(ExchangeId, Vec<u8>)>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT exchange, promise FROM emergencies \
                       WHERE side = 2 AND half IS NULL AND over = 0";
            desk.list(sql, [], |row| Ok((ExchangeId(row.get(0)?), row.get(1)?)))
        })
        .await
    }

    /// The promises that are owed still, each with a half of its exchange that the mirror has.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn awaited(&self) -> Result<Vec<Awaited>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT e.exchange, e.promise, m.leaf, m.entry FROM emergencies AS e \
                       JOIN mirror AS m ON m.exchange = e.exchange AND m.role = ?1 \
                       WHERE e.side = 2 AND e.leaf IS NULL ORDER BY m.leaf LIMIT ?2";
            desk.list(sql, (mirror::PEER_HALF, LISTED_MAX), |row| {
                Ok(Awaited {
                    exchange: ExchangeId(row.get(0)?),
                    promise: row.get(1)?,
                    leaf: leaf(row.get(2)?),
                    entry: row.get(3)?,
                })
            })
        })
        .await
    }

    /// The promised half is on the ledger, and this is its receipt. The own half may be filed.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn promise_kept(&self, received: Received) -> Result<(), StoreError> {
        self.write(move |desk| {
            let (exchange, at) = (received.exchange, received.leaf);
            receipts::keep(desk, received)?;
            let sql = "UPDATE emergencies SET leaf = ?2 WHERE side = 2 AND exchange = ?1";
            desk.change(sql, (exchange.0, number(at.0)))?;
            let sql = "SELECT half FROM emergencies WHERE side = 2 AND exchange = ?1";
            let half = desk.find(sql, [exchange.0], |row| row.get::<_, Option<Vec<u8>>>(0))?;
            let Some(half) = half.flatten() else { return Ok(()) };
            let half = tally_wire::decode_entry(&half);
            let half = half.map_err(|_| StoreError::Unreadable("emergencies"))?.into_parts().0;
            answer(desk, exchange, Draft::stored(half), at)
        })
        .await
    }

    /// Whether any promise is owed still.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn owes_promises(&self) -> Result<bool, StoreError> {
        self.read(|desk| {
            let sql = "SELECT 1 FROM emergencies WHERE leaf IS NULL AND side = 2";
            Ok(desk.find(sql, [], |_| Ok(()))?.is_some())
        })
        .await
    }

    /// Whether a receipt of this exchange is owed still.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn is_promised(&self, exchange: ExchangeId) -> Result<bool, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT 1 FROM emergencies WHERE side = 2 AND exchange = ?1 AND leaf IS NULL";
            Ok(desk.find(sql, [exchange.0], |_| Ok(()))?.is_some())
        })
        .await
    }
}

/// The exchanges of which a promise has come and the own half is not owed yet.
pub(super) fn promised(desk: &Desk<'_>) -> Result<Vec<ExchangeId>, StoreError> {
    let sql = "SELECT exchange FROM emergencies WHERE side = 2 AND over = 0";
    desk.list(sql, [], |row| Ok(ExchangeId(row.get(0)?)))
}

/// Puts the own half into the outbox, with the leaf that it answers.
fn answer(
    desk: &mut Desk<'_>,
    exchange: ExchangeId,
    half: Draft,
    at: LeafIndex,
) -> Result<(), StoreError> {
    let half = half.answering(at);
    outbox::put(desk, &OwedId::RequesterHalf(exchange), &half, Timestamp(0))?;
    let sql = "UPDATE emergencies SET over = 1 WHERE side = 2 AND exchange = ?1";
    desk.change(sql, [exchange.0]).map(drop)
}
