//! The agent's own certificate.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tally_core::time::Timestamp;
use tally_net::Turn;

use super::Metrics;

pub(super) struct CertificateMetrics {
    expiry: IntGauge,
    reloads: IntCounterVec,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let expiry = IntGauge::new(
            "tally_agent_certificate_expiry_timestamp_seconds",
            "When the certificate that is presented ends, in seconds since 1970.",
        )?;
        let reloads = IntCounterVec::new(
            Opts::new(
                "tally_agent_certificate_reloads_total",
                "Times that other certificate files were found: replaced, or kept what was, because \
                 what was found can't be used.",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(expiry.clone()))?;
        registry.register(Box::new(reloads.clone()))?;
        Ok(Self { expiry, reloads })
    }

    pub(super) fn show(&self, until: Option<Timestamp>) {
        let until_s = until.map_or(0, |until| until.0 / 1000);
        self.expiry.set(i64::try_from(until_s).unwrap_or(i64::MAX));
    }
}

impl Metrics {
    /// Other certificate files were found.
    pub fn certificate_turned(&self, turn: &Turn) {
        let outcome = match turn {
            Turn::Same => return,
            Turn::Replaced => "replaced",
            Turn::Kept(_) => "kept",
        };
        self.0.certificate.reloads.with_label_values(&[outcome]).inc();
    }
}
