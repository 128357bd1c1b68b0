//! What it takes of a machine before anybody asks: memory and size.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Trouble;
use crate::mesh::Members;

/// The resident memory of agents and nodes, after they have had nothing to do for so long, in a line.
/// Most of an agent's is the binary, whose pages all processes of it share.
///
/// # Errors
/// [`Trouble`] if a process does not run.
pub(crate) async fn memory(
    members: &Members,
    idle: Duration,
    when: &str,
) -> Result<String, Trouble> {
    tokio::time::sleep(idle).await;
    let of = |pids: Vec<u32>| {
        let each = pids.into_iter().map(|pid| {
            let [all, own] = [memory_mb(pid, "VmRSS:")?, memory_mb(pid, "RssAnon:")?];
            Ok(format!("{all:.1} ({own:.1})"))
        });
        each.collect::<Result<Vec<_>, Trouble>>().map(|each| each.join(", "))
    };
    let (agents, nodes) = (of(members.agents())?, of(members.nodes())?);
    Ok(format!(
        "resident MB (without the pages of files), idle {idle:?} {when}: agents {agents}; ledger \
         nodes {nodes}"
    ))
}

/// The size of the binary, as it is and without its symbols, in a line.
///
/// # Errors
/// [`Trouble`] if it is not there.
pub(crate) fn binary(path: &Path, dir: &Path) -> Result<String, Trouble> {
    let megabytes = |path: &Path| Ok::<_, Trouble>(mb(fs::metadata(path)?.len()));
    let whole = megabytes(path)?;
    let dir = tempfile::Builder::new().prefix("exchanges").tempdir_in(dir)?;
    let stripped = dir.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(path).status();
    let stripped = match status {
        Ok(status) if status.success() => format!("{:.1} MB", megabytes(&stripped)?),
        _ => "unknown, as there is no strip(1)".to_owned(),
    };
    Ok(format!("binary: {whole:.1} MB; stripped: {stripped}"))
}

/// A line of proc(5)'s `status`, which is in KiB: all that is resident, or what is not a file's.
fn memory_mb(pid: u32, name: &str) -> Result<f64, Trouble> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("a process has ended")?;
    Ok(mb(kib.parse::<u64>()? * 1024))
}

/// Sizes here stay far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "a size in memory or of a file has no 53 bits")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
