//! Asking a witness over HTTP (C2SP tlog-witness): one POST on a connection of its own.
//!
//! TLS is for those who insist on it: what a witness says is believed by its signature alone.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::rustls::pki_types::{CertificateDer, ServerName};
use tally_net::rustls::{self, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of an answer that are read at most.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Where a witness takes checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

/// Who vouches for witnesses that are reached over https.
#[derive(Clone)]
pub struct WitnessCa(TlsConnector);

/// Sends a request; the status and the body. The caller says how long it may take.
pub(super) async fn post(
    url: &str,
    ca: Option<&WitnessCa>,
    request: Vec<u8>,
) -> io::Result<(u16, Vec<u8>)> {
    let address = Address::of(url).ok_or_else(|| io::Error::other("it has no usable address"))?;
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    // Head and body go out in one write; nothing waits for an acknowledgement in between.
    stream.set_nodelay(true)?;
    if !address.secure {
        return ask(TokioIo::new(stream), &address, request).await;
    }
    let tls =
        ca.ok_or_else(|| io::Error::other("https needs witnesses.ca in the configuration"))?;
    let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
    let stream = tls.0.connect(name, stream).await?;
    ask(TokioIo::new(stream), &address, request).await
}

async fn ask(
    stream: impl Read + Write + Unpin + Send + 'static,
    address: &Address,
    request: Vec<u8>,
) -> io::Result<(u16, Vec<u8>)> {
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let talk = AbortOnDrop(tokio::spawn(connection));
    let host = &address.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let request = Request::builder()
        .method(Method::POST)
        .uri(&address.path)
        .header(HOST, format!("{host}:{}", address.port))
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(request)));
    let request = request.map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    drop(talk);
    Ok((status, body.to_vec()))
}

/// A connection ends with its request, also if nobody waits for that any more.
struct AbortOnDrop(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Address {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = format!("{}/add-checkpoint", uri.path().trim_end_matches('/'));
        Some(Self { secure, host, port, path })
    }
}

impl WitnessCa {
    /// Reads a PEM file with authorities.
    ///
    /// # Errors
    /// [`io::Error`] if it can't be read, or holds none.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
            let certificate = certificate.map_err(io::Error::other)?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
        if roots.is_empty() {
            return Err(io::Error::other("it holds no certificate"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl fmt::Debug for WitnessCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WitnessCa(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tally_net::authority::Validity;
    use tally_net::rustls::ServerConfig;
    use tally_net::{Authority, Role, SpiffeId};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::clock::wall_clock;

    fn authority(name: &str) -> (Authority, Validity) {
        let now_s = wall_clock(std::time::SystemTime::now()).0 / 1000;
        let now_s = i64::try_from(now_s).unwrap();
        let validity = Validity { from_s: now_s - 60, until_s: now_s + 3600 };
        (Authority::create(name, validity).unwrap(), validity)
    }

    fn ca(authority: &Authority) -> WitnessCa {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, authority.certificate_pem()).unwrap();
        WitnessCa::load(&path).unwrap()
    }

    #[tokio::test]
    async fn a_third_partys_witness_is_asked_over_https_if_the_configured_authority_vouches_for_it()
    {
        let (own, validity) = authority("witness.example");
        let (other, _) = authority("other.example");
        let id = SpiffeId {
            mesh: "dev.example".parse().unwrap(),
            member: "RZ9".parse().unwrap(),
            role: Role::Ledger,
            name: "witness".to_owned(),
        };
        let issued = own.issue(&id, &[Ipv4Addr::LOCALHOST.into()], validity).unwrap();
        let identity = issued.identity();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain(), identity.key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}/w", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who does not trust the certificate goes before anything is said.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut asked = Vec::new();
                while !asked.ends_with(b"old 0") {
                    if !matches!(stream.read_buf(&mut asked).await, Ok(read) if read > 0) {
                        break;
                    }
                }
                let to = asked.starts_with(b"POST /w/add-checkpoint HTTP/1.1");
                let status = if to { 409 } else { 404 };
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 3\r\n\r\n12\n");
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        let ask = async |ca: Option<&WitnessCa>| post(&url, ca, b"old 0".to_vec()).await;
        let (status, body) = ask(Some(&ca(&own))).await.unwrap();
        assert_eq!((status, body.as_slice()), (409, b"12\n".as_slice()));
        assert!(ask(Some(&ca(&other))).await.is_err(), "another authority vouches for it");
        let why = ask(None).await.unwrap_err().to_string();
        assert!(why.contains("witnesses.ca"), "{why}");
    }

    #[test]
    fn a_witness_is_reached_below_the_address_that_the_register_has() {
        let of = |url| {
            let Address { secure, host, port, path } = Address::of(url)?;
            Some((secure, host, port, path))
        };
        let reached = |secure, host: &str, port, path: &str| {
            Some((secure, host.to_owned(), port, path.to_owned()))
        };
        assert_eq!(of("http://w.example"), reached(false, "w.example", 80, "/add-checkpoint"));
        assert_eq!(
            of("https://w.example/a/"),
            reached(true, "w.example", 443, "/a/add-checkpoint")
        );
        assert_eq!(of("http://[::1]:7380/w"), reached(false, "::1", 7380, "/w/add-checkpoint"));
        for bad in ["", "w.example", "ftp://w.example", "http://u@w.example", "http://w/?a"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
