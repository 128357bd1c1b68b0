//! The member's witness: it watches that the ledger has one history, and says so with cosignatures
//! (C2SP tlog-witness) that anybody can check.
//!
//! It dials out: the leader asks on a stream of the agent's connection to the ledger. It speaks up only
//! while the `witnesses` register, as this agent has followed it, names its key.
//!
//! Invariant: a key is tied to its state. Without the state nothing is cosigned with it.

pub mod evidence;
pub mod judge;
pub mod state;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tally_core::id::{MemberId, NodeId};
use tally_core::ledger::RegisterValue;
use tally_core::register::{MemberRecord, MemberStatus, RegisterName, Witness as Registered};
use tally_log::note::{BadKeyName, KeyKind, KeyName};
use tally_log::{Cosigner, NoteKey, SigningKey};
use tally_net::ledger::{LedgerConfig, WitnessEnd, WitnessStream};
use tally_wire::message::witness::{WitnessAnswer, WitnessAsk};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::clock::wall;
use crate::replica::{Known, Replica};
use evidence::EvidenceDir;
use judge::{Judge, LogKeys, Verdict};
use state::{StateError, WitnessState};

/// A member's witness. It works until it is dropped.
#[derive(Debug)]
pub struct Witness {
    view: WitnessView,
    tasks: Vec<AbortHandle>,
}

/// What there is to see of a witness. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WitnessView(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    member: MemberId,
    key: NoteKey,
    replica: Replica,
    /// None while it has no state to cosign by: why not says the standing.
    judge: Option<Mutex<Judge>>,
    standing: watch::Sender<Standing>,
}

/// What a witness is made of.
pub struct WitnessParts {
    /// Whose it is.
    pub member: MemberId,
    /// Its key, which [`cosigner`] has named.
    pub cosigner: Cosigner,
    /// The agent's data directory.
    pub data_dir: PathBuf,
    /// How the ledger is reached.
    pub ledger: LedgerConfig,
    /// The registers.
    pub replica: Replica,
    /// The checkpoints of the agent's own receipts, as signed notes that were checked.
    pub heads: watch::Receiver<Vec<u8>>,
}

/// How a witness stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It can't cosign: its state is gone or damaged.
    Broken(String),
    /// The register does not name its key with this member.
    Unregistered,
    /// It looks for the node that leads.
    Searching,
    /// It cosigns what this node asks.
    Attending(NodeId),
}

impl Standing {
    /// In one word, for metrics and lines.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Broken(_) => "broken",
            Self::Unregistered => "unregistered",
            Self::Searching => "searching",
            Self::Attending(_) => "attending",
        }
    }

    /// All words.
    pub const WORDS: [&'static str; 4] = ["broken", "unregistered", "searching", "attending"];
}

/// The key of a member's witness under the name that it has in the mesh: `<mesh>/witness/<member>`.
///
/// # Errors
/// [`BadKeyName`] if the mesh's name can't be part of a key's.
pub fn cosigner(mesh: &str, member: &MemberId, key: SigningKey) -> Result<Cosigner, BadKeyName> {
    Ok(Cosigner::new(KeyName::new(&format!("{mesh}/witness/{member}"))?, key))
}

