//! Whom to believe (C2SP tlog-policy): logs, witnesses, groups of them, and the quorum.
//!
//! Invariant: each key and each name counts once, so no witness can fill two places of a quorum.

mod draft;
mod text;

use std::fmt;

pub use draft::{BadPolicy, PolicyDraft};
pub use text::BadPolicyText;

use crate::checkpoint::SignedCheckpoint;
use crate::note::{KeyKind, NotVerified, NoteKey, Verified};

/// The most logs, and the most witnesses and groups together, in a policy.
pub const POLICY_KEYS_MAX: usize = 256;

/// The longest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// Which checkpoints to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    /// Witnesses and groups; a group comes after its members.
    components: Vec<Component>,
    quorum: Quorum,
}

/// A log whose checkpoints count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, named like the log.
    pub key: NoteKey,
    /// Where to find it.
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    name: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Witness {
        key: Box<NoteKey>,
        url: Option<String>,
    },
    /// At least `threshold` of the members, which are places among the components.
    Group {
        threshold: usize,
        members: Vec<usize>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    None,
    Component(usize),
}

/// Who has signed a checkpoint that satisfies a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Satisfied<'p> {
    /// The log's keys that signed: at least one.
    pub logs: Vec<&'p NoteKey>,
    /// The witnesses that cosigned, each with its time.
    pub witnesses: Vec<Verified<'p>>,
}

/// Why a checkpoint does not satisfy a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSatisfied {
    /// No known key signed, or a known one's signature fails.
    #[error(transparent)]
    NotVerified(#[from] NotVerified),
    /// No log of the policy has this origin and signed.
    #[error("no known log has signed")]
    NoLog,
    /// Too few witnesses have cosigned.
    #[error("too few witnesses have cosigned")]
    NoQuorum,
}

impl Policy {
    /// Any of these logs, and at least `threshold` of these witnesses, given by name and key.
    ///
    /// # Errors
    /// [`BadPolicy`] if a key or name comes twice, or there are fewer witnesses than that.
    pub fn threshold(
        logs: impl IntoIterator<Item = NoteKey>,
        witnesses: impl IntoIterator<Item = (String, NoteKey)>,
        threshold: usize,
    ) -> Result<Self, BadPolicy> {
        let mut draft = PolicyDraft::new();
        for key in logs {
            draft.log(key, None)?;
        }
        let mut names = Vec::new();
        for (name, key) in witnesses {
            draft.witness(&name, key, None)?;
            names.push(name);
        }
        if threshold == 0 {
            draft.quorum(QUORUM_NONE)?;
        } else {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            draft.group("witnesses", threshold, &names)?;
            draft.quorum("witnesses")?;
        }
        draft.finish()
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses: name, key and where to find it.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &NoteKey, Option<&str>)> {
        self.components.iter().filter_map(|component| match &component.rule {
            Rule::Witness { key, url } => Some((component.name.as_str(), &**key, url.as_deref())),
            Rule::Group { .. } => None,
        })
    }

    /// Whether a checkpoint is signed by one of the logs, under its own name, and cosigned by a
    /// quorum.
    ///
    /// # Errors
    /// [`NotSatisfied`] if not.
    pub fn check(&self, signed: &SignedCheckpoint) -> Result<Satisfied<'_>, NotSatisfied> {
        let log_keys = self.logs.iter().map(|log| &log.key);
        let witness_keys = self.witnesses().map(|(_, key, _)| key);
        let verified = signed.note().verify(log_keys.chain(witness_keys))?;
        let (witnesses, logs): (Vec<_>, Vec<_>) =
            verified.into_iter().partition(|verified| verified.time_s.is_some());
        let own = logs.into_iter().map(|verified| verified.key);
        let logs: Vec<&NoteKey> = own.filter(|key| signed.is_log_key(key)).collect();
        if logs.is_empty() {
            Err(NotSatisfied::NoLog)
        } else if !self.has_quorum(&witnesses) {
            Err(NotSatisfied::NoQuorum)
        } else {
            Ok(Satisfied { logs, witnesses })
        }
    }

    fn has_quorum(&self, witnesses: &[Verified<'_>]) -> bool {
        let Quorum::Component(quorum) = self.quorum else { return true };
        let mut holds: Vec<bool> = Vec::with_capacity(self.components.len());
        for component in &self.components {
            holds.push(match &component.rule {
                Rule::Witness { key, .. } => {
                    witnesses.iter().any(|verified| *verified.key == **key)
                }
                Rule::Group { threshold, members } => {
                    let holding = |member: &&usize| holds.get(**member) == Some(&true);
                    members.iter().filter(holding).count() >= *threshold
                }
            });
        }
        holds.get(quorum) == Some(&true)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print(self, f)
    }
}

/// The predefined name of the quorum that asks for no witness.
const QUORUM_NONE: &str = "none";

/// Whether a key is one that logs sign with. Of unknown kinds it cannot be told; they verify
/// nothing.
const fn signs_logs(key: &NoteKey) -> bool {
    !matches!(key.kind(), KeyKind::CosignatureV1(_))
}

/// Whether a key is one that witnesses cosign with.
const fn cosigns(key: &NoteKey) -> bool {
    !matches!(key.kind(), KeyKind::Ed25519(_))
}

#[cfg(test)]
mod tests;
