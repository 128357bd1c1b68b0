//! What became of those who dialled, counted: a flood shows here, and in no log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::ConnectError;

macro_rules! admissions {
    ($($variant:ident = $word:literal, $what:literal;)*) => {
        /// What became of somebody who dialled. Closed: a word of it is a label of a metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Admission {
            $(#[doc = $what] $variant,)*
        }

        impl Admission {
            const ALL: &[(Self, &'static str)] = &[$((Self::$variant, $word)),*];
        }
    };
}

admissions! {
    LetIn = "let-in", "It was let in.";
    Retried = "retried", "It was told to prove its address first: many handshakes are in flight.";
    Full = "full", "There was no place for another handshake or connection.";
    AddressFull = "address-full", "Its address has its share of the handshakes in flight.";
    MemberFull = "member-full", "Its member has its share of the connections.";
    Identity = "identity", "Its certificate was refused, or it refused ours.";
    Protocol = "protocol", "It speaks another protocol.";
    Late = "late", "Its handshake took too long.";
    Failed = "failed", "Its handshake failed otherwise.";
}

/// How many there were of each. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Admissions(Arc<[AtomicU64; Admission::ALL.len()]>);

impl Admissions {
    /// Each word with its count, from zero at the start.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = Admission::ALL.iter().zip(self.0.iter());
        counts.map(|((_, word), count)| (*word, count.load(Ordering::Relaxed))).collect()
    }

    pub(super) fn count(&self, what: Admission) {
        let of = Admission::ALL.iter().zip(self.0.iter()).find(|((it, _), _)| *it == what);
        if let Some((_, count)) = of {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Admission {
    pub(super) const fn of<T>(outcome: &Result<T, ConnectError>) -> Self {
        match outcome {
            Ok(_) => Self::LetIn,
            Err(ConnectError::Identity(_)) => Self::Identity,
            Err(ConnectError::Protocol) => Self::Protocol,
            Err(ConnectError::TimedOut) => Self::Late,
            // The listener itself refuses nobody else by then.
            Err(ConnectError::Refused) => Self::MemberFull,
            Err(ConnectError::Failed(_) | ConnectError::Unusable(_)) => Self::Failed,
        }
    }
}
