//! The end of retention, in the golden log.

use tally_core::entry::{
    Algorithm, Disposal, DisposalBasis, Disposed, Entry, Lane, disposal_preimage,
};
use tally_core::id::{KeyId, Salt16};
use tally_core::ledger::{Rejection, Verdict};
use tally_log::Hash;

use super::world::{World, id, key, mesh_id, no};

/// An IG lead authorises a disposal; another member's does not.
pub(crate) fn tell(world: &mut World) {
    let own = |salt, counter| disposal(salt, counter, "RZ9");
    let verdict = world.record("RZ9", Lane::Unconditional, &[&own]);
    assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    let others = |salt, counter| disposal(salt, counter, "LZ9");
    let verdict = world.record("RZ9", Lane::Unconditional, &[&others]);
    assert_eq!(verdict, no(Rejection::DisposalUnauthorised));
}

fn disposal(salt: Salt16, counter: u64, signer: &str) -> Entry {
    let what = Disposed {
        basis: DisposalBasis::RetentionEnded,
        before: 2026,
        keys: 120,
        openings: 700,
        held: 1,
        certificate: Hash::from_bytes([6; 32]),
    };
    let (member, role) = (id("RZ9"), "ig-lead".parse().unwrap());
    let key = key("ig-lead", signer);
    Entry::Disposal(Box::new(Disposal {
        salt,
        counter,
        signature: key.sign(&disposal_preimage(&mesh_id(), &member, &role, &what)),
        member,
        what,
        role,
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
    }))
}
