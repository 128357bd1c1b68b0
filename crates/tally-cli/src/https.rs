//! Reads ledger nodes over HTTPS with mutual TLS: one request after another, each within limits.
//!
//! Who answers must be a ledger node of the mesh by its certificate; its name or address plays no
//! part. What it answers is another matter: checkpoints are checked by whoever uses them.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tally_core::entry::Genesis;
use tally_net::rustls::pki_types::ServerName;
use tally_net::{Expect, Identity, IdentityError, Role, TrustStore, rustls, tls};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// A connection takes no longer than this.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// A request takes no longer than this.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(30);
/// The protocol that is spoken.
const ALPN: &[u8] = b"http/1.1";
/// Bytes in an answer that is an error.
const ERROR_LEN_MAX: usize = 64 * 1024;

/// The ledger nodes, and the connection to one of them.
pub(crate) struct Https {
    runtime: Runtime,
    /// `HOST:PORT` of each.
    nodes: Vec<String>,
    tls: TlsConnector,
    /// A request, and a connection, take no longer than this.
    wait_max: Duration,
    open: Option<(usize, SendRequest<Full<Bytes>>)>,
}

/// Why a node gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpsError {
    /// It was not reached, or broke off.
    #[error("{node}: {why}")]
    Unreachable {
        /// Which.
        node: String,
        /// Why.
        why: String,
    },
    /// It said no.
    #[error("{node}: refused ({code}): {text}")]
    Refused {
        /// Which.
        node: String,
        /// The code.
        code: String,
        /// What it said.
        text: String,
        /// What to do, if it said so.
        remedy: Option<String>,
        /// Who leads, if it said so.
        leader: Option<u64>,
    },
    /// What it says can't be.
    #[error("{node}: {why}")]
    Wrong {
        /// Which.
        node: String,
        /// Why.
        why: String,
    },
}

/// What a node says with a status that is no success.
#[derive(Deserialize)]
struct Said {
    code: String,
    text: String,
    remedy: Option<String>,
    leader: Option<u64>,
}

/// What is asked: a path, and what is sent there if something is to change.
#[derive(Clone, Copy)]
struct Asked<'a> {
    path: &'a str,
    body: Option<&'a Bytes>,
    len_max: usize,
}

