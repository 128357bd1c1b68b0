//! What is in the way, told by looking.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Ran};

use super::world::{COUNCIL, NODES, PROVIDER, running};

async fn doctor(dev: &Dev, args: &[&str]) -> Ran {
    dev.tally(COUNCIL, &[&["doctor", "--output", "json"], args].concat()).await.unwrap()
}

/// What failed: its check, of whom, and all that is said of it.
fn failed(ran: &Ran) -> Vec<(String, String, Value)> {
    let report = ran.json();
    let checks = report["checks"].as_array().unwrap().iter().filter(|it| it["ok"] == false);
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    checks.map(|it| (text(it, "check"), text(it, "of"), it.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_what_is_in_the_way_whose_fault_it_is_and_what_to_do() {
    let dev = running().await;
    let well = doctor(&dev, &[]).await;
    assert_eq!(well.code, Some(0), "{} {}", well.out, well.said);
    let mut checks: BTreeMap<String, usize> = BTreeMap::new();
    for it in well.json()["checks"].as_array().unwrap() {
        *checks.entry(it["check"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    // The nodes of the ledger, and two agents.
    let dialled = NODES.len() + 2;
    for check in ["dns", "udp", "mtu", "identity"] {
        assert_eq!(checks[check], dialled, "{check}: {checks:?}");
    }
    for check in ["certificate", "key", "ca", "expiry", "agent", "store", "clock", "registers"] {
        assert_eq!(checks[check], 1, "{check}: {checks:?}");
    }
    let unknown = doctor(&dev, &["XX7"]).await;
    assert_eq!(unknown.code, Some(2), "{}", unknown.said);

    // An agent that is not there looks like one that a firewall hides.
    let quic = dev.member(PROVIDER)["quic"].as_str().unwrap().to_owned();
    dev.kill(PROVIDER).await.unwrap();
    let away = doctor(&dev, &[PROVIDER]).await;
    assert_eq!(away.code, Some(3), "{}", away.out);
    let found = failed(&away);
    let [(check, of, finding)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((check.as_str(), of.as_str()), ("udp", "agent of RZ9"));
    assert_eq!(finding["fault"], "network");
    let (host, port) = quic.rsplit_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    let wanted =
        json!({ "protocol": "UDP", "source": "127.0.0.1", "destination": host, "port": port });
    assert_eq!(finding["firewall"], wanted);
    let text = dev.tally(COUNCIL, &["doctor", PROVIDER]).await.unwrap().out;
    assert!(
        text.contains("please allow UDP from 127.0.0.1 (any port) to 127.0.0.1 port"),
        "{text}"
    );
    dev.start_again(PROVIDER).await.unwrap();

    // A certificate that ends soon is the own side's to replace.
    let dir = dev.dir_of(COUNCIL);
    let (ca, to) = (dir.display().to_string(), dir.join("next").display().to_string());
    let issue = ["identity", "issue", "--ca", &ca, "--mesh", "dev.example", "--member", COUNCIL];
    let soon = ["--role", "agent", "--name", "agent", "--valid-for", "30m", "--to", &to];
    dev.tally(COUNCIL, &[&issue[..], &soon[..]].concat()).await.unwrap().done().unwrap();
    for end in ["key", "pem"] {
        let issued = dir.join(format!("next/agent.{end}"));
        fs::rename(issued, dir.join(format!("identity.{end}"))).unwrap();
    }
    let soon = doctor(&dev, &[PROVIDER]).await;
    assert_eq!(soon.code, Some(1), "{}", soon.out);
    let found = failed(&soon);
    assert_eq!(
        (found.len(), found[0].0.as_str(), &found[0].2["fault"]),
        (1, "expiry", &json!("own"))
    );

    // Without its agent a member reaches nobody.
    dev.stop(COUNCIL).await.unwrap();
    let stopped = dev.dir_of(COUNCIL).join("tally.toml");
    let args = ["doctor", PROVIDER, "--config", stopped.to_str().unwrap(), "--output", "json"];
    let stopped = dev.tally(PROVIDER, &args).await.unwrap();
    assert_eq!(stopped.code, Some(3), "{}", stopped.out);
    assert!(failed(&stopped).iter().any(|it| it.0 == "agent"), "{}", stopped.out);
}
