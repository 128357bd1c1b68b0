//! What the member's witness measures.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::clock::wall;
use crate::witness::judge::Why;
use crate::witness::{Standing, WitnessView};

/// What is looked at of a witness when somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessObserved {
    /// How it stands, in one word.
    pub standing: &'static str,
    /// The size that it cosigned last.
    pub size: Option<u64>,
    /// How long ago that was, in seconds.
    pub age_s: Option<u64>,
    /// How often it refused, and why.
    pub refused: Vec<(&'static str, u64)>,
    /// How often the ledger contradicted itself.
    pub evidence: u64,
}

/// The metrics.
pub(super) struct WitnessMetrics {
    standing: IntGaugeVec,
    size: IntGauge,
    age: IntGaugeVec,
    refused: IntCounterVec,
    evidence: IntGauge,
}

impl WitnessView {
    /// What metrics say of it.
    #[must_use]
    pub fn observed(&self) -> WitnessObserved {
        let standing = self.standing().word();
        let looked = self.look(|judge| {
            let now_s = wall().0 / 1_000;
            let kept = judge.evidence().kept().len() as u64;
            WitnessObserved {
                standing,
                size: judge.last().map(|last| last.checkpoint().size),
                age_s: judge.last_at_s().map(|at_s| now_s.saturating_sub(at_s)),
                refused: Why::ALL.map(|why| (why.name(), judge.refused(why))).to_vec(),
                evidence: kept.saturating_add(judge.evidence().beyond()),
            }
        });
        looked.unwrap_or(WitnessObserved {
            standing,
            size: None,
            age_s: None,
            refused: Vec::new(),
            evidence: 0,
        })
    }
}

impl WitnessMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            standing: IntGaugeVec::new(
                Opts::new(
                    "tally_agent_witness_standing",
                    "1 for how the member's witness stands: it cosigns only while attending.",
                ),
                &["standing"],
            )?,
            size: IntGauge::new(
                "tally_agent_witness_size",
                "Leaves in the tree that the member's witness has cosigned last.",
            )?,
            age: IntGaugeVec::new(
                Opts::new(
                    "tally_agent_witness_age_seconds",
                    "Seconds since the member's witness cosigned last.",
                ),
                &[],
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "tally_agent_witness_refused_total",
                    "Checkpoints that the member's witness did not cosign: fork and rollback say that \
                     the ledger contradicts itself.",
                ),
                &["why"],
            )?,
            evidence: IntGauge::new(
                "tally_agent_witness_evidence",
                "Contradictions of the ledger that the member's witness has seen: those it keeps, and \
                 since the start those beyond.",
            )?,
        };
        registry.register(Box::new(metrics.standing.clone()))?;
        registry.register(Box::new(metrics.size.clone()))?;
        registry.register(Box::new(metrics.age.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.evidence.clone()))?;
        Ok(metrics)
    }

    /// Shows what was looked at; nothing of an agent that is no witness.
    pub(super) fn show(&self, observed: Option<&WitnessObserved>) {
        let Some(observed) = observed else { return };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for word in Standing::WORDS {
            self.standing.with_label_values(&[word]).set(i64::from(word == observed.standing));
        }
        self.size.set(signed(observed.size.unwrap_or(0)));
        self.age.reset();
        if let Some(age_s) = observed.age_s {
            self.age.with_label_values::<&str>(&[]).set(signed(age_s));
        }
        for (why, count) in &observed.refused {
            let counter = self.refused.with_label_values(&[why]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.evidence.set(signed(observed.evidence));
    }
}