impl Witness {
    /// Opens the state and starts to look for the leader. A witness without its state stays, and says
    /// why it does not cosign: exchanges go on without it. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(parts: WitnessParts) -> Self {
        let WitnessParts { member, cosigner, data_dir, ledger, replica, heads } = parts;
        let key = cosigner.key().clone();
        let (judge, standing) = match open(&data_dir, cosigner) {
            Ok(judge) => (Some(Mutex::new(judge)), Standing::Unregistered),
            Err(why) => {
                error!(%why, "the witness does not cosign");
                (None, Standing::Broken(why.to_string()))
            }
        };
        let standing = watch::Sender::new(standing);
        let view = WitnessView(Arc::new(Shared { member, key, replica, judge, standing }));
        let mut tasks = Vec::new();
        if view.0.judge.is_some() {
            let attending = tokio::spawn(view.clone().attend_for_ever(ledger));
            let watching = tokio::spawn(view.clone().watch_receipts(heads));
            tasks.extend([attending.abort_handle(), watching.abort_handle()]);
        }
        Self { view, tasks }
    }

    /// What there is to see of it.
    #[must_use]
    pub fn view(&self) -> WitnessView {
        self.view.clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl WitnessView {
    /// Its verifier key.
    #[must_use]
    pub fn key(&self) -> &NoteKey {
        &self.0.key
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.standing.borrow().clone()
    }

    /// Tells when it stands otherwise.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Looks at what it remembers; none if its state is gone.
    pub fn look<T>(&self, look: impl FnOnce(&Judge) -> T) -> Option<T> {
        let judge = self.0.judge.as_ref()?;
        Some(look(&judge.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn attend_for_ever(self, ledger: LedgerConfig) {
        let mut turn = 0_usize;
        let mut pause = ledger.limits.retry_wait_min;
        let mut changes = self.0.replica.changes();
        loop {
            if !self.0.is_named_in(&changes.borrow_and_update()) {
                self.0.stand(Standing::Unregistered);
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let nodes = ledger.nodes.len().max(1);
            let Some(to) = ledger.nodes.get(turn % nodes).copied() else { return };
            let ended = match WitnessStream::open(&ledger, to, &self.0.key.to_string()).await {
                Ok(stream) => self.attend(stream, &mut pause, &ledger).await,
                Err(ended) => ended,
            };
            let place = |leader: NodeId| ledger.nodes.iter().position(|it| it.node == leader);
            let next = turn.wrapping_add(1);
            match ended {
                WitnessEnd::NotLeader(leader) => turn = leader.and_then(place).unwrap_or(next),
                WitnessEnd::Idle => continue,
                // Its registers may be a moment behind.
                WitnessEnd::Refused(_) => pause = ledger.limits.retry_wait_max,
                WitnessEnd::Gone | WitnessEnd::Link(_) => turn = next,
            }
            self.0.stand(Standing::Searching);
            sleep(pause).await;
            pause = (pause * 2).min(ledger.limits.retry_wait_max);
        }
    }

    /// Answers a node for as long as it asks, and the register names this witness.
    async fn attend(
        &self,
        mut stream: WitnessStream,
        pause: &mut Duration,
        ledger: &LedgerConfig,
    ) -> WitnessEnd {
        let mut changes = self.0.replica.changes();
        loop {
            let ask = tokio::select! {
                ask = stream.next() => match ask {
                    Ok(ask) => ask,
                    Err(ended) => return ended,
                },
                gone = changes.wait_for(|known| !self.0.is_named_in(known)) => {
                    drop(gone);
                    return WitnessEnd::Gone;
                }
            };
            self.0.stand(Standing::Attending(stream.node()));
            *pause = ledger.limits.retry_wait_min;
            let WitnessAsk { number, request } = ask;
            let Some(Verdict { status, body }) = self.judge(request).await else {
                return WitnessEnd::Gone;
            };
            if let Err(ended) = stream.answer(&WitnessAnswer { number, status, body }).await {
                return ended;
            }
        }
    }

    /// What is asked is judged where waiting for the disk keeps nobody else waiting.
    async fn judge(&self, request: Vec<u8>) -> Option<Verdict> {
        let shared = Arc::clone(&self.0);
        let judged = spawn_blocking(move || {
            let known = shared.replica.known();
            let present = present_keys(&known);
            let keys = LogKeys { known: &known.log_keys, present: &present };
            let mut judge = shared.judge.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
            Some(judge.judge(&request, keys, wall()))
        });
        judged.await.ok().flatten()
    }

    async fn watch_receipts(self, mut heads: watch::Receiver<Vec<u8>>) {
        while heads.changed().await.is_ok() {
            let note = heads.borrow_and_update().clone();
            let shared = Arc::clone(&self.0);
            let seen = spawn_blocking(move || {
                let keys = shared.replica.known().log_keys;
                if let Some(judge) = &shared.judge {
                    let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
                    judge.see(&note, &keys, wall());
                }
            });
            drop(seen.await);
        }
    }
}

impl Shared {
    fn is_named_in(&self, known: &Known) -> bool {
        let vkey = self.key.to_string();
        registered(known)
            .iter()
            .any(|it| it.vkey == vkey && it.member.as_ref() == Some(&self.member))
    }

    fn stand(&self, standing: Standing) {
        let moved = self.standing.send_if_modified(|now| {
            let differs = *now != standing;
            now.clone_from(&standing);
            differs
        });
        if moved {
            match standing {
                Standing::Attending(node) => {
                    info!(%node, "the witness cosigns what the ledger asks")
                }
                other => warn!(standing = other.word(), "the witness does not cosign"),
            }
        }
    }
}

/// The witnesses that the register names.
#[must_use]
pub fn registered(known: &Known) -> &[Registered] {
    match known.registers.get(&RegisterName::Witnesses).map(|state| &state.value) {
        Some(RegisterValue::Witnesses(witnesses)) => witnesses,
        _ => &[],
    }
}

/// What the ledger nodes sign with whose members have not been removed.
fn present_keys(known: &Known) -> Vec<NoteKey> {
    let present = |key: &NoteKey| {
        let of = |member: &MemberRecord| {
            let mut nodes = member.nodes.iter();
            member.status != MemberStatus::Removed
                && nodes.any(|it| matches!(key.kind(), KeyKind::Ed25519(log) if *log == it.log_key))
        };
        known.registers.members().any(of)
    };
    known.log_keys.iter().filter(|key| present(key)).cloned().collect()
}

fn open(data_dir: &Path, cosigner: Cosigner) -> Result<Judge, StateError> {
    let directory = state::directory(data_dir);
    let state = WitnessState::open(&directory, cosigner.key())?;
    let evidence = EvidenceDir::open(&directory)
        .map_err(|source| StateError::Io { path: directory, source })?;
    Ok(Judge::new(cosigner, state, evidence))
}

#[cfg(test)]
mod tests;
