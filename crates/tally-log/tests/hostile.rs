//! Texts that somebody bent: whatever still parses prints as it was read, and nothing panics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic here is a failed test")]

use proptest::prelude::*;
use tally_log::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use tally_log::note::{KeyName, NoteSigner};
use tally_log::{AddCheckpoint, Hash, NoteKey, Policy, SigningKey, TilePath, TlogProof};

#[derive(Debug, Clone)]
enum Bend {
    Replace(u8),
    Insert(u8),
    Remove,
    CutOff,
    Double,
}

fn bends() -> impl Strategy<Value = Vec<(prop::sample::Index, Bend)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\n =+/.0x\t\r#A".as_slice())];
    let bend = prop_oneof![
        byte.clone().prop_map(Bend::Replace),
        byte.prop_map(Bend::Insert),
        Just(Bend::Remove),
        Just(Bend::CutOff),
        Just(Bend::Double),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), bend), 0..3)
}

fn bent(text: &str, bends: &[(prop::sample::Index, Bend)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (place, bend) in bends {
        if bytes.is_empty() {
            break;
        }
        let place = place.index(bytes.len());
        match bend {
            Bend::Replace(byte) => bytes[place] = *byte,
            Bend::Insert(byte) => bytes.insert(place, *byte),
            Bend::Remove => drop(bytes.remove(place)),
            Bend::CutOff => bytes.truncate(place),
            Bend::Double => bytes.extend_from_within(place..),
        }
    }
    bytes
}

fn signed() -> SignedCheckpoint {
    let name = "mesh.example/ledger/0";
    let signer = NoteSigner::new(KeyName::new(name).unwrap(), SigningKey::from_seed(&[1; 32]));
    let origin = Origin::new(name).unwrap();
    let checkpoint = Checkpoint { origin, size: 1_000, root: Hash::from_bytes([9; 32]) };
    SignedCheckpoint::sign(checkpoint, &signer).unwrap()
}

fn key() -> NoteKey {
    let name = KeyName::new("mesh.example/ledger/0").unwrap();
    NoteKey::ed25519(name, SigningKey::from_seed(&[1; 32]).verifying_key())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bent_checkpoint_has_one_spelling(bends in bends()) {
        let bytes = bent(&signed().to_string(), &bends);
        if let Ok(read) = SignedCheckpoint::parse(&bytes) {
            prop_assert_eq!(read.to_string().into_bytes(), bytes);
            // What verifies is what was signed.
            if read.verify_log([&key()]).is_ok() {
                prop_assert_eq!(read.checkpoint().clone(), signed().checkpoint().clone());
            }
        }
    }

    #[test]
    fn a_bent_request_has_one_spelling(hashes in 0_usize..65, bends in bends()) {
        let proof = vec![Hash::from_bytes([7; 32]); hashes];
        let request = AddCheckpoint { old_size: 12, proof, checkpoint: signed() };
        let bytes = bent(&request.to_string(), &bends);
        if let Ok(read) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(read.to_string().into_bytes(), bytes);
        }
    }

    #[test]
    fn a_bent_proof_has_one_spelling(
        hashes in 0_usize..65,
        extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
        bends in bends(),
    ) {
        let path = vec![Hash::from_bytes([7; 32]); hashes];
        let proof = TlogProof { extra, index: 12, path, checkpoint: signed() };
        let bytes = bent(&proof.to_string(), &bends);
        if let Ok(read) = TlogProof::parse(&bytes) {
            prop_assert_eq!(read.to_string().into_bytes(), bytes);
        }
    }

    #[test]
    fn a_bent_key_or_path_has_one_spelling(bends in bends()) {
        let bytes = bent(&key().to_string(), &bends);
        if let Some(read) = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<NoteKey>().ok()) {
            prop_assert_eq!(read.to_string().into_bytes(), bytes);
        }
        let bytes = bent("tile/0/x001/x234/067.p/8", &bends);
        if let Some(read) = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<TilePath>().ok()) {
            prop_assert_eq!(read.to_string().into_bytes(), bytes);
        }
    }

    #[test]
    fn a_bent_policy_says_the_same_when_printed(bends in bends()) {
        let witness = |seed| {
            let name = KeyName::new("witness.example").unwrap();
            NoteKey::cosignature_v1(name, SigningKey::from_seed(&[seed; 32]).verifying_key())
        };
        let text = format!(
            "log {}\nwitness a {} https://a.example\nwitness b {}\ngroup g any a b\nquorum g\n",
            key(), witness(2), witness(3),
        );
        let bytes = bent(&text, &bends);
        if let Ok(read) = Policy::parse(&bytes) {
            prop_assert_eq!(Policy::parse(read.to_string().as_bytes()), Ok(read));
        }
    }
}
