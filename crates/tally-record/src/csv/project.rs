//! Some columns of a table, row by row.

use tally_core::id::{CheckDigit, NhsNumber};
use tally_core::record::Person;

use super::read::BYTE_ORDER_MARK;
use super::{CsvError, CsvFault, CsvLimits, Reader, Record};

/// Which columns may be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// All of them.
    All,
    /// Those of these names, in the file's order.
    These(Vec<String>),
}

/// Reads a table with a header and hands out each row, cut to the released columns.
///
/// Rows are decided about by whoever is called: a row whose person is not permitted is left unwritten.
#[derive(Debug)]
pub struct Projection {
    reader: Reader,
    layout: Layout,
}

/// A row of the table, or its header.
#[derive(Clone)]
pub struct Row<'r> {
    record: &'r Record<'r>,
    columns: &'r [bool],
    header: bool,
    person: RowPerson,
}

/// Whom a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowPerson {
    /// The table is about nobody, or this is its header.
    Nobody,
    /// About this person.
    Known(Person),
    /// About somebody, and the cell is no NHS number: not to be released.
    Unknown,
}

#[derive(Debug)]
struct Layout {
    released: Released,
    person_column: Option<String>,
    /// Per column of the file, whether it is released; empty before the header.
    columns: Vec<bool>,
    person_at: Option<usize>,
}

impl Projection {
    /// At the start of a table. `person_column` holds NHS numbers; it need not be released.
    #[must_use]
    pub const fn new(released: Released, person_column: Option<String>, limits: CsvLimits) -> Self {
        let layout = Layout { released, person_column, columns: Vec::new(), person_at: None };
        Self { reader: Reader::new(limits), layout }
    }

    /// Takes the next piece of the file and calls `each` for the header and for every row that ends
    /// in it.
    ///
    /// # Errors
    ///
    /// When a row is malformed, ragged, or larger than a limit, or when the header lacks what is
    /// needed. It then stays an error; rows before it were handed out.
    pub fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(&Row<'_>)) -> Result<(), CsvError> {
        let Self { reader, layout } = self;
        reader.push(bytes, &mut |record| layout.take(record, each))
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push); also when there was no header.
    pub fn finish(&mut self, each: &mut impl FnMut(&Row<'_>)) -> Result<(), CsvError> {
        let Self { reader, layout } = self;
        reader.finish(&mut |record| layout.take(record, each))?;
        if layout.columns.is_empty() {
            return Err(CsvError { line: 1, fault: CsvFault::NoHeader });
        }
        Ok(())
    }
}

impl Layout {
    fn take(
        &mut self,
        record: &Record<'_>,
        each: &mut impl FnMut(&Row<'_>),
    ) -> Result<(), CsvFault> {
        let header = self.columns.is_empty();
        let person = if header {
            self.read_header(record)?;
            RowPerson::Nobody
        } else {
            self.person_of(record)?
        };
        each(&Row { record, columns: &self.columns, header, person });
        Ok(())
    }

    fn read_header(&mut self, record: &Record<'_>) -> Result<(), CsvFault> {
        let mut names = record.fields().collect::<Vec<_>>();
        let person = self.person_column.as_ref().map(|column| {
            let at = names.iter().position(|name| *name == column.as_bytes());
            at.ok_or(CsvFault::NoPersonColumn)
        });
        self.person_at = person.transpose()?;
        let released = |name: &&[u8]| match &self.released {
            Released::All => true,
            Released::These(these) => these.iter().any(|released| released.as_bytes() == *name),
        };
        let columns = names.iter().map(released).collect::<Vec<_>>();
        if !columns.contains(&true) {
            return Err(CsvFault::NoReleasedColumn);
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(CsvFault::DuplicateColumn);
        }
        self.columns = columns;
        Ok(())
    }

    fn person_of(&self, record: &Record<'_>) -> Result<RowPerson, CsvFault> {
        let found = record.fields().len();
        let expected = self.columns.len();
        if found != expected {
            return Err(CsvFault::Ragged { found, expected });
        }
        let Some(at) = self.person_at else { return Ok(RowPerson::Nobody) };
        let cell = record.fields().nth(at).and_then(|cell| std::str::from_utf8(cell).ok());
        // Whether the number is valid, and fit for the mesh, is policy.
        let number = cell.and_then(|cell| NhsNumber::parse(cell, CheckDigit::Skipped).ok());
        let person = number.map(|number| Person::with_number(&number));
        Ok(person.map_or(RowPerson::Unknown, RowPerson::Known))
    }
}

impl Row<'_> {
    /// The line of the file on which it starts, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.record.line()
    }

    /// Whether it is the header.
    #[must_use]
    pub const fn is_header(&self) -> bool {
        self.header
    }

    /// Whom it is about.
    #[must_use]
    pub const fn person(&self) -> &RowPerson {
        &self.person
    }

    /// The cells that may be released, in the file's order.
    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let fields = self.record.fields().zip(self.columns);
        fields.filter(|(_, released)| **released).map(|(field, _)| field)
    }

    /// Writes the cells that may be released as a line that ends as the file's did, quoted only where
    /// RFC 4180 needs it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for (index, cell) in self.cells().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_cell(cell, out);
        }
        if out.len() == start {
            // One empty cell: a blank line would be no row.
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(self.record.ending().as_bytes());
    }
}

fn write_cell(cell: &[u8], out: &mut Vec<u8>) {
    // In front of a table it would be no part of the cell.
    let is_mark = cell.starts_with(&BYTE_ORDER_MARK);
    if !is_mark && !cell.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    for &byte in cell {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("line", &self.line()).finish_non_exhaustive()
    }
}
