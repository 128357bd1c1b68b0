//! A member's own certificate authority: made once, its key never leaves the member.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tally_core::id::MemberId;
use time::OffsetDateTime;

use crate::identity::{Identity, SpiffeId};

/// A certificate authority that issues a member's workload certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
}

/// A certificate and its key, in PEM, ready to be written to files.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key: for its owner's eyes only.
    pub key_pem: String,
    identity: Identity,
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The CA's files are not a CA's.
    #[error("the CA's certificate or key can't be used: {0}")]
    Unusable(rcgen::Error),
    /// Signing failed.
    #[error("the certificate could not be made: {0}")]
    Issue(rcgen::Error),
    /// The times make no sense.
    #[error("the certificate's validity is out of range")]
    Validity,
}

/// From when to when a certificate holds, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from_s: i64,
    /// The last second.
    pub until_s: i64,
}

/// The certificate of an authority in a text in PEM, in DER; none if there is none that can be read.
#[must_use]
pub fn certificate_of(pem: &str) -> Option<Vec<u8>> {
    use rustls::pki_types::pem::PemObject;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    webpki::anchor_from_trusted_cert(&der).is_ok().then(|| der.to_vec())
}

impl Authority {
    /// Makes a new CA for a member: P-256, one level deep.
    ///
    /// # Errors
    /// [`AuthorityError`] if the system gives no key, or the validity makes no sense.
    pub fn create(common_name: &str, validity: Validity) -> Result<Self, AuthorityError> {
        let mut params = params(common_name, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(AuthorityError::Issue)?;
        let certificate = params.self_signed(&key).map_err(AuthorityError::Issue)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The CA whose certificate and key these are.
    ///
    /// # Errors
    /// [`AuthorityError::Unusable`] if they are not.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        use rustls::pki_types::pem::PemObject;
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Unusable)?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| AuthorityError::Unusable(rcgen::Error::CouldNotParseCertificate))?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(certificate_pem, key)
                .map_err(AuthorityError::Unusable)?,
            certificate_pem: certificate_pem.to_owned(),
            certificate_der: der,
        })
    }

    /// The CA's certificate, in PEM: public.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's certificate, in DER: what the member's register holds.
    #[must_use]
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate_der
    }

    /// The CA's private key, in PEM: for the member's eyes only.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a workload's certificate with a fresh P-256 key. The addresses let plain HTTPS clients
    /// such as curl check the server's name.
    ///
    /// # Errors
    /// [`AuthorityError`] if the system gives no key, or the validity makes no sense.
    pub fn issue(
        &self,
        id: &SpiffeId,
        addresses: &[IpAddr],
        validity: Validity,
    ) -> Result<Issued, AuthorityError> {
        self.issue_run_by(None, id, addresses, validity)
    }

    /// The same for a workload that the member's processor runs: the certificate names it, as the
    /// organisation of its subject.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_run_by(
        &self,
        operator: Option<&MemberId>,
        id: &SpiffeId,
        addresses: &[IpAddr],
        validity: Validity,
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(&format!("{} {}", id.role.as_str(), id.name), validity)?;
        if let Some(operator) = operator {
            params.distinguished_name.push(DnType::OrganizationName, operator.as_str());
        }
        let uri = id.to_string().try_into().map_err(AuthorityError::Issue)?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(AuthorityError::Issue)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Issue)?;
        let key_der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            identity: Identity::new(vec![certificate.der().clone()], key_der),
        })
    }
}

impl Issued {
    /// The same as an identity, to be used at once.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let time = |seconds| {
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Validity)
    };
    params.not_before = time(validity.from_s)?;
    params.not_after = time(validity.until_s)?;
    if validity.from_s >= validity.until_s {
        return Err(AuthorityError::Validity);
    }
    Ok(params)
}
