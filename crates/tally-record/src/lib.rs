//! What the records of a source are about, and how fewer of their bytes are released. Pure: bytes go
//! in, items or fewer bytes come out.
//!
//! Invariant: what is released is a subset of what came in, and what is not understood is not
//! released.

pub mod csv;
mod identifiers;
mod subjects;

pub use identifiers::normalise_nhs_number;
pub use subjects::{Subjects, SubjectsError};
