//! The file with the keys of whoever issues tokens, and signatures by them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
};
use tally_core::refusal::Refusal;
use tally_record::token::{Algorithm, KEYS_LEN_MAX, Keys, KeysError, Material};

/// A change of the file counts after this time at the latest. It is looked at no more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why no signature can be checked.
#[derive(Debug, thiserror::Error)]
#[error("[ingress] jwks: {}: {why}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    why: KeyFileFault,
}

#[derive(Debug, thiserror::Error)]
enum KeyFileFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Keys(#[from] KeysError),
    #[error("key {0} is no public key")]
    NoKey(usize),
}

/// The keys in a file, as it is now.
pub(super) struct KeyFile {
    path: PathBuf,
    seen: Option<Seen>,
    looked_at: Instant,
    /// None if the file, as it was seen, can't be used: what was taken out of it must not count on.
    keys: Option<Arc<Keys>>,
}

/// By what a file is known to be another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

impl KeyFile {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// [`KeyFileError`]: better at the start than at the first request.
    pub(super) fn open(path: PathBuf) -> Result<Self, KeyFileError> {
        let seen = seen(&path);
        match read(&path) {
            Ok(keys) => {
                Ok(Self { path, seen, looked_at: Instant::now(), keys: Some(Arc::new(keys)) })
            }
            Err(why) => Err(KeyFileError { path, why }),
        }
    }

    /// The keys that count now.
    ///
    /// # Errors
    /// `token-keys-unreadable`.
    pub(super) fn current(&mut self) -> Result<Arc<Keys>, Refusal> {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.look();
        }
        self.keys.clone().ok_or(Refusal::TokenKeysUnreadable)
    }

    /// Makes the last look an older one.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.looked_at = self.looked_at.checked_sub(by).unwrap();
    }

    fn look(&mut self) {
        self.looked_at = Instant::now();
        let seen = seen(&self.path);
        if seen.is_some() && seen == self.seen && self.keys.is_some() {
            return;
        }
        self.seen = seen;
        self.keys = match read(&self.path) {
            Ok(keys) => {
                tracing::info!("the keys of token issuers were read again");
                Some(Arc::new(keys))
            }
            Err(why) => {
                tracing::warn!(%why, "the keys of token issuers can't be used");
                None
            }
        };
    }
}

fn seen(path: &Path) -> Option<Seen> {
    let metadata = fs::metadata(path).ok()?;
    Some(Seen {
        device: metadata.dev(),
        inode: metadata.ino(),
        len: metadata.len(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn read(path: &Path) -> Result<Keys, KeyFileFault> {
    let mut bytes = Vec::new();
    let len_max = u64::try_from(KEYS_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(len_max).read_to_end(&mut bytes)?;
    let keys = Keys::read(&bytes)?;
    for (place, key) in keys.iter().enumerate() {
        let whole = |algorithm: &Algorithm| parsed(key.material(), *algorithm).is_some();
        if !key.algorithms().iter().all(whole) {
            return Err(KeyFileFault::NoKey(place));
        }
    }
    Ok(keys)
}

/// Whether a key has signed a message.
pub(super) fn is_signed(
    material: &Material,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    parsed(material, algorithm).is_some_and(|key| key.verify_sig(message, signature).is_ok())
}

/// A key of the library; none if the numbers are no key, or of another kind than the algorithm's.
fn parsed(material: &Material, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    match (material, algorithm) {
        (Material::Rsa { modulus, exponent }, Algorithm::Rs256) => {
            let key = RsaPublicKeyComponents { n: modulus, e: exponent };
            key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
        }
        (Material::Rsa { modulus, exponent }, Algorithm::Rs512) => {
            let key = RsaPublicKeyComponents { n: modulus, e: exponent };
            key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA512).ok()
        }
        (Material::Ec(point), Algorithm::Es256) => {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
        }
        (Material::Ec(point), Algorithm::Es384) => {
            ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).ok()
        }
        (Material::Ed25519(key), Algorithm::EdDsa) => ParsedPublicKey::new(&ED25519, key).ok(),
        _ => None,
    }
}
