//! The limits of an agent, out of what its configuration says of them.

use std::sync::Arc;
use std::time::Duration;

use tally_core::limits::Limits;

use crate::config::{AgentConfig, AgentLimits};
use crate::http::{HttpLimits, Shedding};
use crate::metrics::Metrics;

/// How many applications the ingress speaks with at once, and who counts those that it does not, of its
/// own and of its sidecars.
pub(super) fn taken_on(
    config: &AgentConfig,
    metrics: &Metrics,
) -> (HttpLimits, Shedding, Shedding) {
    let mut limits = HttpLimits::default();
    if let Some(connections_max) = config.limits.ingress_connections_max {
        limits.connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX).max(1);
    }
    let counted = |at: &'static str| {
        let metrics = metrics.clone();
        Shedding::new(Arc::new(move |shed| metrics.connection_shed(at, shed)))
    };
    (limits, counted("ingress"), counted("sidecars"))
}

/// How long a decision may take: a body of many megabytes is cut in it. Less than answers are waited for,
/// with what source and ledger may take.
const DECIDE_WAIT_MAX: Duration = Duration::from_secs(12);

pub(crate) fn limits(configured: &AgentLimits) -> Limits {
    let default = Limits::default();
    let or = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    let exchanges_max = or(configured.exchanges_max, default.exchanges_max);
    let requests_max = or(configured.requests_max, default.requests_max);
    // Of one place nobody can be kept out.
    let of_member = (exchanges_max - exchanges_max / 4).max(1);
    Limits {
        exchanges_max,
        exchanges_per_member_max: or(configured.exchanges_per_member_max, of_member),
        exchanges_per_source_max: or(
            configured.exchanges_per_source_max,
            (exchanges_max / 2).max(1),
        ),
        requests_max,
        requests_per_user_max: or(configured.requests_per_user_max, (requests_max / 4).max(1)),
        care_reserve_percent: configured
            .care_reserve_percent
            .unwrap_or(default.care_reserve_percent),
        outbox_entries_max: or(configured.outbox_entries_max, default.outbox_entries_max),
        refusals_max: configured
            .refusals_max
            .map_or(default.refusals_max, |value| u32::try_from(value).unwrap_or(u32::MAX)),
        break_glass_max: seconds(configured.break_glass_seconds, default.break_glass_max),
        break_glass_reason_chars_min: or(
            configured.break_glass_reason_chars_min,
            default.break_glass_reason_chars_min,
        ),
        review_wait_max: seconds(configured.review_wait_seconds, default.review_wait_max),
        offline_feed_age_max: seconds(
            configured.offline_feed_age_seconds,
            default.offline_feed_age_max,
        ),
        drain_wait_max: seconds(configured.drain_wait_seconds, default.drain_wait_max),
        decide_wait_max: DECIDE_WAIT_MAX,
        spool_bytes_max: configured.spool_bytes_max.unwrap_or(default.spool_bytes_max),
        spool_total_bytes_max: configured
            .spool_total_bytes_max
            .unwrap_or(default.spool_total_bytes_max),
        ..default
    }
}

fn seconds(configured: Option<u64>, default: Duration) -> Duration {
    configured.map_or(default, Duration::from_secs)
}
