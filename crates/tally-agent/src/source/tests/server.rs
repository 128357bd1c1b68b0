//! A FHIR server that a source is read from, as a small server of the test's own plays it: its pages,
//! tokens and faults. What others' servers do stands in tests/conformance.

mod fake;
mod faults;
mod tokens;

use fake::{Fake, Reply};
use serde_json::json;

use super::*;
use crate::source::{Address, Auth, ClientIdentity, FhirServerSettings};

/// A FHIR server's source with short waits.
fn settings(url: &str) -> FhirServerSettings {
    FhirServerSettings {
        url: url.parse().unwrap(),
        ca: None,
        identity: None,
        auth: Auth::None,
        subjects: None,
        connect_wait_max: Duration::from_secs(5),
        answer_wait_max: Duration::from_secs(5),
        whole_wait_max: Duration::from_secs(20),
        attempts_max: 3,
        answer_bytes_max: 4 * 1024 * 1024,
    }
}

impl Desk {
    fn server(&self, settings: FhirServerSettings) -> Arc<Source> {
        Arc::new(self.open("fhir", SourceKind::FhirServer(Box::new(settings))).unwrap())
    }
}

async fn get(desk: &Desk, source: &Arc<Source>, path: &str) -> Result<Value, Refusal> {
    let cut = desk.asked(source, ask(path)).await?;
    Ok(serde_json::from_slice(&cut.bytes()).unwrap())
}

async fn all_pages(desk: &Desk, source: &Arc<Source>, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = get(desk, source, &path).await.unwrap();
        found.extend(page["entry"].as_array().cloned().unwrap_or_default());
        next = next_of(&page);
    }
    found
}

/// The Observations of two people in turn, and those, as a server with small pages has them.
fn two_people(seen: &fake::Seen) -> Reply {
    let of = |target: &str| -> Option<Value> {
        let (kind, id) = target.strip_prefix("/r4/")?.split_once('/')?;
        let text = match (kind, id) {
            ("Patient", "p1") => patient("p1", Some("999 000 0018")),
            ("Patient", "p2") => patient("p2", Some("9990000026")),
            ("Observation", "o1") => observation("o1", "Patient/p1"),
            ("Provenance", "v1") => json!({
                "resourceType": "Provenance", "id": "v1",
                "target": [{ "reference": "Observation/o1" }],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{ "who": { "display": "a device" } }],
            })
            .to_string(),
            ("Observation", "absolute") => {
                observation("absolute", &format!("http://{}/r4/Patient/p2", seen.host))
            }
            _ => return None,
        };
        serde_json::from_str(&text).ok()
    };
    if let Some(query) = seen.target.strip_prefix("/r4/Patient?_id=") {
        let ids = query.split('&').next().unwrap().replace("%2C", ",");
        let found = ids.split(',').filter_map(|id| of(&format!("/r4/Patient/{id}")));
        return Reply::page(&found.collect::<Vec<_>>(), None);
    }
    let from = match seen.target.split_once('?') {
        Some(("/r4/Observation", _)) => 0,
        Some(("/r4", query)) => query.strip_prefix("page=").unwrap().parse().unwrap(),
        _ => return of(&seen.target).map_or_else(|| Reply::status(404), |it| Reply::json(&it)),
    };
    let records = (from..50_u32).take(15).map(|number| {
        let subject = if number % 2 == 0 { "Patient/p1" } else { "Patient/p2" };
        serde_json::from_str(&observation(&format!("o{number}"), subject)).unwrap()
    });
    let next = (from + 15 < 50).then(|| format!("http://{}/r4?page={}", seen.host, from + 15));
    Reply::page(&records.collect::<Vec<_>>(), next.as_deref())
}

#[tokio::test]
async fn whom_a_record_is_about_is_asked_of_the_server() {
    let fake = Fake::start(two_people).await;
    let desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    for (path, person, request) in [
        ("Patient/p1", "nhs-number|9990000018", "GET /r4/Patient/p1"),
        ("Observation/o1", "nhs-number|9990000018", "GET /r4/Patient/p1"),
        ("Provenance/v1", "nhs-number|9990000018", "GET /r4/Observation/o1"),
        ("Observation/absolute", "nhs-number|9990000026", "GET /r4/Patient/p2"),
    ] {
        let found = desk.asked(&source, ask(path)).await.unwrap();
        let people: Vec<_> = found.people.keys().map(|it| it.reveal().to_owned()).collect();
        assert_eq!(people, [person], "{path}");
        assert!(fake.seen().iter().any(|seen| seen.line() == request), "{path}");
    }
    // Somebody's no is found, although the record says an id of the server's alone.
    let denied = Desk { denied: vec!["nhs-number|9990000018"], ..Desk::new() };
    let refused = get(&denied, &source, "Observation/o1").await;
    assert_eq!(refused.map_err(Refusal::on_ledger), Err(Refusal::PersonLevel));
    assert_eq!(get(&desk, &source, "Observation/none").await, Err(Refusal::UnknownRecord));
    // A read says that it may be read as JSON, and asks for nothing but what it is for.
    let seen = fake.seen();
    assert!(seen[0].head.contains("accept: application/fhir+json"), "{}", seen[0].head);
    assert!(seen.iter().all(|seen| seen.line().starts_with("GET ")));
}

