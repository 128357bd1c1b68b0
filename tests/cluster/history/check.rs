//! The judge: what callers were told against the leaves of an export.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::id::{Salt16, SessionId};
use tally_log::{Edge, Hash, root_of};
use tally_wire::decode_entry;

use super::{Acknowledged, Answer, Append, salt_of};

/// What is wrong with a history or a log. Leaves are named by their index, appends by their place in
/// the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The leaf is no entry.
    Unreadable { leaf: u64 },
    /// The entry is in no batch: no seal follows that counts it.
    Unsealed { leaf: u64 },
    /// The seal does not close the leaves before it: their number or their root is another.
    BadSeal { leaf: u64 },
    /// A session's batches don't ascend.
    BatchOutOfOrder { leaf: u64 },
    /// It was acknowledged, and is nowhere.
    Lost { append: usize, leaf: u64 },
    /// It was acknowledged at one index, and is at another.
    Moved { append: usize, said: u64, is: u64 },
    /// It is where it was acknowledged, as other bytes.
    Changed { append: usize, leaf: u64 },
    /// It is there more than once.
    Twice { first: u64, second: u64 },
    /// Its caller was told that it is not there, and it is.
    RejectedButThere { append: usize, leaf: u64 },
    /// Nobody appended it.
    Strange { leaf: u64 },
    /// It was asked for after another was acknowledged, and stands before that one.
    BeforeAnEarlierOne { append: usize, leaf: u64, earlier: u64 },
    /// An acknowledgement was signed over another log than this one.
    OtherRoot { append: usize, size: u64 },
}

