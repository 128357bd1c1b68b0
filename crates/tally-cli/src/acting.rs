//! Acting for a member: the configuration of its agent, and the agent's admin socket.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tally_agent::admin::client::{CallError, call};
use tally_agent::config::AgentConfig;
use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;

/// A member that somebody acts for.
pub(crate) struct Acting {
    /// The configuration of its agent.
    pub(crate) config: AgentConfig,
    runtime: Runtime,
}

impl Acting {
    /// Reads the configuration that says for whom to act.
    ///
    /// # Errors
    /// [`Failure`] if none is given, or it is no agent's.
    pub(crate) fn open(config: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = config else {
            let remedy = "give the configuration of your member's agent: --config FILE, or \
                          TALLY_CONFIG";
            return Err(Failure::usage("nobody said for which member to act", remedy));
        };
        let config = load(path)?;
        Ok(Self { config, runtime: runtime()? })
    }

    /// Waits for something else.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// [`Failure`] if it is not there, or says no.
    pub(crate) fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> Result<A, Failure> {
        let asked = call(&self.config.data_dir, path, question);
        self.runtime.block_on(asked).map_err(|error| match error {
            CallError::Refused(no) if no.caller => Failure::refused_as(no.what, no.remedy),
            CallError::Refused(no) => Failure::unreachable(no.what, no.remedy),
            CallError::Unreachable { .. } => Failure::unreachable(
                error,
                "start it: tally agent --config FILE, or tally dev start NAME",
            ),
            CallError::Unreadable(_) => {
                Failure::environment(error, "use a tally of the same version as the agent")
            }
        })
    }
}

/// Reads an agent's configuration.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn load(path: &Path) -> Result<AgentConfig, Failure> {
    AgentConfig::load(path)
        .map_err(|why| Failure::configuration(why, "mend the file: each line says where and what"))
}

/// What a command waits on.
///
/// # Errors
/// [`Failure`] if the system gives none.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))
}

/// A subject as it was typed, or from standard input, so that it stands in no shell's history.
///
/// # Errors
/// [`Failure`] if standard input gives none.
pub(crate) fn subject(typed: &str) -> Result<String, Failure> {
    if typed != "-" {
        return Ok(typed.to_owned());
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|why| Failure::environment(format!("standard input: {why}"), "type it there"))?;
    Ok(line.trim().to_owned())
}
