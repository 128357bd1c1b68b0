//! The keys of whoever issues tokens: a JSON Web Key Set, as their issuers publish it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tally_core::refusal::Refusal;

use super::{Algorithm, DEPTH_MAX, KEY_ID_LEN_MAX, Signing};
use crate::json::{Members, Node, get, parse};

/// Bytes of a file of keys at most.
pub const KEYS_LEN_MAX: usize = 256 * 1024;
/// Keys in one at most.
const KEYS_MAX: usize = 64;
/// Bits of an RSA key: what NIST SP 800-131A lets sign, and what is no way to keep a processor busy.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Keys, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

/// What a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// Modulus and exponent, big endian without leading zeros.
    Rsa {
        /// n.
        modulus: Vec<u8>,
        /// e.
        exponent: Vec<u8>,
    },
    /// A point, uncompressed: 4, x and y (SEC 1 §2.3.3).
    Ec(Vec<u8>),
    /// A public key of Ed25519.
    Ed25519(Vec<u8>),
}

/// Why a file is no set of keys to check tokens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is too long, or no JSON Web Key Set.
    #[error(
        "not a JSON Web Key Set (RFC 7517): expected {{\"keys\": […]}}, at most 256 KiB and 64 keys"
    )]
    NotASet,
    /// There is something secret in it.
    #[error(
        "key {0} has a secret in it: whoever reads this file could sign tokens; only public keys belong here"
    )]
    Secret(usize),
    /// A key is not what it says that it is.
    #[error("key {0} is malformed, or not of the curve or algorithm that it names")]
    Malformed(usize),
    /// An RSA key of another size.
    #[error("key {0}: an RSA key has 2,048 to 8,192 bits here")]
    Size(usize),
    /// Two of one name.
    #[error("two keys have one name (kid)")]
    Twice,
    /// None that can be used.
    #[error("no key in it can check RS256, RS512, ES256, ES384 or EdDSA")]
    Empty,
}

impl Keys {
    /// Reads a file. Keys of kinds that are not known, or for other uses, are passed over (RFC 7517
    /// §5).
    ///
    /// # Errors
    /// [`KeysError`]; keys are counted from 0.
    pub fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        if bytes.len() > KEYS_LEN_MAX {
            return Err(KeysError::NotASet);
        }
        let set = parse(bytes, DEPTH_MAX).ok().and_then(Node::members);
        let list = set.and_then(|set| get(&set, "keys").and_then(Node::elements));
        let list = list.filter(|list| list.len() <= KEYS_MAX).ok_or(KeysError::NotASet)?;
        let mut keys = Vec::new();
        for (place, node) in list.into_iter().enumerate() {
            keys.extend(read_key(node, place)?);
        }
        let ids = keys.iter().filter_map(|key| key.id.as_deref());
        let mut known = BTreeSet::new();
        if !ids.into_iter().all(|id| known.insert(id)) {
            return Err(KeysError::Twice);
        }
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The key that a token says it is signed with, and how. A token that names none is checked with
    /// the only key there is.
    ///
    /// # Errors
    /// `token-unsigned`, `token-key-unknown`, `token-algorithm-refused`.
    pub fn find(&self, signing: &Signing) -> Result<(&Material, Algorithm), Refusal> {
        let Signing::By { algorithm, key_id } = signing else { return Err(Refusal::TokenUnsigned) };
        let key = match (key_id, self.0.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_ref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let key = key.ok_or(Refusal::TokenKeyUnknown)?;
        // Of an RSA key that names no algorithm the token may say which of the two it is.
        let fits = key.algorithms.contains(algorithm);
        if fits { Ok((&key.material, *algorithm)) } else { Err(Refusal::TokenAlgorithmRefused) }
    }
}

impl Key {
    /// What it is made of.
    #[must_use]
    pub const fn material(&self) -> &Material {
        &self.material
    }

    /// What it may be used with.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }
}

fn read_key(node: Node<'_>, place: usize) -> Result<Option<Key>, KeysError> {
    let malformed = KeysError::Malformed(place);
    let members = node.members().ok_or(malformed)?;
    let text = |name: &str| match get(&members, name) {
        None => Ok(None),
        Some(node) => node.string().map(Some).ok_or(malformed),
    };
    if ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|name| get(&members, name).is_some()) {
        return Err(KeysError::Secret(place));
    }
    let kind = text("kty")?.ok_or(malformed)?;
    if text("use")?.is_some_and(|it| it != "sig") {
        return Ok(None);
    }
    let bytes = |name: &str| bytes_of(&members, name).ok_or(malformed);
    let (material, fitting) = match (kind.as_ref(), text("crv")?.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            if !RSA_BITS.contains(&bits_of(&modulus)) {
                return Err(KeysError::Size(place));
            }
            (Material::Rsa { modulus, exponent }, vec![Algorithm::Rs256, Algorithm::Rs512])
        }
        ("EC", Some("P-256")) => (point(&members, 32, malformed)?, vec![Algorithm::Es256]),
        ("EC", Some("P-384")) => (point(&members, 48, malformed)?, vec![Algorithm::Es384]),
        ("OKP", Some("Ed25519")) => {
            (Material::Ed25519(coordinate(&members, "x", 32, malformed)?), vec![Algorithm::EdDsa])
        }
        _ => return Ok(None),
    };
    let algorithms = match text("alg")? {
        None => fitting,
        Some(name) => match Algorithm::named(&name) {
            // A key for an algorithm that is not taken here, such as PS256.
            None => return Ok(None),
            Some(one) if fitting.contains(&one) => vec![one],
            Some(_) => return Err(malformed),
        },
    };
    let id = text("kid")?.map(std::borrow::Cow::into_owned);
    if id.as_ref().is_some_and(|id| id.len() > KEY_ID_LEN_MAX) {
        return Err(malformed);
    }
    Ok(Some(Key { id, algorithms, material }))
}

fn decoded(members: &Members<'_>, name: &str) -> Option<Vec<u8>> {
    let text = get(members, name)?.string()?;
    URL_SAFE_NO_PAD.decode(text.as_bytes()).ok()
}

/// A number without the leading zero that some issuers put before it.
fn bytes_of(members: &Members<'_>, name: &str) -> Option<Vec<u8>> {
    let bytes = decoded(members, name)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

fn bits_of(number: &[u8]) -> usize {
    let spare = number.first().map_or(0, |first| first.leading_zeros());
    let spare = usize::try_from(spare).unwrap_or_default();
    number.len().saturating_mul(8).saturating_sub(spare)
}

/// RFC 7518 §6.2.1.2: a coordinate has its full length, leading zeros too.
fn coordinate(
    members: &Members<'_>,
    name: &str,
    len: usize,
    malformed: KeysError,
) -> Result<Vec<u8>, KeysError> {
    decoded(members, name).filter(|bytes| bytes.len() == len).ok_or(malformed)
}

fn point(members: &Members<'_>, len: usize, malformed: KeysError) -> Result<Material, KeysError> {
    let x = coordinate(members, "x", len, malformed)?;
    let y = coordinate(members, "y", len, malformed)?;
    Ok(Material::Ec([vec![4], x, y].concat()))
}
