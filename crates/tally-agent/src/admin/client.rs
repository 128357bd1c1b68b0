//! The other end of the socket: what `tally` asks the agent with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::api::{Refused, SOCKET};

/// Bytes of an answer at most.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take: a write waits for the ledger.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No agent listens there.
    #[error("no agent answers at {}: {why}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The agent says no.
    #[error("{}", .0.what)]
    Refused(Refused),
    /// The agent says something else.
    #[error("the agent's answer can't be read: {0}")]
    Unreadable(String),
}

/// Asks the agent whose data directory this is.
///
/// # Errors
/// [`CallError`] says whether the agent was reached.
pub async fn call<Q: Serialize, A: DeserializeOwned>(
    data_dir: &Path,
    path: &str,
    question: &Q,
) -> Result<A, CallError> {
    let body = serde_json::to_vec(question);
    let body = body.map_err(|why| CallError::Unreadable(why.to_string()))?;
    let socket = socket_of(data_dir);
    let gone = |why: String| CallError::Unreachable { path: socket.clone(), why };
    let answered = timeout(ANSWER_WAIT_MAX, exchange(data_dir, &socket, path, body)).await;
    let late = |_| gone(format!("no answer within {} s", ANSWER_WAIT_MAX.as_secs()));
    let (status, body) = answered.map_err(late)?.map_err(gone)?;
    if status == StatusCode::OK {
        let answer = serde_json::from_slice(&body);
        return answer.map_err(|why| CallError::Unreadable(why.to_string()));
    }
    match serde_json::from_slice(&body) {
        Ok(refused) => Err(CallError::Refused(refused)),
        Err(_) => Err(CallError::Unreadable(format!("status {status}"))),
    }
}

/// Where the socket is: a path that is too long for one is a link to it.
fn socket_of(data_dir: &Path) -> PathBuf {
    let path = data_dir.join(SOCKET);
    fs::read_link(&path).unwrap_or(path)
}

/// Connects, to the agent alone. Where a link leads into a directory that all may write to, somebody
/// else may listen there since the agent went away: a question may name a person.
async fn connect(data_dir: &Path, socket: &Path) -> Result<UnixStream, String> {
    let stream = UnixStream::connect(socket).await.map_err(|why| why.to_string())?;
    let own = fs::symlink_metadata(data_dir.join(SOCKET)).map_err(|why| why.to_string())?;
    let listener = stream.peer_cred().map_err(|why| why.to_string())?;
    if own.is_symlink() && own.uid() != listener.uid() {
        return Err("another user listens there".to_owned());
    }
    Ok(stream)
}

async fn exchange(
    data_dir: &Path,
    socket: &Path,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), String> {
    let stream = connect(data_dir, socket).await?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|why| why.to_string())?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "agent")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|why| why.to_string())?;
    let answer = sender.send_request(request).await.map_err(|why| why.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
    driving.abort();
    Ok((status, body.map_err(|why| why.to_string())?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_link_to_another_users_socket_is_not_the_agent() {
        let (own, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let socket = elsewhere.path().join("a.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = own.path().join(SOCKET);
        symlink(&socket, &link).unwrap();
        let connected = connect(own.path(), &socket_of(own.path())).await;
        assert!(connected.is_ok());
        // Only root can give a link away, and so have one whose owner is not who listens.
        if lchown(&link, Some(4321), None).is_ok() {
            assert!(connect(own.path(), &socket_of(own.path())).await.is_err());
        }
    }
}
