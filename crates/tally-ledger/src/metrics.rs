//! A ledger node's metrics: all their names are in this file. Labels are words of closed enums, or
//! numbers of the cluster's nodes, or names of witnesses from their register, which holds 16 at most: no
//! caller can make a new series.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tally_net::{Identity, IdentityError};

use crate::frame::Vouched;
use crate::https::{NodeRole, NodeStatus, NodeTrust};
use crate::published::{Checkpoints, Published};
use crate::server::Counters;
use crate::witnesses::Why;
use counted::Counts;

mod counted;

pub use counted::TurnedAway;

/// Seconds: from a fast disk's sync to a lost quorum.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
/// Counts: from one to the most that a batch or a proposal holds.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

macro_rules! metrics {
    ($($field:ident: $type:ident, $name:literal, $labels:expr, $help:literal;)*) => {
        /// The metrics of this process. Cheap to clone.
        #[derive(Clone)]
        pub struct Metrics(Arc<All>);

        struct All {
            registry: Registry,
            $($field: $type,)*
        }

        /// Name, labels and meaning of each: what the page about them is made of.
        pub const METRICS: &[(&str, &[&str], &str)] = &[$(($name, $labels, $help),)*];

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
    certificate_expiry: IntGauge, "tally_ledger_certificate_expiry_timestamp_seconds", &[],
        "When the certificate that is presented ends, in seconds since 1970.";
    voters: IntGauge, "tally_ledger_voters", &[],
        "Nodes that vote, as this node knows.";
    learners: IntGauge, "tally_ledger_learners", &[],
        "Nodes that replicate without a vote, as this node knows.";
    peer_lag: IntGaugeVec, "tally_ledger_peer_lag_entries", &["node"],
        "Raft entries that each other node lacks; only the leader knows.";
    disk: IntGaugeVec, "tally_ledger_disk_bytes", &["what"],
        "Bytes on the disk: of the log, and free.";
    batches: IntCounterVec, "tally_ledger_batches_total", &["lane", "verdict"],
        "Batches that this node has applied, by lane and verdict.";
    entries: IntCounter, "tally_ledger_entries_total", &[],
        "Leaves that this node has applied since it started.";
    stale: IntCounterVec, "tally_ledger_stale_batches_total", &["kind"],
        "Batches that rested on a register which had moved, by the kind of register; one that rested on several kinds counts for each.";
    rejected: IntCounterVec, "tally_ledger_rejected_total", &["code"],
        "Submissions that the rules rejected, by code.";
    turned_away: IntCounterVec, "tally_ledger_turned_away_total", &["why"],
        "Submissions that this node did not propose: too much of their member waited, they were another member's, they raise the rules beyond what most nodes know, or they would cut off so many voters that no majority is left.";
    batch_leaves: Counts, "tally_ledger_batch_leaves", &[],
        "Entries in a batch that was accepted.";
    proposal_submissions: Counts, "tally_ledger_proposal_submissions", &[],
        "Submissions in a Raft entry, batches and session starts.";
    commit: Seconds, "tally_ledger_commit_seconds", &[],
        "Seconds from a proposal of this node, as leader, until it is committed and applied.";
    fsync: Seconds, "tally_ledger_fsync_seconds", &[],
        "Seconds that a sync of the log took.";
    segments: IntGauge, "tally_ledger_segments", &[],
        "Segments of the log.";
    segment_bytes: IntGauge, "tally_ledger_segment_bytes", &[],
        "Bytes in the segment that is written, durable ones: it is closed when it is full.";
    held: IntGauge, "tally_ledger_held_bytes", &[],
        "Bytes that were read back from the log and that somebody still has: a peer that is being sent them, or whoever applies them.";
    halves_missing: IntGauge, "tally_ledger_halves_missing", &[],
        "Requesters' halves that are missing: a minute after the provider's close they were not on the ledger. Of the newest million leaves when the node began to lead and all since; only the leader knows, others say 0.";
    leader_changes: IntCounter, "tally_ledger_leader_changes_total", &[],
        "How often this node has learnt of another leader than before.";
    protocol: IntGaugeVec, "tally_ledger_protocol_version", &["what"],
        "Versions of the rules: in force, the newest that this node knows, and the one that it met and does not know, 0 if it met none.";
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
    /// A member's own entries.
    Own,
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
        all.voters.set(gauge(status.voters.len() as u64));
        all.learners.set(gauge(status.learners.len() as u64));
        // A node that is gone, or a leader that is none any more, leaves no figure behind.
        all.peer_lag.reset();
        for (node, behind) in &status.peer_lags {
            all.peer_lag.with_label_values(&[&node.to_string()]).set(gauge(*behind));
        }
        all.segments.set(gauge(status.disk.segments));
        all.segment_bytes.set(gauge(status.disk.segment_bytes));
        all.held.set(gauge(status.disk.held_bytes));
        let rules = &status.rules;
        for (what, version) in [
            ("in-force", status.protocol),
            ("known", rules.known),
            ("halted-at", rules.halted_at.unwrap_or_default()),
        ] {
            all.protocol.with_label_values(&[what]).set(gauge(version));
        }
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

    /// Takes over how many halves are missing.
    pub(crate) fn halves_missing(&self, count: usize) {
        self.0.halves_missing.set(gauge(u64::try_from(count).unwrap_or(u64::MAX)));
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

    /// Takes over when the certificate ends that is presented from now on.
    pub fn certificate(&self, identity: &Identity) {
        let until_s = identity.validity().map_or(0, |validity| validity.until_s);
        self.0.certificate_expiry.set(until_s);
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
            "/checkpoint" => Self::Checkpoint,
            "/registers" => Self::Registers,
            "/own" => Self::Own,
            _ if path.starts_with("/checkpoint/") => Self::Checkpoint,
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
            Self::Own => "own",
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

/// How long something took.
type Seconds = Histogram;

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

impl Make for Seconds {
    fn make(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use tally_core::id::NodeId;

    use super::*;
    use crate::published::Board;

    #[test]
    fn a_node_that_is_gone_leaves_no_figure_behind() {
        let metrics = Metrics::new().unwrap();
        let lags = |lags: &[(u64, u64)]| {
            let peer_lags = lags.iter().map(|(node, lag)| (NodeId(*node), *lag)).collect();
            let status = NodeStatus { peer_lags, ..crate::https::tests::status() };
            metrics.observe(&status, 5);
            let text = String::from_utf8(metrics.to_text().unwrap()).unwrap();
            let lines = text.lines().filter(|line| line.starts_with("tally_ledger_peer_lag"));
            let voters = text.lines().any(|line| line == "tally_ledger_voters 3");
            (lines.map(str::to_owned).collect::<Vec<_>>(), voters)
        };
        let line =
            |node: u64, lag: u64| format!("tally_ledger_peer_lag_entries{{node=\"{node}\"}} {lag}");
        assert_eq!(lags(&[(2, 0), (4, 700)]), (vec![line(2, 0), line(4, 700)], true));
        assert_eq!(lags(&[(2, 9)]), (vec![line(2, 9)], true));
        assert_eq!(lags(&[]), (vec![], true));
    }

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new().unwrap();
        let counters = Counters::default();
        for count in [2, 5] {
            counters.stalled.store(count, Ordering::Relaxed);
            metrics.observe_agents(&counters);
        }
        metrics.leader_changed();
        metrics.refused(IdentityError::Expired);
        metrics.witness_refused(Why::History);
        metrics.witness_silent("witness.example/w1");
        metrics.observe_checkpoints(&Board::default().checkpoints());
        metrics.request(Route::of("/tile/entries/000"), StatusCode::FORBIDDEN);
        metrics.request(Route::of("/tile/0/000"), StatusCode::OK);
        metrics.request(Route::of("/who/knows"), StatusCode::NOT_FOUND);
        let text = String::from_utf8(metrics.to_text().unwrap()).unwrap();
        for line in [
            "tally_ledger_leader_changes_total 1",
            "tally_ledger_agents_total{what=\"stalled\"} 5",
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
