//! Records of a FHIR server and of a database, through whole agents: what leaves of them, and what is
//! told where they fail.

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Files};
use tally_tests::postgres::Postgres;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::TALLY;
use super::outcome::told;
use super::world::{COUNCIL, PLANNING, PROVIDER, TREAT, care_share, record_consent, verifies};

/// What the servers say where they fail: it leaves for nobody.
const WORDS: &str = "zinc-8105 said by a server";

/// The mesh file; the tables of databases come last.
pub(super) fn mesh(fhir_port: u16, databases: &str) -> String {
    format!(
        r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 1
agreements = ["care.toml"]

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = {{ ods = "LZ9" }}

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = {{ ods = "RZ9" }}

[[member.source]]
id = "fhir"
kind = "fhir"
url = "http://127.0.0.1:{fhir_port}/r4"
auth = {{ kind = "bearer", token_file = "token" }}
{databases}
"#
    )
}

fn database(id: &str, postgres: &Postgres, rest: &str) -> String {
    let (socket, port) = (postgres.socket(), postgres.port());
    format!(
        "[[member.source]]\nid = \"{id}\"\nkind = \"postgres\"\nsocket = \"{}\"\nport = {port}\n\
         database = \"postgres\"\nuser = \"owner\"\nperson = \"none\"\n{rest}\n",
        socket.display()
    )
}

pub(super) fn agreement(datasets: &[&str]) -> String {
    let mut text = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Support after a stay in hospital"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "LZ9"]
"#
    .to_owned();
    let fields = r#"fields = { Patient = ["*"], Observation = ["*"] }"#;
    text.push_str(&care_share("fhir", COUNCIL, fields));
    for source in datasets {
        text.push_str(&format!(
            "[[share]]\nprovider = \"{PROVIDER}\"\nrequesters = [\"{COUNCIL}\"]\n\
             source = \"{source}\"\npurposes = [\"local:PLANNING\"]\ndata = \"none\"\n"
        ));
    }
    text
}

async fn running(databases: &[(&str, String)]) -> Dev {
    let tables: String = databases.iter().map(|(_, table)| table.as_str()).collect();
    let sources: Vec<_> = databases.iter().map(|(id, _)| *id).collect();
    let files = Files::new(&mesh(fhir_server().await, &tables))
        .with("token", "t0ken\n")
        .with("care.toml", agreement(&sources));
    Dev::start(TALLY, &files).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fhir_server_is_read_as_a_directory_is_and_its_words_stay_inside() {
    let dev = running(&[]).await;
    let get = async |path: &str| {
        dev.get(COUNCIL, &format!("/fhir/{PROVIDER}/{path}"), TREAT).await.unwrap()
    };
    let read = get("Patient/pat-ottilie-71").await;
    assert_eq!((read.status, read.json()), (200, ottilie()));
    let found = get("Observation?patient=pat-ottilie-71").await.json();
    assert_eq!(found["entry"][0]["resource"], observation());
    upstream_faults(&dev).await;
    // A no that is kept under the number is found for a record that says an id alone.
    record_consent(&dev, "9990000018", &["--deny"]).await;
    let refused = get("Observation/obs-zinc-8101").await;
    assert_eq!(refused.status, 404, "{refused:?}");
    verifies(&dev).await;
}

async fn upstream_faults(dev: &Dev) {
    for (id, code) in [
        ("refused", "upstream-refused"),
        ("malformed", "upstream-malformed"),
        ("unreachable", "upstream-unreachable"),
    ] {
        let path = format!("/fhir/{PROVIDER}/Patient/{id}");
        let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
        told(&answer, 502, code);
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!said.contains(WORDS) && !said.contains("t0ken"), "{said}");
    }
    let log = dev.log(PROVIDER);
    assert!(!log.contains(WORDS) && !log.contains("t0ken") && !log.contains("999000"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_of_a_database_is_a_dataset_with_parameters() {
    let Some(postgres) = Postgres::start(None) else { return };
    postgres.ask("CREATE TABLE spend (year int, ward text, spent numeric)");
    postgres.ask("INSERT INTO spend VALUES (2024, 'A', 12.50), (2025, 'B', 7.00)");
    let spend = "query = \"SELECT ward, spent FROM spend WHERE year = :year\"\n\
        parameters = { year = \"integer\" }";
    let slow = "query = \"SELECT count(*) FROM generate_series(1, 1000000000) a, \
        generate_series(1, 1000) b\"\nstatement_timeout_ms = 200";
    let dev = running(&[
        ("spend", database("spend", &postgres, spend)),
        ("slow", database("slow", &postgres, slow)),
    ])
    .await;
    let answer = dev.get(COUNCIL, &format!("/data/{PROVIDER}/spend?year=2024"), PLANNING).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(String::from_utf8_lossy(&answer.body), "ward,spent\nA,12.50\n");
    let bad = dev.get(COUNCIL, &format!("/data/{PROVIDER}/spend?year=x"), PLANNING).await.unwrap();
    told(&bad, 400, "bad-query");
    too_slow(&dev).await;
    verifies(&dev).await;
}

async fn too_slow(dev: &Dev) {
    let answer = dev.get(COUNCIL, &format!("/data/{PROVIDER}/slow"), PLANNING).await.unwrap();
    told(&answer, 504, "query-too-slow");
}

pub(super) fn ottilie() -> Value {
    json!({
        "resourceType": "Patient",
        "id": "pat-ottilie-71",
        "identifier": [{
            "system": "https://fhir.nhs.uk/Id/nhs-number",
            "value": "9990000018",
        }],
        "birthDate": "1941-03-14",
    })
}

fn observation() -> Value {
    json!({
        "resourceType": "Observation",
        "id": "obs-zinc-8101",
        "status": "final",
        "code": { "text": "Zinc in a made-up sample" },
        "subject": { "reference": "Patient/pat-ottilie-71" },
    })
}

/// A small FHIR server, for as long as the test runs; its port.
async fn fhir_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    port
}

async fn talk(mut stream: TcpStream) -> Option<()> {
    let mut head = String::new();
    loop {
        while !head.contains("\r\n\r\n") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            head.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        let (status, body) = answer(&head);
        let text = format!(
            "HTTP/1.1 {status} It\r\ncontent-type: application/fhir+json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.ok()?;
        head.clear();
    }
}

fn answer(head: &str) -> (u16, String) {
    let target = head.split(' ').nth(1).unwrap_or_default();
    if !head.contains("authorization: Bearer t0ken\r\n") {
        return (401, WORDS.to_owned());
    }
    match target.split('?').next().unwrap_or_default() {
        "/r4/Patient/pat-ottilie-71" => (200, ottilie().to_string()),
        "/r4/Observation/obs-zinc-8101" => (200, observation().to_string()),
        "/r4/Observation" => {
            let entry = json!([{ "resource": observation(), "search": { "mode": "match" } }]);
            let page = json!({ "resourceType": "Bundle", "type": "searchset", "entry": entry });
            (200, page.to_string())
        }
        "/r4/Patient/refused" => (403, WORDS.to_owned()),
        "/r4/Patient/malformed" => (200, WORDS.to_owned()),
        "/r4/Patient/unreachable" => (503, WORDS.to_owned()),
        _ => (404, WORDS.to_owned()),
    }
}
