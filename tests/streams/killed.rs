//! An agent is killed when almost all of a dataset has come: whoever fetches it goes on, and the ledger
//! has both halves and the close of each exchange that it took.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::world::{COUNCIL, PROVIDER, bytes_or, len_of, make_long, root_of, running};

/// Bytes where BYTES says nothing else.
const LEN: u64 = 400_000_000;
/// Bytes that come each second at least, on a machine that is busy.
const BYTES_PER_S_MIN: u64 = 2_000_000;
/// All that is owed is on the ledger within this time: a half that nobody owes until another's has been
/// open for a minute takes longest.
const SETTLED_WAIT_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_near_the_end_is_gone_on_with() {
    killed_near_the_end(PROVIDER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_killed_near_the_end_is_gone_on_with() {
    killed_near_the_end(COUNCIL).await;
}

async fn killed_near_the_end(victim: &str) {
    let dev = running().await;
    let len = bytes_or(LEN);
    let (source, to) = (make_long(&dev, "flow.bin", len), dev.dir().join("flow.bin"));
    let part = PathBuf::from(format!("{}.part", to.display()));
    let wait_max = Duration::from_secs(60 + len / BYTES_PER_S_MIN);

    // This run is killed too, so that it is a later one that goes on.
    let mut fetching = fetch(&dev, &to);
    came(&part, len / 2, wait_max).await;
    fetching.kill().await.unwrap();
    let at = len_of(&part);
    let fetching = fetch(&dev, &to);
    came(&part, len / 10 * 9, wait_max).await;
    dev.kill(victim).await.unwrap();
    dev.start_again(victim).await.unwrap();
    let fetched = timeout(wait_max, fetching.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
    assert!(fetched.status.success(), "{said}");

    let got = serde_json::from_slice::<Value>(&fetched.stdout).unwrap();
    assert_eq!((got["bytes"].as_u64(), len_of(&to)), (Some(len), len));
    assert_eq!(root_of(&to), root_of(&source));
    assert_eq!(got["content_root"], root_of(&source).to_string());
    assert!(got["exchanges"].as_array().unwrap().len() >= 2, "{got} {said}");
    assert!(at > len / 2 && !said.contains("begins anew"), "{said}");

    let rows = settled(&dev).await;
    let resumed = rows.values().filter_map(|rows| rows.get("provider")?["resumes"].as_str());
    let firsts: Vec<_> = resumed.collect();
    assert!(firsts.len() >= 2 && firsts.iter().all(|first| *first == firsts[0]), "{firsts:?}");
    let sent = |rows: &&BTreeMap<String, Value>| rows["close"]["outcome"] == "sent";
    assert_eq!(rows.values().filter(sent).count(), 1, "{rows:?}");
}

/// `tally data get`, as it goes on beside us.
fn fetch(dev: &Dev, to: &Path) -> Child {
    let mut command = Command::new(dev.binary());
    command.env("TALLY_CONFIG", dev.member(COUNCIL)["config"].as_str().unwrap());
    command.args(["data", "get", "RZ9/long/flow.bin", "--purpose", "local:PLANNING"]);
    command.args(["--output", "json", "--to"]).arg(to);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

/// So much has come.
async fn came(part: &Path, bytes: u64, wait_max: Duration) {
    let came = until("most of a dataset", wait_max, async || match len_of(part) {
        len if len >= bytes => Ok(()),
        len => Err(format!("{len} bytes")),
    });
    came.await.unwrap();
}

/// The halves and the close of each exchange about the dataset, once all of them are there.
async fn settled(dev: &Dev) -> BTreeMap<String, BTreeMap<String, Value>> {
    let rows = until("both halves and a close of each", SETTLED_WAIT_MAX, async || {
        let mut found = BTreeMap::<String, BTreeMap<String, Value>>::new();
        for row in dev.rows().await.map_err(|error| error.to_string())? {
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            if word("source") == "long" {
                let before =
                    found.entry(word("exchange")).or_default().insert(word("half"), row.clone());
                assert_eq!(before, None, "{row}");
            }
        }
        match found.values().find(|rows| rows.len() < 3) {
            None if !found.is_empty() => Ok(found),
            open => Err(format!("{open:?}")),
        }
    });
    let rows = rows.await.unwrap();
    let verified = dev.verify().await.unwrap();
    assert_eq!((&verified["verified"], &verified["missing_halves"]), (&true.into(), &0.into()));
    rows
}
