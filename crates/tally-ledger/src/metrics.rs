//! A ledger node's metrics: all their names are in this file. Labels are words of closed enums, or
//! names of witnesses from their register, which holds 16 at most: no caller can make a new series.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tally_core::entry::Lane;
use tally_core::ledger::{Applied, Proposal, Rejection, Submission, Verdict};
use tally_net::IdentityError;

use crate::frame::Vouched;
use crate::https::{NodeRole, NodeStatus, NodeTrust};
use crate::published::{Checkpoints, Published};
use crate::server::Counters;
use crate::witnesses::Why;

/// Seconds: from a fast disk's sync to a lost quorum.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

macro_rules! metrics {
    ($($field:ident: $type:ident, $name:literal, $labels:expr, $help:literal;)*) => {
        /// The metrics of this process. Cheap to clone.
        #[derive(Clone)]
        pub struct Metrics(Arc<All>);

        struct All {
            registry: Registry,
            $($field: $type,)*
        }

        impl Metrics {
            /// All metrics, at nothing.
            ///
            /// # Errors
            /// [`prometheus::Error`] if two have one name.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field = <$type as Make>::make($name, $help, $labels)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self(Arc::new(All { registry, $($field,)* })))
            }
        }
    };
}

metrics! {
    size: IntGauge, "tally_ledger_size_leaves", &[],
        "Leaves that this node has applied.";
    published: IntGauge, "tally_ledger_published_size_leaves", &[],
        "Leaves under the checkpoint that this node publishes.";
    published_age: IntGauge, "tally_ledger_checkpoint_age_seconds", &[],
        "Seconds since the tree of the published checkpoint was first shown by this node.";
    witnessed: IntGauge, "tally_ledger_witnessed_size_leaves", &[],
        "Leaves under the newest checkpoint that a quorum of witnesses has cosigned; 0 if there is none.";
    witnessed_age: IntGauge, "tally_ledger_witnessed_checkpoint_age_seconds", &[],
        "Seconds since that checkpoint was first shown by this node.";
    cosignature_age: IntGaugeVec, "tally_ledger_witness_cosignature_age_seconds", &["witness"],
        "Seconds since the last cosignature of each witness in force that has given one.";
    witness_refused: IntCounterVec, "tally_ledger_witness_refused_total", &["why"],
        "Answers of witnesses that did not cosign, by why: other-history and bad-signature are alarms.";
    witness_silent: IntCounterVec, "tally_ledger_witness_unanswered_total", &["witness"],
        "Questions to witnesses that were not answered in time.";
    tiles: IntGauge, "tally_ledger_tiles_size_leaves", &[],
        "Leaves whose tiles can be read: the difference to the size is how far tiles lag.";
    registers: IntGauge, "tally_ledger_registers", &[],
        "Registers that there are.";
    sessions: IntGauge, "tally_ledger_sessions", &[],
        "Agents' sessions that are open.";
    term: IntGauge, "tally_ledger_raft_term", &[],
        "Raft's term.";
    last_log: IntGauge, "tally_ledger_raft_last_log_index", &[],
        "Index of the last entry in the Raft log of this node.";
    applied: IntGauge, "tally_ledger_raft_applied_index", &[],
        "Index of the last Raft entry that this node has applied.";
    role: IntGaugeVec, "tally_ledger_raft_role", &["role"],
        "1 for the role that this node has, 0 for the others.";
    trusted: IntGauge, "tally_ledger_trusted", &[],
        "1 if this node votes; 0 while it has to catch up first.";
    vouched: IntGauge, "tally_ledger_vouched_seconds", &[],
        "When somebody vouched for this node's directory last, in seconds since 1970; 0 if nobody did.";
    disk: IntGaugeVec, "tally_ledger_disk_bytes", &["what"],
        "Bytes on the disk: of the log, and free.";
    batches: IntCounterVec, "tally_ledger_batches_total", &["lane", "verdict"],
        "Batches that this node has applied, by lane and verdict.";
    entries: IntCounter, "tally_ledger_entries_total", &[],
        "Leaves that this node has applied since it started.";
    commit: Histogram, "tally_ledger_commit_seconds", &[],
        "Seconds from a proposal of this node, as leader, until it is committed and applied.";
    agents: IntCounterVec, "tally_ledger_agents_total", &["what"],
        "What happened at the endpoint for agents.";
    requests: IntCounterVec, "tally_ledger_https_requests_total", &["route", "status"],
        "Requests over HTTPS, by what was asked for and the first digit of the status.";
    refused: IntCounterVec, "tally_ledger_connections_refused_total", &["code"],
        "Connections of peers whose certificate was refused, by code.";
}

