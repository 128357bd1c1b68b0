//! A verifiable log that an auditor can build alone: RFC 6962 hashing, C2SP tiles, checkpoints,
//! cosignatures and proofs. It knows no mesh, no record and no transport.
//!
//! Invariant: what this crate accepts, every conforming C2SP verifier accepts. It refuses more than
//! they must: a second spelling of anything, and extension lines. Proofs say first what to read,
//! then compute from what was read.

pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod key;
pub mod node;
pub mod note;
pub mod policy;
pub mod proof;
mod text;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod witness;

pub use checkpoint::{BadCheckpoint, Checkpoint, Origin, SignedCheckpoint};
pub use cosignature::Cosigner;
pub use hash::{Hash, HmacSha256, hmac_sha256, leaf_hash, node_hash, sha256};
pub use key::{BadKey, BadSignature, Signature, SigningKey, VerifyingKey};
pub use node::NodeId;
pub use note::{BadNote, KeyName, NotVerified, Note, NoteKey, NoteSignature, NoteSigner, Verified};
pub use policy::{Policy, PolicyDraft};
pub use proof::{BadProof, BatchTree, NoProof};
pub use tile::{Tile, TileContent, TilePath, TileSet, TileWriter};
pub use tlog_proof::TlogProof;
pub use tree::{BadEdge, Edge, root_of};
pub use witness::AddCheckpoint;
