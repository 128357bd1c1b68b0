//! `tally sidecar`: an ingress beside an application as a process: starts it, says where it is reached,
//! and ends it in good order. It writes no file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use tally_agent::config::sidecar::{RELOADS, SidecarConfig};
use tally_agent::sidecar::{Sidecar, SidecarStartError};
use tokio::runtime::Builder;

use crate::agent::reload::told;
use crate::args::SidecarArgs;
use crate::config::values_of_sidecar;
use crate::failure::{Exit, Failure};
use crate::process::{Hangups, Levels, Signals, log, write_events};

/// `tally sidecar`: runs until SIGTERM or Ctrl-C, and ends at once at the second.
///
/// # Errors
/// [`Failure`] if the sidecar can't start.
pub(crate) fn run(args: &SidecarArgs, config: Option<&Path>) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally sidecar --config FILE";
        return Err(Failure::usage("nobody said which sidecar to run", remedy));
    };
    let began = Instant::now();
    let config = load(path)?;
    let levels = write_events(config.log);
    // One thread: what is carried is copied, and nothing is decided.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
    let ended = runtime.block_on(live(path, config, &levels, (args.end_with_stdin, began)));
    // A read of standard input can't be called off: nothing waits for it.
    runtime.shutdown_background();
    ended
}

/// Reads a sidecar's configuration.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn load(path: &Path) -> Result<SidecarConfig, Failure> {
    SidecarConfig::load(path)
        .map_err(|why| Failure::configuration(why, "mend the file: each line says where and what"))
}

async fn live(
    path: &Path,
    config: SidecarConfig,
    levels: &Levels,
    (end_with_stdin, began): (bool, Instant),
) -> Result<Exit, Failure> {
    let (mut signals, mut hangups) = (Signals::listen(), Hangups::listen());
    let values = RefCell::new(values_of_sidecar(path)?);
    let sidecar = Sidecar::start(&config).await.map_err(start_failure)?;
    let (id, bound) = (sidecar.id(), sidecar.bound());
    let (name, member, agent) = (&id.name, &id.member, &config.agent);
    log(
        "sidecar",
        &format!(
            "sidecar {name} of {member}: agent {agent}, ingress {}, health {}; started in {} ms",
            bound.ingress,
            bound.health,
            began.elapsed().as_millis(),
        ),
    );
    {
        let mut ending = std::pin::pin!(signals.next_or_parent_ended(end_with_stdin));
        loop {
            tokio::select! {
                () = ending.as_mut() => break,
                () = hangups.next() => {
                    sidecar.read_again();
                    read_again(path, &sidecar, levels, &values);
                }
            }
        }
    }
    log(
        "sidecar",
        "takes nothing new, and ends what it has begun; a second signal ends it at once",
    );
    tokio::select! {
        () = sidecar.stop() => {
            log("sidecar", "stopped");
            Ok(Exit::Done)
        }
        () = signals.next() => {
            log("sidecar", "ended at once");
            Ok(Exit::Refused)
        }
    }
}

/// Reads the file again, and takes over what may change. A file with errors changes nothing.
fn read_again(
    path: &Path,
    sidecar: &Sidecar,
    levels: &Levels,
    running: &RefCell<BTreeMap<String, String>>,
) {
    let read = load(path).and_then(|new| values_of_sidecar(path).map(|values| (new, values)));
    let (new, values) = match read {
        Ok(read) => read,
        Err(why) => {
            log("sidecar", &format!("SIGHUP: the file has errors, and changes nothing: {why}"));
            return;
        }
    };
    let mut running = running.borrow_mut();
    let keys = running.keys().chain(values.keys());
    let differs = keys.filter(|key| running.get(*key) != values.get(*key));
    let all: BTreeSet<String> = differs.cloned().collect();
    let (taken, left): (BTreeSet<_>, _) =
        all.into_iter().partition(|key| RELOADS.contains(&key.as_str()));
    levels.set(new.log.level);
    sidecar.reconfigure(&new);
    for key in &taken {
        match values.get(key) {
            Some(value) => drop(running.insert(key.clone(), value.clone())),
            None => drop(running.remove(key)),
        }
    }
    log("sidecar", &told(&taken, &left));
}

fn start_failure(error: SidecarStartError) -> Failure {
    let remedy = error.remedy();
    Failure::configuration(format!("the sidecar does not start: {error}"), remedy)
}
