//! What a register's next version changes, in words: who signs must see each of them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tally_core::register::{
    Assessment, LedgerNode, MemberRecord, MemberStatus, OrganisationCode, RegisterBody, Witness,
};
use tally_log::{VerifyingKey, sha256};

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// What.
    pub(crate) what: String,
    /// How it is; none if it is not there yet.
    pub(crate) from: Option<String>,
    /// How it would be; none if it would not be there any more.
    pub(crate) to: Option<String>,
}

/// What a register says, a line for each thing.
type Lines = BTreeMap<(usize, String), String>;

/// All that is not as it was, in the order in which a register says it.
pub(crate) fn between(old: Option<&RegisterBody>, new: &RegisterBody) -> Vec<Change> {
    let (old, new) = (old.map(lines).unwrap_or_default(), lines(new));
    let mut all: Vec<_> = old.keys().chain(new.keys()).collect();
    all.sort();
    all.dedup();
    let changed = all.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let change = |key: &(usize, String)| Change {
        what: key.1.clone(),
        from: old.get(key).cloned(),
        to: new.get(key).cloned(),
    };
    changed.map(change).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        write!(f, "{} → {}", text(&self.from), text(&self.to))
    }
}

fn lines(body: &RegisterBody) -> Lines {
    let mut lines = Lines::new();
    match body {
        RegisterBody::Member(record) => member(&mut lines, record),
        RegisterBody::Witnesses(witnesses) => {
            for it in witnesses {
                lines.insert((0, format!("witness {}", it.vkey)), witness(it));
            }
        }
        RegisterBody::Protocol(version) => {
            lines.insert((0, "version of the rules".to_owned()), version.to_string());
        }
        RegisterBody::Group(group) => {
            for it in &group.members {
                lines.insert((0, format!("member {it}")), "in it".to_owned());
            }
        }
        RegisterBody::Agreement(_) | RegisterBody::Consent => {}
    }
    lines
}

fn member(lines: &mut Lines, record: &MemberRecord) {
    let mut put = |place: usize, what: &str, text: String| {
        lines.insert((place, what.to_owned()), text);
    };
    put(0, "name", record.name.clone());
    put(1, "status", status(record.status).to_owned());
    for it in &record.codes {
        let place = format!("code {} {}", it.system, it.value);
        put(2, &place, code_days(it));
    }
    if !record.supersedes.is_empty() {
        let names: Vec<_> = record.supersedes.iter().map(ToString::to_string).collect();
        put(3, "in the place of", names.join(" "));
    }
    if let Some(assessment) = record.assessment {
        put(4, "assessment", assessed(assessment));
    }
    if let Some(address) = &record.address {
        put(5, "address", address.to_string());
    }
    put(6, "certificate authority", fingerprint(&record.ca));
    put(7, "agent key", key(&record.agent_key));
    for it in &record.officers {
        put(8, &format!("officer {}", it.role), key(&it.key));
    }
    for it in &record.nodes {
        put(9, &format!("ledger node {}", it.id), node(it));
    }
}

/// The word for a member's status.
pub(crate) const fn status(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Active => "active",
        MemberStatus::Suspended => "suspended",
        MemberStatus::Removed => "removed",
    }
}

/// An assessment with its day.
pub(crate) fn assessed(assessment: Assessment) -> String {
    format!("{} of {}", assessment.status.word(), assessment.published_on)
}

fn code_days(code: &OrganisationCode) -> String {
    match (code.from, code.until) {
        (None, None) => "open".to_owned(),
        (Some(from), None) => format!("from {from}"),
        (None, Some(until)) => format!("until {until}"),
        (Some(from), Some(until)) => format!("from {from} until {until}"),
    }
}

/// A public key as it stands in a member's file.
pub(crate) fn key(key: &VerifyingKey) -> String {
    STANDARD.encode(key.as_bytes())
}

/// As `openssl x509 -fingerprint -sha256` has it, but for the colons.
fn fingerprint(der: &[u8]) -> String {
    let hash = sha256(&[der]);
    let digits: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("SHA-256 {digits}")
}

fn node(node: &LedgerNode) -> String {
    format!("key {}, agents at {}, HTTPS at {}", key(&node.log_key), node.quic, node.https)
}

fn witness(witness: &Witness) -> String {
    match &witness.member {
        Some(member) => format!("the agent of {member}"),
        None => format!("a third party at {}", witness.url),
    }
}

#[cfg(test)]
mod tests {
    use tally_core::register::Officer;
    use tally_log::SigningKey;

    use super::*;

    fn public(seed: u8) -> VerifyingKey {
        SigningKey::from_seed(&[seed; 32]).verifying_key()
    }

    fn record() -> MemberRecord {
        MemberRecord {
            id: "QX1".parse().unwrap(),
            name: "Otherton ICB (fictional)".to_owned(),
            codes: Vec::new(),
            ca: vec![1, 2, 3],
            agent_key: public(1),
            officers: vec![Officer { role: "ig-lead".parse().unwrap(), key: public(2) }],
            nodes: Vec::new(),
            address: None,
            status: MemberStatus::Active,
            supersedes: Vec::new(),
            assessment: None,
        }
    }

    fn body(record: MemberRecord) -> RegisterBody {
        RegisterBody::Member(Box::new(record))
    }

    #[test]
    fn whoever_signs_sees_each_thing_that_changes_and_nothing_else() {
        let old = body(record());
        assert_eq!(between(Some(&old), &old), []);
        type Spoil = (fn(&mut MemberRecord), &'static str);
        let spoils: [Spoil; 9] = [
            (|it| it.name = "x".to_owned(), "name"),
            (|it| it.status = MemberStatus::Suspended, "status"),
            (|it| it.ca = vec![9], "certificate authority"),
            (|it| it.agent_key = public(9), "agent key"),
            (|it| it.officers[0].key = public(9), "officer ig-lead"),
            (|it| it.address = "a.example:7600".parse().ok(), "address"),
            (|it| it.supersedes = vec!["RZ7".parse().unwrap()], "in the place of"),
            (|it| it.codes = vec![OrganisationCode::new("ods", "QX1").unwrap()], "code ods QX1"),
            (
                |it| {
                    it.nodes = vec![LedgerNode {
                        id: tally_core::id::NodeId(4),
                        log_key: public(7),
                        quic: "l.example:7610".parse().unwrap(),
                        https: "l.example:7611".parse().unwrap(),
                    }];
                },
                "ledger node 4",
            ),
        ];
        for (spoil, what) in spoils {
            let mut new = record();
            spoil(&mut new);
            let changes = between(Some(&old), &body(new));
            let named: Vec<_> = changes.iter().map(|it| it.what.as_str()).collect();
            assert_eq!(named, [what]);
        }
    }

    #[test]
    fn a_change_goes_from_what_is_to_what_would_be() {
        let old = body(record());
        let new = body(MemberRecord { name: "Other".to_owned(), ..record() });
        let changes = between(Some(&old), &new);
        assert_eq!(changes[0].to_string(), "Otherton ICB (fictional) → Other");
        let fresh = between(None, &old);
        assert_eq!(fresh[0].to_string(), "- → Otherton ICB (fictional)");
        assert_eq!(fresh.len(), 5, "{fresh:?}");
        let rules = between(Some(&RegisterBody::Protocol(1)), &RegisterBody::Protocol(2));
        assert_eq!(rules[0].to_string(), "1 → 2");
    }
}
