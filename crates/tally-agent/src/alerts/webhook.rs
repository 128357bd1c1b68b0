//! The webhook: one POST for each alert, over https to whom the configured authorities vouch for, or in
//! the clear on this machine only.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::rustls::pki_types::{CertificateDer, ServerName};
use tally_net::rustls::{self, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where alerts are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    host: String,
    port: u16,
    /// What of the address may hold a secret: it is never printed.
    path: String,
    /// Who vouches for its certificate; none for one on this machine that is reached in the clear.
    ca: Option<PathBuf>,
}

/// Why an address is none that alerts may be sent to.
#[derive(Debug, thiserror::Error)]
pub enum BadWebhook {
    /// Its form.
    #[error("expected https://HOST[:PORT]/PATH, or http:// on this machine")]
    Form,
    /// In the clear to another machine.
    #[error("http is for 127.0.0.1, ::1 and localhost only: elsewhere alerts go over https")]
    Clear,
    /// Nobody vouches for it.
    #[error("https needs alerts.ca: a PEM file with the authorities that vouch for the webhook")]
    NoAuthority,
    /// The authorities.
    #[error("{}: {why}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Webhook {
    /// Reads an address. `ca` names the file with the authorities that vouch for it.
    ///
    /// # Errors
    /// [`BadWebhook`] if alerts may not be sent there.
    pub fn new(address: &str, ca: Option<&Path>) -> Result<Self, BadWebhook> {
        let uri: Uri = address.parse().map_err(|_| BadWebhook::Form)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(BadWebhook::Form),
        };
        let authority = uri.authority().ok_or(BadWebhook::Form)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(BadWebhook::Form);
        }
        if !secure && !["127.0.0.1", "::1", "localhost"].contains(&host.as_str()) {
            return Err(BadWebhook::Clear);
        }
        let ca = match (secure, ca) {
            (true, None) => return Err(BadWebhook::NoAuthority),
            (true, Some(ca)) => Some(ca.to_owned()),
            (false, _) => None,
        };
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host, port, path, ca })
    }
}

/// What sends.
pub(super) struct Caller {
    webhook: Webhook,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Caller {
    pub(super) fn new(webhook: &Webhook) -> Result<Self, BadWebhook> {
        let tls = webhook.ca.as_deref().map(|ca| tls(ca, &webhook.host)).transpose()?;
        Ok(Self { webhook: webhook.clone(), tls })
    }

    /// Sends one alert. The caller says how long it may take.
    pub(super) async fn post(&self, body: Vec<u8>) -> io::Result<()> {
        let Webhook { host, port, .. } = &self.webhook;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        match &self.tls {
            None => self.ask(TokioIo::new(stream), body).await,
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await?;
                self.ask(TokioIo::new(stream), body).await
            }
        }
    }

    async fn ask(
        &self,
        stream: impl Read + Write + Unpin + Send + 'static,
        body: Vec<u8>,
    ) -> io::Result<()> {
        let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        let talk = tokio::spawn(connection);
        let Webhook { host, port, path, .. } = &self.webhook;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, format!("{host}:{port}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)));
        let request = request.map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other);
        drop(sender);
        talk.abort();
        let status = answer?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("it answered {}", status.as_u16())))
        }
    }
}

fn tls(ca: &Path, host: &str) -> Result<(TlsConnector, ServerName<'static>), BadWebhook> {
    let bad = |why: String| BadWebhook::Authority { path: ca.to_owned(), why };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).map_err(|why| bad(why.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|why| bad(why.to_string()))?;
        roots.add(certificate).map_err(|why| bad(why.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| bad(why.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| BadWebhook::Form)?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
