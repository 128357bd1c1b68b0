//! How long an agent takes to start.

use tally_tests::dev::Dev;

use super::world::{COUNCIL, PROVIDER, TREAT, record, running};

/// An agent is there within this time, of its own: what the ledger needs to answer comes after.
const STARTED_MS_MAX: u64 = 500;
/// On a machine that is busy with other things some starts are slow; the quickest says what a start takes.
const STARTS: usize = 5;
/// Exchanges that its store remembers.
const REMEMBERED: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_starts_within_half_a_second() {
    let dev = running().await;
    for place in 0..REMEMBERED {
        assert_eq!(dev.get(COUNCIL, &record(place), TREAT).await.unwrap().status, 200);
    }
    for agent in [PROVIDER, COUNCIL] {
        let mut started = Vec::new();
        for _ in 0..STARTS {
            dev.stop(agent).await.unwrap();
            dev.start_again(agent).await.unwrap();
            started.push(started_ms(&dev, agent));
        }
        println!("{agent} started in {started:?} ms");
        assert!(started.iter().min().unwrap() < &STARTED_MS_MAX, "{agent}: {started:?} ms");
    }
}

/// What the agent said of its last start.
fn started_ms(dev: &Dev, agent: &str) -> u64 {
    let log = dev.log(agent);
    let (_, rest) = log.rsplit_once("started in ").expect("it says so");
    rest.split(' ').next().unwrap().parse().unwrap()
}
