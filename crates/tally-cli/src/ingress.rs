//! A connection to the own member's ingress, as an application has it: on this machine, or with a
//! certificate of an application where the ingress asks for one.
//!
//! Invariant: under TLS nobody is spoken with but who holds the key of the certificate that the agent's
//! configuration names.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tally_agent::config::{AgentConfig, IngressTls};
use tally_net::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tally_net::rustls::crypto::{CryptoProvider, verify_tls13_signature};
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tally_net::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible,
    SignatureScheme, version,
};
use tally_net::{Identity, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::agent::bound;
use crate::args::ShownArgs;
use crate::failure::Failure;

/// A connection on this machine takes no longer than this.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// The head of an answer comes within this time: the agent's own limit on an answer, and some more.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(60);

/// A connection to an ingress.
pub(crate) struct Ingress {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
}

impl Ingress {
    /// Connects, with the certificate of an application where the ingress asks for one.
    ///
    /// # Errors
    /// [`Failure`] if it is not there, or takes no connection of this command.
    pub(crate) async fn connect(config: &AgentConfig, shown: &ShownArgs) -> Result<Self, Failure> {
        let tls = match &config.ingress.tls {
            Some(files) => Some(connector(files, shown)?),
            None => None,
        };
        let listen = config.ingress.listen.to_string();
        let host = bound(&config.data_dir).map_or(listen, |bound| bound.ingress);
        let host = reached(host);
        let gone = |why: String| {
            Failure::unreachable(
                format!("the agent's ingress at {host}: {why}"),
                "start it: tally agent --config FILE, or tally dev start NAME; under TLS, see that \
                 [ingress] client_ca has issued the certificate of --cert",
            )
        };
        let connecting = async {
            match tls {
                None => reach(&host).await,
                Some(tls) => {
                    let stream = TcpStream::connect(&host).await?;
                    // Whose name it is plays no part: its certificate is known.
                    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
                    shake(tls.connect(name, stream).await?).await
                }
            }
        };
        let connected = timeout(CONNECT_WAIT_MAX, connecting).await;
        let sender = connected.map_err(|_| gone("no answer".to_owned()))?;
        let sender = sender.map_err(|why| gone(why.to_string()))?;
        // On a socket of this machine nobody is named.
        let host = if host.starts_with("unix:") { "localhost".to_owned() } else { host };
        Ok(Self { host, sender })
    }

    /// # Errors
    /// [`Failure`] if no answer comes.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Incoming>, Failure> {
        self.ask("GET", path, headers).await
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Empty::new()).map_err(|why| {
            Failure::usage(why, "percent-encode what stands in no URL or header as it is")
        })?;
        let gone = |why: String| {
            let what = format!("the agent's ingress at {}: {why}", self.host);
            Failure::unreachable(what, "see the agent's log")
        };
        let answered = timeout(HEAD_WAIT_MAX, self.sender.send_request(request)).await;
        let answer = answered.map_err(|_| gone("no answer".to_owned()))?;
        answer.map_err(|why| gone(why.to_string()))
    }
}

/// Where an ingress is reached that listens on all addresses of this machine.
fn reached(host: String) -> String {
    match host.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let here: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            SocketAddr::new(here, address.port()).to_string()
        }
        _ => host,
    }
}

/// Connects over TCP, or to a Unix socket.
///
/// # Errors
/// [`std::io::Error`] if nobody is there.
pub(crate) async fn reach(host: &str) -> std::io::Result<SendRequest<Empty<Bytes>>> {
    match host.strip_prefix("unix:") {
        Some(path) => shake(UnixStream::connect(path).await?).await,
        None => shake(TcpStream::connect(host).await?).await,
    }
}

async fn shake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> std::io::Result<SendRequest<Empty<Bytes>>> {
    let shaken = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other);
    let (sender, connection) = shaken?;
    tokio::spawn(connection);
    Ok(sender)
}

/// TLS 1.3 with the certificate that was named, towards the one in the agent's configuration.
fn connector(files: &IngressTls, shown: &ShownArgs) -> Result<TlsConnector, Failure> {
    let (Some(cert), Some(key)) = (&shown.cert, &shown.key) else {
        let what = "the ingress wants the certificate of an application";
        let remedy = "name one that [ingress] client_ca has issued: --cert FILE --key FILE";
        return Err(Failure::usage(what, remedy));
    };
    let identity = Identity::load(cert, key).map_err(|why| {
        Failure::usage(why, "give certificate and key of one application, in PEM")
    })?;
    let pinned = CertificateDer::from_pem_file(&files.cert).map_err(|why| {
        Failure::usage(unreadable(&files.cert, &why), "see [ingress] cert in the configuration")
    })?;
    let own = |why: &dyn Display| Failure::environment(why, "report this: TLS can't be set up");
    let provider = Arc::new(tls::provider());
    let verifier = Arc::new(Pinned { certificate: pinned, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|why| own(&why))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.chain(), identity.key())
        .map_err(|why| own(&why))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_sni = false;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn unreadable(path: &Path, why: &dyn Display) -> String {
    format!("{}: {why}", PathBuf::from(path).display())
}

/// Takes one certificate, and no other.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingress_on_all_addresses_is_reached_on_this_machine() {
        for (bound, reached_at) in [
            ("0.0.0.0:7601", "127.0.0.1:7601"),
            ("[::]:7601", "[::1]:7601"),
            ("192.0.2.1:7601", "192.0.2.1:7601"),
            ("unix:/run/ingress.sock", "unix:/run/ingress.sock"),
        ] {
            assert_eq!(reached(bound.to_owned()), reached_at);
        }
    }
}
