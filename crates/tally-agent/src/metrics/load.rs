//! What the agent did not take on: connections, handshakes and streams.

use prometheus::{IntCounterVec, Opts, Registry};

use super::Metrics;
use crate::http::Shed;

pub(super) struct LoadMetrics {
    connections: IntCounterVec,
    handshakes: IntCounterVec,
}

impl LoadMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let connections = IntCounterVec::new(
            Opts::new(
                "tally_agent_connections_shed_total",
                "HTTP connections that ended unserved, at the ingress, at what sidecars carry to it, \
                 and at health: no place was left (full), nothing was asked and somebody else came (silent), a request came too \
                 slowly (slow) or was none (malformed), no handshake (handshake).",
            ),
            &["at", "why"],
        )?;
        let handshakes = IntCounterVec::new(
            Opts::new(
                "tally_agent_quic_admissions_total",
                "What became of those who dialled this agent over QUIC.",
            ),
            &["what"],
        )?;
        for at in ["ingress", "sidecars", "health"] {
            for shed in Shed::ALL {
                connections.with_label_values(&[at, shed.word()]).reset();
            }
        }
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(handshakes.clone()))?;
        Ok(Self { connections, handshakes })
    }

    pub(super) fn show(&self, admissions: &[(&'static str, u64)]) {
        for (what, count) in admissions {
            let counter = self.handshakes.with_label_values(&[*what]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}

impl Metrics {
    /// A connection ended unserved, at one of the agent's HTTP servers.
    pub fn connection_shed(&self, at: &'static str, shed: Shed) {
        self.0.load.connections.with_label_values(&[at, shed.word()]).inc();
    }
}
