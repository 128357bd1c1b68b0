//! What goes, and what stays: one retention year after the other.
//!
//! Invariant: what goes of a year hung on the year's key, and that is given up, whole or for a new one
//! that only what stays is moved over to. Rows are deleted too; but that they are gone from the file is
//! not what it rests on.

use std::collections::BTreeSet;

use tally_core::record::Person;
use tally_log::Hash;

use super::super::StoreError;
use super::super::openings::head_place;
use super::super::people::{SubjectKey, keep_key, key, open_key};
use super::super::schema::{number, unsigned};
use super::super::secrets::Key;
use super::super::thread::Desk;
use super::super::years::{self, YearKey};
use super::{DisposalPlan, YearPlan, holds};

/// Openings that are moved over at once.
const PAGE: usize = 1024;

/// What goes.
pub(super) enum Scope {
    /// Everything of the retention years before this one, but for people on hold.
    Years {
        /// The first year that stays.
        before: u16,
    },
    /// One person, in every year.
    Person(BTreeSet<Key>),
}

impl Scope {
    pub(super) fn of_person(desk: &Desk<'_>, names: &[Person]) -> Self {
        Self::Person(names.iter().map(|person| desk.home.secrets.blind(person)).collect())
    }

    /// The years that it is about.
    fn years(&self, desk: &Desk<'_>) -> Result<Vec<u16>, StoreError> {
        let mut years = years::all_live(desk)?;
        if let Self::Years { before } = self {
            years.retain(|year| year < before);
        }
        Ok(years)
    }
}

/// What would go.
pub(super) fn plan(desk: &Desk<'_>, scope: &Scope) -> Result<DisposalPlan, StoreError> {
    let held = holds::all(desk)?;
    let mut plan = DisposalPlan::default();
    for year in scope.years(desk)? {
        let Some(year_key) = years::live(desk, year)? else { continue };
        // The few whose keys have to be looked for: those who stay, or the one who goes.
        let few = match scope {
            Scope::Years { .. } => &held,
            Scope::Person(names) => names,
        };
        let mut places = Vec::new();
        for blind in few {
            if key(desk, year, &year_key, blind)?.is_some() {
                places.push(year_key.place(blind));
            }
        }
        let few = u64::try_from(places.len()).unwrap_or(u64::MAX);
        let counted = match scope {
            Scope::Years { .. } => {
                let (own, received) = readable(desk, year)?;
                let (own_kept, received_kept) = about(desk, year, &places, false)?;
                let keys = "SELECT count(*) FROM subject_keys WHERE year = ?1";
                let keys = desk.find(keys, [year], |row| Ok(unsigned(row.get(0)?)))?;
                YearPlan {
                    year,
                    keys: keys.unwrap_or_default().saturating_sub(few),
                    own_openings: own.saturating_sub(own_kept),
                    received_openings: received.saturating_sub(received_kept),
                    held: few,
                }
            }
            Scope::Person(_) => {
                let (own_openings, received_openings) = about(desk, year, &places, true)?;
                YearPlan { year, keys: few, own_openings, received_openings, held: 0 }
            }
        };
        if counted != (YearPlan { year, ..YearPlan::default() }) {
            plan.years.push(counted);
        }
    }
    Ok(plan)
}

/// Openings of a year of which something can be read: own and received.
fn readable(desk: &Desk<'_>, year: u16) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT coalesce(sum(received = 0), 0), coalesce(sum(received = 1), 0) \
               FROM openings WHERE year = ?1 AND key IS NOT NULL";
    let counted = desk.find(sql, [year], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))));
    Ok(counted?.unwrap_or_default())
}