/// What is asked for over HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The checkpoint.
    Checkpoint,
    /// A tile of hashes.
    Tile,
    /// A bundle of entries.
    Entries,
    /// Register leaves.
    Registers,
    /// What those who run the node ask.
    Admin,
    /// Anything else.
    Other,
}

impl Metrics {
    /// Takes over what a node says of itself, and how far its tiles can be read.
    pub fn observe(&self, status: &NodeStatus, tiles_size: u64) {
        let all = &self.0;
        all.size.set(gauge(status.size));
        all.tiles.set(gauge(tiles_size));
        all.registers.set(gauge(status.registers));
        all.sessions.set(gauge(status.sessions));
        all.term.set(gauge(status.term));
        all.last_log.set(gauge(status.last_log_index.unwrap_or_default()));
        all.applied.set(gauge(status.applied_index.unwrap_or_default()));
        for role in NodeRole::ALL {
            let has = i64::from(*role == status.role);
            all.role.with_label_values(&[role.as_str()]).set(has);
        }
        all.trusted.set(i64::from(status.trust == NodeTrust::Trusted));
        let disk = &status.disk;
        for (what, bytes) in [("log", disk.log_bytes), ("free", disk.free_bytes)] {
            all.disk.with_label_values(&[what]).set(gauge(bytes));
        }
    }

    /// Takes over what is published and witnessed, and how the witnesses are.
    pub fn observe_checkpoints(&self, checkpoints: &Checkpoints) {
        let all = &self.0;
        let shown = |size: &IntGauge, age: &IntGauge, shown: Option<Arc<Published>>| {
            size.set(gauge(shown.as_ref().map_or(0, |shown| shown.head.size)));
            age.set(gauge(shown.map_or(0, |shown| shown.age().as_secs())));
        };
        shown(&all.published, &all.published_age, checkpoints.last());
        shown(&all.witnessed, &all.witnessed_age, checkpoints.witnessed());
        // An alarm on what grows needs to have seen it at nothing.
        for why in Why::ALL {
            all.witness_refused.with_label_values(&[why.as_str()]).inc_by(0);
        }
        // At most 16 are in force: whoever is not any more is not shown either.
        all.cosignature_age.reset();
        for seen in checkpoints.witnesses() {
            if let Some(age) = seen.age() {
                all.cosignature_age.with_label_values(&[&seen.name]).set(gauge(age.as_secs()));
            }
        }
    }

    /// Counts a witness that did not cosign.
    pub(crate) fn witness_refused(&self, why: Why) {
        self.0.witness_refused.with_label_values(&[why.as_str()]).inc();
    }

    /// Counts a witness that did not answer.
    pub(crate) fn witness_silent(&self, witness: &str) {
        self.0.witness_silent.with_label_values(&[witness]).inc();
    }

