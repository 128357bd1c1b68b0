//! How far something long is, on standard error: a bar on a terminal, else a line every few seconds.
//! What is quick says nothing.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks of whoever watches a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two lines of a file that somebody may read later.
const LINE: Duration = Duration::from_secs(5);
const BAR_WIDTH: u64 = 24;

/// Shows how far it is.
pub(crate) struct Progress {
    unit: &'static str,
    all: u64,
    /// Done before this run.
    before: u64,
    began: Instant,
    shown: Instant,
    is_terminal: bool,
    /// Whether a line on the terminal has to be ended.
    is_open: bool,
}

impl Progress {
    /// For so many of these; 0 where nobody knows.
    pub(crate) fn new(all: u64, unit: &'static str) -> Self {
        let (began, is_terminal) = (Instant::now(), io::stderr().is_terminal());
        Self { unit, all, before: 0, began, shown: began, is_terminal, is_open: false }
    }

    /// So many were there already: the speed is of the others.
    pub(crate) fn skip(&mut self, count: u64) {
        self.before = self.before.saturating_add(count);
    }

    /// So many are done.
    pub(crate) fn show(&mut self, done: u64) {
        let pause = if self.is_terminal { REDRAW } else { LINE };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let line = line(self.unit, done, self.all, self.before, self.began.elapsed());
        let (start, end) = if self.is_terminal { ("\r", "\u{1b}[K") } else { ("", "\n") };
        self.is_open = self.is_terminal;
        let mut out = io::stderr().lock();
        // It is only for the eye.
        drop(write!(out, "{start}{line}{end}").and_then(|()| out.flush()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_open {
            let mut out = io::stderr().lock();
            drop(write!(out, "\r\u{1b}[K").and_then(|()| out.flush()));
        }
    }
}

fn line(unit: &str, done: u64, all: u64, before: u64, took: Duration) -> String {
    let share = |of: u64| done.saturating_mul(of).checked_div(all).unwrap_or(of).min(of);
    let filled = share(BAR_WIDTH);
    let bar: String = (0..BAR_WIDTH).map(|place| if place < filled { '#' } else { '.' }).collect();
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let new = done.saturating_sub(before);
    let speed = new.saturating_mul(1000) / took_ms;
    let left = all.saturating_sub(done).checked_div(speed);
    let left = left.map_or_else(String::new, |left_s| format!(", {left_s} s left"));
    if all == 0 {
        return format!("{done} {unit}, {speed}/s");
    }
    format!("[{bar}] {} %  {done} of {all} {unit}, {speed}/s{left}", share(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let at =
            |done, before, seconds| line("files", done, 200, before, Duration::from_secs(seconds));
        assert_eq!(
            at(50, 0, 5),
            "[######..................] 25 %  50 of 200 files, 10/s, 15 s left"
        );
        // What was there already was not fetched in this time.
        assert_eq!(
            at(50, 40, 5),
            "[######..................] 25 %  50 of 200 files, 2/s, 75 s left"
        );
        let unknown = line("files", 50, 0, 40, Duration::from_secs(5));
        assert_eq!(unknown, "50 files, 2/s");
        assert_eq!(at(0, 0, 0), "[........................] 0 %  0 of 200 files, 0/s");
        assert_eq!(
            at(200, 0, 2),
            "[########################] 100 %  200 of 200 files, 100/s, 0 s left"
        );
    }
}
