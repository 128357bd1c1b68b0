//! Why a sidecar does not start, and what to do about each.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tally_net::rustls::pki_types::pem;
use tally_net::{IdentityError, LoadIdentityError, SpiffeId};

use crate::ingress::IngressListenError;

/// Why a sidecar does not start: the fault of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum SidecarStartError {
    /// Certificate and key.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// The key is not the certificate's.
    #[error("[identity] cert and key do not belong together: {0}")]
    KeyOfAnother(String),
    /// The certificate is another workload's.
    #[error("the certificate is for {found}, and this is a sidecar")]
    OtherIdentity {
        /// Who it is for.
        found: Box<SpiffeId>,
    },
    /// The member's CA.
    #[error("[identity] ca: {}: no certificate in PEM can be read there: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: pem::Error,
    },
    /// Where applications reach it.
    #[error(transparent)]
    Ingress(#[from] IngressListenError),
    /// Where its health is seen.
    #[error("[health] listen: can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Our own fault.
    #[error("the sidecar can't be put together: {0}")]
    Own(String),
}

impl SidecarStartError {
    /// What to do about it, in a sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Identity(LoadIdentityError::Refused { why, .. }) => match why {
                IdentityError::Expired => "issue another: tally identity issue --role sidecar",
                IdentityError::NotYetValid => {
                    "set this machine's clock, or issue another certificate"
                }
                _ => {
                    "issue one from the member's own CA, and name that CA as [identity] ca: tally \
                     identity issue --role sidecar"
                }
            },
            Self::Identity(_) | Self::KeyOfAnother(_) | Self::OtherIdentity { .. } => {
                "give certificate and key that tally identity issue --role sidecar has made"
            }
            Self::Ca { .. } => "give the member's own CA in PEM: the ca.pem of its agent",
            Self::Ingress(_) => {
                "give an address of this machine where nobody listens; with mutual TLS, certificate, \
                 key and CAs in PEM"
            }
            Self::Listen { .. } => {
                "see which process has the port: ss -tlnp; or give another address of this machine"
            }
            Self::Own(_) => "report this",
        }
    }
}
