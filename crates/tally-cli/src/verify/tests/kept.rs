//! Checkpoints that were kept, and witnesses.

use tally_log::{Cosigner, KeyName, SigningKey};

use super::*;

pub(super) fn seen(name: &str, note: &[u8], may_be_ahead: bool) -> Seen {
    Seen { name: name.to_owned(), note: note.to_vec(), may_be_ahead }
}

pub(super) fn held_against(leaves: &[Vec<u8>], seen: Vec<Seen>) -> Report {
    by_threads(&files_of(leaves), 2, &Trust { seen, ..Trust::default() })
}

pub(super) fn why(report: &Report) -> &str {
    assert_eq!(report.first_bad.as_ref().unwrap().leaf, None);
    &report.first_bad.as_ref().unwrap().why
}

#[test]
fn checkpoints_of_any_earlier_size_are_of_the_same_tree() {
    let leaves = ledger(600).leaves;
    let sizes = [0, 1, 2, 255, 256, 257, leaves.len() - 1, leaves.len()];
    let all = sizes
        .iter()
        .rev()
        .map(|size| seen(&size.to_string(), &files_of(&leaves[..*size])["checkpoint"], false));
    let report = held_against(&leaves, all.collect());
    assert_eq!(report.first_bad, None);
    let found = report.checkpoints.iter().map(|it| usize::try_from(it.size).unwrap());
    assert_eq!(found.collect::<Vec<_>>(), sizes);
}

#[test]
fn a_checkpoint_of_another_history_proves_a_fork() {
    let leaves = ledger(600).leaves;
    for size in [1, 200, leaves.len()] {
        let mut other = leaves[..size].to_vec();
        other[size - 1].push(0);
        let note = &files_of(&other)["checkpoint"];
        let report = held_against(&leaves, vec![seen("kept", note, true)]);
        let expected =
            format!("kept: ledger nodes signed another history of the first {size} leaves");
        assert!(why(&report).starts_with(&expected), "{}", why(&report));
    }
}

#[test]
fn a_checkpoint_that_no_ledger_node_signed_is_none_of_the_ledgers() {
    let leaves = ledger(600).leaves;
    let files = files_of(&leaves);
    let checkpoint = SignedCheckpoint::parse(&files["checkpoint"]).unwrap().checkpoint().clone();
    let stranger = SignedCheckpoint::sign(checkpoint.clone(), &signer("nobody")).unwrap();
    let report = held_against(&leaves, vec![seen("kept", stranger.to_string().as_bytes(), true)]);
    assert!(why(&report).contains("no ledger node"), "{}", why(&report));
    let report = held_against(&leaves, vec![seen("kept", b"nothing", true)]);
    assert!(why(&report).starts_with("kept: no checkpoint"), "{}", why(&report));
}

#[test]
fn a_ledger_that_was_larger_before_has_gone_back() {
    let leaves = ledger(600).leaves;
    let later = files_of(&ledger(900).leaves);
    let ahead = |may_be| held_against(&leaves, vec![seen("kept", &later["checkpoint"], may_be)]);
    assert_eq!((ahead(true).first_bad, ahead(true).checkpoints_ahead), (None, 1));
    assert!(why(&ahead(false)).contains("they took leaves back"), "{}", why(&ahead(false)));
}

fn witness(number: u8) -> Cosigner {
    let name = KeyName::new(&format!("witness.example/{number}")).unwrap();
    Cosigner::new(name, SigningKey::from_seed(&[100 + number; 32]))
}

/// The files of a ledger with four witnesses, and its checkpoint cosigned by the first so many.
fn cosigned(by: u8) -> BTreeMap<String, Vec<u8>> {
    let mut golden = ledger(300);
    golden.witnesses(&(1..=4).map(|it| witness(it).key().to_string()).collect::<Vec<_>>());
    golden.batch(3);
    let mut files = golden.files();
    let mut signed = SignedCheckpoint::parse(&files["checkpoint"]).unwrap();
    for number in 1..=by {
        let cosignature = witness(number).cosign(signed.checkpoint(), 1_795_428_902).unwrap();
        signed.add(cosignature).unwrap();
    }
    files.insert("checkpoint".to_owned(), signed.to_string().into_bytes());
    files
}

#[test]
fn a_quorum_of_the_registered_witnesses_is_counted_and_can_be_required() {
    let report = |by, require_witnesses| {
        by_threads(&cosigned(by), 1, &Trust { require_witnesses, ..Trust::default() })
    };
    for by in 0..=4 {
        let found = report(by, false);
        assert_eq!(found.first_bad, None);
        assert_eq!((found.quorum.needed, found.quorum.keys.len()), (3, by.into()));
        assert_eq!(found.cosignatures, usize::from(by));
        let required = report(by, true);
        let lacking = required.first_bad.map(|it| it.why);
        let words = format!("{by} of the witnesses in force have cosigned the checkpoint, 3 must");
        assert_eq!(lacking, (by < 3).then_some(words));
    }
    let ranges = report(3, true).witness_ranges;
    let counts = ranges.iter().map(|it| (it.witnesses, it.needed)).collect::<Vec<_>>();
    assert_eq!(counts, [(1, 1), (4, 3)]);
    assert!(ranges[0].from < ranges[1].from);
}

#[test]
fn a_ledger_cut_off_before_there_were_witnesses_is_not_a_witnessed_one() {
    let leaves = Golden::new().leaves;
    // The genesis alone.
    let files = files_of(&leaves[..1]);
    let trust = Trust { require_witnesses: true, ..Trust::default() };
    let lacking = by_threads(&files, 1, &trust).first_bad.map(|it| it.why);
    assert_eq!(lacking.as_deref(), Some("no witness is registered at the checkpoint's size"));
    let report = by_threads(&files, 1, &Trust::default());
    assert_eq!((report.first_bad, report.quorum.needed), (None, 0));
}
