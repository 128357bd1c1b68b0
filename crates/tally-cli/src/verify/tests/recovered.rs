//! A ledger that went on in a new epoch: what is there verifies, and what was lost is named.

use tally_core::entry::Recovery;
use tally_log::{Checkpoint, Origin};

use super::kept::{held_against, seen, why};
use super::*;
use crate::golden::signer_in;

/// The ledger before a recovery, after it, and the recovery's leaf.
fn recovered() -> (Golden, Golden, u64) {
    let before = ledger(300);
    let mut after = ledger(300);
    let leaf = after.recover();
    after.batch(20);
    (before, after, leaf)
}

fn note(leaves: &[Vec<u8>]) -> Vec<u8> {
    files_of(leaves)["checkpoint"].clone()
}

#[test]
fn an_export_over_two_recoveries_verifies() {
    let (before, mut after, leaf) = recovered();
    let second = after.recover();
    after.batch(3);
    let report = checked(&after.files());
    assert_eq!((report.first_bad, report.leaves_checked), (None, after.state.size()));
    let origin = report.checkpoint.unwrap().origin.to_string();
    assert_eq!(origin, "golden.example/ledger/2");
    let found: Vec<_> = report.recoveries.iter().map(|it| (it.epoch, it.leaf.0)).collect();
    assert_eq!(found, [(1, leaf), (2, second)]);
    assert_eq!(leaf, before.state.size());
    assert!(report.recoveries.iter().all(|it| it.known_lost() == 0));
}

#[test]
fn checkpoints_of_each_epoch_are_held_against_the_one_tree() {
    let (before, after, leaf) = recovered();
    let leaves = &after.leaves;
    let of_old = [&before.leaves[..200], &before.leaves[..]].map(note);
    let of_new = [&leaves[..usize::try_from(leaf).unwrap() + 1], &leaves[..]].map(note);
    let all = of_old.iter().chain(&of_new).map(|note| seen("kept", note, false)).collect();
    let report = held_against(leaves, all);
    assert_eq!((report.first_bad, report.checkpoints.len()), (None, 4));
    assert_eq!(report.recoveries[0].known_lost(), 0);
}

#[test]
fn what_the_old_epoch_had_signed_beyond_its_end_is_named_as_lost() {
    let (mut before, after, leaf) = recovered();
    before.batch(33);
    let nearer = note(&before.leaves[..before.leaves.len() - 10]);
    for may_be_ahead in [false, true] {
        let lost = note(&before.leaves);
        let kept = [("lost", &lost), ("nearer", &nearer)];
        let kept = kept.map(|(name, note)| seen(name, note, may_be_ahead)).to_vec();
        let report = held_against(&after.leaves, kept);
        let size = before.leaves.len();
        let expected = format!(
            "lost: checkpoint of epoch 0 over {size} leaves: the ledger was recovered at {leaf}: 34 \
             leaves that it had acknowledged are lost"
        );
        assert_eq!(why(&report), expected);
        // All else is looked at all the same.
        assert_eq!(report.leaves_checked, after.state.size());
        assert_eq!((report.checkpoints.len(), report.checkpoints_ahead), (0, 0));
        assert_eq!(report.recoveries[0].known_lost(), 34);
    }
}

#[test]
fn a_loss_is_told_however_far_the_new_epoch_has_got() {
    let (mut before, mut after, leaf) = recovered();
    before.batch(4);
    let of_0 = note(&before.leaves);
    let mut went_on = after.leaves.clone();
    went_on.truncate(usize::try_from(leaf).unwrap() + 1);
    let of_1 = note(&after.leaves);
    let second = after.recover();
    after.batch(200);
    let report = held_against(&after.leaves, vec![seen("0", &of_0, true), seen("1", &of_1, true)]);
    let lost = report.recoveries.iter().map(|it| (it.leaf.0, it.known_lost()));
    assert_eq!(lost.collect::<Vec<_>>(), [(leaf, 5), (second, 0)]);
    assert!(why(&report).starts_with("0: checkpoint of epoch 0"), "{}", why(&report));
    let report = held_against(&went_on, vec![seen("0", &of_0, false)]);
    assert_eq!(report.recoveries[0].known_lost(), 5);
    // One of epoch 1 is ahead of a ledger that has not got there.
    let report = held_against(&went_on, vec![seen("1", &of_1, true)]);
    assert_eq!((report.first_bad, report.checkpoints_ahead), (None, 1));
}

