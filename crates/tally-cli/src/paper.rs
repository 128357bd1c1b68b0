//! What goes round among officers before the ledger has it: a document, a register's next version or a
//! recovery, with the signatures under it so far, in a file that people send each other.
//!
//! Invariant: each officer signs what the own reading of the file's bytes says, never what stands
//! beside them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tally_agent::admin::api::ApprovalText;
use tally_core::Encoded;
use tally_core::agreement::Agreement;
use tally_core::entry::{Algorithm, Recovery, recovery_preimage};
use tally_core::id::{KeyId, LeafIndex, MeshId, NodeId, Salt16};
use tally_core::register::{
    Approval, GroupRecord, RegisterBody, RegisterName, agreement_preimage, register_preimage,
};
use tally_log::{Hash, Signature, VerifyingKey};
use tally_net::keyfile::{self, KeyUse};

use crate::acting::Acting;
use crate::failure::Failure;
use crate::system::{read_text, write_file};

/// Bytes of such a file at most.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paper {
    tally: u64,
    mesh_id: String,
    pub(crate) what: What,
    pub(crate) approvals: Vec<ApprovalText>,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum What {
    /// An agreement's document, by which a member joins.
    Accession {
        /// In base64.
        document: String,
    },
    /// A group's next version.
    Group {
        /// The version of its register.
        version: u64,
        /// The leaf of the version before.
        previous: Option<u64>,
        /// The register's body, in base64.
        body: String,
    },
    /// The next version of a member, of the witnesses or of the rules.
    Register {
        /// The register's name.
        name: String,
        /// Its version.
        version: u64,
        /// The leaf of the version before.
        previous: Option<u64>,
        /// Its body, in base64.
        body: String,
    },
    /// The ledger goes on in a new epoch, with what one node has.
    Recovery {
        /// 128 bits, in hexadecimal.
        salt: String,
        /// The epoch that begins.
        epoch: u64,
        /// Leaves that the node has.
        size: u64,
        /// The root over them, in hexadecimal.
        root: String,
        /// The node that goes on.
        node: u64,
    },
}

impl Paper {
    pub(crate) fn new(acting: &Acting, what: What) -> Self {
        Self::of_mesh(&acting.config.mesh_id, what)
    }

    /// One without signatures, for a mesh that is known without anybody to act for.
    pub(crate) fn of_mesh(mesh_id: &MeshId, what: What) -> Self {
        Self { tally: 1, mesh_id: mesh_id.to_string(), what, approvals: Vec::new() }
    }

    /// Reads one of the own mesh.
    ///
    /// # Errors
    /// [`Failure`] if it is none.
    pub(crate) fn read(path: &Path, acting: &Acting) -> Result<Self, Failure> {
        Self::read_of_mesh(path, &acting.config.mesh_id)
    }

