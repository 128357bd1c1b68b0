//! `tally audit watch`: somebody who keeps looking whether the ledger has one history.

mod judge;
mod nodes;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tally_agent::admin::api::{EvidenceRow, WitnessStatus};
use tally_log::{SignedCheckpoint, sha256};

use crate::acting::Acting;
use crate::args::WatchArgs;
use crate::failure::{Exit, Failure};
use crate::history::{Cosigned, RegisterHistory};
use crate::online::Online;
use crate::output::Output;
use crate::system::{now_s, random, read_text, write_file};

use judge::{Deed, Memory, Next, size};
use nodes::{Nodes, Proved, Shown};
use show::{Event, Teller};

/// How often the nodes are asked.
const ROUND: Duration = Duration::from_secs(1);
/// How often it is asked again for a checkpoint that can be believed first.
const FIRST_ROUNDS_MAX: usize = 4;
/// Bytes of the state at most.
const STATE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Who watches.
struct Watcher {
    /// The member's agent, if that is for whom to watch.
    acting: Option<Acting>,
    nodes: Nodes,
    registers: RegisterHistory,
    memory: Memory,
    state: PathBuf,
    quorum_age_s: u64,
    teller: Teller,
    /// Nodes that gave no good checkpoint, and why.
    silent: BTreeMap<String, String>,
    /// Evidence of the own witness that was told.
    told: BTreeSet<String>,
    /// What was told of a node's checkpoint that contradicts what is known.
    contradicted: BTreeSet<String>,
    lacks_quorum: bool,
    /// Whether the ledger contradicted itself.
    deeds: bool,
}

/// `tally audit watch`.
///
/// # Errors
/// [`Failure`] if the configuration or the state is not as it must be.
pub(super) fn watch(
    args: &WatchArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut watcher = Watcher::new(args, config, output)?;
    if args.once {
        let mut round = watcher.round()?;
        // Nodes that are late with their signature are so for a moment.
        for _ in 0..FIRST_ROUNDS_MAX {
            if round != Round::Unproved || watcher.memory.last().is_some() {
                break;
            }
            thread::sleep(ROUND);
            round = watcher.round()?;
        }
        return Ok(exit(watcher.deeds, round));
    }
    let ended = ending()?;
    loop {
        watcher.round()?;
        if !matches!(ended.recv_timeout(ROUND), Err(RecvTimeoutError::Timeout)) {
            return Ok(if watcher.deeds { Exit::Refused } else { Exit::Done });
        }
    }
}

/// What came of asking all nodes once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// None of them answered.
    Silent,
    /// Nothing that they publish could be shown to belong to the history that is known.
    Unproved,
    /// Something could.
    Seen,
}

/// Whoever runs this by a timer must not take a ledger that proves nothing for one that is well.
const fn exit(contradicted: bool, round: Round) -> Exit {
    match round {
        _ if contradicted => Exit::Refused,
        Round::Silent => Exit::Unreachable,
        Round::Unproved => Exit::Refused,
        Round::Seen => Exit::Done,
    }
}

/// Hears when it is time to end.
fn ending() -> Result<Receiver<()>, Failure> {
    let runtime = crate::acting::runtime()?;
    let (told, ended) = channel();
    thread::spawn(move || {
        // Without a way to hear of it, the system ends the process itself.
        drop(runtime.block_on(tokio::signal::ctrl_c()));
        let _ = told.send(());
    });
    Ok(ended)
}

