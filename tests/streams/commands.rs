//! `tally data`, as a council's people type it.

use std::fs;

use tally_core::id::ExchangeId;
use tally_tests::dev::Ran;

use super::world::{COUNCIL, PROVIDER, WARDS, root_of, running, source, stays_cut};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datasets_are_listed_with_what_their_provider_says_of_them() {
    let dev = running().await;
    let listed = dev.tally(COUNCIL, &["data", "list", "--output", "json"]).await.unwrap();
    let listed = listed.done().unwrap().json();
    let datasets = listed["datasets"].as_array().unwrap();
    let find = |name: &str| datasets.iter().find(|it| it["dataset"] == name).unwrap();
    let wards = find("wards");
    assert_eq!(wards["description"], "Wards, and what they cost");
    assert_eq!(
        (wards["licence"].as_str(), wards["bytes"].as_u64()),
        (Some("OGL-UK-3.0"), Some(WARDS.len() as u64))
    );
    assert_eq!(wards["columns"], serde_json::json!(["ward", "beds"]));
    assert_eq!(wards["agreement"], "DSA-FIGURES@1");
    assert!(wards["etag"].as_str().unwrap().starts_with('"'));
    assert_eq!(find("stays")["columns"], serde_json::json!(["ward", "note"]));
    // A folder is listed with the files that may be asked for below it.
    let long = find("long/README.txt");
    assert_eq!((&long["path"], &long["bytes"]), (&"/data/RZ9/long/README.txt".into(), &24.into()));
    assert!(datasets.iter().all(|it| it["dataset"] != "long"), "{listed}");

    let table = dev.tally(COUNCIL, &["data", "list", PROVIDER]).await.unwrap().done().unwrap();
    let wards = table.out.lines().find(|line| line.starts_with("/data/RZ9/wards ")).unwrap();
    assert!(wards.contains(" Wards, and what they cost "), "{}", table.out);
    let csv = ["data", "list", "--output", "csv"];
    let csv = dev.tally(COUNCIL, &csv).await.unwrap().done().unwrap();
    let wards = csv.out.lines().find(|line| line.starts_with("/data/RZ9/wards,")).unwrap();
    assert!(wards.contains(",\"Wards, and what they cost\",ward beds,"), "{wards}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_is_fetched_into_a_file_whose_digest_its_provider_signed() {
    let dev = running().await;
    let to = dev.dir().join("stays.csv");
    let file = to.display().to_string();
    let get = |more: &[&str]| {
        let args = ["data", "get", "RZ9/stays", "--purpose", "local:PLANNING", "--to", &file];
        let args: Vec<_> = args.iter().chain(more).map(|it| (*it).to_owned()).collect();
        let dev = &dev;
        async move {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            dev.tally(COUNCIL, &args).await.unwrap()
        }
    };
    let got = get(&["--output", "json"]).await.done().unwrap().json();
    assert!(fs::read_to_string(&to).unwrap() == stays_cut());
    assert_eq!(got["content_root"], root_of(&to).to_string());
    assert_eq!(got["exchanges"].as_array().unwrap().len(), 1);
    let left = |suffix: &str| dev.dir().join(format!("stays.csv{suffix}")).exists();
    assert!(!left(".part") && !left(".part.json"));

    // The receipt, with the signed end, shows the same offline; and that another file is another.
    let path = format!("/receipts/{}", got["exchanges"][0].as_str().unwrap());
    let receipt = dev.get(COUNCIL, &path, &[]).await.unwrap();
    let (kept, other) = (dev.dir().join("receipt.json"), dev.dir().join("other.csv"));
    fs::write(&kept, &receipt.body).unwrap();
    fs::write(&other, stays_cut() + "x").unwrap();
    for (body, code) in [(&to, 0), (&other, 1)] {
        let [receipt, body] = [&kept, body].map(|it| it.display().to_string());
        let checked = dev.auditor(&["audit", "check", &receipt, &body]).await.unwrap();
        assert_eq!(checked.code, Some(code), "{checked:?}");
    }

    refused(&get(&[]).await, 2, "it is there already");
    get(&["--force"]).await.done().unwrap();
    for (dataset, why) in [("stays", "no dataset"), ("RZ9/stays", "/dev/null/x.part")] {
        let ran = dev.tally(COUNCIL, &["data", "get", dataset, "--to", "/dev/null/x"]).await;
        refused(&ran.unwrap(), 2, why);
    }
    let nothing = dev.dir().join("nothing").display().to_string();
    let unknown = ["data", "get", "RZ9/nothing", "--purpose", "local:PLANNING", "--to", &nothing];
    refused(&dev.tally(COUNCIL, &unknown).await.unwrap(), 1, "unknown-source");
    let without = ["data", "get", "RZ9/stays", "--to", &nothing];
    refused(&dev.tally(COUNCIL, &without).await.unwrap(), 2, "purpose-missing");

    // What is a part of something else is not written over.
    let mixed = ["data", "get", "RZ9/wards", "--purpose", "local:PLANNING", "--to", &nothing];
    let note = "{\"tally\":1,\"path\":\"/data/RZ9/stays\",\"etag\":\"\\\"x\\\"\",\"first\":\"0\",\"bytes\":9}";
    fs::write(dev.dir().join("nothing.part.json"), note).unwrap();
    refused(&dev.tally(COUNCIL, &mixed).await.unwrap(), 2, "a part of /data/RZ9/stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_dataset_that_has_changed_since_begins_anew() {
    let dev = running().await;
    let to = dev.dir().join("wards.csv").display().to_string();
    let get = [
        "data",
        "get",
        "RZ9/wards",
        "--purpose",
        "local:PLANNING",
        "--to",
        &to,
        "--output",
        "json",
    ];
    // As a run leaves it that was killed: more than a chunk, of a version that is no more.
    let path = "/data/RZ9/wards";
    let etag = "\"0123456789abcdef0123456789abcdef\"";
    let note = serde_json::json!({
        "tally": 1, "path": path, "etag": etag, "first": ExchangeId([0; 16]).to_string(),
        "bytes": 200_000,
    });
    fs::write(dev.dir().join("wards.csv.part.json"), note.to_string()).unwrap();
    fs::write(dev.dir().join("wards.csv.part"), vec![b'?'; 150_000]).unwrap();
    let got = dev.tally(COUNCIL, &get).await.unwrap().done().unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), WARDS, "{got:?}");
    assert!(got.said.contains("begins anew"), "{got:?}");

    dev.stop(COUNCIL).await.unwrap();
    let to = dev.dir().join("gone.csv").display().to_string();
    let get = ["data", "get", "RZ9/wards", "--to", &to, "--retries", "1"];
    refused(&dev.tally(COUNCIL, &get).await.unwrap(), 3, "the agent's ingress");
    assert!(source(&dev, "wards.csv").exists());
}

#[track_caller]
fn refused(ran: &Ran, code: i32, what: &str) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.said.contains(what), "{ran:?}");
}
