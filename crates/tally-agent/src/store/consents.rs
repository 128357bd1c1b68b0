//! What people want: their directives, and the consent registers that tell the mesh that something
//! has changed.
//!
//! Invariant: what narrows counts from the moment that it is durable here; what widens counts only
//! once the ledger has the register's version that says so. A directive that can't be read makes
//! everything that its person wants unreadable: never a permit.

mod binding;
mod form;
mod row;

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::Connection;
use tally_core::consent::{DIRECTIVES_MAX, Directive, Effect, PROVISIONS_OF_PERSON_MAX, Ruling};
use tally_core::record::Person;

use super::people::{KnownAs, register, register_or_new};
use super::schema::{number, unsigned};
use super::secrets::Key;
use super::thread::Desk;
use super::{Store, StoreError};
use binding::numbered;
pub(super) use binding::standing;
use row::DirectiveRow;

/// Directives of one import at most.
pub const IMPORT_MAX: usize = 65_536;
/// Bytes of a directive's reason at most.
const REASON_LEN_MAX: usize = 1024;
/// Rows that are read of one person at most, those included that do not count any more.
const ROWS_MAX: usize = 4096;

/// A directive's number in its store: what it is withdrawn by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectiveId(pub u64);

/// What a person wants, before it is recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct NewDirective {
    /// Who.
    pub person: Person,
    /// What.
    pub directive: Directive,
    /// Why, in words, at most 1,024 bytes.
    pub reason: Option<String>,
}

/// A version of a consent register that the ledger is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentWrite {
    /// Which register, 0 to 255.
    pub register: u8,
    /// Which version.
    pub version: u64,
    /// Whether it may turn a yes into a no, so that permits on earlier versions are stale.
    pub narrows: bool,
}

/// A directive that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedDirective {
    /// Its number.
    pub id: DirectiveId,
    /// What the ledger is to be told.
    pub write: ConsentWrite,
}

/// A directive, as the store has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its number.
    pub id: DirectiveId,
    /// The consent register that its person is in.
    pub register: u8,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// Whether decisions are bound by it now. One that lifts waits for the ledger.
    pub counts: bool,
    /// What was said, with the controller's ruling. None if it can't be read: then nothing of its
    /// person is released until it is withdrawn.
    pub said: Option<NewDirective>,
}

/// Where one consent register stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RegisterState {
    /// The version that the ledger is to reach.
    pub(super) intended: u64,
    /// The version that it is known to have reached.
    written: u64,
}

/// The consent registers, by number.
pub(super) type Registers = BTreeMap<u8, RegisterState>;

impl Store {
    /// Records what a person wants, and that the ledger is to be told. A denial or an objection
    /// counts when this returns, a permit once [`consent_written`](Self::consent_written) was
    /// called for its version.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if the person has 256 directives that stand, or the reason is too
    /// long; otherwise it is not durable.
    pub async fn record(&self, new: NewDirective) -> Result<RecordedDirective, StoreError> {
        self.write(move |desk| {
            let blind = desk.home.secrets.blind(&new.person);
            let register = register_or_new(desk, &blind)?;
            let write = intend(desk, register, !new.directive.only_permits())?;
            Ok(RecordedDirective { id: insert(desk, &blind, &new, write)?, write })
        })
        .await
    }

    /// Records many directives, each register moving once.
    ///
    /// # Errors
    /// As [`record`](Self::record), and [`StoreError::TooLarge`] for more than [`IMPORT_MAX`]: then
    /// none is recorded.
    pub async fn import(
        &self,
        directives: Vec<NewDirective>,
    ) -> Result<Vec<RecordedDirective>, StoreError> {
        if directives.len() > IMPORT_MAX {
            return Err(StoreError::TooLarge { what: "an import", limit: IMPORT_MAX });
        }
        self.write(move |desk| {
            let mut narrows = BTreeMap::new();
            let mut placed = Vec::new();
            for new in &directives {
                let blind = desk.home.secrets.blind(&new.person);
                let register = register_or_new(desk, &blind)?;
                *narrows.entry(register).or_insert(false) |= !new.directive.only_permits();
                placed.push((blind, register, new));
            }
            let writes = narrows
                .into_iter()
                .map(|(register, narrows)| Ok((register, intend(desk, register, narrows)?)));
            let writes = writes.collect::<Result<BTreeMap<_, _>, StoreError>>()?;
            let recorded = placed.into_iter().map(|(blind, register, new)| {
                let write = writes.get(&register);
                let write = *write.ok_or(StoreError::Unreadable("consent registers"))?;
                Ok(RecordedDirective { id: insert(desk, &blind, new, write)?, write })
            });
            recorded.collect()
        })
        .await
    }

