//! What an onlooker who sees everything would write down, for the invariants to be held against.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tally_core::entry::{Entry, Outcome};
use tally_core::id::{ExchangeId, LeafIndex, Salt16};
use tally_core::opening::Opening;
use tally_core::refusal::Refusal;
use tally_core::register::{RegisterName, RegisterRef};
use tally_core::time::Timestamp;
use tally_log::{Edge, Hash};

use crate::ledger::Ledger;
use crate::mesh::MEMBERS;
use crate::world::index;

/// Something that was seen.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// The ledger has a new leaf.
    Committed { leaf: LeafIndex },
    /// A permit was handed to the ledger's client.
    Submitted { agent: usize, exchange: ExchangeId, attempt: u32, commitment: Hash },
    /// The first byte of a release, or its head, has left.
    Released { agent: usize, exchange: ExchangeId, commitment: Hash },
    /// Bytes of a body have left.
    Left { agent: usize, exchange: ExchangeId, commitment: Hash, bytes: u64 },
    /// All of a body has left.
    Delivered { agent: usize, exchange: ExchangeId },
    /// A requester has been told no by its provider's agent.
    Told { agent: usize, exchange: ExchangeId, refusal: Refusal },
    /// Bytes went on to an application.
    HandedOn { agent: usize, exchange: ExchangeId, up_to: u64 },
    /// A machine said that an exchange is over.
    Ended { agent: usize, life: u64, exchange: ExchangeId, provider: bool },
    /// An agent was told that its batch is on the ledger.
    Acknowledged { agent: usize, first_leaf: LeafIndex, seal_leaf: LeafIndex },
    /// An agent was given a leaf to read.
    Read { agent: usize, leaf: LeafIndex },
    /// The ledger did not take what an agent owes.
    NotTaken { agent: usize, code: &'static str },
    /// An agent's store was replaced by an older copy.
    Restored { agent: usize },
    /// An agent died, with all that it knew.
    Died { agent: usize },
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed { leaf } => write!(f, "leaf {leaf}"),
            Self::Submitted { agent, exchange, attempt, .. } => {
                write!(f, "{} submits {exchange}, attempt {attempt}", MEMBERS[*agent])
            }
            Self::Released { agent, exchange, .. } => {
                write!(f, "{} releases {exchange}", MEMBERS[*agent])
            }
            Self::Left { agent, exchange, bytes, .. } => {
                write!(f, "{} has sent {bytes} bytes of {exchange}", MEMBERS[*agent])
            }
            Self::Delivered { agent, exchange } => {
                write!(f, "{} has sent all of {exchange}", MEMBERS[*agent])
            }
            Self::Told { agent, exchange, refusal } => {
                write!(f, "{} refuses {exchange}: {refusal}", MEMBERS[*agent])
            }
            Self::HandedOn { agent, exchange, up_to } => {
                write!(f, "{} hands on {up_to} bytes of {exchange}", MEMBERS[*agent])
            }
            Self::Ended { agent, exchange, provider, .. } => {
                let side = if *provider { "provider" } else { "requester" };
                write!(f, "{} ends {exchange} as {side}", MEMBERS[*agent])
            }
            Self::Acknowledged { agent, first_leaf, seal_leaf } => {
                write!(f, "{} knows of leaves {first_leaf} to {seal_leaf}", MEMBERS[*agent])
            }
            Self::Read { agent, leaf } => write!(f, "{} reads leaf {leaf}", MEMBERS[*agent]),
            Self::NotTaken { agent, code } => {
                write!(f, "the ledger does not take from {}: {code}", MEMBERS[*agent])
            }
            Self::Restored { agent } => write!(f, "{} has an older store", MEMBERS[*agent]),
            Self::Died { agent } => write!(f, "{} is down", MEMBERS[*agent]),
        }
    }
}

/// What is known of everything.
#[derive(Default)]
pub(crate) struct Truth {
    /// Openings by their commitment, whoever keeps them.
    pub(crate) openings: BTreeMap<Hash, Opening>,
    /// Register writes about a person, by their salt.
    pub(crate) minds: BTreeMap<Salt16, Mind>,
    /// What each person's last committed word is, by custodian and person.
    pub(crate) said: BTreeMap<(usize, usize), Mind>,
    /// Words that are on their way to the ledger, by custodian and person: the number of the job.
    pub(crate) deciding: BTreeMap<(usize, usize), u64>,
    /// When each permit was submitted, by its commitment.
    pub(crate) submitted: BTreeMap<Hash, Timestamp>,
    /// Permits on the ledger by their commitment.
    pub(crate) permits: BTreeMap<Hash, LeafIndex>,
    /// What permits rest on.
    pub(crate) read_sets: BTreeMap<Hash, Vec<RegisterRef>>,
    /// Registers: version, and each narrowing with its time.
    pub(crate) registers: BTreeMap<RegisterName, Register>,
    /// Exchanges of which all of the body has left.
    pub(crate) delivered: BTreeSet<ExchangeId>,
    /// Exchanges that were told no.
    pub(crate) told: BTreeSet<(usize, ExchangeId)>,
    /// Exchanges whose end was told, in the lives of their agents.
    pub(crate) ended: BTreeSet<(usize, u64, ExchangeId, bool)>,
    /// Salts of leaves: none is used twice.
    pub(crate) salts: BTreeSet<Salt16>,
    /// The ledger's tree, grown leaf by leaf.
    pub(crate) edge: Edge,
}

