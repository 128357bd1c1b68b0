//! What ends a release, and what counts refusals.

use tally_core::entry::{Close, Entry, How, RefusalCount};
use tally_core::id::{LeafIndex, Salt16};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::world::id;

pub(super) fn close(salt: Salt16, counter: u64, provider_leaf: LeafIndex, bytes: u64) -> Entry {
    Entry::Close(Close {
        salt,
        counter,
        provider_leaf,
        how: How::Sent,
        bytes,
        root: Some(Hash::from_bytes([4; 32])),
    })
}

pub(super) fn refusal_count(salt: Salt16, counter: u64, count: u64) -> Entry {
    Entry::RefusalCount(RefusalCount {
        salt,
        counter,
        provider: id("RZ9"),
        requester: id("LZ9"),
        refusal: Refusal::NoAgreement,
        count,
        from: Timestamp(1),
        to: Timestamp(2),
    })
}