/// All that is wrong; nothing if every caller was told the truth. `leaves` are all leaves of the log,
/// in order, as they were exported; `appends` all that was ever appended to it.
pub(crate) fn check(appends: &[Append], leaves: &[Vec<u8>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let entries = read(leaves, &mut faults);
    check_batches(&entries, &mut faults);
    let places = place(&entries, &mut faults);
    for (append, it) in appends.iter().enumerate() {
        let is = places.get(&it.salt).copied();
        match (&it.answer, is) {
            (Answer::Acknowledged(said), None) => {
                faults.push(Fault::Lost { append, leaf: said.leaf });
            }
            (Answer::Acknowledged(said), Some(is)) => {
                faults.extend(differs(append, said, is, leaves));
            }
            (Answer::Rejected, Some(leaf)) => faults.push(Fault::RejectedButThere { append, leaf }),
            (Answer::Rejected, None) | (Answer::Unknown, _) => {}
        }
    }
    check_strangers(appends, &places, &mut faults);
    check_order(appends, &mut faults);
    check_heads(appends, leaves, &mut faults);
    faults
}

fn read(leaves: &[Vec<u8>], faults: &mut Vec<Fault>) -> Vec<Option<Encoded<Entry>>> {
    let mut entries = Vec::with_capacity(leaves.len());
    for (leaf, bytes) in (0..).zip(leaves) {
        let entry = decode_entry(bytes).ok();
        if entry.is_none() {
            faults.push(Fault::Unreadable { leaf });
        }
        entries.push(entry);
    }
    entries
}

/// Every entry stands directly before its seal, with the others of its batch and nothing else.
fn check_batches(entries: &[Option<Encoded<Entry>>], faults: &mut Vec<Fault>) {
    let mut open = Vec::<(u64, Hash)>::new();
    let mut numbers = BTreeMap::<SessionId, u64>::new();
    for (leaf, entry) in (0..).zip(entries) {
        let Some(entry) = entry else { continue };
        match entry.value() {
            Entry::Seal(seal) => {
                if !closes(seal, &open) {
                    faults.push(Fault::BadSeal { leaf });
                }
                open.clear();
                let before = numbers.insert(seal.session, seal.number);
                if before.is_some_and(|before| before >= seal.number) {
                    faults.push(Fault::BatchOutOfOrder { leaf });
                }
            }
            Entry::Genesis(_) | Entry::Recovery(_) | Entry::SessionStart(_) => {
                unsealed(&mut open, faults)
            }
            _ => open.push((leaf, entry.leaf_hash())),
        }
    }
    unsealed(&mut open, faults);
}

fn closes(seal: &Seal, open: &[(u64, Hash)]) -> bool {
    let hashes = open.iter().map(|(_, hash)| *hash).collect::<Vec<_>>();
    usize::from(seal.count) == hashes.len() && seal.root == root_of(&hashes)
}

fn unsealed(open: &mut Vec<(u64, Hash)>, faults: &mut Vec<Fault>) {
    faults.extend(open.drain(..).map(|(leaf, _)| Fault::Unsealed { leaf }));
}

/// Where each entry is first.
fn place(entries: &[Option<Encoded<Entry>>], faults: &mut Vec<Fault>) -> BTreeMap<Salt16, u64> {
    let mut places = BTreeMap::new();
    for (leaf, entry) in (0..).zip(entries) {
        let Some(salt) = entry.as_ref().and_then(|entry| salt_of(entry.value())) else { continue };
        if let Some(first) = places.get(&salt).copied() {
            faults.push(Fault::Twice { first, second: leaf });
        } else {
            places.insert(salt, leaf);
        }
    }
    places
}

fn differs(append: usize, said: &Acknowledged, is: u64, leaves: &[Vec<u8>]) -> Option<Fault> {
    if said.leaf != is {
        return Some(Fault::Moved { append, said: said.leaf, is });
    }
    let there = usize::try_from(is).ok().and_then(|is| leaves.get(is));
    (there != Some(&said.bytes)).then_some(Fault::Changed { append, leaf: is })
}

fn check_strangers(appends: &[Append], places: &BTreeMap<Salt16, u64>, faults: &mut Vec<Fault>) {
    let known = appends.iter().map(|append| append.salt).collect::<BTreeSet<_>>();
    let strange = places.iter().filter(|(salt, _)| !known.contains(salt));
    faults.extend(strange.map(|(_, leaf)| Fault::Strange { leaf: *leaf }));
}

/// Real time is kept: what is acknowledged stands before whatever is asked for later, by anybody.
fn check_order(appends: &[Append], faults: &mut Vec<Fault>) {
    let acknowledged =
        appends.iter().enumerate().filter_map(|(place, append)| match &append.answer {
            Answer::Acknowledged(said) => Some((place, append, said.leaf)),
            Answer::Rejected | Answer::Unknown => None,
        });
    let mut asked = acknowledged.collect::<Vec<_>>();
    let mut told = asked.clone();
    asked.sort_by_key(|(_, append, _)| append.invoked);
    told.sort_by_key(|(_, append, _)| append.answered);
    let mut told = told.into_iter().peekable();
    let mut earlier = None;
    for (append, it, leaf) in asked {
        while let Some((_, _, leaf)) = told.next_if(|(_, other, _)| other.answered < it.invoked) {
            earlier = earlier.max(Some(leaf));
        }
        if let Some(earlier) = earlier.filter(|earlier| *earlier > leaf) {
            faults.push(Fault::BeforeAnEarlierOne { append, leaf, earlier });
        }
    }
}

/// Every root that was signed is this log's at that size: there was one history.
fn check_heads(appends: &[Append], leaves: &[Vec<u8>], faults: &mut Vec<Fault>) {
    let mut heads = BTreeMap::<u64, Vec<(usize, Hash)>>::new();
    for (append, it) in appends.iter().enumerate() {
        if let Answer::Acknowledged(Acknowledged { head: (size, root), .. }) = &it.answer {
            heads.entry(*size).or_default().push((append, *root));
        }
    }
    let mut edge = Edge::new();
    let mut leaves = leaves.iter();
    for (size, roots) in heads {
        while edge.size() < size
            && let Some(leaf) = leaves.next()
        {
            edge.push(tally_log::leaf_hash(leaf));
        }
        let is = (edge.size() == size).then(|| edge.root());
        let wrong = roots.into_iter().filter(|(_, root)| Some(*root) != is);
        faults.extend(wrong.map(|(append, _)| Fault::OtherRoot { append, size }));
    }
}
