//! `tally audit`: what an auditor asks, and what anybody can check offline.

mod receipt;
mod verified;

use std::fs;
use std::path::Path;

use tally_log::{Policy, SignedCheckpoint};

use crate::args::{CheckArgs, ReceiptArgs, VerifyArgs};
use crate::export::ExportDir;
use crate::failure::{Exit, Failure};
use crate::leaves::NoLeaf;
use crate::output::{Output, print, write};
use crate::verify::{FirstBad, Report, Trust, Unreadable, verify as verify_log};

use verified::Verified;

/// What to do about a log that is not as it must be.
const DAMAGED: &str = "see what is wrong with it: tally audit verify";

/// `tally audit verify`.
///
/// # Errors
/// [`Failure`] if there is nothing to check. What is wrong with what is there is the answer.
pub(crate) fn verify(args: &VerifyArgs, output: Output) -> Result<Exit, Failure> {
    let mesh_id = args.mesh_id;
    let own_policy = args.policy.as_deref().map(read_policy).transpose()?;
    let mut export = ExportDir::open(&args.dir)?;
    let checkpoint = export.checkpoint()?;
    let policy = match own_policy {
        Some(policy) => Ok(Some(policy)),
        None => export.policy(),
    };
    let report = match (policy, export.keys()) {
        (Ok(policy), Ok(keys)) => {
            let trust = Trust { mesh_id, policy, keys };
            verify_log(&checkpoint, &mut export, &trust, &mut |_| ()).map_err(unreadable)?
        }
        (Err(why), _) | (_, Err(why)) => {
            Report { first_bad: Some(FirstBad { leaf: None, why }), ..Report::default() }
        }
    };
    let verified = Verified::new(&report, mesh_id.is_some());
    print(output, &verified, || verified.table())?;
    Ok(if report.first_bad.is_none() { Exit::Done } else { Exit::Refused })
}

/// `tally audit check`.
///
/// # Errors
/// [`Failure`] if there is no receipt. What is wrong with it is the answer.
pub(crate) fn check(args: &CheckArgs, output: Output) -> Result<Exit, Failure> {
    let mesh_id = args.mesh_id;
    let file = receipt::read(&args.receipt)?;
    let shown = receipt::check(&file, mesh_id);
    print(output, &shown, || shown.table())?;
    Ok(if shown.verified { Exit::Done } else { Exit::Refused })
}

/// `tally audit receipt`.
///
/// # Errors
/// [`Failure`] if there is no such leaf, or it has no receipt.
pub(crate) fn receipt(args: &ReceiptArgs) -> Result<Exit, Failure> {
    let mut export = ExportDir::open(&args.dir)?;
    let checkpoint = export.checkpoint()?;
    let signed = SignedCheckpoint::parse(&checkpoint)
        .map_err(|why| Failure::refused(format!("the checkpoint: {why}"), DAMAGED))?;
    let size = signed.checkpoint().size;
    let file = receipt::make(&mut export, size, &checkpoint, args.leaf).map_err(no_leaf)?;
    let text = serde_json::to_string(&file)
        .map_err(|why| Failure::environment(why, "report this: a receipt has no JSON form"))?;
    match &args.to {
        None => write(&text)?,
        Some(path) => fs::write(path, text + "\n").map_err(|why| {
            let what = format!("{}: {why}", path.display());
            Failure::environment(what, "give a file that can be written")
        })?,
    }
    Ok(Exit::Done)
}

fn no_leaf(why: NoLeaf) -> Failure {
    match why {
        NoLeaf::Unreadable(why) => unreadable(why),
        NoLeaf::Damaged(_) => Failure::refused(why, DAMAGED),
        NoLeaf::Beyond(..) | NoLeaf::NoEntry(..) => {
            Failure::usage(why, "name the leaf of an entry: tally audit log lists them")
        }
    }
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let remedy = "write it as C2SP tlog-policy says: log, witness, group and quorum lines";
    let bad = |why: String| Failure::configuration(format!("{}: {why}", path.display()), remedy);
    let bytes = fs::read(path).map_err(|why| bad(why.to_string()))?;
    Policy::parse(&bytes).map_err(|why| bad(why.to_string()))
}

fn unreadable(unreadable: Unreadable) -> Failure {
    if unreadable.unreachable {
        Failure::unreachable(unreadable, "see whether the ledger node runs, and try again")
    } else {
        Failure::environment(unreadable, "see that the file can be read, and try again")
    }
}
