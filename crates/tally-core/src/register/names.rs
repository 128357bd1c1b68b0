//! What members were called when: an entry keeps the code and the name as it was then, so that nobody
//! who reads of it years later looks for an organisation that did not yet bear its name.

use std::collections::BTreeMap;

use super::{MemberRecord, RegisterBody};
use crate::entry::Entry;
use crate::id::{LeafIndex, MemberId};

/// Names of members, each from a leaf on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<MemberId, BTreeMap<LeafIndex, String>>);

impl Names {
    /// Takes the names in a leaf, in any order of leaves; most have none.
    pub fn note(&mut self, leaf: LeafIndex, entry: &Entry) {
        match entry {
            Entry::Genesis(genesis) => {
                genesis.members.iter().for_each(|member| self.note_record(leaf, member));
            }
            Entry::Register(write) => {
                if let RegisterBody::Member(record) = write.body.value() {
                    self.note_record(leaf, record);
                }
            }
            _ => {}
        }
    }

    fn note_record(&mut self, leaf: LeafIndex, record: &MemberRecord) {
        self.0.entry(record.id.clone()).or_default().insert(leaf, record.name.clone());
    }

    /// What a member was called at a leaf.
    #[must_use]
    pub fn at(&self, member: &MemberId, leaf: LeafIndex) -> Option<&str> {
        self.0.get(member)?.range(..=leaf).next_back().map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::world::member;

    #[test]
    fn a_renamed_organisation_keeps_its_old_name_at_the_old_entries() {
        let mut names = Names::default();
        let named = |name: &str| MemberRecord { name: name.to_owned(), ..member("RZ9", 3) };
        names.note_record(LeafIndex(40), &named("New (fictional)"));
        names.note_record(LeafIndex(0), &named("Old (fictional)"));
        let at = |leaf| names.at(&"RZ9".parse().unwrap(), LeafIndex(leaf)).map(str::to_owned);
        assert_eq!(at(39).as_deref(), Some("Old (fictional)"));
        assert_eq!(at(40).as_deref(), Some("New (fictional)"));
        assert_eq!(names.at(&"LZ9".parse().unwrap(), LeafIndex(99)), None);
    }
}
