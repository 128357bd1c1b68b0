//! Whether this witness cosigns what the log offers, and what it keeps if not.
//!
//! Invariant: of two checkpoints of one log that contradict each other at most one is cosigned. What
//! is cosigned is durable before anybody hears of it; so is what shows that the log contradicts itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tally_core::time::Timestamp;
use tally_log::witness::NotCosigned;
use tally_log::{AddCheckpoint, BadProof, Cosigner, NoteKey, Origin, SignedCheckpoint};
use tracing::{error, warn};

use super::evidence::{Deed, EvidenceDir};
use super::state::WitnessState;

/// A new leader may not have published what the one before it had cosigned: for so long after it was
/// told, that it offers less says nothing about it.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// Checkpoints of receipts that are remembered.
const HEADS_MAX: usize = 64;

/// A witness that can judge: its key, and what it remembers.
#[derive(Debug)]
pub struct Judge {
    cosigner: Cosigner,
    state: WitnessState,
    evidence: EvidenceDir,
    /// When the log was first told that what it offers is less than what was cosigned.
    told_larger: Option<Timestamp>,
    /// Checkpoints that the log gave the agent in receipts, by their size: the latest.
    heads: BTreeMap<u64, SignedCheckpoint>,
    refused: BTreeMap<Why, u64>,
}

/// What a witness answers, as over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The status that C2SP tlog-witness gives it.
    pub status: u16,
    /// Cosignature lines, or the size that was cosigned last.
    pub body: Vec<u8>,
}

/// What the log's signatures are held against.
#[derive(Debug, Clone, Copy)]
pub struct LogKeys<'k> {
    /// The keys of all ledger nodes that there have been: what one of them signed, the log said.
    pub known: &'k [NoteKey],
    /// Those of the nodes that there are. Most of them must have signed what is cosigned: one node
    /// alone could else have a witness cosign what no other has.
    pub present: &'k [NoteKey],
}

impl LogKeys<'_> {
    fn have_mostly_signed(&self, signed: &SignedCheckpoint) -> bool {
        let count = signed.verify_log(self.present).map_or(0, |verified| verified.len());
        count > self.present.len() / 2
    }
}

/// Why nothing was cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// What was asked is no request.
    Malformed,
    /// It is about another log.
    UnknownLog,
    /// The log has not signed it.
    NotSigned,
    /// Most of the ledger nodes have not signed it, or not yet.
    TooFewNodes,
    /// It is smaller than what was cosigned; the log was told, and may catch up.
    Smaller,
    /// The log went back.
    Rollback,
    /// The log shows another history.
    Fork,
    /// The own disk takes nothing.
    State,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::UnknownLog,
        Self::NotSigned,
        Self::TooFewNodes,
        Self::Smaller,
        Self::Rollback,
        Self::Fork,
        Self::State,
    ];

    /// For metrics and lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownLog => "unknown-log",
            Self::NotSigned => "not-signed",
            Self::TooFewNodes => "too-few-nodes",
            Self::Smaller => "smaller",
            Self::Rollback => "rollback",
            Self::Fork => "fork",
            Self::State => "state",
        }
    }
}

