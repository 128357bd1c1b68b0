//! Every power cut that a recorded run allows, and every call that fails: nothing acknowledged is
//! lost, nothing is there twice, and the directory can be used again.

use super::*;
use crate::disk::memory::{Fate, Journal};

/// What is acceptable after a crash: the log and the vote after each frame that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    entries: Vec<StoredEntry>,
    vote: Option<Vote>,
}

/// A workload, with how things stand after each frame; those up to `told` were acknowledged.
struct Run {
    store: Store,
    disk: MemoryDisk,
    said: Vec<Said>,
}

impl Run {
    fn start(disk: &MemoryDisk, said: Said) -> Self {
        let (store, _) = open(disk).unwrap();
        Self { store, disk: disk.clone(), said: vec![said] }
    }

    fn now(&self) -> Said {
        self.said.last().unwrap().clone()
    }

    fn tell(&self) {
        self.disk.told(self.said.len() - 1);
    }

    /// Asks for entries, and does not wait.
    async fn ask(&mut self, term: u64, count: u64) {
        let next = self.now().entries.len() as u64;
        let entries: Vec<_> = (next..next + count).map(|index| entry(term, index)).collect();
        for entry in &entries {
            let mut said = self.now();
            said.entries.push(entry.clone());
            self.said.push(said);
        }
        // A disk that failed takes nothing more.
        drop(self.store.append(entries, |_| {}).await);
    }

    async fn settle(&mut self) {
        if self.store.flushed().await.is_ok() {
            self.tell();
        }
    }

    async fn vote(&mut self, term: u64) {
        let vote = vote(term);
        self.said.push(Said { vote: Some(vote), ..self.now() });
        if self.store.save_vote(vote).await.is_ok() {
            self.tell();
        }
    }

    async fn truncate(&mut self, kept: usize) {
        let mut said = self.now();
        let last = said.entries[kept - 1].log_id;
        said.entries.truncate(kept);
        self.said.push(said);
        if self.store.truncate_after(Some(last)).await.is_ok() {
            self.tell();
        }
    }

    /// Commits, truncations and votes, over more than one segment, some sharing a sync.
    async fn work(&mut self, term: u64) {
        self.vote(term).await;
        self.ask(term, 3).await;
        self.settle().await;
        self.ask(term, 2).await;
        self.ask(term, 4).await;
        drop(self.store.save_committed(Some(id(term, 1))).await);
        self.settle().await;
        self.truncate(self.now().entries.len() - 3).await;
        self.ask(term + 1, 5).await;
        self.vote(term + 1).await;
        self.ask(term + 1, 12).await;
        self.settle().await;
        self.truncate(self.now().entries.len() - 2).await;
        self.ask(term + 2, 2).await;
        self.settle().await;
    }
}

/// The store starts on what a crash left, and says something that is acceptable: all that was told,
/// and of what was asked for later only what came first. Then it can be used again.
async fn check(disk: &MemoryDisk, said: &[Said], told: usize, what: &str) -> Said {
    let (store, _) = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let there = found(&store);
    let place = said.iter().rposition(|said| *said == there);
    assert!(place.is_some(), "{what}: nobody asked for {there:?}");
    assert!(place >= Some(told), "{what}: {told} was told, and {place:?} is there");
    let next = there.entries.len() as u64;
    append(&store, vec![entry(99, next)]).await.unwrap();
    store.close().await.unwrap();
    let (store, opened) = open(disk).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    assert_eq!(opened.cut, None, "{what}");
    let with = [&there.entries[..], &[entry(99, next)]].concat();
    assert_eq!(found(&store).entries, with, "{what}");
    there
}

fn found(store: &Store) -> Said {
    let reader = store.reader();
    let entries = reader.read(0..u64::MAX, usize::MAX).unwrap();
    Said { entries, vote: reader.status().vote }
}

