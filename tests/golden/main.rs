//! The golden log: what was decided once is decided for ever.
//!
//! `proto/golden/log.cbor` holds proposals as a ledger's Raft log does: for each, its length in four
//! bytes, big-endian, and its bytes. `log.txt` says what comes of them, leaf by leaf, and
//! `state.cbor` is the state after the last. All are committed: code that reads the log otherwise
//! would part from the replicas that read it before. They change only with a raised protocol
//! version, and then another log is added.

#![allow(clippy::unwrap_used, reason = "a log that cannot be made or read should stop the test")]
#![allow(clippy::panic, reason = "says what a step came to instead")]
#![allow(clippy::indexing_slicing, reason = "positions come from the story itself")]

mod disposals;
mod reviews;
mod story;
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use proptest::prelude::*;
use tally_core::Encoded;
use tally_core::ledger::{Applied, LeafValue, Proposal, Rejection, State, Verdict};
use tally_log::{Edge, Hash, leaf_hash};
use tally_tests::workspace_root;
use tally_wire::{decode, decode_state, encode, encode_state};

use world::{Node, mesh_id};

/// Rejections that no bytes lead to: the codec refuses them before. Or that a story as short as this
/// one can't reach.
const NOT_IN_THE_LOG: [&str; 16] = [
    // The codec refuses: sizes and order.
    "empty-batch",
    "too-many-entries",
    "too-large",
    "read-set-disordered",
    "approvals-disordered",
    // Thousands of accesses would have to wait for their review.
    "reviews-full",
    // A leader says so before it proposes anything.
    "protocol-unsupported",
    "voters-cut-off",
    // Only a node says so, to an agent.
    "recovery-not-submitted",
    // The story has one epoch. What begins another is told where recoveries are tested.
    "recovery-out-of-turn",
    "recovery-of-other-leaves",
    "recovery-node-unknown",
    // Its founders would have to lead to the mesh's id.
    "genesis-malformed",
    // In a test mesh everybody is made up, and no year is waited for.
    "disposal-early",
    // It takes 4,097 batches.
    "too-old",
    // A variant of its own, listed by its names.
    "stale",
];

#[test]
fn the_golden_log_is_decided_as_it_always_was() {
    if env::var_os("GENERATE").is_some() {
        generate();
    }
    let proposals = committed_log();
    let (state, text) = replay(&proposals);
    assert_eq!(text, fs::read_to_string(path("log.txt")).unwrap());
    let bytes = encode_state(&state).unwrap();
    assert!(bytes == fs::read(path("state.cbor")).unwrap(), "the state is another");
    assert_eq!(decode_state(&bytes).unwrap(), state);
}

#[test]
fn the_log_tells_the_whole_story() {
    let (proposals, verdicts) = story::tell().into_log();
    let bytes = proposals.iter().map(encode).collect::<Vec<_>>();
    let committed = committed_log().into_iter().map(|it| it.into_parts().1).collect::<Vec<_>>();
    assert!(bytes == committed, "the story was changed: its log has to be generated anew");

    let seen = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Rejected(rejection) => Some(rejection.code()),
        _ => None,
    });
    let seen = seen.collect::<BTreeSet<_>>();
    let all = Rejection::CODES.iter().map(|(_, code)| *code);
    let unseen = all.filter(|code| !seen.contains(code) && !NOT_IN_THE_LOG.contains(code));
    assert_eq!(unseen.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn a_checkpoint_file_in_the_middle_changes_nothing() {
    let proposals = committed_log();
    let mut state = State::new(mesh_id());
    for proposal in &proposals {
        state.apply(proposal.value(), &Node);
        let bytes = encode_state(&state).unwrap();
        state = decode_state(&bytes).unwrap();
    }
    assert_eq!(state, replay(&proposals).0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However the leaders had gathered the submissions: the same verdicts, leaves and root.
    #[test]
    fn the_log_in_any_chunking_gives_the_same_leaves(
        cuts in prop::collection::vec(any::<bool>(), 256),
    ) {
        let whole = committed_log();
        let (expected, _) = replay(&whole);
        let (leaves, verdicts) = leaves_and_verdicts(whole.iter().map(Encoded::value));
        let chunks = rechunked(&whole, &cuts);
        let (chunked_leaves, chunked_verdicts) = leaves_and_verdicts(chunks.iter());
        prop_assert_eq!(leaves, chunked_leaves);
        prop_assert_eq!(verdicts, chunked_verdicts);
        let mut state = State::new(mesh_id());
        chunks.iter().for_each(|chunk| { state.apply(chunk, &Node); });
        prop_assert_eq!(state, expected);
    }

    /// A log whose bytes were damaged is refused or decided, never a panic.
    #[test]
    fn a_damaged_log_is_no_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut log = committed_log().into_iter().map(|it| it.into_parts().1).collect::<Vec<_>>();
        for (proposal, place, byte) in edits {
            let proposal = proposal.index(log.len());
            let place = place.index(log[proposal].len());
            log[proposal][place] = byte;
        }
        let mut state = State::new(mesh_id());
        for proposal in log.iter().filter_map(|bytes| decode::<Proposal>(bytes).ok()) {
            let size = state.size();
            let applied = state.apply(proposal.value(), &Node);
            prop_assert_eq!(size + applied.hashes.len() as u64, state.size());
        }
    }
}

/// Cuts each proposal where it is told to, keeping its time.
fn rechunked(log: &[Encoded<Proposal>], cuts: &[bool]) -> Vec<Proposal> {
    let mut cuts = cuts.iter().cycle();
    let mut chunks: Vec<Proposal> = Vec::new();
    for proposal in log {
        let time = proposal.value().time;
        for submission in &proposal.value().submissions {
            let last = chunks.last_mut().filter(|last| last.time == time);
            match last.filter(|_| !cuts.next().unwrap()) {
                Some(last) => last.submissions.push(submission.clone()),
                None => chunks.push(Proposal { time, submissions: vec![submission.clone()] }),
            }
        }
    }
    chunks
}

/// Verdicts but for the edges before batches that were answered again: those depend on nothing else
/// either, and are compared too.
fn leaves_and_verdicts<'a>(
    log: impl Iterator<Item = &'a Proposal>,
) -> (Vec<Vec<u8>>, Vec<Verdict>) {
    let mut state = State::new(mesh_id());
    let (mut leaves, mut verdicts) = (Vec::new(), Vec::new());
    for proposal in log {
        let applied = state.apply(proposal, &Node);
        leaves.extend(applied.leaves(proposal).map(|leaf| leaf.bytes.to_vec()));
        verdicts.extend(applied.verdicts);
    }
    (leaves, verdicts)
}

