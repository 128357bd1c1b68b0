//! The registers as a reader of the ledger follows them: whose signatures count, and whose cosignatures.
//! A mesh replaces its nodes one by one, and what a later one signs counts as what a founder signs.
//!
//! Invariant: what a node tells is taken only if the members have approved it: a node can keep a write
//! back, and can't invent one.

use tally_core::Encoded;
use tally_core::entry::{Entry, Genesis};
use tally_core::id::{LeafIndex, MeshId, MeshName};
use tally_core::ledger::{Epochs, Registers, check_recovery, is_lawful_now};
use tally_core::register::{MemberStatus, RegisterBody, Witness, witness_quorum};
use tally_core::time::Timestamp;
use tally_log::{KeyName, NoteKey, SignedCheckpoint, VerifyingKey};
use tally_wire::registers::RegisterLeaves;

use crate::failure::Failure;
use crate::https::Https;
use crate::verify::Rules;

/// Bytes of a page of registers at most.
const PAGE_LEN_MAX: usize = 4 * 1024 * 1024;
/// Pages that are read at once.
const PAGES_MAX: usize = 4096;

/// What the registers have said so far.
pub(crate) struct RegisterHistory {
    mesh_id: MeshId,
    registers: Registers,
    next: LeafIndex,
    mesh: MeshName,
    epochs: Epochs,
    /// All log keys that there ever were, and the same as those of the present epoch, each named like
    /// its origin.
    keys: Vec<VerifyingKey>,
    log_keys: Vec<NoteKey>,
    /// Who cosigns, from which leaf on.
    witnesses: Vec<(LeafIndex, Vec<Witness>)>,
    /// Where members and witnesses were written since the genesis: what says whose keys count.
    keyed: Vec<LeafIndex>,
}

/// Who has cosigned a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cosigned {
    /// Witnesses in force at its size that have.
    pub(crate) cosignatures: usize,
    /// Witnesses in force.
    pub(crate) witnesses: usize,
    /// How many of them are enough.
    pub(crate) quorum: usize,
    /// When the last of them did, in seconds since the Unix epoch.
    pub(crate) at_s: Option<u64>,
}

impl RegisterHistory {
    /// With what the genesis says.
    ///
    /// # Errors
    /// [`Failure`] if the mesh's name is none for a log.
    pub(crate) fn new(genesis: &Encoded<Genesis>) -> Result<Self, Failure> {
        let mesh_id = MeshId(genesis.leaf_hash());
        let genesis = genesis.value();
        let mut registers = Registers::default();
        registers.found(genesis, Timestamp::default());
        let mut history = Self {
            mesh_id,
            registers,
            next: LeafIndex(1),
            mesh: genesis.mesh.clone(),
            epochs: Epochs::default(),
            keys: Vec::new(),
            log_keys: Vec::new(),
            witnesses: Vec::new(),
            keyed: Vec::new(),
        };
        history.take_keys()?;
        Ok(history)
    }

    /// Reads on, from whichever node answers, as far as it has published.
    ///
    /// # Errors
    /// [`Failure`] if none answers, or one tells what can't be; what came before that was taken.
    pub(crate) fn read_on(&mut self, https: &mut Https) -> Result<(), Failure> {
        for _ in 0..PAGES_MAX {
            let page = https.any(&format!("/registers?from={}", self.next), PAGE_LEN_MAX)?;
            let page = tally_wire::decode_value::<RegisterLeaves>(&page.unwrap_or_default());
            let page = page.map_err(|why| {
                Failure::refused(format!("a page of registers: {why}"), "ask another ledger node")
            })?;
            if page.leaves.is_empty() {
                return Ok(());
            }
            for it in page.leaves {
                self.take(it.leaf, &it.entry)?;
            }
        }
        Ok(())
    }

    /// Takes what an export holds.
    ///
    /// # Errors
    /// [`Failure`] if there is a leaf that can't be.
    pub(crate) fn take_all(&mut self, leaves: &RegisterLeaves) -> Result<(), Failure> {
        let later = leaves.leaves.iter().filter(|it| it.leaf.0 > 0);
        later.into_iter().try_for_each(|it| self.take(it.leaf, &it.entry))
    }

    fn take(&mut self, leaf: LeafIndex, entry: &Encoded<Entry>) -> Result<(), Failure> {
        if leaf < self.next {
            return Ok(());
        }
        let write = match entry.value() {
            Entry::Register(write) => write,
            Entry::Recovery(recovery) => {
                let next = self.epochs.current().checked_add(1) == Some(recovery.epoch);
                let lawful = check_recovery(&self.registers, &self.mesh_id, recovery, &Rules);
                if !next || recovery.size != leaf.0 || lawful.is_err() {
                    return Err(unlawful(leaf));
                }
                self.epochs.begin(leaf, entry.leaf_hash());
                self.next = LeafIndex(leaf.0.saturating_add(1));
                return self.take_keys();
            }
            _ => return Err(unlawful(leaf)),
        };
        if !is_lawful_now(&self.registers, &self.mesh_id, write, &Rules) {
            return Err(unlawful(leaf));
        }
        self.registers.follow(leaf, write, Timestamp::default());
        self.next = LeafIndex(leaf.0.saturating_add(1));
        match write.body.value() {
            RegisterBody::Member(_) => self.take_keys()?,
            RegisterBody::Witnesses(witnesses) => self.witnesses.push((leaf, witnesses.clone())),
            _ => return Ok(()),
        }
        self.keyed.push(leaf);
        Ok(())
    }