    /// Takes over what was counted at the endpoint for agents.
    pub fn observe_agents(&self, counters: &Counters) {
        let kinds = [
            ("refused", &counters.refused),
            ("unwelcome", &counters.unwelcome),
            ("malformed", &counters.malformed),
            ("stalled", &counters.stalled),
            ("submission", &counters.submissions),
            ("query", &counters.queries),
        ];
        for (what, count) in kinds {
            let counter = self.0.agents.with_label_values(&[what]);
            counter.inc_by(count.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
    }

    /// Takes over who vouched for the directory last.
    pub fn vouched(&self, vouched: Option<Vouched>) {
        self.0.vouched.set(gauge(vouched.map_or(0, |vouched| vouched.at_ms / 1000)));
    }

    /// Counts what came of a proposal.
    pub fn applied(&self, proposal: &Proposal, applied: &Applied) {
        self.0.entries.inc_by(applied.hashes.len() as u64);
        for (submission, verdict) in proposal.submissions.iter().zip(&applied.verdicts) {
            let Submission::Batch(batch) = submission else { continue };
            let verdict = match verdict {
                Verdict::Accepted(_) => "accepted",
                Verdict::Rejected(Rejection::Stale(_)) => "stale",
                Verdict::Rejected(_) => "rejected",
                Verdict::Founded | Verdict::SessionStarted(_) | Verdict::Halted => continue,
            };
            self.0.batches.with_label_values(&[lane_text(batch.lane), verdict]).inc();
        }
    }

    /// A proposal of this node was applied after this time.
    pub fn committed(&self, after: Duration) {
        self.0.commit.observe(after.as_secs_f64());
    }

    /// Counts a peer whose certificate was refused.
    pub fn refused(&self, why: IdentityError) {
        self.0.refused.with_label_values(&[why.code()]).inc();
    }

    /// Counts a request over HTTPS.
    pub fn request(&self, route: Route, status: StatusCode) {
        let class = match status.as_u16() {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.0.requests.with_label_values(&[route.as_str(), class]).inc();
    }

    /// All of them, in Prometheus's text format 0.0.4.
    ///
    /// # Errors
    /// [`prometheus::Error`] if one can't be written.
    pub fn to_text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Route {
    /// The route of a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            "/checkpoint" | "/checkpoint/witnessed" => Self::Checkpoint,
            "/registers" => Self::Registers,
            _ if path.starts_with("/tile/entries/") => Self::Entries,
            _ if path.starts_with("/tile/") => Self::Tile,
            _ if path.starts_with("/admin/") => Self::Admin,
            _ => Self::Other,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Tile => "tile",
            Self::Entries => "entries",
            Self::Registers => "registers",
            Self::Admin => "admin",
            Self::Other => "other",
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(…)")
    }
}

/// Makes a metric of its kind.
trait Make: Collector + Clone + Sized {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error>;
}

impl Make for IntGauge {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::with_opts(Opts::new(name, help))
    }
}

impl Make for IntGaugeVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Make for IntCounter {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::with_opts(Opts::new(name, help))
    }
}

impl Make for IntCounterVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Make for Histogram {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))
    }
}

const fn lane_text(lane: Lane) -> &'static str {
    match lane {
        Lane::Conditional => "conditional",
        Lane::Unconditional => "unconditional",
        Lane::Register => "register",
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use tally_core::entry::Algorithm;
    use tally_core::id::{LeafIndex, SessionId};
    use tally_core::ledger::Batch;
    use tally_core::time::Timestamp;
    use tally_log::{Hash, Signature};

    use super::*;
    use crate::published::Board;

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
        let rejections = [Rejection::Stale(Vec::new()), Rejection::WrongEpoch];
        Applied {
            first_leaf: LeafIndex(7),
            verdicts: rejections.map(Verdict::Rejected).to_vec(),
            hashes: vec![Hash::default(); 3],
        }
    }

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new().unwrap();
        metrics.applied(&proposal(), &applied());
        metrics.committed(Duration::from_millis(3));
        let counters = Counters::default();
        for count in [2, 5] {
            counters.stalled.store(count, Ordering::Relaxed);
            metrics.observe_agents(&counters);
        }
        metrics.refused(IdentityError::Expired);
        metrics.witness_refused(Why::History);
        metrics.witness_silent("witness.example/w1");
        metrics.observe_checkpoints(&Board::default().checkpoints());
        metrics.request(Route::of("/tile/entries/000"), StatusCode::FORBIDDEN);
        metrics.request(Route::of("/tile/0/000"), StatusCode::OK);
        metrics.request(Route::of("/who/knows"), StatusCode::NOT_FOUND);
        let text = String::from_utf8(metrics.to_text().unwrap()).unwrap();
        for line in [
            "tally_ledger_batches_total{lane=\"conditional\",verdict=\"stale\"} 1",
            "tally_ledger_batches_total{lane=\"register\",verdict=\"rejected\"} 1",
            "tally_ledger_entries_total 3",
            "tally_ledger_agents_total{what=\"stalled\"} 5",
            "tally_ledger_commit_seconds_bucket{le=\"0.005\"} 1",
            "tally_ledger_commit_seconds_bucket{le=\"0.002\"} 0",
            "tally_ledger_connections_refused_total{code=\"certificate-expired\"} 1",
            "tally_ledger_witness_refused_total{why=\"other-history\"} 1",
            "tally_ledger_witness_refused_total{why=\"bad-signature\"} 0",
            "tally_ledger_witness_unanswered_total{witness=\"witness.example/w1\"} 1",
            "tally_ledger_witnessed_size_leaves 0",
            "tally_ledger_https_requests_total{route=\"entries\",status=\"4xx\"} 1",
            "tally_ledger_https_requests_total{route=\"tile\",status=\"2xx\"} 1",
            "tally_ledger_https_requests_total{route=\"other\",status=\"4xx\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }
}
