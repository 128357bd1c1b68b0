//! What it takes of a machine before anybody asks: memory and size.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Trouble;
use crate::mesh::Members;

/// The resident memory of agents and nodes, after they have had nothing to do for so long, in a line.
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
        let each = pids.into_iter().map(|pid| Ok(format!("{:.1}", resident_mb(pid)?)));
        each.collect::<Result<Vec<_>, Trouble>>().map(|each| each.join(", "))
    };
    let (agents, nodes) = (of(members.agents())?, of(members.nodes())?);
    Ok(format!("resident, idle {idle:?} {when}: agents {agents} MB; ledger nodes {nodes} MB"))
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

/// `VmRSS` of proc(5), which is in KiB.
fn resident_mb(pid: u32) -> Result<f64, Trouble> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("a process has ended")?;
    Ok(mb(kib.parse::<u64>()? * 1024))
}

/// Sizes here stay far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "a size in memory or of a file has no 53 bits")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
