//! What an agent measures, in Prometheus' text format. No label of it names a person, a record or an
//! exchange.

mod certificate;
mod epoch;
mod load;
mod witness;

use std::fmt;
use std::sync::Arc;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tally_core::entry::AgreementRef;
use tally_core::exchange::{Conclusion, Ended};
use tally_core::id::MemberId;
use tally_core::purpose::{Class, class_of};
use tally_core::refusal::Refusal;
use tally_core::register::AssessmentStatus;
use tally_core::time::{Date, Timestamp};
use tracing::warn;

use crate::clock::Clock;
use crate::exchange::{Outcomes, Side};
use crate::readiness::NotReady;
use crate::store::GlassCounts;

use certificate::CertificateMetrics;
use epoch::EpochMetrics;
use load::LoadMetrics;
use witness::WitnessMetrics;
pub use witness::WitnessObserved;

/// Seconds: from a lone exchange on loopback to its limit.
const SECONDS: &[f64] = &[0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Counts. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

struct All {
    registry: Registry,
    clock: Clock,
    exchanges: IntCounterVec,
    refused: IntCounterVec,
    turned_away: IntCounterVec,
    past_review: IntCounterVec,
    released: IntCounter,
    self_claimed: IntCounter,
    seconds: Histogram,
    outbox: IntGauge,
    ledger_size: IntGauge,
    spool: IntGauge,
    ready: IntGauge,
    not_ready: IntGaugeVec,
    assurance: IntGaugeVec,
    glass: Glass,
    witness: WitnessMetrics,
    epoch: EpochMetrics,
    certificate: CertificateMetrics,
    load: LoadMetrics,
}

/// Break-glass: what waits for privacy officers.
struct Glass {
    open: IntGauge,
    overdue: IntGauge,
    late_owed: IntGauge,
    promises_owed: IntGauge,
    alerts_waiting: IntGauge,
    alerts_failed: IntCounter,
}

/// What is looked at when somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Entries that wait in the outbox.
    pub outbox_entries: usize,
    /// Leaves on the ledger, as far as the feed has told.
    pub ledger_size: u64,
    /// Bytes of bodies that are spooled.
    pub spool_bytes: u64,
    /// Why the agent does not do its work; nothing if it does.
    pub not_ready: Vec<NotReady>,
    /// Members, and how the data security of each was assessed, if anybody has said.
    pub assurance: Vec<(MemberId, Option<AssessmentStatus>)>,
    /// What waits for privacy officers.
    pub break_glass: GlassCounts,
    /// The member's witness, if the agent is one.
    pub witness: Option<WitnessObserved>,
    /// When the certificate ends.
    pub certificate_until: Option<Timestamp>,
    /// Who dialled, and what became of it.
    pub admissions: Vec<(&'static str, u64)>,
}

impl Metrics {
    /// Counts from zero.
    ///
    /// # Errors
    /// Our own fault: two metrics have one name.
    pub fn new(clock: Clock) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let exchanges = exchanges()?;
        let refused = refused(&registry)?;
        let turned_away = turned_away(&registry)?;
        let past_review = past_review()?;
        let released = IntCounter::new(
            "tally_agent_released_bytes_total",
            "Bytes of records that left as this member's.",
        )?;
        let self_claimed = IntCounter::new(
            "tally_agent_self_claimed_total",
            "Answers with records to users whose relationship to the person they alone claim.",
        )?;
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "tally_agent_exchange_seconds",
                "Seconds from a request to the end of its exchange, at either side.",
            )
            .buckets(SECONDS.to_vec()),
        )?;
        let outbox = IntGauge::new(
            "tally_agent_outbox_entries",
            "Entries that are owed and not on the ledger yet.",
        )?;
        let ledger_size =
            IntGauge::new("tally_agent_ledger_size", "Leaves on the ledger, as far as is known.")?;
        let spool = spool(&registry)?;
        let ready = IntGauge::new("tally_agent_ready", "1 if the agent serves.")?;
        let not_ready = not_ready(&registry)?;
        let glass = Glass::new(&registry)?;
        let assurance = assurance(&registry)?;
        let witness = WitnessMetrics::new(&registry)?;
        let epoch = EpochMetrics::new(&registry)?;
        let certificate = CertificateMetrics::new(&registry)?;
        let load = LoadMetrics::new(&registry)?;
        registry.register(Box::new(exchanges.clone()))?;
        registry.register(Box::new(past_review.clone()))?;
        registry.register(Box::new(released.clone()))?;
        registry.register(Box::new(self_claimed.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(outbox.clone()))?;
        registry.register(Box::new(ledger_size.clone()))?;
        registry.register(Box::new(ready.clone()))?;
        let all = All {
            registry,
            clock,
            exchanges,
            refused,
            turned_away,
            past_review,
            released,
            self_claimed,
            seconds,
            outbox,
            ledger_size,
            spool,
            ready,
            not_ready,
            assurance,
            glass,
            witness,
            epoch,
            certificate,
            load,
        };
        Ok(Self(Arc::new(all)))
    }

    /// All of it as text.
    ///
    /// # Errors
    /// [`prometheus::Error`] if it has no text form.
    pub fn to_text(&self, observed: &Observed) -> Result<String, prometheus::Error> {
        self.0.outbox.set(i64::try_from(observed.outbox_entries).unwrap_or(i64::MAX));
        self.0.ledger_size.set(i64::try_from(observed.ledger_size).unwrap_or(i64::MAX));
        self.0.spool.set(i64::try_from(observed.spool_bytes).unwrap_or(i64::MAX));
        self.0.ready.set(i64::from(observed.not_ready.is_empty()));
        for reason in NotReady::ALL {
            let seen = observed.not_ready.contains(reason);
            self.0.not_ready.with_label_values(&[reason.code()]).set(i64::from(seen));
        }
        self.0.assurance.reset();
        for (member, status) in &observed.assurance {
            let status = status.map_or("unknown", AssessmentStatus::word);
            self.0.assurance.with_label_values(&[member.as_str(), status]).set(1);
        }
        self.0.glass.show(observed.break_glass);
        self.0.witness.show(observed.witness.as_ref());
        self.0.certificate.show(observed.certificate_until);
        self.0.load.show(&observed.admissions);
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }
}