#[tokio::test]
async fn the_name_before_the_number_was_known_is_told_by_the_reading() {
    let fake = Fake::start(two_people).await;
    let desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    let reading = Arc::clone(&source).describe(ask("Observation/o1")).await.unwrap();
    let person = Person::new("nhs-number|9990000018").unwrap();
    assert_eq!(reading.names_before(&person), [Person::new("RZ9/Patient|p1").unwrap()]);
    let other = Person::new("nhs-number|9990000026").unwrap();
    assert!(reading.names_before(&other).is_empty());
}

#[tokio::test]
async fn the_pages_of_a_server_become_pages_of_ours() {
    let fake = Fake::start(two_people).await;
    let mut desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    let all = all_pages(&desk, &source, "Observation?_count=200").await;
    assert_eq!(all.len(), 50);
    for count in ["", "?_count=1", "?_count=7", "?_count=50"] {
        let pages = all_pages(&desk, &source, &format!("Observation{count}")).await;
        assert_eq!(pages, all, "{count}");
    }
    let page = get(&desk, &source, "Observation?_count=7").await.unwrap();
    assert_eq!(page["entry"].as_array().unwrap().len(), 7);
    assert_eq!(page["entry"][0]["fullUrl"], "/fhir/RZ9/Observation/o0");
    assert!(page["total"].is_null());
    let text = page.to_string();
    assert!(!text.contains(&fake.host()) && !text.contains("?page="), "{text}");
    // What somebody denies makes no page shorter.
    desk.denied = vec!["nhs-number|9990000018"];
    let page = get(&desk, &source, "Observation?_count=7").await.unwrap();
    assert_eq!(page["entry"].as_array().unwrap().len(), 7);
    assert_eq!(all_pages(&desk, &source, "Observation?_count=7").await.len(), 25);
    let next = next_of(&page).unwrap();
    // A token is for its search and its source.
    let altered = next.replace("Observation", "Encounter");
    assert_eq!(get(&desk, &source, &altered).await, Err(Refusal::BadQuery));
    let other = desk.server(settings(&fake.url("/r4")));
    assert_eq!(get(&desk, &other, &next).await, Err(Refusal::BadQuery));
}

#[tokio::test]
async fn a_search_is_asked_as_it_was_and_of_nobody_by_hidden_elements() {
    let fake = Fake::start(two_people).await;
    let desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    let path = "Observation?patient=Patient/p1&identifier=x%7Cy%26z&_count=7";
    get(&desk, &source, path).await.unwrap();
    let asked = "GET /r4/Observation?identifier=x%7Cy%26z&patient=p1&_count=200";
    assert_eq!(fake.seen()[0].line(), asked);
    let reading = Arc::clone(&source).describe(ask(path)).await.unwrap();
    let queried: Vec<_> = reading.queried().iter().map(|it| it.element.as_str()).collect();
    assert_eq!(queried, ["identifier.system", "identifier.value", "subject.reference"]);
    let unknown = get(&desk, &source, "Observation?code=1").await;
    assert_eq!(unknown, Err(Refusal::UnsupportedParameter));
}

#[tokio::test]
async fn a_link_that_leads_out_of_the_server_is_not_followed() {
    let other = Fake::start(|_| Reply::page(&[], None)).await;
    let evil = other.host();
    for link in [
        format!("http://{evil}/r4?page=2"),
        "http://HOST@EVIL/r4?page=2".replace("EVIL", &evil),
        "/admin?page=2".to_owned(),
        "/r4/../admin".to_owned(),
        format!("//{evil}/r4"),
        // To itself, for ever.
        "/r4/Observation?_count=200".to_owned(),
    ] {
        let evil_link = link.clone();
        let fake =
            Fake::start(move |seen| Reply::page(&[], Some(&evil_link.replace("HOST", &seen.host))))
                .await;
        let desk = Desk::new();
        let source = desk.server(settings(&fake.url("/r4")));
        let refused = get(&desk, &source, "Observation").await;
        assert_eq!(refused, Err(Refusal::UpstreamMalformed), "{link}");
        assert_eq!(fake.seen().len(), 1, "{link}");
    }
    assert!(other.seen().is_empty(), "somebody else was asked");
}

