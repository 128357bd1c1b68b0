//! What is withdrawn counts at once: a stream in flight ends, and every agent hears of it.

use std::fs;
use std::time::Duration;

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::time::Instant;

use super::books::{Books, Entry};
use super::world::{
    COUNCIL, PEOPLE, PLANNING, PROVIDER, TRUST, ended_at_the_provider, figures, record_consent,
    running, withdraw_consent,
};

/// What was permitted, and stopped on its way.
pub(super) const WITHDRAWN: &[Entry] = &[
    ("provider", "permit", None),
    ("close", "withdrawn", None),
    ("requester", "refuse", Some("basis-withdrawn")),
];

/// A withdrawal reaches every agent in under a second; a machine that is busy with other things
/// adds as much again, twice.
const REACH_WAIT_MAX: Duration = Duration::from_secs(3);
/// So often it is measured.
const ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_flight_ends_when_its_agreement_is_put_out_of_force() {
    let dev = running().await;
    let mut books = Books::default();
    let flow = format!("/data/{PROVIDER}/flow");
    let mut arriving = dev.open("GET", COUNCIL, &flow, PLANNING).await.unwrap();
    assert!(arriving.next().await.unwrap().is_some());
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    books.expect_of(&exchange, WITHDRAWN);
    // Nobody has signed the new version, so nobody is bound by either.
    let file = dev.files().join("figures-2.toml");
    fs::write(&file, figures(2)).unwrap();
    let file = file.display().to_string();
    let began = Instant::now();
    dev.tally(TRUST, &["agreement", "propose", &file]).await.unwrap().done().unwrap();
    ended_at_the_provider(&dev, &exchange).await;
    println!("the stream ended {:?} after the command began", began.elapsed());
    let rest = arriving.all().await.unwrap();
    assert!(!rest.whole, "{} bytes came as if they were all", rest.body.len());
    books.balance(&dev).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_reaches_every_agent_within_a_second_of_its_acknowledgement() {
    let dev = running().await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let before = quiet(&dev).await;
        // A narrowing, its leaf and its seal.
        let heard = async |member| heard(&dev, member, before + 2).await;
        let said = async {
            let said = record_consent(&dev, PEOPLE[0].nhs_number, &["--deny"]).await;
            (said["id"].as_u64().unwrap(), Instant::now())
        };
        let ((id, acknowledged), provider, trust, council) =
            tokio::join!(said, heard(PROVIDER), heard(TRUST), heard(COUNCIL));
        let last = provider.max(trust).max(council);
        times.push(last.saturating_duration_since(acknowledged));
        withdraw_consent(&dev, PEOPLE[0].nhs_number, id).await;
    }
    times.sort_unstable();
    println!(
        "from the acknowledgement of a withdrawal until the last of three agents has heard of it: \
         {:?} in the middle, {:?} at worst of {ROUNDS}",
        times[ROUNDS / 2],
        times[ROUNDS - 1]
    );
    assert!(times[ROUNDS - 1] < REACH_WAIT_MAX, "{times:?}");
}

/// How far all agents have heard, once they agree.
async fn quiet(dev: &Dev) -> u64 {
    until("agents that have heard the same", REACH_WAIT_MAX * 10, async || {
        let sizes = [size(dev, PROVIDER).await, size(dev, TRUST).await, size(dev, COUNCIL).await];
        if sizes.iter().all(|size| *size == sizes[0]) {
            Ok(sizes[0])
        } else {
            Err(format!("{sizes:?}"))
        }
    })
    .await
    .unwrap()
}

/// When the agent has heard of so many leaves.
async fn heard(dev: &Dev, member: &str, leaves: u64) -> Instant {
    until("a withdrawal that is heard of", REACH_WAIT_MAX * 10, async || {
        let size = size(dev, member).await;
        if size >= leaves { Ok(Instant::now()) } else { Err(format!("{member} knows of {size}")) }
    })
    .await
    .unwrap()
}

async fn size(dev: &Dev, member: &str) -> u64 {
    let metrics = dev.metrics(member).await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("tally_agent_ledger_size "));
    line.unwrap().parse().unwrap()
}
