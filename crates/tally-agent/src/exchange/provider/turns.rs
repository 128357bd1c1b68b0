//! Whose decision goes on: one about few people before one about many.
//!
//! Invariant: of decisions about many at most one slice runs at a time, and none begins while a decision
//! about few runs, unless it has waited for [`WAIT_MAX`]. So care of one person waits for a slice at
//! most, and a bulk exchange that is always overtaken ends all the same.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// People who are judged in one go, each counted with each record about them. A slice of ordinary
/// people takes a fraction of a millisecond, one of people who have as many provisions as anybody may
/// have less than 5 ms: benches/README.md.
pub(super) const SLICE: usize = 32;

/// How long a slice waits for those about few. Of 65,536 people, the most there are, all slices wait
/// for two seconds together: less than a decision may take.
const WAIT_MAX: Duration = Duration::from_millis(1);

/// Gives turns.
#[derive(Default)]
pub(in crate::exchange) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Decisions about few people that run.
    few: usize,
    /// Whether a slice runs.
    slice: bool,
    /// Slices that wait.
    waiting: usize,
}

/// A decision about few people runs for as long as this lives.
pub(super) struct Few<'t>(&'t Turns);

/// A slice runs for as long as this lives.
pub(super) struct Slice<'t>(&'t Turns);

impl Turns {
    /// A decision about few people runs at once.
    pub(super) fn few(&self) -> Few<'_> {
        self.lock().few += 1;
        Few(self)
    }

    /// Blocks until a slice of a decision about many may run.
    pub(super) fn slice(&self) -> Slice<'_> {
        self.slice_within(WAIT_MAX)
    }

    fn slice_within(&self, wait_max: Duration) -> Slice<'_> {
        let since = Instant::now();
        let mut state = self.lock();
        state.waiting += 1;
        loop {
            let left = wait_max.saturating_sub(since.elapsed());
            if !state.slice && (state.few == 0 || left.is_zero()) {
                state.waiting -= 1;
                state.slice = true;
                return Slice(self);
            }
            state = if state.slice {
                // A slice ends by itself, and soon.
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = self.changed.wait_timeout(state, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Few<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.few = state.few.saturating_sub(1);
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Drop for Slice<'_> {
    fn drop(&mut self) {
        self.0.lock().slice = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::{Scope, scope, yield_now};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Says once it has had a slice.
    fn wants_slice<'s>(scope: &'s Scope<'s, '_>, turns: &'s Turns) -> Receiver<()> {
        let (had, says) = channel();
        scope.spawn(move || {
            drop(turns.slice_within(LONG));
            // The test may have failed meanwhile.
            let _ = had.send(());
        });
        while turns.lock().waiting == 0 {
            assert!(says.try_recv().is_err(), "it did not wait");
            yield_now();
        }
        says
    }

    #[test]
    fn a_slice_waits_for_those_about_few() {
        let turns = Turns::default();
        scope(|scope| {
            let first = turns.few();
            let second = turns.few();
            let had = wants_slice(scope, &turns);
            drop(first);
            assert!(had.try_recv().is_err());
            assert_eq!(turns.lock().waiting, 1);
            drop(second);
            had.recv().unwrap();
        });
    }

    #[test]
    fn slices_run_one_at_a_time_and_few_beside_them() {
        let turns = Turns::default();
        scope(|scope| {
            let slice = turns.slice();
            let had = wants_slice(scope, &turns);
            drop(turns.few());
            assert!(had.try_recv().is_err());
            assert_eq!(turns.lock().waiting, 1);
            drop(slice);
            had.recv().unwrap();
        });
    }

    #[test]
    fn a_slice_that_waited_long_enough_runs() {
        let turns = Turns::default();
        let few = turns.few();
        drop(turns.slice_within(Duration::ZERO));
        drop(turns.slice());
        drop(few);
        let state = turns.lock();
        assert_eq!((state.few, state.slice), (0, false));
    }
}
