//! The end of what openings tell: counted, authorised, destroyed and said on the ledger; and the holds
//! that keep it from being destroyed.
//!
//! Invariant: what is destroyed is what was counted and signed for, or nothing is. That it is to be said
//! on the ledger is durable together with the destruction, so whatever stops the process in between, the
//! next start destroys the files of the keys and owes the entry. Whoever is on hold loses nothing.

mod destroy;
mod holds;

use rusqlite::Connection;
use tally_core::entry::{Disposal, DisposalBasis, Disposed, Entry};
use tally_core::exchange::{Draft, OwedId};
use tally_core::record::Person;
use tally_core::time::Timestamp;
use tally_log::{Hash, sha256};
use tally_wire::{decode_entry, encode_checked};

use super::thread::Desk;
use super::{Store, StoreError, outbox, years};
use destroy::{Scope, destroy};

/// What a disposal would destroy, by retention year; or has destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DisposalPlan {
    /// Years of which something would go or is on hold, ascending.
    pub years: Vec<YearPlan>,
}

/// What would go of one retention year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct YearPlan {
    /// Which year.
    pub year: u16,
    /// Keys of people.
    pub keys: u64,
    /// Openings of entries of one's own, of which nothing could be read any more.
    pub own_openings: u64,
    /// The same of openings that came with other members' releases.
    pub received_openings: u64,
    /// Keys that a legal hold keeps.
    pub held: u64,
}

/// A disposal that an officer has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisposalOrder {
    /// What the ledger is to hold of it; its salt and counter are zero.
    pub disposal: Disposal,
    /// The certificate that it names.
    pub certificate: Vec<u8>,
    /// The one person whom it is about, by each name that they are known by; empty: whole years.
    pub subject: Vec<Person>,
}

impl DisposalPlan {
    /// Keys of people, in all years.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.years.iter().map(|year| year.keys).sum()
    }

    /// Openings, in all years.
    #[must_use]
    pub fn openings(&self) -> u64 {
        self.years.iter().map(|year| year.own_openings + year.received_openings).sum()
    }

    /// Keys that a hold keeps, in all years.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.years.iter().map(|year| year.held).sum()
    }
}

impl Store {
    /// What would go if the retention years before this one were disposed of. Destroys nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn plan_disposal(&self, before: u16) -> Result<DisposalPlan, StoreError> {
        self.read(move |desk| destroy::plan(desk, &Scope::Years { before })).await
    }

    /// What would go if one person, by all their names, were to be disposed of.
    ///
    /// # Errors
    /// [`StoreError::Held`] if the person is on hold; otherwise the store can't be read.
    pub async fn plan_disposal_of(&self, names: Vec<Person>) -> Result<DisposalPlan, StoreError> {
        self.read(move |desk| {
            holds::check_free(desk, &names)?;
            destroy::plan(desk, &Scope::of_person(desk, &names))
        })
        .await
    }

    /// Destroys in the database what an officer has signed for, and takes note of what is to be done
    /// yet: [`finish_disposals`](Self::finish_disposals). The same again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::PlanMoved`] if something else would go than was signed for,
    /// [`StoreError::Held`] if the person is on hold: then nothing is destroyed.
    pub async fn dispose(&self, order: DisposalOrder) -> Result<(), StoreError> {
        self.write(move |desk| dispose(desk, &order)).await
    }

    /// Destroys the files of the keys that disposals have given up, and puts into the outbox what the
    /// ledger is to be told. Called after each disposal and at each start; says how many entries are
    /// owed since.
    ///
    /// # Errors
    /// [`StoreError`]: then it has to be called again.
    pub async fn finish_disposals(&self) -> Result<usize, StoreError> {
        self.write(|desk| {
            years::shred_old(desk)?;
            let owed = "SELECT certificate, draft FROM disposals WHERE owed = 0";
            let owed = desk.list(owed, [], |row| {
                Ok((Hash::from_bytes(row.get(0)?), row.get::<_, Vec<u8>>(1)?))
            })?;
            for (certificate, draft) in &owed {
                let entry = decode_entry(draft).map_err(|_| StoreError::Unreadable("disposals"))?;
                let draft = Draft::stored(entry.into_parts().0);
                outbox::put(desk, &OwedId::Disposal(*certificate), &draft, Timestamp(0))?;
                let sql = "UPDATE disposals SET owed = 1 WHERE certificate = ?1";
                desk.change(sql, [certificate.as_bytes()])?;
            }
            desk.empty_log |= !owed.is_empty();
            Ok(owed.len())
        })
        .await
    }

    /// Whether anything was ever disposed of.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn any_disposal(&self) -> Result<bool, StoreError> {
        self.read(|desk| {
            let any = desk.find("SELECT 1 FROM disposals LIMIT 1", [], |_| Ok(()))?;
            Ok(any.is_some())
        })
        .await
    }

    /// The retention years before this one were disposed of, as far as this store knows; none if none
    /// ever was.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn disposed_before(&self) -> Result<Option<u16>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT max(before) FROM disposals WHERE basis = ?1";
            let basis = DisposalBasis::RetentionEnded.number();
            Ok(desk.find(sql, [basis], |row| row.get(0))?.flatten())
        })
        .await
    }
}

