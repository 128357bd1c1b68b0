//! What a witness cosigns, what it refuses, and what is left of it when its process dies.

use std::path::Path;

use tally_core::time::Timestamp;
use tally_log::note::signature_lines;
use tally_log::proof::consistency;
use tally_log::{
    AddCheckpoint, Checkpoint, Cosigner, Hash, KeyName, NodeId, NoteKey, NoteSigner, Origin,
    SignedCheckpoint, SigningKey, leaf_hash, root_of,
};

use super::evidence::{Deed, EvidenceDir};
use super::judge::{Judge, LogKeys, Verdict, Why};
use super::state::{Death, WitnessState};

const ORIGIN: &str = "mesh.example/ledger/0";

/// A log, and what it could say of itself at each size.
pub(super) struct History(Vec<Hash>);

impl History {
    pub(super) fn new(size: usize) -> Self {
        Self((0..size).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect())
    }

    /// The same leaves up to one of them.
    pub(super) fn forked(size: usize, from: usize) -> Self {
        let mut history = Self::new(size);
        history.0.iter_mut().skip(from).for_each(|leaf| *leaf = leaf_hash(leaf.as_bytes()));
        history
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::new(ORIGIN).unwrap()
    }

    /// By most of the nodes.
    pub(super) fn signed(&self, size: u64) -> SignedCheckpoint {
        let mut signed = self.signed_by(size, 1);
        let line = self.signed_by(size, 2).note().signatures()[0].clone();
        signed.add(line).unwrap();
        signed
    }

    fn signed_by(&self, size: u64, seed: u8) -> SignedCheckpoint {
        let root = root_of(&self.0[..usize::try_from(size).unwrap()]);
        let checkpoint = Checkpoint { origin: self.origin(), size, root };
        SignedCheckpoint::sign(checkpoint, &log_signer(seed)).unwrap()
    }

    fn ask(&self, old_size: u64, size: u64) -> String {
        let node = |id: NodeId| {
            let begin = usize::try_from(id.index() << id.level()).ok()?;
            self.0.get(begin..begin + (1 << id.level())).map(root_of)
        };
        let proof = consistency(old_size, size, node).unwrap();
        AddCheckpoint { old_size, proof, checkpoint: self.signed(size) }.to_string()
    }
}

fn log_signer(seed: u8) -> NoteSigner {
    NoteSigner::new(KeyName::new(ORIGIN).unwrap(), SigningKey::from_seed(&[seed; 32]))
}

fn cosigner(seed: u8) -> Cosigner {
    let name = KeyName::new("mesh.example/witness/RZ9").unwrap();
    Cosigner::new(name, SigningKey::from_seed(&[seed; 32]))
}

pub(super) fn witness_key(seed: u8) -> NoteKey {
    cosigner(seed).key().clone()
}

fn log_keys() -> Vec<NoteKey> {
    [1, 2, 3].map(|seed| log_signer(seed).key().clone()).to_vec()
}

fn judged(judge: &mut Judge, request: &[u8], at: Timestamp) -> Verdict {
    let keys = log_keys();
    judge.judge(request, LogKeys { known: &keys, present: &keys }, at)
}

fn begin(dir: &Path) -> Judge {
    WitnessState::create(dir, &witness_key(7)).unwrap();
    resume(dir, None)
}

fn resume(dir: &Path, dies: Option<Death>) -> Judge {
    let mut state = WitnessState::open(dir, &witness_key(7)).unwrap();
    state.dies = dies;
    Judge::new(cosigner(7), state, EvidenceDir::open(dir).unwrap())
}

fn now() -> Timestamp {
    Timestamp(1_800_000_000_000)
}

fn ask(judge: &mut Judge, history: &History, old: u64, new: u64) -> Verdict {
    judged(judge, history.ask(old, new).as_bytes(), now())
}

fn kept(judge: &Judge) -> Vec<(Deed, SignedCheckpoint, SignedCheckpoint)> {
    let read = |note: &str| SignedCheckpoint::parse(note.as_bytes()).unwrap();
    let kept = judge.evidence().kept().iter();
    kept.map(|(_, it)| (it.why, read(&it.known), read(&it.offered))).collect()
}

#[test]
fn a_witness_cosigns_one_history_and_its_cosignatures_verify() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(30);
    let mut judge = begin(dir.path());
    for (old, new) in [(0, 7), (7, 7), (7, 20), (20, 30)] {
        let verdict = ask(&mut judge, &history, old, new);
        assert_eq!(verdict.status, 200, "{old} to {new}");
        let lines = signature_lines(std::str::from_utf8(&verdict.body).unwrap()).unwrap();
        let mut signed = history.signed(new);
        lines.into_iter().for_each(|line| signed.add(line).unwrap());
        let key = witness_key(7);
        let verified = signed.note().verify([&key]).unwrap();
        assert_eq!(verified[0].time_s, Some(1_800_000_000));
    }
    assert_eq!(judge.last().unwrap().checkpoint().size, 30);
    assert_eq!(judge.last_at_s(), Some(1_800_000_000));
    drop(judge);
    // After a restart it goes on from there.
    let mut judge = resume(dir.path(), None);
    let told = ask(&mut judge, &history, 20, 30);
    assert_eq!((told.status, told.body.as_slice()), (409, b"30\n".as_slice()));
    assert!(kept(&judge).is_empty());
}

