use tally_log::SigningKey;
use tally_log::note::KeyName;

use super::*;

fn key(seed: u8) -> NoteKey {
    let name = KeyName::new(&format!("witness.example/w{seed}")).unwrap();
    NoteKey::cosignature_v1(name, SigningKey::from_seed(&[seed; 32]).verifying_key())
}

fn known(seed: u8, is_called: bool) -> Known {
    Known { key: key(seed), is_called }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Witnesses that are called, and a log of 10 leaves which is told at 0.
fn feeder(witnesses: u8) -> (Feeder, Vec<Effect>) {
    let mut feeder = Feeder::default();
    let known = (1..=witnesses).map(|seed| known(seed, true)).collect();
    assert_eq!(feeder.step(ms(0), Event::Register(known)), []);
    let effects = feeder.step(ms(0), Event::Published(10));
    (feeder, effects)
}

fn ask(seed: u8, old: u64, size: u64) -> Effect {
    Effect::Ask { key: key(seed), old, size }
}

fn asks(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| matches!(effect, Effect::Ask { .. })).collect()
}

fn answered(feeder: &mut Feeder, at: Duration, seed: u8, answered: Answered) -> Vec<Effect> {
    feeder.step(at, Event::Answered(key(seed), answered))
}

#[test]
fn all_are_asked_at_once_about_the_same_checkpoint() {
    let (mut feeder, effects) = feeder(3);
    assert_eq!(effects, [ask(1, 0, 10), ask(2, 0, 10), ask(3, 0, 10)]);
    // The second round is free too: whoever pauses before speaks at once.
    let effects = feeder.step(ms(5), Event::Published(11));
    assert_eq!(effects, []);
    let effects = asks(answered(&mut feeder, ms(9), 1, Answered::Cosigned(10)));
    assert_eq!(effects, [ask(1, 10, 11)]);
}

#[test]
fn under_load_there_is_a_round_a_second() {
    let (mut feeder, _) = feeder(1);
    let mut asked = Vec::new();
    for at in (0..5000).step_by(10) {
        let mut effects = feeder.step(ms(at), Event::Published(11 + at));
        while !effects.is_empty() {
            let sizes = effects.iter().filter_map(|effect| match effect {
                Effect::Ask { size, .. } => Some(*size),
                Effect::Changed { .. } => None,
            });
            let sizes: Vec<u64> = sizes.collect();
            effects = Vec::new();
            for size in sizes {
                asked.push((at, size));
                effects.extend(answered(&mut feeder, ms(at), 1, Answered::Cosigned(size)));
            }
        }
        // The first is answered when the load begins.
        if at == 0 {
            effects = answered(&mut feeder, ms(0), 1, Answered::Cosigned(10));
            assert_eq!(asks(effects), [ask(1, 10, 11)]);
            answered(&mut feeder, ms(0), 1, Answered::Cosigned(11));
        }
    }
    assert_eq!(asked, [(1000, 1011), (2000, 2011), (3000, 3011), (4000, 4011)]);
    assert_eq!(feeder.wakes_at(), Some(ms(5000)));
}

#[test]
fn one_that_says_another_size_is_asked_from_there_at_once() {
    let (mut feeder, _) = feeder(1);
    assert_eq!(answered(&mut feeder, ms(1), 1, Answered::Conflict(7)), [ask(1, 7, 10)]);
    let effects = answered(&mut feeder, ms(2), 1, Answered::Cosigned(10));
    let changed = Effect::Changed { key: key(1), state: State::Cosigning, old: 10, size: 0 };
    assert_eq!(effects, [changed]);
    assert_eq!(feeder.wakes_at(), None);
    // One that names sizes for ever is left alone for a while.
    assert_eq!(feeder.step(ms(3), Event::Published(11)), [ask(1, 10, 11)]);
    for size in [1, 2, 3] {
        assert_eq!(answered(&mut feeder, ms(4), 1, Answered::Conflict(size)), [ask(1, size, 11)]);
    }
    assert_eq!(asks(answered(&mut feeder, ms(4), 1, Answered::Conflict(4))), []);
    assert!(feeder.wakes_at().unwrap() >= ms(500));
}