impl Https {
    /// Gets ready; nothing is sent yet. `nodes` are `https://HOST:PORT`.
    ///
    /// # Errors
    /// [`Failure`] if certificate and key don't fit.
    pub(crate) fn new(
        nodes: &[String],
        genesis: &Genesis,
        identity: Identity,
    ) -> Result<Self, Failure> {
        let trust = TrustStore::new(genesis.mesh.clone());
        genesis.members.iter().for_each(|member| trust.update(member));
        let expect = Expect { member: None, role: Role::Ledger, name: None };
        let tls = tls::client_config(Some(identity), trust, expect, &[ALPN])
            .map_err(|why| Failure::configuration(why, "check [identity] cert and key"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| Failure::environment(why, "try again"))?;
        let nodes = nodes.iter().map(|node| node.trim_start_matches("https://").to_owned());
        Ok(Self {
            runtime,
            nodes: nodes.collect(),
            tls: TlsConnector::from(Arc::new(tls)),
            wait_max: REQUEST_WAIT_MAX,
            open: None,
        })
    }

    /// One of the nodes alone, by another connection, and with another limit.
    ///
    /// # Errors
    /// [`Failure`] if the system gives nothing to wait on.
    pub(crate) fn of_one(&self, node: &str, wait_max: Duration) -> Result<Self, Failure> {
        let runtime = crate::acting::runtime()?;
        let (nodes, tls) = (vec![node.to_owned()], self.tls.clone());
        Ok(Self { runtime, nodes, tls, wait_max, open: None })
    }

    /// The nodes, `HOST:PORT`.
    pub(crate) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Asks one node; none if it has no such thing.
    ///
    /// # Errors
    /// [`HttpsError`] if it does not answer, or says no.
    pub(crate) fn get(
        &mut self,
        node: usize,
        path: &str,
        len_max: usize,
    ) -> Result<Option<Vec<u8>>, HttpsError> {
        self.ask(node, Asked { path, body: None, len_max })
    }

    /// Asks one node to change something. Whatever is asked so may be asked twice.
    ///
    /// # Errors
    /// [`HttpsError`] if it does not answer, or says no.
    pub(crate) fn post(
        &mut self,
        node: usize,
        path: &str,
        json: &serde_json::Value,
        len_max: usize,
    ) -> Result<Vec<u8>, HttpsError> {
        let body = Bytes::from(json.to_string());
        let answer = self.ask(node, Asked { path, body: Some(&body), len_max })?;
        let name = self.nodes.get(node).cloned().unwrap_or_default();
        answer.ok_or_else(|| wrong(&name, "it does not know this request: is it older?".to_owned()))
    }

    fn ask(&mut self, node: usize, asked: Asked<'_>) -> Result<Option<Vec<u8>>, HttpsError> {
        let name = self.nodes.get(node).cloned().unwrap_or_default();
        let connection =
            self.open.take().filter(|(open, sender)| *open == node && !sender.is_closed());
        let kept = connection.is_some();
        let (tls, connection) = (self.tls.clone(), connection.map(|(_, sender)| sender));
        let wait_max = self.wait_max;
        let first = self.runtime.block_on(ask(&tls, &name, connection, asked, wait_max));
        let answer = match first {
            // A connection that was kept may have been closed meanwhile: that says nothing yet.
            Err(HttpsError::Unreachable { .. }) if kept => {
                self.runtime.block_on(ask(&tls, &name, None, asked, wait_max))
            }
            other => other,
        };
        answer.map(|(sender, body)| {
            self.open = Some((node, sender));
            body
        })
    }

    /// Asks one node after another, beginning with the one that answered last, until one has it.
    ///
    /// # Errors
    /// What the last of them said, if none answered; an answer of none is one.
    pub(crate) fn any(
        &mut self,
        path: &str,
        len_max: usize,
    ) -> Result<Option<Vec<u8>>, HttpsError> {
        let first = self.open.as_ref().map_or(0, |(node, _)| *node);
        let count = self.nodes.len();
        let mut last = Err(HttpsError::Wrong {
            node: "the configuration".to_owned(),
            why: "it names no ledger node".to_owned(),
        });
        for place in 0..count {
            let node = (first + place) % count.max(1);
            match self.get(node, path, len_max) {
                Ok(Some(found)) => return Ok(Some(found)),
                // It may lag behind the others.
                Ok(None) => last = Ok(None),
                Err(why) if last.is_err() => last = Err(why),
                Err(_) => {}
            }
        }
        last
    }
}

type Answer = (SendRequest<Full<Bytes>>, Option<Vec<u8>>);

async fn ask(
    tls: &TlsConnector,
    node: &str,
    open: Option<SendRequest<Full<Bytes>>>,
    asked: Asked<'_>,
    wait_max: Duration,
) -> Result<Answer, HttpsError> {
    let mut sender = match open {
        Some(sender) => sender,
        None => {
            let connected = timeout(CONNECT_WAIT_MAX.min(wait_max), connect(tls, node)).await;
            connected.map_err(|_| unreachable(node, "no connection in time"))??
        }
    };
    let answered = timeout(wait_max, send(&mut sender, node, asked)).await;
    let body = answered.map_err(|_| unreachable(node, "no answer in time"))??;
    Ok((sender, body))
}

async fn connect(tls: &TlsConnector, node: &str) -> Result<SendRequest<Full<Bytes>>, HttpsError> {
    let stream = TcpStream::connect(node).await.map_err(|why| unreachable(node, why))?;
    let name = ServerName::try_from(tls::SERVER_NAME).map_err(|why| unreachable(node, why))?;
    let stream = tls.connect(name, stream).await.map_err(|why| refused_by_tls(node, &why))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|why| unreachable(node, why))?;
    // Its end shows at the next request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    node: &str,
    asked: Asked<'_>,
) -> Result<Option<Vec<u8>>, HttpsError> {
    let Asked { path, body, len_max } = asked;
    let request = match body {
        None => Request::get(path),
        Some(_) => Request::post(path).header(CONTENT_TYPE, "application/json"),
    };
    let request = request.header(HOST, node).body(Full::new(body.cloned().unwrap_or_default()));
    let request = request.map_err(|why| unreachable(node, why))?;
    sender.ready().await.map_err(|why| broken(node, &why))?;
    let response = sender.send_request(request).await.map_err(|why| broken(node, &why))?;
    let status = response.status();
    let len_max = if status.is_success() { len_max } else { ERROR_LEN_MAX };
    let body = Limited::new(response.into_body(), len_max).collect().await;
    let body = body.map_err(|why| wrong(node, format!("the answer can't be read: {why}")))?;
    let body = body.to_bytes().to_vec();
    match status {
        StatusCode::OK | StatusCode::ACCEPTED => Ok(Some(body)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => {
            let said = serde_json::from_slice::<Said>(&body).ok();
            let code = said.as_ref().map_or_else(|| status.to_string(), |said| said.code.clone());
            let leader = said.as_ref().and_then(|said| said.leader);
            let remedy = said.as_ref().and_then(|said| said.remedy.clone());
            let text = said.map(|said| said.text).unwrap_or_default();
            Err(HttpsError::Refused { node: node.to_owned(), code, text, remedy, leader })
        }
    }
}

/// The connection ended where an answer should have come. In TLS 1.3 that is also how a node says
/// that it does not take our certificate.
fn broken(node: &str, why: &hyper::Error) -> HttpsError {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(why);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return refused_by_tls(node, error);
        }
        cause = error.source();
    }
    unreachable(node, why)
}

fn refused_by_tls(node: &str, why: &std::io::Error) -> HttpsError {
    let text = why.to_string();
    let inner = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (IdentityError::in_reason(&text), inner) {
        (Some(error), _) => HttpsError::Refused {
            node: node.to_owned(),
            code: error.code().to_owned(),
            text: "this is not a ledger node of the mesh, as far as its certificate says"
                .to_owned(),
            remedy: None,
            leader: None,
        },
        (None, Some(rustls::Error::AlertReceived(alert))) => HttpsError::Refused {
            node: node.to_owned(),
            code: "certificate".to_owned(),
            text: format!(
                "the node does not take our certificate ({alert:?}): tally identity show"
            ),
            remedy: None,
            leader: None,
        },
        (None, _) => unreachable(node, why),
    }
}

fn unreachable(node: &str, why: impl Display) -> HttpsError {
    HttpsError::Unreachable { node: node.to_owned(), why: why.to_string() }
}

fn wrong(node: &str, why: String) -> HttpsError {
    HttpsError::Wrong { node: node.to_owned(), why }
}

impl From<HttpsError> for Failure {
    fn from(error: HttpsError) -> Self {
        match &error {
            HttpsError::Unreachable { .. } => {
                Self::unreachable(&error, "see whether the ledger nodes run: tally ledger status")
            }
            HttpsError::Refused { remedy: Some(remedy), .. } => {
                Self::refused_as(&error, remedy.clone())
            }
            HttpsError::Refused { code, .. } => {
                Self::refused(&error, format!("see what it means: tally explain {code}"))
            }
            HttpsError::Wrong { .. } => Self::refused(&error, "ask another node"),
        }
    }
}
