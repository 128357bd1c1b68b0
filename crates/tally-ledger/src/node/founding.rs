//! Whether a node that has nothing yet is one of those that found the ledger.
//!
//! A node on an empty directory may have voted and stored entries on a disk that it has lost. So it
//! is trusted at once only where the others say that they have nothing either, and know of no leader
//! ever: then nothing can have been acknowledged by enough nodes. If one of them has a history, it
//! regains trust like any other that may have forgotten something.
//!
//! A founder may be down. So those that are there found the ledger without it once they are a
//! majority and it has been silent for a while. What that leaves open is in SECURITY.md.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tally_core::id::NodeId;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Node, Settings};
use crate::marks::{Doubt, Start};
use crate::raft::{Consensus, Links, RaftNode, Stand, Standing};
use crate::store::{Store, StoreError};

/// What it takes to found a ledger.
pub(super) struct Founding {
    pub(super) consensus: Consensus,
    pub(super) standing: Arc<Standing>,
    pub(super) store: Store,
    pub(super) links: Links,
    /// The first voters, by the genesis.
    pub(super) voters: BTreeSet<u64>,
    /// The same with their addresses, if this node is the one that begins.
    pub(super) begins: Option<BTreeMap<u64, RaftNode>>,
}

/// How often it is looked what the others have said.
const LOOK: Duration = Duration::from_millis(20);
/// How soon a node is asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a question may take: a node that was asked before it listened is asked anew soon.
const ASK_WAIT_MIN: Duration = Duration::from_millis(200);
/// How long it may take in the end.
const ASK_WAIT_MAX: Duration = Duration::from_millis(1600);
/// How long founders that don't answer are waited for, once enough of them do.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// What a node has said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    has_history: bool,
    trusted: bool,
}

type Answers = Arc<Mutex<BTreeMap<u64, Said>>>;

/// What the answers of the others come to.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// Too few have answered.
    TooFew,
    /// A majority of the founders has nothing, and the rest are silent.
    Enough,
    /// All have nothing.
    All {
        /// And all of them are trusted.
        trusted: bool,
    },
    /// There is a ledger already.
    History,
}

impl Founding {
    /// For a first voter that has nothing.
    pub(super) fn of(node: &Node, settings: &Settings) -> Option<Self> {
        let voters = &settings.genesis.value().voters;
        let is_empty = node.opened.start == (Start::Untrusted { why: Doubt::Empty });
        let may_be = is_empty && voters.contains(&settings.node_id);
        may_be.then(|| Self {
            consensus: node.consensus.clone(),
            standing: Arc::clone(&node.standing),
            store: node.store.clone(),
            links: node.links.clone(),
            voters: voters.iter().map(|id| id.0).collect(),
            // An empty directory is of the epoch that the configuration says.
            begins: founders(settings, &node.store, settings.epoch),
        })
    }

    /// Trusts this node, and begins if that is its part, once it is known that this is a founding.
    pub(super) async fn run(self) {
        let answers = Answers::default();
        let asked: BTreeSet<u64> = self.links.targets().into_iter().collect();
        let mut asking = JoinSet::new();
        for target in &asked {
            asking.spawn(ask(self.links.clone(), *target, Arc::clone(&answers)));
        }
        let own = *self.consensus.node_id();
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut enough_since: Option<Instant> = None;
        loop {
            ticks.tick().await;
            // What it has it has from a leader, or is about to.
            if self.standing.is_settled() || self.store.reader().status().last.is_some() {
                return;
            }
            let found = {
                let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                judge(&self.voters, own, &asked, &answers)
            };
            let waited = match found {
                Finding::History => return,
                Finding::TooFew => {
                    enough_since = None;
                    continue;
                }
                Finding::Enough | Finding::All { .. } => {
                    enough_since.get_or_insert_with(Instant::now).elapsed() >= SILENCE_MAX
                }
            };
            let all = matches!(found, Finding::All { .. });
            if (all || waited) && self.trust().await.is_err() {
                return;
            }
            // Whoever is asked for its vote before it is trusted would have to wait for a leader.
            let ready = found == Finding::All { trusted: true };
            if self.standing.is_trusted() && (ready || waited || self.begins.is_none()) {
                break;
            }
        }
        if let Some(founders) = self.begins {
            // Another node may have begun meanwhile: then there is nothing to begin.
            drop(self.consensus.initialize(founders).await);
        }
    }

