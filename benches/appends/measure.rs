//! The closed loop: so many callers, each of which asks, waits for its answer and asks again.

use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use tokio::task::JoinSet;

use crate::Trouble;

/// How long a point takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    /// While it counts.
    pub(crate) span: Duration,
}

/// One of those that ask.
pub(crate) trait Caller: Send + 'static {
    /// Asks and waits for the answer. Says how many were answered together.
    fn ask(&mut self) -> impl Future<Output = Result<u16, Trouble>> + Send;
}

/// What was measured, beside so many kinds of servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point<const KINDS: usize> {
    /// Answers in a second.
    pub(crate) per_s: f64,
    /// Half of the callers waited no longer, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 of 100 waited no longer.
    pub(crate) p99_ms: f64,
    /// Processor time of all servers of each kind, in microseconds for each answer.
    pub(crate) servers_us: [f64; KINDS],
    /// The same of this process: client and callers.
    pub(crate) callers_us: f64,
    /// Entries in a batch, on average.
    pub(crate) batch: f64,
}

/// What one caller saw.
#[derive(Default)]
struct Seen {
    waits_us: Vec<u32>,
    batches: f64,
}

/// Lets callers ask until the time is over. `servers` are the processes whose time
/// counts, by kind.
///
/// # Errors
/// [`Trouble`] of the first caller that had any: then there is no figure.
pub(crate) async fn closed_loop<C: Caller, const KINDS: usize>(
    callers: Vec<C>,
    times: Times,
    servers: [&[u32]; KINDS],
) -> Result<Point<KINDS>, Trouble> {
    let from = Instant::now() + times.warm_up;
    let until = from + times.span;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(keep_asking(caller, from, until));
    }
    tokio::time::sleep_until(from.into()).await;
    let before = (cpu_of_all(servers)?, cpu_s(std::process::id())?);
    tokio::time::sleep_until(until.into()).await;
    let after = (cpu_of_all(servers)?, cpu_s(std::process::id())?);
    let mut waits_us = Vec::new();
    let mut batches = 0.0;
    while let Some(seen) = tasks.join_next().await {
        let seen = seen??;
        waits_us.extend(seen.waits_us);
        batches += seen.batches;
    }
    let count = to_f64(waits_us.len());
    Ok(Point { batch: count / batches, ..Point::of(waits_us, times, before, after)? })
}

impl<const KINDS: usize> Point<KINDS> {
    /// What waits and processor time, of servers and callers before and after, say; each in a batch of
    /// its own.
    ///
    /// # Errors
    /// [`Trouble`] if there is no wait.
    pub(crate) fn of(
        mut waits_us: Vec<u32>,
        times: Times,
        before: ([f64; KINDS], f64),
        after: ([f64; KINDS], f64),
    ) -> Result<Self, Trouble> {
        waits_us.sort_unstable();
        let count = to_f64(waits_us.len());
        Ok(Self {
            per_s: count / times.span.as_secs_f64(),
            p50_ms: quantile(&waits_us, 50)? / 1e3,
            p99_ms: quantile(&waits_us, 99)? / 1e3,
            servers_us: std::array::from_fn(|kind| {
                let used = |at: &[f64; KINDS]| at.get(kind).copied().unwrap_or_default();
                (used(&after.0) - used(&before.0)) * 1e6 / count
            }),
            callers_us: (after.1 - before.1) * 1e6 / count,
            batch: 1.0,
        })
    }
}

async fn keep_asking(
    mut caller: impl Caller,
    from: Instant,
    until: Instant,
) -> Result<Seen, Trouble> {
    let mut seen = Seen::default();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(seen);
        }
        let together = caller.ask().await?;
        let answered = Instant::now();
        if asked >= from && answered <= until {
            let wait = answered.duration_since(asked).as_micros();
            seen.waits_us.push(u32::try_from(wait).unwrap_or(u32::MAX));
            seen.batches += 1.0 / f64::from(together.max(1));
        }
    }
}

/// The wait below which so many in a hundred are, of waits that ascend.
///
/// # Errors
/// [`Trouble`] if there are none.
pub(crate) fn quantile(ascending: &[u32], percent: usize) -> Result<f64, Trouble> {
    let rank = (ascending.len() * percent).div_ceil(100).saturating_sub(1);
    let wait = ascending.get(rank).ok_or("nothing was answered in time")?;
    Ok(f64::from(*wait))
}

/// Seconds of processor time of all processes of each kind.
///
/// # Errors
/// [`Trouble`] if one does not run.
pub(crate) fn cpu_of_all<const KINDS: usize>(
    servers: [&[u32]; KINDS],
) -> Result<[f64; KINDS], Trouble> {
    let mut used = [0.0; KINDS];
    for (used, pids) in used.iter_mut().zip(servers) {
        *used = pids.iter().map(|pid| cpu_s(*pid)).sum::<Result<f64, _>>()?;
    }
    Ok(used)
}

/// Seconds of processor time that a process has used, its threads together: `utime` and `stime` of
/// proc(5), in clock ticks.
///
/// # Errors
/// [`Trouble`] if it does not run.
pub(crate) fn cpu_s(pid: u32) -> Result<f64, Trouble> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in brackets, and may hold anything.
    let (_, fields) = text.rsplit_once(')').ok_or("a process's stat can't be read")?;
    let mut ticks = 0.0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / to_f64(usize::try_from(clock_ticks_per_second())?))
}

/// Counts here stay far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "a count of answers has no 53 bits")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
