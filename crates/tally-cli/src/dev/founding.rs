//! A mesh that comes up for the first time: its members' agents become its witnesses, and its agreements
//! are proposed by one party's agent, then signed by each party's officer through its own.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tally_agent::admin::api::{
    AgreementDone, AgreementRows, ApprovalText, RegisterDone, WitnessStatus, WriteAgreement,
    WriteRegister,
};
use tally_agent::admin::client::call;
use tally_core::Encoded;
use tally_core::agreement::{Agreement, Party};
use tally_core::id::{MemberId, MeshId};
use tally_core::register::{RegisterBody, RegisterName, Witness, register_preimage};
use tally_log::SigningKey;
use tally_net::keyfile::{self, KeyUse};

use super::directory::Directory;
use crate::agreement::{approve, read};
use crate::failure::Failure;
use crate::mesh::layout::member_dir;
use crate::witness::read_vkey;

/// The office that signs.
const ROLE: &str = "ig-lead";
/// Witnesses and voters together, at most.
const WITNESSES_MAX: usize = 16;

/// Puts all agreements of the mesh's file on the ledger, signed by all their parties. Those that are
/// there already stay as they are.
///
/// # Errors
/// [`Failure`] if a file is wrong, an agent does not answer, or the ledger says no.
pub(super) async fn sign_all(directory: &Directory) -> Result<(), Failure> {
    let mesh_id = directory.mesh_id()?;
    for path in directory.agreements() {
        let agreement = read(path)?;
        let parties = parties(directory, path, agreement.value())?;
        let Some(first) = parties.first() else { continue };
        if is_there(directory, first, &agreement).await? {
            continue;
        }
        write(directory, first, &agreement, Vec::new()).await?;
        for party in &parties {
            let approval = approval(directory.dir(), party, &mesh_id, &agreement)?;
            write(directory, party, &agreement, vec![approval]).await?;
        }
    }
    Ok(())
}

/// Has a majority of the members approve that their agents cosign what the ledger publishes. Witnesses
/// that are there already stay as they are.
///
/// # Errors
/// [`Failure`] if a key can't be read, an agent does not answer, or the ledger says no.
pub(super) async fn name_witnesses(directory: &Directory) -> Result<(), Failure> {
    let mut witnesses = Vec::new();
    let mut members = Vec::new();
    for (member, _) in directory.agents() {
        let path = member_dir(directory.dir(), member).join("witness.vkey");
        // A directory of an earlier version has none.
        if let Some(vkey) = read_vkey(&path)? {
            let (member, vkey) = (Some(member.clone()), vkey.to_string());
            witnesses.push(Witness { member, vkey, url: String::new() });
        }
        members.push(member);
    }
    let Some(first) = members.first().filter(|_| !witnesses.is_empty()) else { return Ok(()) };
    witnesses.truncate(WITNESSES_MAX.saturating_sub(directory.nodes().len()));
    let dir = data_dir(directory, first);
    let status = call::<_, WitnessStatus>(&dir, "/witness/status", &json!({})).await;
    let status = status.map_err(|why| unwritten(first, why))?;
    if !status.witnesses.is_empty() {
        return Ok(());
    }
    let body = tally_wire::encode_checked(RegisterBody::Witnesses(witnesses))
        .map_err(|why| Failure::configuration(why, "name fewer members"))?;
    let mesh_id = directory.mesh_id()?;
    let name = RegisterName::Witnesses;
    let preimage = register_preimage(&mesh_id, &name, 1, None, true, body.bytes());
    let officers = members.iter().take(members.len() / 2 + 1);
    let approvals = officers.map(|member| {
        let key = officer_key(directory.dir(), member)?;
        Ok(ApprovalText {
            member: member.to_string(),
            role: ROLE.to_owned(),
            public_key: STANDARD.encode(key.verifying_key().as_bytes()),
            signature: STANDARD.encode(key.sign(&preimage).as_bytes()),
        })
    });
    let approvals = approvals.collect::<Result<Vec<_>, Failure>>()?;
    let body = STANDARD.encode(body.bytes());
    let name = name.to_string();
    let asked = WriteRegister { name, version: 1, previous: None, body, approvals };
    let written = call::<_, RegisterDone>(&dir, "/registers/write", &asked).await;
    written.map(drop).map_err(|why| unwritten(first, why))
}

fn officer_key(dir: &Path, member: &MemberId) -> Result<SigningKey, Failure> {
    let path = member_dir(dir, member).join("officers").join(format!("{ROLE}.key"));
    keyfile::load(&path, KeyUse::Officer)
        .map_err(|why| Failure::configuration(why, "give another --dir"))
}

fn unwritten(member: &MemberId, why: impl std::fmt::Display) -> Failure {
    Failure::environment(
        format!("the witnesses could not be named: {member}: {why}"),
        format!("see log.txt of {member} in the directory"),
    )
}

/// Whose officers sign: the members that it names.
fn parties(
    directory: &Directory,
    path: &Path,
    agreement: &Agreement,
) -> Result<Vec<MemberId>, Failure> {
    let party = |party: &Party| {
        let named = match party {
            Party::Member(id) => directory.agents().any(|(member, _)| member == id).then_some(id),
            Party::Group(_) => None,
        };
        named.cloned().ok_or_else(|| {
            let what = format!("{}: a party is no member of this mesh", path.display());
            Failure::configuration(what, "name members of the mesh file as its parties")
        })
    };
    agreement.parties.iter().map(party).collect()
}

async fn is_there(
    directory: &Directory,
    member: &MemberId,
    agreement: &Encoded<Agreement>,
) -> Result<bool, Failure> {
    let (dir, nothing) = (data_dir(directory, member), json!({}));
    let listed = call::<_, AgreementRows>(&dir, "/agreements/list", &nothing).await;
    let listed = listed.map_err(|why| unanswered(member, why))?;
    let id = agreement.value().id.to_string();
    Ok(listed.rows.iter().any(|row| row.id == id))
}

async fn write(
    directory: &Directory,
    member: &MemberId,
    agreement: &Encoded<Agreement>,
    approvals: Vec<ApprovalText>,
) -> Result<(), Failure> {
    let document = STANDARD.encode(agreement.bytes());
    let asked = WriteAgreement { document, approvals, accession: false };
    let dir = data_dir(directory, member);
    let written = call::<_, AgreementDone>(&dir, "/agreements/write", &asked).await;
    written.map(drop).map_err(|why| unanswered(member, why))
}

fn approval(
    dir: &Path,
    member: &MemberId,
    mesh_id: &MeshId,
    agreement: &Encoded<Agreement>,
) -> Result<ApprovalText, Failure> {
    let key = officer_key(dir, member)?;
    Ok(approve(member, ROLE, &key, mesh_id, agreement.bytes()))
}

fn data_dir(directory: &Directory, member: &MemberId) -> PathBuf {
    member_dir(directory.dir(), member).join("data")
}

fn unanswered(member: &MemberId, why: impl std::fmt::Display) -> Failure {
    Failure::environment(
        format!("the agreements could not be signed: {member}: {why}"),
        format!("see log.txt of {member} in the directory"),
    )
}
