//! The other ledger nodes, as publishing needs them: the leader asks the voters for their signatures,
//! and tells all nodes what is published.
//!
//! Invariant: no node's silence holds a checkpoint up for longer than its one wait. Of each node one
//! question at most is under way, so one that is frozen costs no more than that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use tally_log::{NoteSignature, Origin, SignedCheckpoint};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::board::{Board, Which};
use super::note::{Keys, is_by};
use crate::applied::Ledger;
use crate::raft::{Consensus, Links, TypeConfig};

/// A voter that does not answer within this time is left out.
const SIGN_WAIT_MAX: Duration = Duration::from_millis(200);
/// A voter that was left out is waited for no longer than this, until it has answered again.
const SILENT_WAIT_MAX: Duration = Duration::from_millis(20);
/// How often a node is told what it may have missed.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// The other nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ring(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) consensus: Consensus,
    pub(crate) links: Links,
    pub(crate) ledger: Ledger,
    pub(crate) origin: Origin,
    leading: watch::Receiver<bool>,
    asked: Mutex<Asked>,
}

/// Who has a question, and whose answer is overdue.
#[derive(Debug, Default)]
struct Asked {
    under_way: BTreeSet<u64>,
    silent: BTreeSet<u64>,
}

/// What the voters say of a checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Their lines, by node.
    pub(super) lines: BTreeMap<u64, NoteSignature>,
    /// Who has another root at that size.
    pub(super) others: BTreeSet<u64>,
}

impl Ring {
    pub(crate) fn new(consensus: Consensus, links: Links, ledger: Ledger, origin: Origin) -> Self {
        let mut metrics = consensus.server_metrics();
        let leads = |metrics: &RaftServerMetrics<TypeConfig>| metrics.state.is_leader();
        let (says, leading) = watch::channel(leads(&metrics.borrow_watched()));
        // Ends with consensus, or with the last who wants to know.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = metrics.changed() => if changed.is_err() { return },
                    () = says.closed() => return,
                }
                let now = leads(&metrics.borrow_watched());
                says.send_if_modified(|was| std::mem::replace(was, now) != now);
            }
        });
        let asked = Mutex::default();
        Self(Arc::new(Parts { consensus, links, ledger, origin, leading, asked }))
    }

    /// Whether this node leads.
    pub(crate) fn leads(&self) -> bool {
        *self.0.leading.borrow()
    }

    /// Tells when that changes.
    pub(crate) fn leading(&self) -> watch::Receiver<bool> {
        self.0.leading.clone()
    }

    pub(super) fn own(&self) -> u64 {
        *self.0.consensus.node_id()
    }

    /// Who signs and cosigns.
    pub(crate) fn keys(&self) -> Keys {
        let voters = self.0.consensus.voter_ids().collect();
        self.0.ledger.with_state(|state| Keys::of(state, &self.0.origin, voters))
    }

    /// Asks these voters to sign this checkpoint, each within its time.
    pub(super) async fn sign(
        &self,
        wanted: &SignedCheckpoint,
        voters: &BTreeSet<u64>,
        keys: &Keys,
    ) -> Said {
        let size = wanted.checkpoint().size;
        let (answers, mut answered) = mpsc::unbounded_channel();
        let now = Instant::now();
        let mut waiting = BTreeMap::new();
        {
            let mut asked = self.0.asked.lock().await;
            for target in voters.iter().copied().filter(|id| *id != self.own()) {
                if !asked.under_way.insert(target) {
                    continue;
                }
                let silent = asked.silent.contains(&target);
                let wait = if silent { SILENT_WAIT_MAX } else { SIGN_WAIT_MAX };
                waiting.insert(target, now + wait);
                tokio::spawn(self.clone().ask(target, size, answers.clone()));
            }
        }
        drop(answers);
        let mut said = Said::default();
        while let Some(until) = waiting.values().max().copied() {
            let Ok(Some((target, note))) = timeout_at(until, answered.recv()).await else { break };
            waiting.remove(&target);
            if let Some(note) = note {
                hear(&mut said, wanted, target, &note, keys);
            }
        }
        self.0.asked.lock().await.silent.extend(waiting.into_keys());
        said
    }

    async fn ask(
        self,
        target: u64,
        size: u64,
        answers: mpsc::UnboundedSender<(u64, Option<Vec<u8>>)>,
    ) {
        let answer = self.0.links.head_of(target, size).await;
        let mut asked = self.0.asked.lock().await;
        asked.under_way.remove(&target);
        match answer {
            Ok(note) => {
                asked.silent.remove(&target);
                // Nobody waits for it any more: it is asked again.
                drop(answers.send((target, note)));
            }
            Err(_) => {
                asked.silent.insert(target);
                drop(answers.send((target, None)));
            }
        }
    }

    /// Tells the other nodes what this one shows while it leads: whatever is new at once, and all of it
    /// again from time to time, to those who may have missed it.
    pub(super) async fn spread(self, board: Board) {
        let mut checkpoints = board.checkpoints();
        let mut again = interval(TELL_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut telling = JoinSet::new();
        let mut busy = BTreeSet::new();
        let mut told: BTreeMap<(u64, bool), Bytes> = BTreeMap::new();
        loop {
            tokio::select! {
                goes_on = checkpoints.either_changed() => if !goes_on { return },
                _ = again.tick() => told.clear(),
                Some(done) = telling.join_next() => if let Ok(target) = done { busy.remove(&target); },
            }
            if !self.leads() {
                continue;
            }
            for target in self.0.links.targets() {
                if busy.contains(&target) {
                    continue;
                }
                let news: Vec<(Which, Bytes)> = [Which::Published, Which::Witnessed]
                    .into_iter()
                    .filter_map(|which| Some((which, board.shown(which)?.note.clone())))
                    .filter(|(which, note)| {
                        told.get(&(target, *which == Which::Witnessed)) != Some(note)
                    })
                    .collect();
                if news.is_empty() {
                    continue;
                }
                for (which, note) in &news {
                    told.insert((target, *which == Which::Witnessed), note.clone());
                }
                busy.insert(target);
                let links = self.0.links.clone();
                telling.spawn(async move {
                    for (which, note) in news {
                        // Who was not reached is told again.
                        drop(links.show(target, which, note).await);
                    }
                    target
                });
            }
        }
    }
}

