//! The mirror: what the ledger holds of this member, and what others have recorded about exchanges
//! with it. It makes recovery and audits independent of what a process remembers.
//!
//! Invariant: leaves arrive in log order and are kept whole. What is still open is marked as such,
//! so that a start looks at what is owed and not at all that ever was.

use std::collections::BTreeSet;

use tally_core::Encoded;
use tally_core::entry::{Entry, Flags, Outcome, ProviderHalf};
use tally_core::exchange::provider::OwnHalf;
use tally_core::exchange::requester::PeerHalf;
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::{ExchangeId, LeafIndex};
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::decode_entry;

use super::outbox::{is_owed, key_of, refusals_owed, requester_halves};
use super::schema::{leaf, number};
use super::thread::Desk;
use super::{Store, StoreError, alerts, disposal, glass, intents, openings, promises};

/// Leaves in one call at most.
const LEAVES_MAX: usize = 4096;

/// A provider's half of one's own, as the mirror has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProviderHalf {
    /// Where it is.
    pub leaf: LeafIndex,
    /// What it says.
    pub half: ProviderHalf,
}

/// What a leaf is to this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    ProviderHalf,
    RequesterHalf,
    Close,
    RefusalCount,
    Disposal,
    /// Another's provider's half that names this member as the requester.
    PeerHalf,
    /// A step in the review of a break-glass access, by this member or the other.
    Review,
}

/// The number of others' providers' halves.
pub(super) const PEER_HALF: u8 = Role::PeerHalf.number();

impl Role {
    const fn number(self) -> u8 {
        match self {
            Self::ProviderHalf => 1,
            Self::RequesterHalf => 2,
            Self::Close => 3,
            Self::RefusalCount => 4,
            Self::PeerHalf => 5,
            Self::Review => 6,
            Self::Disposal => 7,
        }
    }
}