fn spool(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    let spool = IntGauge::new(
        "tally_agent_spool_bytes",
        "Bytes of bodies about people that wait on disk, encrypted.",
    )?;
    registry.register(Box::new(spool.clone()))?;
    Ok(spool)
}

fn turned_away(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let turned_away = IntCounterVec::new(
        Opts::new(
            "tally_agent_turned_away_total",
            "Requests that never became an exchange, by side and code.",
        ),
        &["side", "code"],
    )?;
    registry.register(Box::new(turned_away.clone()))?;
    Ok(turned_away)
}

fn not_ready(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let not_ready = IntGaugeVec::new(
        Opts::new("tally_agent_not_ready", "1 for each reason why the agent does not serve."),
        &["reason"],
    )?;
    registry.register(Box::new(not_ready.clone()))?;
    Ok(not_ready)
}

fn assurance(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let assurance = IntGaugeVec::new(
        Opts::new(
            "tally_member_assurance",
            "1 for each member and the result of its security assessment (DSPT), as its register \
             has it.",
        ),
        &["member", "status"],
    )?;
    registry.register(Box::new(assurance.clone()))?;
    Ok(assurance)
}

fn refused(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let refused = IntCounterVec::new(
        Opts::new(
            "tally_agent_refused_total",
            "Exchanges that were refused, by side, class of purpose and code: direct care that \
             is refused may be care that is missed.",
        ),
        &["side", "class", "code"],
    )?;
    registry.register(Box::new(refused.clone()))?;
    Ok(refused)
}

