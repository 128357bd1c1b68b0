//! Everything has a limit, and a refusal for when it is reached. These are an agent's.
//!
//! The ledger's own limits are part of its rules, so they stand with [`entry`](crate::entry) and
//! change only with the protocol register.

use std::time::Duration;

use crate::id::Purpose;
use crate::purpose::{Class, class_of};

/// The limits of one agent. [`Limits::default`] is what the mesh expects; an operator may tighten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Exchanges in flight as provider, those included whose outcome the ledger still owes.
    /// Default 1,024. Then `too-busy`.
    pub exchanges_max: usize,
    /// Those of them that one requester may have, so that its flood leaves room for the others. Default
    /// 768. Then `quota-exceeded`.
    pub exchanges_per_member_max: usize,
    /// Exchanges as provider that wait for one source to describe what was asked for. Default 512. Then
    /// `too-busy`: a source that answers slowly leaves places for the others.
    pub exchanges_per_source_max: usize,
    /// Exchanges in flight as requester. Default 1,024. Then `too-busy`, at the own ingress.
    pub requests_max: usize,
    /// Those of them that one user may have. Default 256. Then `user-quota-exceeded`, at the own
    /// ingress. An application that asks for itself is limited by the line above alone.
    pub requests_per_user_max: usize,
    /// Of a hundred places for exchanges, at either side, those that care alone may take. Default 25.
    /// While only these are free, everything else is told `kept-for-care`.
    pub care_reserve_percent: u8,
    /// Ids of ended exchanges that are remembered, so that a repeated one is refused as
    /// `protocol-violated`. Default 16,384.
    pub exchange_ids_kept_max: usize,
    /// How long a source may take to describe what was asked for. Default 10 s. Then
    /// `source-unavailable`.
    pub source_wait_max: Duration,
    /// How long a decision may take. Default 5 s. Then `timed-out`.
    pub decide_wait_max: Duration,
    /// How often one exchange is decided, if registers move meanwhile. Default 3. Then
    /// `registers-changing`.
    pub decide_attempts_max: u32,
    /// How long an exchange waits for the ledger, from submission. Default 1.5 s. Then
    /// `ledger-unavailable`, and an entry that is there after all is closed as nothing-sent.
    pub record_wait_max: Duration,
    /// How long after submission a release may still begin: what was true then is true enough.
    /// Default 2 s, the same for all members: a missing half is judged by it. Then `timed-out`.
    pub release_start_max: Duration,
    /// Age of the register feed at which nothing is released any more. Default 5 s. Then
    /// `feed-stale`.
    pub feed_age_max: Duration,
    /// Age of the register feed at which not even an emergency is released any more, where an agreement
    /// allows it without the ledger: what was heard so long ago decides about nobody. Default 24 h.
    /// Then `feed-stale`.
    pub offline_feed_age_max: Duration,
    /// How long a release may stand still. Default 30 s. Then `broken-off`.
    pub stall_max: Duration,
    /// How long the requester waits for an answer. Default 30 s, more than source, decisions and
    /// ledger may take. Then `unreachable`.
    pub answer_wait_max: Duration,
    /// How long after the provider's close (or, for a body that was read before the decision, after
    /// its seal's time + [`release_start_max`](Self::release_start_max)) the requester's half is
    /// open rather than missing. Default 60 s.
    pub half_wait_max: Duration,
    /// Refusals per requester and code that become entries of their own in each
    /// [`refusal_window`](Self::refusal_window). Default 20. Those above become one entry with
    /// their number.
    pub refusals_max: u32,
    /// For how long refusals are counted together. Default 60 s.
    pub refusal_window: Duration,
    /// Pairs of requester and code that are counted at once. Default 4,096. The oldest window then
    /// ends early.
    pub refusal_windows_max: usize,
    /// Entries that wait in the outbox. Default 65,536. While it is full, nothing that would owe
    /// an entry begins: `too-busy`.
    pub outbox_entries_max: usize,
    /// How long a break-glass episode lasts: for so long after its first half, reads of the same person
    /// by the same user of the same member belong to it. Default 60 minutes. After it the next one
    /// begins, with an alert and a review of its own.
    pub break_glass_max: Duration,
    /// Characters of the reason for breaking the glass, without the blanks around it. Default 10.
    /// Then `reason-too-short`.
    pub break_glass_reason_chars_min: usize,
    /// How long after a break-glass access its review is due. Default 5 days. Then it counts as
    /// overdue, in metrics and in `tally breakglass list`.
    pub review_wait_max: Duration,
    /// Bytes of a body that is read into memory before the decision. Default 1 MiB; larger ones are
    /// spooled.
    pub body_bytes_max: u64,
    /// Bytes of a body about people that is spooled before the decision. Default 256 MiB. Then
    /// `too-large`.
    pub spool_bytes_max: u64,
    /// Bytes of all spooled bodies together, before and after minimisation. Default 1 GiB. Then
    /// `spool-full`.
    pub spool_total_bytes_max: u64,
    /// Bytes of a document that can only be described and minimised as a whole, in memory, such as a
    /// FHIR resource. Default 16 MiB. Then `too-large`.
    pub document_bytes_max: u64,
    /// How long a drain lets exchanges go on before it breaks them off. Default 30 s. New ones get
    /// `drain-in-progress`.
    pub drain_wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges_max: 1024,
            exchanges_per_member_max: 768,
            exchanges_per_source_max: 512,
            requests_max: 1024,
            requests_per_user_max: 256,
            care_reserve_percent: 25,
            exchange_ids_kept_max: 16 * 1024,
            source_wait_max: Duration::from_secs(10),
            decide_wait_max: Duration::from_secs(5),
            decide_attempts_max: 3,
            record_wait_max: Duration::from_millis(1500),
            release_start_max: Duration::from_secs(2),
            feed_age_max: Duration::from_secs(5),
            offline_feed_age_max: Duration::from_secs(24 * 60 * 60),
            stall_max: Duration::from_secs(30),
            answer_wait_max: Duration::from_secs(30),
            half_wait_max: Duration::from_secs(60),
            refusals_max: 20,
            refusal_window: Duration::from_secs(60),
            refusal_windows_max: 4096,
            outbox_entries_max: 64 * 1024,
            break_glass_max: Duration::from_secs(60 * 60),
            break_glass_reason_chars_min: 10,
            review_wait_max: Duration::from_secs(5 * 24 * 60 * 60),
            body_bytes_max: 1024 * 1024,
            spool_bytes_max: 256 * 1024 * 1024,
            spool_total_bytes_max: 1024 * 1024 * 1024,
            document_bytes_max: 16 * 1024 * 1024,
            drain_wait_max: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// How many of these places may be taken when somebody comes who asks for this.
    #[must_use]
    pub fn places_for(&self, purpose: &Purpose, places_max: usize) -> usize {
        if class_of(purpose).is_some_and(Class::is_care) {
            return places_max;
        }
        let kept = places_max.saturating_mul(self.care_reserve_percent.min(100).into()) / 100;
        places_max.saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_into_each_other() {
        let limits = Limits::default();
        // Waiting for the ledger ends before the release would come too late.
        assert!(limits.record_wait_max < limits.release_start_max);
        // One beat a second: several may be lost before the feed counts as stale.
        assert!(limits.feed_age_max > 3 * Duration::from_secs(1));
        // The provider gives up before the requester does, so that both tell the same story.
        let ledger = limits.release_start_max * limits.decide_attempts_max;
        assert!(limits.answer_wait_max > limits.source_wait_max + limits.decide_wait_max + ledger);
        assert!(limits.half_wait_max > limits.stall_max);
        assert!(limits.offline_feed_age_max > limits.feed_age_max);
        // One body as it was read and as it leaves, and others beside it.
        assert!(limits.spool_total_bytes_max > 2 * limits.spool_bytes_max);
        assert!(limits.spool_bytes_max > limits.document_bytes_max);
        // However much one member asks, others are served.
        assert!(limits.exchanges_per_member_max < limits.exchanges_max);
        assert!(limits.exchanges_per_source_max < limits.exchanges_max);
        assert!(limits.requests_per_user_max < limits.requests_max);
        // However much is asked for anything else, care finds a place.
        let [care, research] = ["TREAT", "HRESCH"].map(|code| code.parse().unwrap());
        let places = |purpose| limits.places_for(purpose, limits.exchanges_max);
        assert_eq!((places(&care), places(&research)), (1024, 768));
        // Of one place none can be kept.
        assert_eq!(limits.places_for(&research, 1), 1);
    }
}
