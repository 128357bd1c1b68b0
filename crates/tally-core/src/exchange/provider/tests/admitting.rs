//! What is taken in.

use super::*;

#[test]
fn the_queue_has_an_end() {
    let mut it = Driven::new();
    it.known.limits.exchanges_max = 1;
    it.provider = provider(it.known.limits.clone());
    it.after(0, requested(ASK));
    assert_eq!(it.after(0, requested(OTHER)), [turned_away(OTHER, Refusal::TooBusy)]);
}

#[test]
fn a_member_that_has_its_share_of_places_leaves_the_rest_to_others() {
    let mut it = Driven::new();
    it.known.limits.exchanges_per_member_max = 1;
    it.provider = provider(it.known.limits.clone());
    it.after(0, requested(ASK));
    assert_eq!(it.after(0, requested(OTHER)), [turned_away(OTHER, Refusal::QuotaExceeded)]);
    let Event::Requested { mut question, .. } = requested(OTHER) else { panic!("a request") };
    question.requester = "XZ9".parse().unwrap();
    let other = Event::Requested { exchange: OTHER, question };
    assert_eq!(it.after(0, other), [Effect::Read { exchange: OTHER }]);
}

#[test]
fn the_last_places_are_for_care() {
    let mut it = Driven::new();
    (it.known.limits.exchanges_max, it.known.limits.care_reserve_percent) = (2, 50);
    it.provider = provider(it.known.limits.clone());
    let for_purpose = |exchange, purpose: &str| {
        let Event::Requested { mut question, .. } = requested(exchange) else {
            panic!("a request")
        };
        question.purpose = purpose.parse().unwrap();
        Event::Requested { exchange, question }
    };
    // While there is room, everything is taken.
    assert_eq!(it.names(0, for_purpose(ASK, "HRESCH")), ["read"]);
    let away = turned_away(OTHER, Refusal::KeptForCare);
    assert_eq!(it.after(0, for_purpose(OTHER, "local:PLANNING")), [away]);
    assert_eq!(it.names(0, for_purpose(OTHER, "TREAT")), ["read"]);
    let third = ExchangeId([9; 16]);
    assert_eq!(it.after(0, for_purpose(third, "TREAT")), [turned_away(third, Refusal::TooBusy)]);
}

#[test]
fn what_the_ledger_still_owes_counts_as_in_flight() {
    let mut it = Driven::new();
    it.known.limits.exchanges_max = 1;
    it.provider = provider(it.known.limits.clone());
    it.submit(whole());
    it.after(1_500, Event::Tick);
    assert_eq!(it.after(1_501, requested(OTHER)), [turned_away(OTHER, Refusal::TooBusy)]);
}

#[test]
fn nothing_begins_while_the_outbox_has_no_room_for_its_end() {
    let mut it = Driven::new();
    it.known.outbox_entries = it.known.limits.outbox_entries_max;
    assert_eq!(it.after(0, requested(ASK)), [turned_away(ASK, Refusal::TooBusy)]);
}

#[test]
fn an_exchange_of_an_earlier_life_is_not_had_again() {
    let mut it = Driven::new();
    assert_eq!(it.after(0, Event::KnownBefore { exchanges: vec![ASK] }), []);
    assert_eq!(it.after(1, requested(ASK)), [turned_away(ASK, Refusal::ProtocolViolated)]);
    assert_eq!(it.names(2, requested(OTHER)), ["read"]);
}

#[test]
fn an_exchange_id_is_used_once() {
    let mut it = Driven::releasing(whole());
    let again = turned_away(ASK, Refusal::ProtocolViolated);
    assert_eq!(it.after(10, requested(ASK)), std::slice::from_ref(&again));
    // The first goes on.
    assert_eq!(it.names(11, delivered(100, None)), ["finish", "ended"]);
    assert_eq!(it.after(12, requested(ASK)), [again]);
}

#[test]
fn an_agent_that_is_closed_decides_nothing() {
    let mut it = Driven::new();
    it.known.closed = Some(Refusal::StoreBehind);
    assert_eq!(it.after(0, requested(ASK)), [turned_away(ASK, Refusal::StoreBehind)]);
    let mut it = Driven::decided();
    it.known.closed = Some(Refusal::ClockSkew);
    assert_eq!(refusals(&it.after(1, permitted(1, whole()))), [Refusal::ClockSkew]);
}

#[test]
fn a_drain_lets_go_on_what_began_and_takes_nothing_new() {
    let mut it = Driven::releasing(whole());
    assert_eq!(it.names(10, Event::Drain), [""; 0]);
    let away = turned_away(OTHER, Refusal::DrainInProgress);
    assert_eq!(it.after(11, requested(OTHER)), [away]);
    assert_eq!(it.names(12, delivered(100, None)), ["finish", "ended", "drained"]);
    assert_eq!(it.provider.deadline(), None);
}

#[test]
fn a_drain_has_an_end() {
    let mut it = Driven::submitted(whole());
    it.known.limits.record_wait_max = Duration::from_secs(100);
    it.provider = provider(it.known.limits.clone());
    it.submit(whole());
    it.after(10, Event::Drain);
    let effects = it.after(30_010, Event::Tick);
    assert_eq!(refusals(&effects), [Refusal::DrainInProgress]);
    assert_eq!(effects.last(), Some(&Effect::Drained));
}