impl Metrics {
    /// An alert could not be given; it is tried again.
    pub fn alert_failed(&self) {
        self.0.glass.alerts_failed.inc();
    }
}

impl Glass {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let glass = Self {
            open: IntGauge::new(
                "tally_breakglass_open",
                "Break-glass accesses whose review this member has not concluded.",
            )?,
            overdue: IntGauge::new(
                "tally_breakglass_overdue",
                "Break-glass accesses whose review is overdue.",
            )?,
            alerts_waiting: IntGauge::new(
                "tally_breakglass_alerts_waiting",
                "Alerts that the file or the webhook has not taken yet.",
            )?,
            late_owed: IntGauge::new(
                "tally_emergency_late_owed",
                "Emergencies released without the ledger whose entry is not on it yet.",
            )?,
            promises_owed: IntGauge::new(
                "tally_emergency_promises_owed",
                "Entries that providers promised in an emergency and that are not on the ledger: if that \
                 lasts, a promise is broken.",
            )?,
            alerts_failed: IntCounter::new(
                "tally_breakglass_alerts_failed_total",
                "Attempts to give an alert that failed.",
            )?,
        };
        registry.register(Box::new(glass.open.clone()))?;
        registry.register(Box::new(glass.overdue.clone()))?;
        registry.register(Box::new(glass.alerts_waiting.clone()))?;
        registry.register(Box::new(glass.late_owed.clone()))?;
        registry.register(Box::new(glass.promises_owed.clone()))?;
        registry.register(Box::new(glass.alerts_failed.clone()))?;
        Ok(glass)
    }

    fn show(&self, counts: GlassCounts) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.open.set(count(counts.open));
        self.overdue.set(count(counts.overdue));
        self.alerts_waiting.set(count(counts.alerts_waiting));
        self.late_owed.set(count(counts.late_owed));
        self.promises_owed.set(count(counts.promises_owed));
    }
}

impl Outcomes for Metrics {
    fn ended(&self, side: Side, ended: &Ended) {
        let (outcome, code, bytes) = match ended.conclusion {
            Conclusion::Released { bytes } => ("released", "", bytes),
            Conclusion::Stopped { refusal, bytes } => ("stopped", refusal.code(), bytes),
            // A metric may not say more of a person than the ledger does.
            Conclusion::Refused(refusal) => ("refused", refusal.on_ledger().code(), 0),
            Conclusion::Gone => ("gone", "", 0),
        };
        self.0.exchanges.with_label_values(&[side.name(), outcome, code]).inc();
        if matches!(ended.conclusion, Conclusion::Refused(_)) {
            let class = class_of(&ended.purpose).map_or("unclassified", Class::name);
            self.0.refused.with_label_values(&[side.name(), class, code]).inc();
        }
        if side == Side::Provider {
            self.0.released.inc_by(bytes);
        }
        self.0.seconds.observe(self.0.clock.now().since(ended.began).as_secs_f64());
    }

    fn past_review(&self, agreement: &AgreementRef, requester: &MemberId, review: Date) {
        let labels = [agreement.id.as_str(), requester.as_str()];
        let count = self.0.past_review.with_label_values(&labels);
        // Once is enough for a log: how often, the metric says.
        if count.get() == 0 {
            let (agreement, version) = (&agreement.id, agreement.version);
            warn!(%agreement, version, %requester, %review, "the agreement is past its review");
        }
        count.inc();
    }

    fn turned_away(&self, side: Side, refusal: Refusal) {
        self.0.turned_away.with_label_values(&[side.name(), refusal.on_ledger().code()]).inc();
    }

    fn self_claimed(&self) {
        self.0.self_claimed.inc();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(…)")
    }
}

fn exchanges() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Exchanges that ended, by side, outcome and code.";
    let opts = Opts::new("tally_agent_exchanges_total", help);
    IntCounterVec::new(opts, &["side", "outcome", "code"])
}

