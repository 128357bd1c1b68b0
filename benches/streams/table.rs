//! What was measured, as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Trouble;
use crate::memory::mb;

/// How the bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// QUIC alone.
    Raw,
    /// From agent to agent.
    Tally,
    /// nginx.
    Proxy,
}

impl Way {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Self; 3] = [Self::Raw, Self::Tally, Self::Proxy];

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw quinn",
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
    let raw = median(&rates(passes, Way::Raw)).ok_or("raw QUIC was not measured")?;
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
