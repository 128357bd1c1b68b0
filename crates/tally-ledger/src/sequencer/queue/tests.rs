use super::*;

/// Whose it is, which it is, and how long.
#[derive(Debug, PartialEq, Eq)]
struct Piece(&'static str, usize, usize);

impl Queued for Piece {
    fn owner(&self) -> Owner {
        owner(self.0)
    }

    fn length(&self) -> usize {
        self.2
    }
}

fn owner(text: &str) -> Owner {
    Some(text.parse().unwrap())
}

fn queues(limits: SequencerLimits) -> Queues<Piece> {
    Queues::new(limits)
}

fn take(queues: &Queues<Piece>) -> Vec<Piece> {
    queues.take(Turn::Regular)
}

fn push(queues: &Queues<Piece>, whose: &'static str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        queues.push(Piece(whose, number, 100)).unwrap();
    }
}

#[test]
fn whoever_submits_little_waits_behind_nobody_who_submits_much() {
    let queues = queues(SequencerLimits::default());
    push(&queues, "RZ9", 0..2000);
    push(&queues, "LZ9", 0..2);
    let first = take(&queues);
    let polite = first.iter().position(|piece| piece.0 == "LZ9");
    assert_eq!(polite, Some(1), "its turn is the second");
    let of = |pieces: &[Piece], whose| pieces.iter().filter(|it| it.0 == whose).count();
    assert_eq!((of(&first, "LZ9"), of(&first, "RZ9")), (2, SHARE_SUBMISSIONS_MAX));
    // A newcomer is in the very next proposal, too.
    push(&queues, "QX1", 0..1);
    assert_eq!(of(&take(&queues), "QX1"), 1);
}

#[test]
fn what_one_member_submits_stays_in_its_order_and_none_is_lost() {
    let queues = queues(SequencerLimits::default());
    push(&queues, "RZ9", 0..500);
    push(&queues, "LZ9", 0..70);
    let mut seen = BTreeMap::from([("RZ9", Vec::new()), ("LZ9", Vec::new())]);
    loop {
        let taken = take(&queues);
        if taken.is_empty() {
            break;
        }
        for Piece(whose, number, _) in taken {
            seen.get_mut(whose).unwrap().push(number);
        }
    }
    assert_eq!(seen["RZ9"], (0..500).collect::<Vec<_>>());
    assert_eq!(seen["LZ9"], (0..70).collect::<Vec<_>>());
}

#[test]
fn one_member_can_not_take_the_room_of_all() {
    let limits = SequencerLimits { member_submissions_max: 3, ..SequencerLimits::default() };
    let queues = queues(limits);
    push(&queues, "RZ9", 0..3);
    let more = Piece("RZ9", 3, 100);
    assert_eq!(queues.push(more), Err(Piece("RZ9", 3, 100)));
    push(&queues, "LZ9", 0..3);
    assert_eq!(take(&queues).len(), 2 * SHARE_SUBMISSIONS_MAX);
    push(&queues, "RZ9", 3..5);
}

#[test]
fn bytes_are_counted_for_each_member_and_for_all() {
    let limits =
        SequencerLimits { bytes_max: 1000, member_bytes_max: 600, ..SequencerLimits::default() };
    let queues = queues(limits);
    queues.push(Piece("RZ9", 0, 600)).unwrap();
    assert!(queues.push(Piece("RZ9", 1, 1)).is_err());
    queues.push(Piece("LZ9", 0, 1)).unwrap();
    assert!(queues.push(Piece("LZ9", 1, 400)).is_err());
    queues.push(Piece("LZ9", 1, 399)).unwrap();
    assert_eq!(take(&queues).len(), 3);
    queues.push(Piece("RZ9", 1, 600)).unwrap();
}

