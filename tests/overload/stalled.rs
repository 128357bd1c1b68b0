//! Applications that stop reading, and what that costs those who read on.

use std::time::Duration;

use tally_tests::dev::Dev;
use tokio::time::Instant;

use super::memory::resident_kib;
use super::world::{COUNCIL, PLANNING, PROVIDER, is_served, running, stalled};

/// Streams that nobody reads.
const STALLED: usize = 100;
/// Reads of records, one after the other, before and beside them.
const READS: usize = 100;
/// Below this a difference says more of the machine than of the agents.
const FLOOR: Duration = Duration::from_millis(400);
/// How long a release may stand still before it is broken off.
const STALL_MAX: Duration = Duration::from_secs(30);
/// And at the provider, which has sent what its stream had room for. Measured: 1 MiB.
const SENT_KIB_MAX: u64 = 2 * 1024;
/// What each stalled stream may hold at the requester: a MiB on its stream, whose datagrams are kept whole
/// though most of what was in them is gone, and some pieces on their way. Measured: 7 MiB.
const STALLED_KIB_MAX: u64 = 12 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_that_nobody_reads_delay_nobody_else() {
    let dev = running().await;
    // What is slow the first time.
    for _ in 0..20 {
        is_served(&dev, COUNCIL).await;
    }
    let alone = times(&dev).await;
    let before = [COUNCIL, PROVIDER].map(|name| resident_kib(&dev, name));
    let (since, mut held) = (Instant::now(), Vec::new());
    for _ in 0..STALLED {
        held.push(stalled(&dev, COUNCIL, PLANNING).await);
    }
    let beside = times(&dev).await;
    let after = [COUNCIL, PROVIDER].map(|name| resident_kib(&dev, name));
    println!(
        "alone: p50 {:?}, p99 {:?}; beside {STALLED} stalled streams: p50 {:?}, p99 {:?}; \
         requester {} to {} KiB, provider {} to {} KiB",
        alone.0, alone.1, beside.0, beside.1, before[0], after[0], before[1], after[1]
    );
    assert!(beside.1 <= (2 * alone.1).max(FLOOR), "p99 {:?}, alone {:?}", beside.1, alone.1);
    let stalled_max = STALLED_KIB_MAX * STALLED as u64;
    assert!(after[0] < before[0] + stalled_max, "{before:?} to {after:?} KiB");
    let sent_max = SENT_KIB_MAX * STALLED as u64;
    assert!(after[1] < before[1] + sent_max, "{before:?} to {after:?} KiB");
    // They were stalled to the end: each still has most of its figures ahead.
    for mut arriving in held {
        let next = arriving.next().await;
        // On a machine so slow that the agents have broken them off meanwhile, that can't be shown.
        assert!(matches!(next, Ok(Some(_))) || since.elapsed() > STALL_MAX, "{next:?}");
    }
}

/// The middle and the 99th of a hundred times.
async fn times(dev: &Dev) -> (Duration, Duration) {
    let mut times = Vec::new();
    for _ in 0..READS {
        let asked = Instant::now();
        is_served(dev, COUNCIL).await;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    (times[READS / 2], times[READS * 99 / 100 - 1])
}