fn past_review() -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(
        Opts::new(
            "tally_agreement_past_review_total",
            "Permits under an agreement that should have been reviewed, by agreement and requester.",
        ),
        &["agreement", "requester"],
    )
}

#[cfg(test)]
mod tests {
    use tally_core::id::ExchangeId;

    use super::*;

    #[test]
    fn what_ended_is_counted_and_says_nothing_of_a_person() {
        let clock = Clock::start();
        let metrics = Metrics::new(clock).unwrap();
        let ended = |conclusion| Ended {
            exchange: ExchangeId([1; 16]),
            peer: "RZ9".parse().unwrap(),
            purpose: "TREAT".parse().unwrap(),
            began: clock.now(),
            conclusion,
        };
        metrics.ended(Side::Provider, &ended(Conclusion::Released { bytes: 7 }));
        metrics.ended(Side::Provider, &ended(Conclusion::Refused(Refusal::ConsentDenied)));
        metrics.turned_away(Side::Requester, Refusal::UnknownMember);
        let agreement = AgreementRef { id: "DSA-1".parse().unwrap(), version: 2 };
        metrics.past_review(&agreement, &"LZ9".parse().unwrap(), Date::new(2026, 10, 1).unwrap());
        let assurance = vec![
            ("RZ9".parse().unwrap(), Some(AssessmentStatus::NotMet)),
            ("LZ9".parse().unwrap(), None),
        ];
        let break_glass = GlassCounts { open: 3, overdue: 1, ..GlassCounts::default() };
        metrics.alert_failed();
        let witness = Some(WitnessObserved {
            standing: "attending",
            size: Some(12),
            age_s: Some(3),
            refused: vec![("fork", 2), ("rollback", 0)],
            evidence: 1,
        });
        let observed = Observed {
            outbox_entries: 2,
            ledger_size: 9,
            spool_bytes: 5,
            not_ready: Vec::new(),
            assurance,
            break_glass,
            witness,
            certificate_until: Some(Timestamp(1_800_000_000_000)),
            admissions: vec![("let-in", 3)],
        };
        metrics.certificate_turned(&tally_net::Turn::Replaced);
        // What was counted before is not counted again.
        drop(metrics.to_text(&observed).unwrap());
        let text = metrics.to_text(&observed).unwrap();
        for line in [
            "tally_agent_exchanges_total{code=\"\",outcome=\"released\",side=\"provider\"} 1",
            "tally_agent_exchanges_total{code=\"person-level\",outcome=\"refused\",side=\"provider\"} 1",
            "tally_agent_refused_total{class=\"direct-care\",code=\"person-level\",side=\"provider\"} 1",
            "tally_agent_turned_away_total{code=\"unknown-member\",side=\"requester\"} 1",
            "tally_agreement_past_review_total{agreement=\"DSA-1\",requester=\"LZ9\"} 1",
            "tally_agent_released_bytes_total 7",
            "tally_agent_outbox_entries 2",
            "tally_agent_spool_bytes 5",
            "tally_agent_ready 1",
            "tally_agent_certificate_expiry_timestamp_seconds 1800000000",
            "tally_agent_certificate_reloads_total{outcome=\"replaced\"} 1",
            "tally_agent_not_ready{reason=\"store-closed\"} 0",
            "tally_member_assurance{member=\"RZ9\",status=\"not-met\"} 1",
            "tally_member_assurance{member=\"LZ9\",status=\"unknown\"} 1",
            "tally_agent_witness_standing{standing=\"attending\"} 1",
            "tally_agent_witness_standing{standing=\"broken\"} 0",
            "tally_agent_witness_size 12",
            "tally_agent_witness_age_seconds 3",
            "tally_agent_witness_refused_total{why=\"fork\"} 2",
            "tally_agent_witness_evidence 1",
            "tally_breakglass_open 3",
            "tally_breakglass_overdue 1",
            "tally_breakglass_alerts_failed_total 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("consent"), "{text}");
    }
}