async fn check_all(journal: &Journal, said: &[Said], what: &str) -> usize {
    let mut count = 0;
    for place in 0..journal.len() {
        let told = journal.told(place);
        for (number, disk) in journal.crashes(place, ALL_MAX, SOME).into_iter().enumerate() {
            check(&disk, said, told, &format!("{what} at {place}, {number}")).await;
            count += 1;
        }
    }
    count
}

/// Disks at one place that are all tried; if there are more, these are chosen by chance, beside those
/// that differ in one part.
const ALL_MAX: usize = 96;
const SOME: usize = 24;

#[tokio::test]
async fn a_power_cut_at_any_place_with_any_unsynced_writes_lost_loses_nothing_acknowledged() {
    let disk = MemoryDisk::default();
    let before = disk.kill();
    disk.record();
    let mut run = Run::start(&disk, Said::default());
    run.work(1).await;
    let journal = disk.journal(&before);
    assert!(run.store.reader().status().segments > 1);
    let count = check_all(&journal, &run.said, "a first run").await;
    assert!(count > 300, "{count}");
}

#[tokio::test]
async fn a_power_cut_while_a_torn_end_is_mended_loses_nothing_either() {
    let disk = MemoryDisk::default();
    let mut run = Run::start(&disk, Said::default());
    run.work(1).await;
    let said = run.now();
    let before = disk.kill();
    disk.record();
    run.said = vec![said];
    run.ask(3, 12).await;
    run.settle().await;
    let journal = disk.journal(&before);
    let told = run.said.len() - 1;
    let mut mended = 0;
    for place in (0..journal.len()).filter(|place| journal.told(*place) < told) {
        for torn in journal.crashes(place, ALL_MAX, SOME) {
            let before = torn.kill();
            torn.record();
            let (store, opened) = open(&torn).unwrap();
            if opened.cut.is_some() {
                mended += 1;
                let again = torn.journal(&before);
                check_all(&again, &run.said, &format!("mended after {place}")).await;
            }
            drop(store);
        }
    }
    assert!(mended > 3, "{mended}");
}

#[tokio::test]
async fn a_call_that_fails_ends_the_node_or_changes_nothing_and_loses_nothing_acknowledged() {
    let calls = {
        let disk = MemoryDisk::default();
        let mut run = Run::start(&disk, Said::default());
        run.work(1).await;
        run.store.flushed().await.unwrap();
        disk.calls()
    };
    assert!(calls > 40, "{calls}");
    for errno in [EIO, ENOSPC] {
        for call in 1..=calls {
            let what = format!("call {call} fails with {errno}");
            let disk = MemoryDisk::default();
            let before = disk.kill();
            disk.record();
            disk.fail_call(call, errno);
            let (sender, fatal) = mpsc::channel();
            let hook: FatalHook = Box::new(move |why| sender.send(why.to_string()).unwrap());
            let mut run = match Store::open(Arc::new(disk.clone()), settings(), hook) {
                // It does not start: there is nothing to lose, and the next start is a first one.
                Err(OpenError::Io(_)) => {
                    for fate in [Fate::Nothing, Fate::Everything] {
                        check(&disk.crash(fate), &[Said::default()], 0, &what).await;
                    }
                    continue;
                }
                Err(error) => panic!("{what}: {error}"),
                Ok((store, _)) => Run { store, disk: disk.clone(), said: vec![Said::default()] },
            };
            run.work(1).await;
            let stopped = run.store.flushed().await.is_err();
            let told = disk.journal(&before);
            let told = told.told(told.len() - 1);
            assert_eq!(stopped, fatal.try_recv().is_ok(), "{what}: it ends, and says why");
            assert!(stopped || told == run.said.len() - 1, "{what}: it goes on, and does all");
            let fates = [Fate::Nothing, Fate::Everything, Fate::Random(call)];
            for after in fates.map(|fate| disk.crash(fate)).iter().chain([&disk.kill()]) {
                check(after, &run.said, told, &what).await;
            }
        }
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
