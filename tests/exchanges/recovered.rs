//! Two of three ledger nodes are lost for good: officers approve, an operator carries it out, and agents go
//! on by themselves.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tally_tests::dev::{Dev, Ran};
use tally_tests::mesh::until;

use super::world::{COUNCIL, PLANNING, PROVIDER, TRUST, running, verifies};

/// How long agents may take to find out, on a machine that is busy.
const FOUND_OUT_WAIT_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_by_themselves_in_the_epoch_that_officers_have_approved() {
    let dev = running().await;
    let before = data(&dev).await.unwrap();
    dev.published().await.unwrap();
    let survivor = leader(&dev).await;
    for node in ["ledger-1", "ledger-2", "ledger-3"] {
        dev.kill(node).await.unwrap();
        if node != survivor {
            fs::remove_dir_all(dev.dir_of(node).join("data")).unwrap();
        }
    }
    let refused = data(&dev).await.unwrap_err();
    assert!(!refused.is_empty());

    let paper = dev.files().join("recovery.json").display().to_string();
    let plan = ["ledger", "recover", "--plan", "--to", &paper];
    done(dev.tally_of(&survivor, &plan).await.unwrap());
    for officer in [COUNCIL, TRUST] {
        let approve = ["ledger", "recovery", "approve", &paper];
        let shown = done(dev.tally(officer, &approve).await.unwrap());
        assert!(shown.said.contains("a forced recovery"), "{}", shown.said);
    }
    let recover = ["ledger", "recover", "--approved", &paper, "--yes"];
    done(dev.tally_of(&survivor, &recover).await.unwrap());
    dev.start_again(&survivor).await.unwrap();

    for member in [PROVIDER, COUNCIL, TRUST] {
        until("an agent that goes on", FOUND_OUT_WAIT_MAX, async || {
            let log = dev.log(member);
            if log.contains("begins anew in it") { Ok(()) } else { Err(log) }
        })
        .await
        .unwrap();
    }
    let after = until("data from a later epoch", FOUND_OUT_WAIT_MAX, async || data(&dev).await);
    assert_eq!(after.await.unwrap(), before);
    name_no_keys(&dev);
    dev.published().await.unwrap();
    verifies(&dev).await;
    let metrics = dev.metrics(PROVIDER).await.unwrap();
    assert!(metrics.contains("tally_agent_ledger_epoch 1\n"), "{metrics}");
    assert!(metrics.contains("tally_agent_lost_leaves 0\n"), "{metrics}");
    // It is in the new epoch from the start on when it comes again.
    dev.stop(PROVIDER).await.unwrap();
    dev.start_again(PROVIDER).await.unwrap();
    let after = until("data after a restart", FOUND_OUT_WAIT_MAX, async || data(&dev).await);
    assert_eq!(after.await.unwrap(), before);
}

/// What the council gets, or why it gets nothing.
async fn data(dev: &Dev) -> Result<Vec<u8>, String> {
    let path = format!("/data/{PROVIDER}/beds");
    let answer = dev.get(COUNCIL, &path, PLANNING).await.map_err(|why| why.to_string())?;
    if answer.status == 200 { Ok(answer.body) } else { Err(answer.code()) }
}

/// The auditor's policy names keys of the first epoch's origin: the registers say which they are now.
fn name_no_keys(dev: &Dev) {
    let path = dev.document()["auditor"]["config"].as_str().unwrap().to_owned();
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("policy"));
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

/// Whatever was acknowledged, the leader has.
async fn leader(dev: &Dev) -> String {
    until("a leader", FOUND_OUT_WAIT_MAX, async || {
        let status = dev.auditor(&["ledger", "status", "--output", "json"]).await;
        let status = status.map_err(|why| why.to_string())?.json();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let leads = nodes.iter().find(|node| node["role"] == "leader");
        let number = leads.and_then(|node: &Value| node["node"].as_u64());
        number.map(|number| format!("ledger-{number}")).ok_or_else(|| status.to_string())
    })
    .await
    .unwrap()
}

fn done(ran: Ran) -> Ran {
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.said);
    ran
}
