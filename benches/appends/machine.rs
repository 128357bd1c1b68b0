//! The machine: how busy it is, and what its disk does alone.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{FallocateFlags, fallocate};

use crate::Trouble;
use crate::measure::quantile;

const WRITES: u32 = 200;
const WRITE_LEN: u32 = 4096;

/// The machine, and how busy it is, in a line.
///
/// # Errors
/// [`Trouble`] if it does not say.
pub(crate) fn load() -> Result<String, Trouble> {
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    Ok(format!("{cores} cores, load average {load}"))
}

/// Writes 200 × 4 KiB one after the other into space that was set aside, as both systems do, each
/// followed by fdatasync. Says in a line how long write and sync took.
///
/// # Errors
/// [`Trouble`] of the disk.
pub(crate) fn disk(dir: &Path, when: &str) -> Result<String, Trouble> {
    let dir = tempfile::Builder::new().prefix("appends").tempdir_in(dir)?;
    let file = OpenOptions::new().write(true).create_new(true).open(dir.path().join("disk"))?;
    fallocate(&file, FallocateFlags::empty(), 0, u64::from(WRITES * WRITE_LEN))?;
    file.sync_all()?;
    let bytes = vec![0x5a; usize::try_from(WRITE_LEN)?];
    let mut waits_us = Vec::new();
    for number in 0..WRITES {
        let begun = Instant::now();
        file.write_all_at(&bytes, u64::from(number * WRITE_LEN))?;
        file.sync_data()?;
        waits_us.push(u32::try_from(begun.elapsed().as_micros())?);
    }
    waits_us.sort_unstable();
    let (p50, p99) = (quantile(&waits_us, 50)?, quantile(&waits_us, 99)?);
    Ok(format!("fdatasync of 4 KiB, {when}: p50 {p50:.0} µs, p99 {p99:.0} µs"))
}
