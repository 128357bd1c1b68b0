//! Alerts that are owed to this member's privacy officers: of break-glass accesses, and of releases on
//! a relationship that the user alone claims.
//!
//! Invariant: what the ledger says of such an access and that its alert is still to be given are one
//! transaction, so no alert is lost between the two.

use rusqlite::Row;
use tally_core::entry::{Flags, Outcome, ProviderHalf};
use tally_core::id::{ExchangeId, LeafIndex, MemberId};
use tally_core::time::Timestamp;

use super::schema::{leaf, number, unsigned};
use super::thread::Desk;
use super::{Store, StoreError};

/// What officers are alerted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertKind {
    /// Somebody broke the glass.
    BreakGlass,
    /// Something was released on a relationship that nobody but the user claims.
    SelfClaimed,
}

/// By which way officers get an alert: each, one independent of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The file beside the store.
    File,
    /// The webhook.
    Webhook,
}

impl Way {
    /// What says in a row that it was given.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::File => "filed",
            Self::Webhook => "sent",
        }
    }
}

/// An alert that is not given yet: a reference and no person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedAlert {
    /// To what.
    pub kind: AlertKind,
    /// Where the provider's half is.
    pub leaf: LeafIndex,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Ledger time of the half's seal.
    pub at: Timestamp,
    /// Who released.
    pub provider: MemberId,
    /// Who asked.
    pub requester: MemberId,
    /// Whether it is in the file.
    pub filed: bool,
    /// Whether the webhook has it.
    pub sent: bool,
}

impl AlertKind {
    /// Its word in alerts and in the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BreakGlass => "break-glass",
            Self::SelfClaimed => "self-claimed",
        }
    }
}

impl Store {
    /// Alerts that are not given by this way, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn alerts(&self, way: Way, max: u32) -> Result<Vec<OwedAlert>, StoreError> {
        self.read(move |desk| {
            let of = |table: &str, claimed: u8| {
                format!(
                    "SELECT leaf, exchange, at, provider, requester, {claimed}, filed, sent \
                     FROM {table} WHERE {} = 0",
                    way.column()
                )
            };
            let (glass, claimed) = (of("glass", 0), of("claimed", 1));
            let sql = format!("{glass} UNION ALL {claimed} ORDER BY 1 LIMIT ?1");
            desk.list(&sql, [max], columns)?.into_iter().map(parse).collect()
        })
        .await
    }

    /// These alerts are in the file.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable.
    pub async fn alerts_filed(&self, leaves: Vec<LeafIndex>) -> Result<(), StoreError> {
        self.write(move |desk| leaves.iter().try_for_each(|leaf| mark(desk, "filed", *leaf))).await
    }

    /// The webhook has this alert, or there is none.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable.
    pub async fn alert_sent(&self, leaf: LeafIndex) -> Result<(), StoreError> {
        self.write(move |desk| mark(desk, "sent", leaf)).await
    }
}

/// A leaf is in one of the two tables.
fn mark(desk: &Desk<'_>, done: &str, leaf: LeafIndex) -> Result<(), StoreError> {
    for table in ["glass", "claimed"] {
        desk.change(&format!("UPDATE {table} SET {done} = 1 WHERE leaf = ?1"), [number(leaf.0)])?;
    }
    Ok(())
}

/// A provider's half that the ledger has, if it released on the user's word alone. What also broke the
/// glass is told as that.
pub(super) fn take_half(
    desk: &Desk<'_>,
    at: LeafIndex,
    time: Timestamp,
    half: &ProviderHalf,
) -> Result<(), StoreError> {
    let claimed = half.outcome == Outcome::Permit && half.flags.has(Flags::SELF_CLAIMED);
    if !claimed || half.flags.has(Flags::BREAK_GLASS) {
        return Ok(());
    }
    let values = (
        number(at.0),
        half.exchange.0,
        number(time.0),
        half.provider.as_str(),
        half.requester.as_str(),
    );
    let sql = "INSERT INTO claimed (leaf, exchange, at, provider, requester) \
               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (leaf) DO NOTHING";
    desk.change(sql, values).map(drop)
}

struct Columns {
    leaf: i64,
    exchange: [u8; 16],
    at: i64,
    provider: String,
    requester: String,
    claimed: bool,
    filed: bool,
    sent: bool,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        leaf: row.get(0)?,
        exchange: row.get(1)?,
        at: row.get(2)?,
        provider: row.get(3)?,
        requester: row.get(4)?,
        claimed: row.get(5)?,
        filed: row.get(6)?,
        sent: row.get(7)?,
    })
}

fn parse(row: Columns) -> Result<OwedAlert, StoreError> {
    let member = |text: &str| text.parse().map_err(|_| StoreError::Unreadable("alerts"));
    Ok(OwedAlert {
        kind: if row.claimed { AlertKind::SelfClaimed } else { AlertKind::BreakGlass },
        leaf: leaf(row.leaf),
        exchange: ExchangeId(row.exchange),
        at: Timestamp(unsigned(row.at)),
        provider: member(&row.provider)?,
        requester: member(&row.requester)?,
        filed: row.filed,
        sent: row.sent,
    })
}
