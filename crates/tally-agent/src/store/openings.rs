//! Openings: what makes entries readable, each part under the key of the one it is about.
//!
//! Invariant: an opening is kept under its commitment, which is checked, so no other can take its
//! place. Destroying one person's key makes that person's part unreadable and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::Row;
use tally_core::Encoded;
use tally_core::exchange::provider::StoredOpening;
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::{ExchangeId, LeafIndex};
use tally_core::opening::{Opened, Opening, Salt32, commitment};
use tally_core::record::Person;
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::{decode, encode};

use super::people::{self, SubjectKey};
use super::schema::{leaf, number, unsigned};
use super::secrets::{KEY_LEN, Key, derive, draw, open, seal};
use super::thread::Desk;
use super::{Store, StoreError, outbox};

/// An opening on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOpening {
    /// What the ledger will hold of it: the key that it is kept under.
    pub commitment: Hash,
    /// The opening.
    pub opening: Encoded<Opening>,
    /// The year after which the keys of its people may be destroyed.
    pub retention_year: u16,
}

/// An opening, as far as it can still be read.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptOpening {
    /// Without the people whose keys were destroyed.
    pub opening: Opening,
    /// How many those are.
    pub destroyed: u64,
    /// Where its half is, if that is known.
    pub leaf: Option<LeafIndex>,
    /// Whether it came with another member's release; otherwise it is of an entry of one's own.
    pub received: bool,
    /// The year of its keys.
    pub retention_year: u16,
}

/// One person's part in an opening.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonOpening {
    /// Its place among all parts, ascending: where to go on from.
    pub place: u64,
    /// What the ledger holds of the opening.
    pub commitment: Hash,
    /// How many people the opening has.
    pub people: u64,
    /// The opening with this person alone, and where it is.
    pub kept: KeptOpening,
}

impl Store {
    /// Keeps an opening of an entry of one's own.
    ///
    /// # Errors
    /// [`StoreError::OtherOpening`] if it is not what the commitment says; otherwise it is not
    /// durable.
    pub async fn store_opening(&self, opening: StoreOpening) -> Result<(), StoreError> {
        self.write(move |desk| insert(desk, &opening, false)).await
    }

    /// Puts the provider's half of a refusal into the outbox, and keeps its opening.
    ///
    /// # Errors
    /// [`StoreError`], as [`store_opening`](Self::store_opening): then neither is there.
    pub async fn file(
        &self,
        id: OwedId,
        half: Draft,
        opening: StoreOpening,
    ) -> Result<(), StoreError> {
        self.write(move |desk| {
            insert(desk, &opening, false)?;
            // Its half says all that there is to say.
            finish(desk, &opening.commitment)?;
            outbox::put(desk, &id, &half, Timestamp(0))
        })
        .await
    }

    /// Says sometime soon that all is said about an opening. Nobody waits for it.
    pub fn finish(&self, commitment: Hash) {
        self.shared.writer.note(|lazy| lazy.finish(commitment));
    }

    /// Says sometime soon that at least so many bytes have left. Nobody waits for it.
    pub fn progress(&self, commitment: Hash, bytes: u64) {
        self.shared.writer.note(|lazy| lazy.left(commitment, bytes));
    }

    /// What the store knows of these entries of one's own.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn openings_of(
        &self,
        commitments: &[Hash],
    ) -> Result<BTreeMap<Hash, StoredOpening>, StoreError> {
        let commitments = commitments.to_vec();
        self.read(move |desk| {
            let found = commitments.iter().filter_map(|it| stored(desk, it).transpose());
            found.collect()
        })
        .await
    }

    /// An opening, as far as it can still be read; none if there is none, or its year is destroyed.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn opening(&self, commitment: Hash) -> Result<Option<KeptOpening>, StoreError> {
        self.read(move |desk| kept(desk, &commitment)).await
    }

    /// Openings with a part about this person, at most `max`, from after that place on. Those whose
    /// keys were destroyed are not among them.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn openings_of_person(
        &self,
        person: Person,
        after: u64,
        max: usize,
    ) -> Result<Vec<PersonOpening>, StoreError> {
        self.read(move |desk| of_person(desk, &person, after, max)).await
    }

    /// Destroys a person's key of a retention year. Their tags of that year can't be linked any
    /// more, and their parts of its openings can't be read. Says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`]: then it may still be there.
    pub async fn destroy_person_key(
        &self,
        person: Person,
        retention_year: u16,
    ) -> Result<bool, StoreError> {
        self.write(move |desk| {
            let blind = desk.home.secrets.blind(&person);
            let sql = "DELETE FROM subject_keys WHERE blind = ?1 AND year = ?2";
            let destroyed = desk.change(sql, (blind, retention_year))?;
            // Old pages wait in the write-ahead log until they are overwritten.
            desk.empty_log = true;
            Ok(destroyed > 0)
        })
        .await
    }

    /// Destroys all keys of a retention year: those of people, and those of the heads of openings.
    /// Gives their numbers.
    ///
    /// # Errors
    /// [`StoreError`]: then some may still be there.
    pub async fn destroy_year_keys(&self, retention_year: u16) -> Result<(u64, u64), StoreError> {
        self.write(move |desk| {
            let people = "DELETE FROM subject_keys WHERE year = ?1";
            let people = desk.change(people, [retention_year])?;
            let heads = "UPDATE openings SET key = NULL, head = x'' \
                         WHERE year = ?1 AND key IS NOT NULL";
            let heads = desk.change(heads, [retention_year])?;
            desk.empty_log = true;
            let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
            Ok((count(people), count(heads)))
        })
        .await
    }
}

