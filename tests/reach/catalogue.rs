//! What the members share with one of them, and whether it may be asked for today.

use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::dev::Dev;
use tally_tests::mesh::until;

use super::world::{COUNCIL, PROVIDER, running};

/// What is told is told within this time, on a machine that is busy.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(30);

async fn catalogue(dev: &Dev, member: &str, args: &[&str]) -> Value {
    let args = [&["catalogue", "--output", "json"], args].concat();
    dev.tally(member, &args).await.unwrap().done().unwrap().json()
}

/// What of the provider may be asked for, and what is in the way of the rest.
fn usable(catalogue: &Value) -> Vec<(String, bool, Value)> {
    let provider = catalogue["members"].as_array().unwrap().iter().find(|it| it["id"] == PROVIDER);
    let sources = provider.unwrap()["sources"].as_array().unwrap().iter();
    let of = |it: &Value| {
        let source = it["source"].as_str().unwrap().to_owned();
        (source, it["usable"] == true, it["in_the_way"].clone())
    };
    sources.map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_says_what_may_be_used_under_which_agreement_and_what_is_in_the_way() {
    let dev = running().await;
    let all = catalogue(&dev, COUNCIL, &[]).await;
    let well = |source: &str| (source.to_owned(), true, json!([]));
    assert_eq!(usable(&all), ["fhir", "visits", "beds", "flow"].map(well), "{all}");
    let one = catalogue(&dev, COUNCIL, &[PROVIDER]).await;
    let members = one["members"].as_array().unwrap();
    assert_eq!(members.len(), 1, "{one}");
    let records = &members[0]["sources"][0];
    for (key, value) in [
        ("kind", json!("fhir")),
        ("path", json!("/fhir/RZ9")),
        ("agreement", json!("DSA-CARE")),
        ("purposes", json!(["TREAT"])),
        ("usable_for", json!(["TREAT"])),
        ("data", json!("special")),
        ("releases", json!({ "Patient": ["*"] })),
        ("user_known", json!("asserted")),
        ("until", json!("2099-12-31")),
        ("signed_by_both", json!(true)),
    ] {
        assert_eq!(records[key], value, "{key}: {records}");
    }
    // The datasets alone, where they are asked for below.
    let datasets = dev.get(COUNCIL, &format!("/data/{PROVIDER}"), &[]).await.unwrap().json();
    let shared = members[0]["sources"].as_array().unwrap().iter();
    let shared: Vec<_> = shared.filter(|it| it["kind"] == "dataset").collect();
    assert_eq!(datasets["datasets"], json!(shared), "{datasets}");
    assert_eq!(shared.len(), 3);
    let nobody = dev.get(COUNCIL, "/data/XX7", &[]).await.unwrap();
    assert_eq!((nobody.status, nobody.code().as_str()), (404, "unknown-member"));
    // Nothing is shared with the provider, and its own sources are its own.
    let own = catalogue(&dev, PROVIDER, &[]).await;
    assert!(
        own["members"].as_array().unwrap().iter().all(|it| it["sources"] == json!([])),
        "{own}"
    );
    let ids = own["own_sources"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), ["beds", "fhir", "flow", "visits"]);

    let csv = dev.tally(COUNCIL, &["catalogue", "--output", "csv"]).await.unwrap().done().unwrap();
    let lines: Vec<_> = csv.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", csv.out);
    assert!(lines[0].starts_with("member,name,source,kind,path,agreement,"), "{}", lines[0]);
    assert!(lines[1].contains(",/fhir/RZ9,DSA-CARE@1,TREAT,2099-12-31,yes,"), "{}", lines[1]);
    let table = dev.tally(COUNCIL, &["catalogue"]).await.unwrap().done().unwrap().out;
    assert!(table.lines().any(|line| line.starts_with("LZ9 ")), "{table}");
    let nobody = dev.tally(COUNCIL, &["catalogue", "XX7"]).await.unwrap();
    assert_eq!(nobody.code, Some(1), "{}", nobody.said);

    // What a party suspends is still there, and says so.
    let suspend = ["agreement", "suspend", "DSA-FIGURES"];
    dev.tally(PROVIDER, &suspend).await.unwrap().done().unwrap();
    let suspended = until("a suspended agreement", TOLD_WAIT_MAX, async || {
        let all = catalogue(&dev, COUNCIL, &[]).await;
        let off = |source: &str| (source.to_owned(), false, json!(["agreement-suspended"]));
        let told = usable(&all);
        if told == [well("fhir"), well("visits"), off("beds"), off("flow")] {
            Ok(())
        } else {
            Err(all.to_string())
        }
    });
    suspended.await.unwrap();
}
