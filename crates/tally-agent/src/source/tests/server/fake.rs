//! A small HTTP server that answers as a test says, well or badly, and remembers what it was asked.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tally_net::authority::Validity;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tally_net::rustls::server::WebPkiClientVerifier;
use tally_net::rustls::{self, RootCertStore, ServerConfig};
use tally_net::{Authority, Role, SpiffeId};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// What it was asked.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// How many requests came before.
    pub(super) number: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) head: String,
    pub(super) body: String,
    /// Host and port of the server.
    pub(super) host: String,
}

/// What it says.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    how: How,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Answer,
    /// Nothing, and the connection stays.
    Silence,
    /// The head, and then nothing.
    Stall,
    HangUp,
}

pub(super) struct Fake {
    port: u16,
    secure: bool,
    state: Arc<State>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<Vec<AbortHandle>>,
    /// Requests seen, and connections that callers have ended.
    counts: watch::Sender<(usize, usize)>,
}

type Answers = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

impl Seen {
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

impl Reply {
    pub(super) fn new(status: u16, media: &str, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), media.to_owned())];
        Self { how: How::Answer, status, headers, body: body.to_owned() }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::new(200, "application/fhir+json; charset=utf-8", &value.to_string())
    }

    pub(super) fn status(status: u16) -> Self {
        Self::new(status, "text/plain", "")
    }

    /// A page of a search.
    pub(super) fn page(records: &[Value], next: Option<&str>) -> Self {
        let entries =
            records.iter().map(|it| json!({ "resource": it, "search": { "mode": "match" } }));
        let links = next.map(|url| json!({ "relation": "next", "url": url }));
        Self::json(&json!({
            "resourceType": "Bundle",
            "type": "searchset",
            "link": links.into_iter().collect::<Vec<_>>(),
            "entry": entries.collect::<Vec<_>>(),
        }))
    }

    pub(super) fn silence() -> Self {
        Self { how: How::Silence, ..Self::status(200) }
    }

    pub(super) fn stall() -> Self {
        Self { how: How::Stall, ..Self::new(200, "application/fhir+json", "{}") }
    }

    pub(super) fn hang_up() -> Self {
        Self { how: How::HangUp, ..Self::status(200) }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Fake {
    pub(super) async fn start(answers: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Arc::new(answers), None).await
    }

    pub(super) async fn start_tls(
        answers: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        tls: TlsAcceptor,
    ) -> Self {
        Self::start_with(Arc::new(answers), Some(tls)).await
    }

    async fn start_with(answers: Answers, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let secure = tls.is_some();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, state, tls) =
                    (Arc::clone(&answers), Arc::clone(&shared), tls.clone());
                let talk = tokio::spawn(async move {
                    match tls {
                        None => talk(stream, port, &answers, &state).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            talk(stream, port, &answers, &state).await;
                        }
                    }
                });
                shared.connections.lock().unwrap().push(talk.abort_handle());
            }
        });
        Self { port, secure, state, accepting: accepting.abort_handle() }
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.secure { "https" } else { "http" }, self.host())
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(super) async fn until_seen(&self, count: usize) {
        let mut counts = self.state.counts.subscribe();
        counts.wait_for(|(seen, _)| *seen >= count).await.unwrap();
    }

    pub(super) async fn until_hung_up(&self, count: usize) {
        let mut counts = self.state.counts.subscribe();
        counts.wait_for(|(_, ended)| *ended >= count).await.unwrap();
    }

    /// Ends all connections that are there.
    pub(super) fn hang_up(&self) -> impl Future<Output = ()> {
        let connections = std::mem::take(&mut *self.state.connections.lock().unwrap());
        connections.iter().for_each(AbortHandle::abort);
        async move {
            while !connections.iter().all(AbortHandle::is_finished) {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.connections.lock().unwrap().iter().for_each(AbortHandle::abort);
    }
}

async fn talk<S>(mut stream: S, port: u16, answers: &Answers, state: &State)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some((head, body)) = read_request(&mut stream).await {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let seen = {
            let mut all = state.seen.lock().unwrap();
            let seen = Seen {
                number: all.len(),
                method: method.to_owned(),
                target: target.to_owned(),
                head: head.clone(),
                body,
                host: format!("127.0.0.1:{port}"),
            };
            all.push(seen.clone());
            seen
        };
        state.counts.send_modify(|(count, _)| *count += 1);
        let reply = answers(&seen);
        let mut text = format!("HTTP/1.1 {} It\r\n", reply.status);
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if reply.status != 204 {
            let len = reply.body.len() + usize::from(reply.how == How::Stall);
            text.push_str(&format!("content-length: {len}\r\n"));
        }
        text.push_str("\r\n");
        if reply.status != 204 {
            text.push_str(&reply.body);
        }
        match reply.how {
            How::HangUp => break,
            How::Silence => {}
            How::Answer | How::Stall => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    }
    state.counts.send_modify(|(_, ended)| *ended += 1);
}

/// Head and body; none at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let len: usize = len.map_or(0, |it| it.trim().parse().unwrap());
    while bytes.len() < end + len {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
    Some((head, String::from_utf8(bytes[end..].to_vec()).unwrap()))
}

/// A server's TLS that asks for a client's certificate; in the directory `ca.pem` vouches for both, and
/// `other.pem` for neither.
pub(super) fn certificates() -> (TempDir, TlsAcceptor) {
    let dir = tempfile::tempdir().unwrap();
    let validity = Validity { from_s: 0, until_s: 4_000_000_000 };
    let authority = Authority::create("records of RZ9", validity).unwrap();
    let other = Authority::create("somebody else", validity).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("ca.pem", authority.certificate_pem());
    write("other.pem", other.certificate_pem());
    let here: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let id = SpiffeId {
        mesh: "dev.example".parse().unwrap(),
        member: "RZ9".parse().unwrap(),
        role: Role::Ledger,
        name: "1".to_owned(),
    };
    for (name, authority) in [("client", &authority), ("other-client", &other)] {
        let issued = authority.issue(&id, here, validity).unwrap();
        write(&format!("{name}.pem"), &issued.certificate_pem);
        write(&format!("{name}.key"), &issued.key_pem);
    }
    let issued = authority.issue(&id, here, validity).unwrap();
    let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    let root = authority.certificate_pem().as_bytes();
    roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (dir, TlsAcceptor::from(Arc::new(config)))
}
