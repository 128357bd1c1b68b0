//! What the records of a source are about, and how fewer of their bytes are released; and what the
//! token of a request claims. Pure: bytes go in, items, claims or fewer bytes come out.
//!
//! Invariants:
//!
//! * What is released is a subset of what came in, plus marks that say what was done.
//! * What is not understood is not released: every refusal has its code in [`RecordError`] or
//!   [`csv::CsvError`], and none of them repeats a byte of a record.
//! * A record that nothing is taken from leaves as the very bytes that came.
//!
//! How it is driven: [`fhir::describe`] reads a body once; its items go to the policy, whose verdicts
//! go to [`fhir::Described::minimise`]. Tables stream through [`csv::Projection`] instead: bytes in,
//! one call per row. [`opt_out`] reads and writes the files of the national data opt-out.

pub mod consent;
pub mod csv;
mod error;
pub mod fhir;
mod json;
pub mod opt_out;
mod subjects;
pub mod token;

pub use error::RecordError;
pub use subjects::{Subjects, SubjectsError};
