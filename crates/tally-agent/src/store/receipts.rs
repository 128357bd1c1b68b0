//! Receipts, at both sides, with the openings that they make readable.

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::id::{ExchangeId, LeafIndex};
use tally_core::opening::Opening;
use tally_log::Hash;
use tally_wire::encode;

use super::openings::{self, StoreOpening};
use super::schema::{leaf, number};
use super::thread::Desk;
use super::{Store, StoreError};

/// The proof of a provider's half, and what makes it readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Of which exchange.
    pub exchange: ExchangeId,
    /// Where the half is.
    pub leaf: LeafIndex,
    /// The receipt's bytes.
    pub receipt: Vec<u8>,
    /// What the half commits to.
    pub commitment: Hash,
    /// The opening. None where it stays with the provider, or parts of it were destroyed since.
    pub opening: Option<Encoded<Opening>>,
    /// The year after which the keys of its people may be destroyed.
    pub retention_year: u16,
}

impl Store {
    /// Keeps a receipt. An opening that is not there yet counts as received from another member.
    ///
    /// # Errors
    /// [`StoreError::OtherOpening`] if the opening is not what the commitment says; otherwise it is
    /// not durable.
    pub async fn keep_receipt(&self, received: Received) -> Result<(), StoreError> {
        self.write_on(move |desk| keep(desk, received)).await
    }

    /// The receipt of an exchange; the last one, where a requester has named the exchange twice.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn received(&self, exchange: ExchangeId) -> Result<Option<Received>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT leaf FROM receipts WHERE exchange = ?1 ORDER BY leaf DESC LIMIT 1";
            let last = desk.find(sql, [exchange.0], |row| Ok(leaf(row.get(0)?)))?;
            let lost =
                "SELECT leaf FROM lost_receipts WHERE exchange = ?1 ORDER BY id DESC LIMIT 1";
            match last {
                Some(last) => find(desk, "receipts", last),
                // Of a leaf that a recovery gave up: it still shows what the ledger had acknowledged.
                None => match desk.find(lost, [exchange.0], |row| Ok(leaf(row.get(0)?)))? {
                    Some(last) => find(desk, "lost_receipts", last),
                    None => Ok(None),
                },
            }
        })
        .await
    }
}

/// Keeps a receipt, and the opening if it is there.
pub(super) fn keep(desk: &Desk<'_>, received: Received) -> Result<(), StoreError> {
    let Received { exchange, leaf, receipt, commitment, opening, retention_year } = received;
    if let Some(opening) = opening {
        let opening = StoreOpening { commitment, opening, retention_year, known: BTreeMap::new() };
        openings::insert(desk, &opening, true)?;
    }
    openings::link(desk, &commitment, leaf)?;
    let sql = "INSERT INTO receipts (leaf, exchange, receipt, commitment) \
               VALUES (?1, ?2, ?3, ?4) ON CONFLICT (leaf) DO NOTHING";
    let values = (number(leaf.0), exchange.0, receipt, commitment.as_bytes());
    desk.change(sql, values).map(drop)
}

fn find(desk: &Desk<'_>, table: &str, at: LeafIndex) -> Result<Option<Received>, StoreError> {
    let sql = format!(
        "SELECT exchange, receipt, commitment FROM {table} WHERE leaf = ?1 ORDER BY rowid DESC"
    );
    let found = desk.find(&sql, [number(at.0)], |row| {
        let (exchange, receipt) = (ExchangeId(row.get(0)?), row.get(1)?);
        Ok((exchange, receipt, Hash::from_bytes(row.get(2)?)))
    })?;
    let Some((exchange, receipt, commitment)) = found else { return Ok(None) };
    let kept = openings::kept(desk, &commitment)?;
    let retention_year = kept.as_ref().map_or(0, |kept| kept.retention_year);
    let whole = kept.filter(|kept| kept.destroyed == 0).map(|kept| {
        let bytes = encode(&kept.opening);
        Encoded::new(kept.opening, bytes)
    });
    // Only the very bytes that the ledger has a commitment to are the opening.
    let mesh_id = &desk.home.mesh_id;
    let opening =
        whole.filter(|it| tally_core::opening::commitment(mesh_id, it.bytes()) == commitment);
    Ok(Some(Received { exchange, leaf: at, receipt, commitment, opening, retention_year }))
}
