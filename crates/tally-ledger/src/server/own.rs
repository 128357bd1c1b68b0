//! What of the ledger concerns one member: the leaves that it wrote, the providers' halves that name
//! it as their requester, and what the other side says in the review of a break-glass access. After a crash an agent learns from them what it still owes.
//!
//! Invariant: each question looks at a bounded number of leaves, and says where to go on.

use tally_core::Encoded;
use tally_core::entry::{BATCH_ENTRIES_MAX, Entry};
use tally_core::id::{LeafIndex, MemberId};
use tally_core::time::Timestamp;
use tally_wire::message::ledger::{
    ENTRIES_MAX, OwnEntries, OwnEntry, OwnQuery, QueryAnswer, QueryRefusal,
};

use super::leaves::{Leaves, Unreadable};
use super::query::ANSWER_BYTES_MAX;
use crate::tiles::TileReader;

/// Leaves that one question looks at, give or take a batch.
const LEAVES_MAX: u64 = 4096;
/// Bytes around a leaf in the answer at most: its index, its time, the heads of array and string.
const AROUND_LEAF: usize = 32;

/// A page of what concerns a member. Blocks on the disk.
pub(crate) fn own(
    tiles: &TileReader,
    query: &OwnQuery,
    member: &MemberId,
) -> Result<QueryAnswer, QueryRefusal> {
    let mut leaves = Leaves::new(tiles);
    let size = leaves.head().size;
    let end = query.first.0.saturating_add(u64::from(query.count).min(LEAVES_MAX)).min(size);
    let mut own = OwnEntries { next: query.first, size, entries: Vec::new() };
    let mut room = ANSWER_BYTES_MAX;
    while own.next.0 < end {
        let Some(run) = run_at(&mut leaves, own.next)? else { break };
        let writer = run.writer(&mut leaves)?;
        for (leaf, entry) in (own.next.0..).map(LeafIndex).zip(run.entries) {
            if writer.as_ref() == Some(member) || concerns(&mut leaves, entry.value(), member)? {
                let len = entry.bytes().len().saturating_add(AROUND_LEAF);
                if own.entries.len() >= ENTRIES_MAX || room < len {
                    return Ok(QueryAnswer::Own(own));
                }
                room -= len;
                own.entries.push(OwnEntry { leaf, time: run.time, entry });
            }
            own.next = LeafIndex(leaf.0.saturating_add(1));
        }
    }
    Ok(QueryAnswer::Own(own))
}

/// What was written at once: the rest of a batch with its seal, or one leaf that stands alone.
pub(super) struct Run {
    pub(super) entries: Vec<Encoded<Entry>>,
    pub(super) time: Timestamp,
}

impl Run {
    fn writer(&self, leaves: &mut Leaves<'_>) -> Result<Option<MemberId>, Unreadable> {
        match self.entries.last().map(Encoded::value) {
            Some(Entry::Seal(seal)) => leaves.member(seal.session).map(Some),
            Some(Entry::SessionStart(start)) => Ok(Some(start.member.clone())),
            _ => Ok(None),
        }
    }
}

/// None if the seal of the batch can't be read yet.
pub(super) fn run_at(leaves: &mut Leaves<'_>, first: LeafIndex) -> Result<Option<Run>, Unreadable> {
    let mut run = Run { entries: Vec::new(), time: Timestamp::default() };
    for index in (first.0..).take(BATCH_ENTRIES_MAX.saturating_add(1)) {
        let Some(leaf) = leaves.leaf(LeafIndex(index))? else { return Ok(None) };
        let ends = match leaf.value() {
            Entry::Genesis(_) | Entry::Recovery(_) | Entry::SessionStart(_) => true,
            Entry::Seal(seal) => {
                run.time = seal.time;
                true
            }
            _ => false,
        };
        run.entries.push(leaf);
        if ends {
            return Ok(Some(run));
        }
    }
    Err(Unreadable)
}

/// Whether somebody else wrote it about an exchange of this member's: the provider's half of one that
/// it asked for, or a step in the review of a break-glass access.
fn concerns(leaves: &mut Leaves<'_>, entry: &Entry, member: &MemberId) -> Result<bool, Unreadable> {
    Ok(match entry {
        Entry::ProviderHalf(half) => half.requester == *member,
        Entry::Review(review) => {
            let reviewed = leaves.leaf(review.provider_leaf)?;
            reviewed.is_some_and(|leaf| match leaf.value() {
                Entry::ProviderHalf(half) => half.provider == *member || half.requester == *member,
                _ => false,
            })
        }
        _ => false,
    })
}
