//! What nodes show over HTTPS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tally_log::SignedCheckpoint;
use tally_net::{Expect, Role, TrustStore, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{MESH, Mesh, Waited, until};

/// Checkpoints come four times a second, and late signatures soon after.
const PUBLISHED_WAIT_MAX: Duration = Duration::from_secs(20);

impl Mesh {
    /// Where a ledger node serves HTTPS.
    #[must_use]
    pub fn https_address(&self, node: usize) -> SocketAddr {
        self.node(node).https
    }

    /// Asks a node for what stands at a path, as an auditor of the first member: the status and the
    /// body.
    ///
    /// # Errors
    /// [`io::Error`] if there is no answer.
    pub async fn get(&self, node: usize, path: &str) -> io::Result<(u16, Vec<u8>)> {
        let trust = TrustStore::new(MESH.parse().map_err(io::Error::other)?);
        self.genesis.value().members.iter().for_each(|member| trust.update(member));
        let expect = Expect { member: None, role: Role::Ledger, name: None };
        let identity = self.identity(0, Role::Auditor, "tests");
        let config = tls::client_config(Some(identity), trust, expect, &[b"http/1.1"]);
        let connector = TlsConnector::from(Arc::new(config.map_err(io::Error::other)?));
        let stream = TcpStream::connect(self.https_address(node)).await?;
        let name = tls::SERVER_NAME.try_into().map_err(io::Error::other)?;
        let mut stream = connector.connect(name, stream).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let broken = || io::Error::other("no answer over HTTP");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(broken)?, body))
    }

    /// Waits until every node that runs shows a checkpoint of at least this size which as many nodes have
    /// signed as run, and all show the same.
    ///
    /// # Errors
    /// [`Waited`] if one does not.
    pub async fn published(&self, size: u64) -> Result<(), Waited> {
        let running: Vec<_> = (0..self.node_count()).filter(|node| self.runs(*node)).collect();
        let keys = self.log_keys();
        let what = format!("a checkpoint of {size} leaves that {} nodes sign", running.len());
        until(&what, PUBLISHED_WAIT_MAX, async || {
            let mut shown = Vec::new();
            for node in &running {
                let signed = self.checkpoint(*node, "/checkpoint").await?.ok_or("none is shown")?;
                let by = keys.iter().filter(|key| signed.verify_log([*key]).is_ok()).count();
                let there = signed.checkpoint().size;
                if there < size || by < running.len() {
                    return Err(format!("node {} shows {there}, signed by {by}", node + 1));
                }
                shown.push(signed.checkpoint().size);
            }
            shown.dedup();
            if shown.len() > 1 { Err(format!("they show {shown:?}")) } else { Ok(()) }
        })
        .await
    }

    /// The checkpoint at a path of a node, as it is; none if it has none there.
    ///
    /// # Errors
    /// Why it can't be read, in words.
    pub async fn checkpoint(
        &self,
        node: usize,
        path: &str,
    ) -> Result<Option<SignedCheckpoint>, String> {
        match self.get(node, path).await.map_err(|error| error.to_string())? {
            (200, note) => {
                SignedCheckpoint::parse(&note).map(Some).map_err(|error| error.to_string())
            }
            (404 | 503, _) => Ok(None),
            (status, _) => Err(format!("status {status}")),
        }
    }
}
