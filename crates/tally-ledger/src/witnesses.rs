//! Feeding witnesses: the leader asks them to cosign what is published, members' agents on the streams
//! that they opened, third parties over HTTP.
//!
//! Invariant: a cosignature counts once it was verified, and for one checkpoint. Whatever a witness
//! says or does not say, publishing goes on.

mod answer;
mod feeder;
mod http;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tally_core::id::LeafIndex;
use tally_log::proof::{consistency, consistency_needs};
use tally_log::{AddCheckpoint, Hash, NoProof, NoteKey, NoteSignature, SignedCheckpoint, TileSet};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use crate::metrics::Metrics;
use crate::published::note::{Keys, is_by, merged};
use crate::published::{Board, Ring, Which, WitnessSeen};
use crate::tiles::TileReader;
use feeder::{Answered, Effect, Event, Feeder, Known, State};

pub(crate) use feeder::Why;
pub use http::WitnessCa;

/// A witness answers within this time.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// Some witnesses read no more than this.
const REQUEST_LEN_MAX: usize = 10 * 1024;
/// Checkpoints that may still be cosigned.
const CANDIDATES_MAX: usize = 32;
/// Visitors that wait to be heard.
pub(crate) const VISITORS_MAX: usize = 32;

/// A member's witness, on the stream that it opened. Dropped, the stream ends.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// Its key, which the register has for its member.
    pub(crate) key: NoteKey,
    /// Takes what it is asked.
    pub(crate) asks: mpsc::Sender<Asking>,
    /// Ends with the stream.
    pub(crate) gone: oneshot::Receiver<()>,
}

/// A question to a visitor.
#[derive(Debug)]
pub(crate) struct Asking {
    /// The body of an add-checkpoint request.
    pub(crate) request: Vec<u8>,
    /// Takes status and body.
    pub(crate) answer: oneshot::Sender<(u16, Vec<u8>)>,
}

/// What feeding takes.
pub(crate) struct FeedingParts {
    pub(crate) board: Board,
    pub(crate) ring: Ring,
    pub(crate) tiles: TileReader,
    pub(crate) registers: watch::Receiver<Option<LeafIndex>>,
    pub(crate) metrics: Metrics,
    pub(crate) ca: Option<WitnessCa>,
    pub(crate) visitors: mpsc::Receiver<Visitor>,
}

/// Feeds witnesses while this node leads. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Feeding(JoinHandle<()>);

