//! A configuration that is read again while its agent serves, and logs that machines read.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tally_tests::dev::Dev;
use tally_tests::mesh::until;

use super::load::{begun_to_read, rest};
use super::world::{COUNCIL, PLANNING, PROVIDER, dataset, record, running};

/// What is told is told within this time, on a machine that is busy.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(20);

/// Changes the council's configuration, has it read again, and waits until its log says this.
async fn reload(dev: &Dev, change: impl FnOnce(String) -> String, says: &str) {
    reload_of(dev, COUNCIL, change, says).await;
}

async fn reload_of(dev: &Dev, member: &str, change: impl FnOnce(String) -> String, says: &str) {
    let path = dev.dir_of(member).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(text)).unwrap();
    let before = dev.log(member).len();
    dev.tell(member, Signal::HUP);
    let told = until(says, TOLD_WAIT_MAX, async || {
        let log = dev.log(member);
        let new = log.get(before..).unwrap_or_default();
        if new.contains(says) { Ok(()) } else { Err(new.to_owned()) }
    });
    told.await.unwrap();
}

/// What an application is answered that states no purpose.
async fn asks(dev: &Dev) -> (u16, String) {
    let user = [("tally-user", "https://staff.example|wren-4471")];
    let answer = dev.get(COUNCIL, &record(0), &user).await.unwrap();
    (answer.status, answer.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_read_again_and_what_can_not_change_is_named() {
    let dev = running().await;
    assert_eq!(asks(&dev).await, (400, "purpose-missing".to_owned()));
    let (len, arriving) = begun_to_read(&dev).await;
    let purpose =
        |text: String| text.replacen("[ingress]\n", "[ingress]\npurpose = \"TREAT\"\n", 1);
    reload(&dev, purpose, "taken over: ingress.purpose").await;
    assert_eq!(asks(&dev).await.0, 200);
    // What has errors changes nothing, and says all of them.
    let broken = |text: String| text.replace("\"TREAT\"", "\"no such\"") + "[nonsense]\n";
    reload(&dev, broken, "the file has errors, and changes nothing").await;
    assert!(dev.log(COUNCIL).contains("nonsense: no such key"), "{}", dev.log(COUNCIL));
    assert_eq!(asks(&dev).await.0, 200);
    // Of one file, what can change does, and what can't is named.
    let other = |text: String| {
        let text = text.replace("\"no such\"", "\"TREAT\"").replace("[nonsense]\n", "");
        text + "[limits]\nrequests_max = 1\ndrain_wait_seconds = 3\n"
    };
    let says = "taken over: limits.requests_max; left as it was until the next start: \
                limits.drain_wait_seconds";
    reload(&dev, other, says).await;
    // One exchange is in flight: the new quota holds for what comes now, and what began goes on.
    assert_eq!(asks(&dev).await, (503, "too-busy".to_owned()));
    let long = rest(len, arriving).await;
    assert!(long.is_served(), "{long:?}");
    // It may not be over yet, though its last byte has come.
    let free = until("a free place", TOLD_WAIT_MAX, async || match asks(&dev).await {
        (200, _) => Ok(()),
        (status, code) => Err(format!("{status} {code}")),
    });
    free.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_are_other_ones_without_a_start_and_what_began_goes_on() {
    let dev = running().await;
    let beds = async || {
        let answer = dev.get(COUNCIL, &dataset("beds"), PLANNING).await.unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    assert!(beds().await.1.contains("A1,24,19"));
    let (len, arriving) = begun_to_read(&dev).await;
    // Another file for one, and another that is gone; the one that is being read is as it was.
    let other = dev.files().join("other.csv");
    fs::write(&other, "ward,beds,taken\nZ9,1,1\n").unwrap();
    let kept = dev.files().join("beds.csv").display().to_string();
    let moved = |text: String| {
        assert!(text.contains(&kept), "{text}");
        text.replace(&kept, &other.display().to_string())
    };
    reload_of(&dev, PROVIDER, moved, "SIGHUP: taken over: source[1].path").await;
    assert!(beds().await.1.contains("Z9,1,1"));
    // One that can't be opened changes nothing.
    let nowhere = dev.files().join("nowhere.csv").display().to_string();
    let lost = |text: String| text.replace(&other.display().to_string(), &nowhere);
    reload_of(&dev, PROVIDER, lost, "the sources stay as they were").await;
    assert!(beds().await.1.contains("Z9,1,1"));
    assert_eq!(dev.get(COUNCIL, &record(0), super::world::TREAT).await.unwrap().status, 200);
    let long = rest(len, arriving).await;
    assert!(long.is_served(), "{long:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_json_where_that_is_configured_and_an_exchange_is_one_line_of_closed_fields() {
    let dev = running().await;
    let path = dev.dir_of(COUNCIL).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("tally = 1\n", "tally = 1\nlog_format = \"json\"\n", 1))
        .unwrap();
    dev.stop(COUNCIL).await.unwrap();
    let before = dev.log(COUNCIL).len();
    dev.start_again(COUNCIL).await.unwrap();
    let headers = [("tally-purpose", "TREAT"), ("tally-user", "https://staff.example|wren-4471")];
    let answer = dev.get(COUNCIL, &record(0), &headers).await.unwrap();
    assert_eq!(answer.status, 200);
    let id = answer.header("tally-exchange").to_owned();
    let line = until("the line of an exchange", TOLD_WAIT_MAX, async || {
        let log = dev.log(COUNCIL);
        let lines = log.get(before..).unwrap_or_default().lines();
        let lines =
            lines.map(|line| serde_json::from_str::<Value>(line).map_err(|_| line.to_owned()));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let of_it: Vec<_> = lines.into_iter().filter(|line| line["exchange"] == *id).collect();
        of_it.first().cloned().ok_or_else(|| "nothing yet".to_owned())
    });
    let line = line.await.unwrap();
    let mut fields: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let closed = [
        "bytes", "code", "exchange", "level", "message", "outcome", "peer", "side", "time",
        "wait_ms",
    ];
    assert_eq!(fields, closed, "{line}");
    assert_eq!((&line["outcome"], &line["side"]), (&"released".into(), &"requester".into()));
    assert!(!dev.log(COUNCIL).contains("wren-4471"));
}
