//! A directive's row: what is sealed in it, and when it counts.

use rusqlite::Row;
use serde_json::{Value, json};
use tally_core::consent::{
    Actors, Consent as FhirConsent, ConsentParts, Directive, Effect, Ruling, Simple,
};
use tally_core::record::Person;
use tally_core::time::Timestamp;

use super::super::StoreError;
use super::super::schema::{number, unsigned};
use super::super::secrets::Key;
use super::super::thread::Desk;
use super::form;
use super::{Consent, ConsentWrite, DirectiveId, NewDirective, ROWS_MAX, Registers};

/// A row, with what anybody who has the file may read of it.
pub(super) struct DirectiveRow {
    pub(super) id: DirectiveId,
    blind: Key,
    pub(super) register: u8,
    version: u64,
    /// The register's version that its withdrawal is written with.
    pub(super) withdrawn: Option<u64>,
    pub(super) ruling: Option<Ruling>,
    /// The register's version that the ruling is written with.
    ruled: Option<u64>,
    sealed: Vec<u8>,
}

const COLUMNS: &str = "id, blind, register, version, withdrawn, ruling, ruled, sealed";

impl DirectiveRow {
    /// A person's rows in their order, one more than they may be at most.
    pub(super) fn of_person(desk: &Desk<'_>, blind: &Key) -> Result<Vec<Self>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM directives WHERE blind = ?1 ORDER BY id LIMIT {}",
            ROWS_MAX + 1
        );
        desk.list(&sql, [blind], Self::read)
    }

    /// Everybody's rows from after a number on.
    pub(super) fn after(
        desk: &Desk<'_>,
        after: DirectiveId,
        max: usize,
    ) -> Result<Vec<Self>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM directives WHERE id > ?1 ORDER BY id LIMIT ?2");
        let max = number(u64::try_from(max).unwrap_or(u64::MAX));
        desk.list(&sql, (number(after.0), max), Self::read)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: DirectiveId(unsigned(row.get(0)?)),
            blind: row.get(1)?,
            register: row.get(2)?,
            version: unsigned(row.get(3)?),
            withdrawn: row.get::<_, Option<i64>>(4)?.map(unsigned),
            ruling: row.get::<_, Option<u8>>(5)?.map(ruling_of),
            ruled: row.get::<_, Option<i64>>(6)?.map(unsigned),
            sealed: row.get(7)?,
        })
    }

    /// What is sealed; none if it can't be read.
    pub(super) fn open(&self, desk: &Desk<'_>) -> Option<NewDirective> {
        let place = place(&self.blind, self.id);
        let parts: [&[u8]; 3] = [b"directive\0", &place.0, &place.1];
        let plain = desk.home.secrets.open(&parts, &self.sealed)?;
        parse(&serde_json::from_slice(&plain).ok()?)
    }

    /// The directive that a decision is bound by; none if nothing of this row binds it yet, or any
    /// more.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if that can't be said.
    pub(super) fn bound(
        &self,
        desk: &Desk<'_>,
        registers: &Registers,
    ) -> Result<Option<Directive>, StoreError> {
        const WHAT: StoreError = StoreError::Unreadable("directives");
        let written = registers.get(&self.register).ok_or(WHAT)?.written;
        let is_written = |version: u64| version <= written;
        if self.withdrawn.is_some_and(is_written) {
            // Whatever it said: this is the way out for one that can't be read.
            return Ok(None);
        }
        let permits_count = self.withdrawn.is_none() && is_written(self.version);
        let mut directive = match self.open(desk).ok_or(WHAT)?.directive {
            Directive::Simple(simple) => simple,
            Directive::Consent(consent) => {
                let counts = permits_count || !consent.only_permits();
                let consent = Box::new(consent.with_permits(permits_count));
                return Ok(counts.then_some(Directive::Consent(consent)));
            }
        };
        if let (Effect::Object(_), Some(ruling)) = (directive.effect, self.ruling) {
            let declined = ruling == Ruling::Declined;
            // Until the ledger has it, the objection stands.
            let waits = declined && !self.ruled.is_some_and(is_written);
            directive.effect = Effect::Object(if waits { Ruling::Pending } else { ruling });
        }
        let counts = match directive.effect {
            Effect::Permit => permits_count,
            Effect::Deny | Effect::Object(_) => true,
        };
        Ok(counts.then_some(Directive::Simple(directive)))
    }

    /// The row for people to read.
    pub(super) fn consent(&self, desk: &Desk<'_>, registers: &Registers) -> Consent {
        // What can't be read binds decisions, too: nothing is released.
        let counts = !matches!(self.bound(desk, registers), Ok(None));
        let mut said = self.open(desk);
        if let (Some(said), Some(ruling)) = (&mut said, self.ruling)
            && let Directive::Simple(simple) = &mut said.directive
            && let Effect::Object(_) = simple.effect
        {
            simple.effect = Effect::Object(ruling);
        }
        let (id, register, withdrawn) = (self.id, self.register, self.withdrawn.is_some());
        Consent { id, register, withdrawn, counts, said }
    }
}

