//! A configuration that is read again while its agent runs.
//!
//! Invariant: a file with errors changes nothing. What can't change while the agent runs is left as it
//! was, and said by its key; no value is said, for it may be a secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tally_agent::agent::Agent;
use tally_agent::config::{AgentConfig, IngressUser, SOURCE_KEYS, reloads};

use crate::config::values_of_agent;
use crate::failure::Failure;
use crate::process::{Levels, log};

/// The configuration that an agent runs with, and where it is from.
pub(super) struct Configured {
    path: PathBuf,
    levels: Levels,
    running: RefCell<Running>,
}

struct Running {
    config: AgentConfig,
    values: BTreeMap<String, String>,
}

impl Configured {
    pub(super) fn new(path: &Path, config: AgentConfig, levels: Levels) -> Result<Self, Failure> {
        let values = values_of_agent(path)?;
        let running = RefCell::new(Running { config, values });
        Ok(Self { path: path.to_owned(), levels, running })
    }

    /// What the agent runs with now.
    pub(super) fn config(&self) -> AgentConfig {
        self.running.borrow().config.clone()
    }

    /// Reads the file again, and takes over what may change.
    pub(super) async fn read_again(&self, agent: &Agent) {
        let read = AgentConfig::load(&self.path).map_err(|why| why.to_string());
        let read = read.and_then(|new| {
            values_of_agent(&self.path).map(|it| (new, it)).map_err(|why| why.to_string())
        });
        let (new, values) = match read {
            Ok(read) => read,
            Err(why) => {
                log("agent", &format!("SIGHUP: the file has errors, and changes nothing: {why}"));
                return;
            }
        };
        let (mut taken, mut left) = self.running.borrow().differs(&new, &values);
        let of_source = |key: &String| key.starts_with(SOURCE_KEYS);
        if taken.iter().any(of_source)
            && let Err(why) = agent.reopen_sources(&new).await
        {
            log("agent", &format!("SIGHUP: the sources stay as they were: {why}"));
            left.extend(taken.iter().filter(|key| of_source(key)).cloned());
            taken.retain(|key| !of_source(key));
        }
        let mut running = self.running.borrow_mut();
        self.levels.set(new.log.level);
        agent.reconfigure(&new);
        running.take(new, &values, &taken);
        log("agent", &told(&taken, &left));
    }
}

impl Running {
    /// The keys that differ and are taken over, and those that are left.
    fn differs(
        &self,
        new: &AgentConfig,
        values: &BTreeMap<String, String>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let by_token = |config: &AgentConfig| matches!(config.ingress.user, IngressUser::Token(_));
        let tokens = by_token(&self.config) || by_token(new);
        let keys = self.values.keys().chain(values.keys());
        let differs = keys.filter(|key| self.values.get(*key) != values.get(*key));
        let all: BTreeSet<String> = differs.cloned().collect();
        let taken = |key: &String| reloads(key) && !(tokens && key == "ingress.user");
        all.into_iter().partition(taken)
    }

    fn take(
        &mut self,
        new: AgentConfig,
        values: &BTreeMap<String, String>,
        taken: &BTreeSet<String>,
    ) {
        for key in taken {
            match values.get(key) {
                Some(value) => drop(self.values.insert(key.clone(), value.clone())),
                None => drop(self.values.remove(key)),
            }
        }
        let limits = &mut self.config.limits;
        limits.exchanges_max = new.limits.exchanges_max;
        limits.exchanges_per_member_max = new.limits.exchanges_per_member_max;
        limits.requests_max = new.limits.requests_max;
        limits.requests_per_user_max = new.limits.requests_per_user_max;
        limits.care_reserve_percent = new.limits.care_reserve_percent;
        self.config.log.level = new.log.level;
        self.config.ingress.purpose = new.ingress.purpose;
        if taken.iter().any(|key| key.starts_with(SOURCE_KEYS)) {
            self.config.sources = new.sources;
        }
        if taken.contains("ingress.user") {
            self.config.ingress.user = new.ingress.user;
        }
    }
}

/// What SIGHUP has changed, in words.
pub(crate) fn told(taken: &BTreeSet<String>, left: &BTreeSet<String>) -> String {
    let list = |keys: &BTreeSet<String>| keys.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut told = match taken.is_empty() {
        true => "SIGHUP: nothing to take over".to_owned(),
        false => format!("SIGHUP: taken over: {}", list(taken)),
    };
    if !left.is_empty() {
        told += &format!("; left as it was until the next start: {}", list(left));
    }
    told
}
