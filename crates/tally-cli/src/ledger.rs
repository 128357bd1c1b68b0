//! `tally ledger`: a ledger node as a process, and how the nodes of a mesh are.

mod run;
mod status;

pub(crate) use run::{bound_path, run};
pub(crate) use status::status;