#[test]
fn only_what_the_ledgers_nodes_signed_shows_a_loss() {
    let (mut before, after, _) = recovered();
    before.batch(3);
    let checkpoint = SignedCheckpoint::parse(&note(&before.leaves)).unwrap().checkpoint().clone();
    let stranger = SignedCheckpoint::sign(checkpoint, &signer("nobody")).unwrap().to_string();
    let report = held_against(&after.leaves, vec![seen("kept", stranger.as_bytes(), true)]);
    assert!(why(&report).contains("no ledger node"), "{}", why(&report));
}

#[test]
fn a_checkpoint_is_that_of_the_epoch_of_its_size() {
    let (_, after, leaf) = recovered();
    let at = |size: usize, epoch: u64| {
        let good = SignedCheckpoint::parse(&note(&after.leaves[..size])).unwrap();
        let origin = Origin::new(&format!("golden.example/ledger/{epoch}")).unwrap();
        let checkpoint = Checkpoint { origin, ..good.checkpoint().clone() };
        SignedCheckpoint::sign(checkpoint, &signer_in("LZ9", epoch)).unwrap()
    };
    let leaf = usize::try_from(leaf).unwrap();
    // The new epoch signs nothing before its first leaf, and the old one not that leaf.
    let early = at(leaf, 1).to_string();
    let report = held_against(&after.leaves, vec![seen("kept", early.as_bytes(), true)]);
    assert!(why(&report).contains("is that of golden.example/ledger/1"), "{}", why(&report));
    let mut files = after.files();
    let late = at(after.leaves.len(), 0);
    files.insert("checkpoint".to_owned(), late.to_string().into_bytes());
    let report = by_threads(&files, 1, &Trust::default());
    assert!(why(&report).contains("the leaves are those of golden.example/ledger/1"));
}

#[test]
fn a_recovery_that_breaks_the_rules_is_the_first_bad_leaf() {
    let (_, after, leaf) = recovered();
    let at = usize::try_from(leaf).unwrap();
    let bad = |change: &dyn Fn(&mut Recovery)| {
        let mut leaves = after.leaves.clone();
        let Entry::Recovery(mut recovery) =
            tally_wire::decode_entry(&leaves[at]).unwrap().into_parts().0
        else {
            panic!("another kind of leaf")
        };
        change(&mut recovery);
        leaves[at] = tally_wire::encode(&Entry::Recovery(recovery));
        let (leaf, why) = first_bad(&files_of(&leaves));
        (leaf, why.split(&[',', ':'][..]).nth(1).unwrap_or_default().trim().to_owned())
    };
    let named = |code: &str| (Some(leaf), code.to_owned());
    assert_eq!(bad(&|it| it.root = leaf_hash(b"other")), named("recovery-of-other-leaves"));
    assert_eq!(bad(&|it| it.approvals.truncate(1)), named("approvals-missing"));
    assert_eq!(bad(&|it| it.epoch = 2), named("recovery-out-of-turn"));
    assert_eq!(bad(&|it| it.salt.0[0] ^= 1), named("approval-invalid"));
}

#[test]
fn the_list_of_registers_tells_of_a_recovery() {
    let (_, after, leaf) = recovered();
    let mut files = after.files();
    let mut registers: RegisterLeaves = tally_wire::decode_value(&files["registers.cbor"]).unwrap();
    registers.leaves.retain(|it| it.leaf.0 != leaf);
    files.insert("registers.cbor".to_owned(), tally_wire::encode(&registers));
    assert_eq!(first_bad(&files).0, Some(leaf));
}
