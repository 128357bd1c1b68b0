//! What is counted on the way of submissions: what came of them, how many there were, how long they took.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts};
use tally_core::entry::Lane;
use tally_core::ledger::{Applied, Proposal, Rejection, Submission, Verdict};
use tally_core::register::RegisterName;

use super::{COUNTS, Make, Metrics};

/// Why a submission was not proposed by the node that had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// Too much waits, of its member or of all.
    TooBusy,
    /// It is another member's.
    NotOwn,
    /// It raises the rules to a version that most of the voters do not know.
    ProtocolUnsupported,
    /// It takes so many voters' keys away that no majority would be left.
    VotersCutOff,
}

/// How many of something there were.
#[derive(Clone)]
pub(super) struct Counts(Histogram);

impl Metrics {
    /// Counts what came of a proposal.
    pub fn applied(&self, proposal: &Proposal, applied: &Applied) {
        self.0.entries.inc_by(applied.hashes.len() as u64);
        self.0.proposal_submissions.0.observe(count(proposal.submissions.len()));
        for (submission, verdict) in proposal.submissions.iter().zip(&applied.verdicts) {
            if let Verdict::Rejected(rejection) = verdict {
                self.0.rejected.with_label_values(&[rejection.code()]).inc();
            }
            let Submission::Batch(batch) = submission else { continue };
            let verdict = match verdict {
                Verdict::Accepted(_) => {
                    self.0.batch_leaves.0.observe(count(batch.entries.len()));
                    "accepted"
                }
                Verdict::Rejected(Rejection::Stale(names)) => {
                    // Never a name: a member's or an agreement's would be a new series.
                    let kinds: BTreeSet<_> = names.iter().map(kind_text).collect();
                    for kind in kinds {
                        self.0.stale.with_label_values(&[kind]).inc();
                    }
                    "stale"
                }
                Verdict::Rejected(_) => "rejected",
                Verdict::Founded
                | Verdict::Recovered(_)
                | Verdict::SessionStarted(_)
                | Verdict::Halted => continue,
            };
            self.0.batches.with_label_values(&[lane_text(batch.lane), verdict]).inc();
        }
    }

    /// A proposal of this node was applied after this time.
    pub fn committed(&self, after: Duration) {
        self.0.commit.observe(after.as_secs_f64());
    }

    /// What measures how long syncs of the log take.
    #[must_use]
    pub fn syncs(&self) -> Histogram {
        self.0.fsync.clone()
    }

    /// Another node leads than before.
    pub fn leader_changed(&self) {
        self.0.leader_changes.inc();
    }

    /// A submission was not proposed.
    pub fn turned_away(&self, why: TurnedAway) {
        self.0.turned_away.with_label_values(&[why.as_str()]).inc();
    }
}

impl TurnedAway {
    const fn as_str(self) -> &'static str {
        match self {
            Self::TooBusy => "too-busy",
            Self::NotOwn => "not-own",
            Self::ProtocolUnsupported => "protocol-unsupported",
            Self::VotersCutOff => "voters-cut-off",
        }
    }
}

impl Make for Counts {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts {
            common_opts: prometheus::Opts::new(name, help),
            buckets: COUNTS.to_vec(),
        };
        Histogram::with_opts(opts).map(Self)
    }
}

impl Collector for Counts {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

const fn lane_text(lane: Lane) -> &'static str {
    match lane {
        Lane::Conditional => "conditional",
        Lane::Unconditional => "unconditional",
        Lane::Register => "register",
    }
}

const fn kind_text(name: &RegisterName) -> &'static str {
    match name {
        RegisterName::Member(_) => "member",
        RegisterName::Agreement(_) => "agreement",
        RegisterName::Consent(..) => "consent",
        RegisterName::Group(_) => "group",
        RegisterName::Protocol => "protocol",
        RegisterName::Witnesses => "witnesses",
    }
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use tally_core::entry::Algorithm;
    use tally_core::id::{LeafIndex, SessionId};
    use tally_core::ledger::Batch;
    use tally_core::time::Timestamp;
    use tally_log::{Hash, Signature};

    use super::*;

    fn proposal() -> Proposal {
        let batch = |lane| {
            Submission::Batch(Batch {
                session: SessionId(LeafIndex(4)),
                number: 1,
                lane,
                entries: Vec::new(),
                algorithm: Algorithm::EdDsa,
                signature: Signature::from_bytes([0; 64]),
            })
        };
        let submissions = vec![batch(Lane::Conditional), batch(Lane::Register)];
        Proposal { time: Timestamp(1), submissions }
    }

    fn applied() -> Applied {
        let names = ["consent/RZ9/0", "consent/RZ9/1", "member/RZ9"];
        let names = names.map(|it| it.parse().unwrap()).to_vec();
        let rejections = [Rejection::Stale(names), Rejection::WrongEpoch];
        Applied {
            first_leaf: LeafIndex(7),
            verdicts: rejections.map(Verdict::Rejected).to_vec(),
            hashes: vec![Hash::default(); 3],
        }
    }

    #[test]
    fn what_came_of_submissions_is_counted_and_no_register_is_named() {
        let metrics = Metrics::new().unwrap();
        metrics.applied(&proposal(), &applied());
        metrics.committed(Duration::from_millis(3));
        metrics.syncs().observe(0.0015);
        metrics.leader_changed();
        metrics.turned_away(TurnedAway::TooBusy);
        let text = String::from_utf8(metrics.to_text().unwrap()).unwrap();
        for line in [
            "tally_ledger_batches_total{lane=\"conditional\",verdict=\"stale\"} 1",
            "tally_ledger_batches_total{lane=\"register\",verdict=\"rejected\"} 1",
            "tally_ledger_stale_batches_total{kind=\"consent\"} 1",
            "tally_ledger_stale_batches_total{kind=\"member\"} 1",
            "tally_ledger_rejected_total{code=\"wrong-epoch\"} 1",
            "tally_ledger_rejected_total{code=\"stale\"} 1",
            "tally_ledger_turned_away_total{why=\"too-busy\"} 1",
            "tally_ledger_entries_total 3",
            "tally_ledger_proposal_submissions_bucket{le=\"2\"} 1",
            "tally_ledger_proposal_submissions_bucket{le=\"1\"} 0",
            "tally_ledger_commit_seconds_bucket{le=\"0.005\"} 1",
            "tally_ledger_commit_seconds_bucket{le=\"0.002\"} 0",
            "tally_ledger_fsync_seconds_bucket{le=\"0.002\"} 1",
            "tally_ledger_leader_changes_total 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("RZ9"), "{text}");
    }
}
