//! The rules of Tally, pure: who is who, what was agreed, what a person wants, what may cross, and
//! what the ledger accepts. No clock, no randomness, no disk, no socket: time, ids and salts are
//! arguments, events go in and effects come out. Bytes of records never enter this crate.

pub mod agreement;
pub mod claims;
pub mod consent;
pub mod dataset;
pub mod encoded;
pub mod entry;
pub mod exchange;
pub mod file;
pub mod halves;
pub mod id;
pub mod ledger;
pub mod limits;
pub mod opening;
pub mod policy;
pub mod purpose;
pub mod readiness;
pub mod receipt;
pub mod record;
pub mod refusal;
pub mod register;
pub mod time;

pub use encoded::Encoded;