/// Readable openings of a year that are about these people: about any of them, or about nobody else.
fn about(
    desk: &Desk<'_>,
    year: u16,
    places: &[Key],
    alone: bool,
) -> Result<(u64, u64), StoreError> {
    let (mut own, mut received) = (BTreeSet::new(), BTreeSet::new());
    let mut ours = std::collections::BTreeMap::<i64, u64>::new();
    let sql = "SELECT o.id, o.received FROM opened AS p JOIN openings AS o ON o.id = p.opening \
               WHERE p.blind = ?1 AND o.year = ?2 AND o.key IS NOT NULL";
    for place in places {
        let found = desk
            .list(sql, (place, year), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))?;
        for (id, is_received) in found {
            *ours.entry(id).or_default() += 1;
            if is_received {
                received.insert(id)
            } else {
                own.insert(id)
            };
        }
    }
    if alone {
        let all = "SELECT count(*) FROM opened WHERE opening = ?1";
        for (id, parts) in &ours {
            if desk.find(all, [id], |row| Ok(unsigned(row.get(0)?)))? != Some(*parts) {
                own.remove(id);
                received.remove(id);
            }
        }
    }
    let count = |it: BTreeSet<i64>| u64::try_from(it.len()).unwrap_or(u64::MAX);
    Ok((count(own), count(received)))
}

/// Destroys it in the database, and gives up the keys of the years that it is about.
pub(super) fn destroy(desk: &Desk<'_>, scope: &Scope) -> Result<DisposalPlan, StoreError> {
    let held = holds::all(desk)?;
    let mut gone = DisposalPlan::default();
    let mut people = BTreeSet::new();
    for year in scope.years(desk)? {
        let Some(old) = years::live(desk, year)? else { continue };
        let (stay, go) = part(desk, year, &old, scope, &held)?;
        if matches!(scope, Scope::Person(_)) && go.is_empty() {
            continue;
        }
        let before = readable(desk, year)?;
        let held = if matches!(scope, Scope::Years { .. }) { stay.len() } else { 0 };
        desk.change("DELETE FROM subject_keys WHERE year = ?1", [year])?;
        let nobody_stays = matches!(scope, Scope::Person(_));
        if stay.is_empty() && !nobody_stays {
            give_up(desk, year)?;
        } else {
            move_over(desk, year, &old, &stay, nobody_stays)?;
        }
        let after = readable(desk, year)?;
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        let counted = YearPlan {
            year,
            keys: count(go.len()),
            own_openings: before.0.saturating_sub(after.0),
            received_openings: before.1.saturating_sub(after.1),
            held: count(held),
        };
        people.extend(go.into_iter().map(|key| key.blind));
        if counted != (YearPlan { year, ..YearPlan::default() }) {
            gone.years.push(counted);
        }
    }
    forget(desk, people)?;
    Ok(gone)
}

