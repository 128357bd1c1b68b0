//! Records about people that are larger than an agent's memory for one exchange: they cross whole, in
//! constant memory, and on the provider's disk they are never in clear.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tally_tests::dev::{Arriving, Dev, Files, rows_of};
use tally_tests::mesh::until;

use super::TALLY;
use super::books::{BROKEN_OFF, Books, WHOLE};
use super::outcome::told;
use super::withdrawal::WITHDRAWN;
use super::world::{
    COUNCIL, PEOPLE, PROVIDER, TREAT, care_share, ended_at_the_provider, record_consent,
    withdraw_consent,
};

/// Rows of the table, each of 4 KiB: 24 MB.
const ROWS: usize = 6_000;
/// Of somebody else every so many rows.
const OTHERS: usize = 1_500;
/// What an agent's memory may grow by meanwhile: less than the table as it was read and as it leaves, and
/// what QUIC holds of it until it is acknowledged comes on top of either.
const GROWTH_BYTES_MAX: u64 = 44 * 1024 * 1024;
/// Stands in each row, and may leave.
const NEEDLE: &str = "seen by Wren Underbough";
/// A fact comes true within this time, on a machine that is busy.
const WAIT_MAX: Duration = Duration::from_secs(60);

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member.source]]
id = "visits"
kind = "files"
path = "visits.csv"
identifiers = "synthetic"
person = { column = "nhs_number", system = "nhs-number" }

[[member.source]]
id = "register"
kind = "files"
path = "register.csv"
identifiers = "synthetic"
person = { column = "nhs_number", system = "nhs-number" }

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
"#;

const CARE: &str = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Support after a stay in hospital"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9"]
"#;

async fn running() -> Dev {
    let mut care = CARE.to_owned();
    let columns = r#"columns = ["nhs_number", "note"]"#;
    for source in ["visits", "register"] {
        care.push_str(&care_share(source, COUNCIL, columns));
    }
    care.push_str(&care_share("fhir", COUNCIL, "fields = { Observation = [\"*\"] }"));
    let files = Files::new(MESH)
        .with("care.toml", care)
        .with("visits.csv", visits(&|_| true, true))
        .with("register.csv", "nhs_number,note\n".to_owned() + &"x".repeat(60 * 1024 * 1024))
        .with("rz9/p.json", patient())
        .with("rz9/o.json", observation());
    Dev::start(TALLY, &files).await.unwrap()
}

/// Whose row it is. Nobody ever had these numbers.
fn number(row: usize) -> String {
    match row % OTHERS {
        place @ 0..4 => PEOPLE[place].nhs_number.to_owned(),
        place => format!("99911{place:05}"),
    }
}

/// The table, or what of it leaves: rows of those who are meant, and all columns or those that may go.
fn visits(meant: &dyn Fn(&str) -> bool, all: bool) -> String {
    let mut text = String::from(if all { "nhs_number,kept,note\n" } else { "nhs_number,note\n" });
    let filler = "lorem ipsum ".repeat(335);
    for row in 0..ROWS {
        let number = number(row);
        let kept = if all { format!("kept-{row},") } else { String::new() };
        if meant(&number) {
            writeln!(text, "{number},{kept}\"{NEEDLE}, {row} {filler}\"").unwrap();
        }
    }
    text
}

