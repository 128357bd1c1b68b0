//! The register feed: every register leaf in order, then each new one as it comes, with a beat at
//! least once a second. Its silence is a fact too: what an agent knows is only as new as the feed.
//!
//! Invariant: a feed from leaf 0 on tells of no write that those who must approve it have not: a node
//! that invents one is left for another. Nor does it tell that the ledger went on in a later epoch
//! before it has seen, under that epoch and from leaf 0 on, that a majority approved it.

use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::id::{LeafIndex, MeshId};
use tally_core::ledger::{Epochs, Registers, Surroundings, check_recovery, is_lawful_now};
use tally_core::register::RegisterBody;
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::message::hello::NotWelcome;
use tally_wire::message::ledger::{FeedItem, FeedStart};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::LedgerConfig;
use super::let_in::LetIn;
use super::link::{Link, LinkError};
use crate::identity::IdentityError;

/// Follows the registers from a leaf on, through whichever node answers.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<FeedEvent>,
}

/// What a feed tells, in the order of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "those that are kept are the large ones")]
pub enum FeedEvent {
    /// The next leaf that is told to all: the genesis, a register write or a recovery.
    Register {
        /// Where it is.
        leaf: LeafIndex,
        /// Ledger time of its seal.
        time: Timestamp,
        /// The leaf.
        entry: Encoded<Entry>,
    },
    /// There is no other register leaf before this size.
    Beat {
        /// Leaves on the ledger.
        size: u64,
        /// Ledger time.
        time: Timestamp,
    },
    /// The ledger went on in a later epoch than the one that is followed. Nothing is told after this.
    Recovered(Recovered),
    /// Most of the ledger nodes have turned the agent away, with this reason. If it is that its member
    /// was removed, the trust store says so from here on.
    TurnedAway(IdentityError),
}

/// A later epoch of the ledger, by approvals that were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Its number.
    pub epoch: u64,
    /// Leaves of the epoch that is followed which are still on the ledger, and not more.
    pub size: u64,
}

/// Epochs that may have passed meanwhile: a mesh that needs more has other troubles.
const EPOCHS_MAX: u64 = 16;

impl Feed {
    /// Follows from this leaf on; what is said of members is taken into the trust store. From leaf 0
    /// on, each write is checked; from a later one, the caller has to. Must be called in a tokio
    /// runtime. Ends when it is dropped.
    #[must_use]
    pub fn follow(config: LedgerConfig, from: LeafIndex) -> Self {
        let (told, events) = mpsc::channel(1024);
        tokio::spawn(async move {
            let mut known = (from == LeafIndex(0)).then(|| Known::new(config.mesh_id));
            let mut next = from;
            let mut turn = 0;
            let mut pause = config.limits.retry_wait_min;
            let mut let_in = LetIn::default();
            while !told.is_closed() && !config.nodes.is_empty() {
                let before = next;
                // Why a node was left is not told: the next one may answer, and silence shows.
                let mut following = Following { next: &mut next, known: &mut known, told: &told };
                let left = follow_one(&config, turn, &mut following, &mut let_in).await;
                match left {
                    Err(Left::TurnedAway(why)) => {
                        if why == IdentityError::MemberRemoved {
                            config.trust.turn_away(&config.member);
                        }
                        drop(told.send(FeedEvent::TurnedAway(why)).await);
                    }
                    Err(left) if left.is_epoch_passed() => {
                        if let Some(recovered) = prove(&config, turn).await {
                            drop(told.send(FeedEvent::Recovered(recovered)).await);
                            return;
                        }
                    }
                    _ => {}
                }
                turn += 1;
                pause = if next == before {
                    (pause * 2).min(config.limits.retry_wait_max)
                } else {
                    config.limits.retry_wait_min
                };
                rest(pause, &told).await;
            }
        });
        Self { events }
    }

    /// The next thing that the feed tells, however long it takes; none once no node is configured.
    pub async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }
}

async fn rest(pause: Duration, told: &mpsc::Sender<FeedEvent>) {
    tokio::select! {
        () = sleep(pause) => {}
        () = told.closed() => {}
    }
}

/// How far a feed has come, and who hears it.
struct Following<'a> {
    next: &'a mut LeafIndex,
    known: &'a mut Option<Known>,
    told: &'a mpsc::Sender<FeedEvent>,
}

/// Why a node was left.
enum Left {
    Link(LinkError),
    /// Most of the nodes have turned the agent away by now, and this one was the last.
    TurnedAway(IdentityError),
}

impl Left {
    const fn is_epoch_passed(&self) -> bool {
        matches!(self, Self::Link(LinkError::Unwelcome { why: NotWelcome::EpochPassed, .. }))
    }
}