#[test]
fn a_fork_is_refused_and_both_checkpoints_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (History::new(30), History::forked(30, 9));
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &one, 0, 12).status, 200);
    // The same size, told by the right old size and by another; a larger one.
    for (old, new) in [(12, 12), (5, 12), (12, 20)] {
        let verdict = ask(&mut judge, &other, old, new);
        assert_eq!((verdict.status, verdict.body.len()), (422, 0), "{old} to {new}");
    }
    assert_eq!(judge.refused(Why::Fork), 3);
    let kept = kept(&judge);
    let shown = kept
        .iter()
        .map(|(why, known, offered)| (*why, known.checkpoint().size, offered.checkpoint().size));
    let shown = shown.collect::<Vec<_>>();
    assert_eq!(shown, [(Deed::Fork, 12, 12), (Deed::Fork, 12, 20)]);
    for (_, known, offered) in &kept {
        // A third party needs no more than the log's key.
        assert!(known.verify_log(&log_keys()).is_ok() && offered.verify_log(&log_keys()).is_ok());
        assert_eq!(known.checkpoint().root, one.signed(12).checkpoint().root);
    }
    // The history that it knows goes on.
    assert_eq!(ask(&mut judge, &one, 12, 20).status, 200);
}

#[test]
fn a_rollback_is_refused_and_both_checkpoints_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(30);
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &history, 0, 20).status, 200);
    let proofless =
        AddCheckpoint { old_size: 20, proof: Vec::new(), checkpoint: history.signed(8) };
    let verdict = judged(&mut judge, proofless.to_string().as_bytes(), now());
    assert_eq!(verdict.status, 400);
    assert_eq!(judge.refused(Why::Rollback), 1);
    let kept = kept(&judge);
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].0, kept[0].1.checkpoint().size, kept[0].2.checkpoint().size),
        (Deed::Rollback, 20, 8)
    );
}

#[test]
fn a_new_leader_may_offer_less_for_a_moment_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(30);
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &history, 0, 20).status, 200);
    let offer = |judge: &mut Judge, after_ms: u64| {
        let at = Timestamp(now().0 + after_ms);
        judged(judge, history.ask(0, 15).as_bytes(), at)
    };
    for after_ms in [0, 1_000, 4_000] {
        let verdict = offer(&mut judge, after_ms);
        assert_eq!((verdict.status, verdict.body.as_slice()), (409, b"20\n".as_slice()));
    }
    assert!(kept(&judge).is_empty());
    assert_eq!((judge.refused(Why::Smaller), judge.refused(Why::Rollback)), (3, 0));
    assert_eq!(offer(&mut judge, 6_000).status, 409);
    assert_eq!(judge.refused(Why::Rollback), 1);
    assert_eq!(kept(&judge)[0].0, Deed::Rollback);
}

#[test]
fn a_leader_that_catches_up_has_done_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(30);
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &history, 0, 20).status, 200);
    assert_eq!(ask(&mut judge, &history, 0, 15).status, 409);
    assert_eq!(ask(&mut judge, &history, 20, 25).status, 200);
    let at = Timestamp(now().0 + 60_000);
    assert_eq!(judged(&mut judge, history.ask(0, 22).as_bytes(), at).status, 409);
    assert!(kept(&judge).is_empty(), "it was told a minute ago of another matter");
}

#[test]
fn what_the_log_did_not_sign_is_neither_cosigned_nor_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (History::new(30), History::forked(30, 3));
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &one, 0, 12).status, 200);
    let mut stranger = AddCheckpoint::parse(other.ask(12, 20).as_bytes()).unwrap();
    stranger.checkpoint = other.signed_by(20, 9);
    let verdict = judged(&mut judge, stranger.to_string().as_bytes(), now());
    assert_eq!(verdict.status, 403);
    let renamed = other.ask(12, 20).replace(ORIGIN, "mesh.example/ledger/1");
    assert_eq!(judged(&mut judge, renamed.as_bytes(), now()).status, 404);
    assert_eq!(judged(&mut judge, b"new 1\n\n", now()).status, 400);
    // A proof of another shape says nothing of the log.
    let mut bent = AddCheckpoint::parse(one.ask(12, 20).as_bytes()).unwrap();
    bent.proof.pop();
    assert_eq!(judged(&mut judge, bent.to_string().as_bytes(), now()).status, 422);
    let counts = [Why::NotSigned, Why::UnknownLog, Why::Malformed, Why::Fork];
    assert_eq!(counts.map(|why| judge.refused(why)), [1, 1, 2, 0]);
    assert!(kept(&judge).is_empty());
}

