//! The FHIR endpoint, as any client of FHIR R4 may use it: what it asks in, and what it is answered in.

use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::dev::{Answer, Dev};
use tally_tests::mesh::until;

use super::TALLY;
use super::books::{Books, WHOLE};
use super::outcome::told;
use super::world::{COUNCIL, PEOPLE, PLANNING, PROVIDER, TREAT, TRUST, files, verifies};

/// An agent's books follow the ledger within this time.
const BOOKS_WAIT_MAX: Duration = Duration::from_secs(20);

/// A made-up person whose record says which version of itself it is, and since when.
const VERSIONED: &str = "pat-ulric-75";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_fhir_is_answered_as_the_specification_says() {
    let patient = json!({
        "resourceType": "Patient",
        "id": VERSIONED,
        "meta": { "versionId": "3", "lastUpdated": "2026-03-01T00:30:00.250+01:00" },
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000050" }],
        "telecom": [{ "system": "phone", "value": "01632 960101" }],
        "birthDate": "1950-02-03",
    });
    let files = files().with("rz9/versioned.json", patient.to_string());
    let dev = Dev::start(TALLY, &files).await.unwrap();
    let mut books = Books::default();
    by_post(&dev, &mut books).await;
    by_version(&dev, &mut books).await;
    on_condition(&dev, &mut books).await;
    in_a_format(&dev, &mut books).await;
    by_links(&dev, &mut books).await;
    by_what_agreements_let_through(&dev).await;
    by_its_own_ids(&dev, &mut books).await;
    books.balance(&dev).await;
    verifies(&dev).await;
}

/// A search by POST is the exchange that the same search by GET is.
async fn by_post(dev: &Dev, books: &mut Books) {
    let url = format!("/fhir/{PROVIDER}/Observation/_search");
    let parameter = format!("patient={}", PEOPLE[0].id);
    let headers = [TREAT[0], TREAT[1], FORM];
    let by_get = get(dev, &format!("/fhir/{PROVIDER}/Observation?{parameter}"), TREAT).await;
    books.expect(&by_get, WHOLE);
    let posted = dev.post(COUNCIL, &url, &headers, &parameter).await.unwrap();
    books.expect(&posted, WHOLE);
    let joined = format!("{url}?_count=7");
    let joined = dev.post(COUNCIL, &joined, &headers, &parameter).await.unwrap();
    books.expect(&joined, WHOLE);
    for answer in [&by_get, &posted, &joined] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(ids(&answer.json()), [PEOPLE[0].observation]);
    }
    let json = [TREAT[0], TREAT[1], ("content-type", "application/json")];
    let refused = dev.post(COUNCIL, &url, &json, "{}").await.unwrap();
    told(&refused, 415, "media-type-unsupported");
    let long = format!("{parameter}&_count={}", "0".repeat(9000));
    let refused = dev.post(COUNCIL, &url, &headers, &long).await.unwrap();
    told(&refused, 400, "bad-query");
    let nowhere = format!("/fhir/{PROVIDER}/Observation");
    let refused = dev.post(COUNCIL, &nowhere, &headers, &parameter).await.unwrap();
    told(&refused, 405, "method-not-allowed");
}

/// The version that is there is the record; any other is what an unknown id is.
async fn by_version(dev: &Dev, books: &mut Books) {
    let path = format!("/fhir/{PROVIDER}/Patient/{VERSIONED}");
    let read = get(dev, &path, TREAT).await;
    let version = get(dev, &format!("{path}/_history/3"), TREAT).await;
    for answer in [&read, &version] {
        assert_eq!(answer.status, 200, "{answer:?}");
        books.expect(answer, WHOLE);
    }
    assert_eq!(read.body, version.body);
    for other in [format!("{path}/_history/2"), format!("{path}-none/_history/3")] {
        let refused = get(dev, &other, TREAT).await;
        told(&refused, 404, "not-available");
        books.about_a_person(&refused);
    }
}

