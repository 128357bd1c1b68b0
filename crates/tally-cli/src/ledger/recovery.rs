//! `tally ledger recovery`: the paper by which a majority of the members lets a ledger go on in a new
//! epoch, with what one node has.
//!
//! Invariant: no officer signs unseen: what is kept, and what is known to be lost, is shown first. The
//! ledger is not asked: it does not run. What the member itself has kept is.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tally_agent::admin::api::{ListRegisters, RegisterKind, RegisterRows, WitnessStatus};
use tally_core::entry::Recovery;
use tally_log::{Hash, SignedCheckpoint};

use crate::acting::Acting;
use crate::args::{RecoveryFileArgs, RecoveryProposeArgs};
use crate::audit::checkpoint_in;
use crate::export::CHECKPOINTS;
use crate::failure::{Exit, Failure};
use crate::kept;
use crate::online::read_genesis;
use crate::output::{self, Output, pairs, print};
use crate::paper::{Paper, What, hex};
use crate::system::random;

/// Where a recovery stands.
#[derive(Debug, Serialize)]
struct Standing {
    mesh: String,
    epoch: u64,
    node: u64,
    /// Leaves that are kept, and the root over them.
    size: u64,
    root: String,
    /// Leaves that are lost, as far as is known here: there may be more.
    known_lost: u64,
    /// What shows it: the largest checkpoint of the epoch that ends.
    shown_by: Option<String>,
    approved_by: Vec<String>,
    /// How many more must approve; none if the member's agent does not say.
    missing: Option<usize>,
}

/// A checkpoint of the epoch that ends, and where it is from.
struct Known {
    name: String,
    size: u64,
    /// None if only its size is told.
    root: Option<Hash>,
}

/// `tally ledger recovery propose`.
///
/// # Errors
/// [`Failure`] if the numbers are none, or the file can't be written.
pub(crate) fn propose(
    args: &RecoveryProposeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let root = hex::<{ Hash::LEN }>(&args.root).map(Hash::from_bytes).ok_or_else(|| {
        let what = "the root is not 64 hexadecimal digits";
        Failure::usage(what, "take it from: tally ledger recover --plan")
    })?;
    if args.epoch == 0 || args.size == 0 {
        let what = "a recovery keeps a leaf at least, and begins epoch 1 or a later one";
        return Err(Failure::usage(what, "take the numbers from: tally ledger recover --plan"));
    }
    let paper = Paper::of_mesh(
        &acting.config.mesh_id,
        What::new_recovery(args.epoch, args.size, &root, args.node)?,
    );
    let standing = Standing::of(&paper, &acting, &[])?;
    paper.write(&args.to)?;
    standing.tell(output)
}

/// `tally ledger recovery show`.
///
/// # Errors
/// [`Failure`] if the file is about something else.
pub(crate) fn show(
    args: &RecoveryFileArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let paper = Paper::read(&args.file, &acting)?;
    Standing::of(&paper, &acting, &seen(args, config, &acting)?)?.tell(output)
}

/// `tally ledger recovery approve`.
///
/// # Errors
/// [`Failure`] if the file is about something else, contradicts what was kept, or there is no key to
/// sign with.
pub(crate) fn approve(
    args: &RecoveryFileArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let mut paper = Paper::read(&args.file, &acting)?;
    let seen = seen(args, config, &acting)?;
    // The file came from somebody else: who signs sees first what it says.
    let standing = Standing::of(&paper, &acting, &seen)?;
    output::show(&standing.to_be_signed())?;
    paper.sign(&acting)?;
    paper.write(&args.file)?;
    Standing::of(&paper, &acting, &seen)?.tell(output)
}

impl What {
    /// What would begin this epoch.
    ///
    /// # Errors
    /// [`Failure`] if the system gives no random bytes.
    pub(crate) fn new_recovery(
        epoch: u64,
        size: u64,
        root: &Hash,
        node: u64,
    ) -> Result<Self, Failure> {
        let salt = random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self::Recovery { salt, epoch, size, root: root.to_string(), node })
    }
}

impl Known {
    fn of(name: String, signed: &SignedCheckpoint) -> Self {
        let checkpoint = signed.checkpoint();
        Self { name, size: checkpoint.size, root: Some(checkpoint.root) }
    }
}

