//! What an application asks its ingress, and what it gets, as far as it wants to read.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Dev;
use crate::mesh::Waited;

/// Longer than any limit that makes an agent answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the body ended as it must; else it broke off.
    pub whole: bool,
}

/// An answer whose body is still on its way. Dropped, the connection is closed.
pub struct Arriving {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    /// Aborted when this is dropped: nothing else holds the connection.
    connection: JoinHandle<()>,
}

impl Dev {
    /// `GET path` at a member's ingress, as its application.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn get(
        &self,
        member: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Waited> {
        self.request("GET", member, path, headers).await
    }

    /// The same with another method; without a body.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn request(
        &self,
        method: &str,
        member: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Waited> {
        self.open(method, member, path, headers).await?.all().await
    }

    /// `POST path` of a body.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn post(
        &self,
        member: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Waited> {
        let at = self.member(member)["http"].as_str().unwrap_or_default().to_owned();
        let body = Bytes::from(body.to_owned());
        ask_with(&at, "POST", path, headers, body).await?.all().await
    }

    /// Asks, and reads no more than the head of the answer.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn open(
        &self,
        method: &str,
        member: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Arriving, Waited> {
        let at = self.member(member)["http"].as_str().unwrap_or_default().to_owned();
        ask(&at, method, path, headers).await
    }

    /// The metrics of a member's agent, or of a ledger node.
    ///
    /// # Errors
    /// [`Waited`] if there are none.
    pub async fn metrics(&self, name: &str) -> Result<String, Waited> {
        let answer = self.health(name, "/metrics").await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// `GET path` where a part's health is seen.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn health(&self, name: &str, path: &str) -> Result<Answer, Waited> {
        let at = self.part(name)["metrics"].as_str().unwrap_or_default().to_owned();
        ask(&at, "GET", path, &[]).await?.all().await
    }
}

impl Answer {
    /// A header; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body; null if it is no JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of a refusal; empty if it is none.
    #[must_use]
    pub fn code(&self) -> String {
        let body = self.json();
        body["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Arriving {
    /// The next piece of the body; none at its end.
    ///
    /// # Errors
    /// [`Waited`] if none comes, or the body breaks off.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Waited> {
        let what = "a piece of a body";
        loop {
            let frame = timeout(ANSWER_WAIT_MAX, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| Waited::of(what, "nothing comes"))? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| Waited::of(what, error))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece.to_vec()));
            }
        }
    }

    /// The rest of it.
    ///
    /// # Errors
    /// [`Waited`] if it stands still.
    pub async fn all(mut self) -> Result<Answer, Waited> {
        let (mut body, mut whole) = (Vec::new(), true);
        loop {
            let frame = timeout(ANSWER_WAIT_MAX, self.body.frame()).await;
            match frame.map_err(|_| Waited::of("the rest of a body", "nothing comes"))? {
                None => break,
                Some(Ok(frame)) => body.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => {
                    whole = false;
                    break;
                }
            }
        }
        let (status, headers) = (self.status, std::mem::take(&mut self.headers));
        Ok(Answer { status, headers, body, whole })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

pub(crate) async fn ask(
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Arriving, Waited> {
    ask_with(at, method, path, headers, Bytes::new()).await
}

async fn ask_with(
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Arriving, Waited> {
    let what = format!("an answer of {at}");
    let asked = async {
        let host = at.trim_start_matches("http://");
        let stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
        let shaken = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = shaken;
        // Its end shows at the request.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(HOST, host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok::<_, String>(Arriving { status, headers, body: answer.into_body(), connection })
    };
    let asked = timeout(ANSWER_WAIT_MAX, asked).await;
    asked.map_err(|_| Waited::of(&what, "nothing"))?.map_err(|why| Waited::of(&what, why))
}
