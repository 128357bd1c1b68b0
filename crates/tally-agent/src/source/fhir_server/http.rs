//! The agent's own requests to a server: one at a time, within times and sizes, over connections that
//! are kept for the next one.
//!
//! Invariant: no redirect is followed, nothing that the server says comes into an error or a log line
//! but its status, and what is not read to its end within the limits is no answer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tally_net::rustls::{self, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::settings::ClientIdentity;
use crate::source::place::Stamp;
use crate::trace::{Trace, current};

/// Connections that are kept for the next request.
const IDLE_MAX: usize = 8;
/// For how long: servers close theirs after a minute or so.
const IDLE_AGE_MAX: Duration = Duration::from_secs(20);

/// Talks to one server.
pub(super) struct Http {
    address: Address,
    tls: Option<Tls>,
    connect_wait_max: Duration,
    answer_wait_max: Duration,
    bytes_max: usize,
    idle: Mutex<Vec<(Instant, SendRequest<Full<Bytes>>)>>,
}

/// What is asked of it.
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// What it answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// For how long it wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// Whether it says that the body is JSON.
    pub(super) is_json: bool,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::source) enum Fault {
    /// It can't be reached, or does not answer in time. Trying again may help.
    #[error("{0}")]
    Unreachable(&'static str),
    /// The server of tokens can't be reached, or does not answer in time. It is not asked again.
    #[error("no token: {0}")]
    NoToken(&'static str),
    /// It says no, with this status.
    #[error("it answered {0}")]
    Refused(u16),
    /// Our own files are not right.
    #[error("{0}")]
    Own(&'static str),
    /// What it says is no answer.
    #[error("{0}")]
    Malformed(&'static str),
    /// The answer is larger than the limit.
    #[error("its answer is larger than the limit")]
    TooLarge,
}

/// Whom it trusts and who it is, from files that are read again when they change.
pub(in crate::source) struct Tls {
    ca: PathBuf,
    identity: Option<ClientIdentity>,
    known: Mutex<Option<Known>>,
}

/// What its files were, and what was made of them.
type Known = (Vec<Option<Stamp>>, Arc<ClientConfig>);

impl Http {
    pub(super) fn new(
        address: Address,
        tls: Option<Tls>,
        (connect_wait_max, answer_wait_max): (Duration, Duration),
        bytes_max: usize,
    ) -> Self {
        let idle = Mutex::new(Vec::new());
        Self { address, tls, connect_wait_max, answer_wait_max, bytes_max, idle }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Reads its TLS files once, so that what is wrong with them is told at the start.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.config().map(drop))
    }

    /// Asks once. The caller bounds how long the whole of the answer may take.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answer, Fault> {
        // On one that the server closes just now the request would be lost: what is asked once is not
        // sent there.
        let kept = if call.method == Method::GET { self.kept() } else { None };
        let mut sender = match kept {
            Some(kept) => kept,
            // What waits for an answer has no room for TLS that is shaken hands about.
            None => Box::pin(self.connect()).await?,
        };
        let sent = timeout(self.answer_wait_max, sender.send_request(self.request(call)?)).await;
        let response = sent
            .map_err(|_| Fault::Unreachable("it does not begin to answer"))?
            .map_err(|_| Fault::Unreachable("it hangs up"))?;
        let answer = self.read(response).await?;
        self.keep(sender);
        Ok(answer)
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Fault> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.target)
            .header(HOST, self.address.authority());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        for (name, value) in current().iter().flat_map(Trace::headers) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body.clone()));
        request.map_err(|_| Fault::Own("the request can't be written"))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, Fault> {
        let status = response.status().as_u16();
        let headers = response.headers();
        let (retry_after, is_json) = (retry_after(headers), is_json(headers));
        let body = Limited::new(response.into_body(), self.bytes_max).collect().await;
        let body = body.map_err(|why| {
            if why.is::<http_body_util::LengthLimitError>() {
                Fault::TooLarge
            } else {
                Fault::Unreachable("its answer breaks off")
            }
        })?;
        Ok(Answer { status, retry_after, is_json, body: body.to_bytes() })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let connecting = async {
            let Address { host, port, .. } = &self.address;
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(|_| Fault::Unreachable("no connection comes up"))?;
            // A request is one small piece, and its answer is waited for.
            drop(stream.set_nodelay(true));
            let Some(tls) = self.tls.as_ref().filter(|_| self.address.secure) else {
                return shake_hands(TokioIo::new(stream)).await;
            };
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|_| Fault::Own("the server's name is none"))?;
            let stream = TlsConnector::from(tls.config()?).connect(name, stream).await;
            let stream = stream.map_err(|_| Fault::Unreachable("TLS fails"))?;
            shake_hands(TokioIo::new(stream)).await
        };
        let connected = timeout(self.connect_wait_max, connecting).await;
        connected.map_err(|_| Fault::Unreachable("no connection comes up in time"))?
    }

    /// A connection of an earlier request that still seems to be there.
    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, sender)) = idle.pop() {
            if since.elapsed() < IDLE_AGE_MAX && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((Instant::now(), sender));
        }
    }
}

async fn shake_hands(
    stream: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, Fault> {
    let shaken = http1::handshake(stream).await;
    let (sender, connection) = shaken.map_err(|_| Fault::Unreachable("it hangs up"))?;
    // It ends when its sender is dropped; why it ended, the request is told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Seconds (RFC 9110 §10.2.3). A date is not read: it would need the server's clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/fhir+json", "application/json", "application/json+fhir"].contains(&media.as_str())
}

impl Tls {
    pub(in crate::source) const fn new(ca: PathBuf, identity: Option<ClientIdentity>) -> Self {
        Self { ca, identity, known: Mutex::new(None) }
    }

    /// What connections are made with now.
    pub(in crate::source) fn config(&self) -> Result<Arc<ClientConfig>, Fault> {
        let identity = self.identity.iter().flat_map(|it| [&it.cert, &it.key]);
        let stamps = std::iter::once(&self.ca)
            .chain(identity)
            .map(|path| std::fs::metadata(path).ok().map(|it| Stamp::of(&it)))
            .collect::<Vec<_>>();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, config)) if *of == stamps => Ok(Arc::clone(config)),
            _ => {
                let config = Arc::new(self.read()?);
                *known = Some((stamps, Arc::clone(&config)));
                Ok(config)
            }
        }
    }

    fn read(&self) -> Result<ClientConfig, Fault> {
        let roots = read_authorities(&self.ca)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Fault::Own("TLS can't be set up"))?
            .with_root_certificates(roots);
        let Some(identity) = &self.identity else { return Ok(config.with_no_client_auth()) };
        let chain = CertificateDer::pem_file_iter(&identity.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|_| Fault::Own("the own certificate can't be read"))?;
        let key = PrivateKeyDer::from_pem_file(&identity.key)
            .map_err(|_| Fault::Own("the own key can't be read"))?;
        let config = config.with_client_auth_cert(chain, key);
        config.map_err(|_| Fault::Own("the own key is not that of the own certificate"))
    }
}

/// The certificates of a PEM file, as those who vouch for a server.
fn read_authorities(path: &Path) -> Result<RootCertStore, Fault> {
    let unreadable = Fault::Own("the file with the authorities can't be read");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| unreadable)? {
        let certificate = certificate.map_err(|_| unreadable)?;
        roots.add(certificate).map_err(|_| unreadable)?;
    }
    if roots.is_empty() {
        return Err(Fault::Own("the file with the authorities holds no certificate"));
    }
    Ok(roots)
}
