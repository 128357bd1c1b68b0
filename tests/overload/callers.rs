//! Applications that say nothing, too much, or nothing that can be understood.

use std::fs;

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Duration, Instant, timeout};

use super::memory::{metric, resident_kib};
use super::world::{COUNCIL, PLANNING, RECORD, care, is_refused, is_served, running, stalled};

/// An answer comes within this time, on a machine that is busy.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Callers that say nothing, far more than there are places.
const SILENT: usize = 400;
/// What they may cost.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

fn host(dev: &Dev) -> String {
    let at = dev.member(COUNCIL)["http"].as_str().unwrap().to_owned();
    at.trim_start_matches("http://").to_owned()
}

async fn tcp(dev: &Dev) -> TcpStream {
    TcpStream::connect(host(dev)).await.unwrap()
}

/// What comes back for these bytes, to the end of the connection.
async fn answered(mut stream: impl Stream, request: &str) -> String {
    let answer = async {
        // The rest may find nobody who reads it.
        drop(stream.write_all(request.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(ANSWER_WAIT_MAX, answer).await.expect("an answer")
}

fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_or_no_request_is_refused_and_the_others_are_served() {
    let dev = running().await;
    let many = "x-filler: 1\r\n".repeat(70);
    let large = format!("x-filler: {}\r\n", "f".repeat(17 * 1024));
    let long = format!("{RECORD}?_id={}", "f".repeat(13 * 1024));
    for (what, request, status, code) in [
        ("many headers", request(RECORD, &many), "431", "head-too-large"),
        ("a large header", request(RECORD, &large), "431", "head-too-large"),
        ("a long address", request(&long, ""), "414", "address-too-long"),
    ] {
        let answer = answered(tcp(&dev).await, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{what}: {answer}");
        assert!(answer.contains("OperationOutcome") && !answer.contains("ffff"), "{answer}");
    }
    // What is far too much is not read, so that nobody can be told more than that.
    let shed = "tally_agent_connections_shed_total{at=\"ingress\",why=\"malformed\"} ";
    for (what, request, status) in [
        ("a huge header", request(RECORD, &format!("x: {}\r\n", "f".repeat(80 * 1024))), "431"),
        ("hundreds of headers", request(RECORD, &"x: 1\r\n".repeat(300)), "431"),
        ("no request", "\u{1}\u{2} what is this\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = answered(tcp(&dev).await, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
    let counted = until("what was no request is counted", ANSWER_WAIT_MAX, async || {
        let count = metric(&dev, COUNCIL, shed).await;
        if count == 3 { Ok(()) } else { Err(count.to_string()) }
    });
    counted.await.unwrap();
    is_served(&dev, COUNCIL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_say_nothing_keep_nobody_out() {
    let dev = running().await;
    dev.reconfigure(COUNCIL, "[limits]\ningress_connections_max = 32").await.unwrap();
    is_served(&dev, COUNCIL).await;
    let before = resident_kib(&dev, COUNCIL);
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let mut stream = tcp(&dev).await;
        // A head that is begun and never ended.
        stream.write_all(b"GET /fhir/RZ9/Patient/").await.unwrap();
        silent.push(stream);
    }
    let asked = Instant::now();
    is_served(&dev, COUNCIL).await;
    let (took, after) = (asked.elapsed(), resident_kib(&dev, COUNCIL));
    let gave_way = "tally_agent_connections_shed_total{at=\"ingress\",why=\"silent\"} ";
    let gave_way = metric(&dev, COUNCIL, gave_way).await;
    println!(
        "{SILENT} silent callers, {gave_way} gave way; served in {took:?}; {before} to {after} KiB"
    );
    assert!(gave_way >= 300, "{gave_way} gave way");
    assert!(took < Duration::from_secs(5), "it waited for a head's time: {took:?}");
    assert!(after < before + GROWTH_KIB_MAX, "{before} to {after} KiB");
    drop(silent);

    // Where all are being answered, who comes is told so, at once.
    let text = dev.dir_of(COUNCIL).join("tally.toml");
    let changed = fs::read_to_string(&text).unwrap().replace("_max = 32", "_max = 2");
    fs::write(&text, changed).unwrap();
    dev.reconfigure(COUNCIL, "").await.unwrap();
    let held = [stalled(&dev, COUNCIL, PLANNING).await, stalled(&dev, COUNCIL, PLANNING).await];
    is_refused(&care(&dev, COUNCIL).await, 503, "too-busy");
    drop(held);
    let free = until("a free place", ANSWER_WAIT_MAX, async || {
        let answer = care(&dev, COUNCIL).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.code()) }
    });
    free.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_unix_socket_callers_that_say_nothing_keep_nobody_out_either() {
    let dev = running().await;
    let path = dev.dir_of(COUNCIL).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    let listen = text.split_once("[ingress]\n").unwrap().1.lines().next().unwrap().to_owned();
    assert!(listen.starts_with("listen = "), "{listen}");
    fs::write(&path, text.replace(&listen, "listen = \"unix:ingress.sock\"")).unwrap();
    dev.reconfigure(COUNCIL, "[limits]\ningress_connections_max = 8").await.unwrap();
    let socket = dev.dir_of(COUNCIL).join("ingress.sock");
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(UnixStream::connect(&socket).await.unwrap());
    }
    let headers = "tally-purpose: TREAT\r\ntally-user: https://staff.example|wren-4471\r\n";
    let asked = Instant::now();
    let stream = UnixStream::connect(&socket).await.unwrap();
    let answer = answered(stream, &request(RECORD, headers)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(silent);
}
