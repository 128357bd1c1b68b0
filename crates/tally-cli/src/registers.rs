//! Registers that a majority of the members changes: what is proposed, shown, signed and put on the
//! ledger. Members, witnesses and the rules have this way in common.

pub(crate) mod change;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tally_agent::admin::api::{
    CheckRegister, ListRegisters, RegisterDone, RegisterFits, RegisterKind, RegisterRow,
    RegisterRows, WriteRegister,
};
use tally_core::register::{RegisterBody, RegisterName};

use crate::acting::Acting;
use crate::failure::{Exit, Failure};
use crate::output::{Output, pairs, print, show};
use crate::paper::{Paper, What, read_body};
use change::Change;

/// Where a register's next version stands.
#[derive(Debug, Serialize)]
struct Standing {
    register: String,
    version: u64,
    changes: Vec<Change>,
    approved_by: Vec<String>,
    /// How many more must approve.
    missing: usize,
    /// Where it is on the ledger, once it is.
    leaf: Option<u64>,
}

/// A register and what its next version is to be.
struct Next {
    name: RegisterName,
    version: u64,
    changes: Vec<Change>,
    needed: usize,
}

/// Registers of a kind as the agent knows them.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn ask(acting: &Acting, kind: RegisterKind) -> Result<RegisterRows, Failure> {
    acting.ask("/registers/list", &ListRegisters { kind })
}

/// What a register holds.
///
/// # Errors
/// [`Failure`] if this version can't read it.
pub(crate) fn body_of(row: &RegisterRow) -> Result<RegisterBody, Failure> {
    Ok(read_body(&row.body)?.into_parts().0)
}

/// Looks whether a register may hold something, and writes a file for the officers.
///
/// # Errors
/// [`Failure`] if it may not, if nothing would change, or if the file can't be written.
pub(crate) fn propose(
    acting: &Acting,
    name: &RegisterName,
    body: RegisterBody,
    to: &Path,
    output: Output,
) -> Result<Exit, Failure> {
    let known = ask(acting, kind_of(name)?)?;
    let row = known.rows.iter().find(|row| row.name == name.to_string());
    let old = row.map(body_of).transpose()?;
    let changes = change::between(old.as_ref(), &body);
    if changes.is_empty() {
        let what = format!("{name} is so already: nothing would change");
        return Err(Failure::refused_as(what, "say what is to be other than it is"));
    }
    let encoded = tally_wire::encode_checked(body);
    let encoded = encoded.map_err(|why| Failure::usage(why, "shorten its lists and texts"))?;
    let body = STANDARD.encode(encoded.bytes());
    let asked = CheckRegister { name: name.to_string(), body: body.clone() };
    let RegisterFits {} = acting.ask("/registers/check", &asked)?;
    let version = row.map_or(0, |row| row.version).saturating_add(1);
    let previous = row.map(|row| row.leaf);
    let what = What::Register { name: name.to_string(), version, previous, body };
    let paper = Paper::new(acting, what);
    paper.write(to)?;
    let next = Next { name: name.clone(), version, changes, needed: known.approvals_needed };
    tell(&paper, next, None, output)
}

/// Shows what a file would change, signs it, and puts it on the ledger if enough have.
///
/// # Errors
/// [`Failure`] if the file is about something else, the register has moved, there is no key to sign
/// with, or the ledger says no.
pub(crate) fn approve(
    file: &Path,
    wanted: RegisterKind,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let mut paper = Paper::read(file, &acting)?;
    let What::Register { name, version, previous, body } = paper.what.clone() else {
        return Err(other_file(wanted));
    };
    let parsed: RegisterName =
        name.parse().map_err(|why| Failure::configuration(why, "have the file made anew"))?;
    if kind_of(&parsed)? != wanted {
        return Err(other_file(wanted));
    }
    let known = ask(&acting, wanted)?;
    let row = known.rows.iter().find(|row| row.name == name);
    let next = row.map_or(0, |row| row.version).saturating_add(1);
    if (next, row.map(|row| row.leaf)) != (version, previous) {
        let now = row.map_or(0, |row| row.version);
        let what = format!(
            "{name} has changed since this was proposed: it has version {now} now, and this is to be \
             version {version}"
        );
        return Err(Failure::refused_as(what, "propose it again, from what it says now"));
    }
    // The file came from somebody else: who signs sees first what it says, and what it would change.
    let old = row.map(body_of).transpose()?;
    let changes = change::between(old.as_ref(), read_body(&body)?.value());
    show(&to_be_signed(&parsed, version, &changes))?;
    paper.sign(&acting)?;
    paper.write(file)?;
    let next = Next { name: parsed, version, changes, needed: known.approvals_needed };
    if paper.approvals.len() < next.needed {
        return tell(&paper, next, None, output);
    }
    let approvals = paper.approvals.clone();
    let asked = WriteRegister { name, version, previous, body, approvals };
    let done: RegisterDone = acting.ask("/registers/write", &asked)?;
    tell(&paper, next, Some(done.leaf), output)
}

fn to_be_signed(name: &RegisterName, version: u64, changes: &[Change]) -> String {
    let title = format!("{name}, version {version}");
    let mut lines = vec![("to be signed", title)];
    lines.extend(changes.iter().map(|it| (it.what.as_str(), it.to_string())));
    pairs(&lines)
}

fn tell(paper: &Paper, next: Next, leaf: Option<u64>, output: Output) -> Result<Exit, Failure> {
    let standing = Standing {
        register: next.name.to_string(),
        version: next.version,
        changes: next.changes,
        approved_by: paper.signed_by(),
        missing: next.needed.saturating_sub(paper.approvals.len()),
        leaf,
    };
    print(output, &standing, || {
        let mut lines = vec![
            ("register", standing.register.clone()),
            ("version", standing.version.to_string()),
        ];
        lines.extend(standing.changes.iter().map(|it| (it.what.as_str(), it.to_string())));
        lines.push(("approved by", standing.approved_by.join(" ")));
        lines.push(("approvals missing", standing.missing.to_string()));
        let leaf = standing.leaf.map_or_else(|| "not yet".to_owned(), |leaf| leaf.to_string());
        lines.push(("leaf", leaf));
        pairs(&lines)
    })?;
    Ok(Exit::Done)
}

fn kind_of(name: &RegisterName) -> Result<RegisterKind, Failure> {
    match name {
        RegisterName::Member(_) => Ok(RegisterKind::Member),
        RegisterName::Witnesses => Ok(RegisterKind::Witnesses),
        RegisterName::Protocol => Ok(RegisterKind::Protocol),
        RegisterName::Agreement(_) | RegisterName::Consent(..) | RegisterName::Group(_) => {
            let what = format!("{name} is no register that the members change in this way");
            Err(Failure::configuration(what, "have the file made anew"))
        }
    }
}

fn other_file(wanted: RegisterKind) -> Failure {
    let what = match wanted {
        RegisterKind::Member => "the file is about no member",
        RegisterKind::Witnesses => "the file is not about witnesses",
        RegisterKind::Protocol => "the file is not about the rules",
    };
    let remedy = "approve it with the command for what it is about: tally member approve, tally mesh \
                  witnesses approve, tally mesh protocol approve or tally mesh group approve";
    Failure::usage(what, remedy)
}
