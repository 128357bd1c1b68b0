//! The ledger as an auditor reads it from its nodes.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::MeshId;
use tally_log::tile::TilePath;
use tally_log::{NoteKey, Policy, SignedCheckpoint};
use tally_net::Identity;

use crate::config::{AuditorConfig, is_agent};
use crate::export::{CHECKPOINTS, POLICY_LEN_MAX, TILE_LEN_MAX};
use crate::failure::Failure;
use crate::history::RegisterHistory;
use crate::https::{Https, HttpsError};
use crate::kept;
use crate::output::show;
use crate::verify::{Source, Unreadable};

/// Bytes of a checkpoint at most.
const CHECKPOINT_LEN_MAX: usize = 64 * 1024;
/// How often the nodes are asked for checkpoints of one size, while the ledger grows.
const ROUNDS: u32 = 8;
/// The pause between two rounds: nodes publish every 250 ms.
const ROUND_PAUSE: Duration = Duration::from_millis(150);

/// The ledger of a mesh, read over HTTPS.
pub(crate) struct Online {
    pub(crate) https: Https,
    pub(crate) genesis: Encoded<Genesis>,
    pub(crate) policy: Option<Policy>,
    /// The registers as far as the nodes have told, once they were asked.
    registers: Option<RegisterHistory>,
    /// The directory with the checkpoints that were seen before.
    pub(crate) kept: PathBuf,
}

impl Online {
    /// Gets ready to read as the auditor of this configuration.
    ///
    /// # Errors
    /// [`Failure`] if the configuration, or a file that it names, is not as it must be.
    pub(crate) fn open(config: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = config else {
            let remedy = "give an auditor's configuration: --config FILE, or TALLY_CONFIG; \
                          or read an export: --dir DIR";
            return Err(Failure::usage("nobody said as whom to read the ledger", remedy));
        };
        let config = AuditorConfig::load(path)?;
        let genesis = read_genesis(&config.genesis, config.mesh_id)?;
        let identity = Identity::load(&config.identity_cert, &config.identity_key)
            .map_err(|why| Failure::configuration(why, "issue one: tally identity issue"))?;
        let policy = config.policy.as_deref().map(read_policy).transpose()?;
        let https = Https::new(&config.https, genesis.value(), identity)?;
        let kept = path.with_file_name(CHECKPOINTS);
        Ok(Self { https, genesis, policy, registers: None, kept })
    }

    /// Gets ready to read as whoever this configuration is of: an auditor, or a member by its agent,
    /// who reads what all members may. True for the latter.
    ///
    /// # Errors
    /// [`Failure`] if the configuration, or a file that it names, is not as it must be.
    pub(crate) fn open_for_all(config: Option<&Path>) -> Result<(Self, bool), Failure> {
        let Some(path) = config.filter(|path| is_agent(path)) else {
            return Ok((Self::open(config)?, false));
        };
        let kept = path.with_file_name(CHECKPOINTS);
        let config = crate::acting::load(path)?;
        let genesis = read_genesis(&config.genesis, config.mesh_id)?;
        let identity = Identity::load(&config.identity_cert, &config.identity_key)
            .map_err(|why| Failure::configuration(why, "issue one: tally identity issue"))?;
        let nodes = genesis.value().members.iter().flat_map(|member| &member.nodes);
        let nodes = nodes.map(|node| format!("https://{}", node.https)).collect::<Vec<_>>();
        let https = Https::new(&nodes, genesis.value(), identity)?;
        Ok((Self { https, genesis, policy: None, registers: None, kept }, true))
    }

    /// The mesh.
    pub(crate) fn mesh_id(&self) -> MeshId {
        MeshId(self.genesis.leaf_hash())
    }

    /// The keys of the founders' ledger nodes, and of those that registers have named since, in the
    /// present epoch.
    ///
    /// # Errors
    /// [`Failure`] if the mesh's name is none for a log.
    pub(crate) fn log_keys(&mut self) -> Result<Vec<NoteKey>, Failure> {
        Ok(self.registers()?.log_keys().to_vec())
    }

    /// The registers as the nodes tell them.
    ///
    /// # Errors
    /// [`Failure`] if the mesh's name is none for a log.
    pub(crate) fn registers(&mut self) -> Result<&RegisterHistory, Failure> {
        let registers = match self.registers.take() {
            Some(registers) => registers,
            None => {
                let mut registers = RegisterHistory::new(&self.genesis)?;
                // As far as they tell: a key that they keep back counts for nobody.
                drop(registers.read_on(&mut self.https));
                registers
            }
        };
        Ok(self.registers.insert(registers))
    }

