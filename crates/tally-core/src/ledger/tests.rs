//! Rules of the ledger, as facts.

mod agreements;
mod batches;
mod disposals;
mod entries;
mod founding;
mod late;
mod members;
mod opt_out;
mod parts;
mod permits;
mod random;
mod recovery;
mod replay;
mod reviews;
pub(crate) mod world;
mod writes;
