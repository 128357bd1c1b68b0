//! Work that needs no order, shared out among threads: reading bundles, verifying signatures. What
//! needs the order of the ledger is done by one thread, which lends a hand where it would wait.
//!
//! Invariant: what comes out is the same for any number of threads, one included. Bundles are handed
//! out in order; of several bad signatures the first counts, and it counts before whatever is wrong
//! after it. What is read ahead is bounded in bundles and bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tally_log::{Signature, VerifyingKey};

use super::bundle::{Bundle, read_bundle};
use super::{Source, Unreadable};

/// Bundles read ahead for each thread.
const AHEAD: u64 = 4;
/// Bytes of bundles that wait for their turn: beyond it each thread may have one more in hand.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Signatures that are handed out together.
const TOGETHER: usize = 16;

/// A batch's signature that nobody has verified yet.
pub(super) struct Unverified {
    pub(super) key: VerifyingKey,
    pub(super) message: Vec<u8>,
    pub(super) signature: Signature,
    /// The leaf of the seal that it stands in.
    pub(super) leaf: u64,
    /// Leaves and seals that were good before it.
    pub(super) before: (u64, u64),
}

/// What the threads share.
pub(super) struct Pool {
    size: u64,
    ahead: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The bundle that is read next, and the one that is waited for.
    next: u64,
    wanted: u64,
    ready: BTreeMap<u64, Bundle>,
    waiting_bytes: usize,
    unverified: VecDeque<Vec<Unverified>>,
    /// Handed out, and not answered yet.
    verifying: usize,
    /// The first that is bad.
    bad: Option<Unverified>,
    stopped: bool,
}

enum Work {
    Bundle(u64),
    Signatures(Vec<Unverified>),
}

/// Stops the others when its thread ends: nobody waits for what a thread that panicked had in hand.
pub(super) struct Ending<'p>(&'p Pool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Pool {
    /// For the bundles of a log of this size.
    pub(super) fn new(size: u64, threads: usize) -> Self {
        let ahead = AHEAD.saturating_mul(threads as u64);
        Self { size, ahead, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Works until the pool is stopped.
    pub(super) fn work(&self, mut source: impl Source) {
        let _ending = self.ending();
        let mut state = self.lock();
        while !state.stopped {
            state = match self.claim(&mut state) {
                Some(work) => {
                    drop(state);
                    self.carry_out(work, &mut source);
                    self.lock()
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Whoever hands work out holds this for as long as there is some.
    pub(super) const fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Nothing more is done.
    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// The bundle after the last one.
    ///
    /// # Errors
    /// [`Unreadable`] if a thread has ended that should not have.
    pub(super) fn bundle(&self, source: &mut impl Source) -> Result<Bundle, Unreadable> {
        loop {
            let mut state = self.lock();
            let wanted = state.wanted;
            if let Some(bundle) = state.ready.remove(&wanted) {
                state.wanted = wanted.saturating_add(1);
                state.waiting_bytes = state.waiting_bytes.saturating_sub(bundle.len);
                drop(state);
                self.changed.notify_all();
                return Ok(bundle);
            }
            self.help(state, source)?;
        }
    }

    /// Takes signatures to be verified: all of them at the end, otherwise once they are worth it.
    pub(super) fn verify(&self, unverified: &mut Vec<Unverified>, is_end: bool) {
        if unverified.len() >= TOGETHER || (is_end && !unverified.is_empty()) {
            self.lock().unverified.push_back(std::mem::take(unverified));
            self.changed.notify_one();
        }
    }

    /// Whether a signature was found bad. There may be an earlier one.
    pub(super) fn is_bad(&self) -> bool {
        self.lock().bad.is_some()
    }

    /// The first signature that is bad, once all that were given are verified.
    ///
    /// # Errors
    /// [`Unreadable`] if a thread has ended that should not have.
    pub(super) fn first_bad(
        &self,
        source: &mut impl Source,
    ) -> Result<Option<Unverified>, Unreadable> {
        loop {
            let mut state = self.lock();
            if state.unverified.is_empty() && state.verifying == 0 {
                return Ok(state.bad.take());
            }
            // No more bundles are wanted.
            state.next = u64::MAX;
            self.help(state, source)?;
        }
    }

    /// Does what there is to do, or waits until there is something.
    fn help(
        &self,
        mut state: MutexGuard<'_, State>,
        source: &mut impl Source,
    ) -> Result<(), Unreadable> {
        if state.stopped {
            let what = "a thread of this program".to_owned();
            let why = "ended before its work was done: report this".to_owned();
            return Err(Unreadable { what, why, unreachable: false });
        }
        match self.claim(&mut state) {
            Some(work) => {
                drop(state);
                self.carry_out(work, source);
            }
            None => drop(self.changed.wait(state)),
        }
        Ok(())
    }

    fn claim(&self, state: &mut State) -> Option<Work> {
        if let Some(signatures) = state.unverified.pop_front() {
            state.verifying = state.verifying.saturating_add(1);
            return Some(Work::Signatures(signatures));
        }
        let next = state.next;
        let is_room = next < state.wanted.saturating_add(self.ahead)
            && state.waiting_bytes < WAITING_BYTES_MAX;
        if next >= self.size.div_ceil(256) || !(next == state.wanted || is_room) {
            return None;
        }
        state.next = next.saturating_add(1);
        Some(Work::Bundle(next))
    }

    fn carry_out(&self, work: Work, source: &mut impl Source) {
        match work {
            Work::Bundle(index) => {
                let bundle = read_bundle(source, index, self.size);
                let mut state = self.lock();
                state.waiting_bytes = state.waiting_bytes.saturating_add(bundle.len);
                state.ready.insert(index, bundle);
            }
            Work::Signatures(unverified) => {
                let is_bad = |it: &Unverified| it.key.verify(&it.message, &it.signature).is_err();
                let bad = unverified.into_iter().find(is_bad);
                let mut state = self.lock();
                state.verifying = state.verifying.saturating_sub(1);
                let both = [state.bad.take(), bad].into_iter().flatten();
                state.bad = both.min_by_key(|it| it.leaf);
            }
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
