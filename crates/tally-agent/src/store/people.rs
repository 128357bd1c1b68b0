//! What the store knows of people: directives, consent register, keys.
//!
//! Invariant: a person's consent register is drawn once and stays; their key is durable before it
//! makes a tag.

use std::collections::BTreeMap;
use std::fmt;

use tally_core::opening::TagKey;
use tally_core::policy::PersonFact;
use tally_core::record::Person;

use super::secrets::{KEY_LEN, Key, draw};
use super::thread::Desk;
use super::years::{self, YearKey};
use super::{Store, StoreError, consents};

/// People of one question at most: as many as an opening may have.
const PEOPLE_MAX: usize = 65_536;
/// People who are looked up in one go: whoever asks for one more person meanwhile waits for these.
const SLICE: usize = 128;

/// What a decision needs to know of people.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct People {
    /// What is known of each. Everybody counts as opted out: who has an answer of the opt-out service,
    /// from [`Store::opt_out`], says otherwise here.
    pub facts: BTreeMap<Person, PersonFact>,
    /// The key of each for the retention year, durable.
    pub tag_keys: BTreeMap<Person, TagKey>,
    /// The versions that the custodian's consent registers are to reach, by their numbers. A ledger
    /// with a higher one knows of directives that this store does not. Of the moment of the first
    /// look, so that each person's directives are of this moment or later.
    pub consent_versions: BTreeMap<u8, u64>,
}

/// A person, and the names that they had at this custodian before their NHS number was known.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownAs {
    /// As decisions name them now.
    pub person: Person,
    /// What they said under these names binds as well.
    pub before: Vec<Person>,
}

impl From<Person> for KnownAs {
    fn from(person: Person) -> Self {
        Self { person, before: Vec::new() }
    }
}

impl Store {
    /// What is known of these people: of each of one moment, of many in several looks, between which
    /// others have theirs. Draws the register of those who were never seen, and the keys that are
    /// missing for the year.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for more than 65,536 people; otherwise the store can't be read, or
    /// what was drawn is not durable.
    pub async fn people(
        &self,
        people: Vec<impl Into<KnownAs> + Send>,
        retention_year: u16,
    ) -> Result<People, StoreError> {
        if people.len() > PEOPLE_MAX {
            return Err(StoreError::TooLarge { what: "a question", limit: PEOPLE_MAX });
        }
        let people: Vec<KnownAs> = people.into_iter().map(Into::into).collect();
        let mut found =
            self.some_people(people.iter().take(SLICE).cloned().collect(), retention_year).await?;
        for slice in people.get(SLICE..).unwrap_or_default().chunks(SLICE) {
            let more = self.some_people(slice.to_vec(), retention_year).await?;
            found.facts.extend(more.facts);
            found.tag_keys.extend(more.tag_keys);
        }
        Ok(found)
    }

    async fn some_people(
        &self,
        people: Vec<KnownAs>,
        retention_year: u16,
    ) -> Result<People, StoreError> {
        let asked = people.clone();
        // Those who were seen before need no transaction, and no fsync.
        let known = self.read(move |desk| look(desk, &asked, retention_year, false)).await?;
        if let Some(known) = known {
            return Ok(known);
        }
        let drawn = self.write(move |desk| look(desk, &people, retention_year, true)).await?;
        drawn.ok_or(StoreError::Unreadable("subjects"))
    }

    /// All of a person's keys that were not destroyed, by retention year: to find their tags.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn tag_keys(&self, person: Person) -> Result<BTreeMap<u16, TagKey>, StoreError> {
        self.read(move |desk| {
            let blind = desk.home.secrets.blind(&person);
            let mut keys = BTreeMap::new();
            for year in years::all_live(desk)? {
                let Some(year_key) = years::live(desk, year)? else { continue };
                let key = key(desk, year, &year_key, &blind)?;
                keys.extend(key.map(|key| (year, key.tag)));
            }
            Ok(keys)
        })
        .await
    }
}

/// None if something is missing and must not be drawn.
fn look(
    desk: &Desk<'_>,
    people: &[KnownAs],
    year: u16,
    may_draw: bool,
) -> Result<Option<People>, StoreError> {
    let registers = consents::registers(desk)?;
    let consent_versions = registers.iter().map(|(number, known)| (*number, known.intended));
    let mut found = People {
        facts: BTreeMap::new(),
        tag_keys: BTreeMap::new(),
        consent_versions: consent_versions.collect(),
    };
    let year_key = match years::live(desk, year)? {
        None if may_draw && !people.is_empty() => Some(years::live_or_new(desk, year)?),
        known => known,
    };
    for KnownAs { person, before } in people {
        let Some(year_key) = &year_key else { return Ok(None) };
        let blind = desk.home.secrets.blind(person);
        let (register, key) = if may_draw {
            let key = key_or_new(desk, year, year_key, &blind)?;
            (Some(register_or_new(desk, &blind)?), Some(key))
        } else {
            (register(desk, &blind)?, key(desk, year, year_key, &blind)?)
        };
        let (Some(consent_register), Some(key)) = (register, key) else { return Ok(None) };
        let before: Vec<_> = before.iter().map(|it| desk.home.secrets.blind(it)).collect();
        let names = (&blind, before.as_slice());
        let directives = consents::standing(desk, names, consent_register, &registers)?;
        let fact = PersonFact { consent_register, directives, opted_out: true };
        found.facts.insert(person.clone(), fact);
        found.tag_keys.insert(person.clone(), key.tag);
    }
    Ok(Some(found))
}

