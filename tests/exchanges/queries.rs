//! Results of queries that are larger than an agent's memory for one exchange, through whole agents and
//! a real PostgreSQL: about nobody they stream, about people they wait in the spool.

use std::fs;
use std::time::Duration;

use tally_tests::dev::{Dev, Files, rows_of};
use tally_tests::mesh::until;
use tally_tests::postgres::Postgres;

use super::TALLY;
use super::books::{BROKEN_OFF, Books, STREAMED, WHOLE};
use super::world::{COUNCIL, PEOPLE, PLANNING, PROVIDER, TREAT, care_share, record_consent};

/// Rows of the table about nobody, each of 1 KiB: 48 MB.
const ROWS: usize = 48_000;
/// Rows of the one about people, each of 1 KiB: 24 MB.
const VISITS: usize = 24_000;
/// What an agent's memory may grow by while the table about nobody leaves: collected and cut it would be
/// there twice.
const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A fact comes true within this time, on a machine that is busy.
const WAIT_MAX: Duration = Duration::from_secs(60);

const TABLES: &str = "
    CREATE TABLE flow AS SELECT hour, repeat('flow ', 204) AS note, 'kept' AS kept
        FROM generate_series(1, 48000) AS hour;
    CREATE TABLE visits AS SELECT visit, repeat('seen ', 204) AS note,
        (ARRAY['9990000018', '9990000026', '9990000034', '9990000042'])[visit % 4 + 1] AS nhs_number
        FROM generate_series(1, 24000) AS visit;
";

fn mesh(postgres: &Postgres) -> String {
    let source = |id: &str, person: &str, query: &str| {
        format!(
            "[[member.source]]\nid = \"{id}\"\nkind = \"postgres\"\nsocket = \"{}\"\nport = {}\n\
             database = \"postgres\"\nuser = \"owner\"\nperson = {person}\nquery = \"{query}\"\n\
             statement_timeout_ms = 60000\n",
            postgres.socket().display(),
            postgres.port(),
        )
    };
    let person = r#"{ column = "nhs_number", system = "nhs-number" }"#;
    format!(
        "tally = 1\nmesh = \"dev.example\"\nenvironment = \"test\"\nledger_nodes = 1\n\
         agreements = [\"care.toml\"]\n\n\
         [[member]]\nid = \"LZ9\"\nname = \"Anytown City Council (fictional)\"\n\
         codes = {{ ods = \"LZ9\" }}\n\n\
         [[member]]\nid = \"RZ9\"\nname = \"Anytown Hospitals NHS Trust (fictional)\"\n\
         codes = {{ ods = \"RZ9\" }}\n\n{}{}",
        source("flow", "\"none\"", "SELECT * FROM flow ORDER BY hour"),
        source("visits", person, "SELECT nhs_number, visit, note FROM visits ORDER BY visit"),
    )
}

async fn running(postgres: &Postgres) -> Dev {
    postgres.ask(TABLES);
    let mut care = "tally = 1\nid = \"DSA-CARE\"\nversion = 1\ntitle = \"Support after a stay\"\n\
        start = 2025-01-01\nreview = 2099-06-30\nend = 2099-12-31\nparties = [\"RZ9\", \"LZ9\"]\n"
        .to_owned();
    care.push_str(&care_share("visits", COUNCIL, r#"columns = ["nhs_number", "note"]"#));
    care.push_str(
        "[[share]]\nprovider = \"RZ9\"\nrequesters = [\"LZ9\"]\nsource = \"flow\"\n\
         purposes = [\"local:PLANNING\"]\ndata = \"none\"\ncolumns = [\"hour\", \"note\"]\n",
    );
    let files = Files::new(&mesh(postgres)).with("care.toml", care);
    Dev::start(TALLY, &files).await.unwrap()
}

/// Bytes of memory of the provider's agent, by the line of its status.
fn memory(dev: &Dev, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", dev.pid(PROVIDER).unwrap()));
    let status = status.unwrap();
    let found = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// From here on the most that it has is counted.
fn measured(dev: &Dev) -> u64 {
    fs::write(format!("/proc/{}/clear_refs", dev.pid(PROVIDER).unwrap()), "5").unwrap();
    memory(dev, "VmRSS:")
}

fn path(source: &str) -> String {
    format!("/data/{PROVIDER}/{source}")
}

/// Queries of agents that the server works on.
fn active(postgres: &Postgres) -> String {
    postgres.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tally' \
         AND state = 'active' AND query LIKE 'COPY%'",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_about_nobody_streams_and_waits_for_its_requester() {
    let Some(postgres) = Postgres::start(None) else { return };
    let dev = running(&postgres).await;
    let mut books = Books::default();
    let before = measured(&dev);
    let mut arriving = dev.open("GET", COUNCIL, &path("flow"), PLANNING).await.unwrap();
    assert_eq!(arriving.status, 200);
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    let first = arriving.next().await.unwrap().unwrap();
    // The application reads no further, and the server's query is not done: it waits, too.
    assert_eq!(active(&postgres), "1");
    let answer = arriving.all().await.unwrap();
    assert!(answer.whole);
    let body = String::from_utf8([first, answer.body].concat()).unwrap();
    let note = "flow ".repeat(204);
    let mut lines = body.lines();
    assert_eq!(lines.next(), Some("hour,note"));
    for hour in 1..=ROWS {
        assert_eq!(lines.next(), Some(&*format!("{hour},{note}")), "{hour}");
    }
    assert_eq!(lines.next(), None);
    let most = memory(&dev, "VmHWM:");
    println!("{} bytes; resident {before} before, {most} at most", body.len());
    assert!(body.len() > 48_000_000 && most < before + GROWTH_BYTES_MAX, "{before} {most}");
    books.expect_of(&exchange, STREAMED);

    // An application that goes away takes its query with it.
    let arriving = dev.open("GET", COUNCIL, &path("flow"), PLANNING).await.unwrap();
    let left = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    assert_eq!(active(&postgres), "1");
    drop(arriving);
    let idle = until("a server without a query of ours", WAIT_MAX, async || {
        match active(&postgres).as_str() {
            "0" => Ok(()),
            count => Err(count.to_owned()),
        }
    });
    idle.await.unwrap();
    books.expect_of(&left, BROKEN_OFF);
    let rows = books.balance(&dev).await;
    let close = rows_of(&rows, &exchange).into_iter().find(|row| row["half"] == "close").unwrap();
    assert_eq!(close["bytes"], body.len(), "{close}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_about_people_is_decided_row_by_row_from_the_spool() {
    let Some(postgres) = Postgres::start(None) else { return };
    let dev = running(&postgres).await;
    let mut books = Books::default();
    record_consent(&dev, PEOPLE[0].nhs_number, &["--object"]).await;
    let answer = dev.get(COUNCIL, &path("visits"), TREAT).await.unwrap();
    assert!(answer.status == 200 && answer.whole, "{}", answer.code());
    let note = "seen ".repeat(204);
    let mut expected = "nhs_number,note\n".to_owned();
    for visit in (1..=VISITS).filter(|visit| visit % 4 != 0) {
        expected.push_str(&format!("{},{note}\n", PEOPLE[visit % 4].nhs_number));
    }
    assert!(answer.body == expected.as_bytes(), "{} of {}", answer.body.len(), expected.len());
    assert_eq!(active(&postgres), "0");
    books.expect(&answer, WHOLE);
    books.balance(&dev).await;
}
