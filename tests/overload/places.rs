//! Places that are few: for one user, and for everything that is not care.

use super::memory::metric;
use super::world::{
    COUNCIL, FLOW, PLANNING, PROVIDER, TREAT, care, is_refused, is_served, running, stalled,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn care_finds_a_place_where_bulk_work_finds_none() {
    let dev = running().await;
    let limits = "[limits]\nexchanges_max = 2\ncare_reserve_percent = 50";
    dev.reconfigure(PROVIDER, limits).await.unwrap();
    let first = stalled(&dev, COUNCIL, PLANNING).await;
    let answer = dev.get(COUNCIL, FLOW, PLANNING).await.unwrap();
    is_refused(&answer, 503, "kept-for-care");
    is_served(&dev, COUNCIL).await;
    let shed = "tally_agent_turned_away_total{code=\"kept-for-care\",side=\"provider\"} ";
    assert_eq!(metric(&dev, PROVIDER, shed).await, 1);
    drop(first);

    // The same where it is asked: its own places are kept as well.
    let limits = "[limits]\nrequests_max = 4\ncare_reserve_percent = 75";
    dev.reconfigure(COUNCIL, limits).await.unwrap();
    dev.reconfigure(PROVIDER, "").await.unwrap();
    let first = stalled(&dev, COUNCIL, PLANNING).await;
    let answer = dev.get(COUNCIL, FLOW, PLANNING).await.unwrap();
    is_refused(&answer, 503, "kept-for-care");
    assert_eq!(answer.header("tally-exchange"), "", "it never became an exchange");
    is_served(&dev, COUNCIL).await;
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_has_its_share_leaves_the_rest_to_others() {
    let dev = running().await;
    dev.reconfigure(COUNCIL, "[limits]\nrequests_per_user_max = 2").await.unwrap();
    let wren = [PLANNING[0], TREAT[1]];
    let held = [stalled(&dev, COUNCIL, &wren).await, stalled(&dev, COUNCIL, &wren).await];
    is_refused(&care(&dev, COUNCIL).await, 429, "user-quota-exceeded");
    let lark = [TREAT[0], ("tally-user", "https://staff.example|lark-2")];
    let answer = dev.get(COUNCIL, super::world::RECORD, &lark).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    // Who they are stands nowhere.
    assert!(!dev.log(COUNCIL).contains("wren-4471"));
    assert!(!dev.metrics(COUNCIL).await.unwrap().contains("wren-4471"));
    drop(held);
}
