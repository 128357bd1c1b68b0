//! `tally agent`: a member's agent as a process: starts it, says where it is reached, and ends it in
//! good order.

pub(crate) mod reload;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tally_agent::agent::{Agent, AgentBound, StartError};
use tally_net::ledger::Recovered;
use tokio::runtime::Builder;

use crate::acting::load;
use crate::args::AgentArgs;
use crate::failure::{Exit, Failure};
use crate::process::{Hangups, Signals, log, write_events};
use crate::system::write_file;
use reload::Configured;

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

/// `tally agent`: runs until SIGTERM or Ctrl-C, and ends at once at the second.
///
/// # Errors
/// [`Failure`] if the agent can't start, or can't go on.
pub(crate) fn run(args: &AgentArgs, config: Option<&Path>) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally agent --config FILE";
        return Err(Failure::usage("nobody said which agent to run", remedy));
    };
    let began = Instant::now();
    let config = load(path)?;
    let levels = write_events(config.log);
    let said = bound_path(&config.data_dir);
    let configured = Configured::new(path, config, levels)?;
    loop {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("tally")
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build();
        let runtime =
            runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
        let ended = runtime.block_on(one_life(&configured, args, &said, began));
        if !matches!(ended, Ok(Ended::Recovered)) {
            // A read of standard input can't be called off: nothing waits for it.
            runtime.shutdown_background();
            return ended.map(|ended| match ended {
                Ended::AtOnce => Exit::Refused,
                Ended::Told | Ended::Recovered => Exit::Done,
            });
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
    /// As it was told twice: what it had begun was broken off.
    AtOnce,
    /// The ledger has gone on in a later epoch: another agent begins.
    Recovered,
}

/// Threads that wait for disks, at most: more than all sources that hang may keep, each of which has a bound
/// of its own. Those that nobody needs are ended.
const BLOCKING_THREADS_MAX: usize = 2048;
/// How long what an agent has left may take to end.
const LEFTOVERS_WAIT_MAX: Duration = Duration::from_secs(1);

async fn one_life(
    configured: &Configured,
    args: &AgentArgs,
    said: &Path,
    began: Instant,
) -> Result<Ended, Failure> {
    // What an earlier run said holds no more.
    drop(fs::remove_file(said));
    let (mut signals, mut hangups) = (Signals::listen(), Hangups::listen());
    let agent = Agent::start(&configured.config()).await.map_err(start_failure)?;
    let recovered = {
        let ending = signals.next_or_parent_ended(args.end_with_stdin);
        live(&agent, configured, said, began, (ending, &mut hangups)).await
    };
    drop(fs::remove_file(said));
    let Some(recovered) = recovered? else {
        return Ok(end(agent, &mut signals).await);
    };
    let epoch = recovered.epoch;
    log("agent", &format!("the ledger was recovered into epoch {epoch}: begins anew in it"));
    agent.move_on(recovered).await.map_err(|why| {
        let what = format!("the agent can't go on in epoch {epoch}: {why}");
        Failure::environment(what, "mend what is named, then start the agent again")
    })?;
    Ok(Ended::Recovered)
}

/// Lets what is under way end, unless it is told once more.
async fn end(agent: Agent, signals: &mut Signals) -> Ended {
    log("agent", "takes nothing new, and ends what it has begun; a second signal ends it at once");
    tokio::select! {
        () = agent.stop() => {
            log("agent", "stopped");
            Ended::Told
        }
        () = signals.next() => {
            log("agent", "ended at once: what was broken off is told to the ledger at the next start");
            Ended::AtOnce
        }
    }
}

/// Runs until it is told to end, or until the ledger has gone on in a later epoch.
async fn live(
    agent: &Agent,
    configured: &Configured,
    said: &Path,
    began: Instant,
    (ending, hangups): (impl Future<Output = ()>, &mut Hangups),
) -> Result<Option<Recovered>, Failure> {
    let mut ending = std::pin::pin!(ending);
    let started_ms = began.elapsed().as_millis();
    // Whoever ends it while it waits for the ledger need not wait for it.
    tokio::select! {
        () = agent.ready() => {}
        recovered = agent.recovered() => return Ok(Some(recovered)),
        () = ending.as_mut() => return Ok(None),
    }
    let reached = say(agent.bound(), configured.config().member.as_str());
    let text = serde_json::to_string(&reached);
    let text = text.map_err(|why| Failure::environment(why, "report this"))?;
    write_file(said, text.as_bytes())?;
    log(
        "agent",
        &format!(
            "agent of {}: quic {}, ingress {}, health {}; started in {started_ms} ms, serves after {} ms",
            reached.member,
            reached.quic,
            reached.ingress,
            reached.health,
            began.elapsed().as_millis(),
        ),
    );
    loop {
        tokio::select! {
            recovered = agent.recovered() => return Ok(Some(recovered)),
            () = ending.as_mut() => return Ok(None),
            () = hangups.next() => {
                configured.read_again(agent).await;
                agent.read_again();
            }
        }
    }
}

fn say(bound: &AgentBound, member: &str) -> Bound {
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
    let remedy = error.remedy();
    Failure::configuration(format!("the agent does not start: {error}"), remedy)
}
