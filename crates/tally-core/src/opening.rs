//! What makes an entry readable: who it is about, which records, who asked and for what reason.
//!
//! Invariant: the ledger holds only a salted commitment to an opening. Whoever lacks the opening
//! can neither name its people nor check a guess; whoever has it can check every word.

use std::fmt;

use tally_log::{Edge, Hash, HmacSha256, hmac_sha256, leaf_hash, root_of, sha256};

use crate::id::{ExchangeId, MeshId};
use crate::policy::Relationship;
use crate::record::Person;

/// Bytes in a chunk of a stream: the leaves of its keyed tree. The last one may be shorter.
pub const CHUNK_LEN: usize = 64 * 1024;

/// The readable part of a provider's half. Encrypted in the provider's store, sent to the requester
/// with what is released, never on the ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The exchange that it belongs to.
    pub exchange: ExchangeId,
    /// 256 bits from outside. Without them the commitment and the digest can't be checked.
    pub salt: Salt32,
    /// The people, in an order drawn from outside: the place of a tag must not tell whose it is.
    pub people: Vec<Opened>,
    /// The user who asked, as `system|value`.
    pub user: Option<String>,
    /// The user's role.
    pub role: Option<String>,
    /// How the user is related to the person.
    pub relationship: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// The application's own ids of the request, so that its log and ours can be read together.
    pub request_ids: Vec<String>,
}

/// One person of an opening.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who.
    pub person: Person,
    /// The records about them that were asked for, as `Type/id`.
    pub record_ids: Vec<String>,
    /// Their one-time tag in this exchange, from [`TagKey::tag`].
    pub tag: Hash,
}

/// 256 random bits given in from outside: keys the commitment and the digest of one opening.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt32(pub [u8; 32]);

/// The random key of one person and retention year, in the provider's store alone. Destroying it
/// unlinks the person's tags from each other and from the person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TagKey(pub [u8; 32]);

impl Opening {
    /// Whether nobody but the user says how they are related to the person.
    #[must_use]
    pub fn is_self_claimed(&self) -> bool {
        let relationship = self.relationship.as_deref().and_then(|it| it.parse().ok());
        relationship == Some(Relationship::SelfClaimed)
    }

    /// The RFC 6962 root over the people's tags.
    ///
    /// An opening without people has one tag that is nobody's, keyed with its salt: the root of a
    /// refusal does not tell whether the person is known.
    #[must_use]
    pub fn tags_root(&self, mesh_id: &MeshId) -> Hash {
        if self.people.is_empty() {
            let nobody = TagKey(self.salt.0).tag(mesh_id, self.exchange);
            return leaf_hash(nobody.as_bytes());
        }
        let tags = self.people.iter().map(|opened| leaf_hash(opened.tag.as_bytes()));
        root_of(&tags.collect::<Vec<_>>())
    }
}

/// What the ledger holds of an opening: SHA-256(`tally/opening/v1\0` ‖ mesh id ‖ its bytes).
#[must_use]
pub fn commitment(mesh_id: &MeshId, bytes: &[u8]) -> Hash {
    sha256(&[b"tally/opening/v1\0", mesh_id.0.as_bytes(), bytes])
}

/// The keyed digest of a body that was read as a whole: HMAC-SHA256 under the opening's salt, over
/// the parts one after another. Unsalted, the digest of a record that can be guessed would name
/// its person.
#[must_use]
pub fn digest(salt: &Salt32, parts: &[&[u8]]) -> Hash {
    hmac_sha256(&salt.0, parts)
}

/// The same digest, of a body that comes piece by piece.
#[derive(Debug, Clone)]
pub struct BodyDigest(HmacSha256);

impl BodyDigest {
    /// Of a body that has not begun.
    #[must_use]
    pub fn new(salt: &Salt32) -> Self {
        Self(HmacSha256::new(&salt.0))
    }

    /// Adds the next piece, of any length.
    pub fn push(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of the pieces so far.
    #[must_use]
    pub fn digest(&self) -> Hash {
        self.0.finish()
    }
}

/// The keyed root of a stream, at constant memory: an RFC 6962 tree whose leaves are the HMAC-SHA256
/// of the hashes of chunks of [`CHUNK_LEN`] bytes under the opening's salt. A chunk's hash is that of
/// its leaf in the content's tree, so that whoever says both roots hashes each byte once.
#[derive(Clone)]
pub struct StreamDigest {
    salt: Salt32,
    edge: Edge,
}

impl StreamDigest {
    /// Of a stream that has not begun.
    #[must_use]
    pub fn new(salt: Salt32) -> Self {
        Self { salt, edge: Edge::new() }
    }

