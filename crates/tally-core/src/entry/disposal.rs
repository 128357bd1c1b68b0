//! That a member has destroyed the keys of its openings: by whose authority, of which years, how many,
//! and about nobody.
//!
//! The NHS Records Management Code of Practice asks for a record of each disposal, with who authorised
//! it. What makes an access entry readable goes; the entry stays, and so does the proof of the log.

use tally_log::{Hash, Signature};

use super::Algorithm;
use crate::id::{KeyId, MemberId, MeshId, OfficerRole, Salt16};

/// The offices that may authorise a disposal.
pub const DISPOSAL_ROLES: [&str; 2] = ["caldicott", "ig-lead"];

/// Keys of openings were destroyed. It holds numbers, and no person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposal {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The entry's number in its session, ascending.
    pub counter: u64,
    /// Who destroyed them: the member of the session.
    pub member: MemberId,
    /// What was destroyed and why.
    pub what: Disposed,
    /// The authorising office.
    pub role: OfficerRole,
    /// Which key of it signed.
    pub key: KeyId,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// By the officer's key, over [`disposal_preimage`].
    pub signature: Signature,
}

/// What a disposal covers: what its officer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposed {
    /// Why it is lawful.
    pub basis: DisposalBasis,
    /// It covers the retention years before this one.
    pub before: u16,
    /// Keys that were destroyed, each of one person and one retention year.
    pub keys: u64,
    /// Openings of which nothing can be read any more.
    pub openings: u64,
    /// Keys of those years that a legal hold has kept.
    pub held: u64,
    /// SHA-256 of the certificate, which the member keeps with its records.
    pub certificate: Hash,
}

/// Why a disposal is lawful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisposalBasis {
    /// The retention years have ended.
    RetentionEnded,
    /// A court has ordered it, for one person.
    CourtOrder,
    /// A statute demands it, for one person.
    LegalObligation,
}

impl DisposalBasis {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RetentionEnded, Self::CourtOrder, Self::LegalObligation];

    /// The number that is signed and stored.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::RetentionEnded => 1,
            Self::CourtOrder => 2,
            Self::LegalObligation => 3,
        }
    }

    /// The code: on the command line, in certificates.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::RetentionEnded => "retention-ended",
            Self::CourtOrder => "court-order",
            Self::LegalObligation => "legal-obligation",
        }
    }
}

/// What an officer signs for a disposal: fixed lengths, big-endian, but for the two names, of which
/// the first says its length and the second ends it.
#[must_use]
pub fn disposal_preimage(
    mesh_id: &MeshId,
    member: &MemberId,
    role: &OfficerRole,
    what: &Disposed,
) -> Vec<u8> {
    let mut preimage = Vec::with_capacity(192);
    preimage.extend_from_slice(b"tally/disposal/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.push(what.basis.number());
    preimage.extend_from_slice(&what.before.to_be_bytes());
    preimage.extend_from_slice(&what.keys.to_be_bytes());
    preimage.extend_from_slice(&what.openings.to_be_bytes());
    preimage.extend_from_slice(&what.held.to_be_bytes());
    preimage.extend_from_slice(what.certificate.as_bytes());
    let role = role.as_str().as_bytes();
    preimage.extend_from_slice(&u16::try_from(role.len()).unwrap_or(u16::MAX).to_be_bytes());
    preimage.extend_from_slice(role);
    preimage.extend_from_slice(member.as_str().as_bytes());
    preimage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_disposals_are_signed_alike() {
        let mesh_id = MeshId(Hash::from_bytes([3; 32]));
        let what = Disposed {
            basis: DisposalBasis::RetentionEnded,
            before: 2035,
            keys: 1,
            openings: 2,
            held: 3,
            certificate: Hash::from_bytes([4; 32]),
        };
        let preimage = |member: &str, role: &str, what: Disposed| {
            disposal_preimage(&mesh_id, &member.parse().unwrap(), &role.parse().unwrap(), &what)
        };
        let all = [
            preimage("RZ9", "caldicott", what),
            preimage("RZ8", "caldicott", what),
            preimage("RZ9", "ig-lead", what),
            preimage("RZ9", "caldicott", Disposed { basis: DisposalBasis::CourtOrder, ..what }),
            preimage("RZ9", "caldicott", Disposed { before: 2036, ..what }),
            preimage("RZ9", "caldicott", Disposed { keys: 2, ..what }),
            preimage("RZ9", "caldicott", Disposed { openings: 1, ..what }),
            preimage("RZ9", "caldicott", Disposed { held: 0, ..what }),
            preimage(
                "RZ9",
                "caldicott",
                Disposed { certificate: Hash::from_bytes([5; 32]), ..what },
            ),
        ];
        let distinct = all.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), all.len());
        assert!(all[0].starts_with(b"tally/disposal/v1\0\x03\x03"));
    }
}
