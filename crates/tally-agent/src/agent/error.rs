//! Why an agent does not start, and what to do about each.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tally_core::id::MemberId;
use tally_net::keyfile::KeyFileError;
use tally_net::{GenesisError, IdentityError, LoadIdentityError, SpiffeId};

use crate::alerts::BadWebhook;
use crate::config::IngressAddress;
use crate::ingress::{IngressListenError, KeyFileError as TokenKeysError};
use crate::peers::ListenError;
use crate::source::SourceError;
use crate::store::StoreError;

/// Why an agent does not start; whose it is to mend is in the words.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The genesis file is not the mesh's.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Certificate and key, or the member's CA.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// The certificate is another workload's.
    #[error("the certificate is for {found}, but this is the agent of {member}")]
    OtherIdentity {
        /// Who it is for.
        found: Box<SpiffeId>,
        /// Whose agent this is.
        member: String,
    },
    /// Certificate and configuration do not name the same processor.
    #[error("the certificate says that {} runs this agent, and the configuration {}",
        named(found.as_ref()), named(wanted.as_ref()))]
    OtherOperator {
        /// Whom the certificate names.
        found: Option<MemberId>,
        /// Whom the configuration names.
        wanted: Option<MemberId>,
    },
    /// The agent's key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The keys of whoever issues its users' tokens.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A ledger node's address.
    #[error("ledger node at {address}: {why}")]
    LedgerAddress {
        /// Where.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address is taken, or not this machine's.
    #[error("{what}: can't listen on {address}: {source}")]
    Listen {
        /// Which setting.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Where applications reach it.
    #[error(transparent)]
    Ingress(#[from] IngressListenError),
    /// The endpoint for other agents.
    #[error("[quic] listen: {0}")]
    Quic(#[from] ListenError),
    /// Where alerts are to go.
    #[error("[alerts] {0}")]
    Alerts(#[from] BadWebhook),
    /// Our own fault.
    #[error("the agent can't be put together: {0}")]
    Own(String),
}

impl StartError {
    /// What to do about it, in a sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => "give a directory that is this agent's alone, on a disk with room",
            Self::Genesis(GenesisError::OtherMesh { .. }) => {
                "give the genesis.cbor of this mesh, or correct [mesh] id: tally mesh show says it"
            }
            Self::Genesis(_) => "give the genesis.cbor of the mesh as [mesh] genesis",
            Self::Identity(LoadIdentityError::Refused { why, .. }) => of_certificate(*why),
            Self::Identity(LoadIdentityError::Certificate { .. }) => {
                "give a certificate in PEM as [identity] cert: tally identity issue makes one"
            }
            Self::Identity(LoadIdentityError::Key { .. }) => {
                "give the certificate's own key in PEM as [identity] key: tally identity issue \
                 makes both"
            }
            Self::OtherIdentity { .. } => {
                "issue one for this agent: tally identity issue --role agent --member MEMBER"
            }
            Self::OtherOperator { .. } => {
                "say operator = \"ID\" as the certificate does, or issue another: tally identity issue \
                 --operator ID"
            }
            Self::Key(KeyFileError::Exposed { .. }) => "chmod 600 the file",
            Self::Key(_) => {
                "give the key whose public half is in the member's register: tally member key \
                 shows it"
            }
            Self::TokenKeys(_) => "give the issuer's JSON Web Key Set as [ingress] jwks",
            Self::Store(error) => of_store(error),
            Self::Source(SourceError::Changed { .. }) => "start again once nobody writes there",
            Self::Source(_) => "mend the source that is named, or leave it out",
            Self::LedgerAddress { .. } => {
                "name ledger nodes by the addresses that the genesis has, and see that their names \
                 resolve"
            }
            Self::Ingress(IngressListenError::Identity(_) | IngressListenError::Tls(_)) => {
                "give certificate and key that belong together, and CAs, each in PEM"
            }
            Self::Ingress(IngressListenError::ClientCa { .. }) => {
                "name the CA certificates that vouch for applications, in PEM"
            }
            Self::Ingress(IngressListenError::Listen {
                address: IngressAddress::Unix(_), ..
            }) => "give a path in a directory of this agent, where no other process listens",
            Self::Ingress(IngressListenError::Listen { .. })
            | Self::Listen { .. }
            | Self::Quic(ListenError::Bind { .. }) => {
                "see which process has the port: ss -tulpn; or give another address of this machine"
            }
            Self::Quic(ListenError::Identity(_)) => {
                "give certificate and key that belong together: tally identity show"
            }
            Self::Alerts(_) => "correct [alerts], or leave it out",
            Self::Own(_) => "report this",
        }
    }
}

/// A processor, or that there is none.
fn named(operator: Option<&MemberId>) -> String {
    operator.map_or_else(|| "the member itself".to_owned(), ToString::to_string)
}

const fn of_certificate(why: IdentityError) -> &'static str {
    match why {
        IdentityError::Expired => "issue another: tally identity issue",
        IdentityError::NotYetValid => "set this machine's clock, or issue another certificate",
        IdentityError::OtherIssuer | IdentityError::ChainInvalid => {
            "issue one from the CA of [identity] ca, which the member's register holds: tally \
             identity issue"
        }
        _ => "issue one for this agent, member and mesh: tally identity issue",
    }
}

const fn of_store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Locked { .. } => {
            "end the other process first: one agent has one data directory"
        }
        StoreError::KeyExposed { .. } => "chmod 600 the file",
        StoreError::KeyMissing { .. } | StoreError::KeyMalformed { .. } => {
            "put the key back from where keys are kept; without it nothing in the store can be read"
        }
        StoreError::DatabaseMissing { .. } | StoreError::Damaged { .. } => {
            "put the store back from a copy; tally says at the start whether it is too old"
        }
        StoreError::NewerForm { .. } => "run the version that wrote it, or a later one",
        StoreError::OtherMember { .. } | StoreError::OtherMesh { .. } => {
            "give the data_dir of this member's agent in this mesh"
        }
        StoreError::NotAStore { .. } | StoreError::OtherKey { .. } => {
            "give another data_dir, or move away what is in its store directory"
        }
        _ => "see the disk of the data directory: room, permissions, faults",
    }
}