/// Follows through one node until it is left, for whatever reason.
async fn follow_one(
    config: &LedgerConfig,
    turn: usize,
    following: &mut Following<'_>,
    let_in: &mut LetIn,
) -> Result<(), Left> {
    let nodes = config.reached();
    let node = turn.checked_rem(nodes.len()).and_then(|turn| nodes.get(turn));
    let Some(node) = node else { return Ok(()) };
    let Some(address) = node.resolve().await else { return Ok(()) };
    let mut link = Link::reach(config, address).await.map_err(Left::Link)?;
    let left = follow_link(config, &mut link, following, let_in).await;
    if left.is_err()
        && let Some(why) = link.turned_away(&config.trust)
        && let Some(why) = let_in.refused(link.node(), why, nodes.len())
    {
        return Err(Left::TurnedAway(why));
    }
    left.map_err(Left::Link)
}

async fn follow_link(
    config: &LedgerConfig,
    link: &mut Link,
    Following { next, known, told }: &mut Following<'_>,
    let_in: &mut LetIn,
) -> Result<(), LinkError> {
    link.greet(config).await?;
    let (mut send, mut receive) = link.open().await?;
    link.write(&mut send, &FeedStart { from: **next }).await?;
    loop {
        let silent = || LinkError::NoAnswer { node: link.node() };
        let item = tokio::select! {
            item = timeout(config.limits.feed_wait_max, link.read::<FeedItem>(&mut receive)) => {
                item.map_err(|_| silent())??.ok_or_else(silent)?
            }
            () = told.closed() => return Ok(()),
        };
        if let_in.welcomed() == Some(IdentityError::MemberRemoved) {
            config.trust.let_in_again(&config.member);
        }
        let event = match item {
            FeedItem::Beat(beat) => {
                // By then it has told of all recoveries, or is not of the epoch that it says.
                let of_epoch = |known: &Known| known.epochs.current() == config.epoch;
                if !known.as_ref().is_none_or(of_epoch) {
                    return Err(silent());
                }
                FeedEvent::Beat { size: beat.size, time: beat.time }
            }
            FeedItem::Register(register) => {
                // A node that repeats itself, or goes back, tells nothing new.
                if register.leaf < **next {
                    return Err(silent());
                }
                let entry = register.entry.value();
                let lawful = known.as_mut().is_none_or(|known| {
                    known.take(register.leaf, entry, register.time, register.entry.leaf_hash())
                });
                if !lawful {
                    return Err(silent());
                }
                **next = LeafIndex(register.leaf.0.saturating_add(1));
                if known.as_ref().is_none_or(|known| known.teaches) {
                    learn(config, register.entry.value());
                }
                FeedEvent::Register {
                    leaf: register.leaf,
                    time: register.time,
                    entry: register.entry,
                }
            }
        };
        if told.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Follows a node that said that the epoch has passed, from leaf 0 on and under each later one, until
/// what it tells proves which it is in. A node that lies is left without having changed anything.
async fn prove(config: &LedgerConfig, turn: usize) -> Option<Recovered> {
    for epoch in config.epoch.saturating_add(1)..=config.epoch.saturating_add(EPOCHS_MAX) {
        let later = LedgerConfig { epoch, ..config.clone() };
        let (told, mut events) = mpsc::channel(1024);
        let mut next = LeafIndex(0);
        // What it tells is of a history that is not this agent's yet.
        let mut known = Some(Known { teaches: false, ..Known::new(config.mesh_id) });
        let (mut following, mut let_in) =
            (Following { next: &mut next, known: &mut known, told: &told }, LetIn::default());
        let followed = follow_one(&later, turn, &mut following, &mut let_in);
        let beat = async {
            while let Some(event) = events.recv().await {
                if matches!(event, FeedEvent::Beat { .. }) {
                    return;
                }
            }
        };
        let left = tokio::select! {
            left = followed => Some(left),
            () = beat => None,
        };
        match left {
            // A beat was told: the node had told of all recoveries before.
            None => {
                let size = known?.epochs.end(config.epoch)?;
                return Some(Recovered { epoch, size });
            }
            Some(Err(left)) if left.is_epoch_passed() => {}
            Some(_) => return None,
        }
    }
    None
}

/// The registers as the feed has told them so far.
struct Known {
    mesh_id: MeshId,
    registers: Registers,
    epochs: Epochs,
    /// Whether what it says of members is taken into the trust store.
    teaches: bool,
}

/// Signatures are verified on the spot; seals are nobody's business here.
struct Rules;

impl Surroundings for Rules {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        tally_wire::encode(seal)
    }
}

impl Known {
    fn new(mesh_id: MeshId) -> Self {
        Self { mesh_id, registers: Registers::default(), epochs: Epochs::default(), teaches: true }
    }

    /// Takes the next register leaf; false if it can't be one.
    fn take(&mut self, leaf: LeafIndex, entry: &Entry, time: Timestamp, hash: Hash) -> bool {
        match entry {
            Entry::Genesis(genesis) if leaf.0 == 0 && self.mesh_id == MeshId(hash) => {
                self.registers.found(genesis, time);
                true
            }
            // That the leaves before it are those that it names, its checkpoint's proofs show.
            Entry::Recovery(recovery)
                if recovery.size == leaf.0
                    && self.epochs.current().checked_add(1) == Some(recovery.epoch)
                    && check_recovery(&self.registers, &self.mesh_id, recovery, &Rules).is_ok() =>
            {
                self.epochs.begin(leaf, hash);
                true
            }
            Entry::Register(write)
                if is_lawful_now(&self.registers, &self.mesh_id, write, &Rules) =>
            {
                self.registers.follow(leaf, write, time);
                true
            }
            _ => false,
        }
    }
}

fn learn(config: &LedgerConfig, entry: &Entry) {
    match entry {
        Entry::Genesis(genesis) => {
            genesis.members.iter().for_each(|member| config.trust.update(member));
        }
        Entry::Register(write) => {
            if let RegisterBody::Member(member) = write.body.value() {
                config.trust.update(member);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use tally_core::entry::{Algorithm, Environment, Genesis};
    use tally_core::id::{KeyId, Salt16};
    use tally_core::register::{
        Approval, MemberRecord, MemberStatus, Officer, RegisterName, RegisterWrite,
        register_preimage,
    };
    use tally_log::{SigningKey, leaf_hash};

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn member(ca: u8) -> MemberRecord {
        let officer = Officer { role: "ig-lead".parse().unwrap(), key: key(2).verifying_key() };
        MemberRecord {
            id: "RZ9".parse().unwrap(),
            name: "RZ9".into(),
            codes: vec![],
            ca: vec![ca; 8],
            agent_key: key(1).verifying_key(),
            officers: vec![officer],
            nodes: vec![],
            address: None,
            status: MemberStatus::Active,
            supersedes: Vec::new(),
            assessment: None,
        }
    }

    fn genesis() -> (Entry, Hash) {
        let genesis = Genesis {
            salt: Salt16([7; 16]),
            mesh: "dev.example".parse().unwrap(),
            environment: Environment::Test,
            protocol: 1,
            members: vec![member(1)],
            voters: vec![],
        };
        let hash = leaf_hash(&tally_wire::encode(&genesis));
        (Entry::Genesis(Box::new(genesis)), hash)
    }

    /// The member gets another CA, with its officer's approval or without.
    fn write(mesh_id: &MeshId, approved: bool) -> Entry {
        let name: RegisterName = "member/RZ9".parse().unwrap();
        let body = RegisterBody::Member(Box::new(member(9)));
        let body = Encoded::new(body.clone(), tally_wire::encode(&body));
        let previous = Some(LeafIndex(0));
        let preimage = register_preimage(mesh_id, &name, 2, previous, true, body.bytes());
        let approval = Approval {
            member: "RZ9".parse().unwrap(),
            role: "ig-lead".parse().unwrap(),
            key: KeyId::of(&key(2).verifying_key()),
            algorithm: Algorithm::EdDsa,
            signature: key(2).sign(&preimage),
        };
        let approvals = approved.then_some(approval).into_iter().collect();
        let salt = Salt16([8; 16]);
        Entry::Register(Box::new(RegisterWrite {
            salt,
            name,
            version: 2,
            previous,
            narrows: true,
            body,
            approvals,
        }))
    }

    #[test]
    fn a_write_that_nobody_approved_and_the_genesis_of_another_mesh_are_not_believed() {
        let (genesis, hash) = genesis();
        let time = Timestamp::default();
        let mesh_id = MeshId(hash);
        let other = MeshId(leaf_hash(b"another"));
        assert!(!Known::new(other).take(LeafIndex(0), &genesis, time, hash));
        let mut known = Known::new(mesh_id);
        assert!(!known.take(LeafIndex(3), &write(&mesh_id, true), time, hash), "no genesis yet");
        assert!(known.take(LeafIndex(0), &genesis, time, hash));
        assert!(!known.take(LeafIndex(3), &write(&mesh_id, false), time, hash));
        assert!(!known.take(LeafIndex(3), &write(&other, true), time, hash));
        assert!(known.take(LeafIndex(3), &write(&mesh_id, true), time, hash));
        assert!(!known.take(LeafIndex(5), &write(&mesh_id, true), time, hash), "it was taken");
    }
}
