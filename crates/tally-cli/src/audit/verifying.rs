//! `tally audit verify`: what to verify, and by what to judge it.

use std::path::Path;
use std::thread;

use tally_log::SignedCheckpoint;

use super::verified::Verified;
use super::{Log, receipt, unreadable};
use crate::args::VerifyArgs;
use crate::failure::{Exit, Failure};
use crate::kept;
use crate::online::{Online, read_policy};
use crate::output::{Output, print};
use crate::progress::Progress;
use crate::verify::{FirstBad, Report, Seen, Trust, verify as verify_log};

/// Connections to ledger nodes at most: more threads wait for them anyway.
const CONNECTIONS_MAX: usize = 8;

/// What is verified: a checkpoint, and whom to believe about it, or what is wrong with that.
struct Subject {
    checkpoint: Vec<u8>,
    trust: Result<Trust, String>,
}

/// `tally audit verify`.
///
/// # Errors
/// [`Failure`] if there is nothing to check. What is wrong with what is there is the answer.
pub(crate) fn verify(
    args: &VerifyArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let (report, given) = report(args, config)?;
    let verified = Verified::new(&report, given, args.missing);
    print(output, &verified, || verified.table())?;
    Ok(if report.first_bad.is_none() { Exit::Done } else { Exit::Refused })
}

/// What verifying finds, and whether the mesh was said by whoever asks.
///
/// # Errors
/// [`Failure`] if there is nothing to check.
pub(super) fn report(args: &VerifyArgs, config: Option<&Path>) -> Result<(Report, bool), Failure> {
    let own_policy = args.whole.policy.as_deref().map(read_policy).transpose()?;
    let receipts = args.receipts.iter().map(|path| {
        let (name, note) = (path.display().to_string(), receipt::read_checkpoint(path)?);
        Ok(Seen { name, note, may_be_ahead: true })
    });
    let receipts = receipts.collect::<Result<Vec<_>, Failure>>()?;
    let mut log = Log::open(args.whole.dir.as_deref(), config)?;
    let Subject { checkpoint, trust } = subject(&mut log, args)?;
    let mut given = args.whole.mesh_id.is_some();
    let report = match trust {
        Ok(mut trust) => {
            trust.policy = own_policy.or(trust.policy);
            trust.seen.extend(receipts);
            trust.require_witnesses = args.require_witnesses;
            trust.list_missing = args.missing;
            given = trust.mesh_id.is_some();
            run(&mut log, &checkpoint, &trust, args, config)?
        }
        Err(why) => Report { first_bad: Some(FirstBad { leaf: None, why }), ..Report::default() },
    };
    Ok((report, given))
}

fn run(
    log: &mut Log,
    checkpoint: &[u8],
    trust: &Trust,
    args: &VerifyArgs,
    config: Option<&Path>,
) -> Result<Report, Failure> {
    let threads =
        args.whole.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let threads = match log {
        Log::Dir(_) => threads,
        Log::Nodes(_) => threads.min(CONNECTIONS_MAX),
    };
    let others = (1..threads).map(|_| log.another(config)).collect::<Result<Vec<_>, _>>()?;
    let size = SignedCheckpoint::parse(checkpoint).map_or(0, |it| it.checkpoint().size);
    let mut progress = Progress::new(size, "leaves");
    let report = verify_log(checkpoint, log, others, trust, &mut |leaves| progress.show(leaves));
    report.map_err(unreadable)
}

fn subject(log: &mut Log, args: &VerifyArgs) -> Result<Subject, Failure> {
    match log {
        Log::Dir(export) => {
            let trust = || {
                let (policy, keys) = (export.policy()?, export.keys()?);
                Ok(Trust { policy, keys, registers: export.registers()?, ..Trust::default() })
            };
            let (mesh_id, seen) = (args.whole.mesh_id, export.kept()?);
            let trust = trust().map(|trust| Trust { mesh_id, seen, ..trust });
            Ok(Subject { checkpoint: export.checkpoint()?, trust })
        }
        Log::Nodes(online) => {
            // What the nodes showed before a recovery counts as if it had been seen then.
            online.earlier()?.iter().for_each(|last| online.keep(last));
            let seen = kept::read(&online.kept, args.require_witnesses)?;
            let checkpoint = if args.require_witnesses {
                online.witnessed_checkpoint()?.ok_or_else(Online::not_witnessed)?
            } else {
                online.checkpoint()?
            };
            // It stays, whatever comes of this: that the nodes have signed it is proof.
            online.keep(&checkpoint);
            let trust = Trust {
                mesh_id: args.whole.mesh_id.or_else(|| Some(online.mesh_id())),
                policy: online.policy.clone(),
                seen,
                ..Trust::default()
            };
            Ok(Subject { checkpoint: checkpoint.to_string().into_bytes(), trust: Ok(trust) })
        }
    }
}
