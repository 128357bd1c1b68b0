//! The agent: a member's node in the mesh. It reads the member's sources, asks the policy, has the
//! ledger record what was decided, and only then releases; it asks other members for records on
//! behalf of the member's applications, and records what arrived.

pub mod admin;
pub mod agent;
pub mod alerts;
pub mod base_url;
pub mod clock;
pub mod config;
pub mod exchange;
pub mod health;
pub mod http;
pub mod ingress;
pub mod metrics;
pub mod opt_out;
pub mod peers;
pub mod random;
pub mod readiness;
pub mod recorder;
pub mod replica;
pub mod seldom;
pub mod sidecar;
pub mod source;
pub mod spool;
pub mod store;
pub mod trace;
pub mod witness;