/// What the member knows of how far the epoch that ends was: checkpoints that are kept beside the
/// configuration, those that are given, and the size that its own witness cosigned last.
fn seen(
    args: &RecoveryFileArgs,
    config: Option<&Path>,
    acting: &Acting,
) -> Result<Vec<Known>, Failure> {
    let recovery = Paper::read(&args.file, acting)?.recovery()?;
    let genesis = read_genesis(&acting.config.genesis, acting.config.mesh_id)?;
    let origin = genesis.value().mesh.log(recovery.epoch.saturating_sub(1));
    let is_of_it = |signed: &SignedCheckpoint| signed.checkpoint().origin.as_str() == origin;
    let mut known = Vec::new();
    for path in &args.seen {
        let name = path.display().to_string();
        let signed = SignedCheckpoint::parse(&checkpoint_in(path)?).map_err(|why| {
            Failure::usage(format!("{name}: {why}"), "give a checkpoint, or a receipt")
        })?;
        if !is_of_it(&signed) {
            let what = format!("{name}: it is not of {origin}");
            return Err(Failure::usage(
                what,
                "give checkpoints and receipts of the epoch that ends",
            ));
        }
        known.push(Known::of(name, &signed));
    }
    if let Some(config) = config {
        for kept in kept::read(&config.with_file_name(CHECKPOINTS), true)? {
            let signed = SignedCheckpoint::parse(&kept.note).ok().filter(is_of_it);
            known.extend(signed.map(|signed| Known::of(kept.name, &signed)));
        }
    }
    // An agent that does not run tells nothing; the file can be signed all the same.
    let status: Result<WitnessStatus, Failure> = acting.ask("/witness/status", &json!({}));
    let cosigned = status.ok().and_then(|status| status.size);
    known.extend(cosigned.map(|size| Known {
        name: "the own witness".to_owned(),
        size,
        root: None,
    }));
    Ok(known)
}

impl Standing {
    /// Where the paper stands, beside what is known.
    ///
    /// # Errors
    /// [`Failure`] if it is about no recovery, or what was kept contradicts it.
    fn of(paper: &Paper, acting: &Acting, seen: &[Known]) -> Result<Self, Failure> {
        let recovery = paper.recovery()?;
        let genesis = read_genesis(&acting.config.genesis, acting.config.mesh_id)?;
        let largest = largest(&recovery, seen)?;
        let asked = ListRegisters { kind: RegisterKind::Member };
        let members: Result<RegisterRows, Failure> = acting.ask("/registers/list", &asked);
        let needed = members.ok().map(|members| members.approvals_needed);
        Ok(Self {
            mesh: genesis.value().mesh.to_string(),
            epoch: recovery.epoch,
            node: recovery.node.0,
            size: recovery.size,
            root: recovery.root.to_string(),
            known_lost: largest.map_or(0, |known| known.size.saturating_sub(recovery.size)),
            shown_by: largest.map(|known| format!("{} ({} leaves)", known.name, known.size)),
            approved_by: paper.signed_by(),
            missing: needed.map(|needed| needed.saturating_sub(recovery.approvals.len())),
        })
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let last = self.size.saturating_sub(1);
        let old = self.epoch.saturating_sub(1);
        let known = match (&self.shown_by, self.known_lost) {
            (Some(shown_by), lost @ 1..) => format!("{lost} leaves at least, by {shown_by}"),
            (Some(shown_by), 0) => format!("none: the furthest that is known here is {shown_by}"),
            (None, _) => "nothing is known here of how far the ledger was".to_owned(),
        };
        vec![
            ("goes on", format!("{}, in epoch {}", self.mesh, self.epoch)),
            ("on ledger node", self.node.to_string()),
            ("kept", format!("{} leaves, 0 to {last}, as they are", self.size)),
            ("their root", self.root.clone()),
            ("lost", format!("what epoch {old} has recorded from leaf {} on", self.size)),
            ("known to be lost", known),
            (
                "sessions",
                "all end: agents begin new ones, and file what is missing anew".to_owned(),
            ),
        ]
    }

    fn to_be_signed(&self) -> String {
        let mut lines = vec![("to be signed", "a forced recovery".to_owned())];
        lines.extend(self.lines());
        pairs(&lines)
    }

    fn tell(&self, output: Output) -> Result<Exit, Failure> {
        print(output, self, || {
            let mut lines = self.lines();
            lines.push(("approved by", self.approved_by.join(" ")));
            let missing = self.missing.map(|missing| missing.to_string());
            let unknown = || "not known: the member's agent does not answer".to_owned();
            lines.push(("approvals missing", missing.unwrap_or_else(unknown)));
            let next = format!("on node {}: tally ledger recover --approved FILE", self.node);
            lines.push(("once enough have signed", next));
            pairs(&lines)
        })?;
        Ok(Exit::Done)
    }
}

/// The largest that is known. One of the same size must have the same root.
fn largest<'k>(recovery: &Recovery, seen: &'k [Known]) -> Result<Option<&'k Known>, Failure> {
    let forked = |known: &&Known| {
        known.size == recovery.size && known.root.is_some_and(|root| root != recovery.root)
    };
    if let Some(other) = seen.iter().find(forked) {
        let what = format!(
            "{}: the first {} leaves had another root: the node has another history",
            other.name, other.size
        );
        let remedy = "do not sign: keep that file, and have the nodes that are left compared";
        return Err(Failure::refused_as(what, remedy));
    }
    Ok(seen.iter().max_by_key(|known| known.size))
}

#[cfg(test)]
mod tests;
