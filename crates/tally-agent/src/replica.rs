//! The registers as the ledger's feed tells them: what decisions rest on, and what a release is
//! checked against.
//!
//! Invariant: a snapshot is whole. Whoever holds one sees the registers of one moment of the ledger,
//! and it says when the feed was last heard. Nothing of it is saved: a start reads all of it again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tally_core::entry::{Entry, Genesis};
use tally_core::id::{LeafIndex, MemberId};
use tally_core::ledger::Registers;
use tally_core::register::{
    Assessment, AssessmentStatus, MemberRecord, Names, RegisterBody, RegisterWrite,
};
use tally_core::time::{Date, Timestamp};
use tally_log::NoteKey;
use tally_log::note::KeyName;
use tally_net::IdentityError;
use tally_net::ledger::{Feed, FeedEvent, LedgerConfig, Recovered};
use tokio::sync::watch;

use crate::clock::{Clock, wall};

/// How far the agent's clock may be from the ledger's. Then decisions are refused as `clock-skew`.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

/// Follows the registers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replica(watch::Receiver<Known>);

/// What is known of the registers at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Known {
    /// The registers.
    pub registers: Arc<Registers>,
    /// The keys of the ledger nodes that they name, each named like the origin of the ledger.
    pub log_keys: Arc<[NoteKey]>,
    /// What members were called, from which leaf on.
    pub names: Arc<Names>,
    /// Rises with each change of the registers.
    pub moves: u64,
    /// When the feed last said that this is all there is, on the agent's clock.
    pub heard_at: Option<Timestamp>,
    /// Leaves on the ledger, as far as the feed has told.
    pub size: u64,
    /// Ledger time. It stands still while nothing is recorded.
    pub time: Timestamp,
    /// Whether the host's clock is too far from the ledger's.
    pub clock_skewed: bool,
    /// The later epoch in which the ledger went on, once that is known and proved: nothing of this epoch
    /// changes any more.
    pub recovered: Option<Recovered>,
    /// Why most ledger nodes have turned the agent away since one was last heard.
    pub turned_away: Option<IdentityError>,
}

impl Replica {
    /// Follows the ledger from its first leaf on. What the genesis says is known at once. Must be
    /// called in a tokio runtime; ends when all clones are gone.
    #[must_use]
    pub fn follow(config: LedgerConfig, genesis: &Genesis, clock: Clock) -> Self {
        genesis.members.iter().for_each(|member| config.trust.update(member));
        let origin = genesis.mesh.log(config.epoch);
        let mut registers = Registers::default();
        registers.found(genesis, Timestamp::default());
        let mut names = Names::default();
        names.note(LeafIndex(0), &Entry::Genesis(Box::new(genesis.clone())));
        let known = Known {
            log_keys: log_keys(&registers, &origin),
            registers: Arc::new(registers),
            names: Arc::new(names),
            moves: 0,
            heard_at: None,
            size: 0,
            time: Timestamp::default(),
            clock_skewed: false,
            recovered: None,
            turned_away: None,
        };
        let (told, replica) = watch::channel(known);
        let feed = Feed::follow(config, LeafIndex(0));
        tokio::spawn(follow(feed, told, origin, clock));
        Self(replica)
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        self.0.borrow().clone()
    }

    /// Tells of each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Known> {
        self.0.clone()
    }

    /// Waits until the ledger is known to have gone on in a later epoch.
    pub async fn recovered(&self) -> Recovered {
        let mut changes = self.changes();
        loop {
            if let Some(recovered) = changes.borrow_and_update().recovered {
                return recovered;
            }
            if changes.changed().await.is_err() {
                // The agent ends: it learns nothing more.
                return std::future::pending().await;
            }
        }
    }

    /// Waits until the feed has told of all registers below this size.
    pub async fn reach(&self, size: u64) {
        let mut changes = self.changes();
        // The feed ends with the agent.
        drop(changes.wait_for(|known| known.size >= size).await);
    }
}

impl Known {
    /// Members, and how the data security of each was assessed, if anybody has said.
    #[must_use]
    pub fn assessed(&self) -> Vec<(MemberId, Option<AssessmentStatus>)> {
        let status = |it: &MemberRecord| (it.id.clone(), it.assessment.map(|it| it.status));
        self.registers.members().map(status).collect()
    }

    /// The member that has this id, or has this code on a day in whatever system.
    #[must_use]
    pub fn member(&self, text: &str, today: Date) -> Option<&MemberRecord> {
        let by_id = text.parse::<MemberId>().ok().and_then(|id| self.registers.member(&id));
        by_id.or_else(|| self.registers.members().find(|member| member.has_code(text, today)))
    }
}

