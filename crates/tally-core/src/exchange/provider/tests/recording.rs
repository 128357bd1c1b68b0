//! From the decision to the entry.

use super::*;

#[test]
fn a_silent_ledger_means_no() {
    let mut it = Driven::submitted(whole());
    it.after(1, stored(1));
    assert_eq!(it.provider.deadline(), Some(Timestamp(1_500)));
    assert_eq!(it.names(1_499, Event::Tick), [""; 0]);
    let effects = it.after(1_500, Event::Tick);
    assert_eq!(refusals(&effects), [Refusal::LedgerUnavailable]);
    assert_eq!(closes(&effects), []);
}

#[test]
fn an_answer_after_the_no_is_closed_as_nothing_sent() {
    let mut it = Driven::submitted(whole());
    it.after(1_500, Event::Tick);
    assert_eq!(it.provider.in_flight(), 1);
    assert_eq!(closes(&it.after(9_000, recorded(1))), [(How::NothingSent, 0)]);
    assert_eq!(it.provider.in_flight(), 0);
    assert_eq!(it.names(9_001, recorded(1)), [""; 0]);
}

#[test]
fn proof_of_another_half_releases_nothing() {
    let mut it = Driven::submitted(whole());
    it.after(1, stored(1));
    let other = ProviderHalf { exchange: ExchangeId([9; 16]), ..receipt().half().clone() };
    let receipt = Box::new(RecordedHalf::answered(LEAF, other));
    let event = Event::Recorded { exchange: ASK, attempt: 1, receipt };
    assert_eq!(it.names(2, event), [""; 0]);
    assert_eq!(it.names(3, recorded(1)), ["release 1"]);
}

#[test]
fn a_late_answer_is_late_even_if_nobody_noticed_the_time() {
    let mut it = Driven::submitted(whole());
    it.after(1, stored(1));
    let effects = it.after(1_500, recorded(1));
    assert_eq!(refusals(&effects), [Refusal::LedgerUnavailable]);
    assert_eq!(closes(&effects), [(How::NothingSent, 0)]);
}

#[test]
fn a_store_that_is_slower_than_the_release_may_be_means_no() {
    let mut it = Driven::submitted(whole());
    it.after(1, recorded(1));
    let effects = it.after(2_000, stored(1));
    assert_eq!(refusals(&effects), [Refusal::TimedOut]);
    assert_eq!(closes(&effects), [(How::NothingSent, 0)]);
}

#[test]
fn a_store_that_fails_means_no_and_the_entry_is_closed_when_it_shows() {
    let mut it = Driven::submitted(whole());
    let failed = Event::NotStored { exchange: ASK, attempt: 1 };
    assert_eq!(refusals(&it.after(1, failed)), [Refusal::StoreUnavailable]);
    assert_eq!(closes(&it.after(2, recorded(1))), [(How::NothingSent, 0)]);
}

#[test]
fn a_stale_permit_is_decided_again_a_bounded_number_of_times() {
    let mut it = Driven::submitted(whole());
    for attempt in [1, 2] {
        let next = format!("decide {}", attempt + 1);
        assert_eq!(it.names(2, stale(attempt)), [next]);
        let submitted = it.names(3, permitted(attempt + 1, whole()));
        assert_eq!(submitted.len(), 2, "{submitted:?}");
    }
    let effects = it.after(4, stale(3));
    assert_eq!(refusals(&effects), [Refusal::RegistersChanging]);
    assert_eq!(it.provider.in_flight(), 0);
}

#[test]
fn what_is_known_to_be_stale_is_not_submitted() {
    let mut it = Driven::new();
    it.after(0, requested(ASK));
    it.after(0, described());
    it.known.version = 5;
    let moved = vec![consent().name];
    let again = Effect::Decide { exchange: ASK, attempt: 2, moved };
    assert_eq!(it.after(1, permitted(1, whole())), [again]);
}

#[test]
fn what_an_earlier_attempt_hears_late_moves_nothing() {
    let mut it = Driven::submitted(whole());
    it.after(2, stale(1));
    it.after(3, permitted(2, whole()));
    for late in [stored(1), recorded(1), stale(1)] {
        assert_eq!(it.names(4, late), [""; 0]);
    }
    it.after(5, stored(2));
    assert_eq!(it.names(5, recorded(2)), ["release 2"]);
}

#[test]
fn the_ledger_may_answer_a_permit_twice() {
    let mut it = Driven::releasing(whole());
    assert_eq!(it.names(6, recorded(1)), [""; 0]);
    assert_eq!(it.names(7, stale(1)), [""; 0]);
}

#[test]
fn a_requester_that_goes_away_leaves_a_close_behind() {
    let mut it = Driven::submitted(whole());
    let gone = Event::Gone { exchange: ASK };
    assert_eq!(it.names(1, gone), ["ended"]);
    assert_eq!(closes(&it.after(2, recorded(1))), [(How::NothingSent, 0)]);
}
