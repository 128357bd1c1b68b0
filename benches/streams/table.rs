//! What was measured, as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Trouble;
use crate::memory::mb;

/// How QUIC alone is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw {
    /// With the sockets, windows and sizes of datagrams that agents have; else as quinn is by default.
    pub(crate) as_agents: bool,
    /// What is sent is read; else it lies in memory.
    pub(crate) from_file: bool,
}

/// What the rest is a share of.
const YARDSTICK: Way = Way::Raw(Raw { as_agents: false, from_file: false });

/// How the bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// QUIC alone.
    Raw(Raw),
    /// From agent to agent.
    Tally,
    /// nginx.
    Proxy,
}

impl Way {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Self; 5] = [
        YARDSTICK,
        Self::Raw(Raw { as_agents: false, from_file: true }),
        Self::Raw(Raw { as_agents: true, from_file: true }),
        Self::Tally,
        Self::Proxy,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Raw(Raw { as_agents: false, from_file: false }) => "raw quinn, from memory",
            Self::Raw(Raw { as_agents: false, from_file: true }) => "raw quinn, the file",
            Self::Raw(Raw { as_agents: true, .. }) => "raw quinn, the file, transport as agents",
            Self::Tally => "Tally",
            Self::Proxy => "nginx",
        }
    }
}

/// All bytes, once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) way: Way,
    pub(crate) bytes: u64,
    pub(crate) wait: Duration,
    /// Processor time of the servers: of both agents where there are two.
    pub(crate) servers_s: f64,
}

impl Pass {
    fn mb_per_s(&self) -> f64 {
        mb(self.bytes) / self.wait.as_secs_f64()
    }
}

/// The median of each way, and what share of raw QUIC it is.
///
/// # Errors
/// [`Trouble`] if a way was not measured.
pub(crate) fn table(passes: &[Pass]) -> Result<String, Trouble> {
    let mut text = String::from(
        "| way | MB/s, median | slowest to fastest | servers' CPU ms for each GB | of raw quinn |\n\
         |---|---|---|---|---|\n",
    );
    let raw = median(&rates(passes, YARDSTICK)).ok_or("raw QUIC was not measured")?;
    for way in Way::ALL {
        let rates = rates(passes, way);
        let (Some(median), Some(slowest), Some(fastest)) =
            (median(&rates), rates.first(), rates.last())
        else {
            return Err("a way was not measured".into());
        };
        let own = passes.iter().filter(|pass| pass.way == way);
        let (cpu_s, megabytes) =
            own.fold((0.0, 0.0), |(cpu_s, sum), it| (cpu_s + it.servers_s, sum + mb(it.bytes)));
        let cpu_ms = cpu_s * 1e6 / megabytes;
        let (name, share) = (way.name(), median / raw * 100.0);
        writeln!(
            text,
            "| {name} | {median:.0} | {slowest:.0} to {fastest:.0} | {cpu_ms:.0} | {share:.0} % |"
        )?;
    }
    Ok(text)
}

/// Ascending.
fn rates(passes: &[Pass], way: Way) -> Vec<f64> {
    let own = passes.iter().filter(|pass| pass.way == way);
    let mut rates = own.map(Pass::mb_per_s).collect::<Vec<_>>();
    rates.sort_by(f64::total_cmp);
    rates
}

fn median(ascending: &[f64]) -> Option<f64> {
    ascending.get(ascending.len() / 2).copied()
}
