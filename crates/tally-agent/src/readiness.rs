//! Whether the agent does its work; if not, why, and since when. What `/ready`, the metrics and the log
//! say of it comes from here.
//!
//! Invariant: whoever is sent to this agent while it says that it is ready finds it with current
//! registers, a certificate that its peers take, and a store that keeps what it is given.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tally_core::readiness::{Reason, Unready};
use tally_core::time::Timestamp;
use tally_net::IdentityError;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::wall;

macro_rules! reasons {
    ($($variant:ident, $code:literal, $meaning:literal, $remedy:literal;)*) => {
        /// Why the agent does not do its work. Closed: a word of it is a label of a metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum NotReady {
            $(#[doc = $meaning] $variant,)*
        }

        impl NotReady {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word: in JSON, logs and metric labels.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do, in a sentence.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

impl Reason for NotReady {
    fn code(self) -> &'static str {
        self.code()
    }

    fn meaning(self) -> &'static str {
        self.meaning()
    }

    fn remedy(self) -> &'static str {
        self.remedy()
    }
}

reasons! {
    Starting, "starting",
        "What an earlier life of this agent has left is not settled yet.",
        "Wait: it takes as long as the ledger needs to answer.";
    Draining, "draining",
        "The agent was told to end: it takes nothing new and ends what it has begun.",
        "Start it again once it has ended.";
    RegistersUnknown, "registers-unknown",
        "No ledger node has told the registers since the agent started.",
        "See that the ledger nodes of [mesh] ledger, or of the genesis, are reached over UDP.";
    RegistersOld, "registers-old",
        "The registers were last heard too long ago: the ledger is silent.",
        "See that the ledger nodes are reached, and that most of them run.";
    ClockSkew, "clock-skew",
        "This machine's clock is more than 30 s from the ledger's.",
        "Set the clock, and keep it by NTP.";
    MemberNotActive, "member-not-active",
        "The registers say that this member is suspended or removed.",
        "Ask the members of the mesh why.";
    KeyReplaced, "key-replaced",
        "The member's register names the key of another agent: nothing that this one signs is taken.",
        "Give the agent the key that the register names, or have the register changed: tally member propose.";
    CertificateExpired, "certificate-expired",
        "The agent's certificate has expired.",
        "Issue another with tally identity issue, and put it where the old one is.";
    CertificateNotYetValid, "certificate-not-yet-valid",
        "The agent's certificate is not valid yet.",
        "Set the clock, or issue another with tally identity issue.";
    CertificateRefused, "certificate-refused",
        "The agent's certificate is not one that the registers let its peers take.",
        "Issue another from the CA that the member's register holds: tally identity show.";
    StoreClosed, "store-closed",
        "The store could not make something durable, and takes nothing more.",
        "See the agent's log and its disk, then start the agent again.";
    StoreBehind, "store-behind",
        "The store is older than the ledger: it may lack a person's word.",
        "Look after it as with a restored copy, before anything is released.";
    OutboxFull, "outbox-full",
        "So much is owed to the ledger that nothing may begin.",
        "See why the ledger does not take it.";
}

impl NotReady {
    /// How our peers' refusal of the certificate reads.
    #[must_use]
    pub const fn of_identity(why: IdentityError) -> Self {
        match why {
            IdentityError::Expired => Self::CertificateExpired,
            IdentityError::NotYetValid => Self::CertificateNotYetValid,
            IdentityError::MemberRemoved => Self::MemberNotActive,
            _ => Self::CertificateRefused,
        }
    }
}

/// Looks for reasons. It must not wait.
pub type Look = Box<dyn Fn() -> BTreeSet<NotReady> + Send + Sync>;

/// What is known of it. Cheap to clone.
#[derive(Clone)]
pub struct Readiness(Arc<Board>);

struct Board {
    look: OnceLock<Look>,
    draining: AtomicBool,
    told: Mutex<Unready<NotReady>>,
}

/// How often it is looked without being asked, so that `since` is right to that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Default for Readiness {
    /// Of an agent that is being put together.
    fn default() -> Self {
        Self(Arc::new(Board {
            look: OnceLock::new(),
            draining: AtomicBool::new(false),
            told: Mutex::new(Unready::new(Some(NotReady::Starting), wall())),
        }))
    }
}

impl Readiness {
    /// From here on it is looked for reasons. A second way to look changes nothing.
    pub fn look_with(&self, look: Look) {
        drop(self.0.look.set(look));
    }

    /// Nothing new is taken any more.
    pub fn begin_drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        drop(self.reasons());
    }

    /// Whether nothing new is taken any more.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Why the agent does not do its work now, each with the time since which it is seen.
    #[must_use]
    pub fn reasons(&self) -> Vec<(NotReady, Timestamp)> {
        self.look().reasons().collect()
    }

    /// As JSON, and whether all is well.
    #[must_use]
    pub fn to_json(&self) -> (bool, String) {
        let told = self.look();
        (told.is_ready(), told.to_json())
    }

    /// Looks now and then, until dropped.
    pub async fn keep_looking(self) {
        let mut beats = interval(LOOK_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            drop(self.reasons());
        }
    }

    fn look(&self) -> MutexGuard<'_, Unready<NotReady>> {
        let mut found = match self.0.look.get() {
            None => BTreeSet::from([NotReady::Starting]),
            Some(look) => look(),
        };
        if self.drains() {
            found.insert(NotReady::Draining);
        }
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let turned = told.take(&found, wall());
        for reason in turned.began {
            match reason {
                NotReady::Starting | NotReady::Draining => {
                    tracing::info!(reason = reason.code(), "not ready");
                }
                _ => tracing::warn!(reason = reason.code(), "not ready: {}", reason.meaning()),
            }
        }
        if turned.well_again {
            tracing::info!("ready");
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(readiness: &Readiness) -> (bool, Value) {
        let (ready, json) = readiness.to_json();
        (ready, serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn an_agent_that_is_put_together_is_starting_and_one_that_drains_says_so() {
        let readiness = Readiness::default();
        let (ready, json) = told(&readiness);
        assert_eq!((ready, &json["reasons"][0]["reason"]), (false, &json!("starting")));
        readiness.look_with(Box::new(BTreeSet::new));
        let (ready, json) = told(&readiness);
        assert_eq!((ready, json["reasons"].as_array().map(Vec::len)), (true, Some(0)));
        readiness.begin_drain();
        let (ready, json) = told(&readiness);
        assert_eq!((ready, &json["reasons"][0]["reason"]), (false, &json!("draining")));
        assert!(json["reasons"][0]["since"].as_str().unwrap().ends_with('Z'), "{json}");
    }

    #[test]
    fn words_are_used_once_and_say_what_to_do() {
        let words: BTreeSet<_> = NotReady::ALL.iter().map(|it| it.code()).collect();
        assert_eq!(words.len(), NotReady::ALL.len());
        assert!(NotReady::ALL.iter().all(|it| it.meaning().ends_with('.')));
        assert!(NotReady::ALL.iter().all(|it| it.remedy().ends_with('.')));
    }
}
