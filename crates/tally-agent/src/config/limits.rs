//! What a person who runs an agent may limit.

use tally_core::file::{Keys, Section, Value};

/// What a person who runs an agent may limit; defaults and meanings as in
/// [`Limits`](tally_core::limits::Limits).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentLimits {
    /// Exchanges in flight as provider.
    pub exchanges_max: Option<u64>,
    /// Those of them that one requester may have. Default 768, or three quarters of the others.
    pub exchanges_per_member_max: Option<u64>,
    /// Those of them that wait for one source. Default 512, or half of them.
    pub exchanges_per_source_max: Option<u64>,
    /// Exchanges in flight as requester.
    pub requests_max: Option<u64>,
    /// Those of them that one user may have. Default 256, or a quarter of them.
    pub requests_per_user_max: Option<u64>,
    /// Of a hundred places, those that care alone may take, 0 to 100.
    pub care_reserve_percent: Option<u8>,
    /// Connections of applications. Default 1,024.
    pub ingress_connections_max: Option<u64>,
    /// Entries that wait in the outbox.
    pub outbox_entries_max: Option<u64>,
    /// Refusals per requester and code in a window that become entries of their own.
    pub refusals_max: Option<u64>,
    /// How long a break-glass episode lasts, in seconds. Default 3,600.
    pub break_glass_seconds: Option<u64>,
    /// Characters of the reason for breaking the glass. Default 10.
    pub break_glass_reason_chars_min: Option<u64>,
    /// When the review of a break-glass access is overdue, in seconds. Default 432,000: five days.
    pub review_wait_seconds: Option<u64>,
    /// How long ago the registers may have been heard for an emergency without the ledger, in seconds.
    /// Default 86,400: a day.
    pub offline_feed_age_seconds: Option<u64>,
    /// How long the agent lets what it has begun go on once it is told to end, in seconds. Default 30.
    pub drain_wait_seconds: Option<u64>,
    /// Bytes of a body about people that is spooled. Default 256 MiB.
    pub spool_bytes_max: Option<u64>,
    /// Bytes of all of them together. Default 1 GiB.
    pub spool_total_bytes_max: Option<u64>,
}

pub(super) fn read(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<AgentLimits> {
    let mut table = section.table(keys, "limits");
    let mut limit = |key| match section.reader.optional(&mut table, key) {
        None => Some(None),
        Some(value) => section.reader.number(&value).map(Some),
    };
    let exchanges = limit("exchanges_max");
    let of_member = limit("exchanges_per_member_max");
    let of_source = limit("exchanges_per_source_max");
    let requests = limit("requests_max");
    let of_user = limit("requests_per_user_max");
    let connections = limit("ingress_connections_max");
    let outbox = limit("outbox_entries_max");
    let refusals = limit("refusals_max");
    let break_glass = limit("break_glass_seconds");
    let reason = limit("break_glass_reason_chars_min");
    let review = limit("review_wait_seconds");
    let offline = limit("offline_feed_age_seconds");
    let drain = limit("drain_wait_seconds");
    let (spool, spools) = (limit("spool_bytes_max"), limit("spool_total_bytes_max"));
    let reserve = match section.reader.optional(&mut table, "care_reserve_percent") {
        None => Some(None),
        Some(value) => percent(section, &value).map(Some),
    };
    section.reader.close(table);
    Some(AgentLimits {
        exchanges_max: exchanges?,
        exchanges_per_member_max: of_member?,
        exchanges_per_source_max: of_source?,
        requests_max: requests?,
        requests_per_user_max: of_user?,
        care_reserve_percent: reserve?,
        ingress_connections_max: connections?,
        outbox_entries_max: outbox?,
        refusals_max: refusals?,
        break_glass_seconds: break_glass?,
        break_glass_reason_chars_min: reason?,
        review_wait_seconds: review?,
        offline_feed_age_seconds: offline?,
        drain_wait_seconds: drain?,
        spool_bytes_max: spool?,
        spool_total_bytes_max: spools?,
    })
}

fn percent(section: &mut Section<'_, '_>, value: &Value<'_>) -> Option<u8> {
    let percent = section.reader.number(value)?;
    let fits = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
    if fits.is_none() {
        section.reader.complain(value, "expected 0 to 100");
    }
    fits
}
