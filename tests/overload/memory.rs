//! What a process has in memory.

use std::fs;

use tally_tests::dev::Dev;

/// Bytes of a part's memory that are resident now.
pub(super) fn resident_kib(dev: &Dev, name: &str) -> u64 {
    let pid = dev.pid(name).expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Something of a part's metrics; 0 if it is not there.
pub(super) async fn metric(dev: &Dev, name: &str, what: &str) -> u64 {
    let metrics = dev.metrics(name).await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(what));
    line.map_or(0, |count| count.trim().parse().unwrap())
}