impl Store {
    /// The first leaf that the mirror has not seen.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn mirror_cursor(&self) -> Result<LeafIndex, StoreError> {
        self.read(|desk| {
            let next = "SELECT mirror_next FROM owner";
            let next = desk.find(next, [], |row| Ok(leaf(row.get(0)?)))?;
            next.ok_or(StoreError::Unreadable("owner"))
        })
        .await
    }

    /// Takes leaves into the mirror: those that this member wrote, and providers' halves that name
    /// it, in log order, each with the ledger time of its seal. Others are passed over. `next` is the
    /// first leaf that they leave out.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for more than 4,096 leaves; otherwise it is not durable.
    pub async fn mirror(
        &self,
        leaves: Vec<(LeafIndex, Timestamp, Encoded<Entry>)>,
        next: LeafIndex,
    ) -> Result<(), StoreError> {
        if leaves.len() > LEAVES_MAX {
            return Err(StoreError::TooLarge { what: "a part of the mirror", limit: LEAVES_MAX });
        }
        self.write(move |desk| {
            leaves.iter().try_for_each(|(leaf, time, entry)| take(desk, *leaf, *time, entry))?;
            let sql = "UPDATE owner SET mirror_next = ?1 WHERE mirror_next < ?1";
            desk.change(sql, [number(next.0)]).map(drop)
        })
        .await
    }

    /// The exchanges in which this member was asked, the oldest first: the last so many whose halves are
    /// on the ledger, and those whose refusals are owed to it.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn exchanges_had(&self, exchanges_max: usize) -> Result<Vec<ExchangeId>, StoreError> {
        let max = i64::try_from(exchanges_max).unwrap_or(i64::MAX);
        self.read(move |desk| {
            let sql = "SELECT exchange FROM mirror \
                       WHERE role = ?1 AND exchange IS NOT NULL ORDER BY leaf DESC LIMIT ?2";
            let mut had = desk
                .list(sql, (Role::ProviderHalf.number(), max), |row| Ok(ExchangeId(row.get(0)?)))?;
            had.reverse();
            had.extend(refusals_owed(desk)?);
            Ok(had)
        })
        .await
    }

    /// This member's permits about which not all is known to be said, in log order. A permit whose
    /// opening is finished is not among them.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn unsettled_permits(&self) -> Result<Vec<OwnHalf>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT leaf, exchange, commitment FROM mirror \
                       WHERE role = ?1 AND open = 1 ORDER BY leaf";
            let mut permits = desk.list(sql, [Role::ProviderHalf.number()], |row| {
                let (leaf, exchange) = (leaf(row.get(0)?), ExchangeId(row.get(1)?));
                let commitment = Hash::from_bytes(row.get(2)?);
                Ok(OwnHalf { leaf, exchange, commitment, closed: false })
            })?;
            for permit in &mut permits {
                permit.closed = is_owed(desk, &OwedId::Close(permit.leaf))?;
            }
            Ok(permits)
        })
        .await
    }

    /// Providers' halves that name this member, and of which the ledger has no half of its own.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn unanswered_peers(&self) -> Result<Vec<PeerHalf>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT leaf, entry FROM mirror WHERE role = ?1 AND open = 1 ORDER BY leaf";
            let rows = desk.list(sql, [Role::PeerHalf.number()], |row| {
                Ok((leaf(row.get(0)?), row.get::<_, Vec<u8>>(1)?))
            })?;
            let halves = rows
                .into_iter()
                .map(|(leaf, entry)| Ok(PeerHalf { leaf, half: provider_half(&entry)? }));
            halves.collect()
        })
        .await
    }

    /// The exchanges, among those that are begun or unanswered, of which the ledger or the outbox
    /// has this member's half.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn answered(&self) -> Result<BTreeSet<ExchangeId>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT i.exchange FROM intents AS i \
                       JOIN mirror AS m ON m.exchange = i.exchange AND m.role = ?1";
            let role = Role::RequesterHalf.number();
            let recorded = desk.list(sql, [role], |row| Ok(ExchangeId(row.get(0)?)))?;
            // Of what is promised the half is known, and waits for the provider's.
            let promised = promises::promised(desk)?;
            Ok(recorded.into_iter().chain(requester_halves(desk)?).chain(promised).collect())
        })
        .await
    }

    /// Whether the mirror has what is owed under this id already.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn holds(&self, id: OwedId, draft: Draft) -> Result<bool, StoreError> {
        self.read(move |desk| holds(desk, &id, &draft)).await
    }

    /// This member's provider's half of this commitment, if the mirror has it.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn own_half(&self, commitment: Hash) -> Result<Option<OwnProviderHalf>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT leaf, entry FROM mirror WHERE commitment = ?1 AND role = ?2";
            let values = (commitment.as_bytes(), Role::ProviderHalf.number());
            let found = desk.find(sql, values, |row| {
                let entry = row.get::<_, Vec<u8>>(1)?;
                Ok((leaf(row.get(0)?), entry))
            })?;
            let half = found
                .map(|(leaf, entry)| Ok(OwnProviderHalf { leaf, half: provider_half(&entry)? }));
            half.transpose()
        })
        .await
    }

    /// This member's provider's halves from a leaf on, in log order, at most `max`: for audits that
    /// test each of them.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn own_halves(
        &self,
        first: LeafIndex,
        max: usize,
    ) -> Result<Vec<OwnProviderHalf>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT leaf, entry FROM mirror \
                       WHERE role = ?1 AND leaf >= ?2 ORDER BY leaf LIMIT ?3";
            let max = number(u64::try_from(max).unwrap_or(u64::MAX));
            let values = (Role::ProviderHalf.number(), number(first.0), max);
            let rows =
                desk.list(sql, values, |row| Ok((leaf(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))?;
            let halves = rows
                .into_iter()
                .map(|(leaf, entry)| Ok(OwnProviderHalf { leaf, half: provider_half(&entry)? }));
            halves.collect()
        })
        .await
    }
}

