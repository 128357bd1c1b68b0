//! `tally member`: who is in the mesh, with which keys and ledger nodes. A majority of the members
//! approves each change.

pub(crate) mod file;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use tally_agent::admin::api::{RegisterKind, RegisterRows, Status};
use tally_core::id::MemberId;
use tally_core::register::{MemberRecord, MemberStatus, RegisterBody, RegisterName};
use tally_net::keyfile::{self, KeyUse};

use crate::acting::Acting;
use crate::args::{
    MemberAdmitArgs, MemberKeyArgs, MemberNewArgs, MemberProposeArgs, MemberStatusArgs,
};
use crate::failure::{Exit, Failure};
use crate::mesh::layout::make_member;
use crate::output::{Output, columns, pairs, print};
use crate::registers::{self, change};
use crate::system::{new_key, read_text, write_file};
use file::{FILE_LEN_MAX, MemberFile};

/// A member as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    name: String,
    status: &'static str,
    codes: Vec<String>,
    officers: Vec<String>,
    nodes: Vec<u64>,
    address: Option<String>,
    assessment: Option<String>,
    version: u64,
    leaf: u64,
}

#[derive(Debug, Serialize)]
struct Rows {
    rows: Vec<Row>,
    approvals_needed: usize,
}

/// `tally member list`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn list(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let known = registers::ask(&acting, RegisterKind::Member)?;
    let mut rows = Vec::new();
    for row in &known.rows {
        if let RegisterBody::Member(record) = registers::body_of(row)? {
            rows.push(shown(&record, row.version, row.leaf));
        }
    }
    let answer = Rows { rows, approvals_needed: known.approvals_needed };
    print(output, &answer, || {
        let head = ["member", "name", "status", "codes", "officers", "nodes", "assessment"];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        table.extend(answer.rows.iter().map(|row| {
            let nodes: Vec<_> = row.nodes.iter().map(u64::to_string).collect();
            vec![
                row.id.clone(),
                row.name.clone(),
                row.status.to_owned(),
                row.codes.join(" "),
                row.officers.join(" "),
                nodes.join(" "),
                row.assessment.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        }));
        columns(&table)
    })?;
    Ok(Exit::Done)
}

/// `tally member new`.
///
/// # Errors
/// [`Failure`] if the id is none, or something can't be made.
pub(crate) fn new(args: &MemberNewArgs, output: Output) -> Result<Exit, Failure> {
    let id: MemberId = args.member.parse().map_err(|why| Failure::usage(why, SEE))?;
    let path = args.to.join("member.toml");
    if args.to.join("ca.pem").exists() || path.exists() {
        let what = format!("{}: there is a member already", args.to.display());
        return Err(Failure::usage(what, "give a new directory"));
    }
    let record = make_member(&args.to, &id, false)?.record;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut file = format!(
        "tally = 1\nid = {}\nname = {}\nca = \"ca.pem\"\nagent_key = {}\n",
        text(id.as_str()),
        text(&args.name),
        text(&change::key(&record.agent_key)),
    );
    // Writing to a text can't fail.
    let _ = writeln!(
        file,
        "# codes = {{ ods = \"…\" }}\n# address = \"HOST:PORT\", where other members' agents reach \
         its own\n\n[officers]"
    );
    for officer in &record.officers {
        let _ = writeln!(file, "{} = {}", officer.role, text(&change::key(&officer.key)));
    }
    write_file(&path, file.as_bytes())?;
    #[derive(Serialize)]
    struct Made {
        member: String,
        dir: String,
        file: String,
    }
    let made = Made {
        member: id.to_string(),
        dir: args.to.display().to_string(),
        file: path.display().to_string(),
    };
    print(output, &made, || {
        pairs(&[
            ("member", made.member.clone()),
            ("keys in", made.dir.clone()),
            ("next", format!("send {} to a member: tally member admit FILE", made.file)),
        ])
    })?;
    Ok(Exit::Done)
}

/// `tally member key`.
///
/// # Errors
/// [`Failure`] if the use is none, or the file can't be read or made.
pub(crate) fn key(args: &MemberKeyArgs, output: Output) -> Result<Exit, Failure> {
    let used_for = match args.used_for.as_str() {
        "agent" => KeyUse::Agent,
        "officer" => KeyUse::Officer,
        other => {
            let what = format!("a member has no key for {other}");
            return Err(Failure::usage(what, "say agent or officer"));
        }
    };
    let made = !args.file.exists();
    if made {
        keyfile::create(&args.file, used_for, &new_key()?)
            .map_err(|why| Failure::environment(why, "give a file that can be made"))?;
    }
    let key = keyfile::load(&args.file, used_for)
        .map_err(|why| Failure::configuration(why, "give a key file of this use"))?;
    #[derive(Serialize)]
    struct Shown {
        file: String,
        made: bool,
        public_key: String,
    }
    let public_key = change::key(&key.verifying_key());
    let shown = Shown { file: args.file.display().to_string(), made, public_key };
    print(output, &shown, || shown.public_key.clone())?;
    Ok(Exit::Done)
}