#[test]
fn members_that_take_all_the_room_keep_nobody_else_out() {
    let limits = SequencerLimits { submissions_max: 4, ..SequencerLimits::default() };
    let queues = queues(limits);
    push(&queues, "RZ9", 0..4);
    queues.push(Piece("LZ9", 0, 100)).unwrap();
    assert!(queues.push(Piece("LZ9", 1, 100)).is_err());
    assert!(queues.push(Piece("RZ9", 4, 100)).is_err());
}

#[test]
fn what_does_not_fit_any_more_is_the_next_proposals_first() {
    let queues = queues(SequencerLimits::default());
    let large = PROPOSAL_LEN_MAX / 2;
    for whose in ["RZ9", "LZ9", "QX1"] {
        queues.push(Piece(whose, 0, large)).unwrap();
    }
    assert_eq!(take(&queues), [Piece("RZ9", 0, large)]);
    assert_eq!(take(&queues), [Piece("LZ9", 0, large)]);
    assert_eq!(take(&queues), [Piece("QX1", 0, large)]);
    assert_eq!(take(&queues), []);
}

#[tokio::test]
async fn the_work_ends_once_nobody_submits_and_nothing_waits() {
    let queues = queues(SequencerLimits::default());
    push(&queues, "RZ9", 0..1);
    queues.close();
    assert_eq!(queues.wait().await, Some(Turn::Regular));
    take(&queues);
    assert_eq!(queues.wait().await, None);
}

/// So many refusals of what this one submitted.
fn refuse(queues: &Queues<Piece>, whose: &'static str, count: u32) {
    (0..count).for_each(|_| queues.judged(&owner(whose), true));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_member_that_is_refused_again_and_again() {
    let queues = queues(SequencerLimits::default());
    refuse(&queues, "RZ9", REFUSALS_APART);
    push(&queues, "RZ9", 0..100);
    assert_eq!(queues.wait().await, Some(Turn::Apart));
    assert_eq!(queues.take(Turn::Apart).len(), APART_SHARE_SUBMISSIONS_MAX);
    // That is under way, and another member's goes by itself at once.
    push(&queues, "LZ9", 0..1);
    assert_eq!(queues.wait().await, Some(Turn::Regular));
    assert_eq!(take(&queues), [Piece("LZ9", 0, 100)]);
    let began = Instant::now();
    let next = timeout_at(began + APART_PAUSE, queues.wait());
    assert!(next.await.is_err(), "one at a time");
    queues.apart_ended();
    let ended = Instant::now();
    assert_eq!(queues.wait().await, Some(Turn::Apart));
    assert_eq!(Instant::now() - ended, APART_PAUSE);
    let first = queues.take(Turn::Apart);
    assert_eq!(first.first(), Some(&Piece("RZ9", APART_SHARE_SUBMISSIONS_MAX, 100)));
}

#[tokio::test(start_paused = true)]
async fn who_is_accepted_again_is_among_the_others_again() {
    let queues = queues(SequencerLimits::default());
    refuse(&queues, "RZ9", REFUSALS_APART - 1);
    push(&queues, "RZ9", 0..1);
    assert_eq!(queues.wait().await, Some(Turn::Regular), "a few are nothing");
    refuse(&queues, "RZ9", 1_000);
    assert_eq!(queues.wait().await, Some(Turn::Apart));
    queues.judged(&owner("RZ9"), false);
    assert_eq!(queues.wait().await, Some(Turn::Apart));
    queues.judged(&owner("RZ9"), false);
    assert_eq!(queues.wait().await, Some(Turn::Regular));
    assert_eq!(take(&queues), [Piece("RZ9", 0, 100)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_apart_is_taken_at_once_when_the_work_ends() {
    let queues = queues(SequencerLimits::default());
    refuse(&queues, "RZ9", REFUSALS_APART);
    push(&queues, "RZ9", 0..1);
    queues.apart_ended();
    queues.close();
    assert_eq!(queues.wait().await, Some(Turn::Apart));
    assert_eq!(queues.take(Turn::Apart), [Piece("RZ9", 0, 100)]);
    assert_eq!(queues.wait().await, None);
}
