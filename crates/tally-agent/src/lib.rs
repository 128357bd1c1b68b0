//! The agent: a member's node in the mesh. It reads the member's sources, asks the policy, has the
//! ledger record what was decided, and only then releases; it asks other members for records on
//! behalf of the member's applications, and records what arrived.

pub mod clock;
pub mod exchange;
pub mod peers;
pub mod random;
pub mod recorder;
pub mod replica;
pub mod source;
pub mod store;
