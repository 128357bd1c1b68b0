//! A member whose agent floods the ledger with what is refused, beside one that behaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tally_core::entry::Entry;
use tally_core::id::Salt16;
use tally_core::register::{RegisterBody, RegisterName, RegisterWrite};
use tally_net::ledger::{AgentKey, Client, Travel};
use tally_tests::mesh::{Mesh, Plan, until};
use tokio::task::JoinSet;

use super::TALLY;
use super::history::{Fault, Recorder, check};
use super::load::{append, entry};

/// Callers of the flooding agent, each with a submission under way all the time.
const FLOODERS: u64 = 256;
/// What the polite one appends in either half, one after the other.
const ENTRIES: u64 = 400;
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The goal is 2; a machine that others use, too, adds to the slowest of 400.
const RATIO_MAX: f64 = 4.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_floods_the_ledger_with_refused_requests_does_not_starve_another() {
    let mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let recorder = Recorder::new();
    let polite = mesh.client(1);
    // The session is open and everything warm.
    for number in 0..20 {
        append(&recorder, &polite, 1, entry(&mesh, 1, 10_000 + number)).await.unwrap();
    }
    let alone = waits(&mesh, &recorder, &polite, 0).await;
    let flood = Flood::start(&mesh, 0);
    flood.runs().await;
    let beside = waits(&mesh, &recorder, &polite, ENTRIES).await;
    let refused = flood.end().await;
    let (alone, beside) = (p99(alone), p99(beside));
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!("p99 {alone:?} alone, {beside:?} beside {refused} refusals: {ratio:.2} times");
    assert!(refused > 2 * ENTRIES, "that was no flood: {refused}");
    assert!(ratio <= RATIO_MAX, "{ratio}");
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.reach(size).await.unwrap();
    let leaves = mesh.leaves(2, size).await.unwrap();
    assert_eq!(check(&recorder.appends(), &leaves), Vec::<Fault>::new());
}

/// How long each of the polite one's entries took.
async fn waits(mesh: &Mesh, recorder: &Recorder, client: &Client, from: u64) -> Vec<Duration> {
    let mut waits = Vec::new();
    for number in from..from + ENTRIES {
        let began = Instant::now();
        append(recorder, client, 1, entry(mesh, 1, number)).await.unwrap();
        waits.push(began.elapsed());
    }
    waits
}

fn p99(mut waits: Vec<Duration>) -> Duration {
    waits.sort();
    waits[waits.len() * 99 / 100]
}

/// An agent whose callers ask for what the rules reject, all the time.
struct Flood {
    callers: JoinSet<()>,
    refused: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Flood {
    fn start(mesh: &Mesh, member: usize) -> Self {
        let (refused, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        // Hundreds of batches under way, where an agent that behaves has one, and no patience lost.
        let mut config = mesh.config(member);
        config.limits.batches_in_flight_max = usize::try_from(FLOODERS).unwrap();
        config.limits.answer_wait_max = WAIT_MAX;
        let key = AgentKey::new(mesh.members[member].agent_key.clone());
        let client = Client::start(config, key);
        let mut callers = JoinSet::new();
        for caller in 0..FLOODERS {
            let (client, refused, ends) = (client.clone(), refused.clone(), ends.clone());
            callers.spawn(async move {
                let mut number = caller;
                while !ends.load(Ordering::Relaxed) {
                    // Each is a batch of its own: the costliest way to be refused.
                    let asked = client.append(unlawful(number), Travel::Alone, WAIT_MAX).await;
                    assert!(asked.is_err());
                    refused.fetch_add(1, Ordering::Relaxed);
                    number += FLOODERS;
                }
            });
        }
        Self { callers, refused, ends }
    }

    /// Waits until it is one.
    async fn runs(&self) {
        let runs = until("a flood", WAIT_MAX, async || {
            let refused = self.refused.load(Ordering::Relaxed);
            if refused >= FLOODERS * 2 { Ok(()) } else { Err(format!("{refused} refusals")) }
        });
        runs.await.unwrap();
    }

    async fn end(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        self.refused.load(Ordering::Relaxed)
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