#[test]
fn one_that_is_ahead_is_asked_once_the_log_is_as_large() {
    let (mut feeder, _) = feeder(1);
    let effects = answered(&mut feeder, ms(1), 1, Answered::Conflict(12));
    let state = State::Refusing(Why::Ahead);
    assert_eq!(effects, [Effect::Changed { key: key(1), state, old: 12, size: 10 }]);
    assert_eq!(feeder.step(ms(900), Event::Published(11)), []);
    assert_eq!(feeder.step(ms(3000), Event::Published(12)), [ask(1, 12, 12)]);
}

#[test]
fn one_that_fails_is_asked_less_and_less_and_the_others_as_ever() {
    let (mut feeder, _) = feeder(2);
    answered(&mut feeder, ms(0), 2, Answered::Cosigned(10));
    let mut now = ms(0);
    let mut waits = Vec::new();
    let mut changes = 0;
    for _ in 0..9 {
        let effects = answered(&mut feeder, now, 1, Answered::Failed);
        changes += effects.len();
        let next = feeder.wakes_at().unwrap();
        waits.push((next - now).as_millis());
        now = next;
        assert_eq!(feeder.step(now, Event::Waited), [ask(1, 0, 10)]);
    }
    // One word for all of it.
    assert_eq!(changes, 1);
    assert!(waits.is_sorted() && waits[0] >= 500 && waits[0] < 625, "{waits:?}");
    assert!(waits[8] >= 30_000 && waits[8] < 37_500, "{waits:?}");
    let effects = feeder.step(now, Event::Published(11));
    assert_eq!(effects, [ask(2, 10, 11)]);
    answered(&mut feeder, now, 1, Answered::Cosigned(10));
    assert_eq!(feeder.states().map(|(_, state)| state).next(), Some(State::Cosigning));
}

#[test]
fn one_that_saw_another_history_is_said_so_once_and_asked_seldom() {
    let (mut feeder, _) = feeder(1);
    let refused = Answered::Refused(Why::History);
    let effects = answered(&mut feeder, ms(0), 1, refused.clone());
    let state = State::Refusing(Why::History);
    assert_eq!(effects, [Effect::Changed { key: key(1), state, old: 0, size: 10 }]);
    let again = feeder.wakes_at().unwrap();
    assert!(again >= Duration::from_secs(60));
    assert_eq!(feeder.step(again, Event::Waited), [ask(1, 0, 10)]);
    assert_eq!(answered(&mut feeder, again, 1, refused), []);
}

#[test]
fn an_agent_is_asked_while_it_is_there() {
    let mut feeder = Feeder::default();
    feeder.step(ms(0), Event::Register(vec![known(1, false)]));
    assert_eq!(feeder.step(ms(0), Event::Published(10)), []);
    assert_eq!(feeder.step(ms(1), Event::Joined(key(9))), []);
    assert_eq!(feeder.step(ms(2), Event::Joined(key(1))), [ask(1, 0, 10)]);
    // A new connection takes the place of the old one, whose answer comes too late.
    assert_eq!(feeder.step(ms(3), Event::Joined(key(1))), [ask(1, 0, 10)]);
    feeder.step(ms(4), Event::Left(key(1)));
    assert_eq!(answered(&mut feeder, ms(5), 1, Answered::Cosigned(10)), []);
    assert_eq!(feeder.step(ms(6), Event::Published(11)), []);
    assert_eq!(feeder.step(ms(7), Event::Joined(key(1))), [ask(1, 0, 11)]);
}

#[test]
fn who_stays_in_the_register_goes_on_where_it_was() {
    let (mut feeder, _) = feeder(2);
    answered(&mut feeder, ms(1), 1, Answered::Cosigned(10));
    let effects = feeder.step(ms(2), Event::Register(vec![known(3, true), known(1, true)]));
    assert_eq!(effects, [ask(3, 0, 10)]);
    assert_eq!(feeder.step(ms(3), Event::Published(11)), [ask(1, 10, 11)]);
}
