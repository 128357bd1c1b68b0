//! Clients that others wrote, of which nothing is changed but their base URL: fhirpy and fhirclient from
//! PyPI, in a virtual environment of their own, and curl. Where they can't be had, that is said in a line.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Files};
use tally_tests::workspace_root;
use tokio::task::spawn_blocking;

use super::TALLY;
use super::world::{PEOPLE, PROVIDER, TRUST, care_share, patient_files, verifies};

/// More than fit onto one page.
const OBSERVATIONS: usize = 30;

/// The ingress says why and who: a client need not know that there are such headers.
const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 1
agreements = ["care.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member]]
id = "RZ8"
name = "Otherton Community NHS Trust (fictional)"
codes = { ods = "RZ8" }

[[member.ingress]]
purpose = "TREAT"
user = "service:ward-board"
"#;

const CARE: &str = r#"
tally = 1
id = "DSA-WARD"
version = 1
title = "A board on a ward"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-78"
parties = ["RZ9", "RZ8"]
"#;

fn files() -> Files {
    let fields = r#"fields = { Patient = ["*"], Observation = ["*"] }"#;
    let share = care_share("fhir", TRUST, fields).replace("\"asserted\"", "\"service\"");
    let more = (0..OBSERVATIONS).map(|number| {
        let observation = json!({
            "resourceType": "Observation",
            "id": format!("obs-tin-{number:02}"),
            "meta": { "versionId": "4" },
            "status": "final",
            "code": { "text": "Tin in a made-up sample" },
            "subject": { "reference": format!("Patient/{}", PEOPLE[0].id) },
        });
        json!({ "resource": observation })
    });
    let more = json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": more.collect::<Vec<_>>(),
    });
    let files = Files::new(MESH).with("care.toml", format!("{CARE}{share}"));
    patient_files(files.with("rz9/more.json", more.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_others_wrote_work_with_only_their_base_url_changed() {
    let dev = Dev::start(TALLY, &files()).await.unwrap();
    let http = dev.member(TRUST)["http"].as_str().unwrap().to_owned();
    let base = format!("{http}/fhir/{PROVIDER}");
    spawn_blocking(move || {
        by_libraries(&base);
        by_curl(&base);
    })
    .await
    .unwrap();
    verifies(&dev).await;
}

fn by_libraries(base: &str) {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return not_tested("FHIR clients from PyPI", &why),
    };
    let more = (0..OBSERVATIONS).map(|number| format!("obs-tin-{number:02}"));
    let mut observations: Vec<_> = more.chain([PEOPLE[0].observation.to_owned()]).collect();
    observations.sort();
    let mut everything = observations.clone();
    everything.push(PEOPLE[0].id.to_owned());
    everything.sort();
    // fhirpy sends forms of its own to nobody: that search is fhirclient's alone.
    for (script, by_post) in
        [("with_fhirpy.py", Value::Null), ("with_fhirclient.py", json!([PEOPLE[1].observation]))]
    {
        let mut command = Command::new(&python);
        command.arg(folder().join(script)).args([base, PEOPLE[0].id, PEOPLE[1].id]);
        // Nothing is written beside the scripts.
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
        let said = succeeded(command.output()).unwrap_or_else(|why| panic!("{script}: {why}"));
        let found: Value = serde_json::from_str(&said).unwrap();
        let expected = json!({
            "patient": PEOPLE[0].id,
            "observations": observations,
            "everything": everything,
            "version": "obs-tin-00 4",
            "by_post": by_post,
            "types": ["Observation", "Patient"],
            "missing": [true, true],
        });
        assert_eq!(found, expected, "{script}");
    }
}

fn by_curl(base: &str) {
    if let Err(why) = succeeded(Command::new("curl").arg("--version").output()) {
        return not_tested("curl", &why);
    }
    let patient = format!("{base}/Patient/{}", PEOPLE[0].id);
    let (head, body) = curl(&[&patient]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body["id"], PEOPLE[0].id);
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (head, body) = curl(&[&patient, "--header", &format!("If-None-Match: {tag}")]);
    assert!(head.starts_with("HTTP/1.1 304") && body.is_null(), "{head}");
    let (head, body) = curl(&[&patient, "--head"]);
    assert!(head.starts_with("HTTP/1.1 200") && body.is_null(), "{head}");
    let search = format!("{base}/Observation/_search");
    let by = format!("patient={}", PEOPLE[1].id);
    let (head, body) = curl(&[&search, "--data-urlencode", &by]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body["entry"][0]["resource"]["id"], PEOPLE[1].observation);
    let (head, body) = curl(&[&format!("{base}/Patient/pat-nobody-99")]);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert_eq!(body["resourceType"], "OperationOutcome");
}

/// The head of an answer, and its body, null if there is none.
fn curl(args: &[&str]) -> (String, Value) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60", "--include"]);
    let said = succeeded(command.args(args).output()).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

/// An interpreter that has the libraries: made once, of the versions that are pinned.
fn python() -> Result<PathBuf, String> {
    let requirements = folder().join("requirements.txt");
    let wanted = fs::read(&requirements).unwrap();
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fhir-clients");
    let (python, made) = (environment.join("bin/python"), environment.join("made"));
    if fs::read(&made).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let mut venv = Command::new("python3");
    succeeded(venv.args(["-m", "venv", "--clear"]).arg(&environment).output())?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    succeeded(pip.arg(&requirements).output())?;
    fs::write(made, wanted).map_err(|why| why.to_string())?;
    Ok(python)
}

fn folder() -> PathBuf {
    workspace_root().join("tests/exchanges/clients")
}

fn not_tested(what: &str, why: &str) {
    // Not by eprintln: what that says of a test that passes is not shown.
    let why = why.trim().lines().last().unwrap_or_default();
    let line = format!("NOT TESTED: {what}: {why}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

fn succeeded(output: io::Result<Output>) -> Result<String, String> {
    let Output { status, stdout, stderr } = output.map_err(|why| why.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}