    async fn trust(&self) -> Result<(), StoreError> {
        if !self.standing.is_trusted() {
            self.store.trust().await?;
            self.standing.trust();
            self.consensus.runtime_config().elect(true);
        }
        Ok(())
    }
}

/// All first voters, if this is the first of them, and has nothing yet: it begins, once.
pub(super) fn founders(
    settings: &Settings,
    store: &Store,
    epoch: u64,
) -> Option<BTreeMap<u64, RaftNode>> {
    let status = store.reader().status();
    let voters = &settings.genesis.value().voters;
    let fresh = status.last.is_none() && status.vote.is_none();
    // In a later epoch the ledger was founded long ago.
    let begins = fresh && epoch == 0 && voters.first() == Some(&settings.node_id);
    let at = |id: NodeId| {
        let configured = settings.peers.get(&id.0).and_then(|address| address.parse().ok());
        let own = settings.raft_address.clone().filter(|_| id == settings.node_id);
        (id.0, RaftNode { address: configured.or(own) })
    };
    begins.then(|| voters.iter().map(|id| at(*id)).collect())
}

/// Asks a node how it stands, again and again.
async fn ask(links: Links, target: u64, answers: Answers) {
    let mut wait_max = ASK_WAIT_MIN;
    loop {
        let stand = timeout(wait_max, links.stand_of(target)).await;
        let said = stand.ok().and_then(Result::ok).map(|stand| said(&stand));
        {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            match said {
                Some(said) => drop(answers.insert(target, said)),
                None => drop(answers.remove(&target)),
            }
        }
        wait_max = if said.is_some() { ASK_WAIT_MIN } else { (wait_max * 2).min(ASK_WAIT_MAX) };
        tokio::time::sleep(AGAIN).await;
    }
}

fn said(stand: &Stand) -> Said {
    Said { has_history: stand.has_history(), trusted: stand.trusted }
}

/// What the answers come to for one of the first voters.
fn judge(
    voters: &BTreeSet<u64>,
    own: u64,
    asked: &BTreeSet<u64>,
    answers: &BTreeMap<u64, Said>,
) -> Finding {
    if answers.values().any(|said| said.has_history) {
        return Finding::History;
    }
    if asked.iter().all(|node| answers.contains_key(node)) {
        return Finding::All { trusted: answers.values().all(|said| said.trusted) };
    }
    let there = voters.iter().filter(|voter| **voter == own || answers.contains_key(voter)).count();
    if there > voters.len() / 2 { Finding::Enough } else { Finding::TooFew }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Said = Said { has_history: false, trusted: false };

    fn judged(voters: u64, answers: &[(u64, Said)]) -> Finding {
        let voters: BTreeSet<u64> = (1..=voters).collect();
        let asked = voters.iter().copied().filter(|node| *node != 1).collect();
        judge(&voters, 1, &asked, &answers.iter().copied().collect())
    }

    #[test]
    fn a_founding_takes_a_majority_with_nothing_and_nobody_with_a_history() {
        let history = Said { has_history: true, trusted: true };
        assert_eq!(judged(3, &[]), Finding::TooFew);
        assert_eq!(judged(3, &[(2, NOTHING)]), Finding::Enough);
        assert_eq!(judged(3, &[(2, NOTHING), (3, NOTHING)]), Finding::All { trusted: false });
        assert_eq!(judged(3, &[(2, NOTHING), (3, history)]), Finding::History);
        assert_eq!(judged(3, &[(3, history)]), Finding::History);
        assert_eq!(judged(5, &[(2, NOTHING)]), Finding::TooFew);
        assert_eq!(judged(5, &[(2, NOTHING), (4, NOTHING)]), Finding::Enough);
        assert_eq!(judged(1, &[]), Finding::All { trusted: true });
    }

    #[test]
    fn who_begins_waits_until_the_others_may_vote() {
        let trusted = Said { trusted: true, ..NOTHING };
        assert_eq!(judged(3, &[(2, NOTHING), (3, trusted)]), Finding::All { trusted: false });
        assert_eq!(judged(3, &[(2, trusted), (3, trusted)]), Finding::All { trusted: true });
    }

    #[test]
    fn a_node_that_joined_later_and_does_not_answer_is_waited_for() {
        let voters = BTreeSet::from([1]);
        let asked = BTreeSet::from([7]);
        assert_eq!(judge(&voters, 1, &asked, &BTreeMap::new()), Finding::Enough);
    }
}