fn patient() -> String {
    let number = PEOPLE[3].nhs_number;
    let identifier = json!([{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": number }]);
    json!({ "resourceType": "Patient", "id": "p1", "identifier": identifier }).to_string()
}

/// Of 3 MB.
fn observation() -> String {
    json!({
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": { "text": "A made-up letter" },
        "subject": { "reference": "Patient/p1" },
        "valueString": NEEDLE.repeat(3 * 1024 * 1024 / NEEDLE.len()),
    })
    .to_string()
}

fn path(source: &str) -> String {
    format!("/data/{PROVIDER}/{source}")
}

/// An application that has the head of an answer, and reads no further.
async fn begun(dev: &Dev, source: &str) -> (String, Arriving) {
    let arriving = dev.open("GET", COUNCIL, &path(source), TREAT).await.unwrap();
    assert_eq!(arriving.status, 200, "{:?}", arriving.headers);
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    (exchange, arriving)
}

/// Bytes of memory of a process, by the line of its status.
fn memory(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What lies in files of the spool that a process has open.
fn spooled_by(pid: u32) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for open in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let open = open.unwrap().path();
        let Ok(target) = fs::read_link(&open) else { continue };
        if target.to_string_lossy().contains("/spool/") {
            assert!(target.to_string_lossy().ends_with("(deleted)"), "{target:?}");
            found.push(fs::read(&open).unwrap());
        }
    }
    found
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|it| it == needle.as_bytes())
}

/// The files of a directory, with those below.
fn files_of(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_of(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

async fn spool_is_empty(dev: &Dev) {
    let empty = until("an empty spool", WAIT_MAX, async || {
        let metrics = dev.metrics(PROVIDER).await.map_err(|error| error.to_string())?;
        let line = metrics.lines().find(|it| it.starts_with("tally_agent_spool_bytes "));
        match line {
            Some("tally_agent_spool_bytes 0") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    empty.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_people_larger_than_memory_crosses_without_those_who_have_said_no() {
    let dev = running().await;
    let mut books = Books::default();
    record_consent(&dev, PEOPLE[0].nhs_number, &["--deny", "--purpose", "TREAT"]).await;
    record_consent(&dev, PEOPLE[1].nhs_number, &["--object"]).await;
    // One who has taken it back.
    let third = record_consent(&dev, PEOPLE[2].nhs_number, &["--object"]).await;
    withdraw_consent(&dev, PEOPLE[2].nhs_number, third["id"].as_u64().unwrap()).await;
    let pid = dev.pid(PROVIDER).unwrap();
    let before = memory(pid, "VmRSS:");
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();

    let (exchange, arriving) = begun(&dev, "visits").await;
    is_nowhere_in_clear(&dev, pid);
    let answer = arriving.all().await.unwrap();
    let most = memory(pid, "VmHWM:");
    println!("{} bytes; resident {before} before, {most} at most", answer.body.len());

    let gone = [PEOPLE[0].nhs_number, PEOPLE[1].nhs_number];
    let expected = visits(&|number| !gone.contains(&number), false);
    assert!(answer.whole && answer.body.len() > 22 * 1024 * 1024);
    assert!(answer.body == expected.as_bytes(), "{} of {}", answer.body.len(), expected.len());
    assert!(most < before + GROWTH_BYTES_MAX, "{before} {most}");
    books.expect_of(&exchange, WHOLE);
    ended_at_the_provider(&dev, &exchange).await;
    spool_is_empty(&dev).await;
    let rows = books.balance(&dev).await;
    let provider = &rows_of(&rows, &exchange)[0];
    assert_eq!(provider["people"], OTHERS - 2, "{provider}");
    assert_eq!(provider["records"], ROWS - 2 * ROWS / OTHERS, "{provider}");
    assert_eq!(provider["bytes"], expected.len(), "{provider}");
}

/// While the table waits for its requester.
fn is_nowhere_in_clear(dev: &Dev, pid: u32) {
    let spooled = spooled_by(pid);
    assert_eq!(spooled.len(), 1, "what was read is gone, and what leaves is there");
    assert!(spooled[0].len() > 22 * 1024 * 1024);
    assert!(!holds(&spooled[0], NEEDLE) && !holds(&spooled[0], "nhs_number"));
    let data = dev.dir_of(PROVIDER).join("data");
    let files = files_of(&data);
    assert!(files.iter().any(|path| path.ends_with("store.sqlite")), "{files:?}");
    for path in files.iter().filter(|path| path.is_file()) {
        assert!(!holds(&fs::read(path).unwrap(), NEEDLE), "{}", path.display());
    }
    assert_eq!(files_of(&data.join("spool")).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_does_not_fit_into_memory_crosses_as_a_whole() {
    let dev = running().await;
    let mut books = Books::default();
    let read = format!("/fhir/{PROVIDER}/Observation/o1");
    let answer = dev.get(COUNCIL, &read, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    assert!(answer.body == observation().as_bytes(), "{} bytes", answer.body.len());
    books.expect(&answer, WHOLE);
    let search = format!("/fhir/{PROVIDER}/Observation?patient=p1");
    let answer = dev.get(COUNCIL, &search, TREAT).await.unwrap();
    assert_eq!(answer.json()["entry"][0]["resource"]["id"], "o1");
    books.expect(&answer, WHOLE);
    spool_is_empty(&dev).await;
    books.balance(&dev).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_ends_what_is_on_its_way_about_that_person() {
    let dev = running().await;
    let mut books = Books::default();
    let (ends, first) = begun(&dev, "visits").await;
    // One of a thousand people in the table says no while it is on its way.
    record_consent(&dev, PEOPLE[1].nhs_number, &["--deny"]).await;
    ended_at_the_provider(&dev, &ends).await;
    let rest = first.all().await.unwrap();
    assert!(!rest.whole, "{} bytes came as if they were all", rest.body.len());
    books.expect_of(&ends, WITHDRAWN);
    spool_is_empty(&dev).await;
    // Asked again, it comes without that person.
    let again = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
    let expected = visits(&|number| number != PEOPLE[1].nhs_number, false);
    assert!(again.whole && again.body == expected.as_bytes());
    books.expect(&again, WHOLE);
    books.balance(&dev).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_spool_has_no_room_for_is_refused_in_words() {
    let dev = running().await;
    let mut books = Books::default();
    let limits = "[limits]\nspool_bytes_max = 30000000\nspool_total_bytes_max = 60000000";
    dev.reconfigure(PROVIDER, limits).await.unwrap();
    let answer = dev.get(COUNCIL, &path("register"), TREAT).await.unwrap();
    told(&answer, 403, "too-large");
    books.requesters(&answer, "too-large");

    // One that waits leaves no room for another, and then it does.
    let (waits, arriving) = begun(&dev, "visits").await;
    let answer = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
    told(&answer, 503, "spool-full");
    books.requesters(&answer, "spool-full");
    drop(arriving);
    books.expect_of(&waits, BROKEN_OFF);
    ended_at_the_provider(&dev, &waits).await;
    spool_is_empty(&dev).await;
    let answer = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
    assert!(answer.status == 200 && answer.whole, "{}", answer.code());
    books.expect(&answer, WHOLE);

    if let Some(disk) = SmallDisk::at(&dev.dir_of(PROVIDER).join("data/spool")) {
        let answer = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
        told(&answer, 503, "disk-full");
        books.requesters(&answer, "disk-full");
        drop(disk);
        let answer = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
        assert!(answer.status == 200 && answer.whole, "{}", answer.code());
        books.expect(&answer, WHOLE);
    }
    books.balance(&dev).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_with_a_body_in_its_spool_leaves_nothing_of_it() {
    let dev = running().await;
    let mut books = Books::default();
    let (exchange, arriving) = begun(&dev, "visits").await;
    let pid = dev.pid(PROVIDER).unwrap();
    assert_eq!(spooled_by(pid).len(), 1);
    dev.kill(PROVIDER).await.unwrap();
    let data = dev.dir_of(PROVIDER).join("data");
    assert_eq!(files_of(&data.join("spool")).len(), 0);
    let left: u64 =
        files_of(&data).iter().filter_map(|it| fs::metadata(it).ok()).map(|it| it.len()).sum();
    assert!(left < 16 * 1024 * 1024, "{left}");
    dev.start_again(PROVIDER).await.unwrap();
    assert!(!arriving.all().await.unwrap().whole);
    books.expect_of(&exchange, BROKEN_OFF);
    books.balance(&dev).await;
    let answer = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
    assert!(answer.status == 200 && answer.whole, "{}", answer.code());
}

/// A disk of 1 MiB over a directory, for as long as this lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None, and a line that no test runner hides, where nobody may mount anything.
    fn at(path: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path);
        if mount.output().is_ok_and(|it| it.status.success()) {
            return Some(Self(path.to_owned()));
        }
        let line =
            "NOT TESTED: a full disk under the spool: it takes a mount, which is not allowed\n";
        io::stderr().write_all(line.as_bytes()).unwrap();
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).output().unwrap();
    }
}