/// Applies the log, checks each leaf against the tree, and tells what came of it.
fn replay(log: &[Encoded<Proposal>]) -> (State, String) {
    let mut state = State::new(mesh_id());
    let mut edge = Edge::new();
    let mut text = format!("mesh {}\n", mesh_id());
    for proposal in log {
        let proposal = proposal.value();
        let applied = state.apply(proposal, &Node);
        for leaf in applied.leaves(proposal) {
            assert_eq!(leaf.hash, leaf_hash(leaf.bytes));
            edge.push(leaf.hash);
        }
        assert_eq!(edge.root(), state.root());
        tell(&mut text, proposal, &applied, state.root());
    }
    (state, text)
}

fn tell(text: &mut String, proposal: &Proposal, applied: &Applied, root: Hash) {
    writeln!(text, "\nproposal at {}", proposal.time).unwrap();
    for verdict in &applied.verdicts {
        match verdict {
            Verdict::Founded => writeln!(text, "  founded"),
            Verdict::Recovered(leaf) => writeln!(text, "  recovered: leaf {leaf}"),
            Verdict::SessionStarted(session) => writeln!(text, "  session {}", session.0),
            Verdict::Accepted(accepted) => {
                writeln!(
                    text,
                    "  accepted: leaves {} to {}",
                    accepted.first_leaf,
                    accepted.seal_leaf()
                )
            }
            Verdict::Rejected(rejection) => {
                let names = rejection.stale().iter().map(|name| format!(" {name}"));
                writeln!(text, "  rejected: {rejection}{}", names.collect::<String>())
            }
            Verdict::Halted => writeln!(text, "  halted"),
        }
        .unwrap();
    }
    for leaf in applied.leaves(proposal) {
        let kind = match leaf.value {
            LeafValue::Genesis(_) => "genesis",
            LeafValue::Recovery(_) => "recovery",
            LeafValue::SessionStart(_) => "session start",
            LeafValue::Entry(_) => "entry",
            LeafValue::Seal(_) => "seal",
        };
        writeln!(text, "  leaf {} {} {kind}", leaf.index, leaf.hash).unwrap();
    }
    writeln!(text, "  root {root}").unwrap();
}

fn generate() {
    let (proposals, _) = story::tell().into_log();
    let mut log = Vec::new();
    for bytes in proposals.iter().map(encode) {
        log.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        log.extend_from_slice(&bytes);
    }
    fs::create_dir_all(path("")).unwrap();
    fs::write(path("log.cbor"), log).unwrap();
    let (state, text) = replay(&committed_log());
    fs::write(path("log.txt"), text).unwrap();
    fs::write(path("state.cbor"), encode_state(&state).unwrap()).unwrap();
}

fn committed_log() -> Vec<Encoded<Proposal>> {
    let log = fs::read(path("log.cbor")).unwrap();
    let mut rest = log.as_slice();
    let mut proposals = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let (bytes, tail) = tail.split_at(u32::from_be_bytes(*head) as usize);
        proposals.push(decode(bytes).unwrap());
        rest = tail;
    }
    assert!(rest.is_empty());
    proposals
}

fn path(file: &str) -> PathBuf {
    workspace_root().join("proto/golden").join(file)
}