/// `tally member admit`.
///
/// # Errors
/// [`Failure`] if the file is not as it must be, or there is such a member.
pub(crate) fn admit(
    args: &MemberAdmitArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let text = read_text(&args.file, FILE_LEN_MAX as u64)?;
    let file = read(&acting, &text, &args.file)?;
    let known = registers::ask(&acting, RegisterKind::Member)?;
    if current(&known, &file.id)?.is_some() {
        let what = format!("{} is a member already", file.id);
        return Err(Failure::refused_as(what, "change it: tally member propose FILE"));
    }
    put(&acting, file, None, &args.to, output)
}

/// `tally member propose`.
///
/// # Errors
/// [`Failure`] if the file is not as it must be, or there is no such member.
pub(crate) fn propose(
    args: &MemberProposeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let file = match (&args.file, &args.member) {
        (Some(path), _) => read(&acting, &read_text(path, FILE_LEN_MAX as u64)?, path)?,
        (None, member) => {
            let said = member.iter().map(|id| ("id", id.as_str()));
            let said = said.chain(args.set.iter().map(|(key, text)| (key.as_str(), text.as_str())));
            let mut text = "tally = 1\n".to_owned();
            for (key, value) in said {
                // Writing to a text can't fail.
                let _ = writeln!(text, "{key} = {}", serde_json::Value::from(value));
            }
            read(&acting, &text, Path::new("--set"))?
        }
    };
    let known = registers::ask(&acting, RegisterKind::Member)?;
    let old = current(&known, &file.id)?.ok_or_else(|| unknown(&file.id))?;
    put(&acting, file, Some(old), &args.to, output)
}

/// `tally member suspend`, `resume` and `remove`.
///
/// # Errors
/// [`Failure`] if there is no such member, or it has that status.
pub(crate) fn set_status(
    args: &MemberStatusArgs,
    status: MemberStatus,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let id: MemberId = args.member.parse().map_err(|why| Failure::usage(why, SEE))?;
    let known = registers::ask(&acting, RegisterKind::Member)?;
    let mut record = current(&known, &id)?.ok_or_else(|| unknown(&id))?;
    if record.status == MemberStatus::Removed {
        let what = format!("{id} was removed from the mesh");
        return Err(Failure::refused_as(what, "admit the organisation under a new id"));
    }
    record.status = status;
    let body = RegisterBody::Member(Box::new(record));
    registers::propose(&acting, &RegisterName::Member(id), body, &args.to, output)
}

const SEE: &str = "see: tally help member";

fn put(
    acting: &Acting,
    file: MemberFile,
    old: Option<MemberRecord>,
    to: &Path,
    output: Output,
) -> Result<Exit, Failure> {
    let name = RegisterName::Member(file.id.clone());
    let record = file.apply(old);
    let record = record.map_err(|why| Failure::configuration(why, "say so in the file"))?;
    registers::propose(acting, &name, RegisterBody::Member(Box::new(record)), to, output)
}

/// Reads a member's file; the keys of its ledger nodes are named as this mesh names them.
fn read(acting: &Acting, text: &str, path: &Path) -> Result<MemberFile, Failure> {
    let status: Status = acting.ask("/status", &serde_json::json!({}))?;
    let mesh: tally_core::id::MeshName = status
        .mesh
        .parse()
        .map_err(|why| Failure::environment(why, "use a tally of the agent's version"))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    MemberFile::read(text, folder, &mesh.log(0))
        .map_err(|problems| Failure::problems(path, &problems))
}

fn current(known: &RegisterRows, id: &MemberId) -> Result<Option<MemberRecord>, Failure> {
    let name = RegisterName::Member(id.clone()).to_string();
    let Some(row) = known.rows.iter().find(|row| row.name == name) else { return Ok(None) };
    match registers::body_of(row)? {
        RegisterBody::Member(record) => Ok(Some(*record)),
        _ => Ok(None),
    }
}

fn unknown(id: &MemberId) -> Failure {
    let what = format!("{id} is no member of the mesh");
    Failure::refused_as(what, "see who is: tally member list; or admit it: tally member admit FILE")
}

fn shown(record: &MemberRecord, version: u64, leaf: u64) -> Row {
    Row {
        id: record.id.to_string(),
        name: record.name.clone(),
        status: change::status(record.status),
        codes: record.codes.iter().map(|it| format!("{}:{}", it.system, it.value)).collect(),
        officers: record.officers.iter().map(|it| it.role.to_string()).collect(),
        nodes: record.nodes.iter().map(|it| it.id.0).collect(),
        address: record.address.as_ref().map(ToString::to_string),
        assessment: record.assessment.map(change::assessed),
        version,
        leaf,
    }
}