/// A person's secrets of one retention year.
pub(super) struct SubjectKey {
    /// Makes their tags.
    pub(super) tag: TagKey,
    /// The keys of their parts of openings follow from it.
    pub(super) part: Key,
    /// Where the person stands in the indexes that outlive years.
    pub(super) blind: Key,
}

/// The person's key of the year; none if it was never drawn, or was destroyed.
pub(super) fn key(
    desk: &Desk<'_>,
    year: u16,
    year_key: &YearKey,
    blind: &Key,
) -> Result<Option<SubjectKey>, StoreError> {
    key_at(desk, year, year_key, &year_key.place(blind))
}

/// The key of whoever stands at this place of the year's indexes.
pub(super) fn key_at(
    desk: &Desk<'_>,
    year: u16,
    year_key: &YearKey,
    place: &Key,
) -> Result<Option<SubjectKey>, StoreError> {
    let sql = "SELECT sealed FROM subject_keys WHERE blind = ?1 AND year = ?2";
    let sealed = desk.find(sql, (place, year), |row| row.get::<_, Vec<u8>>(0))?;
    sealed.map(|sealed| open_key(year_key, place, &sealed)).transpose()
}

/// The key in a row of the year.
pub(super) fn open_key(
    year_key: &YearKey,
    place: &Key,
    sealed: &[u8],
) -> Result<SubjectKey, StoreError> {
    const WHAT: StoreError = StoreError::Unreadable("people's keys");
    let plain = year_key.open(&[b"subject\0", place], sealed).ok_or(WHAT)?;
    let (parts, rest) = plain.as_chunks::<KEY_LEN>();
    let ([tag, part, blind], []) = (parts, rest) else { return Err(WHAT) };
    Ok(SubjectKey { tag: TagKey(*tag), part: *part, blind: *blind })
}

/// The person's key of the year, drawn if need be.
pub(super) fn key_or_new(
    desk: &Desk<'_>,
    year: u16,
    year_key: &YearKey,
    blind: &Key,
) -> Result<SubjectKey, StoreError> {
    if let Some(known) = key(desk, year, year_key, blind)? {
        return Ok(known);
    }
    let drawn = SubjectKey { tag: TagKey(draw()?), part: draw()?, blind: *blind };
    keep_key(desk, year, year_key, &drawn)?;
    Ok(drawn)
}

/// Keeps a person's key under the year's.
pub(super) fn keep_key(
    desk: &Desk<'_>,
    year: u16,
    year_key: &YearKey,
    key: &SubjectKey,
) -> Result<(), StoreError> {
    let place = year_key.place(&key.blind);
    let plain: Vec<u8> = [key.tag.0, key.part, key.blind].concat();
    let sealed = year_key.seal(&[b"subject\0", &place], &plain)?;
    let sql = "INSERT INTO subject_keys (blind, year, sealed) VALUES (?1, ?2, ?3)";
    desk.change(sql, (place, year, sealed)).map(drop)
}

pub(super) fn register(desk: &Desk<'_>, blind: &Key) -> Result<Option<u8>, StoreError> {
    desk.find("SELECT register FROM subjects WHERE blind = ?1", [blind], |row| row.get(0))
}

/// The consent register that the person is in, drawn if they were never seen.
pub(super) fn register_or_new(desk: &Desk<'_>, blind: &Key) -> Result<u8, StoreError> {
    if let Some(known) = register(desk, blind)? {
        return Ok(known);
    }
    // The upper bits of a product: each number is as likely as the next, to one in 2^24.
    let drawn = u64::from(u32::from_be_bytes(draw()?)) * u64::from(desk.home.consent_registers);
    let drawn = u8::try_from(drawn >> 32).map_err(|_| StoreError::ConsentRegisters)?;
    let sql = "INSERT INTO subjects (blind, register) VALUES (?1, ?2)";
    desk.change(sql, (blind, drawn))?;
    Ok(drawn)
}

impl fmt::Debug for KnownAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownAs(…)")
    }
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People")
            .field("people", &self.facts.len())
            .field("consent_versions", &self.consent_versions)
            .finish_non_exhaustive()
    }
}