    /// A checkpoint that as many nodes as possible have signed: while the ledger grows, each has
    /// signed another size.
    ///
    /// # Errors
    /// [`Failure`] if no node publishes one that its key has signed.
    pub(crate) fn checkpoint(&mut self) -> Result<SignedCheckpoint, Failure> {
        let keys = self.log_keys()?;
        let mut best: Option<SignedCheckpoint> = None;
        for round in 0..ROUNDS {
            if round > 0 {
                thread::sleep(ROUND_PAUSE);
            }
            let (found, answered) = self.checkpoints()?;
            for signed in found {
                let more = |best| signers(&signed, &keys) > signers(best, &keys);
                if best.as_ref().is_none_or(more) {
                    best = Some(signed);
                }
            }
            let all = best.as_ref().is_some_and(|it| signers(it, &keys) >= answered);
            if all {
                break;
            }
        }
        best.ok_or_else(|| {
            Failure::refused("no ledger node publishes a checkpoint", "see: tally ledger status")
        })
    }

    /// The same, or the newest one that is witnessed, if it is as this auditor's policy asks.
    ///
    /// # Errors
    /// [`Failure`] as for [`checkpoint`](Self::checkpoint), or if the policy is not satisfied.
    pub(crate) fn trusted_checkpoint(
        &mut self,
        require_witnesses: bool,
    ) -> Result<SignedCheckpoint, Failure> {
        let signed = if require_witnesses {
            self.witnessed_checkpoint()?.ok_or_else(Self::not_witnessed)?
        } else {
            self.checkpoint()?
        };
        if let Some(policy) = &self.policy {
            policy.check(&signed).map_err(|why| {
                let remedy = "see who signs and cosigns: tally audit verify; or mend the policy";
                Failure::refused(format!("the checkpoint, by the policy: {why}"), remedy)
            })?;
        }
        Ok(signed)
    }

    /// The newest checkpoint that enough of the mesh's witnesses have cosigned, as the nodes say; none
    /// if no node has one.
    ///
    /// # Errors
    /// [`Failure`] if no node answers.
    pub(crate) fn witnessed_checkpoint(&mut self) -> Result<Option<SignedCheckpoint>, Failure> {
        let (found, _) = self.checkpoints_at("/checkpoint/witnessed")?;
        Ok(found.into_iter().max_by_key(|it| it.checkpoint().size))
    }

    /// What to say where that is needed and not there.
    pub(crate) fn not_witnessed() -> Failure {
        let what = "no ledger node has a checkpoint that enough witnesses have cosigned";
        Failure::refused(what, "see who is registered and cosigns: tally ledger status")
    }

    /// Keeps a checkpoint, for the next look at the ledger to be held against. Not to be able to is no
    /// reason not to look.
    pub(crate) fn keep(&self, signed: &SignedCheckpoint) {
        if let Err(why) = kept::keep(&self.kept, signed) {
            // If standard error is closed, nobody is there to be warned.
            drop(show(&format!("warning: the checkpoint is not kept for the next time\n{why}\n")));
        }
    }

    /// The nodes' checkpoints, those of one size joined; and how many nodes answered.
    fn checkpoints(&mut self) -> Result<(Vec<SignedCheckpoint>, usize), Failure> {
        self.checkpoints_at("/checkpoint")
    }

    /// The last checkpoint of each epoch that ended with a recovery, as far as a node has it still: what
    /// it covers beyond the recovery is lost.
    ///
    /// # Errors
    /// [`Failure`] if the mesh's name is none for a log.
    pub(crate) fn earlier(&mut self) -> Result<Vec<SignedCheckpoint>, Failure> {
        let epochs = self.registers()?.epochs().current();
        let mut found = Vec::new();
        for epoch in 0..epochs {
            let keys = self.registers()?.keys_of(epoch)?;
            // A node that joined later has none.
            let last = self.signed_at(&format!("/checkpoint/{epoch}"), &keys);
            let last = last.map(|(last, _)| last).unwrap_or_default();
            found.extend(last.into_iter().max_by_key(|it| it.checkpoint().size));
        }
        Ok(found)
    }

    fn checkpoints_at(&mut self, path: &str) -> Result<(Vec<SignedCheckpoint>, usize), Failure> {
        let keys = self.log_keys()?;
        self.signed_at(path, &keys)
    }

