//! What a process is given of its mesh before it talks to anybody: the genesis, and the CA of its own
//! member.
//!
//! Invariant: a genesis is that of the mesh that the configuration names, and what a peer would refuse
//! in our own certificate is told here first.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::MeshId;
use tally_core::register::MemberRecord;
use tally_wire::DecodeError;

use crate::identity::{Identity, LoadIdentityError};
use crate::tls;
use crate::trust::TrustStore;

/// Bytes of a genesis file at most; more is none.
const GENESIS_LEN_MAX: u64 = 64 * 1024;

/// Why there is no genesis: our configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{}: not a genesis: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: DecodeError,
    },
    /// It is another mesh's.
    #[error("{}: the genesis of mesh {found}, but [mesh] id says {wanted}", path.display())]
    OtherMesh {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: MeshId,
        /// Whose it should be.
        wanted: MeshId,
    },
}

/// Reads the genesis of the mesh `wanted`.
///
/// # Errors
/// [`GenesisError`] names the file and what is wrong with it.
pub fn read_genesis(path: &Path, wanted: MeshId) -> Result<Encoded<Genesis>, GenesisError> {
    let io = |source| GenesisError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(GENESIS_LEN_MAX).read_to_end(&mut bytes).map_err(io)?;
    let genesis = tally_wire::decode::<Genesis>(&bytes)
        .map_err(|why| GenesisError::Malformed { path: path.to_owned(), why })?;
    let found = MeshId(genesis.leaf_hash());
    if found != wanted {
        return Err(GenesisError::OtherMesh { path: path.to_owned(), found, wanted });
    }
    Ok(genesis)
}

/// Whether the CA in the file `ca` vouches for our own identity, as its peers will ask; `cert` is the
/// file that the identity is from. Of a member that joined later the genesis knows nothing, and
/// neither does this.
///
/// # Errors
/// [`LoadIdentityError`] if there is no CA in the file, or peers would refuse the certificate.
pub fn check_by_own_ca(
    identity: &Identity,
    cert: &Path,
    ca: &Path,
    genesis: &Genesis,
) -> Result<(), LoadIdentityError> {
    let bad = |why| LoadIdentityError::Certificate { path: ca.to_owned(), why };
    let mut certificates = CertificateDer::pem_file_iter(ca).map_err(bad)?;
    let own = certificates.next().unwrap_or(Err(pem::Error::NoItemsFound)).map_err(bad)?;
    let refused = |why| LoadIdentityError::Refused { path: cert.to_owned(), why };
    let id = identity.id().map_err(refused)?;
    let founder = genesis.members.iter().find(|member| member.id == id.member);
    let Some(founder) = founder else { return Ok(()) };
    let trust = TrustStore::new(genesis.mesh.clone());
    trust.update(&MemberRecord { ca: own.to_vec(), ..founder.clone() });
    tls::check(identity, &trust).map(drop).map_err(refused)
}