/// Who has the record is told so, and nothing else goes on; it crossed, and both halves say so.
async fn on_condition(dev: &Dev, books: &mut Books) {
    let path = format!("/fhir/{PROVIDER}/Patient/{VERSIONED}");
    let read = get(dev, &path, TREAT).await;
    let (tag, modified) = (read.header("etag"), read.header("last-modified"));
    assert!(tag.starts_with("W/\""), "{read:?}");
    assert_eq!(modified, "Sat, 28 Feb 2026 23:30:00 GMT");
    books.expect(&read, WHOLE);
    for known in [("if-none-match", tag), ("if-modified-since", modified)] {
        let same = get(dev, &path, &[TREAT[0], TREAT[1], known]).await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{same:?}");
        assert_eq!((same.header("etag"), same.header("last-modified")), (tag, modified));
        assert!(!same.header("tally-receipt").is_empty(), "{same:?}");
        books.expect(&same, WHOLE);
    }
    let other = get(dev, &path, &[TREAT[0], TREAT[1], ("if-none-match", "W/\"3\"")]).await;
    assert_eq!((other.status, &other.body), (200, &read.body));
    books.expect(&other, WHOLE);
    let head = dev.request("HEAD", COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
    assert_eq!((head.header("etag"), head.header("last-modified")), (tag, modified));
    assert_eq!(head.header("content-length"), read.body.len().to_string());
    books.expect(&head, WHOLE);
    // A record without a date has none, and another tag.
    let undated = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    let undated = get(dev, &undated, TREAT).await;
    assert!(undated.header("last-modified").is_empty() && undated.header("etag") != tag);
    books.expect(&undated, WHOLE);
}

/// JSON of FHIR R4, however it is asked for; nothing else, and nothing that is silently left out.
async fn in_a_format(dev: &Dev, books: &mut Books) {
    let path = format!("/fhir/{PROVIDER}/Patient/{VERSIONED}");
    let accept = |value: &'static str| [TREAT[0], TREAT[1], ("accept", value)];
    for (query, value) in [
        ("", "application/json"),
        ("", "application/fhir+json; fhirVersion=4.0"),
        ("?_format=application/fhir%2Bjson", "text/html"),
        ("?_format=json", "application/fhir+xml"),
    ] {
        let answer = get(dev, &format!("{path}{query}"), &accept(value)).await;
        assert_eq!(answer.status, 200, "{query} {value}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/fhir+json; charset=utf-8");
        books.expect(&answer, WHOLE);
    }
    for (query, value) in [
        ("", "application/fhir+xml"),
        ("", "application/fhir+json; fhirVersion=3.0"),
        ("?_format=xml", "application/json"),
    ] {
        let refused = get(dev, &format!("{path}{query}"), &accept(value)).await;
        told(&refused, 406, "not-acceptable");
        assert_eq!(refused.header("tally-exchange"), "");
    }
    for parameter in ["_summary=true", "_elements=id", "_pretty=true"] {
        let refused = get(dev, &format!("{path}?{parameter}"), TREAT).await;
        told(&refused, 400, "unsupported-parameter");
        books.requesters(&refused, "unsupported-parameter");
    }
}

/// Links name the ingress as its application does, and lead nowhere else; a client follows them as they
/// are.
async fn by_links(dev: &Dev, books: &mut Books) {
    let http = dev.member(COUNCIL)["http"].as_str().unwrap().to_owned();
    let by_name = http.replace("127.0.0.1", "localhost");
    let host = by_name.trim_start_matches("http://");
    for (base, lines) in [
        (&http, vec![("x-forwarded-host", "elsewhere.example"), ("x-forwarded-proto", "https")]),
        (&by_name, vec![("host", host)]),
    ] {
        let headers = [TREAT, &lines].concat();
        let mut next = Some(format!("/fhir/{PROVIDER}/Observation?_count=1"));
        let mut found = Vec::new();
        while let Some(url) = next {
            let page = get(dev, &url, &headers).await;
            assert_eq!(page.status, 200, "{page:?}");
            books.expect(&page, WHOLE);
            let page = page.json();
            found.extend(ids(&page).into_iter().map(str::to_owned));
            let start = format!("{base}/fhir/{PROVIDER}/Observation");
            for url in page["entry"].as_array().unwrap().iter().map(|entry| &entry["fullUrl"]) {
                assert!(url.as_str().unwrap().starts_with(&format!("{start}/")), "{page}");
            }
            let links = page["link"].as_array().unwrap();
            assert!(
                links.iter().all(|it| it["url"].as_str().unwrap().starts_with(&start)),
                "{page}"
            );
            let link = links.iter().find(|link| link["relation"] == "next");
            next = link.map(|link| link["url"].as_str().unwrap().to_owned());
        }
        assert_eq!(found, PEOPLE.map(|person| person.observation));
    }
}

/// What a client may ask is what agreements in force let through, for its purpose; to look costs nothing.
async fn by_what_agreements_let_through(dev: &Dev) {
    let path = format!("/fhir/{PROVIDER}/metadata");
    let http = dev.member(COUNCIL)["http"].as_str().unwrap().to_owned();
    for headers in [&[] as &[_], TREAT] {
        let statement = get(dev, &path, headers).await;
        assert_eq!((statement.status, statement.header("tally-exchange")), (200, ""));
        let statement = statement.json();
        assert_eq!(statement["resourceType"], "CapabilityStatement");
        assert_eq!(statement["implementation"]["url"], format!("{http}/fhir/{PROVIDER}"));
        let said = statement["implementation"]["description"].as_str().unwrap();
        assert!(said.contains("DSA-CARE"), "{said}");
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        let shown = |resource: &Value| {
            let names = |list: &Value, key: &str| {
                let list = list.as_array().into_iter().flatten();
                list.filter_map(|it| it[key].as_str().map(str::to_owned)).collect::<Vec<_>>()
            };
            let parameters = names(&resource["searchParam"], "name").join(" ");
            (resource["type"].as_str().unwrap().to_owned(), parameters)
        };
        let shown: Vec<_> = resources.iter().map(shown).collect();
        let expected = [
            ("Observation".to_owned(), "_id identifier patient subject".to_owned()),
            ("Patient".to_owned(), "_id identifier".to_owned()),
        ];
        assert_eq!(shown, expected);
        assert_eq!(resources[1]["operation"][0]["name"], "everything");
    }
    // For planning nothing of it is shared, and to the other trust nothing at all.
    let nothing = [get(dev, &path, PLANNING).await, dev.get(TRUST, &path, &[]).await.unwrap()];
    for statement in nothing {
        assert_eq!(statement.status, 200);
        assert_eq!(statement.json()["rest"][0]["resource"], Value::Null);
    }
    told(&get(dev, "/fhir/XX9/metadata", &[]).await, 404, "unknown-member");
    told(&get(dev, "/fhir/%ff/metadata", &[]).await, 400, "bad-query");
    told(&get(dev, &format!("/fhir/{PROVIDER}/Patient/%ff"), TREAT).await, 400, "bad-query");
    let xml = get(dev, &path, &[("accept", "application/fhir+xml")]).await;
    told(&xml, 406, "not-acceptable");
}

/// The application's own ids come back with whatever is answered, and stand in the openings.
async fn by_its_own_ids(dev: &Dev, books: &mut Books) {
    const IDS: [(&str, &str); 2] =
        [("x-request-id", "60e0b220-8136"), ("x-correlation-id", "errand|zephyr-9")];
    let headers = [TREAT, &IDS].concat();
    let patient = format!("/fhir/{PROVIDER}/Patient/{VERSIONED}");
    let read = get(dev, &patient, &headers).await;
    books.expect(&read, WHOLE);
    let unknown = get(dev, &format!("/fhir/{PROVIDER}/Patient/pat-none"), &headers).await;
    books.about_a_person(&unknown);
    let nowhere = get(dev, "/nowhere", &headers).await;
    for (answer, status) in [(&read, 200), (&unknown, 404), (&nowhere, 404)] {
        assert_eq!(answer.status, status);
        for (name, id) in IDS {
            assert_eq!(answer.header(name), id, "{answer:?}");
        }
    }
    for id in ["two words", "x".repeat(129).as_str()] {
        let refused = get(dev, &patient, &[TREAT[0], TREAT[1], ("x-correlation-id", id)]).await;
        told(&refused, 400, "header-invalid");
        assert_eq!(refused.header("x-correlation-id"), "");
    }
    let ids = json!([IDS[0].1, IDS[1].1]);
    // The custodian, who keeps the opening.
    let subject = ["audit", "subject", "--output", "json", "--subject", "nhs-number|9990000050"];
    dev.published().await.unwrap();
    let exchange = read.header("tally-exchange");
    let row = until("the exchange in the custodian's books", BOOKS_WAIT_MAX, async || {
        let told = dev.tally(PROVIDER, &subject).await.map_err(|why| why.to_string())?;
        let rows = told.done().map_err(|why| why.to_string())?.json();
        let mut all = rows["rows"].as_array().into_iter().flatten();
        all.find(|row| row["exchange"] == exchange).cloned().ok_or_else(|| rows.to_string())
    });
    assert_eq!(row.await.unwrap()["request_ids"], ids);
    // And who asked, to whom it came with the receipt.
    let receipt = get(dev, read.header("tally-receipt"), &[]).await;
    let (file, body) = (dev.dir().join("receipt.json"), dev.dir().join("body.json"));
    std::fs::write(&file, &receipt.body).unwrap();
    std::fs::write(&body, &read.body).unwrap();
    let (file, body) = (file.to_str().unwrap(), body.to_str().unwrap());
    let check = ["audit", "check", "--output", "json", file, body];
    let checked = dev.tally(COUNCIL, &check).await.unwrap().done().unwrap().json();
    assert_eq!((&checked["body"], &checked["request_ids"]), (&json!(true), &ids), "{checked}");
}

async fn get(dev: &Dev, path: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = dev.get(COUNCIL, path, headers).await.unwrap();
    assert!(answer.whole, "{path} broke off");
    answer
}

/// Ids of what a search found.
fn ids(page: &Value) -> Vec<&str> {
    let entries = page["entry"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["resource"]["id"].as_str()).collect()
}