    /// Those at a path that one of these keys has signed.
    fn signed_at(
        &mut self,
        path: &str,
        keys: &[NoteKey],
    ) -> Result<(Vec<SignedCheckpoint>, usize), Failure> {
        let mut joined: Vec<SignedCheckpoint> = Vec::new();
        let (mut answered, mut last) = (0, None);
        for node in 0..self.https.nodes().len() {
            let note = match self.https.get(node, path, CHECKPOINT_LEN_MAX) {
                Ok(Some(note)) => note,
                Ok(None) => continue,
                Err(why) => {
                    last = Some(why);
                    continue;
                }
            };
            answered += 1;
            let Ok(signed) = SignedCheckpoint::parse(&note) else { continue };
            if signers(&signed, keys) == 0 {
                continue;
            }
            let same = |it: &&mut SignedCheckpoint| it.checkpoint() == signed.checkpoint();
            match joined.iter_mut().find(same) {
                None => joined.push(signed),
                Some(other) => join(other, &signed),
            }
        }
        match last {
            Some(why) if answered == 0 => Err(why.into()),
            _ => Ok((joined, answered)),
        }
    }
}

/// Ledger nodes that have signed. None count where a line in the log's name is by somebody else: that
/// is to look like more.
fn signers(signed: &SignedCheckpoint, keys: &[NoteKey]) -> usize {
    let origin = signed.checkpoint().origin.as_str();
    let is_known = |id| keys.iter().any(|key| key.id() == id);
    let mut lines = signed.note().signatures().iter();
    if lines.any(|line| line.name.as_str() == origin && !is_known(line.id)) {
        return 0;
    }
    signed.verify_log(keys).map_or(0, |verified| verified.len())
}

/// Adds the lines of keys that have none yet: one that was cosigned twice says no more.
pub(crate) fn join(to: &mut SignedCheckpoint, from: &SignedCheckpoint) {
    for signature in from.note().signatures() {
        let there = to
            .note()
            .signatures()
            .iter()
            .any(|it| it.id == signature.id && it.name == signature.name);
        if !there {
            // There are far fewer nodes than signatures fit.
            let _ = to.add(signature.clone());
        }
    }
}

/// Reads the genesis file of this mesh.
///
/// # Errors
/// [`Failure`] if it is another's, or none.
pub(crate) fn read_genesis(path: &Path, mesh_id: MeshId) -> Result<Encoded<Genesis>, Failure> {
    tally_net::read_genesis(path, mesh_id)
        .map_err(|why| Failure::configuration(why, "give the genesis.cbor of the mesh"))
}

/// Reads a policy file.
///
/// # Errors
/// [`Failure`] if it is none.
pub(crate) fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let remedy = "write it as C2SP tlog-policy says: log, witness, group and quorum lines";
    let text = crate::system::read_text(path, POLICY_LEN_MAX)?;
    Policy::parse(text.as_bytes())
        .map_err(|why| Failure::configuration(format!("{}: {why}", path.display()), remedy))
}

impl Source for Online {
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        let found = self.https.any(&format!("/{path}"), TILE_LEN_MAX);
        found.map_err(|why| Unreadable {
            what: path.to_string(),
            why: why.to_string(),
            unreachable: matches!(why, HttpsError::Unreachable { .. }),
        })
    }

    fn narrower(&mut self, _: TilePath) -> Result<Vec<TilePath>, Unreadable> {
        // A node cuts them from the tile itself.
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use tally_log::{Checkpoint, Hash, KeyName, NoteSigner, Origin, SigningKey};

    use super::*;

    const ORIGIN: &str = "dev.example/ledger/0";

    fn signer(name: &str, seed: u8) -> NoteSigner {
        NoteSigner::new(KeyName::new(name).unwrap(), SigningKey::from_seed(&[seed; 32]))
    }

    #[test]
    fn only_the_ledgers_own_nodes_count_as_signers() {
        let (one, other) = (signer(ORIGIN, 1), signer(ORIGIN, 2));
        let keys = [one.key().clone(), other.key().clone()];
        let root = Hash::from_bytes([5; 32]);
        let checkpoint = Checkpoint { origin: Origin::new(ORIGIN).unwrap(), size: 7, root };
        let mut signed = SignedCheckpoint::sign(checkpoint, &one).unwrap();
        assert_eq!(signers(&signed, &keys), 1);
        let text = signed.note().text().to_owned();
        signed.add(signer("w.example", 9).sign(&text)).unwrap();
        assert_eq!(signers(&signed, &keys), 1, "a stranger's line is no node's");
        signed.add(other.sign(&text)).unwrap();
        assert_eq!(signers(&signed, &keys), 2);
        signed.add(signer(ORIGIN, 3).sign(&text)).unwrap();
        assert_eq!(signers(&signed, &keys), 0, "a line in the log's name is by no node");
    }
}
