//! A trace goes with a request, from the application to the server that its record is read from, and its
//! id stands in the line of the exchange at either side; what is no trace stands nowhere.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tally_tests::dev::{Dev, Files};
use tally_tests::mesh::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::TALLY;
use super::upstream::{agreement, mesh, ottilie};
use super::world::{COUNCIL, PROVIDER, TREAT};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
/// What somebody put where a trace goes: it has the length of one.
const NO_TRACE: &str = "00-999000001899900000189990000018QQ-00f067aa0ba902b7-01";
/// A line is in a log within this time, on a machine that is busy.
const LINE_WAIT_MAX: Duration = Duration::from_secs(20);

/// The heads of all requests that a server has read.
type Heads = Arc<Mutex<Vec<String>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_from_the_application_to_the_source_and_into_the_log_of_both_sides() {
    let (port, heads) = fhir_server().await;
    let files =
        Files::new(&mesh(port, "")).with("token", "t0ken\n").with("care.toml", agreement(&[]));
    let dev = Dev::start(TALLY, &files).await.unwrap();

    let traced = [TREAT, &[("traceparent", PARENT), ("tracestate", STATE)]].concat();
    let exchange = asks(&dev, &traced).await;
    let read = heads.lock().unwrap().drain(..).collect::<String>();
    for line in [format!("traceparent: {PARENT}\r\n"), format!("tracestate: {STATE}\r\n")] {
        assert!(read.contains(&line), "{line:?} is not in {read}");
    }
    for member in [COUNCIL, PROVIDER] {
        let line = line_of(&dev, member, &exchange).await;
        assert!(line.contains(TRACE_ID) && !line.contains("rojo"), "{member}: {line}");
    }
    // The custodian finds the exchange by it, and nobody else does.
    dev.published().await.unwrap();
    let subject = ["audit", "subject", "--output", "json", "--subject", "nhs-number|9990000018"];
    let row = until("the exchange in the custodian's books", LINE_WAIT_MAX, async || {
        let told = dev.tally(PROVIDER, &subject).await.map_err(|why| why.to_string())?;
        let rows = told.done().map_err(|why| why.to_string())?.json();
        let mut all = rows["rows"].as_array().into_iter().flatten();
        all.find(|row| row["exchange"] == exchange).cloned().ok_or_else(|| rows.to_string())
    });
    assert_eq!(row.await.unwrap()["request_ids"], json!([PARENT]));

    let nonsense = [TREAT, &[("traceparent", NO_TRACE), ("tracestate", STATE)]].concat();
    let exchange = asks(&dev, &nonsense).await;
    let read = heads.lock().unwrap().drain(..).collect::<String>();
    assert!(read.contains("/r4/Patient") && !read.contains("traceparent"), "{read}");
    assert!(!read.contains("tracestate"), "{read}");
    for member in [COUNCIL, PROVIDER] {
        assert!(!line_of(&dev, member, &exchange).await.contains("trace"), "{member}");
        assert!(!dev.log(member).contains("QQ"), "{member}");
    }
}

/// Reads a record; the exchange.
async fn asks(dev: &Dev, headers: &[(&str, &str)]) -> String {
    let path = format!("/fhir/{PROVIDER}/Patient/pat-ottilie-71");
    let answer = dev.get(COUNCIL, &path, headers).await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, ottilie()));
    assert_eq!(answer.header("traceparent"), "", "the Recommendation has none in answers");
    answer.header("tally-exchange").to_owned()
}

/// The one line that a log has of an exchange.
async fn line_of(dev: &Dev, member: &str, exchange: &str) -> String {
    let line = until("the line of an exchange", LINE_WAIT_MAX, async || {
        let log = dev.log(member);
        let line = log.lines().find(|line| line.contains(exchange) && line.contains("released"));
        line.map(str::to_owned).ok_or(log)
    });
    line.await.unwrap()
}

/// A small FHIR server that remembers what it was asked.
async fn fhir_server() -> (u16, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, heads) = (listener.local_addr().unwrap().port(), Heads::default());
    let remembered = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, Arc::clone(&remembered)));
        }
    });
    (port, heads)
}

async fn talk(mut stream: TcpStream, heads: Heads) -> Option<()> {
    let mut head = String::new();
    loop {
        while !head.contains("\r\n\r\n") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            head.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        heads.lock().unwrap().push(std::mem::take(&mut head));
        let body = ottilie().to_string();
        let text = format!(
            "HTTP/1.1 200 It\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n\
             {body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}
