//! Agents killed in the middle of whatever they do, over and over.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;

use super::load::{all_told, ask_many};
use super::story::Story;
use super::world::{COUNCIL, PROVIDER, running};

/// Kills, with what is asked meanwhile.
const ROUNDS: u32 = 12;
const CALLERS: usize = 6;
const EACH: usize = 4;
/// The first round's kill comes after one beat, the next one's after two.
const BEAT: Duration = Duration::from_millis(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_when_the_ledger_tells_one_story_in_the_end() {
    let dev = Arc::new(running().await);
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        let victims: &[&str] = match round % 3 {
            0 => &[PROVIDER],
            1 => &[COUNCIL],
            _ => &[PROVIDER, COUNCIL],
        };
        let mut asking = JoinSet::new();
        ask_many(&dev, &mut asking, CALLERS, EACH);
        // Anywhere between the first request and the last entry.
        let mut beats = interval(BEAT);
        for _ in 0..=round {
            beats.tick().await;
        }
        for victim in victims {
            dev.kill(victim).await.unwrap();
        }
        for victim in victims {
            dev.start_again(victim).await.unwrap();
        }
        told.extend(all_told(asking).await);
    }
    let mut asking = JoinSet::new();
    ask_many(&dev, &mut asking, CALLERS, EACH);
    let last = all_told(asking).await;
    assert_eq!(last.len(), CALLERS * EACH);
    assert!(last.iter().all(|told| told.is_served() || told.code == "not-available"), "{last:?}");
    told.extend(last);

    let story = Story::settled(&dev).await;
    told.iter().for_each(|told| story.bears_out(told));
    println!("{ROUNDS} rounds of kills: {}", story.summary());
}