/// Takes what a voter answered, if it is the voter's own signature.
fn hear(said: &mut Said, wanted: &SignedCheckpoint, target: u64, note: &[u8], keys: &Keys) {
    let Some(key) = keys.nodes.get(&target) else { return };
    let Ok(signed) = super::note::parse(note) else { return };
    if signed.verify_log([key]).is_err() || signed.checkpoint().size != wanted.checkpoint().size {
        return;
    }
    if signed.checkpoint() != wanted.checkpoint() {
        said.others.insert(target);
    } else if let Some(line) = signed.note().signatures().iter().find(|line| is_by(line, key)) {
        said.lines.insert(target, line.clone());
    }
}

#[cfg(test)]
mod tests {
    use tally_log::leaf_hash;

    use super::super::note::tests::{keys, signed};
    use super::*;

    #[test]
    fn a_voter_speaks_for_itself_and_of_this_size() {
        let (root, fork) = (leaf_hash(b"root"), leaf_hash(b"fork"));
        let wanted = signed(9, root, &[1]);
        let keys = keys(&[]);
        let said = |target, note: SignedCheckpoint| {
            let mut said = Said::default();
            hear(&mut said, &wanted, target, note.to_string().as_bytes(), &keys);
            (
                said.lines.into_keys().collect::<Vec<_>>(),
                said.others.into_iter().collect::<Vec<_>>(),
            )
        };
        assert_eq!(said(2, signed(9, root, &[2])), (vec![2], vec![]));
        assert_eq!(said(3, signed(9, root, &[2])), (vec![], vec![]));
        assert_eq!(said(2, signed(8, root, &[2])), (vec![], vec![]));
        assert_eq!(said(2, signed(9, fork, &[2])), (vec![], vec![2]));
        assert_eq!(said(9, signed(9, root, &[2])), (vec![], vec![]));
    }
}
