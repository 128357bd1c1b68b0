//! What it takes of a machine before anybody asks: memory and size.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Trouble;
use crate::measure::cpu_s;
use crate::memory::{mb, resident_mb};
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
    let used = || members.agents().into_iter().map(cpu_s).collect::<Result<Vec<_>, _>>();
    let before = used()?;
    tokio::time::sleep(idle).await;
    let shares = before
        .into_iter()
        .zip(used()?)
        .map(|(before, after)| format!("{:.2} %", (after - before) / idle.as_secs_f64() * 100.0));
    let shares = shares.collect::<Vec<_>>().join(", ");
    let of = |pids: Vec<u32>| {
        let each = pids.into_iter().map(|pid| {
            let [all, own] = [resident_mb(pid, "VmRSS:")?, resident_mb(pid, "RssAnon:")?];
            Ok(format!("{all:.1} ({own:.1})"))
        });
        each.collect::<Result<Vec<_>, Trouble>>().map(|each| each.join(", "))
    };
    let (agents, nodes) = (of(members.agents())?, of(members.nodes())?);
    Ok(format!(
        "resident MB (without the pages of files), idle {idle:?} {when}: agents {agents}; ledger \
         nodes {nodes}; agents' share of a core meanwhile {shares}"
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
