//! A policy in the making: each definition is checked when it is added.

use super::{Component, POLICY_KEYS_MAX, Policy, PolicyLog, QUORUM_NONE, Quorum, Rule};
use super::{cosigns, signs_logs};
use crate::note::NoteKey;

/// A policy that is being put together. Definitions can only name what was defined before.
#[derive(Debug, Clone, Default)]
pub struct PolicyDraft {
    logs: Vec<PolicyLog>,
    components: Vec<Component>,
    /// Whether a component, by its place, is a member of a group already.
    used: Vec<bool>,
    quorum: Option<Quorum>,
}

/// What is wrong with a definition: the fault of whoever wrote the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// There are more than [`POLICY_KEYS_MAX`].
    #[error("a policy does not have more than {POLICY_KEYS_MAX} logs, or witnesses and groups")]
    TooMany,
    /// Logs sign with other keys than witnesses.
    #[error("the key is of the wrong kind")]
    WrongKind,
    /// The same public key, whatever its name.
    #[error("the key was listed before")]
    DuplicateKey,
    /// It is empty, has a space or control character, or is `none`.
    #[error("not a name, or a reserved one")]
    BadName,
    /// It is empty, or has a space or control character.
    #[error("not a URL")]
    BadUrl,
    /// A witness or group has it already.
    #[error("the name was defined before")]
    DuplicateName,
    /// No witness or group has it so far.
    #[error("the name was not defined before")]
    UnknownName,
    /// A name is a member of one group, once.
    #[error("the name is a member already")]
    UsedTwice,
    /// It is 0, or more than there are members.
    #[error("a threshold is at least 1 and at most the number of members")]
    BadThreshold,
    /// The quorum is defined once.
    #[error("the quorum was defined before")]
    TwoQuorums,
    /// The quorum has to be defined.
    #[error("the quorum is not defined")]
    NoQuorum,
}

impl PolicyDraft {
    /// A policy that says nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists a log.
    ///
    /// # Errors
    /// [`BadPolicy`] if that cannot be.
    pub fn log(&mut self, key: NoteKey, url: Option<&str>) -> Result<(), BadPolicy> {
        if !signs_logs(&key) {
            return Err(BadPolicy::WrongKind);
        }
        if self.logs.iter().any(|log| log.key.material() == key.material()) {
            return Err(BadPolicy::DuplicateKey);
        }
        if self.logs.len() >= POLICY_KEYS_MAX {
            return Err(BadPolicy::TooMany);
        }
        self.logs.push(PolicyLog { key, url: checked_url(url)? });
        Ok(())
    }

    /// Lists a witness under a name that counts in this policy only.
    ///
    /// # Errors
    /// [`BadPolicy`] if that cannot be.
    pub fn witness(
        &mut self,
        name: &str,
        key: NoteKey,
        url: Option<&str>,
    ) -> Result<(), BadPolicy> {
        if !cosigns(&key) {
            return Err(BadPolicy::WrongKind);
        }
        let same = |rule: &Rule| match rule {
            Rule::Witness { key: other, .. } => other.material() == key.material(),
            Rule::Group { .. } => false,
        };
        if self.components.iter().any(|component| same(&component.rule)) {
            return Err(BadPolicy::DuplicateKey);
        }
        let url = checked_url(url)?;
        self.define(name, Rule::Witness { key: Box::new(key), url })
    }

    /// Defines a group: it has cosigned when at least `threshold` of its members have.
    ///
    /// # Errors
    /// [`BadPolicy`] if that cannot be.
    pub fn group(
        &mut self,
        name: &str,
        threshold: usize,
        members: &[&str],
    ) -> Result<(), BadPolicy> {
        if !(1..=members.len()).contains(&threshold) {
            return Err(BadPolicy::BadThreshold);
        }
        let places =
            members.iter().map(|member| self.find(member)).collect::<Result<Vec<_>, _>>()?;
        for place in &places {
            let used = self.used.get_mut(*place).ok_or(BadPolicy::UnknownName)?;
            if std::mem::replace(used, true) {
                return Err(BadPolicy::UsedTwice);
            }
        }
        self.define(name, Rule::Group { threshold, members: places })
    }

    /// Says what has to have cosigned: a witness, a group, or `none`.
    ///
    /// # Errors
    /// [`BadPolicy`] if that cannot be.
    pub fn quorum(&mut self, name: &str) -> Result<(), BadPolicy> {
        let quorum =
            if name == QUORUM_NONE { Quorum::None } else { Quorum::Component(self.find(name)?) };
        match self.quorum.replace(quorum) {
            Some(_) => Err(BadPolicy::TwoQuorums),
            None => Ok(()),
        }
    }

    /// The policy. A draft that has refused a definition is not to be finished.
    ///
    /// # Errors
    /// [`BadPolicy::NoQuorum`] if the quorum is missing.
    pub fn finish(self) -> Result<Policy, BadPolicy> {
        let quorum = self.quorum.ok_or(BadPolicy::NoQuorum)?;
        Ok(Policy { logs: self.logs, components: self.components, quorum })
    }

    fn define(&mut self, name: &str, rule: Rule) -> Result<(), BadPolicy> {
        if !is_word(name) || name == QUORUM_NONE {
            return Err(BadPolicy::BadName);
        }
        if self.find(name).is_ok() {
            return Err(BadPolicy::DuplicateName);
        }
        if self.components.len() >= POLICY_KEYS_MAX {
            return Err(BadPolicy::TooMany);
        }
        self.components.push(Component { name: name.to_owned(), rule });
        self.used.push(false);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, BadPolicy> {
        let place = self.components.iter().position(|component| component.name == name);
        place.ok_or(BadPolicy::UnknownName)
    }
}

fn checked_url(url: Option<&str>) -> Result<Option<String>, BadPolicy> {
    match url {
        Some(url) if !is_word(url) => Err(BadPolicy::BadUrl),
        url => Ok(url.map(str::to_owned)),
    }
}

/// Whether a text stays one item when it stands on a line.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|char| char <= ' ' || char == '\u{7f}')
}
