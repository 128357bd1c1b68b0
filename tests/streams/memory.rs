//! A dataset that is longer than any memory, and what the agents take for it: BYTES says how long.

use std::fs;
use std::time::{Duration, Instant};

use tally_core::dataset::ContentDigest;
use tally_tests::dev::Dev;

use super::world::{COUNCIL, PLANNING, PROVIDER, bytes_or, make_long, root_of, running};

/// Bytes where nothing else is said: long enough that what is kept of it would show.
const LEN: u64 = 1_600_000_000;
/// What an agent may take, in KiB.
const RESIDENT_KIB_MAX: u64 = 64 * 1024;
/// Bytes between two looks.
const LOOK_EVERY: u64 = 16 * 1024 * 1024;
/// A piece comes within this time, however long all of it takes.
const PIECE_WAIT_MAX: Duration = Duration::from_secs(60);

/// What counts: all that is resident; of a program that was not optimised, whose own pages alone would be
/// more than that, what it holds beside them.
const RESIDENT: &str = if cfg!(debug_assertions) { "RssAnon:" } else { "VmRSS:" };

/// What a process takes now, in KiB.
fn resident_kib(dev: &Dev, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", dev.pid(name).unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(RESIDENT)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
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
    let (mut digest, mut next, mut most, mut looks) = (ContentDigest::default(), 0, [0, 0], 0);
    while let Some(piece) =
        tokio::time::timeout(PIECE_WAIT_MAX, arriving.next()).await.unwrap().unwrap()
    {
        digest.push(&piece);
        if digest.bytes() >= next {
            next += LOOK_EVERY;
            looks += 1;
            for (most, name) in most.iter_mut().zip([PROVIDER, COUNCIL]) {
                *most = resident_kib(&dev, name).max(*most);
            }
        }
    }
    let took = began.elapsed();
    assert_eq!((digest.bytes(), digest.root()), (len, root_of(&path)));
    println!(
        "{len} bytes in {:.1} s, {:.0} MB/s; {RESIDENT} at most: provider {} KiB, requester {} KiB \
         (idle {} and {}), over {looks} looks",
        took.as_secs_f64(),
        len as f64 / took.as_secs_f64() / 1e6,
        most[0],
        most[1],
        idle[0],
        idle[1],
    );
    assert!(looks >= len / LOOK_EVERY, "{looks}");
    assert!(most.iter().all(|most| *most <= RESIDENT_KIB_MAX), "{most:?} KiB");
}
