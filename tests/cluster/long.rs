//! A ledger of many entries: how soon its node is ready, in how much memory, and what it says of its
//! own directory.
//!
//! `ENTRIES` says how many; ten million take some minutes, which no run for a change has.

use std::env;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tally_core::Encoded;
use tally_core::entry::{Algorithm, Entry, Lane, SessionStart, batch_preimage, session_preimage};
use tally_core::id::{KeyId, LeafIndex, Salt16, SessionId};
use tally_core::ledger::{Batch, Proposal, Submission};
use tally_core::time::Timestamp;
use tally_ledger::disk::RealDisk;
use tally_ledger::frame::{EntryKind, LogId};
use tally_ledger::saved::load;
use tally_ledger::segment::Owner;
use tally_ledger::store::{Settings, Store, StoredEntry};
use tally_log::{leaf_hash, root_of};
use tally_tests::mesh::{Mesh, Plan, node_id, until};
use tally_wire::{encode, encode_checked};

use super::TALLY;
use super::load::entry;

const PLAN: Plan = Plan { members: 2, nodes: 1 };
/// In a run for each change.
const ENTRIES: u64 = 40_000;
/// In a batch.
const BATCH: u64 = 64;
/// Batches in a Raft entry.
const BATCHES: u64 = 6;
/// Leaves that are saved at the latest, so that so many have to be applied again at most.
const UNSAVED_MAX: u64 = 200_000;
const READY_WAIT_MAX: Duration = Duration::from_secs(5);
const RESIDENT_KIB_MAX: u64 = 200 * 1024;
const PATIENCE: Duration = Duration::from_secs(1800);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_long_ledger_is_ready_within_five_seconds_and_200_mebibytes() {
    let entries = env::var("ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(ENTRIES);
    let mut mesh = Mesh::running(TALLY, PLAN).await.unwrap();
    mesh.stop(0).await.unwrap();
    let mut log = Log::of(&mesh);
    let unsaved = UNSAVED_MAX.min(entries / 4);
    log.grow(&mesh, entries - unsaved).await;
    // This start applies them all, and saves what comes of it when it ends.
    let began = Instant::now();
    mesh.start(0).unwrap();
    reach(&mesh, log.size).await;
    eprintln!("{} entries are applied after {:?}", log.entries, began.elapsed());
    mesh.stop(0).await.unwrap();

    // As after a kill at the worst time: all that may be unsaved is.
    log.grow(&mesh, unsaved).await;
    ready(&mut mesh, &log, "killed").await;
    mesh.stop(0).await.unwrap();
    ready(&mut mesh, &log, "stopped").await;
    mesh.kill(0).await.unwrap();
    let began = Instant::now();
    let exit = mesh.look_after(0, &["fsck"]).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    eprintln!("fsck of {} entries takes {:?}", log.entries, began.elapsed());
}

/// Starts the node, and waits until it has applied everything and says that it is ready.
async fn ready(mesh: &mut Mesh, log: &Log, how: &str) {
    let began = Instant::now();
    mesh.start(0).unwrap();
    reach(mesh, log.size).await;
    let leads = until("a leader", PATIENCE, async || {
        let status = mesh.status(0).await?;
        if status.leader == Some(node_id(0)) { Ok(()) } else { Err("none".to_owned()) }
    });
    leads.await.unwrap();
    let took = began.elapsed();
    let pid = mesh.process_id(0).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (now, most) = (kib("VmRSS"), kib("VmHWM"));
    eprintln!("{} entries, {how}: ready after {took:?}, {now} KiB, at most {most}", log.entries);
    assert!(took < READY_WAIT_MAX, "ready after {took:?}");
    assert!(most < RESIDENT_KIB_MAX, "{most} KiB are resident");
}

async fn reach(mesh: &Mesh, size: u64) {
    let there = until("all leaves", PATIENCE, async || {
        let there = mesh.status(0).await?.size;
        if there >= size { Ok(()) } else { Err(format!("{there} of {size}")) }
    });
    there.await.unwrap();
}

/// What a leader of this node would have written, with real frames, batches and signatures.
struct Log {
    session: SessionId,
    /// Batches so far, and entries.
    number: u64,
    entries: u64,
    /// Leaves.
    size: u64,
    time: Timestamp,
    started: bool,
}

impl Log {
    fn of(mesh: &Mesh) -> Self {
        let saved = load(&mesh.data_dir(0)).unwrap().unwrap().state;
        Self {
            session: SessionId(LeafIndex(saved.size())),
            number: 0,
            entries: 0,
            size: saved.size() + 1,
            time: Timestamp(saved.time().0 + 1),
            started: false,
        }
    }

    /// Appends so many entries to the log of the node, which does not run.
    async fn grow(&mut self, mesh: &Mesh, count: u64) {
        let owner = Owner { mesh_id: mesh.id(), epoch: 0, node_id: node_id(0) };
        let disk = RealDisk::new(mesh.data_dir(0).join("log")).unwrap();
        let fatal = Box::new(|why: &_| panic!("{why}"));
        let (store, _) = Store::open(Arc::new(disk), Settings::new(owner), fatal).unwrap();
        let until = self.entries + count;
        while self.entries < until {
            let status = store.reader().status();
            let (last, vote) = (status.last.unwrap(), status.vote.unwrap());
            let mut submissions = Vec::new();
            if !self.started {
                submissions.push(Submission::SessionStart(session_start(mesh)));
                self.started = true;
            }
            for _ in 0..BATCHES {
                submissions.push(self.batch(mesh, BATCH.min(until - self.entries)));
                if self.entries == until {
                    break;
                }
            }
            let payload = encode(&Proposal { time: self.time, submissions }).into();
            let log_id = LogId { term: vote.term, leader: vote.leader, index: last.index + 1 };
            let stored = StoredEntry { log_id, kind: EntryKind::Proposal, payload };
            store.append(vec![stored], |done| done.unwrap()).await.unwrap();
        }
        store.flushed().await.unwrap();
        store.save_committed(store.reader().status().last).await.unwrap();
        store.close().await.unwrap();
    }

    fn batch(&mut self, mesh: &Mesh, count: u64) -> Submission {
        let entries: Vec<Encoded<Entry>> = (self.entries..self.entries + count)
            .map(|number| {
                let Entry::RequesterHalf(mut half) = entry(mesh, 0, number) else {
                    panic!("another kind of entry")
                };
                half.counter = number + 1;
                encode_checked(Entry::RequesterHalf(half)).unwrap()
            })
            .collect();
        let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry.bytes())).collect();
        let (root, lane) = (root_of(&hashes), Lane::Unconditional);
        let length = u16::try_from(count).unwrap();
        let preimage =
            batch_preimage(&mesh.id(), 0, self.session, self.number, lane, length, &root);
        let batch = Batch {
            session: self.session,
            number: self.number,
            lane,
            entries,
            algorithm: Algorithm::EdDsa,
            signature: mesh.members[0].agent_key.sign(&preimage),
        };
        self.number += 1;
        self.entries += count;
        self.size += count + 1;
        Submission::Batch(batch)
    }
}

fn session_start(mesh: &Mesh) -> Encoded<SessionStart> {
    let member = &mesh.members[0];
    let (salt, mesh_id) = (Salt16([3; 16]), mesh.id());
    let key = KeyId::of(&member.agent_key.verifying_key());
    let preimage = session_preimage(&salt, &mesh_id, 0, &member.id, &key, None);
    let start = SessionStart {
        salt,
        mesh_id,
        epoch: 0,
        member: member.id.clone(),
        key,
        previous: None,
        algorithm: Algorithm::EdDsa,
        signature: member.agent_key.sign(&preimage),
    };
    encode_checked(start).unwrap()
}
