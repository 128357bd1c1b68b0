//! `tally mesh group`: groups of members, which agreements may name instead of listing them. A
//! majority of the members approves who is in one.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;
use tally_agent::admin::api::{GroupDone, GroupRows, WriteGroup};
use tally_core::id::{GroupId, MemberId};
use tally_core::register::{GroupRecord, RegisterBody};

use crate::acting::Acting;
use crate::args::{GroupApproveArgs, GroupProposeArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, pairs, print};
use crate::paper::{Paper, What, read_group};

/// Where a group's next version stands.
#[derive(Debug, Serialize)]
struct Standing {
    group: String,
    members: Vec<String>,
    version: u64,
    approved_by: Vec<String>,
    /// How many more must approve.
    missing: usize,
    /// Where it is on the ledger, once it is.
    leaf: Option<u64>,
}

/// `tally mesh group propose`.
///
/// # Errors
/// [`Failure`] if a name is none, the agent is not there, or the file can't be written.
pub(crate) fn propose(
    args: &GroupProposeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let bad = |why: tally_core::id::BadId| Failure::usage(why, "see: tally help mesh group");
    let id: GroupId = args.group.parse().map_err(bad)?;
    let members = args.members.iter().map(|it| it.parse::<MemberId>().map_err(bad));
    let mut members = members.collect::<Result<Vec<_>, _>>()?;
    members.sort();
    members.dedup();
    let known: GroupRows = acting.ask("/groups/list", &json!({}))?;
    let row = known.rows.iter().find(|row| row.id == args.group);
    let body = tally_wire::encode_checked(RegisterBody::Group(GroupRecord { id, members }));
    let body = body.map_err(|why| Failure::usage(why, "name fewer members"))?;
    let paper = Paper::new(
        &acting,
        What::Group {
            version: row.map_or(0, |row| row.version).saturating_add(1),
            previous: row.map(|row| row.leaf),
            body: STANDARD.encode(body.bytes()),
        },
    );
    paper.write(&args.to)?;
    tell(&paper, known.approvals_needed, None, output)
}

/// `tally mesh group approve`.
///
/// # Errors
/// [`Failure`] if the file is none, there is no key to sign with, or the ledger says no.
pub(crate) fn approve(
    args: &GroupApproveArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let mut paper = Paper::read(&args.file, &acting)?;
    let What::Group { version, previous, body } = paper.what.clone() else {
        let remedy = "it is an accession: tally agreement accept FILE";
        return Err(Failure::usage("the file is about no group", remedy));
    };
    paper.sign(&acting)?;
    paper.write(&args.file)?;
    let needed = acting.ask::<_, GroupRows>("/groups/list", &json!({}))?.approvals_needed;
    if paper.approvals.len() < needed {
        return tell(&paper, needed, None, output);
    }
    let asked = WriteGroup { version, previous, body, approvals: paper.approvals.clone() };
    let done: GroupDone = acting.ask("/groups/write", &asked)?;
    tell(&paper, needed, Some(done.leaf), output)
}

/// `tally mesh group list`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn list(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let known: GroupRows = acting.ask("/groups/list", &json!({}))?;
    print(output, &known, || {
        let head = ["group", "version", "members"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(
            known
                .rows
                .iter()
                .map(|row| vec![row.id.clone(), row.version.to_string(), row.members.join(" ")]),
        );
        columns(&rows)
    })?;
    Ok(Exit::Done)
}

fn tell(paper: &Paper, needed: usize, leaf: Option<u64>, output: Output) -> Result<Exit, Failure> {
    let What::Group { version, body, .. } = &paper.what else {
        return Err(Failure::usage("the file is about no group", "see: tally help mesh group"));
    };
    let group = read_group(body)?.1;
    let standing = Standing {
        group: group.id.to_string(),
        members: group.members.iter().map(ToString::to_string).collect(),
        version: *version,
        approved_by: paper.signed_by(),
        missing: needed.saturating_sub(paper.approvals.len()),
        leaf,
    };
    print(output, &standing, || {
        pairs(&[
            ("group", standing.group.clone()),
            ("members", standing.members.join(" ")),
            ("version", standing.version.to_string()),
            ("approved by", standing.approved_by.join(" ")),
            ("approvals missing", standing.missing.to_string()),
            ("leaf", standing.leaf.map_or_else(|| "not yet".to_owned(), |leaf| leaf.to_string())),
        ])
    })?;
    Ok(Exit::Done)
}
