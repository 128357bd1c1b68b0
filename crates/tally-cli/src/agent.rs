//! `tally agent`: a member's agent as a process: starts it, says where it is reached, and ends it in
//! good order.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tally_agent::agent::{Agent, AgentBound, StartError};
use tally_agent::config::AgentConfig;
use tally_net::ledger::Recovered;
use tokio::runtime::Builder;

use crate::acting::load;
use crate::args::AgentArgs;
use crate::failure::{Exit, Failure};
use crate::process::{log, shutdown, write_events};
use crate::system::write_file;

/// Where an agent is reached, as it says in `bound.json` in its data directory once it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) tally: u64,
    pub(crate) member: String,
    pub(crate) pid: u32,
    pub(crate) quic: String,
    pub(crate) ingress: String,
    pub(crate) health: String,
}

/// The file in which an agent says where it is reached.
pub(crate) fn bound_path(data_dir: &Path) -> PathBuf {
    data_dir.join("bound.json")
}

/// Where an agent says that it is reached; none if it does not run.
pub(crate) fn bound(data_dir: &Path) -> Option<Bound> {
    serde_json::from_slice(&fs::read(bound_path(data_dir)).ok()?).ok()
}

/// `tally agent`: runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// [`Failure`] if the agent can't start, or can't go on.
pub(crate) fn run(args: &AgentArgs, config: Option<&Path>) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally agent --config FILE";
        return Err(Failure::usage("nobody said which agent to run", remedy));
    };
    let config = load(path)?;
    write_events(tracing::Level::INFO);
    let said = bound_path(&config.data_dir);
    loop {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("tally").build();
        let runtime =
            runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
        let ended = runtime.block_on(one_life(&config, args, &said));
        if !matches!(ended, Ok(Ended::Recovered)) {
            // A read of standard input can't be called off: nothing waits for it.
            runtime.shutdown_background();
            return ended.map(|_| Exit::Done);
        }
        // Everything that belongs to the earlier epoch is gone before anything of the later one begins:
        // sockets, locks and tasks.
        runtime.shutdown_timeout(LEFTOVERS_WAIT_MAX);
    }
}

/// How an agent ended.
enum Ended {
    /// As it was told.
    Told,
    /// The ledger has gone on in a later epoch: another agent begins.
    Recovered,
}

/// How long what an agent has left may take to end.
const LEFTOVERS_WAIT_MAX: Duration = Duration::from_secs(1);

async fn one_life(config: &AgentConfig, args: &AgentArgs, said: &Path) -> Result<Ended, Failure> {
    // What an earlier run said holds no more.
    drop(fs::remove_file(said));
    let mut ending = std::pin::pin!(shutdown(args.end_with_stdin));
    let agent = Agent::start(config).await.map_err(start_failure)?;
    let recovered = live(&agent, config, said, ending.as_mut()).await;
    drop(fs::remove_file(said));
    let Some(recovered) = recovered? else {
        agent.stop().await;
        log("agent", "stopped");
        return Ok(Ended::Told);
    };
    let epoch = recovered.epoch;
    log("agent", &format!("the ledger was recovered into epoch {epoch}: begins anew in it"));
    agent.move_on(recovered).await.map_err(|why| {
        let what = format!("the agent can't go on in epoch {epoch}: {why}");
        Failure::environment(what, "mend what is named, then start the agent again")
    })?;
    Ok(Ended::Recovered)
}

/// Runs until it is told to end, or until the ledger has gone on in a later epoch.
async fn live(
    agent: &Agent,
    config: &AgentConfig,
    said: &Path,
    mut ending: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Recovered>, Failure> {
    // Whoever ends it while it waits for the ledger need not wait for it.
    tokio::select! {
        () = agent.ready() => {}
        recovered = agent.recovered() => return Ok(Some(recovered)),
        () = ending.as_mut() => return Ok(None),
    }
    let reached = say(agent.bound(), config.member.as_str());
    let text = serde_json::to_string(&reached);
    let text = text.map_err(|why| Failure::environment(why, "report this"))?;
    write_file(said, text.as_bytes())?;
    log(
        "agent",
        &format!(
            "agent of {}: quic {}, ingress {}, health {}",
            reached.member, reached.quic, reached.ingress, reached.health,
        ),
    );
    tokio::select! {
        recovered = agent.recovered() => Ok(Some(recovered)),
        () = ending => Ok(None),
    }
}

fn say(bound: AgentBound, member: &str) -> Bound {
    Bound {
        tally: 1,
        member: member.to_owned(),
        pid: std::process::id(),
        quic: bound.quic.to_string(),
        ingress: bound.ingress.to_string(),
        health: bound.health.to_string(),
    }
}

fn start_failure(error: StartError) -> Failure {
    let remedy = match &error {
        StartError::Listen { .. } => "see which process has the port: ss -tulpn",
        StartError::Identity(_) | StartError::Key(_) => {
            "make them anew: tally identity issue for the certificate; the agent's key is in the \
             member's register"
        }
        StartError::Genesis(_) => "give the genesis.cbor of the mesh, and its id",
        _ => "mend what is named, then start the agent again",
    };
    Failure::configuration(format!("the agent does not start: {error}"), remedy)
}
