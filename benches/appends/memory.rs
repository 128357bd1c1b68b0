//! What a process has in memory.

use std::fs;

use crate::Trouble;

/// A line of proc(5)'s `status`, which is in KiB: all that is resident, or what is not a file's.
///
/// # Errors
/// [`Trouble`] if the process has ended.
pub(crate) fn resident_mb(pid: u32, name: &str) -> Result<f64, Trouble> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("a process has ended")?;
    Ok(mb(kib.parse::<u64>()? * 1024))
}

/// Sizes here stay far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "a size in memory or of a file has no 53 bits")]
pub(crate) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
