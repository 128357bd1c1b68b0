//! Certificates that are replaced while agents serve: nobody notices, and what can't be used changes
//! nothing.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use tally_tests::dev::Dev;
use tally_tests::mesh::until;

use super::load::{begun_to_read, rest};
use super::story::Story;
use super::world::{COUNCIL, PROVIDER, TREAT, record, running};

/// Files are looked at once a second; on a machine that is busy it takes longer.
const TURN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Issues another certificate for a member's agent, and puts it where the old one is.
async fn reissue(dev: &Dev, member: &str) {
    let dir = dev.dir_of(member);
    let (ca, to) = (dir.display().to_string(), dir.join("next").display().to_string());
    let args = ["identity", "issue", "--ca", &ca, "--mesh", "dev.example", "--member", member];
    let what = ["--role", "agent", "--name", "agent", "--valid-for", "60d", "--to", &to];
    dev.tally(member, &[&args[..], &what[..]].concat()).await.unwrap().done().unwrap();
    for end in ["key", "pem"] {
        let issued = dir.join(format!("next/agent.{end}"));
        fs::rename(issued, dir.join(format!("identity.{end}"))).unwrap();
    }
}

/// The value of a metric of an agent.
async fn metric(dev: &Dev, member: &str, name: &str) -> Result<u64, String> {
    let text = dev.metrics(member).await.map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).ok_or(text)
}

/// Waits until a metric has another value than this.
async fn moved(dev: &Dev, member: &str, name: &str, from: u64) -> u64 {
    let what = format!("another {name} of {member}");
    let moved = until(&what, TURN_WAIT_MAX, async || match metric(dev, member, name).await? {
        same if same == from => Err(same.to_string()),
        other => Ok(other),
    });
    moved.await.unwrap()
}

const EXPIRY: &str = "tally_agent_certificate_expiry_timestamp_seconds";
const KEPT: &str = "tally_agent_certificate_reloads_total{outcome=\"kept\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_agents_that_serve_and_no_exchange_is_dropped() {
    let dev = running().await;
    let (len, arriving) = begun_to_read(&dev).await;
    for member in [PROVIDER, COUNCIL] {
        let before = metric(&dev, member, EXPIRY).await.unwrap();
        reissue(&dev, member).await;
        let after = moved(&dev, member, EXPIRY, before).await;
        assert!(after > before, "{member}: {before} {after}");
        let shown = dev.tally(member, &["identity", "show", "--output", "json"]).await.unwrap();
        let shown = shown.done().unwrap().json();
        assert_eq!((&shown[0]["key_fits"], &shown[0]["ca"]), (&true.into(), &"vouches".into()));
        assert!(shown[0]["days_left"].as_i64().unwrap() >= 59, "{shown}");
    }
    // What began under the old ones ends under the old ones.
    let long = rest(len, arriving).await;
    assert!(long.is_served(), "{long:?}");
    let answer = dev.get(COUNCIL, &record(0), TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());

    // A file that can't be used is said, and changes nothing; SIGHUP has it read at once.
    let file = dev.dir_of(COUNCIL).join("identity.pem");
    let good = fs::read(&file).unwrap();
    fs::write(&file, "nonsense").unwrap();
    dev.tell(COUNCIL, Signal::HUP);
    moved(&dev, COUNCIL, KEPT, 0).await;
    assert!(dev.log(COUNCIL).contains("the new certificate is not used"), "{}", dev.log(COUNCIL));
    let answer = dev.get(COUNCIL, &record(1), TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(dev.health(COUNCIL, "/ready").await.unwrap().status, 200);
    fs::write(&file, good).unwrap();

    // New connections present the new ones: one of the two agents begins anew.
    dev.stop(COUNCIL).await.unwrap();
    dev.start_again(COUNCIL).await.unwrap();
    let answer = dev.get(COUNCIL, &record(2), TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    Story::settled(&dev).await.bears_out(&long);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_node_presents_another_certificate_without_a_restart() {
    let dev = running().await;
    let (node, expiry) = ("ledger-1", "tally_ledger_certificate_expiry_timestamp_seconds");
    let before = metric(&dev, node, expiry).await.unwrap();
    let dir = dev.dir_of(node);
    let config = fs::read_to_string(dir.join("tally.toml")).unwrap();
    let member = config.lines().find_map(|line| line.strip_prefix("member = \"")).unwrap();
    let member = member.trim_end_matches('"');
    let (ca, to) = (dev.dir_of(member).display().to_string(), dir.join("next"));
    let to = to.display().to_string();
    let args = ["identity", "issue", "--ca", &ca, "--mesh", "dev.example", "--member", member];
    let what = ["--role", "ledger", "--name", "1", "--ip", "127.0.0.1", "--valid-for", "60d"];
    let issued = dev.tally(member, &[&args[..], &what[..], &["--to", &to]].concat()).await;
    issued.unwrap().done().unwrap();
    for end in ["key", "pem"] {
        fs::rename(dir.join(format!("next/1.{end}")), dir.join(format!("node.{end}"))).unwrap();
    }
    assert!(moved(&dev, node, expiry, before).await > before);
    // It is still one of three for its peers, and for who reads.
    let answer = dev.get(COUNCIL, &record(0), TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    dev.published().await.unwrap();
    assert_eq!(dev.health(node, "/ready").await.unwrap().status, 200);
}
