//! Whole exchanges between two agents, over real sockets, with real stores and a real ledger.

#![allow(clippy::unwrap_used, reason = "a mesh that can't be set up should stop the test there")]
#![allow(clippy::panic, reason = "says what was found in the place of what was expected")]
#![allow(clippy::indexing_slicing, reason = "places are those of the mesh of three")]

mod broken;
mod coming_back;
mod data;
mod gates;
mod killed;
mod lying;
mod mesh;
mod permitted;
mod refused;
mod trust;
mod witness;