#[test]
fn what_one_node_alone_has_signed_is_not_cosigned_and_costs_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (History::new(30), History::forked(30, 13));
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &one, 0, 12).status, 200);
    // It follows on what was cosigned, and no other node has it.
    let mut alone = AddCheckpoint::parse(other.ask(12, 20).as_bytes()).unwrap();
    alone.checkpoint = other.signed_by(20, 3);
    let request = alone.to_string();
    for _ in 0..2 {
        let verdict = judged(&mut judge, request.as_bytes(), now());
        assert_eq!((verdict.status, verdict.body.len()), (503, 0));
    }
    // A signature twice is one node's, and so are those of nodes that are gone.
    let line = alone.checkpoint.note().signatures()[0].clone();
    alone.checkpoint.add(line).unwrap();
    assert_eq!(judged(&mut judge, alone.to_string().as_bytes(), now()).status, 503);
    let keys = log_keys();
    let gone = LogKeys { known: &keys, present: &keys[..1] };
    assert_eq!(judge.judge(request.as_bytes(), gone, now()).status, 503);
    let none = LogKeys { known: &keys, present: &[] };
    assert_eq!(judge.judge(request.as_bytes(), none, now()).status, 503);
    assert_eq!(judge.refused(Why::TooFewNodes), 5);
    assert_eq!(ask(&mut judge, &one, 12, 20).status, 200);
    // Where there is one node, it is most of them.
    let lone = LogKeys { known: &keys, present: &keys[..1] };
    let mut asked = AddCheckpoint::parse(one.ask(20, 25).as_bytes()).unwrap();
    asked.checkpoint = one.signed_by(25, 1);
    assert_eq!(judge.judge(asked.to_string().as_bytes(), lone, now()).status, 200);
}

#[test]
fn a_receipt_from_another_history_is_evidence_too() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (History::new(30), History::forked(30, 3));
    let mut judge = begin(dir.path());
    assert_eq!(ask(&mut judge, &one, 0, 12).status, 200);
    let see = |judge: &mut Judge, history: &History, size, seed| {
        let note = history.signed_by(size, seed).to_string();
        judge.see(note.as_bytes(), &log_keys(), now());
    };
    // The same, an older one, a stranger's: none says anything.
    see(&mut judge, &one, 12, 1);
    see(&mut judge, &one, 11, 2);
    see(&mut judge, &other, 12, 9);
    assert!(kept(&judge).is_empty());
    see(&mut judge, &other, 12, 2);
    assert_eq!(kept(&judge).len(), 1);
    // And a receipt that came before what is offered now.
    see(&mut judge, &other, 15, 2);
    assert_eq!(ask(&mut judge, &one, 12, 15).status, 422);
    assert_eq!(kept(&judge).len(), 2);
    assert_eq!(
        judge.evidence().kept().iter().filter(|(_, it)| it.known_by == "receipt").count(),
        1
    );
    assert_eq!(judge.last().unwrap().checkpoint().size, 12);
}

#[test]
fn a_witness_that_dies_between_writing_and_answering_never_cosigns_two_histories() {
    let (one, other) = (History::new(30), History::forked(30, 9));
    let deaths = [Death::BeforeWriting, Death::HalfWritten, Death::NotRenamed, Death::Renamed];
    for death in deaths {
        let dir = tempfile::tempdir().unwrap();
        let mut answered = Vec::new();
        let mut cosign = |judge: &mut Judge, history: &History, old, new| {
            let verdict = ask(judge, history, old, new);
            if verdict.status == 200 {
                answered.push(history.signed(new).checkpoint().clone());
            }
            verdict.status
        };
        let mut judge = begin(dir.path());
        assert_eq!(cosign(&mut judge, &one, 0, 5), 200);
        drop(judge);
        let mut judge = resume(dir.path(), Some(death));
        assert_eq!(cosign(&mut judge, &one, 5, 12), 500, "{death:?}: nobody was answered");
        drop(judge);
        let mut judge = resume(dir.path(), None);
        let size = judge.last().unwrap().checkpoint().size;
        assert_eq!(size, if death == Death::Renamed { 12 } else { 5 }, "{death:?}");
        // Whoever asks now gets one history, whichever it is.
        for (history, new) in [(&other, 12), (&one, 12), (&other, 20), (&one, 20)] {
            let old = judge.last().unwrap().checkpoint().size;
            cosign(&mut judge, history, old, new);
        }
        for (place, earlier) in answered.iter().enumerate() {
            for later in &answered[place..] {
                let follows = [&one, &other].iter().any(|history| {
                    [earlier, later].iter().all(|it| *history.signed(it.size).checkpoint() == **it)
                });
                assert!(follows, "{death:?}: {earlier} and {later}");
            }
        }
        assert!(answered.len() >= 3, "{death:?}: it went on");
    }
}