    /// Withdraws a person's directive. The withdrawal of a permit counts when this returns, that of
    /// a denial or an objection once its version is written.
    ///
    /// # Errors
    /// [`StoreError::UnknownDirective`] if the person has no such directive, or withdrew it before;
    /// otherwise it is not durable.
    pub async fn withdraw(
        &self,
        person: Person,
        id: DirectiveId,
    ) -> Result<ConsentWrite, StoreError> {
        self.write(move |desk| {
            let row = standing_row(desk, &person, id)?;
            let said = row.open(desk);
            // Nobody knows what an unreadable one said: its withdrawal may do either.
            let narrows = said.is_none_or(|said| !said.directive.only_denies());
            let write = intend(desk, row.register, narrows)?;
            let sql = "UPDATE directives SET withdrawn = ?2 WHERE id = ?1";
            desk.change(sql, (number(id.0), number(write.version)))?;
            Ok(write)
        })
        .await
    }

    /// Records what the controller says to an objection. That it is declined counts once its
    /// version is written; that it is upheld changes nothing for the ledger.
    ///
    /// # Errors
    /// [`StoreError::UnknownDirective`] if the person has no such objection that stands, or it was
    /// declined before; otherwise it is not durable.
    pub async fn rule(
        &self,
        person: Person,
        id: DirectiveId,
        upheld: bool,
    ) -> Result<Option<ConsentWrite>, StoreError> {
        self.write(move |desk| {
            let row = standing_row(desk, &person, id)?;
            let said = row.open(desk).ok_or(StoreError::Unreadable("directives"))?;
            let is_objection = match said.directive {
                Directive::Simple(simple) => matches!(simple.effect, Effect::Object(_)),
                Directive::Consent(_) => false,
            };
            if !is_objection || row.ruling == Some(Ruling::Declined) {
                return Err(StoreError::UnknownDirective);
            }
            let (ruling, write) = if upheld {
                (Ruling::Upheld, None)
            } else {
                (Ruling::Declined, Some(intend(desk, row.register, false)?))
            };
            let version = write.map(|write| number(write.version));
            let sql = "UPDATE directives SET ruling = ?2, ruled = ?3 WHERE id = ?1";
            desk.change(sql, (number(id.0), row::ruling_number(ruling), version))?;
            Ok(write)
        })
        .await
    }

    /// All that a person ever wanted, in the order in which it was recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn directives(&self, person: Person) -> Result<Vec<Consent>, StoreError> {
        self.read(move |desk| {
            let registers = registers(desk)?;
            let rows = DirectiveRow::of_person(desk, &desk.home.secrets.blind(&person))?;
            Ok(rows.iter().map(|row| row.consent(desk, &registers)).collect())
        })
        .await
    }

    /// What decisions about a person are bound by now, each with its number; none if it can't be read.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn binding(
        &self,
        named: KnownAs,
    ) -> Result<Option<Vec<(DirectiveId, Directive)>>, StoreError> {
        let KnownAs { person, before } = named;
        self.read(move |desk| {
            let blind = desk.home.secrets.blind(&person);
            let before: Vec<_> = before.iter().map(|it| desk.home.secrets.blind(it)).collect();
            // Who was never seen is in no register, and has said nothing by this name.
            let register = register(desk, &blind)?;
            numbered(desk, (&blind, &before), register, &registers(desk)?)
        })
        .await
    }

    /// Everybody's directives, from after that number on, at most `max`.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn consents(
        &self,
        after: DirectiveId,
        max: usize,
    ) -> Result<Vec<Consent>, StoreError> {
        self.read(move |desk| {
            let registers = registers(desk)?;
            let rows = DirectiveRow::after(desk, after, max)?;
            Ok(rows.iter().map(|row| row.consent(desk, &registers)).collect())
        })
        .await
    }

    /// The versions that the ledger is to reach, by register. A ledger with a higher one knows of
    /// directives that this store does not.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn consent_intended(&self) -> Result<BTreeMap<u8, u64>, StoreError> {
        self.read(|desk| {
            let registers = registers(desk)?.into_iter();
            Ok(registers.map(|(number, known)| (number, known.intended)).collect())
        })
        .await
    }

    /// The register writes that the ledger is not known to have, in the order in which it must get
    /// them. The first version of each register is among them.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn consent_unwritten(&self) -> Result<Vec<ConsentWrite>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT register, version, narrows FROM consent_writes \
                       ORDER BY register, version";
            desk.list(sql, [], |row| {
                let (register, version) = (row.get(0)?, unsigned(row.get(1)?));
                Ok(ConsentWrite { register, version, narrows: row.get(2)? })
            })
        })
        .await
    }

    /// Says that the ledger has this version of a register: what widens up to it counts from now
    /// on.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn consent_written(&self, register: u8, version: u64) -> Result<(), StoreError> {
        self.write(move |desk| {
            let sql = "UPDATE consent_registers SET written = ?2 \
                       WHERE register = ?1 AND written < ?2 AND intended >= ?2";
            desk.change(sql, (register, number(version)))?;
            let sql = "DELETE FROM consent_writes WHERE register = ?1 AND version <= ?2 \
                       AND version <= (SELECT written FROM consent_registers WHERE register = ?1)";
            desk.change(sql, (register, number(version))).map(drop)
        })
        .await
    }

    /// The custodian has looked after an older copy of the store: it has all directives again that
    /// the ledger's versions stand for. What was recorded here and not written is to be written
    /// after them.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn consent_catch_up(&self, ledger: BTreeMap<u8, u64>) -> Result<(), StoreError> {
        self.write(move |desk| {
            ledger.iter().try_for_each(|(register, version)| catch_up(desk, *register, *version))
        })
        .await
    }
}

