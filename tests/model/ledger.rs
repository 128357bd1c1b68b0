//! What is said to the ledger, and the ledger: the real `apply` of `tally-core`, on real bytes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tally_core::id::{LeafIndex, SessionId};
use tally_core::ledger::{Rejection, State, Submission, Verdict};

use crate::paper;
use crate::world::Broken;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Provider,
    Requester,
}

/// Versions of the two registers that can narrow here: of consent, and of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Facts {
    pub(crate) consent: u64,
    pub(crate) agreement: u64,
}

impl Facts {
    pub(crate) const FIRST: Self = Self { consent: 1, agreement: 1 };
}

/// A batch of one entry: it is the same bytes each time it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Letter {
    pub(crate) side: Side,
    /// Of its agent's sessions, from 0.
    pub(crate) session: u8,
    /// In its session.
    pub(crate) number: u64,
    pub(crate) says: Says,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Says {
    /// Conditional lane.
    Permit {
        exchange: u8,
        read: Facts,
    },
    /// Conditional lane too: breaks the glass.
    Glass {
        exchange: u8,
        read: Facts,
    },
    /// Unconditional lane, from here on.
    Refusal {
        exchange: u8,
    },
    Late {
        exchange: u8,
    },
    /// The emergency's permit was taken after all.
    LateClose {
        leaf: u64,
    },
    Sent {
        leaf: u64,
    },
    Withdrawn {
        leaf: u64,
    },
    NothingSent {
        leaf: u64,
    },
    Arrived {
        exchange: u8,
        leaf: u64,
    },
    /// Register lane, from here on.
    ConsentNarrows,
    AgreementSuspended,
    /// In no lane.
    NewSession,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Answer {
    Taken { leaf: u64 },
    Stale,
    Rejected,
}

/// The ledger: what was judged, in order, and what the real state made of it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) judged: Vec<(Letter, Answer)>,
    state: Arc<State>,
}

// The state is a function of what was judged, as `apply` is: no more need be compared.
impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.judged == other.judged
    }
}

impl Eq for Ledger {}

impl Hash for Ledger {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.judged.hash(state);
    }
}

impl Ledger {
    pub(crate) fn founded() -> Self {
        Self { judged: Vec::new(), state: Arc::new(paper::founded()) }
    }

    /// What the leaves say, in order.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = Says> {
        let taken = self.judged.iter().filter(|(_, answer)| matches!(answer, Answer::Taken { .. }));
        taken.map(|(letter, _)| letter.says)
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = Answer> {
        self.judged.iter().map(|(_, answer)| *answer)
    }

    /// The narrowings among them, in order: what the feed tells.
    pub(crate) fn narrowings(&self) -> impl Iterator<Item = Says> {
        self.leaves().filter(|it| matches!(it, Says::ConsentNarrows | Says::AgreementSuspended))
    }

    /// The leaf that opened a session; of one that is not open yet, one that opened none.
    fn session_of(&self, side: Side, session: u8) -> SessionId {
        let opened = self.judged.iter().find_map(|(letter, answer)| match answer {
            Answer::Taken { leaf }
                if (letter.side, letter.session) == (side, session)
                    && letter.says == Says::NewSession =>
            {
                Some(*leaf)
            }
            _ => None,
        });
        SessionId(LeafIndex(match (opened, session) {
            (Some(leaf), _) => leaf,
            (None, 0) => paper::first_session(side),
            (None, _) => 0,
        }))
    }

    pub(crate) fn judge(&mut self, letter: Letter, broken: Option<Broken>) -> Answer {
        let mut state = (*self.state).clone();
        let size = state.size();
        let session = self.session_of(letter.side, letter.session);
        let submission = match letter.says {
            Says::NewSession => {
                paper::session_after(self.session_of(letter.side, letter.session - 1))
            }
            _ => Submission::Batch(paper::batch_of(&letter, session, &self.state)),
        };
        let mut answer = match paper::submit(&mut state, submission) {
            Verdict::Accepted(accepted) => Answer::Taken { leaf: accepted.first_leaf.0 },
            Verdict::SessionStarted(session) => Answer::Taken { leaf: session.0.0 },
            Verdict::Rejected(Rejection::Stale(_)) => Answer::Stale,
            _ => Answer::Rejected,
        };
        if let Some((_, first)) = self.judged.iter().find(|(judged, _)| *judged == letter) {
            let first = *first;
            assert_eq!(state.size(), size, "a resend made a leaf: {letter:?}");
            let over = self.judged.iter().any(|(it, _)| {
                it.side == letter.side && it.session > letter.session && it.says == Says::NewSession
            });
            let same = answer == first || over;
            assert!(broken.is_some() || same, "a resend had another answer: {letter:?}");
            return first;
        }
        if answer == Answer::Stale && broken == Some(Broken::LedgerTakesStale) {
            answer = Answer::Taken { leaf: 0 };
        }
        self.judged.push((letter, answer));
        self.state = Arc::new(state);
        answer
    }
}

impl Facts {
    /// Whether none of what was read is older than these narrowings.
    pub(crate) const fn stales_nothing_of(self, read: Self) -> bool {
        self.consent <= read.consent && self.agreement <= read.agreement
    }
}
