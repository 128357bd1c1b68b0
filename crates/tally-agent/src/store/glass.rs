//! Break-glass: the halves that concern this member, the episodes they belong to, how far the reviews
//! have come, and what officers noted.
//!
//! Invariant: what the ledger says of a break-glass access and that its alert is still to be given are
//! one transaction, so no alert is lost between the two. An episode counts only once its first half is
//! on the ledger: until then each read begins one of its own, with an alert.

use std::fmt;

use rusqlite::Row;
use tally_core::entry::{Flags, Outcome, ProviderHalf, Review, ReviewState};
use tally_core::id::{ExchangeId, LeafIndex, MemberId, OfficerRole};
use tally_core::record::Person;
use tally_core::time::Timestamp;
use tally_log::Hash;

use super::openings::StoreOpening;
use super::schema::{leaf, number, unsigned};
use super::thread::Desk;
use super::{Store, StoreError, openings};

/// Accesses of one answer at most.
const LISTED_MAX: u32 = 16 * 1024;
/// Steps of a review that have a note, at most: there are only two.
const NOTES_MAX: u32 = 64;

/// One person's records, read by one user of one member.
#[derive(Clone, PartialEq, Eq)]
pub struct Reader {
    /// Whose user.
    pub requester: MemberId,
    /// The user, as the request names them.
    pub user: String,
    /// Whose records.
    pub person: Person,
}

/// A break-glass half that concerns this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Where it is.
    pub leaf: LeafIndex,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Ledger time of its seal.
    pub at: Timestamp,
    /// Who released.
    pub provider: MemberId,
    /// Who asked.
    pub requester: MemberId,
    /// What its opening is kept under.
    pub commitment: Hash,
    /// Whether it goes on with an episode that began earlier: it has no review of its own.
    pub continues: bool,
    /// How far the provider has come with its review.
    pub by_provider: ReviewState,
    /// How far the requester has.
    pub by_requester: ReviewState,
    /// Whether its alert is given: it is in the file, and the webhook has it.
    pub alerted: bool,
}

/// What an officer noted at a step of a review.
#[derive(Clone, PartialEq, Eq)]
pub struct ReviewNote {
    /// When.
    pub at: Timestamp,
    /// In which office.
    pub role: OfficerRole,
    /// At which step.
    pub state: ReviewState,
    /// In words.
    pub text: String,
}

/// How many accesses wait for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GlassCounts {
    /// Accesses whose review this member has not concluded.
    pub open: u64,
    /// Those of them whose review is overdue.
    pub overdue: u64,
    /// Alerts that are not given yet.
    pub alerts_waiting: u64,
    /// Emergencies of this member as the provider whose late half is not on the ledger.
    pub late_owed: u64,
    /// Promises that this member was given, and whose half is not on the ledger.
    pub promises_owed: u64,
}

impl BreakGlass {
    /// How far this member has come with its review, and how far the other has.
    #[must_use]
    pub fn states(&self, member: &MemberId) -> (ReviewState, ReviewState) {
        if self.provider == *member {
            (self.by_provider, self.by_requester)
        } else {
            (self.by_requester, self.by_provider)
        }
    }

    /// Whether this member still owes its review.
    #[must_use]
    pub fn is_owed_by(&self, member: &MemberId) -> bool {
        !self.continues && !self.states(member).0.is_concluded()
    }
}

