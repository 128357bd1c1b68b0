//! A member whose agent floods the ledger with what is refused, beside one that behaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tally_core::entry::Entry;
use tally_core::id::Salt16;
use tally_core::register::{RegisterBody, RegisterName, RegisterWrite};
use tally_net::ledger::{AgentKey, Client, Travel};
use tally_tests::mesh::{Mesh, Plan, until};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::TALLY;
use super::history::{Fault, Recorder, check};
use super::load::{append, entry};

/// Callers of the flooding agent, each with a submission under way all the time.
const FLOODERS: u64 = 256;
/// What the polite one appends in a window, one after the other.
const ENTRIES: u64 = 150;
/// Pairs of windows, one alone and one beside the flood right after it: a hiccup of a machine that
/// others use, too, is in one of them, and what it does all the time is in both.
const PAIRS: u64 = 5;
const WAIT_MAX: Duration = Duration::from_secs(30);
/// In the windows in the middle.
const RATIO_MAX: f64 = 2.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_floods_the_ledger_with_refused_requests_does_not_starve_another() {
    let mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let recorder = Recorder::new();
    let polite = mesh.client(1);
    // The session is open and everything warm.
    for number in 0..20 {
        append(&recorder, &polite, 1, entry(&mesh, 1, 10_000 + number)).await.unwrap();
    }
    let mut flood = Flood::new(&mesh, 0);
    let mut p99s = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let alone = p99(&mesh, &recorder, &polite, 2 * pair * ENTRIES).await;
        flood.start().await;
        let before = flood.refused();
        let beside = p99(&mesh, &recorder, &polite, (2 * pair + 1) * ENTRIES).await;
        let refused = flood.refused() - before;
        flood.pause().await;
        println!("p99 {alone:?} alone, {beside:?} beside {refused} refusals");
        assert!(refused > 0, "that was no flood");
        p99s.0.push(alone);
        p99s.1.push(beside);
    }
    flood.end().await;
    let ratio = middle(p99s.1).as_secs_f64() / middle(p99s.0).as_secs_f64();
    println!("in the middle {ratio:.2} times");
    assert!(ratio <= RATIO_MAX, "{ratio}");
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.reach(size).await.unwrap();
    let leaves = mesh.leaves(2, size).await.unwrap();
    assert_eq!(check(&recorder.appends(), &leaves), Vec::<Fault>::new());
}

/// How long the polite one's entries of a window took, all but one in a hundred.
async fn p99(mesh: &Mesh, recorder: &Recorder, client: &Client, from: u64) -> Duration {
    let mut waits = Vec::new();
    for number in from..from + ENTRIES {
        let began = Instant::now();
        append(recorder, client, 1, entry(mesh, 1, number)).await.unwrap();
        waits.push(began.elapsed());
    }
    waits.sort();
    waits[waits.len() * 99 / 100]
}

fn middle(mut p99s: Vec<Duration>) -> Duration {
    p99s.sort();
    p99s[p99s.len() / 2]
}

/// An agent whose callers ask for what the rules reject, all the time, while it runs.
struct Flood {
    callers: JoinSet<()>,
    counts: Arc<Counts>,
    phase: watch::Sender<Phase>,
}

#[derive(Default)]
struct Counts {
    refused: AtomicU64,
    asking: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Runs,
    Pauses,
    Ended,
}

impl Flood {
    fn new(mesh: &Mesh, member: usize) -> Self {
        // Hundreds of batches under way, where an agent that behaves has one, and no patience lost.
        let mut config = mesh.config(member);
        config.limits.batches_in_flight_max = usize::try_from(FLOODERS).unwrap();
        config.limits.answer_wait_max = WAIT_MAX;
        let key = AgentKey::new(mesh.members[member].agent_key.clone());
        let client = Client::start(config, key);
        let (phase, phases) = watch::channel(Phase::Pauses);
        let counts = Arc::<Counts>::default();
        let mut callers = JoinSet::new();
        for caller in 0..FLOODERS {
            let (client, counts, mut phases) = (client.clone(), counts.clone(), phases.clone());
            callers.spawn(async move {
                let mut number = caller;
                while *phases.wait_for(|it| *it != Phase::Pauses).await.unwrap() == Phase::Runs {
                    // Each is a batch of its own: the costliest way to be refused.
                    counts.asking.fetch_add(1, Ordering::Relaxed);
                    let asked = client.append(unlawful(number), Travel::Alone, WAIT_MAX).await;
                    counts.asking.fetch_sub(1, Ordering::Relaxed);
                    assert!(asked.is_err());
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    number += FLOODERS;
                }
            });
        }
        Self { callers, counts, phase }
    }

    fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Waits until it is one.
    async fn start(&mut self) {
        let wanted = self.refused() + FLOODERS / 4;
        self.phase.send_replace(Phase::Runs);
        let runs = until("a flood", WAIT_MAX, async || {
            let refused = self.refused();
            if refused >= wanted { Ok(()) } else { Err(format!("{refused} refusals")) }
        });
        runs.await.unwrap();
    }

    /// Waits until nothing of it is under way.
    async fn pause(&mut self) {
        self.phase.send_replace(Phase::Pauses);
        let ebbs = until("the flood's end", WAIT_MAX, async || {
            let asking = self.counts.asking.load(Ordering::Relaxed);
            if asking == 0 { Ok(()) } else { Err(format!("{asking} ask")) }
        });
        ebbs.await.unwrap();
    }

    async fn end(mut self) {
        self.phase.send_replace(Phase::Ended);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}

/// A raise of the rules that nobody has approved, to a version that all know.
fn unlawful(number: u64) -> Entry {
    let mut salt = [7; 16];
    salt[..8].copy_from_slice(&number.to_be_bytes());
    Entry::Register(Box::new(RegisterWrite {
        salt: Salt16(salt),
        name: RegisterName::Protocol,
        version: 9,
        previous: None,
        narrows: true,
        body: tally_wire::encode_checked(RegisterBody::Protocol(1)).unwrap(),
        approvals: Vec::new(),
    }))
}
