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
use super::years::{self, YearKey};
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
    /// Who they are whom the opening gives a one-time name, by their tags.
    pub known: BTreeMap<Hash, Opened>,
}

/// An opening, as far as it can still be read.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptOpening {
    /// As it was committed to, without the people whose keys were destroyed.
    pub opening: Opening,
    /// The same people in the same order, as they are known here: without one-time names, where the
    /// opening is of an entry of one's own.
    pub known: Vec<Opened>,
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
        self.write_on(move |desk| insert(desk, &opening, false)).await
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

    /// The retention year of an opening of which nothing can be read any more; none if it can, or was
    /// never here.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn disposed_of(&self, commitment: Hash) -> Result<Option<u16>, StoreError> {
        self.read(move |desk| {
            let sql = "SELECT year FROM openings WHERE commitment = ?1 AND key IS NULL";
            desk.find(sql, [commitment.as_bytes()], |row| row.get(0))
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
    let StoreOpening { commitment: promised, opening, retention_year, known } = stored;
    if commitment(&desk.home.mesh_id, opening.bytes()) != *promised {
        return Err(StoreError::OtherOpening);
    }
    let opening = opening.value();
    let year_key = years::live_or_new(desk, *retention_year)?;
    let key = draw::<KEY_LEN>()?;
    let inserted = desk.change(
        "INSERT INTO openings (commitment, exchange, received, year, key, head, people, finished) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?3) ON CONFLICT (commitment) DO NOTHING",
        (
            promised.as_bytes(),
            opening.exchange.0,
            received,
            retention_year,
            year_key.seal(&head_place(promised), &key)?,
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
        let known = known.get(&opened.tag);
        let blind = desk.home.secrets.blind(&known.unwrap_or(opened).person);
        let subject = people::key_or_new(desk, *retention_year, &year_key, &blind)?;
        let part = encode(&part_of(opening.exchange, opened, known));
        desk.change(
            "INSERT INTO opened (opening, place, blind, sealed) VALUES (?1, ?2, ?3, ?4)",
            (
                row,
                place,
                year_key.place(&blind),
                seal(&part_key(&subject, promised, place), &part)?,
            ),
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
    let sql = "SELECT id, key, head, leaf, received, year, people FROM openings \
               WHERE commitment = ?1";
    let Some(head) = desk.find(sql, [commitment.as_bytes()], HeadRow::read)? else {
        return Ok(None);
    };
    let Some(year_key) = years::live(desk, head.year)? else { return Ok(None) };
    let Some(mut kept) = head.open(&year_key, commitment)? else { return Ok(None) };
    let parts = "SELECT place, blind, sealed FROM opened WHERE opening = ?1 ORDER BY place";
    for part in &desk.list(parts, [head.id], PartRow::read)? {
        if let Some(opened) = part.open(desk, commitment, head.year, &year_key)? {
            kept.add(opened);
        }
    }
    let readable = u64::try_from(kept.opening.people.len()).unwrap_or(u64::MAX);
    kept.destroyed = head.people.saturating_sub(readable);
    Ok(Some(kept))
}

fn of_person(
    desk: &Desk<'_>,
    person: &Person,
    after: u64,
    max: usize,
) -> Result<Vec<PersonOpening>, StoreError> {
    let blind = desk.home.secrets.blind(person);
    let mut openings = Vec::new();
    for year in years::all_live(desk)? {
        let Some(year_key) = years::live(desk, year)? else { continue };
        of_year(desk, year, &year_key, &blind, (after, max), &mut openings)?;
    }
    // Each year has given as many as it may: those that stand first are among them.
    openings.sort_by_key(|opening| opening.place);
    openings.truncate(max);
    Ok(openings)
}

fn of_year(
    desk: &Desk<'_>,
    year: u16,
    year_key: &YearKey,
    blind: &Key,
    (after, max): (u64, usize),
    openings: &mut Vec<PersonOpening>,
) -> Result<(), StoreError> {
    let rows = desk.list(
        "SELECT o.id, o.key, o.head, o.leaf, o.received, o.year, o.people, \
                p.place, p.blind, p.sealed, p.id, o.commitment \
         FROM opened AS p JOIN openings AS o ON o.id = p.opening \
         WHERE p.blind = ?1 AND p.id > ?2 ORDER BY p.id LIMIT ?3",
        (year_key.place(blind), number(after), number(u64::try_from(max).unwrap_or(u64::MAX))),
        |row| {
            let part = PartRow { place: row.get(7)?, blind: row.get(8)?, sealed: row.get(9)? };
            let place = unsigned(row.get(10)?);
            Ok((HeadRow::read(row)?, part, place, Hash::from_bytes(row.get(11)?)))
        },
    )?;
    for (head, part, place, commitment) in rows {
        let Some(mut kept) = head.open(year_key, &commitment)? else { continue };
        let Some(opened) = part.open(desk, &commitment, year, year_key)? else { continue };
        kept.add(opened);
        openings.push(PersonOpening { place, commitment, people: head.people, kept });
    }
    Ok(())
}

struct HeadRow {
    id: i64,
    key: Option<Vec<u8>>,
    head: Vec<u8>,
    leaf: Option<i64>,
    received: bool,
    year: u16,
    people: u64,
}

impl HeadRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (id, key, head) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (leaf, received, year) = (row.get(3)?, row.get(4)?, row.get(5)?);
        Ok(Self { id, key, head, leaf, received, year, people: unsigned(row.get(6)?) })
    }

    /// The opening without its people; none if its key was destroyed.
    fn open(
        &self,
        year_key: &YearKey,
        commitment: &Hash,
    ) -> Result<Option<KeptOpening>, StoreError> {
        const WHAT: StoreError = StoreError::Unreadable("openings");
        let Some(sealed) = &self.key else { return Ok(None) };
        let key = year_key.open(&head_place(commitment), sealed).ok_or(WHAT)?;
        let key: Key = key.try_into().map_err(|_| WHAT)?;
        let head = open(&key, &self.head).ok_or(WHAT)?;
        let (opening, _) = decode::<Opening>(&head).map_err(|_| WHAT)?.into_parts();
        Ok(Some(KeptOpening {
            opening,
            known: Vec::new(),
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
        year_key: &YearKey,
    ) -> Result<Option<Part>, StoreError> {
        let subject = people::key_at(desk, year, year_key, &self.blind)?;
        let Some(subject) = subject else { return Ok(None) };
        let Some(part) = open(&part_key(&subject, commitment, self.place), &self.sealed) else {
            return Ok(None);
        };
        let part = decode::<Opening>(&part).map_err(|_| StoreError::Unreadable("openings"))?;
        let mut people = part.into_parts().0.people.into_iter();
        let Some(committed) = people.next() else { return Ok(None) };
        let known = people.next().unwrap_or_else(|| committed.clone());
        Ok(Some(Part { committed, known }))
    }
}

/// Somebody in an opening.
struct Part {
    committed: Opened,
    known: Opened,
}

impl KeptOpening {
    fn add(&mut self, part: Part) {
        self.opening.people.push(part.committed);
        self.known.push(part.known);
    }
}

/// What the key of an opening's head is sealed for.
pub(super) fn head_place(commitment: &Hash) -> [&[u8]; 2] {
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

/// An opening with nothing but one person; as the opening has them first, then as they are known, if
/// that is something else.
fn part_of(exchange: ExchangeId, opened: &Opened, known: Option<&Opened>) -> Opening {
    Opening {
        exchange,
        salt: Salt32([0; 32]),
        people: [Some(opened), known].into_iter().flatten().cloned().collect(),
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