    /// Adds the next chunk: [`CHUNK_LEN`] bytes, unless it is the last.
    pub fn push(&mut self, chunk: &[u8]) {
        self.push_hashed(&leaf_hash(chunk));
    }

    /// Adds the next chunk, by its [`leaf_hash`].
    pub fn push_hashed(&mut self, chunk: &Hash) {
        self.edge.push(leaf_hash(digest(&self.salt, &[chunk.as_bytes()]).as_bytes()));
    }

    /// The root over the chunks so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.edge.root()
    }
}

impl TagKey {
    /// The person's tag in this exchange: HMAC-SHA256(key, `tally/tag/v1\0` ‖ mesh id ‖ exchange).
    #[must_use]
    pub fn tag(&self, mesh_id: &MeshId, exchange: ExchangeId) -> Hash {
        hmac_sha256(&self.0, &[b"tally/tag/v1\0", mesh_id.0.as_bytes(), &exchange.0])
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("exchange", &self.exchange)
            .field("people", &self.people.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(…)")
    }
}

impl fmt::Debug for Salt32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt32(…)")
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

impl fmt::Debug for StreamDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDigest").field("chunks", &self.edge.size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESH: MeshId = MeshId(Hash::from_bytes([3; 32]));
    const OTHER_MESH: MeshId = MeshId(Hash::from_bytes([4; 32]));
    const EXCHANGE: ExchangeId = ExchangeId([5; 16]);

    #[test]
    fn a_commitment_is_for_one_mesh_and_one_text() {
        let known = commitment(&MESH, b"opening");
        assert_ne!(known, commitment(&OTHER_MESH, b"opening"));
        assert_ne!(known, commitment(&MESH, b"openin"));
        let preimage = [b"tally/opening/v1\0".as_slice(), &[3; 32], b"opening"].concat();
        assert_eq!(known, sha256(&[&preimage]));
    }

    #[test]
    fn a_tag_is_used_once() {
        let key = TagKey([6; 32]);
        let tag = key.tag(&MESH, EXCHANGE);
        assert_ne!(tag, key.tag(&MESH, ExchangeId([9; 16])));
        assert_ne!(tag, key.tag(&OTHER_MESH, EXCHANGE));
        assert_ne!(tag, TagKey([7; 32]).tag(&MESH, EXCHANGE));
    }

    #[test]
    fn a_root_does_not_tell_whether_anybody_was_known() {
        let nobody = opening(&[]).tags_root(&MESH);
        assert_ne!(nobody, root_of(&[]));
        assert_ne!(nobody, Opening { salt: Salt32([2; 32]), ..opening(&[]) }.tags_root(&MESH));
        let tags = [Hash::from_bytes([1; 32]), Hash::from_bytes([2; 32])];
        let leaves = tags.map(|tag| leaf_hash(tag.as_bytes()));
        assert_eq!(opening(&tags).tags_root(&MESH), root_of(&leaves));
    }

    #[test]
    fn a_stream_and_a_body_have_different_digests_under_each_salt() {
        let root = |salt: u8| {
            let mut stream = StreamDigest::new(Salt32([salt; 32]));
            stream.push(b"one");
            stream.push(b"two");
            stream.root()
        };
        assert_ne!(root(1), root(2));
        assert_ne!(root(1), digest(&Salt32([1; 32]), &[b"one", b"two"]));
        let whole = digest(&Salt32([1; 32]), &[b"one", b"two"]);
        assert_eq!(whole, hmac_sha256(&[1; 32], &[b"onetwo"]));
        let mut pieces = BodyDigest::new(&Salt32([1; 32]));
        [b"on".as_slice(), b"", b"etwo"].into_iter().for_each(|piece| pieces.push(piece));
        assert_eq!(pieces.digest(), whole);
    }

    #[test]
    fn debug_names_nobody() {
        let mut opening = opening(&[Hash::from_bytes([1; 32])]);
        opening.user = Some("system|nurse".to_owned());
        opening.reason = Some("9990000018 was brought in".to_owned());
        let printed = format!("{opening:?} {:?}", opening.people);
        for secret in ["999", "nurse", "p1"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }

    fn opening(tags: &[Hash]) -> Opening {
        let opened = |tag: &Hash| Opened {
            person: Person::new("nhs-number|9990000018").unwrap(),
            record_ids: vec!["Patient/p1".to_owned()],
            tag: *tag,
        };
        Opening {
            exchange: EXCHANGE,
            salt: Salt32([1; 32]),
            people: tags.iter().map(opened).collect(),
            user: None,
            role: None,
            relationship: None,
            reason: None,
            request_ids: Vec::new(),
        }
    }
}
