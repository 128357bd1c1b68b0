//! `tally ledger recover`: continues the ledger in a new epoch from one node's directory, after too many
//! of the others were lost for good.

use std::fmt::Write as _;
use std::io::{BufRead, Write as _, stderr, stdin};
use std::path::Path;

use serde::Serialize;
use tally_core::id::NodeId;
use tally_ledger::config::LedgerConfig;
use tally_ledger::fsck::Fault;
use tally_ledger::recovery::{self, Plan, Recovered, RecoveryError};
use tally_ledger::store::OpenError;
use tally_net::read_genesis;
use tally_wire::encode_checked;

use super::fsck::Shown;
use crate::args::RecoverArgs;
use crate::config::load_ledger;
use crate::failure::{Exit, Failure};
use crate::output::{Output, print};
use crate::paper::{Paper, What};

#[derive(Debug, Serialize)]
struct Planned {
    node: u64,
    epoch: u64,
    size: u64,
    root: String,
    last_log_id: String,
    /// Raft entries that are kept although it is not known whether a quorum has them.
    uncommitted_entries: u64,
    other_voters: Vec<u64>,
    shown_size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Answer {
    node: u64,
    epoch: u64,
    size: u64,
    /// False if it was done before.
    written: bool,
}

/// `tally ledger recover`.
///
/// # Errors
/// [`Failure`] if the directory can't be continued from, or nobody confirmed it.
pub(crate) fn recover(
    args: &RecoverArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally ledger recover --config FILE";
        return Err(Failure::usage("nobody said which ledger node is to continue", remedy));
    };
    let config = load_ledger(path)?;
    match &args.approved {
        None => show_plan(&config, args.to.as_deref(), output),
        Some(approved) => carry_out(&config, approved, args.yes, output),
    }
}

fn show_plan(config: &LedgerConfig, to: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let mut shown = Shown::new();
    let plan = recovery::plan(config, &mut |progress| shown.show(progress));
    shown.end();
    let plan = plan.map_err(failure)?;
    if let Some(to) = to {
        let Plan { epoch, head, node, .. } = &plan;
        let what = What::new_recovery(*epoch, head.size, &head.root, node.0)?;
        Paper::of_mesh(&config.mesh_id, what).write(to)?;
    }
    let plan = planned(&plan);
    print(output, &plan, || next_steps(&plan, to))?;
    Ok(Exit::Done)
}

fn planned(plan: &Plan) -> Planned {
    Planned {
        node: plan.node.0,
        epoch: plan.epoch,
        size: plan.head.size,
        root: plan.head.root.to_string(),
        last_log_id: plan.last.to_string(),
        uncommitted_entries: plan.uncommitted,
        other_voters: plan.others.iter().map(|NodeId(id)| *id).collect(),
        shown_size: plan.shown,
    }
}

fn next_steps(plan: &Planned, to: Option<&Path>) -> String {
    let Planned { node, epoch, size, root, last_log_id, uncommitted_entries, .. } = plan;
    let others = plan.other_voters.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "node {node} can continue the ledger in epoch {epoch}\n\
         keeps      {size} leaves, root {root}\n\
         log ends   {last_log_id}\n"
    );
    if *uncommitted_entries > 0 {
        let _ = writeln!(
            text,
            "of it      {uncommitted_entries} entries that this node does not know to be committed: \
             kept, as a quorum may have acknowledged them"
        );
    }
    if let Some(shown) = plan.shown_size.filter(|shown| *shown > *size) {
        let lost = shown - *size;
        let _ = writeln!(
            text,
            "LOST       at least {lost} leaves: this node has shown a checkpoint of {shown}"
        );
    }
    let others = if others.is_empty() { "none".to_owned() } else { others };
    let paper = to.map_or_else(
        || format!("tally ledger recover --config FILE --plan --to recovery-{epoch}.json, and "),
        |to| format!("{} is what they sign: ", to.display()),
    );
    let _ = write!(
        text,
        "\n1. Run the same on every other copy of a voter's directory that there is (voters: {others}). \
         Continue from the one whose log ends last: compare the first numbers of `log ends`, and where \
         they are the same the last ones. What only the others had is lost.\n\
         2. Let officers of a majority of the members approve this copy: {paper}\
            tally ledger recovery approve, one after the other\n\
         3. On this machine: tally ledger recover --config FILE --approved recovery-{epoch}.json\n\
         4. Start it; make new nodes with empty directories and new numbers: tally ledger join\n"
    );
    text
}

fn carry_out(
    config: &LedgerConfig,
    approved: &Path,
    yes: bool,
    output: Output,
) -> Result<Exit, Failure> {
    let recovery = Paper::read_of_mesh(approved, &config.mesh_id)?.recovery()?;
    let recovery = encode_checked(recovery)
        .map_err(|why| Failure::usage(format!("no recovery: {why}"), "have it planned anew"))?;
    let genesis = read_genesis(&config.genesis, config.mesh_id);
    let genesis = genesis.map_err(|why| {
        Failure::configuration(why, "give the genesis.cbor of the mesh, and its id")
    })?;
    let mesh = genesis.value().mesh.to_string();
    let mut shown = Shown::new();
    let mut confirm = |plan: &Plan| yes || is_confirmed(plan, &mesh);
    let done = recovery::recover(config, &recovery, &mut confirm, &mut |it| shown.show(it));
    shown.end();
    let written = done.map_err(failure)? == Recovered::Now;
    let value = recovery.value();
    let answer = Answer { node: value.node.0, epoch: value.epoch, size: value.size, written };
    print(output, &answer, || {
        let Answer { node, epoch, size, written } = &answer;
        if *written {
            format!(
                "node {node} continues in epoch {epoch} behind {size} leaves, and is its only voter: \
                 start it, then let new nodes join\n"
            )
        } else {
            format!("done already: node {node} is in epoch {epoch}\n")
        }
    })?;
    Ok(Exit::Done)
}

/// Shows what is kept and what that means, and has the mesh's name typed.
fn is_confirmed(plan: &Plan, mesh: &str) -> bool {
    let Plan { node, epoch, head, others, .. } = plan;
    let others = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut errors = stderr().lock();
    let asked = write!(
        errors,
        "\nnode {node} is to continue {mesh} in epoch {epoch}, alone, with {size} leaves.\n\
         Whatever other nodes ({others}) acknowledged beyond these is lost for good, and none of them may \
         ever run again with what it has. All sessions end.\n\
         Type the mesh's name to go on: ",
        size = head.size,
    );
    let mut typed = String::new();
    asked.and_then(|()| errors.flush()).and_then(|()| stdin().lock().read_line(&mut typed)).is_ok()
        && typed.trim() == mesh
}

fn failure(error: RecoveryError) -> Failure {
    match &error {
        RecoveryError::Fault(Fault::Log(OpenError::InUse)) => {
            Failure::environment("a node runs in this directory", "stop the node first")
        }
        RecoveryError::Io(_) => {
            Failure::environment(&error, "see the node's configuration and its disk")
        }
        RecoveryError::Declined => {
            Failure::refused_as("nothing was written: nobody confirmed it", "type the mesh's name")
        }
        RecoveryError::Rejected(rejection) => Failure::refused_as(
            format!("nothing was written: {error}"),
            rejection.remedy().to_owned(),
        ),
        RecoveryError::Fault(_) => Failure::refused_as(
            format!("nothing was written: {error}"),
            "continue from another copy, or mend this one: see `tally ledger fsck`",
        ),
        _ => Failure::refused_as(
            format!("nothing was written: {error}"),
            "see docs/ledger.md, on what to do when half of the voters or more are gone",
        ),
    }
}