/// Whether the mirror has what is owed. Requesters draw the ids of exchanges, so a provider's half
/// is known by its commitment.
pub(super) fn holds(desk: &Desk<'_>, id: &OwedId, draft: &Draft) -> Result<bool, StoreError> {
    let found = match draft.entry() {
        Entry::ProviderHalf(half) => {
            let sql = "SELECT 1 FROM mirror WHERE commitment = ?1 AND role = ?2";
            let values = (half.commitment.as_bytes(), Role::ProviderHalf.number());
            desk.find(sql, values, |_| Ok(()))
        }
        _ => desk.find("SELECT 1 FROM mirror WHERE owed = ?1", [key_of(id)], |_| Ok(())),
    };
    Ok(found?.is_some())
}

/// Where an own provider's half of this commitment is, and whether it is marked late.
pub(super) fn own_leaf(
    desk: &Desk<'_>,
    commitment: &Hash,
) -> Result<Option<(LeafIndex, bool)>, StoreError> {
    let sql = "SELECT leaf, entry FROM mirror WHERE commitment = ?1 AND role = ?2";
    let values = (commitment.as_bytes(), Role::ProviderHalf.number());
    let found = desk.find(sql, values, |row| Ok((leaf(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))?;
    let Some((leaf, entry)) = found else { return Ok(None) };
    Ok(Some((leaf, provider_half(&entry)?.flags.has(Flags::LATE))))
}

/// Nothing more is owed about the permit that has this commitment.
pub(super) fn settle_permit(desk: &Desk<'_>, commitment: &Hash) -> Result<(), StoreError> {
    let sql = "UPDATE mirror SET open = 0 WHERE commitment = ?1 AND open = 1";
    desk.change(sql, [commitment.as_bytes()]).map(drop)
}

/// The own half of this exchange is not on the ledger any more: the provider's is unanswered again.
pub(super) fn reopen_peer(desk: &Desk<'_>, exchange: ExchangeId) -> Result<(), StoreError> {
    let sql = "UPDATE mirror SET open = 1 WHERE exchange = ?1 AND role = ?2";
    desk.change(sql, (exchange.0, Role::PeerHalf.number())).map(drop)
}

/// The close of the permit at this leaf is not on the ledger any more.
pub(super) fn reopen_permit(desk: &Desk<'_>, at: LeafIndex) -> Result<(), StoreError> {
    let sql = "UPDATE mirror SET open = 1 WHERE leaf = ?1 AND role = ?2";
    desk.change(sql, (number(at.0), Role::ProviderHalf.number())).map(drop)
}

/// Tells of the steps in the review of this leaf that are on the ledger still.
pub(super) fn reviews_again(desk: &Desk<'_>, reviewed: LeafIndex) -> Result<(), StoreError> {
    let sql = "SELECT entry FROM mirror WHERE role = ?1 AND leaf > ?2 ORDER BY leaf";
    let values = (Role::Review.number(), number(reviewed.0));
    for bytes in desk.list(sql, values, |row| row.get::<_, Vec<u8>>(0))? {
        let entry = decode_entry(&bytes).map_err(|_| StoreError::Unreadable("the mirror"))?;
        match entry.value() {
            Entry::Review(review) if review.provider_leaf == reviewed => {
                glass::take_review(desk, review)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// One leaf, in whichever roles it has.
fn take(
    desk: &mut Desk<'_>,
    at: LeafIndex,
    time: Timestamp,
    entry: &Encoded<Entry>,
) -> Result<(), StoreError> {
    let member = &desk.home.member;
    match entry.value() {
        Entry::ProviderHalf(half) => {
            if half.provider == *member || half.requester == *member {
                glass::take_half(desk, at, time, half)?;
                alerts::take_half(desk, at, time, half)?;
            }
            if half.provider == *member {
                take_permit_or_refusal(desk, at, half, entry.bytes())?;
            }
            if half.requester == *member {
                let answered = "SELECT 1 FROM mirror WHERE exchange = ?1 AND role = ?2";
                let values = (half.exchange.0, Role::RequesterHalf.number());
                let open = desk.find(answered, values, |_| Ok(()))?.is_none();
                let row = Row { exchange: Some(half.exchange), open, ..Row::of(Role::PeerHalf) };
                row.insert(desk, at, entry.bytes())?;
            }
            Ok(())
        }
        Entry::RequesterHalf(half) if half.requester == *member => {
            let exchange = half.exchange;
            let owed = Some(OwedId::RequesterHalf(exchange));
            let row = Row { owed, exchange: Some(exchange), ..Row::of(Role::RequesterHalf) };
            row.insert(desk, at, entry.bytes())?;
            let sql = "UPDATE mirror SET open = 0 WHERE exchange = ?1 AND role = ?2 AND open = 1";
            desk.change(sql, (exchange.0, Role::PeerHalf.number()))?;
            // An older copy of the store may still have it.
            intents::forget(desk, exchange)
        }
        Entry::Close(close) => {
            let owed = Some(OwedId::Close(close.provider_leaf));
            Row { owed, ..Row::of(Role::Close) }.insert(desk, at, entry.bytes())?;
            let sql = "UPDATE mirror SET open = 0 WHERE leaf = ?1 AND role = ?2 AND open = 1";
            let values = (number(close.provider_leaf.0), Role::ProviderHalf.number());
            desk.change(sql, values).map(drop)
        }
        Entry::RefusalCount(count) if count.provider == *member => {
            let (requester, refusal) = (count.requester.clone(), count.refusal);
            let owed = OwedId::RefusalCount { requester, refusal, from: count.from };
            let row = Row { owed: Some(owed), ..Row::of(Role::RefusalCount) };
            row.insert(desk, at, entry.bytes())
        }
        Entry::Review(review) => {
            Row::of(Role::Review).insert(desk, at, entry.bytes())?;
            glass::take_review(desk, review)
        }
        Entry::Disposal(disposal) if disposal.member == *member => {
            let owed = Some(OwedId::Disposal(disposal.what.certificate));
            Row { owed, ..Row::of(Role::Disposal) }.insert(desk, at, entry.bytes())?;
            disposal::heard(desk, disposal)
        }
        _ => Ok(()),
    }
}

fn take_permit_or_refusal(
    desk: &Desk<'_>,
    at: LeafIndex,
    half: &ProviderHalf,
    bytes: &[u8],
) -> Result<(), StoreError> {
    openings::link(desk, &half.commitment, at)?;
    let opening = openings::stored(desk, &half.commitment)?;
    // An opening of another exchange says nothing about this permit.
    let finished = opening.is_some_and(|(_, it)| it.finished && it.exchange == half.exchange);
    let row = Row {
        role: Role::ProviderHalf,
        owed: Some(OwedId::ProviderHalf(half.exchange)),
        exchange: Some(half.exchange),
        commitment: Some(half.commitment),
        open: half.outcome == Outcome::Permit && !finished,
    };
    row.insert(desk, at, bytes)
}

/// What the mirror says of a leaf, beside its bytes.
struct Row {
    role: Role,
    owed: Option<OwedId>,
    exchange: Option<ExchangeId>,
    commitment: Option<Hash>,
    open: bool,
}

impl Row {
    const fn of(role: Role) -> Self {
        Self { role, owed: None, exchange: None, commitment: None, open: false }
    }

    fn insert(&self, desk: &Desk<'_>, at: LeafIndex, entry: &[u8]) -> Result<(), StoreError> {
        let values = (
            number(at.0),
            self.role.number(),
            self.owed.as_ref().map(key_of),
            self.exchange.map(|exchange| exchange.0),
            self.commitment.as_ref().map(Hash::as_bytes),
            self.open,
            entry,
        );
        let sql = "INSERT INTO mirror (leaf, role, owed, exchange, commitment, open, entry) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (role, leaf) DO NOTHING";
        desk.change(sql, values).map(drop)
    }
}

fn provider_half(entry: &[u8]) -> Result<ProviderHalf, StoreError> {
    let entry = decode_entry(entry).map_err(|_| StoreError::Unreadable("the mirror"))?;
    match entry.into_parts().0 {
        Entry::ProviderHalf(half) => Ok(*half),
        _ => Err(StoreError::Unreadable("the mirror")),
    }
}
