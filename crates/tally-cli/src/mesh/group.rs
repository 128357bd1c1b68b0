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
use crate::output::{Output, columns, pairs, print, show};
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
    let known: GroupRows = acting.ask("/groups/list", &json!({}))?;
    let needed = known.approvals_needed;
    // The file came from somebody else: who signs sees first what it says, and what it would change.
    let (_, group) = read_group(&body)?;
    show(&to_be_signed(&group, version, &known))?;
    paper.sign(&acting)?;
    paper.write(&args.file)?;
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

/// Who would be in a group, and who of them is not yet, and who is and would not be.
fn to_be_signed(group: &GroupRecord, version: u64, known: &GroupRows) -> String {
    let name = group.id.to_string();
    let members: Vec<_> = group.members.iter().map(ToString::to_string).collect();
    let row = known.rows.iter().find(|row| row.id == name);
    let now = row.map(|row| row.members.as_slice()).unwrap_or_default();
    let joins = members.iter().filter(|it| !now.contains(it)).cloned();
    let leaves = now.iter().filter(|it| !members.contains(it)).cloned();
    let or_nobody = |names: Vec<String>| match names.as_slice() {
        [] => "nobody".to_owned(),
        names => names.join(" "),
    };
    let (joins, leaves) = (or_nobody(joins.collect()), or_nobody(leaves.collect()));
    pairs(&[
        ("to be signed", format!("group {name}, version {version}")),
        ("members", or_nobody(members)),
        ("new", joins),
        ("no longer", leaves),
    ])
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

#[cfg(test)]
mod tests {
    use tally_agent::admin::api::GroupRow;

    use super::*;

    #[test]
    fn who_signs_sees_who_joins_and_who_leaves() {
        let members = ["LZ8", "LZ9"].map(|it| it.parse().unwrap()).to_vec();
        let group = GroupRecord { id: "councils".parse().unwrap(), members };
        let none = GroupRows { rows: Vec::new(), approvals_needed: 2 };
        let fresh = to_be_signed(&group, 1, &none);
        assert!(fresh.contains("group councils, version 1"), "{fresh}");
        let line = |text: &str, head: &str| {
            let line = text.lines().find(|line| line.starts_with(head)).unwrap();
            line.trim_start_matches(head).trim().to_owned()
        };
        assert_eq!(
            (line(&fresh, "new"), line(&fresh, "no longer")),
            ("LZ8 LZ9".into(), "nobody".into())
        );
        let row = GroupRow {
            id: "councils".to_owned(),
            members: vec!["LZ9".to_owned(), "RZ9".to_owned()],
            version: 1,
            leaf: 7,
        };
        let next = to_be_signed(&group, 2, &GroupRows { rows: vec![row], approvals_needed: 2 });
        assert_eq!(line(&next, "members"), "LZ8 LZ9");
        assert_eq!((line(&next, "new"), line(&next, "no longer")), ("LZ8".into(), "RZ9".into()));
    }
}
