//! Where the national data opt-out reaches this member's data, and for how long an answer may be used.

use std::time::Duration;

use tally_core::entry::OptOutExemption;
use tally_core::file::Words;

use crate::clock::wall;
use crate::source::OptOutScope;
use crate::store::Store;

/// How old an answer may be, in seconds: 7 days.
const ANSWER_AGE_MAX_S: u64 = 7 * 24 * 60 * 60;
/// No longer than this between two looks for answers that are too old.
const FORGET_EACH_MAX: Duration = Duration::from_secs(60);

/// The nations, by whose rules data was collected: the opt-out is England's.
pub(crate) const NATIONS: Words<Nation> = &[
    ("england", Nation::England),
    ("wales", Nation::Wales),
    ("scotland", Nation::Scotland),
    ("northern-ireland", Nation::NorthernIreland),
];

/// Where a member's data was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nation {
    /// The opt-out reaches what health and adult social care collected here.
    #[default]
    England,
    /// No national opt-out.
    Wales,
    /// No national opt-out.
    Scotland,
    /// No national opt-out.
    NorthernIreland,
}

/// What a member's configuration says of the opt-out, `[opt_out]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutSettings {
    /// Where its data was collected. Default England: there the opt-out is asked.
    pub nation: Nation,
    /// How old an answer may be, counted from its request. Default 7 days.
    pub answer_age_max: Duration,
    /// The MESH mailbox that requests are sent from; it begins the names of files.
    pub mailbox: Option<String>,
}

impl Default for OptOutSettings {
    fn default() -> Self {
        Self {
            nation: Nation::England,
            answer_age_max: Duration::from_secs(ANSWER_AGE_MAX_S),
            mailbox: None,
        }
    }
}

impl OptOutSettings {
    /// Why the opt-out does not reach a source; none if it does.
    #[must_use]
    pub const fn exemption(&self, source: OptOutScope) -> Option<OptOutExemption> {
        match (self.nation, source) {
            (Nation::England, OptOutScope::Care) => None,
            (Nation::England, OptOutScope::NotCare) => Some(OptOutExemption::NotCare),
            _ => Some(OptOutExemption::OtherNation),
        }
    }
}

/// Deletes what is known of people as soon as it may not be used any more, for ever.
pub(crate) async fn forget_for_ever(store: Store, age_max: Duration) {
    let each = (age_max / 2).clamp(Duration::from_millis(500), FORGET_EACH_MAX);
    loop {
        let age_max_ms = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        let before = tally_core::time::Timestamp(wall().0.saturating_sub(age_max_ms));
        match store.forget_opt_outs(before).await {
            Ok(0) => {}
            // How many would be told too often: each time the same check runs out.
            Ok(_) => tracing::info!("opt-out answers ran out"),
            Err(crate::store::StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "opt-out answers that ran out can't be deleted"),
        }
        tokio::time::sleep(each).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opt_out_reaches_englands_care_data_and_nothing_else() {
        let settings = OptOutSettings::default();
        assert_eq!(settings.exemption(OptOutScope::Care), None);
        assert_eq!(settings.exemption(OptOutScope::NotCare), Some(OptOutExemption::NotCare));
        for nation in [Nation::Wales, Nation::Scotland, Nation::NorthernIreland] {
            let elsewhere = OptOutSettings { nation, ..OptOutSettings::default() };
            for source in [OptOutScope::Care, OptOutScope::NotCare] {
                assert_eq!(elsewhere.exemption(source), Some(OptOutExemption::OtherNation));
            }
        }
    }
}
