//! How `tally dev start` reaches the `tally dev` that runs: a line over a Unix socket, and a line back.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::failure::Failure;

/// Longest path of a socket that every system takes, in bytes.
const PATH_LEN_MAX: usize = 100;
/// A request is one line, at most so long.
const REQUEST_LEN_MAX: u64 = 256;
/// It comes within this time.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(2);
/// The answer comes within this time.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(90);

/// The socket, on the side of `tally dev`.
pub(super) struct Control {
    path: PathBuf,
    listener: UnixListener,
}

/// Somebody wants a child to be started.
pub(super) struct Request {
    name: String,
    stream: UnixStream,
}

impl Control {
    /// Listens in the mesh's directory, or for one whose path is too long elsewhere.
    pub(super) fn listen(dir: &Path) -> Result<Self, Failure> {
        let own = dir.join("dev.sock");
        let path = if own.as_os_str().len() <= PATH_LEN_MAX {
            own
        } else {
            std::env::temp_dir().join(format!("tally-dev-{}.sock", std::process::id()))
        };
        // Whoever left it is gone: the directory is locked.
        drop(fs::remove_file(&path));
        let listener = UnixListener::bind(&path).map_err(|why| {
            Failure::environment(format!("{}: {why}", path.display()), "give another --dir")
        })?;
        Ok(Self { path, listener })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next request that makes sense.
    pub(super) async fn next(&mut self) -> Request {
        loop {
            // What fails here concerns one caller; it sees that there is no answer.
            let Ok((mut stream, _)) = self.listener.accept().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let mut line = String::new();
            let read = async {
                let mut reader = tokio::io::BufReader::new((&mut stream).take(REQUEST_LEN_MAX));
                reader.read_line(&mut line).await
            };
            let read = timeout(REQUEST_WAIT_MAX, read).await;
            if let (Ok(Ok(_)), Some(name)) = (read, line.strip_prefix("start ")) {
                return Request { name: name.trim_end().to_owned(), stream };
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

impl Request {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn answer(mut self, answer: Result<u32, String>) {
        let text = match answer {
            Ok(pid) => format!("ok {pid}\n"),
            Err(why) => format!("no {why}\n"),
        };
        // Whoever asked may be gone.
        drop(self.stream.write_all(text.as_bytes()).await);
    }
}

/// Asks the `tally dev` of a directory to start a child; gives its process.
pub(super) fn ask(dir: &Path, name: &str) -> Result<u32, Failure> {
    let remedy = "start the mesh first: tally dev --ledger-only --dir DIR";
    let gone = |why: String| {
        Failure::unreachable(format!("no tally dev runs in {}: {why}", dir.display()), remedy)
    };
    let file = fs::read(dir.join("dev.json")).map_err(|why| gone(why.to_string()))?;
    let document = serde_json::from_slice::<Value>(&file).map_err(|why| gone(why.to_string()))?;
    let path = document.get("control").and_then(Value::as_str).unwrap_or_default();
    let mut stream = StdUnixStream::connect(path).map_err(|why| gone(why.to_string()))?;
    let mut answer = String::new();
    let asked = stream
        .set_read_timeout(Some(ANSWER_WAIT_MAX))
        .and_then(|()| stream.write_all(format!("start {name}\n").as_bytes()))
        .and_then(|()| std::io::Read::read_to_string(&mut BufReader::new(&stream), &mut answer));
    asked.map_err(|why| gone(why.to_string()))?;
    let mut lines = BufReader::new(answer.as_bytes()).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    match first.strip_prefix("ok ").and_then(|pid| pid.parse().ok()) {
        Some(pid) => Ok(pid),
        None => {
            let why = answer.trim_start_matches("no ").trim_start_matches("error: ");
            let why = why.lines().next().unwrap_or_default();
            Err(Failure::refused(why, "see the names in dev.json, and log.txt of the child"))
        }
    }
}
