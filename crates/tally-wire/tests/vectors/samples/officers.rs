//! What officers say and sign.

use tally_core::entry::{
    Algorithm, Disposal, DisposalBasis, Disposed, Recovery, Review, ReviewState, disposal_preimage,
    recovery_preimage,
};
use tally_core::id::{KeyId, LeafIndex, NodeId};

use super::{approval, hash, key, mesh_id, provider, requester, salt};

/// An officer of the requester has concluded a review.
pub(crate) fn review() -> Review {
    Review {
        salt: salt(8),
        counter: 27,
        member: requester(),
        role: "caldicott".parse().unwrap(),
        provider_leaf: LeafIndex(41),
        state: ReviewState::Justified,
    }
}

pub(crate) fn disposal() -> Disposal {
    let what = Disposed {
        basis: DisposalBasis::RetentionEnded,
        before: 2026,
        keys: 1200,
        openings: 70_000,
        held: 2,
        certificate: hash("certificate"),
    };
    let (member, role) = (provider(), "caldicott".parse().unwrap());
    let key = key("caldicott RZ9");
    Disposal {
        salt: salt(7),
        counter: 27,
        signature: key.sign(&disposal_preimage(&mesh_id(), &member, &role, &what)),
        member,
        what,
        role,
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
    }
}

/// Of two nodes that of RZ9 was lost: that of LZ9 goes on.
pub(crate) fn recovery() -> Recovery {
    let recovery = Recovery {
        salt: salt(9),
        mesh_id: mesh_id(),
        epoch: 1,
        size: 302,
        root: hash("root"),
        node: NodeId(1),
        approvals: Vec::new(),
    };
    let preimage = recovery_preimage(&recovery);
    Recovery { approvals: ["LZ9", "RZ9"].map(|it| approval(it, &preimage)).to_vec(), ..recovery }
}