impl Judge {
    /// A witness with its key, its state and what it has kept.
    #[must_use]
    pub const fn new(cosigner: Cosigner, state: WitnessState, evidence: EvidenceDir) -> Self {
        Self {
            cosigner,
            state,
            evidence,
            told_larger: None,
            heads: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Answers a request. Cosigned is what is on disk when this returns.
    pub fn judge(&mut self, request: &[u8], log_keys: LogKeys<'_>, now: Timestamp) -> Verdict {
        let Ok(asked) = AddCheckpoint::parse(request) else {
            return self.refuse(Why::Malformed, 400);
        };
        let origin = &asked.checkpoint.checkpoint().origin;
        let last = self.state.last(origin).cloned();
        let checked = asked.check(log_keys.known, last.as_ref().map(SignedCheckpoint::checkpoint));
        match checked {
            Ok(()) => self.accept(&asked, request, log_keys, now),
            Err(why @ NotCosigned::UnknownLog) => self.refuse(Why::UnknownLog, why.http_status()),
            Err(why @ NotCosigned::NotSigned) => self.refuse(Why::NotSigned, why.http_status()),
            Err(why @ NotCosigned::Shrinks) => {
                let Some(last) = last.filter(|last| size(last) > size(&asked.checkpoint)) else {
                    // It names a size that nobody cosigned.
                    return self.refuse(Why::Malformed, why.http_status());
                };
                self.keep(Deed::Rollback, (&last, "cosigned"), (&asked.checkpoint, request), now);
                self.refuse(Why::Rollback, why.http_status())
            }
            Err(NotCosigned::OldSizeDiffers { latest }) => {
                self.differs(&asked, request, last.as_ref(), latest, now)
            }
            Err(why @ NotCosigned::Inconsistent(proof)) => {
                let differs = matches!(proof, BadProof::RootDiffers | BadProof::OldRootDiffers);
                // A proof of another shape shows nothing of the log, and neither does one from
                // nothing on.
                let Some(last) = last.filter(|last| differs && size(last) > 0) else {
                    return self.refuse(Why::Malformed, why.http_status());
                };
                self.show_fork((&last, "cosigned"), (&asked, request), now);
                self.refuse(Why::Fork, why.http_status())
            }
        }
    }

    /// Takes note of a checkpoint that the log gave the agent in a receipt. What is larger than what
    /// was cosigned contradicts nothing that could be shown without a further proof, and neither does
    /// what is smaller: of one size there is one root.
    pub fn see(&mut self, note: &[u8], log_keys: &[NoteKey], now: Timestamp) {
        let Ok(signed) = SignedCheckpoint::parse(note) else { return };
        if signed.verify_log(log_keys).is_err() {
            return;
        }
        let origin = signed.checkpoint().origin.clone();
        let known = self.known(&origin, size(&signed));
        let contradicted = known.filter(|(known, _)| known.checkpoint() != signed.checkpoint());
        if let Some((known, by)) = contradicted {
            self.keep(Deed::Fork, (&known, by), (&signed, &[]), now);
            self.count(Why::Fork);
            return;
        }
        self.heads.insert(size(&signed), signed);
        while self.heads.len() > HEADS_MAX {
            self.heads.pop_first();
        }
    }

    /// The verifier key.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        self.cosigner.key()
    }

    /// What was cosigned last.
    #[must_use]
    pub fn last(&self) -> Option<&SignedCheckpoint> {
        self.state.newest()
    }

    /// When that was, in seconds since the Unix epoch; none if nothing was, or somebody vouched for it.
    #[must_use]
    pub fn last_at_s(&self) -> Option<u64> {
        let verified = self.last()?.note().verify([self.cosigner.key()]).ok()?;
        verified.first()?.time_s
    }

    /// How often nothing was cosigned, since the agent's start.
    #[must_use]
    pub fn refused(&self, why: Why) -> u64 {
        self.refused.get(&why).copied().unwrap_or(0)
    }

    /// What is kept.
    #[must_use]
    pub const fn evidence(&self) -> &EvidenceDir {
        &self.evidence
    }

    /// What is known of a size: cosigned, or in a receipt.
    fn known(&self, origin: &Origin, at: u64) -> Option<(SignedCheckpoint, &'static str)> {
        let last = self.state.last(origin).filter(|last| size(last) == at);
        if let Some(last) = last {
            return Some((last.clone(), "cosigned"));
        }
        let head = self.heads.get(&at).filter(|head| head.checkpoint().origin == *origin);
        head.map(|head| (head.clone(), "receipt"))
    }

    fn accept(
        &mut self,
        asked: &AddCheckpoint,
        request: &[u8],
        log_keys: LogKeys<'_>,
        now: Timestamp,
    ) -> Verdict {
        let new = asked.checkpoint.checkpoint();
        let seen = self.known(&new.origin, new.size);
        if let Some((seen, by)) = seen.filter(|(seen, _)| seen.checkpoint() != new) {
            self.show_fork((&seen, by), (asked, request), now);
            return self.refuse(Why::Fork, 422);
        }
        if !log_keys.have_mostly_signed(&asked.checkpoint) {
            // It may be another time that the log asks.
            return self.refuse(Why::TooFewNodes, 503);
        }
        let Ok(cosignature) = self.cosigner.cosign(new, now.0 / 1_000) else {
            return self.refuse(Why::State, 500);
        };
        let mut cosigned = asked.checkpoint.by_log_only();
        let line = cosignature.to_string();
        if cosigned.verify_log(log_keys.known).is_err() || cosigned.add(cosignature).is_err() {
            return self.refuse(Why::NotSigned, 403);
        }
        if let Err(why) = self.state.store(cosigned) {
            error!(%why, "the witness can't make durable what it is about to cosign");
            return self.refuse(Why::State, 500);
        }
        self.told_larger = None;
        let size = new.size;
        self.heads.retain(|head, _| *head > size);
        Verdict { status: 200, body: format!("{line}\n").into_bytes() }
    }

    /// The log does not know, or does not say, what was cosigned last.
    fn differs(
        &mut self,
        asked: &AddCheckpoint,
        request: &[u8],
        last: Option<&SignedCheckpoint>,
        latest: u64,
        now: Timestamp,
    ) -> Verdict {
        let answer = Verdict { status: 409, body: format!("{latest}\n").into_bytes() };
        let Some(last) = last else { return answer };
        let new = asked.checkpoint.checkpoint();
        if new.size == latest && new.root != last.checkpoint().root {
            self.show_fork((last, "cosigned"), (asked, request), now);
            return self.refuse(Why::Fork, 422);
        }
        if new.size >= latest {
            self.told_larger = None;
            return answer;
        }
        let told = *self.told_larger.get_or_insert(now);
        if now.since(told) > CATCH_UP_MAX {
            self.keep(Deed::Rollback, (last, "cosigned"), (&asked.checkpoint, request), now);
            self.count(Why::Rollback);
        } else {
            self.count(Why::Smaller);
        }
        answer
    }

    fn show_fork(
        &mut self,
        known: (&SignedCheckpoint, &'static str),
        (asked, request): (&AddCheckpoint, &[u8]),
        now: Timestamp,
    ) {
        self.keep(Deed::Fork, known, (&asked.checkpoint, request), now);
    }

    fn keep(
        &mut self,
        why: Deed,
        known: (&SignedCheckpoint, &'static str),
        offered: (&SignedCheckpoint, &[u8]),
        now: Timestamp,
    ) {
        let vkey = self.cosigner.key().to_string();
        let (before, after) = (size(known.0), size(offered.0));
        match self.evidence.keep(why, known, offered, &vkey, now) {
            Ok(true) => error!(
                why = why.name(),
                known_size = before,
                offered_size = after,
                "the ledger contradicts itself: both checkpoints are kept, see tally witness evidence"
            ),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "what shows that the ledger contradicts itself can't be kept")
            }
        }
    }

    fn refuse(&mut self, why: Why, status: u16) -> Verdict {
        self.count(why);
        Verdict { status, body: Vec::new() }
    }

    fn count(&mut self, why: Why) {
        let count = self.refused.entry(why).or_default();
        *count = count.saturating_add(1);
    }
}

fn size(signed: &SignedCheckpoint) -> u64 {
    signed.checkpoint().size
}