/// Those of a year's keys that stay, and those that go.
fn part(
    desk: &Desk<'_>,
    year: u16,
    year_key: &YearKey,
    scope: &Scope,
    held: &BTreeSet<Key>,
) -> Result<(Vec<SubjectKey>, Vec<SubjectKey>), StoreError> {
    let sql = "SELECT blind, sealed FROM subject_keys WHERE year = ?1";
    let rows = desk.list(sql, [year], |row| Ok((row.get::<_, Key>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for (place, sealed) in rows? {
        let key = open_key(year_key, &place, &sealed)?;
        let goes = match scope {
            Scope::Years { .. } => !held.contains(&key.blind),
            Scope::Person(names) => names.contains(&key.blind),
        };
        if goes { go.push(key) } else { stay.push(key) }
    }
    Ok((stay, go))
}

/// Gives up the years of which nothing can be read, because their keys are gone. Says of how many.
pub(super) fn give_up_lost(desk: &Desk<'_>, scope: &Scope) -> Result<usize, StoreError> {
    let mut lost = 0;
    for year in scope.years(desk)? {
        match years::live(desk, year) {
            Err(StoreError::KeyMissing { .. }) => {
                desk.change("DELETE FROM subject_keys WHERE year = ?1", [year])?;
                give_up(desk, year)?;
                lost += 1;
            }
            other => {
                other?;
            }
        }
    }
    Ok(lost)
}

/// Nothing is kept of a year but that there was something.
fn give_up(desk: &Desk<'_>, year: u16) -> Result<(), StoreError> {
    let parts = "DELETE FROM opened WHERE opening IN (SELECT id FROM openings WHERE year = ?1)";
    desk.change(parts, [year])?;
    let heads = "UPDATE openings SET key = NULL, head = x'' WHERE year = ?1 AND key IS NOT NULL";
    desk.change(heads, [year])?;
    years::give_up(desk, year)
}

/// Seals what stays of a year under a new key of it, and lets go of the rest.
fn move_over(
    desk: &Desk<'_>,
    year: u16,
    old: &YearKey,
    stay: &[SubjectKey],
    nobody_stays: bool,
) -> Result<(), StoreError> {
    let new = years::next(desk, year)?;
    for key in stay {
        keep_key(desk, year, &new, key)?;
        let (from, to) = (old.place(&key.blind), new.place(&key.blind));
        desk.change("UPDATE opened SET blind = ?2 WHERE blind = ?1", (from, to))?;
    }
    let parts = "DELETE FROM opened WHERE opening IN (SELECT id FROM openings WHERE year = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM subject_keys AS k \
                                 WHERE k.blind = opened.blind AND k.year = ?1)";
    desk.change(parts, [year])?;
    let mut after = 0;
    loop {
        let sql = "SELECT id, commitment, key, people, EXISTS \
                     (SELECT 1 FROM opened WHERE opening = openings.id) \
                   FROM openings WHERE year = ?1 AND key IS NOT NULL AND id > ?2 \
                   ORDER BY id LIMIT ?3";
        let page = number(u64::try_from(PAGE).unwrap_or(u64::MAX));
        let heads = desk.list(sql, (year, after, page), |row| {
            let (id, commitment) = (row.get::<_, i64>(0)?, Hash::from_bytes(row.get(1)?));
            let about_nobody = row.get::<_, i64>(3)? == 0;
            let stays = row.get::<_, bool>(4)? || (about_nobody && nobody_stays);
            Ok((id, commitment, row.get::<_, Vec<u8>>(2)?, stays))
        })?;
        let Some(last) = heads.last() else { return Ok(()) };
        after = last.0;
        for (id, commitment, sealed, stays) in heads {
            if stays {
                let key = old.open(&head_place(&commitment), &sealed);
                let key = key.ok_or(StoreError::Unreadable("openings"))?;
                let sealed = new.seal(&head_place(&commitment), &key)?;
                desk.change("UPDATE openings SET key = ?2 WHERE id = ?1", (id, sealed))?;
            } else {
                let sql = "UPDATE openings SET key = NULL, head = x'' WHERE id = ?1";
                desk.change(sql, [id])?;
            }
        }
    }
}

/// Forgets that people were ever seen of whom nothing is left: no key, no directive, no hold.
fn forget(desk: &Desk<'_>, people: BTreeSet<Key>) -> Result<(), StoreError> {
    let mut live = Vec::new();
    for year in years::all_live(desk)? {
        live.extend(years::live(desk, year)?.map(|key| (year, key)));
    }
    let mut forgotten = 0;
    for blind in people {
        let directive = "SELECT 1 FROM directives WHERE blind = ?1";
        if desk.find(directive, [blind], |_| Ok(()))?.is_some() || holds::is_held(desk, &blind)? {
            continue;
        }
        let mut left = false;
        for (year, year_key) in &live {
            left |= key(desk, *year, year_key, &blind)?.is_some();
        }
        if !left {
            forgotten += desk.change("DELETE FROM subjects WHERE blind = ?1", [blind])?;
        }
    }
    if forgotten > 0 {
        rewrite_subjects(desk)?;
    }
    Ok(())
}

/// Writes the table of people anew, on other pages. It hangs on no year's key, and where rows have moved
/// from page to page SQLite leaves copies in the gaps, which `secure_delete` does not see; a page that is
/// given up it overwrites as a whole.
fn rewrite_subjects(desk: &Desk<'_>) -> Result<(), StoreError> {
    for sql in [
        "CREATE TABLE subjects_kept AS SELECT * FROM subjects",
        "DELETE FROM subjects",
        "INSERT INTO subjects SELECT * FROM subjects_kept",
        "DROP TABLE subjects_kept",
    ] {
        desk.change(sql, [])?;
    }
    Ok(())
}
