//! A dataset that is longer than any memory, what the agents take for it, and what is recorded of it when
//! one of them is killed near its end: BYTES says how long it is, BINARY names another binary.

use std::fs;
use std::time::{Duration, Instant};

use tally_core::dataset::ContentDigest;
use tally_tests::dev::{Dev, rows_of};
use tally_tests::mesh::until;

use super::world::{
    COUNCIL, PLANNING, PROVIDER, bytes_or, is_optimised, make_long, root_of, running,
};

/// Bytes where nothing else is said: long enough that what is kept of it would show.
const LEN: u64 = 1_600_000_000;
/// Bytes of the one whose agent is killed, where nothing else is said.
const CUT_LEN: u64 = 200_000_000;
/// What an agent may take, in KiB.
const RESIDENT_KIB_MAX: u64 = 64 * 1024;
/// Bytes between two looks.
const LOOK_EVERY: u64 = 16 * 1024 * 1024;
/// A piece comes within this time, however long all of it takes.
const PIECE_WAIT_MAX: Duration = Duration::from_secs(60);
/// What is owed is on the ledger within this time, or named as missing.
const SETTLED_WAIT_MAX: Duration = Duration::from_secs(120);

/// What a process takes now, in KiB: all that is resident; of a program that was not optimised, whose own
/// pages alone would be more than that, what it holds beside them.
fn resident_kib(dev: &Dev, name: &str) -> u64 {
    let what = if is_optimised() { "VmRSS:" } else { "RssAnon:" };
    let status = fs::read_to_string(format!("/proc/{}/status", dev.pid(name).unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The most that both agents have taken.
#[derive(Default)]
struct Most {
    kib: [u64; 2],
    looks: u64,
    next: u64,
}

impl Most {
    /// Looks, if enough has come since the last time.
    fn look(&mut self, dev: &Dev, came: u64) {
        if came < self.next {
            return;
        }
        self.next += LOOK_EVERY;
        self.looks += 1;
        for (most, name) in self.kib.iter_mut().zip([PROVIDER, COUNCIL]) {
            *most = resident_kib(dev, name).max(*most);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_longer_than_memory_leaves_in_constant_memory() {
    let dev = running().await;
    let len = bytes_or(LEN);
    let path = make_long(&dev, "flow.bin", len);
    let idle = [PROVIDER, COUNCIL].map(|name| resident_kib(&dev, name));
    let began = Instant::now();
    let mut arriving =
        dev.open("GET", COUNCIL, "/data/RZ9/long/flow.bin", &[PLANNING]).await.unwrap();
    assert_eq!(arriving.status, 200);
    let (mut digest, mut most) = (ContentDigest::default(), Most::default());
    while let Some(piece) =
        tokio::time::timeout(PIECE_WAIT_MAX, arriving.next()).await.unwrap().unwrap()
    {
        digest.push(&piece);
        most.look(&dev, digest.bytes());
    }
    let took = began.elapsed();
    assert_eq!((digest.bytes(), digest.root()), (len, root_of(&path)));
    println!(
        "{len} bytes in {:.1} s, {:.0} MB/s; resident at most: provider {} KiB, requester {} KiB \
         (idle {} and {}), over {} looks",
        took.as_secs_f64(),
        len as f64 / took.as_secs_f64() / 1e6,
        most.kib[0],
        most.kib[1],
        idle[0],
        idle[1],
        most.looks,
    );
    assert!(most.looks >= len / LOOK_EVERY, "{}", most.looks);
    assert!(most.kib.iter().all(|most| *most <= RESIDENT_KIB_MAX), "{:?} KiB", most.kib);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_when_almost_all_has_come_leaves_no_half_open() {
    killed_when_almost_all_has_come(PROVIDER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_killed_when_almost_all_has_come_leaves_no_half_open() {
    killed_when_almost_all_has_come(COUNCIL).await;
}

/// 49 of 50 parts come to an application, and an agent is killed.
async fn killed_when_almost_all_has_come(victim: &str) {
    let dev = running().await;
    let len = bytes_or(CUT_LEN);
    make_long(&dev, "flow.bin", len);
    let mut arriving =
        dev.open("GET", COUNCIL, "/data/RZ9/long/flow.bin", &[PLANNING]).await.unwrap();
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    let (mut came, mut most) = (0, Most::default());
    while came < len / 50 * 49 {
        let piece = tokio::time::timeout(PIECE_WAIT_MAX, arriving.next()).await.unwrap();
        came += piece.unwrap().unwrap().len() as u64;
        most.look(&dev, came);
    }
    dev.kill(victim).await.unwrap();
    let rest = arriving.all().await;
    assert!(rest.is_err() || rest.is_ok_and(|rest| !rest.whole));
    dev.start_again(victim).await.unwrap();

    let what = "both halves and the close, or the name of what is missing";
    let settled = until(what, SETTLED_WAIT_MAX, async || {
        let rows = dev.rows().await.map_err(|error| error.to_string())?;
        let rows = rows_of(&rows, &exchange);
        if rows.len() == 3 {
            return Ok(rows);
        }
        let missing = ["audit", "verify", "--missing", "--output", "json"];
        let verified = dev.auditor(&missing).await.map_err(|error| error.to_string())?.json();
        let missing = verified["missing"].to_string();
        if missing.contains(&exchange) { Ok(rows) } else { Err(format!("{rows:?} {missing}")) }
    });
    let rows = settled.await.unwrap();
    let row = |half: &str| rows.iter().find(|row| row["half"] == half);
    assert_eq!(row("provider").unwrap()["outcome"], "permit");
    assert!(row("requester").is_none_or(|half| half["outcome"] != "permit"), "{rows:?}");
    assert!(row("close").is_none_or(|close| close["outcome"] != "sent"), "{rows:?}");
    let recorded = ["requester", "close"].map(|half| {
        let row = row(half)?;
        Some((
            row["code"].as_str().or_else(|| row["outcome"].as_str())?.to_owned(),
            row["bytes"].clone(),
        ))
    });
    println!(
        "{victim} killed after {came} of {len} bytes; requester's half and close: {recorded:?}; \
         resident at most {:?} KiB",
        most.kib
    );
    assert!(most.kib.iter().all(|most| *most <= RESIDENT_KIB_MAX), "{:?} KiB", most.kib);
}