/// A person's word at a custodian.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mind {
    pub(crate) custodian: usize,
    pub(crate) person: usize,
    pub(crate) denies: bool,
    /// Later words have greater numbers; after a crash one may be written again.
    pub(crate) job: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Register {
    pub(crate) version: u64,
    /// Versions that narrowed, and when.
    pub(crate) narrowings: Vec<(u64, Timestamp)>,
}

impl Truth {
    /// The founders' memberships are in the genesis, which is no register leaf.
    pub(crate) fn begin(&mut self, ledger: &Ledger) {
        for (name, register) in ledger.state.registers().iter() {
            if register.leaf == LeafIndex(0) {
                let known = Register { version: 1, narrowings: vec![(1, ledger.time_of(0))] };
                self.registers.insert(name.clone(), known);
            }
        }
    }

    /// Writes down what was seen, after the invariants have looked at it.
    pub(crate) fn take(&mut self, fact: &Fact, ledger: &Ledger, now: Timestamp) {
        match fact {
            Fact::Committed { leaf } => self.take_leaf(*leaf, ledger),
            Fact::Submitted { commitment, .. } => {
                self.submitted.entry(*commitment).or_insert(now);
            }
            Fact::Delivered { exchange, .. } => {
                self.delivered.insert(*exchange);
            }
            Fact::Told { agent, exchange, .. } => {
                self.told.insert((*agent, *exchange));
            }
            Fact::Ended { agent, life, exchange, provider } => {
                self.ended.insert((*agent, *life, *exchange, *provider));
            }
            Fact::Released { .. }
            | Fact::Left { .. }
            | Fact::HandedOn { .. }
            | Fact::Acknowledged { .. }
            | Fact::Read { .. }
            | Fact::NotTaken { .. }
            | Fact::Restored { .. }
            | Fact::Died { .. } => {}
        }
    }

    fn take_leaf(&mut self, leaf: LeafIndex, ledger: &Ledger) {
        let known = &ledger.leaves[index(leaf)];
        self.edge.push(known.hash);
        self.salts.extend(salt_of(&known.entry));
        match &known.entry {
            Entry::Register(write) => {
                let register = self.registers.entry(write.name.clone()).or_default();
                register.version = write.version;
                if write.narrows || write.version == 1 {
                    register.narrowings.push((write.version, known.time));
                }
                if let Some(mind) = self.minds.get(&write.salt).copied() {
                    self.take_mind(mind);
                }
            }
            Entry::ProviderHalf(half) if half.outcome == Outcome::Permit => {
                self.permits.insert(half.commitment, leaf);
                self.read_sets.insert(half.commitment, half.read_set.clone());
            }
            _ => {}
        }
    }

    fn take_mind(&mut self, mind: Mind) {
        let whose = (mind.custodian, mind.person);
        let said = self.said.entry(whose).or_insert(mind);
        if said.job <= mind.job {
            *said = mind;
        }
        if self.deciding.get(&whose) == Some(&mind.job) {
            self.deciding.remove(&whose);
        }
    }
}

/// The salt of a leaf that a member wrote.
pub(crate) fn salt_of(entry: &Entry) -> Option<Salt16> {
    match entry {
        Entry::Genesis(genesis) => Some(genesis.salt),
        Entry::Recovery(recovery) => Some(recovery.salt),
        Entry::SessionStart(start) => Some(start.salt),
        Entry::Register(write) => Some(write.salt),
        Entry::ProviderHalf(half) => Some(half.salt),
        Entry::RequesterHalf(half) => Some(half.salt),
        Entry::Close(close) => Some(close.salt),
        Entry::RefusalCount(count) => Some(count.salt),
        Entry::Review(review) => Some(review.salt),
        Entry::Disposal(disposal) => Some(disposal.salt),
        Entry::Seal(_) => None,
    }
}
