//! Saying no.

use super::*;

#[test]
fn a_refusal_is_told_with_its_receipt() {
    let mut it = Driven::decided();
    let effects = it.after(0, refused(Refusal::ConsentDenied));
    let [Effect::File { half, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(provider_half(half).outcome, Outcome::Refuse(Refusal::PersonLevel));
    it.after(1, stored(1));
    let effects = it.after(2, recorded(1));
    let told = Effect::Refuse {
        exchange: ASK,
        refusal: Refusal::NotAvailable,
        proof: Proof::Recorded(receipt()),
    };
    assert_eq!(effects.first(), Some(&told));
    assert_eq!(closes(&effects), []);
}

#[test]
fn a_refusal_does_not_wait_for_a_silent_ledger() {
    let mut it = Driven::decided();
    it.after(0, refused(Refusal::NoAgreement));
    it.after(1, stored(1));
    assert_eq!(refusals(&it.after(1_500, Event::Tick)), [Refusal::LedgerUnavailable]);
    // The outbox files it: nothing is owed here any more.
    assert_eq!(it.names(9_000, recorded(1)), [""; 0]);
    assert_eq!(it.provider.in_flight(), 0);
}

#[test]
fn what_was_not_decided_is_not_recorded() {
    let mut it = Driven::decided();
    let effects = it.after(0, refused(Refusal::TooLarge));
    assert_eq!(refusals(&effects), [Refusal::TooLarge]);
    assert_eq!(effects.len(), 2);
}

#[test]
fn refusals_above_the_rate_become_one_count() {
    let mut it = Driven::new();
    let mut counts = Vec::new();
    for number in 0..25_u8 {
        let exchange = ExchangeId([number; 16]);
        it.after(u64::from(number), requested(exchange));
        it.after(u64::from(number), Event::Described { exchange });
        let decision = refusal(exchange, Refusal::NoAgreement);
        let decided = Event::Decided { exchange, attempt: 1, decision };
        let effects = it.after(u64::from(number), decided);
        if let [Effect::Count { id, count, not_before, .. }] = effects.as_slice() {
            let Entry::RefusalCount(count) = count.entry() else { panic!("{count:?}") };
            counts.push((id.clone(), count.count, *not_before));
            let effects = it.after(u64::from(number), Event::Stored { exchange, attempt: 1 });
            let Effect::Refuse { proof, .. } = &effects[0] else { panic!("{effects:?}") };
            assert_eq!(*proof, Proof::Counted);
        }
    }
    let id = OwedId::RefusalCount {
        requester: "LZ9".parse().unwrap(),
        refusal: Refusal::NoAgreement,
        from: Timestamp(20),
    };
    let expected: Vec<_> = (1..=5).map(|n| (id.clone(), n, Timestamp(60_000))).collect();
    assert_eq!(counts, expected);
}

#[test]
fn a_new_window_records_again() {
    let mut it = Driven::new();
    it.known.limits.refusals_max = 0;
    it.provider = provider(it.known.limits.clone());
    let from = |it: &mut Driven, now, exchange| {
        it.after(now, requested(exchange));
        it.after(now, Event::Described { exchange });
        let decision = refusal(exchange, Refusal::NoAgreement);
        let effects = it.after(now, Event::Decided { exchange, attempt: 1, decision });
        let [Effect::Count { id, .. }] = effects.as_slice() else { panic!("{effects:?}") };
        id.clone()
    };
    it.known.heard_at = Timestamp(u64::MAX);
    let first = from(&mut it, 0, ExchangeId([1; 16]));
    assert_eq!(from(&mut it, 59_999, ExchangeId([2; 16])), first);
    assert_ne!(from(&mut it, 60_000, ExchangeId([3; 16])), first);
}

#[test]
fn a_source_that_fails_is_told_and_not_recorded() {
    let mut it = Driven::new();
    it.after(0, requested(ASK));
    let failed = Event::NotDescribed { exchange: ASK, refusal: Refusal::SourceMalformed };
    assert_eq!(refusals(&it.after(1, failed)), [Refusal::SourceMalformed]);
    it.after(2, requested(OTHER));
    assert_eq!(refusals(&it.after(10_002, Event::Tick)), [Refusal::SourceUnavailable]);
}
