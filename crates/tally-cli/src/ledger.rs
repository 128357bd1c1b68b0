//! `tally ledger`: a ledger node as a process, how the nodes of a mesh are and who is in their
//! cluster, and what is done to a node's directory while it does not run.

mod change;
mod cluster;
mod fsck;
mod join;
mod recover;
pub(crate) mod recovery;
mod repair;
mod run;
mod status;
mod trust;

pub(crate) use change::{add, promote, remove, replace, transfer};
pub(crate) use cluster::nodes;
pub(crate) use fsck::fsck;
pub(crate) use join::join;
pub(crate) use recover::recover;
pub(crate) use repair::repair;
pub(crate) use run::{bound_path, run};
pub(crate) use status::status;
pub(crate) use trust::trust;