/// Keeps an opening, unless it is there already.
pub(super) fn insert(
    desk: &Desk<'_>,
    stored: &StoreOpening,
    received: bool,
) -> Result<(), StoreError> {
    let StoreOpening { commitment: promised, opening, retention_year } = stored;
    if commitment(&desk.home.mesh_id, opening.bytes()) != *promised {
        return Err(StoreError::OtherOpening);
    }
    let opening = opening.value();
    let key = draw::<KEY_LEN>()?;
    let inserted = desk.change(
        "INSERT INTO openings (commitment, exchange, received, year, key, head, people, finished) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?3) ON CONFLICT (commitment) DO NOTHING",
        (
            promised.as_bytes(),
            opening.exchange.0,
            received,
            retention_year,
            desk.home.secrets.seal(&head_place(promised), &key)?,
            seal(&key, &encode(&head_of(opening)))?,
            number(u64::try_from(opening.people.len()).unwrap_or(u64::MAX)),
        ),
    )?;
    if inserted == 0 {
        if !received {
            // A member that asks itself: the opening is of an entry of its own all the same.
            let own = "UPDATE openings SET received = 0, finished = 0 \
                       WHERE commitment = ?1 AND received = 1";
            desk.change(own, [promised.as_bytes()])?;
        }
        return Ok(());
    }
    let row = desk.last_row();
    for (place, opened) in (0_u32..).zip(&opening.people) {
        let blind = desk.home.secrets.blind(&opened.person);
        let subject = people::key_or_new(desk, &blind, *retention_year)?;
        let part = encode(&part_of(opening.exchange, opened));
        desk.change(
            "INSERT INTO opened (opening, place, blind, sealed) VALUES (?1, ?2, ?3, ?4)",
            (row, place, blind, seal(&part_key(&subject, promised, place), &part)?),
        )?;
    }
    Ok(())
}

/// Marks an opening of one's own: all is said.
pub(super) fn finish(desk: &Desk<'_>, commitment: &Hash) -> Result<(), StoreError> {
    let opening = "UPDATE openings SET finished = 1 WHERE commitment = ?1 AND finished = 0";
    desk.change(opening, [commitment.as_bytes()])?;
    super::mirror::settle_permit(desk, commitment)
}

/// Takes note of where an opening's half is.
pub(super) fn link(desk: &Desk<'_>, commitment: &Hash, at: LeafIndex) -> Result<(), StoreError> {
    let sql = "UPDATE openings SET leaf = ?2 WHERE commitment = ?1 AND leaf IS NULL";
    desk.change(sql, (commitment.as_bytes(), number(at.0)))?;
    Ok(())
}

/// An opening of one's own, as recovery needs it.
pub(super) fn stored(
    desk: &Desk<'_>,
    commitment: &Hash,
) -> Result<Option<(Hash, StoredOpening)>, StoreError> {
    let sql = "SELECT exchange, finished, bytes FROM openings \
               WHERE commitment = ?1 AND received = 0";
    desk.find(sql, [commitment.as_bytes()], |row| {
        let (exchange, finished) = (ExchangeId(row.get(0)?), row.get(1)?);
        let bytes = unsigned(row.get(2)?);
        Ok((*commitment, StoredOpening { exchange, finished, bytes }))
    })
}

/// An opening with all parts that can be read.
pub(super) fn kept(desk: &Desk<'_>, commitment: &Hash) -> Result<Option<KeptOpening>, StoreError> {
    let sql = "SELECT id, key, head, leaf, received, year FROM openings WHERE commitment = ?1";
    let Some(head) = desk.find(sql, [commitment.as_bytes()], HeadRow::read)? else {
        return Ok(None);
    };
    let parts = "SELECT place, blind, sealed FROM opened WHERE opening = ?1 ORDER BY place";
    let parts = desk.list(parts, [head.id], PartRow::read)?;
    let Some(mut kept) = head.open(desk, commitment)? else { return Ok(None) };
    for part in &parts {
        match part.open(desk, commitment, kept.retention_year)? {
            Some(opened) => kept.opening.people.push(opened),
            None => kept.destroyed += 1,
        }
    }
    Ok(Some(kept))
}

