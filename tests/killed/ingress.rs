//! Where applications reach an agent: on a Unix socket, from elsewhere with a certificate, and never from
//! elsewhere without.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tally_net::authority::Validity;
use tally_net::rustls::pki_types::ServerName;
use tally_net::rustls::{ClientConfig, RootCertStore, version};
use tally_net::{Authority, Issued, tls};
use tally_tests::dev::Dev;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::world::{COUNCIL, record, running};

/// Has the council's ingress listen somewhere else, and begins anew.
async fn listens(dev: &Dev, lines: &str) {
    configure(dev, lines);
    dev.stop(COUNCIL).await.unwrap();
    dev.start_again(COUNCIL).await.unwrap();
}

fn configure(dev: &Dev, lines: &str) {
    let path = dev.dir_of(COUNCIL).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("[ingress]\n").unwrap();
    let after = rest.split_once("user = ").unwrap().1;
    fs::write(&path, format!("{before}[ingress]\n{lines}\nuser = {after}")).unwrap();
}

/// Where the ingress says that it is.
fn bound(dev: &Dev) -> String {
    let text = fs::read(dev.dir_of(COUNCIL).join("data/bound.json")).unwrap();
    let bound: Value = serde_json::from_slice(&text).unwrap();
    bound["ingress"].as_str().unwrap().to_owned()
}

async fn gets(dev: &Dev) -> Option<i32> {
    let who = ["--purpose", "TREAT", "--user", "https://staff.example|wren-4471"];
    let path = record(0);
    dev.tally(COUNCIL, &[&["get", &path], &who[..]].concat()).await.unwrap().code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_ask_on_a_unix_socket_and_from_elsewhere_only_with_a_certificate() {
    let dev = running().await;
    listens(&dev, "listen = \"unix:ingress.sock\"").await;
    let at = bound(&dev);
    assert!(at.starts_with("unix:") && at.ends_with("ingress.sock"), "{at}");
    assert_eq!(gets(&dev).await, Some(0));
    // What a life that was cut short has left is in nobody's way.
    dev.kill(COUNCIL).await.unwrap();
    dev.start_again(COUNCIL).await.unwrap();
    assert_eq!(gets(&dev).await, Some(0));

    configure(&dev, "listen = \"0.0.0.0:0\"");
    let refused = dev.tally(COUNCIL, &["agent"]).await.unwrap();
    assert_eq!(refused.code, Some(2), "{}", refused.said);
    assert!(refused.said.contains("not on loopback"), "{}", refused.said);
    assert!(refused.said.contains("client_ca"), "{}", refused.said);

    let (ca, other) = (authority("applications"), authority("others"));
    write(&dev, "applications.pem", ca.certificate_pem());
    let server = issue(&ca, "ingress");
    write(&dev, "ingress.pem", &server.certificate_pem);
    write(&dev, "ingress.key", &server.key_pem);
    let tls = "listen = \"0.0.0.0:0\"\ncert = \"ingress.pem\"\nkey = \"ingress.key\"\n\
               client_ca = \"applications.pem\"";
    listens(&dev, tls).await;
    let port = bound(&dev).rsplit_once(':').unwrap().1.parse().unwrap();
    let answer = asks(port, &ca, Some(issue(&ca, "ward"))).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Without a certificate of theirs nobody gets so far as to ask.
    assert_eq!(asks(port, &ca, None).await, None);
    assert_eq!(asks(port, &ca, Some(issue(&other, "ward"))).await, None);
}

fn write(dev: &Dev, name: &str, text: &str) {
    fs::write(dev.dir_of(COUNCIL).join(name), text).unwrap();
}

fn validity() -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    Validity { from_s: now - 60, until_s: now + 3600 }
}

fn authority(name: &str) -> Authority {
    Authority::create(name, validity()).unwrap()
}

fn issue(ca: &Authority, name: &str) -> Issued {
    let id = format!("spiffe://dev.example/LZ9/sidecar/{name}").parse().unwrap();
    ca.issue(&id, &[Ipv4Addr::LOCALHOST.into()], validity()).unwrap()
}

/// What an application is answered that trusts this CA; none if it is not heard.
async fn asks(port: u16, trusts: &Authority, shows: Option<Issued>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.certificate_der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows.map(|issued| issued.identity()) {
        Some(it) => builder.with_client_auth_cert(it.chain(), it.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let path = record(0);
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: tally.lz9.example\r\ntally-purpose: TREAT\r\n\
         tally-user: https://staff.example|wren-4471\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).unwrap();
    (!answer.is_empty()).then_some(answer)
}
