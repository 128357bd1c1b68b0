//! In which epoch of the ledger the agent is, and what the last recovery cost its member.

use prometheus::{IntGauge, Registry};

use super::Metrics;

pub(super) struct EpochMetrics {
    epoch: IntGauge,
    lost: IntGauge,
}

impl EpochMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let epoch = IntGauge::new(
            "tally_agent_ledger_epoch",
            "The ledger's epoch: one more after each forced recovery.",
        )?;
        let lost = IntGauge::new(
            "tally_agent_lost_leaves",
            "Leaves about this member that recoveries of the ledger gave up; the store keeps them.",
        )?;
        registry.register(Box::new(epoch.clone()))?;
        registry.register(Box::new(lost.clone()))?;
        Ok(Self { epoch, lost })
    }
}

impl Metrics {
    /// The agent works in this epoch, after so many leaves about its member were lost.
    pub fn in_epoch(&self, epoch: u64, lost: u64) {
        self.0.epoch.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        self.0.epoch.lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
    }
}
