//! What outlives a process and its certificates, and is secret: the agent's endpoint needs it to tell
//! peers that connections of an earlier life are gone.

use tally_log::Hash;

use super::Store;

impl Store {
    /// The same at each start of this store, and known to nobody else.
    #[must_use]
    pub fn endpoint_seed(&self) -> Hash {
        Hash::from_bytes(*self.shared.home.secrets.endpoint())
    }
}
