//! Whether a process does its work; if not, why, and since when: for whoever watches an agent or a ledger
//! node. When it is looked, and for what, is for those to say.

use std::collections::{BTreeMap, BTreeSet};

use crate::refusal::quoted;
use crate::time::Timestamp;

/// Why a process does not do its work. Closed: a word of it is a label of a metric.
pub trait Reason: Copy + Ord {
    /// The word: in JSON, logs and metric labels.
    fn code(self) -> &'static str;
    /// What it means, in a sentence.
    fn meaning(self) -> &'static str;
    /// What to do, in a sentence.
    fn remedy(self) -> &'static str;
}

/// The reasons that were seen last, each with when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready<R> {
    since: BTreeMap<R, Timestamp>,
    /// When all was well last began, or ceased to be.
    changed_at: Timestamp,
}

/// What a look has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned<R> {
    /// Reasons that were not seen before.
    pub began: Vec<R>,
    /// Whether it is well again.
    pub well_again: bool,
}

impl<R: Reason> Unready<R> {
    /// For this reason, or none, since now.
    #[must_use]
    pub fn new(reason: Option<R>, now: Timestamp) -> Self {
        Self { since: reason.map(|reason| (reason, now)).into_iter().collect(), changed_at: now }
    }

    /// Takes in what is seen now. What comes back begins anew.
    pub fn take(&mut self, found: &BTreeSet<R>, now: Timestamp) -> Turned<R> {
        let was_ready = self.is_ready();
        self.since.retain(|reason, _| found.contains(reason));
        let new = found.iter().copied().filter(|reason| !self.since.contains_key(reason));
        let began: Vec<R> = new.collect();
        self.since.extend(began.iter().map(|reason| (*reason, now)));
        if self.is_ready() != was_ready {
            self.changed_at = now;
        }
        Turned { began, well_again: self.is_ready() && !was_ready }
    }

    /// Whether nothing is in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.since.is_empty()
    }

    /// Each reason, with when it was first seen.
    pub fn reasons(&self) -> impl Iterator<Item = (R, Timestamp)> + '_ {
        self.since.iter().map(|(reason, since)| (*reason, *since))
    }

    /// `{"ready":…,"since":…,"reasons":[{"reason","since","meaning","remedy"}]}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let reasons = self.reasons().map(|(reason, since)| {
            format!(
                "{{\"reason\":{},\"since\":{},\"meaning\":{},\"remedy\":{}}}",
                quoted(reason.code()),
                quoted(&since.rfc3339()),
                quoted(reason.meaning()),
                quoted(reason.remedy()),
            )
        });
        let reasons = reasons.collect::<Vec<_>>().join(",");
        let (ready, since) = (self.is_ready(), quoted(&self.changed_at.rfc3339()));
        format!("{{\"ready\":{ready},\"since\":{since},\"reasons\":[{reasons}]}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Why {
        Old,
        Skew,
    }

    impl Reason for Why {
        fn code(self) -> &'static str {
            if self == Self::Old { "old" } else { "skew" }
        }

        fn meaning(self) -> &'static str {
            "It is so."
        }

        fn remedy(self) -> &'static str {
            "Mend \"it\"."
        }
    }

    fn told(unready: &mut Unready<Why>, found: &[Why], at: u64) -> Vec<(Why, u64)> {
        unready.take(&found.iter().copied().collect(), Timestamp(at));
        unready.reasons().map(|(reason, since)| (reason, since.0)).collect()
    }

    #[test]
    fn a_reason_has_the_time_at_which_it_began_however_often_it_is_asked_for() {
        let mut it = Unready::new(None, Timestamp(1));
        assert_eq!(told(&mut it, &[Why::Old], 10), [(Why::Old, 10)]);
        assert_eq!(told(&mut it, &[Why::Skew, Why::Old], 20), [(Why::Old, 10), (Why::Skew, 20)]);
        assert_eq!(it.changed_at, Timestamp(10));
        let turned = it.take(&BTreeSet::new(), Timestamp(30));
        assert_eq!((turned.began, turned.well_again), (vec![], true));
        assert_eq!(it.changed_at, Timestamp(30));
        // What comes back begins anew.
        assert_eq!(told(&mut it, &[Why::Old], 40), [(Why::Old, 40)]);
    }

    #[test]
    fn it_is_json_with_what_to_do() {
        let mut it = Unready::new(Some(Why::Old), Timestamp(0));
        let json: serde_json::Value = serde_json::from_str(&it.to_json()).unwrap();
        assert_eq!((&json["ready"], &json["reasons"][0]["reason"]), (&false.into(), &"old".into()));
        assert_eq!(json["reasons"][0]["remedy"], "Mend \"it\".");
        assert!(json["reasons"][0]["since"].as_str().unwrap().ends_with('Z'));
        it.take(&BTreeSet::new(), Timestamp(5));
        let json: serde_json::Value = serde_json::from_str(&it.to_json()).unwrap();
        assert_eq!((&json["ready"], &json["reasons"]), (&true.into(), &serde_json::json!([])));
    }
}
