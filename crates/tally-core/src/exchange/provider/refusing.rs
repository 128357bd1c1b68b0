//! Refusals above a rate: a requester that asks the same unlawful thing over and over fills a
//! count, not the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::entry::{Entry, RefusalCount};
use crate::exchange::provider::{Effect, Provider, State};
use crate::exchange::{Draft, NO_SALT, OwedId};
use crate::id::{ExchangeId, MemberId};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// An exchange that waits for its count to be durable.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) attempt: u32,
    pub(super) refusal: Refusal,
    pub(super) told: Refusal,
}

/// What each requester was refused lately.
#[derive(Debug)]
pub(super) struct RefusalWindows {
    recorded_max: u32,
    length: Duration,
    windows_max: usize,
    windows: BTreeMap<(MemberId, Refusal), Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Timestamp,
    recorded: u32,
    counted: u64,
    /// The first that was only counted: names the count.
    counted_from: Timestamp,
}

impl RefusalWindows {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            recorded_max: limits.refusals_max,
            length: limits.refusal_window,
            windows_max: limits.refusal_windows_max,
            windows: BTreeMap::new(),
        }
    }

    /// Takes note of a refusal, and says whether it is above the rate.
    pub(super) fn exceeded(
        &mut self,
        now: Timestamp,
        requester: &MemberId,
        refusal: Refusal,
    ) -> bool {
        let key = (requester.clone(), refusal);
        let over = |window: &Window| window.began.after(self.length) <= now;
        if self.windows.get(&key).is_some_and(over) {
            self.windows.remove(&key);
        }
        if !self.windows.contains_key(&key) && self.windows.len() >= self.windows_max {
            let oldest = self.windows.iter().min_by_key(|(_, window)| window.began);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.windows.remove(&oldest);
            }
        }
        let fresh = Window { began: now, recorded: 0, counted: 0, counted_from: now };
        let window = self.windows.entry(key).or_insert(fresh);
        if window.recorded < self.recorded_max {
            window.recorded = window.recorded.saturating_add(1);
            return false;
        }
        if window.counted == 0 {
            window.counted_from = now;
        }
        window.counted = window.counted.saturating_add(1);
        true
    }
}

impl Provider {
    /// Adds the exchange to its count, which must be durable before the requester hears of it.
    pub(super) fn count(
        &mut self,
        exchange: ExchangeId,
        attempt: u32,
        requester: MemberId,
        refusal: Refusal,
        told: Refusal,
    ) {
        let recorded = refusal.on_ledger();
        let key = (requester, recorded);
        let Some(window) = self.refusals.windows.get(&key).copied() else { return };
        let (requester, _) = key;
        let count = RefusalCount {
            salt: NO_SALT,
            counter: 0,
            provider: self.member.clone(),
            requester: requester.clone(),
            refusal: recorded,
            count: window.counted,
            from: window.counted_from,
            to: self.now,
        };
        let id = OwedId::RefusalCount { requester, refusal: recorded, from: window.counted_from };
        let due = self.now.after(self.limits.record_wait_max);
        self.enter(exchange, due, State::Counting(Counting { attempt, refusal, told }));
        self.effects.push_back(Effect::Count {
            exchange,
            attempt,
            id,
            count: Draft(Entry::RefusalCount(count)),
            not_before: window.began.after(self.refusals.length),
        });
    }
}
