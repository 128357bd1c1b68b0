//! Emergencies: releases before the ledger had their entry. At the provider the half that is owed, and
//! how its release ended; what the requester keeps stands in `promises`, in the same table.
//!
//! Invariant: of an exchange one provider's half comes onto the ledger, and one only. What was submitted
//! before the ledger fell silent may be there in the end: until that is known the half that is owed is
//! held back, and if it is there, it is that one, and a close says that it was late.

use std::collections::BTreeMap;

use rusqlite::Row;
use tally_core::entry::{Close, Entry, How};
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::{ExchangeId, LeafIndex, MemberId, Salt16};
use tally_core::register::{RegisterName, RegisterRef};
use tally_core::time::Timestamp;
use tally_log::Hash;

use super::alerts::Way;
use super::schema::{leaf, number, unsigned};
use super::thread::Desk;
use super::{Store, StoreError, consents, openings, outbox};

/// Emergencies of one answer at most.
const LISTED_MAX: u32 = 4096;

/// Whose emergency it is, seen from this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmergencySide {
    /// It released.
    Provider,
    /// It asked.
    Requester,
}

/// An emergency that somebody is to hear of: that its alert is not given, or its entry is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// Whose it is.
    pub side: EmergencySide,
    /// What its half commits to.
    pub commitment: Hash,
    /// The exchange.
    pub exchange: ExchangeId,
    /// When it was promised, by the provider's clock.
    pub at: Timestamp,
    /// Who released.
    pub provider: MemberId,
    /// Who asked.
    pub requester: MemberId,
    /// Whether the alert is in the file.
    pub filed: bool,
    /// Whether the webhook has it.
    pub sent: bool,
}

/// A half that is owed: made durable before a byte of its record leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateHalf {
    /// What it commits to.
    pub commitment: Hash,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who asked.
    pub requester: MemberId,
    /// When it was promised.
    pub at: Timestamp,
    /// The half.
    pub half: Draft,
    /// The versions of the own consent registers that its decision has heard of.
    pub heard: BTreeMap<u8, u64>,
}

impl Store {
    /// Makes durable that a half is owed, marked late. It is held back until
    /// [`late_fate`](Self::late_fate) has said what became of the submission before it. False if somebody
    /// has said meanwhile what may narrow a register that it rests on: then nothing is owed, and nothing
    /// may leave. The ledger would have called its permit stale, but can't have heard of it.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable: then nothing may leave.
    pub async fn file_late(&self, late: LateHalf) -> Result<bool, StoreError> {
        self.write(move |desk| {
            if consents::narrowed_since(desk, &consents_of(desk, &late.half), &late.heard)? {
                return Ok(false);
            }
            let LateHalf { commitment, exchange, requester, at, half, .. } = late;
            let values = (
                commitment.as_bytes(),
                exchange.0,
                number(at.0),
                desk.home.member.as_str().to_owned(),
                requester.as_str(),
            );
            let sql = "INSERT INTO emergencies (side, commitment, exchange, at, provider, requester) \
                       VALUES (1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (side, commitment) DO UPDATE \
                       SET at = excluded.at, requester = excluded.requester";
            desk.change(sql, values)?;
            outbox::put(desk, &OwedId::LateHalf(commitment), &half, HELD_BACK)?;
            Ok(true)
        })
        .await
    }

