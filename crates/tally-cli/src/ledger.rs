//! `tally ledger`: a ledger node as a process, how the nodes of a mesh are, and what is done to a
//! node's directory while it does not run.

mod fsck;
mod repair;
mod run;
mod status;
mod trust;

pub(crate) use fsck::fsck;
pub(crate) use repair::repair;
pub(crate) use run::{bound_path, run};
pub(crate) use status::status;
pub(crate) use trust::trust;
