//! TLS 1.3 between workloads: our own verifiers, which pick the root by the member in the peer's
//! identity, and configurations without resumption and without early data.
//!
//! Invariant: nobody is let in, and nobody is talked to, on the word of a common root. Sessions are
//! never resumed: a resumed one would skip the check against today's registers.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    version,
};
use tally_core::id::MemberId;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::identity::{Identity, IdentityError, Role, SpiffeId};
use crate::trust::TrustStore;

/// The server name of every handshake: who is meant is said by identities, not by names, and is
/// nobody else's business on the way.
pub const SERVER_NAME: &str = "tally.invalid";

/// Whom a server lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Workloads of these roles.
    pub roles: &'static [Role],
    /// Whether a caller without a certificate is let in too: for public reads only.
    pub anonymous: bool,
}

/// Whom a client means to reach. What is left open is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Of which member.
    pub member: Option<MemberId>,
    /// What it does.
    pub role: Role,
    /// Which one.
    pub name: Option<String>,
}

/// The configuration of a server. It presents what the identity is at each handshake.
///
/// # Errors
/// [`Error`] if certificate and key do not fit.
pub fn server_config(
    identity: Identity,
    trust: TrustStore,
    accept: Accept,
    alpn: &[&[u8]],
) -> Result<rustls::ServerConfig, Error> {
    identity.certified()?;
    let provider = Arc::new(provider());
    let verifier = Arc::new(Verifier { trust, provider: Arc::clone(&provider), policy: accept });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// The configuration of a client; without an identity it can read only what is public.
///
/// # Errors
/// [`Error`] if certificate and key do not fit.
pub fn client_config(
    identity: Option<Identity>,
    trust: TrustStore,
    expect: Expect,
    alpn: &[&[u8]],
) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(Verifier { trust, provider: Arc::clone(&provider), policy: expect });
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => {
            identity.certified()?;
            builder.with_client_cert_resolver(Arc::new(identity))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.enable_early_data = false;
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Checks an identity as a client of this trust would, before anybody meets it: who it is.
///
/// # Errors
/// [`IdentityError`] with which its peers would refuse it.
pub fn check(identity: &Identity, trust: &TrustStore) -> Result<SpiffeId, IdentityError> {
    let verifier = Verifier { trust: trust.clone(), provider: Arc::new(provider()), policy: () };
    let chain = identity.chain();
    let (end_entity, intermediates) =
        chain.split_first().ok_or(IdentityError::CertificateMissing)?;
    let usage = KeyUsage::server_auth();
    verifier.verify(end_entity, intermediates, UnixTime::now(), usage, |_| Ok(()))?;
    SpiffeId::of(end_entity)
}

/// Whether this CA vouches for an identity today, whatever any register says.
///
/// # Errors
/// [`IdentityError`] with which its peers would refuse it.
pub fn check_by_ca(identity: &Identity, ca: &CertificateDer<'_>) -> Result<(), IdentityError> {
    let chain = identity.chain();
    let (end_entity, intermediates) =
        chain.split_first().ok_or(IdentityError::CertificateMissing)?;
    let usage = KeyUsage::server_auth();
    verify_chain(&provider(), end_entity, intermediates, ca, UnixTime::now(), usage)
}

fn verify_chain(
    provider: &CryptoProvider,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    ca: &CertificateDer<'_>,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), IdentityError> {
    let anchor = anchor_from_trusted_cert(ca).map_err(|_| IdentityError::OtherIssuer)?;
    let algorithms = provider.signature_verification_algorithms.all;
    EndEntityCert::try_from(end_entity)
        .map_err(|_| IdentityError::CertificateMalformed)?
        .verify_for_usage(algorithms, &[anchor], intermediates, now, usage, None, None)
        .map(drop)
        .map_err(|error| match error {
            webpki::Error::CertExpired { .. } => IdentityError::Expired,
            webpki::Error::CertNotValidYet { .. } => IdentityError::NotYetValid,
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
                IdentityError::OtherIssuer
            }
            _ => IdentityError::ChainInvalid,
        })
}

/// aws-lc-rs with X25519MLKEM768 first: what is recorded today must not be readable to tomorrow's
/// machines.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// One verifier for both directions; what differs is the policy.
#[derive(Debug)]
struct Verifier<P> {
    trust: TrustStore,
    provider: Arc<CryptoProvider>,
    policy: P,
}

impl<P> Verifier<P> {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        fits: impl FnOnce(&SpiffeId) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        let id = SpiffeId::of(end_entity)?;
        let ca = self.trust.ca(&id)?;
        verify_chain(&self.provider, end_entity, intermediates, &ca, now, usage)?;
        fits(&id)
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

impl ClientCertVerifier for Verifier<Accept> {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.policy.anonymous
    }

    /// None: naming the CAs would tell any caller who is in the mesh.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let usage = KeyUsage::client_auth();
        self.verify(end_entity, intermediates, now, usage, |id| {
            if self.policy.roles.contains(&id.role) {
                Ok(())
            } else {
                Err(IdentityError::RoleRefused)
            }
        })
        .map(|()| ClientCertVerified::assertion())
        .map_err(refused)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Verifier<Expect> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usage = KeyUsage::server_auth();
        let Expect { member, role, name } = &self.policy;
        self.verify(end_entity, intermediates, now, usage, |id| {
            if id.role != *role {
                return Err(IdentityError::RoleRefused);
            }
            let member_fits = member.as_ref().is_none_or(|member| *member == id.member);
            let name_fits = name.as_ref().is_none_or(|name| *name == id.name);
            if member_fits && name_fits { Ok(()) } else { Err(IdentityError::OtherWorkload) }
        })
        .map(|()| ServerCertVerified::assertion())
        .map_err(refused)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// As a TLS error whose text holds the code: QUIC carries it to the other side.
fn refused(error: IdentityError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(error)))))
}

/// rustls prints the `Debug` of what it wraps, so that is where the text must be.
#[derive(Clone, Copy, thiserror::Error)]
#[error(transparent)]
struct Refused(IdentityError);

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled)
}
