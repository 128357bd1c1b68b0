//! Rules of the ledger, as facts.

mod agreements;
mod batches;
mod entries;
mod founding;
mod members;
mod parts;
mod permits;
mod random;
pub(crate) mod world;
mod writes;
