//! Receipts under a checkpoint that a quorum of witnesses has cosigned: it may have to be waited for.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use tally_core::entry::Genesis;
use tally_log::SignedCheckpoint;

use super::{Log, no_leaf, receipt, to_json};
use crate::args::ReceiptFormat;
use crate::failure::Failure;
use crate::history::RegisterHistory;
use crate::leaves::{Leaves, NoLeaf};

/// The pause before the nodes are asked again: witnesses are asked at once when the ledger is idle.
const PAUSE: Duration = Duration::from_millis(200);

/// The text of the receipt of a leaf, with a checkpoint that is witnessed.
///
/// # Errors
/// [`Failure`] if there is none within the time, or no such leaf.
pub(super) fn wait_for(
    log: &mut Log,
    leaf: u64,
    wait_s: i64,
    format: ReceiptFormat,
) -> Result<String, Failure> {
    let mut registers = registers(log)?;
    let deadline = Instant::now() + Duration::from_secs(u64::try_from(wait_s).unwrap_or(0));
    loop {
        if let Some(signed) = newest(log, &mut registers)? {
            match text(log, &signed, leaf, &registers, format) {
                Err(NoLeaf::Beyond(..)) => {}
                made => return made.map_err(no_leaf),
            }
        }
        if Instant::now() > deadline || matches!(log, Log::Dir(_)) {
            let what =
                format!("no checkpoint with leaf {leaf} is cosigned by a quorum of witnesses");
            return Err(Failure::refused(what, "see who cosigns: tally audit watch --once"));
        }
        show_progress();
        thread::sleep(PAUSE);
    }
}

fn text(
    log: &mut Log,
    signed: &SignedCheckpoint,
    leaf: u64,
    registers: &RegisterHistory,
    format: ReceiptFormat,
) -> Result<String, NoLeaf> {
    match format {
        ReceiptFormat::Receipt => {
            let file = receipt::make_witnessed(log, signed, leaf, registers)?;
            to_json(&file).map_err(|why| NoLeaf::Damaged(why.to_string()))
        }
        ReceiptFormat::TlogProof => Ok(receipt::proof(log, signed, leaf)?.to_string()),
    }
}

/// The registers that the source has.
fn registers(log: &mut Log) -> Result<RegisterHistory, Failure> {
    match log {
        Log::Nodes(online) => RegisterHistory::new(&online.genesis),
        Log::Dir(export) => {
            let leaves = export.registers().map_err(|why| Failure::refused(why, super::DAMAGED))?;
            let signed = log.checkpoint()?;
            let genesis = Leaves::new(log, signed.checkpoint()).leaf(0).map_err(no_leaf)?;
            let genesis = tally_wire::decode::<Genesis>(genesis.bytes())
                .map_err(|why| Failure::refused(format!("the genesis: {why}"), super::DAMAGED))?;
            let mut registers = RegisterHistory::new(&genesis)?;
            if let Some(leaves) = leaves {
                registers.take_all(&leaves)?;
            }
            Ok(registers)
        }
    }
}

/// The newest checkpoint that a quorum has cosigned, of those that the ledger has signed.
fn newest(
    log: &mut Log,
    registers: &mut RegisterHistory,
) -> Result<Option<SignedCheckpoint>, Failure> {
    let signed = match log {
        Log::Nodes(online) => {
            registers.read_on(&mut online.https)?;
            online.witnessed_checkpoint()?
        }
        Log::Dir(_) => Some(log.checkpoint()?),
    };
    let good = |signed: &SignedCheckpoint| {
        signed.verify_log(registers.log_keys()).is_ok() && registers.cosigned(signed).is_enough()
    };
    Ok(signed.filter(good))
}

/// A dot on a terminal.
fn show_progress() {
    let mut out = io::stderr();
    if out.is_terminal() {
        // It is only for the eye.
        drop(write!(out, ".").and_then(|()| out.flush()));
    }
}
