//! `tally audit`: what an auditor asks, and what anybody can check offline.

mod log;
mod missing;
mod receipt;
mod rows;
mod stats;
mod take;
mod verified;
mod verifying;
mod watch;
mod witnessed;

use std::fs;
use std::path::Path;

use tally_log::SignedCheckpoint;
use tally_log::tile::TilePath;

use crate::args::{
    CheckArgs, ExportArgs, LogArgs, ReceiptArgs, ReceiptFormat, ShowArgs, StatsArgs, WatchArgs,
};
use crate::export::ExportDir;
use crate::failure::{Exit, Failure};
use crate::leaves::NoLeaf;
use crate::online::Online;
use crate::output::{Output, print, write};
use crate::verify::{Source, Unreadable};

pub(crate) use missing::missing;
pub(crate) use receipt::read_checkpoint as checkpoint_in;
pub(crate) use verifying::verify;

/// What to do about a log that is not as it must be.
const DAMAGED: &str = "see what is wrong with it: tally audit verify";

/// Where a ledger is read from.
enum Log {
    Dir(ExportDir),
    Nodes(Box<Online>),
}

impl Log {
    /// The export in a directory or, without one, what the ledger nodes have.
    fn open(dir: Option<&Path>, config: Option<&Path>) -> Result<Self, Failure> {
        Ok(match dir {
            Some(dir) => Self::Dir(ExportDir::open(dir)?),
            None => Self::Nodes(Box::new(Online::open(config)?)),
        })
    }

    /// Another reader of the same ledger.
    fn another(&self, config: Option<&Path>) -> Result<Self, Failure> {
        Ok(match self {
            Self::Dir(export) => Self::Dir(export.clone()),
            Self::Nodes(_) => Self::Nodes(Box::new(Online::open(config)?)),
        })
    }

    fn checkpoint(&mut self) -> Result<SignedCheckpoint, Failure> {
        match self {
            Self::Dir(export) => SignedCheckpoint::parse(&export.checkpoint()?)
                .map_err(|why| Failure::refused(format!("the checkpoint: {why}"), DAMAGED)),
            Self::Nodes(online) => online.trusted_checkpoint(false),
        }
    }
}

impl Source for Log {
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        match self {
            Self::Dir(export) => export.tile(path),
            Self::Nodes(online) => online.tile(path),
        }
    }

    fn narrower(&mut self, path: TilePath) -> Result<Vec<TilePath>, Unreadable> {
        match self {
            Self::Dir(export) => export.narrower(path),
            Self::Nodes(online) => online.narrower(path),
        }
    }
}

/// `tally audit log`.
///
/// # Errors
/// [`Failure`] if the ledger can't be read.
pub(crate) fn log(args: &LogArgs, config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let mut log = Log::open(args.dir.as_deref(), config)?;
    let checkpoint = log.checkpoint()?;
    let from = args.cursor.unwrap_or(0);
    let page = log::page(&mut log, &checkpoint, from, args.limit, &|_| true).map_err(no_leaf)?;
    print(output, &page, || page.table())?;
    Ok(Exit::Done)
}

/// `tally audit show`.
///
/// # Errors
/// [`Failure`] if the ledger can't be read, or has no such exchange.
pub(crate) fn show(
    args: &ShowArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut log = Log::open(args.dir.as_deref(), config)?;
    let checkpoint = log.checkpoint()?;
    let keep = |row: &rows::Row| row.exchange.as_deref() == Some(args.exchange.as_str());
    let page = log::page(&mut log, &checkpoint, 0, usize::MAX, &keep).map_err(no_leaf)?;
    if page.rows.is_empty() {
        let what = format!("the ledger has no exchange {}", args.exchange);
        return Err(Failure::refused(what, "see which there are: tally audit log"));
    }
    print(output, &page, || log::table(&page.rows))?;
    Ok(Exit::Done)
}

/// `tally audit stats`.
///
/// # Errors
/// [`Failure`] if the ledger can't be read.
pub(crate) fn stats(
    args: &StatsArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut log = Log::open(args.dir.as_deref(), config)?;
    let checkpoint = log.checkpoint()?;
    let stats = stats::stats(&mut log, &checkpoint).map_err(no_leaf)?;
    print(output, &stats, || stats.table())?;
    Ok(Exit::Done)
}

/// `tally audit export`.
///
/// # Errors
/// [`Failure`] if the ledger can't be read, or the directory not be written.
pub(crate) fn export(
    args: &ExportArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let exported = take::export(&mut online, config, args)?;
    print(output, &exported, || exported.table())?;
    Ok(Exit::Done)
}

/// `tally audit check`.
///
/// # Errors
/// [`Failure`] if there is no receipt. What is wrong with it is the answer.
pub(crate) fn check(args: &CheckArgs, output: Output) -> Result<Exit, Failure> {
    let mesh_id = args.mesh_id;
    let file = receipt::read(&args.receipt)?;
    let mut body = match &args.body {
        None => None,
        Some(path) => Some(fs::File::open(path).map_err(|why| {
            Failure::usage(format!("{}: {why}", path.display()), "give what was released")
        })?),
    };
    let body = body.as_mut().map(|body| body as &mut dyn std::io::Read);
    let shown = receipt::check(&file, mesh_id, body);
    print(output, &shown, || shown.table())?;
    let enough = shown.witnessed || !args.witness_quorum;
    Ok(if shown.verified && enough { Exit::Done } else { Exit::Refused })
}

/// `tally audit receipt`.
///
/// # Errors
/// [`Failure`] if there is no such leaf, or it has no receipt.
pub(crate) fn receipt(args: &ReceiptArgs, config: Option<&Path>) -> Result<Exit, Failure> {
    let mut log = Log::open(args.dir.as_deref(), config)?;
    let text = match (args.witnessed, args.format) {
        (true, format) => witnessed::wait_for(&mut log, args.leaf, args.wait, format)?,
        (false, ReceiptFormat::Receipt) => {
            let checkpoint = log.checkpoint()?;
            to_json(&receipt::make(&mut log, &checkpoint, args.leaf).map_err(no_leaf)?)?
        }
        (false, ReceiptFormat::TlogProof) => {
            let checkpoint = log.checkpoint()?;
            receipt::proof(&mut log, &checkpoint, args.leaf).map_err(no_leaf)?.to_string()
        }
    };
    match &args.to {
        None => write(&text)?,
        Some(path) => fs::write(path, text).map_err(|why| {
            let what = format!("{}: {why}", path.display());
            Failure::environment(what, "give a file that can be written")
        })?,
    }
    Ok(Exit::Done)
}

fn to_json(file: &receipt::ReceiptFile) -> Result<String, Failure> {
    let text = serde_json::to_string(file)
        .map_err(|why| Failure::environment(why, "report this: a receipt has no JSON form"))?;
    Ok(text + "\n")
}

/// `tally audit watch`.
///
/// # Errors
/// [`Failure`] if the configuration or the state is not as it must be.
pub(crate) fn watch(
    args: &WatchArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    watch::watch(args, config, output)
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

pub(super) fn unreadable(unreadable: Unreadable) -> Failure {
    if unreadable.unreachable {
        Failure::unreachable(unreadable, "see whether the ledger node runs, and try again")
    } else {
        Failure::environment(unreadable, "see that the file can be read, and try again")
    }
}
