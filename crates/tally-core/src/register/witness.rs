//! Who cosigns checkpoints, and how many of them are enough.

use crate::id::MemberId;

/// A witness of the log, by its C2SP verifier key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The member whose agent it is; none for a third party's.
    pub member: Option<MemberId>,
    /// The verifier key as text: name, key id, key (C2SP signed-note).
    pub vkey: String,
    /// Where to submit checkpoints; empty for a member's agent, which dials out.
    pub url: String,
}

/// How many of `n` witnesses must have cosigned a checkpoint: ⌊(n + f) / 2⌋ + 1, where f = ⌊(n − 1) / 3⌋
/// of them may lie. Any two such sets then share more than f witnesses, so at least one honest one,
/// and it cosigns one history only. None of none is no quorum: without witnesses nothing is
/// witnessed, whoever signed it.
#[must_use]
pub const fn witness_quorum(n: usize) -> usize {
    let lying = n.saturating_sub(1) / 3;
    (n + lying) / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quorum_of_so_many_witnesses() {
        let quorums: Vec<usize> = (0..=16).map(witness_quorum).collect();
        assert_eq!(quorums, [1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11]);
    }

    #[test]
    fn two_quorums_share_an_honest_witness_and_the_honest_alone_are_enough() {
        for n in 1..=16 {
            let (lying, quorum) = ((n - 1) / 3, witness_quorum(n));
            assert!(2 * quorum - n > lying, "{n}");
            assert!(quorum <= n - lying, "{n}");
        }
    }
}