fn of_person(
    desk: &Desk<'_>,
    person: &Person,
    after: u64,
    max: usize,
) -> Result<Vec<PersonOpening>, StoreError> {
    let blind = desk.home.secrets.blind(person);
    let rows = desk.list(
        "SELECT o.id, o.key, o.head, o.leaf, o.received, o.year, \
                p.place, p.blind, p.sealed, p.id, o.commitment, o.people \
         FROM opened AS p JOIN openings AS o ON o.id = p.opening \
         WHERE p.blind = ?1 AND p.id > ?2 ORDER BY p.id LIMIT ?3",
        (blind, number(after), number(u64::try_from(max).unwrap_or(u64::MAX))),
        |row| {
            let part = PartRow { place: row.get(6)?, blind: row.get(7)?, sealed: row.get(8)? };
            let (place, people) = (unsigned(row.get(9)?), unsigned(row.get(11)?));
            Ok((HeadRow::read(row)?, part, place, Hash::from_bytes(row.get(10)?), people))
        },
    )?;
    let mut openings = Vec::new();
    for (head, part, place, commitment, people) in rows {
        let Some(mut kept) = head.open(desk, &commitment)? else { continue };
        let Some(opened) = part.open(desk, &commitment, kept.retention_year)? else { continue };
        kept.opening.people.push(opened);
        openings.push(PersonOpening { place, commitment, people, kept });
    }
    Ok(openings)
}

struct HeadRow {
    id: i64,
    key: Option<Vec<u8>>,
    head: Vec<u8>,
    leaf: Option<i64>,
    received: bool,
    year: u16,
}

impl HeadRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (id, key, head) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Self { id, key, head, leaf: row.get(3)?, received: row.get(4)?, year: row.get(5)? })
    }

    /// The opening without its people; none if its key was destroyed.
    fn open(&self, desk: &Desk<'_>, commitment: &Hash) -> Result<Option<KeptOpening>, StoreError> {
        const WHAT: StoreError = StoreError::Unreadable("openings");
        let Some(sealed) = &self.key else { return Ok(None) };
        let key = desk.home.secrets.open(&head_place(commitment), sealed).ok_or(WHAT)?;
        let key: Key = key.try_into().map_err(|_| WHAT)?;
        let head = open(&key, &self.head).ok_or(WHAT)?;
        let (opening, _) = decode::<Opening>(&head).map_err(|_| WHAT)?.into_parts();
        Ok(Some(KeptOpening {
            opening,
            destroyed: 0,
            leaf: self.leaf.map(leaf),
            received: self.received,
            retention_year: self.year,
        }))
    }
}

struct PartRow {
    place: u32,
    blind: Key,
    sealed: Vec<u8>,
}

impl PartRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { place: row.get(0)?, blind: row.get(1)?, sealed: row.get(2)? })
    }

    /// The person's part; none if the key that it was sealed under was destroyed.
    fn open(
        &self,
        desk: &Desk<'_>,
        commitment: &Hash,
        year: u16,
    ) -> Result<Option<Opened>, StoreError> {
        let Some(subject) = people::key(desk, &self.blind, year)? else { return Ok(None) };
        let Some(part) = open(&part_key(&subject, commitment, self.place), &self.sealed) else {
            return Ok(None);
        };
        let part = decode::<Opening>(&part).map_err(|_| StoreError::Unreadable("openings"))?;
        Ok(part.into_parts().0.people.into_iter().next())
    }
}

/// What the key of an opening's head is sealed for.
fn head_place(commitment: &Hash) -> [&[u8]; 2] {
    [b"opening\0", commitment.as_bytes()]
}

/// Each part has a key of its own, which follows from its person's.
fn part_key(subject: &SubjectKey, commitment: &Hash, place: u32) -> Key {
    derive(&subject.part, &[b"part\0", commitment.as_bytes(), &place.to_be_bytes()])
}

/// An opening without its people.
fn head_of(opening: &Opening) -> Opening {
    Opening {
        exchange: opening.exchange,
        salt: opening.salt,
        people: Vec::new(),
        user: opening.user.clone(),
        role: opening.role.clone(),
        relationship: opening.relationship.clone(),
        reason: opening.reason.clone(),
        request_ids: opening.request_ids.clone(),
    }
}

/// An opening with nothing but one person.
fn part_of(exchange: ExchangeId, opened: &Opened) -> Opening {
    Opening {
        exchange,
        salt: Salt32([0; 32]),
        people: vec![opened.clone()],
        user: None,
        role: None,
        relationship: None,
        reason: None,
        request_ids: Vec::new(),
    }
}

impl fmt::Debug for KeptOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptOpening")
            .field("exchange", &self.opening.exchange)
            .field("people", &self.opening.people.len())
            .field("destroyed", &self.destroyed)
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PersonOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonOpening")
            .field("place", &self.place)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}
