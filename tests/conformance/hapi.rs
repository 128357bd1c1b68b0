//! A FHIR server that somebody else wrote as the source: HAPI FHIR's RestfulServer, from Maven Central,
//! in the launcher of `hapi/`. What it holds crosses a whole mesh, page by page.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tally_tests::dev::{Answer, Dev, Files};
use tally_tests::workspace_root;
use tokio::net::TcpStream;

const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");

/// How the council's application says why and who.
const TREAT: &[(&str, &str)] =
    &[("tally-purpose", "TREAT"), ("tally-user", "https://staff.example|wren-4471")];

const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// Observations of each of the two people: several of the server's pages, which hold 7.
const EACH: usize = 23;

const AGREEMENT: &str = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Support after a stay in hospital"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
user_known = "asserted"
fields = { Patient = ["*"], Observation = ["*"] }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hapi_holds_crosses_the_mesh_and_a_no_keeps_it_in() {
    let Some(hapi) = Hapi::start() else { return };
    for (kind, record) in records() {
        hapi.put(kind, &record).await;
    }
    let dev = Dev::start(TALLY, &files(hapi.port)).await.unwrap();
    let get = async |path: &str| -> Answer {
        dev.get("LZ9", &format!("/fhir/RZ9/{path}"), TREAT).await.unwrap()
    };
    let read = get("Patient/p1").await;
    assert_eq!((read.status, &read.json()["birthDate"]), (200, &json!("1941-03-14")), "{read:?}");
    let version = get("Patient/p1/_history/1").await;
    assert_eq!((version.status, version.json()), (200, read.json()), "{version:?}");
    for nothing in ["Patient/none", "Patient/p1/_history/9", "Observation/none"] {
        assert_eq!(get(nothing).await.status, 404, "{nothing}");
    }

    let found = get(&format!("Patient?identifier={NHS_NUMBER}%7C9990000026")).await.json();
    assert_eq!(found["entry"][0]["resource"]["id"], "p2", "{found}");
    for path in ["Observation", "Observation?_count=5", "Patient/p1/$everything?_count=9"] {
        let everything = path.contains("everything");
        let all = all_pages(&dev, path).await;
        assert_eq!(all.len(), if everything { EACH + 1 } else { 2 * EACH }, "{path}");
    }
    for path in ["Observation?patient=p1&_count=10", "Observation?subject=Patient/p1"] {
        let all = all_pages(&dev, path).await;
        assert_eq!(all.len(), EACH, "{path}");
        let subject = |it: &Value| it["resource"]["subject"]["reference"] == "Patient/p1";
        assert!(all.iter().all(subject), "{path}");
    }

    // Objections are kept under the number, which the Observations don't say.
    let deny = ["consent", "record", "--subject", "nhs-number|9990000018", "--deny"];
    dev.tally("RZ9", &deny).await.unwrap().done().unwrap();
    assert_eq!(get("Observation/p1-0").await.status, 404);
    let left = all_pages(&dev, "Observation?_count=10").await;
    assert_eq!(left.len(), EACH);
    assert!(left.iter().all(|it| it["resource"]["subject"]["reference"] == "Patient/p2"));
}

/// The entries of all pages; no page but the last is shorter than the others, and no link is HAPI's.
async fn all_pages(dev: &Dev, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut lens = Vec::new();
    let mut next = Some(format!("/fhir/RZ9/{path}"));
    while let Some(path) = next {
        let answer = dev.get("LZ9", &path, TREAT).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let page = answer.json();
        let entries = page["entry"].as_array().cloned().unwrap_or_default();
        lens.push(entries.len());
        found.extend(entries);
        let text = page.to_string();
        assert!(!text.contains("_getpages") && !text.contains("/r4"), "{text}");
        let links = page["link"].as_array().cloned().unwrap_or_default();
        let link = links.iter().find(|link| link["relation"] == "next");
        next = link.map(|link| {
            let url = link["url"].as_str().unwrap();
            url.find("/fhir/").map_or(url, |at| &url[at..]).to_owned()
        });
    }
    lens.pop();
    assert!(lens.windows(2).all(|two| two[0] == two[1]), "{path}: {lens:?}");
    found
}

fn records() -> Vec<(&'static str, Value)> {
    let mut records = Vec::new();
    for (id, number) in [("p1", "9990000018"), ("p2", "9990000026")] {
        records.push((
            "Patient",
            json!({
                "resourceType": "Patient",
                "id": id,
                "identifier": [{ "system": NHS_NUMBER, "value": number }],
                "birthDate": "1941-03-14",
            }),
        ));
        for place in 0..EACH {
            records.push((
                "Observation",
                json!({
                    "resourceType": "Observation",
                    "id": format!("{id}-{place}"),
                    "status": "final",
                    "code": { "text": "Zinc in a made-up sample" },
                    "subject": { "reference": format!("Patient/{id}") },
                }),
            ));
        }
    }
    records
}

fn files(port: u16) -> Files {
    let mesh = format!(
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
url = "http://127.0.0.1:{port}/r4"
"#
    );
    Files::new(&mesh).with("care.toml", AGREEMENT)
}

/// The server, running. It ends when this is dropped.
struct Hapi {
    child: Child,
    port: u16,
}

impl Hapi {
    /// None, and a line that no test runner hides, where there is no Java, or its libraries can't be had.
    fn start() -> Option<Self> {
        match Self::try_start() {
            Ok(hapi) => Some(hapi),
            Err(why) => {
                // Not by eprintln: what that says of a test that passes is not shown.
                let line = format!("NOT TESTED: HAPI FHIR's server as a source: {}\n", why.trim());
                io::stderr().write_all(line.as_bytes()).unwrap();
                None
            }
        }
    }

    fn try_start() -> Result<Self, String> {
        let here = workspace_root().join("tests/conformance/hapi");
        let libraries = libraries(&here)?;
        let mut command = Command::new("java");
        // It lives for seconds: what a second compiler would gain it never earns back.
        command.args(["-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", libraries.trim()]);
        command.arg("Launcher.java").current_dir(&here);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|why| format!("java: {why}"))?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.ok()?.strip_prefix("port ")?.parse().ok());
        match port {
            Some(port) => Ok(Self { child, port }),
            None => Err("the launcher did not come up".to_owned()),
        }
    }

    /// Stores a record under its id.
    async fn put(&self, kind: &str, record: &Value) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let id = record["id"].as_str().unwrap();
        let request = Request::put(format!("/r4/{kind}/{id}"))
            .header("host", "127.0.0.1")
            .header("content-type", "application/fhir+json")
            .body(Full::new(Bytes::from(record.to_string())))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 201, "{kind}/{id}");
    }
}

impl Drop for Hapi {
    fn drop(&mut self) {
        // One that has ended needs no ending.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The class path of what `pom.xml` names: fetched once, and kept where Maven keeps it.
fn libraries(here: &Path) -> Result<String, String> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hapi.classpath");
    let plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath";
    let output = format!("-Dmdep.outputFile={}", file.display());
    let fetched =
        Command::new("mvn").args(["-q", "-B", plugin, &output]).current_dir(here).output();
    let fetched = fetched.map_err(|why| format!("mvn: {why}"))?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stdout).into_owned();
        return Err(said.lines().next().unwrap_or("mvn failed").to_owned());
    }
    std::fs::read_to_string(&file).map_err(|why| why.to_string())
}