#[tokio::test]
async fn who_waits_no_more_is_read_for_no_more() {
    let fake = Fake::start(|_| Reply::silence()).await;
    let desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    let reading = tokio::spawn(Arc::clone(&source).describe(ask("Patient/p1")));
    fake.until_seen(1).await;
    reading.abort();
    // The server sees its caller hang up.
    fake.until_hung_up(1).await;
}

#[tokio::test]
async fn mutual_tls_shows_the_certificate_that_is_there_now() {
    let (dir, tls) = fake::certificates();
    let path = |name: &str| dir.path().join(name);
    let fake = Fake::start_tls(two_people, tls).await;
    let desk = Desk::new();
    let identity = ClientIdentity { cert: path("client.pem"), key: path("client.key") };
    let url = fake.url("/r4");
    let with = |identity| FhirServerSettings {
        ca: Some(path("ca.pem")),
        identity,
        attempts_max: 1,
        ..settings(&url)
    };
    let source = desk.server(with(Some(identity)));
    assert!(get(&desk, &source, "Patient/p1").await.is_ok());
    let nobody = desk.server(with(None));
    assert_eq!(get(&desk, &nobody, "Patient/p1").await, Err(Refusal::UpstreamUnreachable));
    let stranger = FhirServerSettings { ca: Some(path("other.pem")), ..with(None) };
    let refused = get(&desk, &desk.server(stranger), "Patient/p1").await;
    assert_eq!(refused, Err(Refusal::UpstreamUnreachable));
    // A certificate that nobody vouches for takes the place of the good one, and is shown.
    fs::copy(path("other-client.pem"), path("client.pem")).unwrap();
    fs::copy(path("other-client.key"), path("client.key")).unwrap();
    fake.hang_up().await;
    assert_eq!(get(&desk, &source, "Patient/p1").await, Err(Refusal::UpstreamUnreachable));
}

#[test]
fn the_keys_of_a_fhir_source_are_read_and_their_faults_told() {
    let read = |text: &str| {
        let found = tally_core::file::read(text, 4096, &[], |reader, mut keys| {
            let value = reader.required(&mut keys, "source")?;
            reader.close(keys);
            SourceSettings::read_all(reader, Path::new("base"), &value)
        });
        found.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let head = "[[source]]\nid = \"fhir\"\nkind = \"fhir\"\n";
    let found = read(&format!("{head}url = \"http://127.0.0.1:8080/r4\"\n")).unwrap();
    let SourceKind::FhirServer(found) = &found[0].kind else { panic!("{found:?}") };
    assert_eq!(
        **found,
        FhirServerSettings {
            connect_wait_max: Duration::from_secs(2),
            whole_wait_max: Duration::from_secs(9),
            ..settings("http://127.0.0.1:8080/r4")
        }
    );
    let text = format!(
        "{head}url = \"https://fhir.rz9.example/r4\"\nca = \"ca.pem\"\ncert = \"c.pem\"\nkey = \"c.key\"\n\
         auth = {{ kind = \"smart-backend\", token_url = \"https://login.rz9.example/token\", \
         client_id = \"tally\", key = \"k.pem\", kid = \"k1\", algorithm = \"ES384\", scope = \"system/*.rs\" }}\n"
    );
    let found = read(&text).unwrap();
    let SourceKind::FhirServer(found) = &found[0].kind else { panic!("{found:?}") };
    assert!(matches!(&found.auth, Auth::SmartBackend { key_id, .. } if key_id == "k1"));
    for (rest, problem) in [
        ("", "source[0].url: is missing"),
        ("url = \"http://fhir.rz9.example\"\n", "source[0].url: http is for 127.0.0.1"),
        ("url = \"https://fhir.rz9.example\"\n", "source[0].url: https needs ca"),
        (
            "url = \"http://127.0.0.1\"\ncert = \"x\"\n",
            "source[0].cert: cert and key stand together",
        ),
        ("url = \"http://127.0.0.1\"\nattempts_max = 11\n", "source[0].attempts_max: at most 10"),
        ("url = \"http://127.0.0.1\"\nauth = \"basic\"\n", "source[0].auth: expected one of none"),
        (
            "url = \"http://127.0.0.1\"\nauth = { kind = \"client-credentials\", token_url = \"http://127.0.0.1/t\", client_id = \"a\" }\n",
            "source[0].auth: secret_file or secret_env is missing",
        ),
        ("url = \"http://127.0.0.1\"\npath = \"x\"\n", "source[0].path: no such key"),
    ] {
        let problems = read(&format!("{head}{rest}")).unwrap_err();
        assert!(problems.iter().any(|it| it.contains(problem)), "{rest}: {problems:?}");
    }
    assert!("https://x".parse::<Address>().is_ok());
}