/// Writes a directive.
pub(super) fn insert(
    desk: &Desk<'_>,
    blind: &Key,
    new: &NewDirective,
    write: ConsentWrite,
) -> Result<DirectiveId, StoreError> {
    // Rows are never deleted, so that a number is never used twice.
    let next = "SELECT coalesce(max(id), 0) + 1 FROM directives";
    let next = desk.find(next, [], |row| Ok(unsigned(row.get(0)?)))?;
    let id = DirectiveId(next.ok_or(StoreError::Unreadable("directives"))?);
    let plain = print(new).to_string();
    let place = place(blind, id);
    let parts: [&[u8]; 3] = [b"directive\0", &place.0, &place.1];
    let sealed = desk.home.secrets.seal(&parts, plain.as_bytes())?;
    let sql = "INSERT INTO directives (id, blind, register, version, sealed) \
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = (number(id.0), blind, write.register, number(write.version), sealed);
    desk.change(sql, values)?;
    Ok(id)
}

/// Where a row is: it can't be moved to another person, or repeated.
fn place(blind: &Key, id: DirectiveId) -> (Key, [u8; 8]) {
    (*blind, id.0.to_be_bytes())
}

pub(super) const fn ruling_number(ruling: Ruling) -> u8 {
    match ruling {
        Ruling::Pending => 1,
        Ruling::Upheld => 2,
        Ruling::Declined => 3,
    }
}

/// An unknown ruling is none that lifts anything.
const fn ruling_of(number: u8) -> Ruling {
    match number {
        2 => Ruling::Upheld,
        3 => Ruling::Declined,
        _ => Ruling::Pending,
    }
}

fn print(new: &NewDirective) -> Value {
    let NewDirective { person, directive, reason } = new;
    let directive = match directive {
        Directive::Simple(simple) => simple,
        Directive::Consent(consent) => {
            return json!({
                "person": person.reveal(),
                "consent": form::print(consent.root()),
                "recorded_at_ms": consent.recorded_at().0,
                "reason": reason,
            });
        }
    };
    let effect = match directive.effect {
        Effect::Permit => "permit",
        Effect::Deny => "deny",
        Effect::Object(Ruling::Pending) => "object",
        Effect::Object(Ruling::Upheld) => "object-upheld",
        Effect::Object(Ruling::Declined) => "object-declined",
    };
    let actors = match &directive.actors {
        Actors::Anyone => Value::Null,
        Actors::These(members) => members.iter().map(ToString::to_string).collect(),
    };
    json!({
        "person": person.reveal(),
        "effect": effect,
        "purpose": directive.purpose.as_ref().map(ToString::to_string),
        "actors": actors,
        "recorded_at_ms": directive.recorded_at.0,
        "reason": reason,
    })
}

/// None if anything is missing or unknown: half a directive is none.
fn parse(value: &Value) -> Option<NewDirective> {
    let optional = |name: &str| match value.get(name)? {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.as_str())),
        _ => None,
    };
    let person = Person::new(value.get("person")?.as_str()?)?;
    let reason = optional("reason")?.map(str::to_owned);
    let recorded_at = Timestamp(value.get("recorded_at_ms")?.as_u64()?);
    if let Some(root) = value.get("consent") {
        let parts = ConsentParts { root: form::parse(root)?, permits_count: true, recorded_at };
        let directive = Directive::Consent(Box::new(FhirConsent::new(parts)?));
        return Some(NewDirective { person, directive, reason });
    }
    let effect = match value.get("effect")?.as_str()? {
        "permit" => Effect::Permit,
        "deny" => Effect::Deny,
        "object" => Effect::Object(Ruling::Pending),
        "object-upheld" => Effect::Object(Ruling::Upheld),
        "object-declined" => Effect::Object(Ruling::Declined),
        _ => return None,
    };
    let purpose = match optional("purpose")? {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let actors = match value.get("actors")? {
        Value::Null => Actors::Anyone,
        Value::Array(members) => {
            let members = members.iter().map(|it| it.as_str()?.parse().ok());
            Actors::These(members.collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    };
    let directive = Simple { effect, purpose, actors, recorded_at }.into();
    Some(NewDirective { person, directive, reason })
}
