//! One processor that runs the agents of several members on one host.

use std::fs;

use tally_tests::dev::Dev;

use super::world::{COUNCIL, PROVIDER, TREAT, record, running};

/// The processor.
const OPERATOR: &str = "QX1";

/// Has the member issue its agent a certificate that names the processor.
async fn issued(dev: &Dev, member: &str) {
    let dir = dev.dir_of(member);
    let (ca, to) = (dir.display().to_string(), dir.join("next").display().to_string());
    let args = ["identity", "issue", "--ca", &ca, "--mesh", "dev.example", "--member", member];
    let what = ["--role", "agent", "--name", "agent", "--operator", OPERATOR, "--to", &to];
    dev.tally(member, &[&args[..], &what[..]].concat()).await.unwrap().done().unwrap();
    for end in ["key", "pem"] {
        let issued = dir.join(format!("next/agent.{end}"));
        fs::rename(issued, dir.join(format!("identity.{end}"))).unwrap();
    }
}

fn configured(dev: &Dev, member: &str) {
    let path = dev.dir_of(member).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    let named = format!("tally = 1\noperator = \"{OPERATOR}\"\n");
    fs::write(&path, text.replacen("tally = 1\n", &named, 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_runs_agents_of_two_members_is_named_in_certificates_and_entries() {
    let dev = running().await;
    let before = dev.get(COUNCIL, &record(0), TREAT).await.unwrap();
    assert_eq!(before.status, 200, "{}", before.json());
    for member in [PROVIDER, COUNCIL] {
        issued(&dev, member).await;
        dev.stop(member).await.unwrap();
        // Who runs it is said in two places, and they have to say the same.
        let refused = dev.tally(member, &["agent"]).await;
        // Where dev.json names no agent that runs, its configuration still is where it was.
        let refused = refused.unwrap();
        assert_eq!(refused.code, Some(2), "{}", refused.said);
        assert!(refused.said.contains("QX1 runs this agent"), "{}", refused.said);
        configured(&dev, member);
        dev.start_again(member).await.unwrap();
    }
    let after = dev.get(COUNCIL, &record(1), TREAT).await.unwrap();
    assert_eq!(after.status, 200, "{}", after.json());
    for (answer, operator) in [(&before, None), (&after, Some(OPERATOR))] {
        let rows = dev.entries_of(answer.header("tally-exchange"), 2).await.unwrap();
        let half = rows.iter().find(|row| row["half"] == "provider").unwrap();
        assert_eq!(half["operator"].as_str(), operator, "{half}");
        assert_eq!(half["provider"], PROVIDER, "{half}");
    }
    let shown = dev.tally(PROVIDER, &["identity", "show"]).await.unwrap().done().unwrap().out;
    assert!(shown.contains("spiffe://dev.example/RZ9/agent/agent"), "{shown}");
}
