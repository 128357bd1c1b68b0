//! Identities: `spiffe://MESH/MEMBER/ROLE/NAME` in a workload's certificate, and what can be wrong
//! with one.

mod own;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use tally_core::id::{MemberId, MeshName, NodeId};

pub use own::Identity;

/// Who a workload is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeId {
    /// In which mesh.
    pub mesh: MeshName,
    /// Of which member.
    pub member: MemberId,
    /// What it does.
    pub role: Role,
    /// Which one, 1 to 64 of a-z, 0-9 and `-`. A ledger node's is its number.
    pub name: String,
}

/// What a workload does in its mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The member's agent.
    Agent,
    /// An ingress beside an application.
    Sidecar,
    /// A ledger node.
    Ledger,
    /// The operator that manages members' workloads.
    Operator,
    /// A person in a role who signs.
    Officer,
    /// An auditor, who reads.
    Auditor,
}

macro_rules! identity_errors {
    ($($variant:ident, $code:literal, $meaning:literal;)*) => {
        /// Why a certificate is refused: always the peer's fault, or our own certificate's. The code
        /// travels in the reason of the closed connection, so that both sides name the same cause.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
        pub enum IdentityError {
            $(#[doc = $meaning] #[error("identity refused ({}): {}", $code, $meaning)] $variant,)*
        }

        impl IdentityError {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code: in reasons, logs and metric labels.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

identity_errors! {
    CertificateMissing, "certificate-missing", "no certificate was presented";
    CertificateMalformed, "certificate-malformed", "the certificate can't be read";
    IdentityMalformed, "identity-malformed",
        "the certificate does not hold exactly one spiffe://MESH/MEMBER/ROLE/NAME";
    OtherMesh, "identity-other-mesh", "the certificate is for another mesh";
    MemberUnknown, "member-unknown", "the certificate names no member of this mesh";
    MemberRemoved, "member-removed", "the certificate names a member that was removed";
    OtherIssuer, "certificate-other-issuer",
        "the certificate was not issued by the CA that the registers hold for its member";
    Expired, "certificate-expired", "the certificate has expired";
    NotYetValid, "certificate-not-yet-valid", "the certificate is not valid yet";
    ChainInvalid, "certificate-chain-invalid", "the certificate's chain does not verify";
    RoleRefused, "identity-role-refused", "a workload of this role has no business here";
    OtherWorkload, "identity-other-workload", "the certificate is that of another workload";
    OtherMember, "identity-other-member", "the certificate is of a member whose sidecars have no business here";
}

impl IdentityError {
    /// The error that a reason names, if it names one.
    #[must_use]
    pub fn in_reason(reason: &str) -> Option<Self> {
        let (_, rest) = reason.split_once("identity refused (")?;
        let (code, _) = rest.split_once(')')?;
        Self::ALL.iter().copied().find(|error| error.code() == code)
    }
}

/// Why an identity can't be had from its files: our configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum LoadIdentityError {
    /// The certificate file.
    #[error("{}: no certificate in PEM can be read there: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: rustls::pki_types::pem::Error,
    },
    /// The key file.
    #[error("{}: no private key in PEM can be read there: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: rustls::pki_types::pem::Error,
    },
    /// Its peers would refuse the certificate.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why they would.
        why: IdentityError,
    },
}

impl SpiffeId {
    /// The identity in a certificate: its only URI name.
    ///
    /// # Errors
    /// [`IdentityError::CertificateMalformed`], or [`IdentityError::IdentityMalformed`] if there is
    /// none, more than one, or one of another shape.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let certificate = webpki::EndEntityCert::try_from(certificate)
            .map_err(|_| IdentityError::CertificateMalformed)?;
        let mut names = certificate.valid_uri_names();
        match (names.next(), names.next()) {
            (Some(name), None) => name.parse(),
            _ => Err(IdentityError::IdentityMalformed),
        }
    }

    /// A ledger node's number; none for any other workload.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        let number = self.name.parse::<u64>().ok()?;
        (self.role == Role::Ledger && number.to_string() == self.name).then_some(NodeId(number))
    }
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let malformed = IdentityError::IdentityMalformed;
        let mut parts = text.strip_prefix("spiffe://").ok_or(malformed)?.split('/');
        let mut part = || parts.next().ok_or(malformed);
        let id = Self {
            mesh: part()?.parse().map_err(|_| malformed)?,
            member: part()?.parse().map_err(|_| malformed)?,
            role: Role::parse(part()?).ok_or(malformed)?,
            name: part()?.to_owned(),
        };
        let name_fits = (1..=64).contains(&id.name.len())
            && id.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if parts.next().is_none() && name_fits { Ok(id) } else { Err(malformed) }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mesh, member, role, name } = self;
        write!(f, "spiffe://{mesh}/{member}/{}/{name}", role.as_str())
    }
}

impl Role {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Agent, Self::Sidecar, Self::Ledger, Self::Operator, Self::Officer, Self::Auditor];

    /// The role in an identity.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Sidecar => "sidecar",
            Self::Ledger => "ledger",
            Self::Operator => "operator",
            Self::Officer => "officer",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_one_text() {
        let text = "spiffe://dev.example/RZ9/ledger/3";
        let id = text.parse::<SpiffeId>().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.node(), Some(NodeId(3)));
        let bad = [
            "spiffe://dev.example/RZ9/ledger",
            "spiffe://dev.example/RZ9/ledger/3/4",
            "spiffe://dev.example/RZ9/ledger/",
            "spiffe://dev.example/RZ9/king/1",
            "spiffe://dev.example/rz9/agent/1",
            "https://dev.example/RZ9/agent/1",
            "spiffe://dev.example/RZ9/agent/A B",
        ];
        for text in bad {
            assert_eq!(text.parse::<SpiffeId>(), Err(IdentityError::IdentityMalformed), "{text}");
        }
    }

    #[test]
    fn only_a_ledger_node_has_a_number() {
        let agent = "spiffe://dev.example/RZ9/agent/3".parse::<SpiffeId>().unwrap();
        assert_eq!(agent.node(), None);
        let odd = "spiffe://dev.example/RZ9/ledger/03".parse::<SpiffeId>().unwrap();
        assert_eq!(odd.node(), None);
    }

    #[test]
    fn a_reason_leads_back_to_its_error() {
        for error in IdentityError::ALL {
            assert_eq!(IdentityError::in_reason(&format!("tls: {error}!")), Some(*error));
        }
        assert_eq!(IdentityError::in_reason("identity refused (because)"), None);
    }
}
