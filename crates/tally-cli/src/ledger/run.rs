//! A ledger node as a process: starts it, says where it is reached, and ends it in good order.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tally_ledger::node::StartError;
use tally_ledger::service::{Service, ServiceBound, ServiceError};
use tokio::runtime::Builder;

use crate::args::LedgerArgs;
use crate::config::load_ledger;
use crate::failure::{Exit, Failure};
use crate::process::{Hangups, log, shutdown, write_events};
use crate::system::write_file;

/// Where a node is reached, as it says in `bound.json` in its data directory once it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) tally: u64,
    pub(crate) node_id: u64,
    pub(crate) pid: u32,
    pub(crate) agents: String,
    pub(crate) raft: String,
    pub(crate) https: String,
    pub(crate) health: String,
}

/// The file in which a node says where it is reached.
pub(crate) fn bound_path(data_dir: &Path) -> PathBuf {
    data_dir.join("bound.json")
}

/// `tally ledger`: runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// [`Failure`] if the node can't start, or can't go on.
pub(crate) fn run(args: &LedgerArgs, config: Option<&Path>) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally ledger --config FILE";
        return Err(Failure::usage("nobody said which ledger node to run", remedy));
    };
    let config = load_ledger(path)?;
    drop(write_events(config.log));
    let runtime = Builder::new_multi_thread().enable_all().thread_name("tally").build();
    let runtime = runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
    let bound = bound_path(&config.data_dir);
    let ended = runtime.block_on(async {
        // What an earlier run said holds no more.
        drop(fs::remove_file(&bound));
        let mut hangups = Hangups::listen();
        let service = Service::start(&config).await.map_err(start_failure)?;
        let reached = say(service.bound(), config.node_id.0);
        let text = serde_json::to_string(&reached);
        let text = text.map_err(|why| Failure::environment(why, "report this"))?;
        write_file(&bound, text.as_bytes())?;
        log(
            "ledger",
            &format!(
                "ledger node {} of {}: agents {}, peers {}, https {}, health {}",
                reached.node_id,
                config.member,
                reached.agents,
                reached.raft,
                reached.https,
                reached.health,
            ),
        );
        for said in service.said_at_start() {
            log("ledger", &said);
        }
        let again = service.again();
        let running = service.run_until(shutdown(args.end_with_stdin));
        let mut running = std::pin::pin!(running);
        let ended = loop {
            tokio::select! {
                ended = running.as_mut() => break ended,
                () = hangups.next() => {
                    log("ledger", "SIGHUP: reads certificate and key again");
                    again.notify_one();
                }
            }
        };
        drop(fs::remove_file(&bound));
        log("ledger", "stopped");
        ended.map_err(|why| {
            Failure::environment(format!("the node can't go on: {why}"), "see its disk and its log")
        })
    });
    // A read of standard input can't be called off: nothing waits for it.
    runtime.shutdown_background();
    ended.map(|()| Exit::Done)
}

fn say(bound: ServiceBound, node_id: u64) -> Bound {
    Bound {
        tally: 1,
        node_id,
        pid: std::process::id(),
        agents: bound.node.agents.to_string(),
        raft: bound.node.raft.to_string(),
        https: bound.https.to_string(),
        health: bound.health.to_string(),
    }
}

fn start_failure(error: ServiceError) -> Failure {
    let remedy = match &error {
        ServiceError::Start(StartError::Listen { .. }) => {
            "see which process has the port: ss -tulpn"
        }
        ServiceError::Key(_)
        | ServiceError::Identity(_)
        | ServiceError::Start(StartError::Tls(_)) => {
            "make them anew: tally identity issue for the certificate; a log key is never replaced"
        }
        ServiceError::Genesis(_) => "give the genesis.cbor of the mesh, and its id",
        _ => "mend what is named, then start the node again",
    };
    Failure::configuration(format!("the ledger node does not start: {error}"), remedy)
}
