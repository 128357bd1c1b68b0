//! The open loop: so many are asked a second, whether or not earlier ones were answered.
//!
//! Invariant: a wait counts from the moment at which it was meant to begin. Where all callers wait for
//! answers, the next ones begin late, and that is part of what they wait: an agent that stands still for a
//! moment is seen by everybody who would have asked meanwhile, not only by those who did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Trouble;
use crate::measure::{Caller, Point, Times, cpu_of_all, cpu_s};

/// When each is meant to begin.
struct Schedule {
    start: Instant,
    gap: Duration,
    next: AtomicU32,
}

impl Schedule {
    /// The next beginning that nobody has taken.
    fn take(&self) -> Instant {
        self.start + self.gap * self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Has callers ask at a rate, at equal distances, until the time is over. As many callers as may wait at
/// once; `servers` are the processes whose time counts, by kind. The timer ticks in milliseconds, so each
/// wait may be one longer than it was.
///
/// # Errors
/// [`Trouble`] of the first caller that had any: then there is no figure.
pub(crate) async fn open_loop<C: Caller, const KINDS: usize>(
    callers: Vec<C>,
    per_s: u32,
    times: Times,
    servers: [&[u32]; KINDS],
) -> Result<Point<KINDS>, Trouble> {
    let gap = Duration::from_secs(1).checked_div(per_s).ok_or("a rate of 0 asks for nothing")?;
    let schedule = Arc::new(Schedule { start: Instant::now(), gap, next: AtomicU32::new(0) });
    let from = schedule.start + times.warm_up;
    let until = from + times.span;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(keep_up(caller, Arc::clone(&schedule), from, until));
    }
    tokio::time::sleep_until(from.into()).await;
    let before = (cpu_of_all(servers)?, cpu_s(std::process::id())?);
    tokio::time::sleep_until(until.into()).await;
    let after = (cpu_of_all(servers)?, cpu_s(std::process::id())?);
    let mut waits_us = Vec::new();
    while let Some(seen) = tasks.join_next().await {
        waits_us.extend(seen??);
    }
    Point::of(waits_us, times, before, after)
}

/// The waits of those that were meant to begin within the time, in microseconds.
async fn keep_up(
    mut caller: impl Caller,
    schedule: Arc<Schedule>,
    from: Instant,
    until: Instant,
) -> Result<Vec<u32>, Trouble> {
    let mut waits_us = Vec::new();
    loop {
        let due = schedule.take();
        if due >= until {
            return Ok(waits_us);
        }
        tokio::time::sleep_until(due.into()).await;
        caller.ask().await?;
        if due >= from {
            let wait = due.elapsed().as_micros();
            waits_us.push(u32::try_from(wait).unwrap_or(u32::MAX));
        }
    }
}
