//! A record on its way out.

use super::*;

#[test]
fn a_record_leaves_only_after_its_half_and_its_opening_are_safe() {
    let mut it = Driven::new();
    assert_eq!(it.names(0, requested(ASK)), ["read"]);
    assert_eq!(it.names(0, described()), ["decide 1"]);
    assert_eq!(it.names(0, permitted(1, whole())), ["submit 1", "store 1"]);
    assert_eq!(it.names(5, recorded(1)), [""; 0]);
    assert_eq!(it.names(6, stored(1)), ["release 1"]);
    assert_eq!(it.names(9, delivered(100, None)), ["finish", "ended"]);
    assert_eq!(it.provider.in_flight(), 0);
}

#[test]
fn the_opening_may_be_safe_first() {
    let mut it = Driven::submitted(whole());
    assert_eq!(it.names(5, stored(1)), [""; 0]);
    assert_eq!(it.names(6, recorded(1)), ["release 1"]);
}

#[test]
fn a_stream_owes_a_close_that_says_what_left() {
    let mut it = Driven::releasing(Body::Stream);
    let effects = it.after(50, delivered(900, Some(DIGEST)));
    assert_eq!(closes(&effects), [(How::Sent, 900)]);
    assert_eq!(it.names(51, delivered(900, Some(DIGEST))), [""; 0]);
}

#[test]
fn a_body_that_breaks_off_owes_a_close() {
    let mut it = Driven::releasing(whole());
    it.after(20, Event::Progress { exchange: ASK, bytes: 40 });
    let effects = it.after(21, Event::Broken { exchange: ASK, bytes: 30, root: None });
    assert_eq!(closes(&effects), [(How::Abandoned, 40)]);
}

#[test]
fn fewer_bytes_than_promised_are_not_all() {
    let mut it = Driven::releasing(whole());
    assert_eq!(closes(&it.after(20, delivered(99, None))), [(How::Abandoned, 99)]);
}

#[test]
fn a_withdrawal_stops_a_stream() {
    let mut it = Driven::releasing(Body::Stream);
    it.known.version = 5;
    let stop = Effect::Stop { exchange: ASK, refusal: Refusal::BasisWithdrawn };
    assert_eq!(it.after(20, Event::RegistersMoved), [stop]);
    assert_eq!(it.names(20, Event::RegistersMoved), [""; 0]);
    let effects = it.after(21, Event::Broken { exchange: ASK, bytes: 7, root: Some(DIGEST) });
    assert_eq!(closes(&effects), [(How::Withdrawn, 7)]);
}

#[test]
fn a_stream_stops_when_nothing_is_heard_of_registers() {
    let mut it = Driven::releasing(Body::Stream);
    it.known.heard_at = Timestamp(3_000);
    assert_eq!(it.provider.deadline(), Some(Timestamp(5_000)));
    it.after(5_000, Event::Progress { exchange: ASK, bytes: 40 });
    assert_eq!(it.provider.deadline(), Some(Timestamp(8_000)));
    let stop = Effect::Stop { exchange: ASK, refusal: Refusal::FeedStale };
    assert_eq!(it.after(8_000, Event::Tick), [stop]);
}

#[test]
fn a_release_that_stands_still_is_broken_off() {
    let mut it = Driven::releasing(Body::Stream);
    it.known.heard_at = Timestamp(29_000);
    it.after(5_000, Event::Tick);
    let stop = Effect::Stop { exchange: ASK, refusal: Refusal::BrokenOff };
    assert_eq!(it.after(30_010, Event::Tick), [stop]);
    let effects = it.after(60_010, Event::Tick);
    assert_eq!(closes(&effects), [(How::Abandoned, 0)]);
}

#[test]
fn what_moved_between_the_entry_and_the_release_stops_it() {
    let mut it = Driven::submitted(whole());
    it.after(5, stored(1));
    it.known.version = 5;
    let effects = it.after(6, recorded(1));
    assert_eq!(closes(&effects), [(How::Withdrawn, 0)]);
    assert_eq!(refusals(&effects), [Refusal::BasisWithdrawn]);
}

#[test]
fn an_old_feed_releases_nothing() {
    let mut it = Driven::new();
    it.known.heard_at = Timestamp(0);
    it.known.limits.record_wait_max = Duration::from_secs(20);
    it.known.limits.release_start_max = Duration::from_secs(30);
    it.provider = provider(it.known.limits.clone());
    it.submit(whole());
    it.after(5, stored(1));
    let effects = it.after(5_000, recorded(1));
    assert_eq!(closes(&effects), [(How::NothingSent, 0)]);
    assert_eq!(refusals(&effects), [Refusal::FeedStale]);
}