fn dispose(desk: &mut Desk<'_>, order: &DisposalOrder) -> Result<(), StoreError> {
    let DisposalOrder { disposal, certificate, subject } = order;
    let Disposed { before, keys, openings, held, .. } = disposal.what;
    if sha256(&[certificate]) != disposal.what.certificate {
        return Err(StoreError::PlanMoved);
    }
    if is_known(desk, disposal)? {
        return Ok(());
    }
    holds::check_free(desk, subject)?;
    let scope =
        if subject.is_empty() { Scope::Years { before } } else { Scope::of_person(desk, subject) };
    let gone = destroy(desk, &scope)?;
    // The request's savepoint undoes what was destroyed just now.
    if (gone.keys(), gone.openings(), gone.held()) != (keys, openings, held) {
        return Err(StoreError::PlanMoved);
    }
    note(desk, disposal, certificate, false)
}

/// The ledger holds a disposal of this member's. A store that does not know of it is a copy from before
/// it, in which what was destroyed has come back: it refuses, and destroys it again as far as it can
/// tell what that was.
pub(super) fn heard(desk: &mut Desk<'_>, disposal: &Disposal) -> Result<(), StoreError> {
    if is_known(desk, disposal)? {
        return Ok(());
    }
    desk.change("UPDATE owner SET behind = 1", [])?;
    let Disposed { basis, before, held, .. } = disposal.what;
    let scope = Scope::Years { before };
    if basis != DisposalBasis::RetentionEnded {
        // The ledger does not say whom a court's order was about.
        tracing::error!(
            basis = basis.code(),
            "the store is from before a disposal about one person: repeat it with tally erase subject"
        );
        return Ok(());
    }
    // Keys are backed up apart from the store: those of the time before may be gone already.
    destroy::give_up_lost(desk, &scope)?;
    if destroy::plan(desk, &scope)?.held() == held {
        destroy(desk, &scope)?;
        note(desk, disposal, &[], true)?;
        tracing::warn!(before, "the store was from before a disposal: it was carried out again");
    } else {
        // A hold that was placed after the copy was made would be broken.
        tracing::error!(
            before,
            "the store is from before a disposal, and has other legal holds: place them, then repeat it \
             with tally erase run"
        );
    }
    Ok(())
}

fn is_known(desk: &Desk<'_>, disposal: &Disposal) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM disposals WHERE certificate = ?1";
    let known = desk.find(sql, [disposal.what.certificate.as_bytes()], |_| Ok(()))?;
    Ok(known.is_some())
}

fn note(
    desk: &mut Desk<'_>,
    disposal: &Disposal,
    text: &[u8],
    owed: bool,
) -> Result<(), StoreError> {
    let what = &disposal.what;
    let entry = encode_checked(Entry::Disposal(Box::new(disposal.clone())));
    let entry = entry.map_err(|_| StoreError::Unreadable("disposals"))?;
    let values =
        (what.certificate.as_bytes(), what.basis.number(), what.before, entry.bytes(), text, owed);
    let sql = "INSERT INTO disposals (certificate, basis, before, draft, text, owed) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    desk.change(sql, values)?;
    // What was destroyed still stands in the write-ahead log.
    desk.empty_log = true;
    Ok(())
}

/// Makes the tables where they are not there yet.
pub(super) fn make(db: &Connection) -> Result<(), StoreError> {
    db.execute_batch(TABLES)?;
    // Keys that hang on no year's key are of a form that was never released.
    let orphans = "SELECT EXISTS (SELECT 1 FROM subject_keys AS k WHERE NOT EXISTS \
                   (SELECT 1 FROM retention_years AS y WHERE y.year = k.year))";
    if db.query_row(orphans, [], |row| row.get(0))? {
        return Err(StoreError::Unreadable("people's keys"));
    }
    Ok(())
}

const TABLES: &str = "
    -- Retention years of which something is or was kept. Their keys are files beside the database.
    CREATE TABLE IF NOT EXISTS retention_years (
        year INTEGER PRIMARY KEY,
        generation INTEGER NOT NULL,
        destroyed INTEGER NOT NULL
    ) STRICT;

    -- Whose access history a legal hold keeps.
    CREATE TABLE IF NOT EXISTS holds (
        blind BLOB PRIMARY KEY,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Disposals, and whether the outbox has had their entry. They hold nobody.
    CREATE TABLE IF NOT EXISTS disposals (
        certificate BLOB PRIMARY KEY,
        basis INTEGER NOT NULL,
        before INTEGER NOT NULL,
        draft BLOB NOT NULL,
        text BLOB NOT NULL,
        owed INTEGER NOT NULL
    ) STRICT;
";