    /// What became of the submission before: it is on the ledger at this leaf, or it is not and never
    /// will be. Then the half that is owed may be filed.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn late_fate(
        &self,
        commitment: Hash,
        exchange: ExchangeId,
        submitted: Option<LeafIndex>,
    ) -> Result<(), StoreError> {
        self.write(move |desk| {
            let owed = OwedId::LateHalf(commitment);
            match submitted {
                Some(at) => {
                    outbox::take_back(desk, &owed)?;
                    // Should nothing have come to be owed, its end may not be noted yet.
                    let sql = "INSERT INTO emergencies (side, commitment, exchange, at, provider, \
                               requester, filed, sent) VALUES (1, ?1, ?2, 0, ?3, ?3, 1, 1) \
                               ON CONFLICT (side, commitment) DO NOTHING";
                    let member = desk.home.member.as_str().to_owned();
                    desk.change(sql, (commitment.as_bytes(), exchange.0, member))?;
                    recorded(desk, &commitment, at, false)
                }
                None => outbox::let_go(desk, &owed),
            }
        })
        .await
    }

    /// How the release of a half that is owed ended.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn end_late(
        &self,
        commitment: Hash,
        exchange: ExchangeId,
        how: How,
        bytes: u64,
    ) -> Result<(), StoreError> {
        self.write(move |desk| {
            // Should the half itself not be durable, nothing has left, and nobody is alerted.
            let sql = "INSERT INTO emergencies (side, commitment, exchange, at, provider, requester, \
                       how, bytes, filed, sent) VALUES (1, ?1, ?2, 0, ?3, ?3, ?4, ?5, 1, 1) \
                       ON CONFLICT (side, commitment) DO UPDATE \
                       SET how = excluded.how, bytes = excluded.bytes";
            let member = desk.home.member.as_str().to_owned();
            let values =
                (commitment.as_bytes(), exchange.0, member, how_number(how), number(bytes));
            desk.change(sql, values)?;
            settle(desk, &commitment)
        })
        .await
    }

    /// At a start, once the outbox is settled: what was under way in an earlier life has broken off.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn end_late_of_old(&self) -> Result<(), StoreError> {
        self.write(|desk| {
            let sql = "SELECT commitment FROM emergencies WHERE side = 1 AND how IS NULL";
            let old = desk.list(sql, [], |row| Ok(Hash::from_bytes(row.get(0)?)))?;
            for commitment in old {
                let bytes = openings::stored(desk, &commitment)?.map_or(0, |(_, it)| it.bytes);
                let sql = "UPDATE emergencies SET how = ?2, bytes = ?3 \
                           WHERE side = 1 AND commitment = ?1";
                let values = (commitment.as_bytes(), how_number(How::Abandoned), number(bytes));
                desk.change(sql, values)?;
                settle(desk, &commitment)?;
            }
            Ok(())
        })
        .await
    }

    /// Emergencies whose entry is not on the ledger yet, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn emergencies_owed(&self) -> Result<Vec<Emergency>, StoreError> {
        self.read(|desk| list(desk, "leaf IS NULL AND at > 0", LISTED_MAX)).await
    }

    /// Emergencies whose alerts are not given by this way, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn late_alerts(&self, way: Way, max: u32) -> Result<Vec<Emergency>, StoreError> {
        self.read(move |desk| list(desk, &format!("{} = 0", way.column()), max)).await
    }

    /// These alerts are in the file.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable.
    pub async fn late_alerts_filed(&self, alerts: Vec<Emergency>) -> Result<(), StoreError> {
        self.write(move |desk| {
            alerts.iter().try_for_each(|it| {
                let sql = "UPDATE emergencies SET filed = 1 WHERE side = ?1 AND commitment = ?2";
                desk.change(sql, (side_number(it.side), it.commitment.as_bytes())).map(drop)
            })
        })
        .await
    }

    /// The webhook has this alert, or there is none.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable.
    pub async fn late_alert_sent(&self, alert: &Emergency) -> Result<(), StoreError> {
        let (side, commitment) = (side_number(alert.side), alert.commitment);
        self.write(move |desk| {
            let sql = "UPDATE emergencies SET sent = 1 WHERE side = ?1 AND commitment = ?2";
            desk.change(sql, (side, commitment.as_bytes())).map(drop)
        })
        .await
    }
}

/// The own consent registers that a half rests on.
fn consents_of(desk: &Desk<'_>, half: &Draft) -> Vec<u8> {
    let Entry::ProviderHalf(half) = half.entry() else { return Vec::new() };
    let own = |fact: &RegisterRef| match &fact.name {
        RegisterName::Consent(member, number) if *member == desk.home.member => Some(*number),
        _ => None,
    };
    half.read_set.iter().filter_map(own).collect()
}

