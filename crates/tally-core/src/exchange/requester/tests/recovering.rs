//! After a crash.

use super::*;

#[test]
fn each_intent_gets_its_half() {
    let halves = settled(&[ASK], &[], &[]);
    assert_eq!(halves.len(), 1);
    assert_eq!(halves[0].outcome, Outcome::Refuse(Refusal::Unreachable));
    assert_eq!(halves[0].bytes_arrived, 12);
}

#[test]
fn the_half_of_an_intent_names_the_providers_if_there_is_one() {
    let halves = settled(&[ASK], &[half()], &[]);
    assert_eq!(halves[0].outcome, Outcome::Refuse(Refusal::BrokenOff));
    assert_eq!(halves[0].provider_leaf, Some(LEAF));
    assert_eq!(halves[0].commitment, Some(half().commitment));
}

#[test]
fn a_half_of_somebody_who_was_not_asked_takes_nobodys_place() {
    let other = ProviderHalf { provider: "QX1".parse().unwrap(), commitment: DIGEST, ..half() };
    for peers in [[half(), other.clone()], [other, half()]] {
        let halves = settled(&[ASK], &peers, &[]);
        assert_eq!(halves.len(), 1);
        assert_eq!(halves[0].commitment, Some(half().commitment));
    }
}

#[test]
fn a_providers_half_without_an_intent_is_answered_too() {
    let refused = ProviderHalf { outcome: Outcome::Refuse(Refusal::PersonLevel), ..half() };
    let halves = settled(&[], &[refused], &[]);
    assert_eq!(halves[0].outcome, Outcome::Refuse(Refusal::NotAvailable));
    assert_eq!(halves[0].bytes_arrived, 0);
}

#[test]
fn what_is_answered_is_not_answered_again_and_others_halves_are_not_ours() {
    assert_eq!(settled(&[ASK], &[half()], &[ASK]), []);
    let others = ProviderHalf { requester: "XZ9".parse().unwrap(), ..half() };
    assert_eq!(settled(&[], &[others], &[]), []);
}

fn settled(
    intents: &[ExchangeId],
    peers: &[ProviderHalf],
    answered: &[ExchangeId],
) -> Vec<RequesterHalf> {
    let intent = |exchange: &ExchangeId| (*exchange, Intent { question: question(), bytes: 12 });
    let peer = |half: &ProviderHalf| PeerHalf { leaf: LEAF, half: half.clone() };
    let unsettled = settle(
        &"LZ9".parse().unwrap(),
        &intents.iter().map(intent).collect(),
        &peers.iter().map(peer).collect::<Vec<_>>(),
        &answered.iter().copied().collect(),
    );
    let half = |unsettled: Unsettled| match unsettled.half.entry() {
        Entry::RequesterHalf(half) => (**half).clone(),
        other => panic!("{other:?}"),
    };
    unsettled.into_iter().map(half).collect()
}