impl Store {
    /// The episode that a read now would belong to, by the commitment of its first half: one that the
    /// ledger has, and that began after `since`. None: it begins one.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn episode(
        &self,
        reader: Reader,
        since: Timestamp,
    ) -> Result<Option<Hash>, StoreError> {
        self.read(move |desk| {
            let key = key_of(desk, &reader);
            let sql = "SELECT e.first FROM episodes AS e JOIN glass AS g ON g.commitment = e.first \
                       WHERE e.key = ?1 AND g.at > ?2 AND g.continues = 0 \
                       ORDER BY g.leaf DESC LIMIT 1";
            desk.find(sql, (key, number(since.0)), |row| Ok(Hash::from_bytes(row.get(0)?)))
        })
        .await
    }

    /// Keeps the opening of a break-glass access, and which episode it belongs to: that of `first`, or
    /// its own. Forgets by what the episodes were known that began before `since`.
    ///
    /// # Errors
    /// [`StoreError`], as [`store_opening`](Self::store_opening).
    pub async fn store_break_glass(
        &self,
        opening: StoreOpening,
        reader: Reader,
        first: Option<Hash>,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |desk| {
            openings::insert(desk, &opening, false)?;
            let over = "UPDATE episodes SET key = NULL WHERE key IS NOT NULL AND began <= ?1";
            desk.change(over, [number(since.0)])?;
            let sql = "INSERT INTO episodes (commitment, key, first, began) VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT (commitment) DO NOTHING";
            let commitment = opening.commitment;
            let first = first.unwrap_or(commitment);
            let key = key_of(desk, &reader);
            let values = (commitment.as_bytes(), key, first.as_bytes(), number(now.0));
            desk.change(sql, values).map(drop)
        })
        .await
    }

    /// The break-glass accesses that began an episode, in log order: the last 16,384.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn break_glass(&self) -> Result<Vec<BreakGlass>, StoreError> {
        self.read(|desk| {
            let sql = format!("{SELECT} WHERE continues = 0 ORDER BY leaf DESC LIMIT ?1");
            let mut found = desk.list(&sql, [LISTED_MAX], columns)?;
            found.reverse();
            found.into_iter().map(parse).collect()
        })
        .await
    }

    /// The break-glass halves of an exchange: requesters draw the ids, so there may be several.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn break_glass_of(
        &self,
        exchange: ExchangeId,
    ) -> Result<Vec<BreakGlass>, StoreError> {
        self.read(move |desk| {
            let sql = format!("{SELECT} WHERE exchange = ?1 ORDER BY leaf");
            desk.list(&sql, [exchange.0], columns)?.into_iter().map(parse).collect()
        })
        .await
    }

    /// The halves of this member's episode that this commitment belongs to, its first one first. Empty
    /// at the requester, who is not told which episode a read goes on with.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn episode_of(&self, commitment: Hash) -> Result<Vec<BreakGlass>, StoreError> {
        self.read(move |desk| {
            let first = "SELECT first FROM episodes WHERE commitment = ?1";
            let first =
                desk.find(first, [commitment.as_bytes()], |row| row.get::<_, [u8; 32]>(0))?;
            let sql = format!(
                "{SELECT} WHERE commitment IN (SELECT commitment FROM episodes WHERE first = ?1) \
                 ORDER BY leaf LIMIT {LISTED_MAX}"
            );
            let found = first.map(|first| desk.list(&sql, [first], columns)).transpose()?;
            found.unwrap_or_default().into_iter().map(parse).collect()
        })
        .await
    }

    /// How many wait for what. A review is overdue for an access before `due`.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn glass_counts(&self, due: Timestamp) -> Result<GlassCounts, StoreError> {
        self.read(move |desk| {
            // The two conclusions are the last of the states.
            let sql = "SELECT coalesce(sum(mine < 3), 0), coalesce(sum(mine < 3 AND at < ?2), 0), \
                              (SELECT count(*) FROM glass WHERE filed = 0 OR sent = 0) + \
                              (SELECT count(*) FROM emergencies WHERE filed = 0 OR sent = 0) + \
                              (SELECT count(*) FROM claimed WHERE filed = 0 OR sent = 0), \
                              (SELECT count(*) FROM emergencies WHERE leaf IS NULL AND side = 1 \
                               AND at > 0), \
                              (SELECT count(*) FROM emergencies WHERE leaf IS NULL AND side = 2) \
                       FROM (SELECT at, CASE provider WHEN ?1 THEN by_provider ELSE by_requester END \
                             AS mine FROM glass WHERE continues = 0)";
            let values = (desk.home.member.as_str().to_owned(), number(due.0));
            let counted = desk.find(sql, values, |row| {
                Ok(GlassCounts {
                    open: unsigned(row.get(0)?),
                    overdue: unsigned(row.get(1)?),
                    alerts_waiting: unsigned(row.get(2)?),
                    late_owed: unsigned(row.get(3)?),
                    promises_owed: unsigned(row.get(4)?),
                })
            })?;
            Ok(counted.unwrap_or_default())
        })
        .await
    }

    /// Keeps what an officer noted. It is sealed, and nowhere else.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn note_review(&self, at: LeafIndex, note: ReviewNote) -> Result<(), StoreError> {
        self.write(move |desk| {
            let sealed = desk.home.secrets.seal(&[&note_place(at)], note.text.as_bytes())?;
            let sql = "INSERT INTO glass_notes (leaf, at, role, state, sealed) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let state = state_number(note.state);
            let values = (number(at.0), number(note.at.0), note.role.as_str(), state, sealed);
            desk.change(sql, values).map(drop)
        })
        .await
    }

    /// What officers noted about an access, in order.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn review_notes(&self, of: LeafIndex) -> Result<Vec<ReviewNote>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT at, role, state, sealed FROM glass_notes WHERE leaf = ?1 \
                       ORDER BY id LIMIT ?2";
            let rows = desk.list(sql, (number(of.0), NOTES_MAX), |row| {
                let (at, role): (i64, String) = (row.get(0)?, row.get(1)?);
                Ok((at, role, row.get::<_, u8>(2)?, row.get::<_, Vec<u8>>(3)?))
            })?;
            let notes = rows.into_iter().map(|(at, role, state, sealed)| {
                let text = desk.home.secrets.open(&[&note_place(of)], &sealed)?;
                Some(ReviewNote {
                    at: Timestamp(unsigned(at)),
                    role: role.parse().ok()?,
                    state: state_of(state)?,
                    text: String::from_utf8(text).ok()?,
                })
            });
            notes.collect::<Option<_>>().ok_or(StoreError::Unreadable("review notes"))
        })
        .await
    }
}

