//! What is measured: an old ledger, batches for it, and each piece of work that an entry costs.
//!
//! Both benches, the one that counts instructions and the one with a clock, call the same pieces on
//! the same values. Everything is made from fixed seeds, so that two runs do the same work.

#![allow(clippy::unwrap_used, reason = "values that can't be made leave nothing to measure")]
#![allow(clippy::panic, reason = "the same")]

mod batch;
mod deciding;
mod entries;
mod history;
mod mesh;
pub mod work;

pub use batch::{Load, Prepared};
pub use deciding::{Case, Question, SLICE};
pub use history::History;