impl Feeding {
    pub(crate) fn start(parts: FeedingParts) -> Self {
        let task = Task {
            keys: parts.ring.keys(),
            parts,
            began: Instant::now(),
            leads: false,
            feeder: Feeder::default(),
            visitors: BTreeMap::new(),
            candidates: BTreeMap::new(),
            fed: 0,
            cosigned: BTreeMap::new(),
            asked: 0,
            under_way: BTreeMap::new(),
            asking: JoinSet::new(),
            leaving: JoinSet::new(),
            visits: 0,
        };
        Self(tokio::spawn(task.run()))
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Task {
    parts: FeedingParts,
    began: Instant,
    leads: bool,
    keys: Keys,
    feeder: Feeder,
    /// Who is here, by key.
    visitors: BTreeMap<String, (u64, mpsc::Sender<Asking>)>,
    candidates: BTreeMap<u64, Candidate>,
    /// The largest that most of the voters have signed.
    fed: u64,
    /// What each cosigned last, by key.
    cosigned: BTreeMap<String, (u64, Instant)>,
    /// Questions, counted; and the last one to each, by key.
    asked: u64,
    under_way: BTreeMap<String, u64>,
    asking: JoinSet<Answer>,
    /// Who leaves, and with which visit.
    leaving: JoinSet<(NoteKey, u64)>,
    visits: u64,
}

/// A checkpoint, and who has cosigned it.
struct Candidate {
    signed: SignedCheckpoint,
    lines: Vec<NoteSignature>,
}

/// What came of a question.
struct Answer {
    key: NoteKey,
    number: u64,
    answered: Answered,
    line: Option<NoteSignature>,
}

impl Task {
    async fn run(mut self) {
        let mut checkpoints = self.parts.board.checkpoints();
        let mut leading = self.parts.ring.leading();
        loop {
            self.follow();
            let wakes_at = self.feeder.wakes_at().filter(|_| self.leads);
            let at = self.began + wakes_at.unwrap_or_default();
            let event = tokio::select! {
                goes_on = checkpoints.either_changed() => if goes_on { None } else { return },
                changed = leading.changed() => if changed.is_ok() { None } else { return },
                changed = self.parts.registers.changed() => {
                    if changed.is_err() { return }
                    self.keys = self.parts.ring.keys();
                    self.forget_others();
                    Some(self.register())
                }
                Some(visitor) = self.parts.visitors.recv() => self.visit(visitor),
                Some(left) = self.leaving.join_next() => left.ok().and_then(|left| self.leave(left)),
                Some(answer) = self.asking.join_next() => {
                    answer.ok().and_then(|answer| self.hear(answer))
                }
                () = sleep_until(at), if wakes_at.is_some() => Some(Event::Waited),
            };
            if let Some(event) = event.filter(|_| self.leads) {
                self.step(event);
            }
            self.tell();
        }
    }

    /// Begins and ends with leading, and takes over what is published.
    fn follow(&mut self) {
        let leads = self.parts.ring.leads();
        if leads != self.leads {
            self.leads = leads;
            self.feeder = Feeder::default();
            // Whoever is here is sent to the leader.
            self.visitors.clear();
            self.candidates.clear();
            self.fed = 0;
            self.cosigned.clear();
            self.under_way.clear();
            self.asking.abort_all();
            self.keys = self.parts.ring.keys();
            if leads {
                let register = self.register();
                self.step(register);
            }
        }
        let Some(shown) = self.parts.board.shown(Which::Published).filter(|_| leads) else {
            return;
        };
        let size = shown.head.size;
        let signed = shown.signed.by_log_only();
        // Witnesses want to see that most of the nodes have it. Who is late signs within a moment.
        let fed = size > self.fed && self.parts.ring.keys().have_mostly_signed(&signed);
        if let Some(candidate) = self.candidates.get_mut(&size) {
            candidate.signed = signed;
        } else {
            self.candidates.insert(size, Candidate { signed, lines: Vec::new() });
            while self.candidates.len() > CANDIDATES_MAX {
                self.candidates.pop_first();
            }
        }
        if fed {
            self.fed = size;
            self.step(Event::Published(size));
        }
    }

    fn register(&mut self) -> Event {
        let witnesses = &self.keys.witnesses;
        self.visitors.retain(|vkey, _| witnesses.iter().any(|(_, known)| known.vkey == *vkey));
        let known = witnesses
            .iter()
            .map(|(key, witness)| Known { key: key.clone(), is_called: !witness.url.is_empty() });
        Event::Register(known.collect())
    }

    /// What others cosigned says nothing once they are not in force any more.
    fn forget_others(&self) {
        let board = &self.parts.board;
        let shown = board.shown(Which::Witnessed);
        if shown.is_some_and(|shown| self.keys.quorum(shown.head.size).is_none()) {
            board.forget_witnessed();
        }
    }

    fn visit(&mut self, visitor: Visitor) -> Option<Event> {
        if !self.leads {
            return None;
        }
        let Visitor { key, asks, gone } = visitor;
        self.visits = self.visits.saturating_add(1);
        let (visit, leaving) = (self.visits, key.clone());
        self.leaving.spawn(async move {
            drop(gone.await);
            (leaving, visit)
        });
        self.under_way.remove(&key.to_string());
        self.visitors.insert(key.to_string(), (visit, asks));
        Some(Event::Joined(key))
    }

    fn leave(&mut self, (key, visit): (NoteKey, u64)) -> Option<Event> {
        let vkey = key.to_string();
        // Another stream may have taken its place.
        let same = self.visitors.get(&vkey).is_some_and(|(now, _)| *now == visit);
        same.then(|| {
            self.visitors.remove(&vkey);
            self.under_way.remove(&vkey);
            Event::Left(key)
        })
    }

    fn hear(&mut self, answer: Answer) -> Option<Event> {
        let Answer { key, number, answered, line } = answer;
        let vkey = key.to_string();
        if self.under_way.get(&vkey) != Some(&number) {
            return None;
        }
        self.under_way.remove(&vkey);
        match (&answered, line) {
            (Answered::Cosigned(size), Some(line)) => {
                self.cosigned.insert(vkey, (*size, Instant::now()));
                self.count(*size, line);
            }
            (Answered::Refused(why), _) => self.parts.metrics.witness_refused(*why),
            (Answered::Failed, _) => self.parts.metrics.witness_silent(key.name().as_str()),
            _ => {}
        }
        Some(Event::Answered(key, answered))
    }

    /// Adds a cosignature to its checkpoint, and offers it where it is more than what is shown.
    fn count(&mut self, size: u64, line: NoteSignature) {
        let Some(candidate) = self.candidates.get_mut(&size) else { return };
        candidate.lines.retain(|it| it.id != line.id || it.name != line.name);
        candidate.lines.push(line);
        let (board, lines) = (&self.parts.board, &candidate.lines);
        if let Some(shown) = board.shown(Which::Published)
            && shown.signed.checkpoint() == candidate.signed.checkpoint()
        {
            let note = merged(&shown.signed, lines.iter().cloned()).to_string();
            board.offer(Which::Published, Bytes::from(note));
        }
        let in_force =
            |line: &&NoteSignature| self.keys.witnesses.iter().any(|(key, _)| is_by(line, key));
        let count = lines.iter().filter(in_force).count();
        if self.keys.quorum(size).is_some_and(|quorum| count >= quorum) {
            let note = merged(&candidate.signed, lines.iter().cloned()).to_string();
            board.offer(Which::Witnessed, Bytes::from(note));
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.began.elapsed();
        for effect in self.feeder.step(now, event) {
            match effect {
                Effect::Ask { key, old, size } => self.ask(key, old, size),
                Effect::Changed { key, state, old, size } => say(&key, state, old, size),
            }
        }
    }

    fn ask(&mut self, key: NoteKey, old: u64, size: u64) {
        let vkey = key.to_string();
        self.asked = self.asked.saturating_add(1);
        let number = self.asked;
        self.under_way.insert(vkey.clone(), number);
        let signed = self.candidates.get(&size).map(|candidate| candidate.signed.clone());
        let known = self.keys.witnesses.iter().find(|(known, _)| *known == key);
        let url = known.map(|(_, witness)| witness.url.clone()).unwrap_or_default();
        let visitor = self.visitors.get(&vkey).map(|(_, asks)| asks.clone());
        let (tiles, ca) = (self.parts.tiles.clone(), self.parts.ca.clone());
        self.asking.spawn(async move {
            let failed = (Answered::Failed, None);
            let (answered, line) = match signed {
                None => failed,
                Some(signed) => {
                    let asked = exchange(&tiles, &signed, old, visitor, &url, ca.as_ref());
                    match timeout(ANSWER_WAIT_MAX, asked).await {
                        Ok(Some((status, body))) => answer::read(status, &body, &key, old, &signed),
                        _ => failed,
                    }
                }
            };
            Answer { key, number, answered, line }
        });
    }

    /// Shows how the witnesses are.
    fn tell(&self) {
        let witnessed = self.parts.board.shown(Which::Witnessed);
        let states: BTreeMap<String, State> =
            self.feeder.states().map(|(key, state)| (key.to_string(), state)).collect();
        let seen = self.keys.witnesses.iter().map(|(key, witness)| {
            let cosigned = if self.leads {
                self.cosigned.get(&witness.vkey).copied()
            } else {
                // What the leader has told.
                let lines = witnessed.iter().flat_map(|it| it.signed.note().signatures());
                let cosigned = lines.into_iter().any(|line| is_by(line, key));
                let head = witnessed.as_ref().map(|it| (it.head.size, it.since));
                head.filter(|_| cosigned)
            };
            let state = states.get(&witness.vkey).filter(|_| self.leads);
            WitnessSeen {
                name: key.name().to_string(),
                member: witness.member.clone(),
                cosigned,
                // The leader asks.
                state: state.map_or("not-asked", |state| state.as_str()),
            }
        });
        self.parts.board.tell_witnesses(seen.collect());
    }
}

/// Asks one witness; none if that failed.
async fn exchange(
    tiles: &TileReader,
    signed: &SignedCheckpoint,
    old: u64,
    visitor: Option<mpsc::Sender<Asking>>,
    url: &str,
    ca: Option<&WitnessCa>,
) -> Option<(u16, Vec<u8>)> {
    let (reader, size) = (tiles.clone(), signed.checkpoint().size);
    let proof = spawn_blocking(move || prove(&reader, old, size)).await.ok()??;
    let request = AddCheckpoint { old_size: old, proof, checkpoint: signed.clone() };
    let request = request.to_string().into_bytes();
    if request.len() > REQUEST_LEN_MAX {
        return None;
    }
    match visitor {
        Some(visitor) => {
            let (answer, answered) = oneshot::channel();
            visitor.send(Asking { request, answer }).await.ok()?;
            answered.await.ok()
        }
        None => http::post(url, ca, request).await.ok(),
    }
}

/// The proof that the tree of this size is the older one, grown.
fn prove(tiles: &TileReader, old: u64, size: u64) -> Option<Vec<Hash>> {
    let nodes = consistency_needs(old, size).ok()?;
    let mut set = TileSet::new();
    for path in TileSet::needs(&nodes, size) {
        set.insert(path, &tiles.read(path).ok()??).ok()?;
    }
    let proof: Result<Vec<Hash>, NoProof> = consistency(old, size, |node| set.node(node));
    proof.ok()
}

/// A line for each change, and an alarm for what must not be.
fn say(key: &NoteKey, state: State, old: u64, size: u64) {
    let (witness, says) = (key.name(), state.as_str());
    match state {
        State::Waiting | State::Cosigning => {
            tracing::info!(%witness, "the witness cosigns");
        }
        State::Silent => tracing::warn!(%witness, "the witness does not answer"),
        State::Refusing(Why::History | Why::Signature) => tracing::error!(
            %witness,
            why = says,
            cosigned_size = old,
            offered_size = size,
            "THE WITNESS REFUSES THE LEDGER: find out why before anything else is relied on"
        ),
        State::Refusing(_) => tracing::error!(
            %witness,
            why = says,
            cosigned_size = old,
            offered_size = size,
            "the witness does not cosign"
        ),
    }
}
