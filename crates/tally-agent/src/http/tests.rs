//! Callers that are slow, silent or too many, on real sockets.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use axum::routing::get;
use tally_net::authority::Validity;
use tally_net::rustls::pki_types::ServerName;
use tally_net::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tally_net::{Authority, tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;

/// Longer than anything takes that is not stuck.
const WAIT_MAX: Duration = Duration::from_secs(20);

type Seen = Arc<Mutex<Vec<Shed>>>;

fn limits(connections_max: usize, header_wait_max: Duration) -> HttpLimits {
    HttpLimits { connections_max, header_wait_max, ..HttpLimits::default() }
}

fn counted() -> (Seen, Shedding) {
    let seen = Seen::default();
    let sees = Arc::clone(&seen);
    (seen, Shedding::new(Arc::new(move |shed| sees.lock().unwrap().push(shed))))
}

fn router() -> Router {
    Router::new().route("/", get(async || "here"))
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// What is answered, to the end of the connection.
async fn asks(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = async {
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer).await);
        answer
    };
    timeout(WAIT_MAX, answer).await.expect("an answer")
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_its_connection() {
    let (seen, shedding) = counted();
    let wait = Duration::from_millis(100);
    let server = HttpServer::tcp(listener().await, router(), limits(4, wait), shedding);
    let address = server.address().unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let mut rest = Vec::new();
    let ended = timeout(WAIT_MAX, slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "{rest:?}");
    let mut nonsense = TcpStream::connect(address).await.unwrap();
    nonsense.write_all(b"\x01\x02\x03\r\n\r\n").await.unwrap();
    drop(timeout(WAIT_MAX, nonsense.read_to_end(&mut rest)).await.expect("an end"));
    assert!(asks(TcpStream::connect(address).await.unwrap()).await.ends_with("here"));
    assert_eq!(*seen.lock().unwrap(), [Shed::Slow, Shed::Malformed]);
}

#[tokio::test]
async fn handshakes_that_never_end_keep_nobody_out() {
    let (seen, shedding) = counted();
    let validity = Validity { from_s: 0, until_s: 4_000_000_000 };
    let ca = Authority::create("tests", validity).unwrap();
    let id = "spiffe://dev.example/LZ9/agent/ingress".parse().unwrap();
    let own = ca.issue(&id, &[Ipv4Addr::LOCALHOST.into()], validity).unwrap().identity();
    let provider = Arc::new(tls::provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(own));
    let (limits, config) = (limits(4, WAIT_MAX), Arc::new(config));
    let server = HttpServer::on_tcp(
        listener().await,
        Some(config),
        Parts::answering(router(), limits, shedding),
    );
    let address = server.address().unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[22, 3, 1]).await.unwrap();
        silent.push(stream);
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate_der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let stream = TcpStream::connect(address).await.unwrap();
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(WAIT_MAX / 2, shaken).await.expect("a handshake").unwrap();
    assert!(asks(stream).await.ends_with("here"));
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 17 && seen.iter().all(|it| *it == Shed::Silent), "{seen:?}");
}

#[tokio::test]
async fn whoever_has_no_place_is_told_so_and_who_is_answered_is_not_disturbed() {
    let (seen, shedding) = counted();
    let (release, waits) = watch::channel(false);
    let (begin, mut begun) = watch::channel(false);
    let slow = get(move || {
        let mut waits = waits.clone();
        begin.send_replace(true);
        async move {
            drop(waits.wait_for(|done| *done).await);
            "at last"
        }
    });
    let router = router().route("/slow", slow);
    let server = HttpServer::tcp(listener().await, router, limits(1, WAIT_MAX), shedding);
    let address = server.address().unwrap();
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    // Until then it is silent, and would give way.
    begun.wait_for(|begun| *begun).await.unwrap();
    let answer = asks(TcpStream::connect(address).await.unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    release.send_replace(true);
    let mut answer = String::new();
    timeout(WAIT_MAX, first.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.ends_with("at last"), "{answer}");
    assert_eq!(*seen.lock().unwrap(), [Shed::Full]);
}
