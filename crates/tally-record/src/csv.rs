//! CSV (RFC 4180) as a stream: bytes in, rows out, some columns released.
//!
//! Invariant: a cell leaves only if it stands in a released column of the file as *we* read it, and
//! what leaves is quoted so that any reader reads the same cells. Where a file could be read in two
//! ways (a stray quote, a ragged row) it is refused, with the line.
//!
//! Memory is one row, whatever the file's size.

mod project;
mod read;

#[cfg(test)]
mod tests;

pub use project::{Projection, Released, Row, RowPerson};
pub use read::{Reader, Record};

/// How much of a row is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvLimits {
    /// Bytes of a row, without its quotes.
    pub row_bytes_max: usize,
    /// Columns of a row.
    pub columns_max: usize,
}

impl Default for CsvLimits {
    fn default() -> Self {
        Self { row_bytes_max: 1024 * 1024, columns_max: 4_096 }
    }
}

/// Why a file can't be read on: whoever keeps it has to mend it. Holds no cell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct CsvError {
    /// The line of the file on which the row starts, from 1.
    pub line: u64,
    /// What is wrong with the row.
    pub fault: CsvFault,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsvFault {
    /// A quote inside a cell that is not quoted, or something after a closing quote.
    #[error("a quote stands where none may, so the row can be read in two ways")]
    StrayQuote,
    /// The file ends inside a quoted cell.
    #[error("the file ends inside a quoted cell")]
    UnclosedQuote,
    /// A carriage return without a line feed.
    #[error("a carriage return without a line feed")]
    BareCarriageReturn,
    /// A zero byte: UTF-16, or no text at all.
    #[error("a zero byte: the file is no UTF-8 or other one-byte text")]
    NotText,
    /// Longer than the limit.
    #[error("the row is longer than the limit")]
    RowTooLarge,
    /// More columns than the limit.
    #[error("the row has more columns than the limit")]
    TooManyColumns,
    /// Not as many cells as the header.
    #[error("the row has {found} cells, the header {expected}")]
    Ragged {
        /// Cells of the row.
        found: usize,
        /// Cells of the header.
        expected: usize,
    },
    /// Two columns have one name.
    #[error("two columns have the same name")]
    DuplicateColumn,
    /// There is no header.
    #[error("the file has no header")]
    NoHeader,
    /// None of the columns that may be released is there.
    #[error("none of the columns that may be released is in the header")]
    NoReleasedColumn,
    /// The column that says whom a row is about is not there.
    #[error("the column that says whom a row is about is not in the header")]
    NoPersonColumn,
}

impl CsvFault {
    /// The code: for logs, metric labels and `tally explain`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::StrayQuote => "csv-stray-quote",
            Self::UnclosedQuote => "csv-unclosed-quote",
            Self::BareCarriageReturn => "csv-bare-carriage-return",
            Self::NotText => "csv-not-text",
            Self::RowTooLarge => "csv-row-too-large",
            Self::TooManyColumns => "csv-too-many-columns",
            Self::Ragged { .. } => "csv-ragged-row",
            Self::DuplicateColumn => "csv-duplicate-column",
            Self::NoHeader => "csv-no-header",
            Self::NoReleasedColumn => "csv-no-released-column",
            Self::NoPersonColumn => "csv-no-person-column",
        }
    }
}