impl Watcher {
    fn new(args: &WatchArgs, config: Option<&Path>, output: Output) -> Result<Self, Failure> {
        let (online, acts) = Online::open_for_all(config)?;
        let acting = if acts { Some(Acting::open(config)?) } else { None };
        let state = match (&args.state, config) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => config.with_extension("watch.json"),
            (None, None) => PathBuf::from("watch.json"),
        };
        let mesh_id = online.mesh_id().to_string();
        let memory = match state.exists() {
            true => read_memory(&state, &mesh_id)?,
            false => Memory::new(mesh_id),
        };
        let registers = RegisterHistory::new(&online.genesis)?;
        let mut watcher = Self {
            nodes: Nodes::of(&online)?,
            acting,
            registers,
            memory,
            state,
            quorum_age_s: u64::try_from(args.quorum_age).unwrap_or(0),
            teller: Teller::new(output),
            silent: BTreeMap::new(),
            told: BTreeSet::new(),
            contradicted: BTreeSet::new(),
            lacks_quorum: false,
            deeds: false,
        };
        // What can't be kept is better known before the first round.
        if let Err(why) = watcher.save() {
            if args.state.is_some() {
                return Err(why);
            }
            let number = u64::from_be_bytes(random()?);
            let dir = std::env::temp_dir().join(format!("tally-watch-{number:016x}"));
            crate::system::create_dir(&dir)?;
            watcher.state = dir.join("watch.json");
            watcher.save()?;
            crate::output::show(&format!("what is seen is kept in {}\n", watcher.state.display()))?;
        }
        Ok(watcher)
    }

    /// Asks all nodes once.
    fn round(&mut self) -> Result<Round, Failure> {
        let shown = self.nodes.ask();
        let answers = shown.iter().filter(|shown| shown.published.is_ok());
        let answers = answers.map(|shown| shown.node.clone()).collect::<BTreeSet<_>>();
        let answered = !answers.is_empty();
        // One that keeps registers back keeps back nothing that another tells.
        for (node, why) in self.nodes.read_registers(&answers, &mut self.registers) {
            let what = format!("the registers, as {node} tells them: {why}");
            self.teller.once(&format!("registers {node}"), &Event::Trouble { what })?;
        }
        self.follow_recoveries()?;
        let mut newest: Option<SignedCheckpoint> = None;
        let mut witnessed: Option<(SignedCheckpoint, Cosigned)> = None;
        for shown in shown {
            let (node, cosigned) = (shown.node.clone(), shown.witnessed.clone());
            if let Some(signed) = self.take(shown)? {
                newest = joined(newest, signed);
            }
            let Some(signed) = cosigned else { continue };
            if signed.verify_log(self.registers.log_keys()).is_err() {
                continue;
            }
            let next = self.memory.compare(&signed);
            if self.belongs(&node, &signed, next)? {
                let by = self.registers.cosigned(&signed);
                let further = witnessed.as_ref().is_none_or(|(it, _)| size(it) < size(&signed));
                if by.is_enough() && further {
                    witnessed = Some((signed, by));
                }
            }
        }
        if let Some(newest) = &newest {
            self.tell(newest, witnessed.as_ref())?;
        }
        self.look_at_own_witness()?;
        self.save()?;
        Ok(match newest {
            Some(_) => Round::Seen,
            None if answered => Round::Unproved,
            None => Round::Silent,
        })
    }

    /// Tells, once, that the ledger went on in a new epoch, and keeps what shows its loss.
    fn follow_recoveries(&mut self) -> Result<(), Failure> {
        let epochs = self.registers.epochs();
        let Some(recovered) = epochs.recoveries().last().copied() else { return Ok(()) };
        let epoch = epochs.current();
        if self.memory.epoch >= epoch {
            return Ok(());
        }
        let mut event = Event::Recovered { epoch, size: recovered.leaf.0, lost: 0, known: None };
        if let Some(lost) = self.memory.recover(&self.registers) {
            self.deeds = true;
            let old = self.registers.epoch_of(&lost).unwrap_or_default();
            let end = self.registers.epochs().end(old).unwrap_or_default();
            let file = self.state.with_extension(format!("lost-{}.known", size(&lost)));
            write_file(&file, lost.to_string().as_bytes())?;
            event = Event::Recovered {
                epoch: old.saturating_add(1),
                size: end,
                lost: size(&lost).saturating_sub(end),
                known: Some(file.display().to_string()),
            };
        }
        self.teller.tell(&event)
    }

    /// Takes what a node shows; its checkpoint, if it belongs to the history that is known.
    fn take(&mut self, shown: Shown) -> Result<Option<SignedCheckpoint>, Failure> {
        let keys = self.registers.log_keys();
        let signed = shown.published.and_then(|signed| {
            let verified = signed.verify_log(keys).map(drop).map_err(|why| why.to_string());
            verified.map(|()| signed)
        });
        let signed = match signed {
            Ok(signed) => {
                if self.silent.remove(&shown.node).is_some() {
                    self.teller.tell(&Event::Back { node: shown.node.clone() })?;
                }
                signed
            }
            Err(why) => {
                if !self.silent.contains_key(&shown.node) {
                    let (node, what) = (shown.node.clone(), why.clone());
                    self.teller.tell(&Event::Silent { node, why: what })?;
                }
                self.silent.insert(shown.node, why);
                return Ok(None);
            }
        };
        if self.memory.last().is_none() && !self.may_believe(&shown.node, &signed)? {
            return Ok(None);
        }
        let next = self.memory.look(&shown.node, &signed);
        if !self.belongs(&shown.node, &signed, next)? {
            return Ok(None);
        }
        self.memory.seen_at(&shown.node, &signed);
        Ok(Some(signed))
    }

    /// Whether a checkpoint may be the first that is believed, which nothing proves: most of the ledger
    /// nodes must have signed it. Says so either way.
    fn may_believe(&mut self, node: &str, signed: &SignedCheckpoint) -> Result<bool, Failure> {
        let (signatures, nodes) = self.registers.signed_by(signed);
        let size = size(signed);
        if signatures * 2 <= nodes {
            let what = format!(
                "nothing is known of the ledger yet, and {signatures} of its {nodes} nodes have signed \
                 size {size} as {node} publishes it: too few to believe it"
            );
            self.teller.once("first", &Event::Trouble { what })?;
            return Ok(false);
        }
        let root = signed.checkpoint().root.to_string();
        self.teller.tell(&Event::Believed { size, root, signatures, nodes })?;
        Ok(true)
    }

    /// Whether a checkpoint belongs to the history that is known; if not, it is told.
    fn belongs(
        &mut self,
        node: &str,
        signed: &SignedCheckpoint,
        next: Next,
    ) -> Result<bool, Failure> {
        match next {
            Next::Known => {}
            Next::Contradicts { why, known } => {
                self.contradiction(why, node, &known, signed)?;
                return Ok(false);
            }
            Next::Prove { old, new } => {
                let known = if size(&old) == size(signed) { &new } else { &old };
                match self.nodes.prove(node, old.checkpoint(), new.checkpoint()) {
                    Proved::Consistent => {}
                    Proved::Forked => {
                        self.contradiction(Deed::Fork, node, known, signed)?;
                        return Ok(false);
                    }
                    Proved::Nothing(why) => {
                        let what = format!("no proof for what {node} publishes: {why}");
                        self.teller.once(node, &Event::Trouble { what })?;
                        return Ok(false);
                    }
                }
            }
        }
        self.memory.verified(signed);
        Ok(true)
    }

    /// Tells, once, that the ledger contradicts itself, and keeps both checkpoints.
    fn contradiction(
        &mut self,
        why: Deed,
        node: &str,
        known: &SignedCheckpoint,
        offered: &SignedCheckpoint,
    ) -> Result<(), Failure> {
        self.deeds = true;
        let hash = sha256(&[offered.note().text().as_bytes()]).to_string();
        let short = hash.get(..8).unwrap_or_default();
        let name = format!("{}-{}-{short}", why.name(), size(offered));
        // A ledger that goes on with another history would fill the disk: the first ones say it all.
        if self.contradicted.len() >= CONTRADICTIONS_MAX
            || !self.contradicted.insert(format!("{node} {name}"))
        {
            return Ok(());
        }
        let file = |end: &str| self.state.with_extension(format!("{name}.{end}"));
        let (known_file, offered_file) = (file("known"), file("offered"));
        write_file(&known_file, known.to_string().as_bytes())?;
        write_file(&offered_file, offered.to_string().as_bytes())?;
        self.teller.tell(&Event::Contradiction {
            what: why,
            node: node.to_owned(),
            known_size: size(known),
            offered_size: size(offered),
            known: known_file.display().to_string(),
            offered: offered_file.display().to_string(),
        })
    }

    /// Tells of the newest checkpoint if it is another than before, and of witnesses that are missing.
    fn tell(
        &mut self,
        newest: &SignedCheckpoint,
        witnessed: Option<&(SignedCheckpoint, Cosigned)>,
    ) -> Result<(), Failure> {
        let now_s = u64::try_from(now_s()).unwrap_or(0);
        let by = self.registers.cosigned(newest);
        let keys = self.registers.log_keys();
        let signatures = newest.verify_log(keys).map_or(0, |verified| verified.len());
        let witnessed_size = witnessed.map_or(0, |(signed, _)| size(signed));
        let cosigned_at = witnessed.and_then(|(_, by)| by.at_s);
        self.teller.checkpoint(&Event::Checkpoint {
            size: size(newest),
            root: newest.checkpoint().root.to_string(),
            signatures,
            log_keys: keys.len(),
            cosignatures: by.cosignatures,
            witnesses: by.witnesses,
            quorum: by.quorum,
            witnessed_size,
            witnessed_age_s: cosigned_at.map(|at_s| now_s.saturating_sub(at_s)),
        })?;
        if by.witnesses == 0 {
            return Ok(());
        }
        let waits_s = self.memory.waits_s(size(newest), witnessed_size, now_s);
        let lacks = waits_s > self.quorum_age_s;
        if lacks != self.lacks_quorum {
            self.lacks_quorum = lacks;
            self.teller.tell(&Event::Quorum { lacks, witnessed_size, waits_s })?;
        }
        Ok(())
    }

    /// Tells what the member's own witness keeps.
    fn look_at_own_witness(&mut self) -> Result<(), Failure> {
        let Some(acting) = &self.acting else { return Ok(()) };
        let status: WitnessStatus = match acting.ask("/witness/status", &json!({})) {
            Ok(status) => status,
            Err(why) => {
                let what = format!("the own witness: {why}");
                return self.teller.once("witness", &Event::Trouble { what });
            }
        };
        for row in status.evidence {
            self.deeds = true;
            if self.told.insert(row.name.clone()) {
                let EvidenceRow { name, why, at, known_size, offered_size } = row;
                self.teller.tell(&Event::Evidence { name, why, at, known_size, offered_size })?;
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_string(&self.memory)
            .map_err(|why| Failure::environment(why, "report this"))?;
        write_file(&self.state, text.as_bytes())
    }
}

/// Contradictions that one watch keeps.
const CONTRADICTIONS_MAX: usize = 64;

/// The larger of two; of one size, with the signatures of both.
fn joined(one: Option<SignedCheckpoint>, other: SignedCheckpoint) -> Option<SignedCheckpoint> {
    let Some(mut one) = one else { return Some(other) };
    if one.checkpoint() == other.checkpoint() {
        crate::online::join(&mut one, &other);
        return Some(one);
    }
    Some(if size(&one) < size(&other) { other } else { one })
}

fn read_memory(path: &Path, mesh_id: &str) -> Result<Memory, Failure> {
    let text = read_text(path, STATE_LEN_MAX)?;
    let bad = |why: String| {
        let what = format!("{}: {why}", path.display());
        Failure::configuration(
            what,
            "give another --state; what this one remembers is then not compared",
        )
    };
    let memory: Memory = serde_json::from_str(&text).map_err(|why| bad(why.to_string()))?;
    if memory.tally != 1 {
        return Err(bad("its version is unknown".to_owned()));
    }
    if memory.mesh_id != mesh_id {
        return Err(bad("it is of another mesh".to_owned()));
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_a_ledger_that_proves_nothing_does_not_end_well() {
        let exits = [Round::Silent, Round::Unproved, Round::Seen].map(|round| exit(false, round));
        assert_eq!(exits, [Exit::Unreachable, Exit::Refused, Exit::Done]);
        assert_eq!(exit(true, Round::Seen), Exit::Refused);
        assert_eq!(exit(true, Round::Silent), Exit::Refused);
    }
}