    /// Reads one of this mesh.
    ///
    /// # Errors
    /// [`Failure`] if it is none.
    pub(crate) fn read_of_mesh(path: &Path, mesh_id: &MeshId) -> Result<Self, Failure> {
        let text = read_text(path, FILE_LEN_MAX)?;
        let remedy = "give a file that was made to be signed";
        let bad =
            |why: String| Failure::configuration(format!("{}: {why}", path.display()), remedy);
        let paper: Self = serde_json::from_str(&text).map_err(|why| bad(why.to_string()))?;
        if paper.tally != 1 {
            return Err(bad("this version reads format 1 only".to_owned()));
        }
        if paper.mesh_id != mesh_id.to_string() {
            return Err(bad("it is of another mesh".to_owned()));
        }
        Ok(paper)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Failure`] if it can't be.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|why| Failure::environment(why, "report this: it has no JSON form"))?;
        write_file(path, &text)
    }

    /// Adds the own officer's signature, or puts it in the place of an older one.
    ///
    /// # Errors
    /// [`Failure`] if there is nothing to sign with, or nothing that can be signed.
    pub(crate) fn sign(&mut self, acting: &Acting) -> Result<(), Failure> {
        let Some(officer) = &acting.config.officer else {
            let remedy = "name the officer's role and key under [officer] in the configuration";
            return Err(Failure::configuration("there is no key to sign with", remedy));
        };
        let key = keyfile::load(&officer.key, KeyUse::Officer)
            .map_err(|why| Failure::configuration(why, "give the officer's own key file"))?;
        let mesh_id = &acting.config.mesh_id;
        let preimage = match &self.what {
            What::Accession { document } => {
                agreement_preimage(mesh_id, read_document(document)?.bytes())
            }
            What::Group { version, previous, body } => {
                let group = read_group(body)?;
                let name = RegisterName::Group(group.1.id);
                let previous = previous.map(LeafIndex);
                register_preimage(mesh_id, &name, *version, previous, true, group.0.bytes())
            }
            What::Register { name, version, previous, body } => {
                let name: RegisterName = name.parse().map_err(unreadable)?;
                let body = read_body(body)?;
                let previous = previous.map(LeafIndex);
                register_preimage(mesh_id, &name, *version, previous, true, body.bytes())
            }
            What::Recovery { .. } => recovery_preimage(&self.recovery()?),
        };
        let (member, role) = (acting.config.member.to_string(), officer.role.to_string());
        self.approvals.retain(|it| (&it.member, &it.role) != (&member, &role));
        self.approvals.push(ApprovalText {
            member,
            role,
            public_key: STANDARD.encode(key.verifying_key().as_bytes()),
            signature: STANDARD.encode(key.sign(&preimage).as_bytes()),
        });
        Ok(())
    }

    /// The recovery that it is about, with the signatures so far: what stands on the ledger.
    ///
    /// # Errors
    /// [`Failure`] if it is about something else, or can't be read.
    pub(crate) fn recovery(&self) -> Result<Recovery, Failure> {
        let What::Recovery { salt, epoch, size, root, node } = &self.what else {
            let remedy = "give a file that tally ledger recover --plan, or tally ledger recovery \
                          propose, has written";
            return Err(Failure::usage("the file is about no recovery", remedy));
        };
        let approvals = self.approvals.iter().map(approval).collect::<Option<Vec<_>>>();
        let mut approvals = approvals.ok_or_else(|| unreadable("a signature is none"))?;
        approvals.sort_by(|one, next| (&one.member, &one.role).cmp(&(&next.member, &next.role)));
        Ok(Recovery {
            salt: Salt16(hex(salt).ok_or_else(|| unreadable("its salt is none"))?),
            mesh_id: self.mesh_id.parse().map_err(unreadable)?,
            epoch: *epoch,
            size: *size,
            root: Hash::from_bytes(hex(root).ok_or_else(|| unreadable("its root is none"))?),
            node: NodeId(*node),
            approvals,
        })
    }

    /// Who has signed.
    pub(crate) fn signed_by(&self) -> Vec<String> {
        self.approvals.iter().map(|it| it.member.clone()).collect()
    }
}

/// The agreement of an accession.
///
/// # Errors
/// [`Failure`] if it is none.
pub(crate) fn read_document(text: &str) -> Result<Encoded<Agreement>, Failure> {
    let bytes = bytes(text)?;
    tally_wire::decode(&bytes).map_err(unreadable)
}

/// The group of a body.
///
/// # Errors
/// [`Failure`] if it is none.
pub(crate) fn read_group(text: &str) -> Result<(Encoded<RegisterBody>, GroupRecord), Failure> {
    let body = read_body(text)?;
    match body.value() {
        RegisterBody::Group(group) => {
            let group = group.clone();
            Ok((body, group))
        }
        _ => Err(unreadable("it is no group")),
    }
}

/// The body of a register.
///
/// # Errors
/// [`Failure`] if it is none.
pub(crate) fn read_body(text: &str) -> Result<Encoded<RegisterBody>, Failure> {
    let bytes = bytes(text)?;
    tally_wire::decode::<RegisterBody>(&bytes).map_err(unreadable)
}

/// None if it can't be read.
fn approval(text: &ApprovalText) -> Option<Approval> {
    Some(Approval {
        member: text.member.parse().ok()?,
        role: text.role.parse().ok()?,
        key: KeyId::of(&VerifyingKey::from_bytes(&fixed(&text.public_key)?).ok()?),
        algorithm: Algorithm::EdDsa,
        signature: Signature::from_bytes(fixed(&text.signature)?),
    })
}

fn fixed<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// So many bytes, from small hexadecimal digits.
pub(crate) fn hex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != LEN || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        // A sign would be parsed, too.
        let digits = pair.iter().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(it));
        let text = str::from_utf8(pair).ok().filter(|_| digits)?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(bytes)
}

fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(unreadable)
}

fn unreadable(why: impl std::fmt::Display) -> Failure {
    Failure::configuration(format!("what is to be signed: {why}"), "have it made anew")
}