/// The half of an emergency is on the ledger: the one that was owed (`marked`), or the one before it.
pub(super) fn recorded(
    desk: &mut Desk<'_>,
    commitment: &Hash,
    at: LeafIndex,
    marked: bool,
) -> Result<(), StoreError> {
    let sql = "UPDATE emergencies SET leaf = ?2, marked = ?3 \
               WHERE side = 1 AND commitment = ?1 AND leaf IS NULL";
    desk.change(sql, (commitment.as_bytes(), number(at.0), marked))?;
    settle(desk, commitment)
}

/// Says what is left to be said of a release, once it is known how it ended and where its half is.
fn settle(desk: &mut Desk<'_>, commitment: &Hash) -> Result<(), StoreError> {
    let sql = "SELECT leaf, marked, how, bytes FROM emergencies WHERE side = 1 AND commitment = ?1 \
               AND over = 0 AND leaf IS NOT NULL AND how IS NOT NULL";
    let found = desk.find(sql, [commitment.as_bytes()], |row| {
        let (at, marked) = (leaf(row.get(0)?), row.get::<_, bool>(1)?);
        Ok((at, marked, row.get::<_, u8>(2)?, unsigned(row.get(3)?)))
    })?;
    let Some((at, marked, how, bytes)) = found else { return Ok(()) };
    let how = how_of(how).ok_or(StoreError::Unreadable("emergencies"))?;
    let close = match how {
        // The half says it all: what left, and that it was late.
        How::Sent if marked => None,
        _ if marked || how == How::NothingSent => Some(how),
        _ => Some(How::Late),
    };
    if let Some(how) = close {
        let salt = Salt16([0; 16]);
        let close = Close { salt, counter: 0, provider_leaf: at, how, bytes, root: None };
        let close = Draft::stored(Entry::Close(close));
        outbox::put(desk, &OwedId::Close(at), &close, Timestamp(0))?;
    }
    openings::finish(desk, commitment)?;
    let sql = "UPDATE emergencies SET over = 1 WHERE side = 1 AND commitment = ?1";
    desk.change(sql, [commitment.as_bytes()]).map(drop)
}

fn list(desk: &Desk<'_>, which: &str, max: u32) -> Result<Vec<Emergency>, StoreError> {
    let sql = format!(
        "SELECT side, commitment, exchange, at, provider, requester, filed, sent FROM emergencies \
         WHERE {which} ORDER BY at LIMIT ?1"
    );
    desk.list(&sql, [max], columns)?.into_iter().map(parse).collect()
}

struct Columns {
    side: u8,
    commitment: [u8; 32],
    exchange: [u8; 16],
    at: i64,
    provider: String,
    requester: String,
    filed: bool,
    sent: bool,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        side: row.get(0)?,
        commitment: row.get(1)?,
        exchange: row.get(2)?,
        at: row.get(3)?,
        provider: row.get(4)?,
        requester: row.get(5)?,
        filed: row.get(6)?,
        sent: row.get(7)?,
    })
}

fn parse(row: Columns) -> Result<Emergency, StoreError> {
    let member = |text: &str| text.parse().map_err(|_| StoreError::Unreadable("emergencies"));
    Ok(Emergency {
        side: if row.side == 1 { EmergencySide::Provider } else { EmergencySide::Requester },
        commitment: Hash::from_bytes(row.commitment),
        exchange: ExchangeId(row.exchange),
        at: Timestamp(unsigned(row.at)),
        provider: member(&row.provider)?,
        requester: member(&row.requester)?,
        filed: row.filed,
        sent: row.sent,
    })
}

/// Until it is let go: later than any time.
const HELD_BACK: Timestamp = Timestamp(u64::MAX);

const fn side_number(side: EmergencySide) -> u8 {
    match side {
        EmergencySide::Provider => 1,
        EmergencySide::Requester => 2,
    }
}

const HOWS: [How; 6] =
    [How::Sent, How::Withdrawn, How::Abandoned, How::NothingSent, How::OpeningLost, How::Late];

const fn how_number(how: How) -> u8 {
    match how {
        How::Sent => 1,
        How::Withdrawn => 2,
        How::Abandoned => 3,
        How::NothingSent => 4,
        How::OpeningLost => 5,
        How::Late => 7,
    }
}

fn how_of(number: u8) -> Option<How> {
    HOWS.into_iter().find(|how| how_number(*how) == number)
}
