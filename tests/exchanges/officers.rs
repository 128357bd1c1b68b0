//! A privacy officer's pager: a real HTTP server that takes what webhooks send, or does not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What was sent, whole: head and body.
#[derive(Clone)]
pub(super) struct Pager {
    address: SocketAddr,
    takes: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Pager {
    /// Listens on this machine.
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (takes, taken) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let pager = Self { address, takes, taken };
        let serving = pager.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        pager
    }

    /// The lines of an agent's configuration that send alerts here.
    pub(super) fn settings(&self) -> String {
        format!("\n[alerts]\nwebhook = \"http://{}/alerts\"\n", self.address)
    }

    /// Whether it takes what comes, or answers 503.
    pub(super) fn takes(&self, takes: bool) {
        self.takes.store(takes, Ordering::Relaxed);
    }

    /// All that it took, as it came.
    pub(super) fn raw(&self) -> String {
        self.taken.lock().unwrap().concat()
    }

    /// The alerts that it took for a member's officers.
    pub(super) fn alerts(&self, member: &str) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        let alerts =
            taken.iter().filter_map(|it| serde_json::from_str(it.rsplit("\r\n").next()?).ok());
        alerts.filter(|alert: &Value| alert["member"] == member).collect()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut head, mut len) = (String::new(), 0);
        loop {
            let from = head.len();
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
            let line = head[from..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).await.unwrap();
        let takes = self.takes.load(Ordering::Relaxed);
        if takes {
            self.taken.lock().unwrap().push(head + str::from_utf8(&body).unwrap());
        }
        let status = if takes { "200 OK" } else { "503 Service Unavailable" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        // Whoever asked may have given up.
        drop(stream.write_all(answer.as_bytes()).await);
    }
}