/// Makes the registers that people may be put into, each with a first version to be written.
pub(super) fn make_registers(db: &mut Connection, count: u16) -> Result<(), StoreError> {
    let transaction = db.transaction()?;
    for register in 0..count {
        let sql = "INSERT INTO consent_registers (register, intended, written) VALUES (?1, 1, 0) \
                   ON CONFLICT (register) DO NOTHING";
        if transaction.execute(sql, [register])? > 0 {
            let sql = "INSERT INTO consent_writes (register, version, narrows) VALUES (?1, 1, 0)";
            transaction.execute(sql, [register])?;
        }
    }
    Ok(transaction.commit()?)
}

/// All consent registers.
pub(super) fn registers(desk: &Desk<'_>) -> Result<Registers, StoreError> {
    let sql = "SELECT register, intended, written FROM consent_registers";
    let rows = desk.list(sql, [], |row| {
        let (intended, written) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
        Ok((row.get(0)?, RegisterState { intended, written }))
    });
    Ok(rows?.into_iter().collect())
}

/// Whether something was recorded that may narrow one of these registers, after its version that was
/// heard of, and that the ledger is not known to have.
pub(super) fn narrowed_since(
    desk: &Desk<'_>,
    which: &[u8],
    heard: &BTreeMap<u8, u64>,
) -> Result<bool, StoreError> {
    for register in which {
        let heard = heard.get(register).copied().unwrap_or(0);
        let sql = "SELECT 1 FROM consent_writes WHERE register = ?1 AND version > ?2 AND narrows";
        if desk.find(sql, (register, number(heard)), |_| Ok(()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The next version of a register.
fn intend(desk: &Desk<'_>, register: u8, narrows: bool) -> Result<ConsentWrite, StoreError> {
    let sql = "UPDATE consent_registers SET intended = intended + 1 WHERE register = ?1 \
               RETURNING intended";
    let version = desk.find(sql, [register], |row| Ok(unsigned(row.get(0)?)))?;
    let version = version.ok_or(StoreError::Unreadable("consent registers"))?;
    let sql = "INSERT INTO consent_writes (register, version, narrows) VALUES (?1, ?2, ?3)";
    desk.change(sql, (register, number(version), narrows))?;
    Ok(ConsentWrite { register, version, narrows })
}

fn insert(
    desk: &Desk<'_>,
    blind: &Key,
    new: &NewDirective,
    write: ConsentWrite,
) -> Result<DirectiveId, StoreError> {
    if new.reason.as_ref().is_some_and(|reason| reason.len() > REASON_LEN_MAX) {
        return Err(StoreError::TooLarge { what: "a reason", limit: REASON_LEN_MAX });
    }
    let standing = "SELECT count(*) FROM directives WHERE blind = ?1 AND withdrawn IS NULL";
    let all = "SELECT count(*) FROM directives WHERE blind = ?1";
    for (sql, limit) in [(standing, DIRECTIVES_MAX), (all, ROWS_MAX)] {
        let count = desk.find(sql, [blind], |row| row.get::<_, u32>(0))?;
        if count.is_some_and(|count| usize::try_from(count).is_ok_and(|count| count >= limit)) {
            return Err(StoreError::TooLarge { what: "the list of a person's directives", limit });
        }
    }
    if let Directive::Consent(consent) = &new.directive {
        check_provisions(desk, blind, usize::from(consent.provisions()))?;
    }
    row::insert(desk, blind, new, write)
}

/// With more provisions than decisions look at, nothing of the person would be released any more.
fn check_provisions(desk: &Desk<'_>, blind: &Key, more: usize) -> Result<(), StoreError> {
    let rows = DirectiveRow::of_person(desk, blind)?;
    let standing = rows.iter().filter(|row| row.withdrawn.is_none());
    let known = standing.filter_map(|row| match row.open(desk)?.directive {
        Directive::Consent(consent) => Some(usize::from(consent.provisions())),
        Directive::Simple(_) => None,
    });
    let limit = PROVISIONS_OF_PERSON_MAX;
    if known.sum::<usize>() + more <= limit {
        return Ok(());
    }
    Err(StoreError::TooLarge { what: "the provisions of a person's consents", limit })
}

/// A directive of the person that was not withdrawn.
fn standing_row(
    desk: &Desk<'_>,
    person: &Person,
    id: DirectiveId,
) -> Result<DirectiveRow, StoreError> {
    let rows = DirectiveRow::of_person(desk, &desk.home.secrets.blind(person))?;
    let row = rows.into_iter().find(|row| row.id == id && row.withdrawn.is_none());
    row.ok_or(StoreError::UnknownDirective)
}

/// Has versions written again that the ledger had, and has no more. Whether one narrowed is not known
/// any more: each counts as if it did.
pub(super) fn lost(desk: &Desk<'_>, ledger: &BTreeMap<u8, u64>) -> Result<(), StoreError> {
    for (register, known) in registers(desk)? {
        let has = ledger.get(&register).copied().unwrap_or(0);
        if known.written <= has {
            continue;
        }
        for version in has.saturating_add(1)..=known.written {
            let sql = "INSERT INTO consent_writes (register, version, narrows) VALUES (?1, ?2, 1) \
                       ON CONFLICT (register, version) DO NOTHING";
            desk.change(sql, (register, number(version)))?;
        }
        let sql = "UPDATE consent_registers SET written = ?2 WHERE register = ?1";
        desk.change(sql, (register, number(has)))?;
    }
    Ok(())
}

/// Moves what was not written behind a version that an earlier life of the store had written.
fn catch_up(desk: &Desk<'_>, register: u8, ledger: u64) -> Result<(), StoreError> {
    let known = registers(desk)?.get(&register).copied();
    let known = known.unwrap_or(RegisterState { intended: 0, written: 0 });
    if known.written >= ledger {
        return Ok(());
    }
    let sql = "SELECT count(*) > 0, max(narrows) FROM consent_writes WHERE register = ?1";
    let waiting = desk.find(sql, [register], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, Option<bool>>(1)?.unwrap_or(false)))
    })?;
    let (waiting, narrows) = waiting.unwrap_or((false, false));
    let next = ledger.saturating_add(u64::from(waiting));
    desk.change("DELETE FROM consent_writes WHERE register = ?1", [register])?;
    for column in ["version", "withdrawn", "ruled"] {
        let sql =
            format!("UPDATE directives SET {column} = ?2 WHERE register = ?1 AND {column} > ?3");
        desk.change(&sql, (register, number(next), number(known.written)))?;
    }
    if next > ledger {
        let sql = "INSERT INTO consent_writes (register, version, narrows) VALUES (?1, ?2, ?3)";
        desk.change(sql, (register, number(next), narrows))?;
    }
    let sql = "INSERT INTO consent_registers (register, intended, written) VALUES (?1, ?2, ?3) \
               ON CONFLICT (register) DO UPDATE SET intended = ?2, written = ?3";
    desk.change(sql, (register, number(next), number(ledger))).map(drop)
}

impl fmt::Display for DirectiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NewDirective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewDirective(…)")
    }
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consent").field("id", &self.id).finish_non_exhaustive()
    }
}
