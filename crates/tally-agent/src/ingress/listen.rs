//! Where applications reach the ingress: on loopback, on a Unix socket, or from elsewhere under mutual
//! TLS.
//!
//! Invariant: whoever is heard is of this machine, or has shown a certificate that a CA of the member's
//! choice vouches for.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use tally_net::rustls::pki_types::CertificateDer;
use tally_net::rustls::pki_types::pem::{self, PemObject};
use tally_net::rustls::server::WebPkiClientVerifier;
use tally_net::rustls::{RootCertStore, ServerConfig, version};
use tally_net::{Identity, LoadIdentityError, Rotation, tls};
use tokio::net::{TcpListener, UnixListener};

use super::answer;
use crate::config::{IngressAddress, IngressSettings, IngressTls};
use crate::http::{Carrier, HttpLimits, HttpServer, Parts, Shedding, Speaks};

/// A socket that listens for applications.
pub struct IngressListener {
    socket: Socket,
    tls: Option<(Arc<ServerConfig>, Identity)>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Why an ingress can't listen: the fault of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum IngressListenError {
    /// The address is taken, or not this machine's.
    #[error("[ingress] listen: can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: IngressAddress,
        /// What the system says.
        source: io::Error,
    },
    /// Certificate and key.
    #[error("[ingress] cert and key: {0}")]
    Identity(#[from] LoadIdentityError),
    /// Who vouches for applications.
    #[error("[ingress] client_ca: {}: {why}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS can't be set up with them.
    #[error("[ingress] cert, key and client_ca: {0}")]
    Tls(String),
}

impl IngressListener {
    /// Listens. What an earlier life has left of a Unix socket is taken away, unless somebody answers
    /// there.
    ///
    /// # Errors
    /// [`IngressListenError`], and nobody is listened to.
    pub async fn listen(settings: &IngressSettings) -> Result<Self, IngressListenError> {
        let tls = settings.tls.as_ref().map(server_config).transpose()?;
        let failed = |source| {
            let address = settings.listen.clone();
            IngressListenError::Listen { address, source }
        };
        let socket = match &settings.listen {
            IngressAddress::Tcp(address) => {
                Socket::Tcp(TcpListener::bind(address).await.map_err(failed)?)
            }
            IngressAddress::Unix(path) => {
                Socket::Unix(bind(path).await.map_err(failed)?, path.clone())
            }
        };
        Ok(Self { socket, tls })
    }

    /// Where that is.
    ///
    /// # Errors
    /// [`io::Error`] if the system does not say.
    pub fn address(&self) -> io::Result<IngressAddress> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(IngressAddress::Tcp),
            Socket::Unix(_, path) => Ok(IngressAddress::Unix(path.clone())),
        }
    }

    /// Follows the files of its certificate, if it has one.
    #[must_use]
    pub fn rotation(&self, settings: &IngressSettings) -> Option<Rotation> {
        let (_, identity) = self.tls.as_ref()?;
        let files = settings.tls.as_ref()?;
        Some(Rotation::of_any(identity.clone(), &files.cert, &files.key))
    }

    pub(super) fn serve(
        self,
        router: Router,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> HttpServer {
        self.speak(Parts::answering(router, limits, shedding))
    }

    /// Carries what applications say to somebody else.
    pub(crate) fn carry(
        self,
        carrier: Arc<dyn Carrier>,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> HttpServer {
        let shedding = shedding.saying(answer::full());
        self.speak(Parts { speaks: Speaks::Carrier(carrier), limits, shedding })
    }

    fn speak(self, parts: Parts) -> HttpServer {
        match self.socket {
            Socket::Tcp(listener) => {
                let tls = self.tls.map(|(config, _)| config);
                HttpServer::on_tcp(listener, tls, parts)
            }
            Socket::Unix(listener, _) => HttpServer::on_unix(listener, parts),
        }
    }
}

async fn bind(path: &Path) -> io::Result<UnixListener> {
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::from(io::ErrorKind::AddrInUse));
    }
    match fs::symlink_metadata(path) {
        // Nothing but a socket is ours to take away.
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // For the agent's own user and group; the directory may say less.
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// TLS 1.3, and nobody without a certificate.
fn server_config(files: &IngressTls) -> Result<(Arc<ServerConfig>, Identity), IngressListenError> {
    let failed = |why: &dyn std::fmt::Display| IngressListenError::Tls(why.to_string());
    let identity = Identity::load(&files.cert, &files.key)?;
    identity.certified().map_err(|why| failed(&why))?;
    let roots = client_roots(&files.client_ca).map_err(|why| {
        let path = files.client_ca.clone();
        IngressListenError::ClientCa { path, why }
    })?;
    let provider = Arc::new(tls::provider());
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let verifier = verifier.build().map_err(|why| failed(&why))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|why| failed(&why))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    Ok((Arc::new(config), identity))
}

fn client_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|why| why.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|why| why.to_string())?;
        roots.add(certificate).map_err(|why| why.to_string())?;
    }
    if roots.is_empty() { Err(pem::Error::NoItemsFound.to_string()) } else { Ok(roots) }
}
