//! Going on with a dataset: a decision of its own that names the first.

use std::fs;

use tally_core::id::ExchangeId;
use tally_tests::dev::{Answer, Dev};

use super::world::{COUNCIL, OTHER, ask, make_long, running, source};

const LEN: u64 = 24 * 1024 * 1024;
const PATH: &str = "/data/RZ9/long/flow.bin";
const GET: (&str, &str) = ("GET", COUNCIL);

/// Some of it, and what it is: the application goes away then.
async fn begun(dev: &Dev) -> (String, String) {
    let headers = [super::world::PLANNING];
    let mut arriving = dev.open("GET", COUNCIL, PATH, &headers).await.unwrap();
    assert_eq!(arriving.status, 200);
    let mut came = 0;
    while came < 3 * 1024 * 1024 {
        came += arriving.next().await.unwrap().unwrap().len();
    }
    let said = |name: &str| arriving.headers[name].to_str().unwrap().to_owned();
    (said("tally-exchange"), said("etag"))
}

async fn resumed(
    dev: &Dev,
    member: &str,
    path: &str,
    first: &str,
    if_range: Option<&str>,
) -> Answer {
    let at = format!("bytes={}-", LEN - 100_000);
    let mut headers = vec![("range", at.as_str()), ("tally-resumes", first)];
    headers.extend(if_range.map(|tag| ("if-range", tag)));
    ask(dev, ("GET", member), path, &headers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_is_a_new_decision_that_names_the_first() {
    let dev = running().await;
    let file = make_long(&dev, "flow.bin", LEN);
    make_long(&dev, "other.bin", LEN);
    let (first, etag) = begun(&dev).await;

    for if_range in [None, Some(etag.as_str())] {
        let rest = resumed(&dev, COUNCIL, PATH, &first, if_range).await;
        assert_eq!((rest.status, rest.whole), (206, true));
        let all = fs::read(&file).unwrap();
        assert!(rest.body == all[all.len() - 100_000..]);
        let exchange = rest.header("tally-exchange").to_owned();
        assert_ne!(exchange, first);
        let rows = dev.entries_of(&exchange, 3).await.unwrap();
        let provider = rows.iter().find(|row| row["half"] == "provider").unwrap();
        assert_eq!(provider["resumes"], first.as_str());
        let shown = dev.auditor(&["audit", "show", &exchange]).await.unwrap().done().unwrap();
        assert!(shown.out.contains(&format!("{exchange} resumes {first}")), "{}", shown.out);
    }

    let unknown = ExchangeId([0; 16]).to_string();
    for (member, path, named, code) in [
        (COUNCIL, PATH, unknown.as_str(), "resume-unknown"),
        // Another's exchange is as unknown as one that never was.
        (OTHER, PATH, first.as_str(), "resume-unknown"),
        (COUNCIL, "/data/RZ9/wards", first.as_str(), "resume-unknown"),
        (COUNCIL, "/data/RZ9/long/other.bin", first.as_str(), "dataset-changed"),
    ] {
        let refused = resumed(&dev, member, path, named, None).await;
        assert_eq!(refused.code(), code, "{member} {path}");
        assert_eq!(refused.status, if code == "dataset-changed" { 412 } else { 409 });
    }
    let bad = ask(&dev, GET, PATH, &[("tally-resumes", "the first")]).await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "header-invalid"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_that_has_changed_is_never_added_to_what_came_before() {
    let dev = running().await;
    let file = make_long(&dev, "flow.bin", LEN);
    let (first, etag) = begun(&dev).await;
    // The same length, and another content.
    fs::write(&file, vec![b'x'; usize::try_from(LEN).unwrap()]).unwrap();
    let refused = resumed(&dev, COUNCIL, PATH, &first, None).await;
    assert_eq!((refused.status, refused.code().as_str()), (412, "dataset-changed"));
    let all = resumed(&dev, COUNCIL, PATH, &first, Some(&etag)).await;
    assert_eq!((all.status, all.body.len() as u64, all.whole), (200, LEN, true));
    assert_ne!(all.header("etag"), etag);
    // Who names the new version and the old exchange has mixed them up.
    let mixed = resumed(&dev, COUNCIL, PATH, &first, Some(all.header("etag"))).await;
    assert_eq!((mixed.status, mixed.code().as_str()), (412, "dataset-changed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_that_changes_while_it_leaves_is_not_delivered() {
    let dev = running().await;
    for change in ["written", "replaced", "removed"] {
        let file = make_long(&dev, "flow.bin", LEN);
        let headers = [super::world::PLANNING];
        let mut arriving = dev.open("GET", COUNCIL, PATH, &headers).await.unwrap();
        arriving.next().await.unwrap().unwrap();
        match change {
            "written" => fs::write(&file, "short").unwrap(),
            "replaced" => {
                let other = make_long(&dev, "new.bin", LEN);
                fs::rename(other, source(&dev, "long/flow.bin")).unwrap();
            }
            _ => fs::remove_file(&file).unwrap(),
        }
        let answer = arriving.all().await.unwrap();
        assert!(!answer.whole && (answer.body.len() as u64) < LEN, "{change}");
        let rows = dev.entries_of(answer.header("tally-exchange"), 3).await.unwrap();
        let row = |half: &str| rows.iter().find(|row| row["half"] == half).unwrap();
        assert_eq!(row("requester")["code"], "source-changed", "{change}");
        assert_eq!(row("close")["outcome"], "abandoned", "{change}");
    }
}
