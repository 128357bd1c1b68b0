//! A workload's own certificate and key, which may be replaced while it runs.
//!
//! Invariant: what is presented is one certificate with the key that belongs to it. Whoever shakes hands
//! from now on meets the new one; connections that there are go on with the one that they began with.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureScheme};
use tally_core::id::MemberId;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{IdentityError, LoadIdentityError, SpiffeId};
use crate::authority::Validity;
use crate::tls::provider;

/// A workload's certificate chain and private key. Cheap to clone; all clones see it
/// [replaced](Self::replace).
#[derive(Clone)]
pub struct Identity(Arc<RwLock<Arc<Held>>>);

struct Held {
    /// The workload's own certificate first.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// As TLS presents it; why it can't.
    certified: Result<Arc<CertifiedKey>, Error>,
}

impl Identity {
    /// The workload's own certificate stands first in the chain.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider());
        let certified = certified.map(Arc::new);
        Self(Arc::new(RwLock::new(Arc::new(Held { chain, key, certified }))))
    }

    /// Reads a certificate chain and its key from PEM files.
    ///
    /// # Errors
    /// [`LoadIdentityError`] names the file that can't be read.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, LoadIdentityError> {
        let bad_chain = |why| LoadIdentityError::Certificate { path: chain.to_owned(), why };
        let certificates = CertificateDer::pem_file_iter(chain)
            .map_err(bad_chain)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad_chain)?;
        if certificates.is_empty() {
            return Err(bad_chain(rustls::pki_types::pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|why| LoadIdentityError::Key { path: key.to_owned(), why })?;
        Ok(Self::new(certificates, key))
    }

    /// The certificates, the workload's own first.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.held().chain.clone()
    }

    /// The private key of the first.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.held().key.clone_key()
    }

    /// Who the certificate says this is, without any check of who issued it.
    ///
    /// # Errors
    /// [`IdentityError`] if it can't be read, or holds no identity of ours.
    pub fn id(&self) -> Result<SpiffeId, IdentityError> {
        SpiffeId::of(self.held().chain.first().ok_or(IdentityError::CertificateMissing)?)
    }

    /// From when to when the certificate holds; none if it can't be read.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        let held = self.held();
        let (_, certificate) = X509Certificate::from_der(held.chain.first()?).ok()?;
        let validity = certificate.validity();
        Some(Validity {
            from_s: validity.not_before.timestamp(),
            until_s: validity.not_after.timestamp(),
        })
    }

    /// The member's processor that runs the workload, as the certificate names it: none if it names none,
    /// or what is no member's id.
    #[must_use]
    pub fn operator(&self) -> Option<MemberId> {
        let held = self.held();
        let (_, certificate) = X509Certificate::from_der(held.chain.first()?).ok()?;
        let mut named = certificate.subject().iter_organization();
        named.next()?.as_str().ok()?.parse().ok()
    }

    /// From the next handshake on, this and all its clones are what `other` is now.
    pub fn replace(&self, other: &Self) {
        let held = other.held();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Whether both present the same certificate.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.held().chain == other.held().chain
    }

    /// Certificate and key as TLS presents them.
    ///
    /// # Errors
    /// [`Error`] if they do not belong together, or the key can't be used.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, Error> {
        self.held().certified.clone()
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.id()).finish()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified().ok()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified().ok()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
