//! `tally ledger trust`: somebody vouches for a directory that may have forgotten something.

use std::path::Path;

use serde::Serialize;
use tally_ledger::store::OpenError;
use tally_ledger::trust::{Directory, TrustError};
use tokio::runtime::Builder;

use crate::args::TrustArgs;
use crate::config::load_ledger;
use crate::failure::{Exit, Failure};
use crate::output::{Output, print};
use crate::system::now_ms;

#[derive(Debug, Serialize)]
struct Answer {
    trusted: bool,
    /// What spoke against it.
    against: Option<String>,
}

/// What whoever vouches takes upon them.
const WARNING: &str = "If it did forget something, an acknowledged entry can be lost, or two nodes \
    can lead at once, and nobody will be able to mend that. Trust a majority by hand only when no \
    leader can be elected: after a power cut of all nodes, when their disks kept what they had \
    promised. Never trust a backup, and never a node whose peers can still elect a leader: it \
    catches up by itself.";

/// `tally ledger trust`.
///
/// # Errors
/// [`Failure`] if the directory can't be opened or written, or if nobody vouched.
pub(crate) fn trust(
    args: &TrustArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally ledger trust --config FILE";
        return Err(Failure::usage("nobody said which ledger node to trust", remedy));
    };
    let config = load_ledger(path)?;
    let runtime = Builder::new_current_thread().build();
    let runtime = runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
    let directory = Directory::open(&config).map_err(failure)?;
    let against = directory.doubt().map(|doubt| doubt.to_string());
    let Some(why) = against.as_deref().filter(|_| !args.yes) else {
        runtime.block_on(directory.vouch(now_ms())).map_err(failure)?;
        let answer = Answer { trusted: true, against };
        print(output, &answer, || match &answer.against {
            None => "trusted already: nothing speaks against it\n".to_owned(),
            Some(why) => format!("trusted by hand, which stays on record, although {why}\n"),
        })?;
        return Ok(Exit::Done);
    };
    let what = format!("this node does not vote, because {why}. {WARNING}");
    runtime.block_on(directory.leave()).map_err(failure)?;
    Err(Failure::refused_as(what, "if you vouch for it all the same, say so with --yes"))
}

fn failure(error: TrustError) -> Failure {
    let remedy = match &error {
        TrustError::Open(OpenError::InUse) => "stop the node first",
        _ => "see `tally ledger fsck`",
    };
    Failure::environment(format!("the directory can't be trusted: {error}"), remedy)
}
