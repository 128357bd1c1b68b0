//! Exchanges that ended a short while ago, so that a repeated id is noticed.

use std::collections::{BTreeSet, VecDeque};

use crate::id::ExchangeId;

/// The last ids that ended, at most so many.
#[derive(Debug)]
pub(super) struct Recent {
    ids_max: usize,
    order: VecDeque<ExchangeId>,
    known: BTreeSet<ExchangeId>,
}

impl Recent {
    pub(super) const fn new(ids_max: usize) -> Self {
        Self { ids_max, order: VecDeque::new(), known: BTreeSet::new() }
    }

    pub(super) fn contains(&self, exchange: ExchangeId) -> bool {
        self.known.contains(&exchange)
    }

    pub(super) fn push(&mut self, exchange: ExchangeId) {
        if self.known.insert(exchange) {
            self.order.push_back(exchange);
        }
        while self.order.len() > self.ids_max {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::new(2);
        for number in [1, 2, 2, 3] {
            recent.push(ExchangeId([number; 16]));
        }
        let known = [1, 2, 3].map(|number| recent.contains(ExchangeId([number; 16])));
        assert_eq!(known, [false, true, true]);
    }
}