async fn follow(mut feed: Feed, told: watch::Sender<Known>, origin: String, clock: Clock) {
    let mut registers = Registers::clone(&told.borrow().registers);
    let mut names = Names::clone(&told.borrow().names);
    loop {
        let first = tokio::select! {
            event = feed.next() => event,
            () = told.closed() => return,
        };
        let Some(first) = first else { return };
        // What has arrived together is shown together: a copy of the registers for each leaf of a
        // long history would be slow.
        let mut moved = false;
        let (mut beat, mut recovered, mut turned_away) = (None, None, None);
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                FeedEvent::Register { leaf, time, entry } => {
                    moved |= take(&mut registers, leaf, time, entry.value());
                    names.note(leaf, entry.value());
                }
                FeedEvent::Beat { size, time } => (beat, turned_away) = (Some((size, time)), None),
                FeedEvent::Recovered(later) => recovered = Some(later),
                FeedEvent::TurnedAway(why) => (beat, turned_away) = (None, Some(why)),
            }
            next = feed.next().now_or_never().flatten();
        }
        told.send_modify(|known| {
            if moved {
                known.registers = Arc::new(registers.clone());
                known.names = Arc::new(names.clone());
                known.log_keys = log_keys(&registers, &origin);
                known.moves = known.moves.saturating_add(1);
            }
            known.recovered = recovered.or(known.recovered);
            known.turned_away = turned_away.or(known.turned_away);
            if let Some((size, time)) = beat {
                known.heard(clock.now(), wall(), size, time);
            }
        });
    }
}

impl Known {
    fn heard(&mut self, now: Timestamp, wall: Timestamp, size: u64, time: Timestamp) {
        self.heard_at = Some(now);
        self.turned_away = None;
        self.size = self.size.max(size);
        let behind = time.since(wall) > CLOCK_SKEW_MAX;
        if time > self.time {
            // Something was recorded since the last beat, so ledger time is today's.
            let ahead = self.time != Timestamp::default() && wall.since(time) > CLOCK_SKEW_MAX;
            self.clock_skewed = behind || ahead;
            self.time = time;
        } else if behind {
            self.clock_skewed = true;
        }
    }
}

fn take(registers: &mut Registers, leaf: LeafIndex, time: Timestamp, entry: &Entry) -> bool {
    match entry {
        Entry::Genesis(genesis) => registers.found(genesis, time),
        Entry::Register(write) => {
            tell_of_assessment(registers, write);
            registers.follow(leaf, write, time);
        }
        _ => return false,
    }
    true
}

/// A member whose assessment changes goes on: to cut it off would harm whoever waits for care. People
/// are told, and decide.
fn tell_of_assessment(registers: &Registers, write: &RegisterWrite) {
    let RegisterBody::Member(record) = write.body.value() else { return };
    let before = registers.member(&record.id).and_then(|old| old.assessment);
    if before != record.assessment {
        let word = |it: Option<Assessment>| it.map_or("none", |it| it.status.word());
        tracing::warn!(
            member = %record.id,
            before = word(before),
            now = word(record.assessment),
            "alert: a member's security assessment has changed"
        );
    }
}

fn log_keys(registers: &Registers, origin: &str) -> Arc<[NoteKey]> {
    let Ok(name) = KeyName::new(origin) else { return Arc::new([]) };
    let nodes = registers.members().flat_map(|member| &member.nodes);
    nodes.map(|node| NoteKey::ed25519(name.clone(), node.log_key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            registers: Arc::default(),
            names: Arc::default(),
            log_keys: Arc::new([]),
            moves: 0,
            heard_at: None,
            size: 0,
            time: Timestamp::default(),
            clock_skewed: false,
            recovered: None,
            turned_away: None,
        }
    }

    #[test]
    fn a_clock_that_is_behind_the_ledger_is_noticed_and_one_that_is_mended_too() {
        let mut known = known();
        known.heard(Timestamp(1), Timestamp(100_000), 1, Timestamp(130_001));
        assert!(known.clock_skewed);
        known.heard(Timestamp(2), Timestamp(140_000), 2, Timestamp(140_000));
        assert!(!known.clock_skewed);
        assert_eq!((known.heard_at, known.size), (Some(Timestamp(2)), 2));
    }

    #[test]
    fn a_ledger_that_was_idle_says_nothing_about_a_clock_that_is_ahead() {
        let mut known = known();
        known.heard(Timestamp(1), Timestamp(900_000), 5, Timestamp(100_000));
        assert!(!known.clock_skewed);
        known.heard(Timestamp(2), Timestamp(901_000), 5, Timestamp(100_000));
        assert!(!known.clock_skewed);
        // Something was recorded just now, half a minute ago by our clock.
        known.heard(Timestamp(3), Timestamp(902_000), 6, Timestamp(871_000));
        assert!(known.clock_skewed);
    }
}
