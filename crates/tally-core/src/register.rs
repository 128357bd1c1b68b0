//! Registers: versioned facts that the ledger applies, and that permits are checked against.

mod member;
mod name;
mod names;
mod organisation;
mod witness;

pub use member::{
    AUDITOR_ROLE, Address, BadAddress, LedgerNode, MemberRecord, MemberStatus, Officer,
};
pub use name::{BadRegisterName, CONSENT_REGISTERS_MAX, RegisterName, RegisterRef};
pub use names::Names;
pub use organisation::{
    Assessment, AssessmentStatus, BadCode, GSS, ODS, OrganisationCode, may_supersede,
};
pub use witness::{Witness, witness_quorum};

use tally_log::Signature;

use crate::agreement::Agreement;
use crate::encoded::Encoded;
use crate::entry::Algorithm;
use crate::id::{GroupId, KeyId, LeafIndex, MemberId, MeshId, OfficerRole, Salt16};

/// A register moves to its next version: a compare-and-set on its previous leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterWrite {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// Which register.
    pub name: RegisterName,
    /// The version that it gets: one more than it had, from 1.
    pub version: u64,
    /// The leaf of the version before, of the same register. None for the first.
    pub previous: Option<LeafIndex>,
    /// Whether something that was permitted may no longer be. Only then are older reads stale.
    pub narrows: bool,
    /// The new value. Approvals are over its bytes.
    pub body: Encoded<RegisterBody>,
    /// Officers' signatures, ascending by member and role, each member and role once.
    pub approvals: Vec<Approval>,
}

/// What a register holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterBody {
    /// A member: its codes, its keys, its status.
    Member(Box<MemberRecord>),
    /// An agreement, and who has suspended it.
    Agreement(Box<AgreementRecord>),
    /// A consent register holds nothing: its version alone says that a directive changed.
    Consent,
    /// Members under one name.
    Group(GroupRecord),
    /// The version of the rules.
    Protocol(u64),
    /// Who cosigns checkpoints.
    Witnesses(Vec<Witness>),
}

/// An agreement as the ledger holds it. In force between those of its parties whose officers'
/// approvals stand in the same leaf, while none of the two has suspended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreementRecord {
    /// The document that officers sign, as [`agreement_preimage`] has it.
    pub document: Encoded<Agreement>,
    /// Parties that have suspended it, ascending.
    pub suspended_by: Vec<MemberId>,
}

/// Members under one name, so that an agreement need not list them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// The group.
    pub id: GroupId,
    /// Its members, ascending.
    pub members: Vec<MemberId>,
}

/// An officer's signature under a register write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// For which member.
    pub member: MemberId,
    /// In which role.
    pub role: OfficerRole,
    /// With which key.
    pub key: KeyId,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// Over [`agreement_preimage`] for an agreement, else over [`register_preimage`].
    pub signature: Signature,
}

/// What officers sign for an agreement: its document alone, so that a signature holds for every
/// leaf that carries the same document.
#[must_use]
pub fn agreement_preimage(mesh_id: &MeshId, document: &[u8]) -> Vec<u8> {
    [b"tally/agreement/v1\0".as_slice(), mesh_id.0.as_bytes(), document].concat()
}

/// What officers sign for any other register: the write as a whole, but for its salt.
#[must_use]
pub fn register_preimage(
    mesh_id: &MeshId,
    name: &RegisterName,
    version: u64,
    previous: Option<LeafIndex>,
    narrows: bool,
    body: &[u8],
) -> Vec<u8> {
    let name = name.to_string();
    let mut preimage = Vec::with_capacity(96 + name.len() + body.len());
    preimage.extend_from_slice(b"tally/register/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.extend_from_slice(&version.to_be_bytes());
    preimage.push(u8::from(previous.is_some()));
    preimage.extend_from_slice(&previous.map_or(0, |leaf| leaf.0).to_be_bytes());
    preimage.push(u8::from(narrows));
    // A name ends where its first NUL stands: no name holds one.
    preimage.extend_from_slice(name.as_bytes());
    preimage.push(0);
    preimage.extend_from_slice(body);
    preimage
}
