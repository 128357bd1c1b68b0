//! A table whose rows are about people, row by row: whom each is about while it is read, and which of
//! them are left when it is cut. What is held of it at once is a row and the items.

use std::collections::BTreeSet;

use tally_core::agreement::AllowList;
use tally_core::policy::{Permit, Verdict};
use tally_core::record::{Facets, Item, Person};
use tally_core::refusal::Refusal;
use tally_record::csv::{CsvError, CsvLimits, Projection, Released, Row, RowPerson};

use super::Unread;
use super::naming::Naming;
use super::reading::{Content, Cut, Whole};
use super::stream::refusal_of;
use crate::spool::{Gather, Held, Spool, SpoolError};

/// Rows about somebody who is known, at most: each is decided about, and so is in memory as an item.
pub(super) const ROWS_MAX: usize = 131_072;
/// People of a table, at most: as many as an opening may have.
const PEOPLE_MAX: usize = 65_536;

/// A table that comes piece by piece.
pub(super) struct Table {
    column: String,
    projection: Projection,
    rows: Rows,
    body: Gather,
}

/// The rows about somebody who is known. The others are never released.
#[derive(Default)]
struct Rows {
    items: Vec<Item>,
    /// A name that comes again is not held again.
    people: BTreeSet<Person>,
    too_many: bool,
}

impl Table {
    /// One that has not begun. `column` says whom a row is about.
    pub(super) fn new(column: &str, spool: &Spool) -> Self {
        let column = column.to_owned();
        let projection = Projection::new(Released::All, Some(column.clone()), CsvLimits::default());
        Self { column, projection, rows: Rows::default(), body: spool.gather() }
    }

    /// Takes the next piece. Blocks for as long as a disk takes.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Unread> {
        let Self { projection, rows, body, .. } = self;
        projection.push(piece, &mut |row| rows.take(row)).map_err(malformed)?;
        rows.check()?;
        body.push(piece).map_err(|error| not_held(&error))
    }

    /// That was all.
    pub(super) fn finish(self) -> Result<Whole, Unread> {
        let Self { column, mut projection, mut rows, body } = self;
        projection.finish(&mut |row| rows.take(row)).map_err(malformed)?;
        rows.check()?;
        let body = body.finish().map_err(|error| not_held(&error))?;
        let content = Content::Rows { body, column: Some(column) };
        Ok(Whole::new(None, content, rows.items, Vec::new(), Vec::new()))
    }
}

impl Rows {
    fn take(&mut self, row: &Row<'_>) {
        let RowPerson::Known(person) = row.person() else { return };
        if self.items.len() >= ROWS_MAX {
            self.too_many = true;
            return;
        }
        let person = match self.people.get(person) {
            Some(known) => known.clone(),
            None => {
                self.people.insert(person.clone());
                person.clone()
            }
        };
        self.items.push(Item {
            kind: "row".to_owned(),
            id: row.line().to_string(),
            people: vec![person],
            labels: Vec::new(),
            facets: Facets::default(),
            bytes: row.cells().map(|cell| cell.len() as u64 + 1).sum(),
        });
    }

    fn check(&self) -> Result<(), Unread> {
        if self.too_many || self.people.len() > PEOPLE_MAX {
            let detail = "The dataset has more rows, or people, than are decided about at once.";
            return Err(Unread::new(Refusal::TooLarge, detail));
        }
        Ok(())
    }
}

impl Whole {
    /// A table without the rows and the columns that may not leave.
    pub(super) fn cut_rows(
        &self,
        permit: &Permit,
        (body, column): (&Held, Option<&String>),
    ) -> Result<Cut, Refusal> {
        let released = released(permit.fields())?;
        let left = permit.verdicts().map(|it| !matches!(it, Verdict::Drop(_)));
        let leaving = self.leaving(left.collect())?;
        if leaving.left.len() != self.items().len() {
            return Err(Refusal::SourceMalformed);
        }
        let mut places = leaving.left.iter();
        let mut naming = Naming::new(&leaving.people);
        let (mut out, mut line) = (body.gather(), Vec::new());
        let mut failed = None;
        let mut projection = Projection::new(released, column.cloned(), CsvLimits::default());
        let mut each = |row: &Row<'_>| {
            let goes = match row.person() {
                RowPerson::Known(_) => places.next().is_some_and(|left| *left),
                RowPerson::Nobody => row.is_header() || column.is_none(),
                RowPerson::Unknown => false,
            };
            if goes && failed.is_none() {
                line.clear();
                row.write(&mut line);
                naming.see(&line);
                failed = out.push(&line).err();
            }
        };
        let read = body.each::<Fault>(|piece| Ok(projection.push(piece, &mut each)?));
        let read = read.and_then(|()| Ok(projection.finish(&mut each)?));
        if let Some(error) = failed {
            return Err(error.refusal());
        }
        read.map_err(|fault| fault.0)?;
        let named = naming.named();
        let body = out.finish().map_err(|error| error.refusal())?;
        Ok(leaving.cut(body, "text/csv", named))
    }
}

/// Why a table is not cut.
struct Fault(Refusal);

impl From<SpoolError> for Fault {
    fn from(error: SpoolError) -> Self {
        Self(error.refusal())
    }
}

impl From<CsvError> for Fault {
    fn from(error: CsvError) -> Self {
        Self(refusal_of(&error))
    }
}

/// The columns that may leave.
pub(super) fn released(fields: &AllowList) -> Result<Released, Refusal> {
    match fields {
        AllowList::Columns(columns) => Ok(Released::These(columns.clone())),
        AllowList::Everything => Ok(Released::All),
        AllowList::Elements(_) => Err(Refusal::TypeNotInAgreement),
    }
}

fn malformed(error: CsvError) -> Unread {
    let detail = format!("The dataset can't be read ({}).", error.fault.code());
    Unread::new(Refusal::SourceMalformed, detail)
}

/// The body is there, and can't be held.
pub(super) fn not_held(error: &SpoolError) -> Unread {
    if let SpoolError::Io(_) | SpoolError::DiskFull | SpoolError::Cipher = error {
        tracing::error!(%error, "a body is not spooled");
    }
    let detail = match error {
        SpoolError::TooLarge => "The answer is larger than what is spooled for one exchange.",
        _ => error.refusal().meaning(),
    };
    Unread::new(error.refusal(), detail)
}