/// A provider's half that the ledger has, if it broke the glass.
pub(super) fn take_half(
    desk: &Desk<'_>,
    at: LeafIndex,
    time: Timestamp,
    half: &ProviderHalf,
) -> Result<(), StoreError> {
    if half.outcome != Outcome::Permit || !half.flags.has(Flags::BREAK_GLASS) {
        return Ok(());
    }
    let continues = half.flags.has(Flags::SAME_EPISODE);
    let values = (
        number(at.0),
        half.exchange.0,
        number(time.0),
        half.provider.as_str(),
        half.requester.as_str(),
        half.commitment.as_bytes(),
        continues,
    );
    let sql = "INSERT INTO glass (leaf, exchange, at, provider, requester, commitment, continues, \
                                  filed, sent) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7) ON CONFLICT (leaf) DO NOTHING";
    desk.change(sql, values).map(drop)
}

/// What was heard of the review of this leaf is not on the ledger any more, or not all of it.
pub(super) fn review_lost(desk: &Desk<'_>, reviewed: LeafIndex) -> Result<(), StoreError> {
    let open = state_number(ReviewState::Open);
    let sql = "UPDATE glass SET by_provider = ?2, by_requester = ?2 WHERE leaf = ?1";
    desk.change(sql, (number(reviewed.0), open)).map(drop)
}

/// A step of a review that the ledger has, the own one or the other member's.
pub(super) fn take_review(desk: &Desk<'_>, review: &Review) -> Result<(), StoreError> {
    let values =
        (number(review.provider_leaf.0), review.member.as_str(), state_number(review.state));
    for (member, state) in [("provider", "by_provider"), ("requester", "by_requester")] {
        // The states only go forward; an older copy of the store may hear of them again.
        let sql = format!(
            "UPDATE glass SET {state} = ?3 WHERE leaf = ?1 AND {member} = ?2 AND {state} < ?3"
        );
        desk.change(&sql, values)?;
    }
    Ok(())
}

fn key_of(desk: &Desk<'_>, reader: &Reader) -> super::secrets::Key {
    desk.home.secrets.episode(&reader.requester, &reader.user, &reader.person)
}

/// What a note is sealed for: it can't be passed off as one about another access.
fn note_place(leaf: LeafIndex) -> Vec<u8> {
    [b"review note\0".as_slice(), &leaf.0.to_be_bytes()].concat()
}

const SELECT: &str = "SELECT leaf, exchange, at, provider, requester, commitment, continues, \
                             by_provider, by_requester, filed AND sent FROM glass";

struct Columns {
    leaf: i64,
    exchange: [u8; 16],
    at: i64,
    provider: String,
    requester: String,
    commitment: [u8; 32],
    continues: bool,
    states: (u8, u8),
    alerted: bool,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        leaf: row.get(0)?,
        exchange: row.get(1)?,
        at: row.get(2)?,
        provider: row.get(3)?,
        requester: row.get(4)?,
        commitment: row.get(5)?,
        continues: row.get(6)?,
        states: (row.get(7)?, row.get(8)?),
        alerted: row.get(9)?,
    })
}

fn parse(row: Columns) -> Result<BreakGlass, StoreError> {
    let unreadable = || StoreError::Unreadable("break-glass accesses");
    let member = |text: &str| text.parse().map_err(|_| unreadable());
    let (by_provider, by_requester) = row.states;
    Ok(BreakGlass {
        leaf: leaf(row.leaf),
        exchange: ExchangeId(row.exchange),
        at: Timestamp(unsigned(row.at)),
        provider: member(&row.provider)?,
        requester: member(&row.requester)?,
        commitment: Hash::from_bytes(row.commitment),
        continues: row.continues,
        by_provider: state_of(by_provider).ok_or_else(unreadable)?,
        by_requester: state_of(by_requester).ok_or_else(unreadable)?,
        alerted: row.alerted,
    })
}

/// States as the table has them: from 1, in the order in which a review goes through them.
const fn state_number(state: ReviewState) -> u8 {
    match state {
        ReviewState::Open => 1,
        ReviewState::UnderReview => 2,
        ReviewState::Justified => 3,
        ReviewState::Inappropriate => 4,
    }
}

fn state_of(number: u8) -> Option<ReviewState> {
    ReviewState::ALL.into_iter().find(|state| state_number(*state) == number)
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("requester", &self.requester).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReviewNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReviewNote").field("state", &self.state).finish_non_exhaustive()
    }
}
