//! What a sidecar measures, in Prometheus' text format.

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;

/// Counts. Cheap to clone.
#[derive(Clone)]
pub(super) struct SidecarMetrics(Arc<All>);

struct All {
    registry: Registry,
    connections: IntGauge,
    ended: IntCounterVec,
    bytes: IntCounterVec,
    dials: IntCounterVec,
    connected: IntGauge,
    ready: IntGauge,
    expiry: IntGauge,
}

/// How a dial to the agent ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialled {
    Connected,
    Failed,
    Refused,
}

/// A connection of an application, counted as long as this lives.
pub(super) struct Counted(SidecarMetrics);

impl SidecarMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counters = |name, help, label| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let connections =
            gauge("tally_sidecar_connections", "Connections of applications that there are.")?;
        let ended = counters(
            "tally_sidecar_connections_total",
            "Connections of applications that ended, by code: carried, or what they were refused.",
            "code",
        )?;
        let bytes = counters(
            "tally_sidecar_bytes_total",
            "Bytes that were carried: from applications, and to them.",
            "direction",
        )?;
        let dials = counters(
            "tally_sidecar_dials_total",
            "Dials to the agent: connected, failed, or refused by either side's certificate.",
            "outcome",
        )?;
        let connected = gauge("tally_sidecar_connected", "1 if the agent is reached.")?;
        let ready = gauge("tally_sidecar_ready", "1 if the sidecar serves.")?;
        let expiry = gauge(
            "tally_sidecar_certificate_expiry_timestamp_seconds",
            "When the certificate that is presented ends, in seconds since 1970.",
        )?;
        let all = All {
            registry: registry.clone(),
            connections,
            ended,
            bytes,
            dials,
            connected,
            ready,
            expiry,
        };
        Ok(Self(Arc::new(all)))
    }

    /// An application has connected.
    pub(super) fn connected(&self) -> Counted {
        self.0.connections.inc();
        Counted(self.clone())
    }

    pub(super) fn said(&self, len: usize) {
        self.count("from-application", len);
    }

    pub(super) fn answered(&self, len: usize) {
        self.count("to-application", len);
    }

    fn count(&self, direction: &str, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.0.bytes.with_label_values(&[direction]).inc_by(len);
    }

    pub(super) fn dialled(&self, outcome: Dialled) {
        let outcome = match outcome {
            Dialled::Connected => "connected",
            Dialled::Failed => "failed",
            Dialled::Refused => "refused",
        };
        self.0.dials.with_label_values(&[outcome]).inc();
    }

    /// All of it as text.
    pub(super) fn to_text(
        &self,
        (connected, ready): (bool, bool),
        until: Option<Timestamp>,
    ) -> Result<String, prometheus::Error> {
        self.0.connected.set(connected.into());
        self.0.ready.set(ready.into());
        let until_s = until.map_or(0, |until| until.0 / 1000);
        self.0.expiry.set(i64::try_from(until_s).unwrap_or(i64::MAX));
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }
}

impl Counted {
    /// It has ended: carried, or refused.
    pub(super) fn ended(self, refused: Option<Refusal>) {
        let code = refused.map_or("carried", Refusal::code);
        self.0.0.ended.with_label_values(&[code]).inc();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.connections.dec();
    }
}
