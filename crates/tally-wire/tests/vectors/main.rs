//! The vectors in `proto/vectors`, in both directions, and bytes that nobody wrote on purpose.

#![allow(clippy::unwrap_used, reason = "a sample that cannot be made should stop the test there")]
#![allow(clippy::panic, reason = "says which vector it is about")]
#![allow(clippy::indexing_slicing, reason = "positions come from the bytes themselves")]
#![allow(clippy::disallowed_methods, reason = "tests read and write files; the crate does not")]

mod bad;
mod cbor;
mod ledger;
mod messages;
mod samples;
mod vector;

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use tally_core::entry::{BATCH_LEN_MAX, Entry};
use tally_core::ledger::{Proposal, Submission};
use tally_core::opening::Opening;
use tally_core::refusal::Fault;
use tally_core::register::{RegisterName, RegisterRef};
use tally_wire::ledger::{PROPOSAL_LEN_MAX, SUBMISSION_LEN_MAX};
use tally_wire::message::AGENT_FRAME_LEN_MAX;
use tally_wire::message::agent::Answer;
use tally_wire::{
    DecodeError, OPENING_LEN_MAX, decode_entry, decode_value, encode_checked, encode_entry,
};
use vector::{Vector, directory, generates, good};

fn vectors() -> Vec<Vector> {
    let entries = samples::entries().into_iter();
    let entries = entries.map(|(name, entry)| good(name, ("entries", "entry"), entry));
    let agreement = good("agreement", ("registers", "agreement"), samples::agreement());
    entries
        .chain([agreement])
        .chain(messages::vectors())
        .chain(ledger::vectors())
        .chain(bad::vectors())
        .collect()
}

#[test]
fn the_committed_vectors_are_what_they_say() {
    let vectors = vectors();
    if generates() {
        vectors.iter().for_each(Vector::rewrite);
    }
    let wrong = vectors.iter().filter_map(Vector::wrong).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What only [`DecodeError`] says: which rule, and whose fault.
#[test]
fn every_error_is_the_fault_of_who_wrote_the_bytes() {
    let error = decode_entry(&[0x82, 9, 1]).unwrap_err();
    assert_eq!((error.code(), error.fault()), ("unknown-kind", Fault::Peer));
}

/// Too large for a file: the limits of what holds much.
#[test]
fn what_is_larger_than_its_limit_is_refused() {
    let refused = |error: DecodeError| assert_eq!(error.code(), "too-large");
    refused(decode_value::<Proposal>(&vec![0; PROPOSAL_LEN_MAX + 1]).unwrap_err());
    refused(decode_value::<Submission>(&vec![0; SUBMISSION_LEN_MAX + 1]).unwrap_err());
    refused(decode_value::<Opening>(&vec![0; OPENING_LEN_MAX + 1]).unwrap_err());
    refused(decode_value::<Answer>(&vec![0; AGENT_FRAME_LEN_MAX + 1]).unwrap_err());

    // Each leaf may be as large as it is, but not all of them together.
    let mut batch = ledger::batch();
    let mut half = samples::provider_half();
    half.read_set = (0..=255_u8)
        .map(|number| RegisterRef {
            name: RegisterName::Consent("C".repeat(32).parse().unwrap(), number),
            version: u64::MAX,
        })
        .collect();
    let large = encode_checked(Entry::ProviderHalf(Box::new(half))).unwrap();
    batch.entries = vec![large.clone(); BATCH_LEN_MAX / large.bytes().len()];
    assert!(encode_checked(Submission::Batch(batch.clone())).is_ok());
    batch.entries.push(large);
    refused(encode_checked(Submission::Batch(batch)).unwrap_err());
}

#[test]
fn no_vector_is_forgotten() {
    let known = vectors().iter().map(|vector| vector.name().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(known.len(), vectors().len(), "two vectors have one name");
    for file in fs::read_dir(directory()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".cbor").or_else(|| name.strip_suffix(".diag"));
        assert!(stem.is_some_and(|stem| known.contains(stem)), "{name} is nobody's");
    }
}

#[test]
fn an_entry_reads_as_it_was_written() {
    for (name, entry) in samples::entries() {
        let bytes = encode_entry(&entry);
        let read = decode_entry(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.value(), &entry, "{name}");
        assert_eq!(read.bytes(), bytes, "{name}");
    }
}

static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(vectors);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever is accepted has one encoding: its own.
    #[test]
    fn what_was_changed_is_refused_or_is_something_else(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        let vector = which.get(&VECTORS);
        let mut bytes = vector.bytes().to_vec();
        for (place, byte, what) in edits {
            let at = place.index(bytes.len().max(1));
            match what {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        prop_assert!(vector.is_refused_or_canonical(&bytes), "{}", vector.name());
    }

    #[test]
    fn no_bytes_make_it_panic(
        which in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        prop_assert!(which.get(&VECTORS).is_refused_or_canonical(&bytes));
    }
}
