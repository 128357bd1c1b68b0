//! Every "no" that the ledger can answer with: one closed table, as for refusals. The wire number,
//! the code, whose fault it is and what to do come from its rows and from nowhere else.
//!
//! A new rejection is a new row. Numbers are never used again for something else: they are in
//! replicas' checkpoint files, and what an agent is told must stay what it was told.

mod table;

pub use table::Rejection;

use std::fmt;

use crate::register::RegisterName;

/// Registers that one rejection names at most; the rest are found stale the next time.
pub const STALE_NAMES_MAX: usize = 64;

impl Rejection {
    /// The registers that were not at the versions that the batch named; empty for all else.
    #[must_use]
    pub fn stale(&self) -> &[RegisterName] {
        if let Self::Stale(names) = self { names } else { &[] }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_numbers_are_unique_and_lead_back() {
        let numbers = Rejection::CODES.iter().map(|(number, _)| number).collect::<BTreeSet<_>>();
        let codes = Rejection::CODES.iter().map(|(_, code)| code).collect::<BTreeSet<_>>();
        assert_eq!(numbers.len(), Rejection::CODES.len());
        assert_eq!(codes.len(), Rejection::CODES.len());
        for (number, code) in Rejection::CODES {
            let names = if *code == "stale" { vec![RegisterName::Protocol] } else { Vec::new() };
            let rejection = Rejection::from_parts(*number, names.clone()).unwrap();
            assert_eq!((rejection.number(), rejection.code()), (*number, *code));
            assert_eq!(rejection.stale(), names);
        }
    }

    #[test]
    fn only_a_stale_batch_names_registers() {
        let stale = Rejection::Stale(vec![RegisterName::Protocol]).number();
        let names = |count: usize| vec![RegisterName::Protocol; count];
        assert_eq!(Rejection::from_parts(stale, Vec::new()), None);
        assert_eq!(Rejection::from_parts(stale, names(STALE_NAMES_MAX + 1)), None);
        assert_eq!(Rejection::from_parts(Rejection::Gap.number(), names(1)), None);
        assert_eq!(Rejection::from_parts(9999, Vec::new()), None);
    }

    #[test]
    fn every_rejection_explains_itself_in_sentences() {
        for (number, code) in Rejection::CODES {
            let names = if *code == "stale" { vec![RegisterName::Protocol] } else { Vec::new() };
            let rejection = Rejection::from_parts(*number, names).unwrap();
            assert!(rejection.meaning().ends_with('.'), "{code}");
            assert!(rejection.remedy().ends_with('.'), "{code}");
        }
    }
}