    fn take_keys(&mut self) -> Result<(), Failure> {
        for node in self.registers.members().flat_map(|member| &member.nodes) {
            if !self.keys.contains(&node.log_key) {
                self.keys.push(node.log_key);
            }
        }
        self.log_keys = self.keys_of(self.epochs.current())?;
        Ok(())
    }

    /// The keys of the ledger's nodes, for what they sign in the present epoch.
    pub(crate) fn log_keys(&self) -> &[NoteKey] {
        &self.log_keys
    }

    /// How many of the ledger nodes that there are have signed a checkpoint, and how many there are.
    pub(crate) fn signed_by(&self, signed: &SignedCheckpoint) -> (usize, usize) {
        let present = self.registers.members().filter(|it| it.status != MemberStatus::Removed);
        let present = present.flat_map(|member| &member.nodes).map(|node| node.log_key);
        let present = present.collect::<Vec<_>>();
        // A mesh whose name made an origin before makes one again.
        let keys = self.keys_in(self.epochs.current(), &present).unwrap_or_default();
        (signed.verify_log(&keys).map_or(0, |verified| verified.len()), present.len())
    }

    /// The same for an earlier one.
    ///
    /// # Errors
    /// [`Failure`] if the mesh's name is none for a log.
    pub(crate) fn keys_of(&self, epoch: u64) -> Result<Vec<NoteKey>, Failure> {
        self.keys_in(epoch, &self.keys)
    }

    fn keys_in(&self, epoch: u64, keys: &[VerifyingKey]) -> Result<Vec<NoteKey>, Failure> {
        let origin = KeyName::new(&self.mesh.log(epoch));
        let origin =
            origin.map_err(|why| Failure::usage(format!("{}: {why}", self.mesh), "shorten it"))?;
        Ok(keys.iter().map(|key| NoteKey::ed25519(origin.clone(), *key)).collect())
    }

    /// The epochs so far.
    pub(crate) const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The epoch that a checkpoint is of; none if it is another log's.
    pub(crate) fn epoch_of(&self, signed: &SignedCheckpoint) -> Option<u64> {
        self.mesh.epoch_of(signed.checkpoint().origin.as_str())
    }

    /// Whether a recovery has lost what a checkpoint was for.
    pub(crate) fn is_lost(&self, signed: &SignedCheckpoint) -> bool {
        let end = self.epoch_of(signed).and_then(|epoch| self.epochs.end(epoch));
        end.is_some_and(|end| end < signed.checkpoint().size)
    }

    /// The register leaves that say whose keys count at a size, but for the genesis.
    pub(crate) fn keyed_at(&self, size: u64) -> impl Iterator<Item = LeafIndex> + '_ {
        self.keyed.iter().copied().take_while(move |leaf| leaf.0 < size)
    }

    /// Who of the witnesses in force at its size has cosigned a checkpoint.
    pub(crate) fn cosigned(&self, signed: &SignedCheckpoint) -> Cosigned {
        let size = signed.checkpoint().size;
        let in_force = self.witnesses.iter().rev().find(|(leaf, _)| leaf.0 < size);
        cosigned(signed, in_force.map_or(&[], |(_, witnesses)| witnesses))
    }
}

/// Who of these witnesses has cosigned a checkpoint. One whose line fails counts for nothing.
pub(crate) fn cosigned(signed: &SignedCheckpoint, witnesses: &[Witness]) -> Cosigned {
    let keys = witnesses.iter().filter_map(|it| it.vkey.parse::<NoteKey>().ok());
    let times = keys.filter_map(|key| cosigned_at(signed, &key));
    let times = times.collect::<Vec<_>>();
    Cosigned {
        cosignatures: times.len(),
        witnesses: witnesses.len(),
        quorum: witness_quorum(witnesses.len()),
        at_s: times.into_iter().max(),
    }
}

/// When a key has cosigned a checkpoint, in seconds since the Unix epoch. A plain signature is none.
pub(crate) fn cosigned_at(signed: &SignedCheckpoint, key: &NoteKey) -> Option<u64> {
    signed.note().verify([key]).ok()?.first()?.time_s
}

impl Cosigned {
    /// Whether enough have.
    pub(crate) const fn is_enough(&self) -> bool {
        self.witnesses > 0 && self.cosignatures >= self.quorum
    }
}

fn unlawful(leaf: LeafIndex) -> Failure {
    let what = format!("register leaf {leaf} is not one that the members have approved");
    Failure::refused(what, "see what is wrong with the ledger: tally audit verify")
}
