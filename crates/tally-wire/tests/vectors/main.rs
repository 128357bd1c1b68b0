//! The vectors in `proto/vectors`, in both directions, and bytes that nobody wrote on purpose.

#![allow(clippy::unwrap_used, reason = "a sample that cannot be made should stop the test there")]
#![allow(clippy::panic, reason = "says which vector it is about")]
#![allow(clippy::indexing_slicing, reason = "positions come from the bytes themselves")]

mod samples;

use std::sync::LazyLock;

use proptest::prelude::*;
use tally_wire::{decode_entry, encode_entry};

#[test]
fn an_entry_reads_as_it_was_written() {
    for (name, entry) in samples::entries() {
        let bytes = encode_entry(&entry);
        let read = decode_entry(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.value(), &entry, "{name}");
        assert_eq!(read.bytes(), bytes, "{name}");
    }
}

static ENTRIES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| samples::entries().iter().map(|(_, entry)| encode_entry(entry)).collect());

proptest! {
    /// Whatever is accepted has one encoding: its own.
    #[test]
    fn a_mutated_entry_is_refused_or_is_another_entry(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        let mut bytes = which.get(&ENTRIES).clone();
        for (place, byte, what) in edits {
            let at = place.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        if let Ok(read) = decode_entry(&bytes) {
            prop_assert_eq!(encode_entry(read.value()), bytes);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode_entry(&bytes);
    }
}
