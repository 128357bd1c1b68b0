//! That the ledger goes on after too many of its nodes were lost for good: a new epoch begins, and its
//! first leaf says where the old one ended.
//!
//! Leaf N of the tree names all leaves before it, so that what was proved of them stays proved, and
//! says by whose approval no node but one is asked for what came after. Whatever the old epoch had
//! acknowledged at N or beyond is lost, and shows: by a receipt or a checkpoint of the old epoch, of a
//! larger size than the recovery names.

use tally_log::Hash;

use crate::id::{MeshId, NodeId, Salt16};
use crate::register::Approval;

/// The first leaf of an epoch after the first: by whose approval it begins, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The mesh whose ledger goes on.
    pub mesh_id: MeshId,
    /// The epoch that begins: one more than the one that ends.
    pub epoch: u64,
    /// Leaves of the epochs before: the leaf's own index.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The ledger node that has them, and goes on alone until others join it.
    pub node: NodeId,
    /// Officers' signatures over [`recovery_preimage`], ascending by member and role: of a majority of
    /// the members, as for a register that all of them share.
    pub approvals: Vec<Approval>,
}

/// What officers sign for a recovery, all of it but their approvals: fixed lengths, big-endian.
#[must_use]
pub fn recovery_preimage(recovery: &Recovery) -> Vec<u8> {
    let Recovery { salt, mesh_id, epoch, size, root, node, approvals: _ } = recovery;
    let mut preimage = Vec::with_capacity(128);
    preimage.extend_from_slice(b"tally/recovery/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.extend_from_slice(&salt.0);
    preimage.extend_from_slice(&epoch.to_be_bytes());
    preimage.extend_from_slice(&size.to_be_bytes());
    preimage.extend_from_slice(root.as_bytes());
    preimage.extend_from_slice(&node.0.to_be_bytes());
    preimage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_recoveries_are_signed_alike() {
        let recovery = Recovery {
            salt: Salt16([1; 16]),
            mesh_id: MeshId(Hash::from_bytes([3; 32])),
            epoch: 1,
            size: 1200,
            root: Hash::from_bytes([4; 32]),
            node: NodeId(2),
            approvals: Vec::new(),
        };
        let all = [
            recovery.clone(),
            Recovery { salt: Salt16([2; 16]), ..recovery.clone() },
            Recovery { mesh_id: MeshId(Hash::from_bytes([5; 32])), ..recovery.clone() },
            Recovery { epoch: 2, ..recovery.clone() },
            Recovery { size: 1201, ..recovery.clone() },
            Recovery { root: Hash::from_bytes([5; 32]), ..recovery.clone() },
            Recovery { node: NodeId(3), ..recovery },
        ];
        let preimages = all.iter().map(recovery_preimage);
        let distinct = preimages.clone().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), all.len());
        let expected = 18 + 32 + 16 + 8 + 8 + 32 + 8;
        assert!(preimages.into_iter().all(|it| it.len() == expected));
    }
}
