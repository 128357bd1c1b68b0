//! Two members with their agents, three nodes, and the applications that read at one member what the
//! other has.

use std::path::Path;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::measure::Caller;
use crate::tally::{Mesh, pids};
use crate::{Trouble, people};

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// So far apart begin the callers in the list of people, which each reads again and again.
const STRIDE: usize = 37;

/// The mesh.
pub(crate) struct Members(Mesh);

impl Members {
    /// Brings it up below a directory.
    ///
    /// # Errors
    /// [`Trouble`] if it does not come up.
    pub(crate) fn start(binary: &Path, dir: &Path) -> Result<Self, Trouble> {
        let files = people::write(&dir.join("files"))?;
        Ok(Self(Mesh::start(binary, dir, ["--mesh".as_ref(), files.as_os_str()])?))
    }

    /// Where it is laid out.
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// What dev.json says of a member.
    pub(crate) fn member(&self, id: &str) -> Option<&Value> {
        self.members().find(|member| member.get("id") == Some(&Value::from(id)))
    }

    /// The processes of the agents.
    pub(crate) fn agents(&self) -> Vec<u32> {
        pids(self.members())
    }

    /// The processes of the ledger nodes.
    pub(crate) fn nodes(&self) -> Vec<u32> {
        self.0.pids()
    }

    /// Applications of the requester, each with a connection of its own that it keeps.
    ///
    /// # Errors
    /// [`Trouble`] if they don't get one.
    pub(crate) async fn readers(&self, count: usize) -> Result<Vec<Reader>, Trouble> {
        let url = self.member("LZ9").and_then(|council| council.get("http")?.as_str());
        let host = url.ok_or("dev.json lacks an ingress")?.trim_start_matches("http://");
        let mut readers = Vec::new();
        for caller in 0..count {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // Its end shows at the next request.
            tokio::spawn(async move { drop(connection.await) });
            readers.push(Reader { sender, host: host.to_owned(), person: caller * STRIDE });
        }
        Ok(readers)
    }

    fn members(&self) -> impl Iterator<Item = &Value> {
        self.0.document.get("members").and_then(Value::as_array).into_iter().flatten()
    }
}

/// An application.
pub(crate) struct Reader {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    /// Who is read next.
    person: usize,
}

impl Caller for Reader {
    async fn ask(&mut self) -> Result<u16, Trouble> {
        self.person = (self.person + 1) % people::PEOPLE;
        let path = format!("/fhir/RZ9/Patient/{}", people::id(self.person));
        let request = Request::get(path).header(HOST, &self.host).body(Empty::new())?;
        timeout(ANSWER_WAIT_MAX, read(&mut self.sender, request)).await??;
        Ok(1)
    }
}

/// Asks, and reads to the last byte, which comes once everything is checked.
async fn read(
    sender: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<(), Trouble> {
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let (status, receipt) = (answer.status(), answer.headers().contains_key("tally-receipt"));
    let body = answer.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK || !receipt || u64::try_from(body.len())? < people::RECORD_LEN_MIN {
        let said = String::from_utf8_lossy(&body);
        return Err(format!("no record with its receipt, but {status}: {said}").into());
    }
    Ok(())
}
