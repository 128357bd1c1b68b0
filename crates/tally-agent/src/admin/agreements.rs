//! Agreements: proposed, signed and read. Officers' keys are never here: what comes is a document
//! and signatures, and the ledger checks both.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::Encoded;
use tally_core::agreement::{Agreement, Party};
use tally_core::entry::Algorithm;
use tally_core::id::{AgreementId, KeyId, LeafIndex, MemberId};
use tally_core::ledger::{RegisterState, RegisterValue, Registers, Rejection};
use tally_core::register::{AgreementRecord, Approval, RegisterBody, RegisterName};
use tally_log::{Signature, VerifyingKey};
use tally_wire::{decode, encode_checked};
use tracing::info;

use super::api::{
    AgreementDone, AgreementRow, AgreementRows, ApprovalText, GetAgreement, SuspendAgreement,
    WriteAgreement,
};
use super::{Admin, No, answer, question};
use crate::clock::wall;
use crate::recorder::WriteError;
use crate::replica::Known;

/// How often a write is made anew because somebody else signed meanwhile.
const ATTEMPTS_MAX: u32 = 8;

pub(super) async fn write(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<WriteAgreement>(request).await?;
    let document = document(&asked.document)?;
    let new = asked.approvals.iter().map(approval).collect::<Result<Vec<_>, _>>()?;
    let id = document.value().id.clone();
    let name = RegisterName::Agreement(id.clone());
    for attempt in 1..=ATTEMPTS_MAX {
        let again = attempt < ATTEMPTS_MAX;
        let (body, approvals) = next(&admin, &document, &new, asked.accession)?;
        let version = admin.0.recorder.version(&name);
        match admin.0.recorder.write_register(&name, true, body, approvals.clone()).await {
            Ok(written) => {
                info!(agreement = %id, leaf = written.leaf.0, "agreement written");
                let registers = &admin.0.replica.known().registers;
                let (leaf, version) = (written.leaf.0, written.version);
                return Ok(answer(&done(registers, &document, &approvals, leaf, version)));
            }
            Err(WriteError::Moved) => admin.0.recorder.wait_for_move(&name, version).await,
            // Somebody signed between the two looks at the register: what is written is made anew with
            // that signature.
            Err(WriteError::Rejected(Rejection::ApprovalsLost)) if again => {}
            Err(WriteError::Rejected(rejection)) => return Err(rejected(rejection)),
            Err(other) => return Err(unsaid(&other)),
        }
    }
    Err(unsaid(&WriteError::Moved))
}

pub(super) async fn suspend(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<SuspendAgreement>(request).await?;
    let id = asked.id.parse::<AgreementId>().map_err(|_| unknown(&asked.id))?;
    let name = RegisterName::Agreement(id.clone());
    let own = &admin.0.member;
    for _ in 1..=ATTEMPTS_MAX {
        let known = admin.0.replica.known();
        let version = admin.0.recorder.version(&name);
        let (record, approvals) =
            known.registers.agreement(&id).ok_or_else(|| unknown(&asked.id))?;
        let mut record = record.clone();
        let place = record.suspended_by.binary_search(own);
        match (place, asked.suspended) {
            (Err(place), true) => record.suspended_by.insert(place, own.clone()),
            (Ok(place), false) => drop(record.suspended_by.remove(place)),
            (_, suspended) => {
                let what = if suspended { "has" } else { "has not" };
                let what = format!("{own} {what} suspended {id}");
                return Err(No::rejected(what, "see: tally agreement show ID"));
            }
        }
        // Whoever has left a group since is no party any more, and takes their approval along.
        let registers = &known.registers;
        let members = members(registers, record.document.value());
        record.suspended_by.retain(|member| members.contains(member));
        let approvals: Vec<_> =
            approvals.iter().filter(|it| members.contains(&it.member)).cloned().collect();
        let document = record.document.clone();
        let body = encode_checked(RegisterBody::Agreement(Box::new(record)));
        let body =
            body.map_err(|why| No::ours(why.to_string(), "look at it: tally agreement show"))?;
        match admin.0.recorder.write_register(&name, true, body, approvals.clone()).await {
            Ok(written) => {
                info!(agreement = %id, leaf = written.leaf.0, suspended = asked.suspended, "agreement");
                let (leaf, version) = (written.leaf.0, written.version);
                return Ok(answer(&done(registers, &document, &approvals, leaf, version)));
            }
            Err(WriteError::Moved) => admin.0.recorder.wait_for_move(&name, version).await,
            // Somebody signed between the two looks at the register.
            Err(WriteError::Rejected(Rejection::ApprovalsLost)) => {}
            Err(WriteError::Rejected(rejection)) => return Err(rejected(rejection)),
            Err(other) => return Err(unsaid(&other)),
        }
    }
    Err(unsaid(&WriteError::Moved))
}

pub(super) async fn get(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<GetAgreement>(request).await?;
    let id = asked.id.parse::<AgreementId>().map_err(|_| unknown(&asked.id))?;
    let known = admin.0.replica.known();
    let state = known.registers.get(&RegisterName::Agreement(id.clone()));
    let state = state.ok_or_else(|| unknown(&asked.id))?;
    let row = row(&known, state).ok_or_else(|| unknown(&asked.id))?;
    let Some(version) = asked.version.filter(|version| *version != row.version) else {
        return Ok(answer(&row));
    };
    let found = admin.0.recorder.agreement_at(state.leaf, version).await;
    let found = found.map_err(|why| No::ours(why.to_string(), "see: tally ledger status"))?;
    let Some((leaf, record, approvals)) = found else {
        let what = format!("the ledger has no {id}@{version}, and now has version {}", row.version);
        return Err(No::unknown(what, "name a version that there was"));
    };
    Ok(answer(&AgreementRow {
        standing: "replaced".to_owned(),
        ..row_of(&known, leaf, &record, &approvals)
    }))
}

pub(super) async fn list(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let known = admin.0.replica.known();
    let rows = known.registers.iter().filter_map(|(_, state)| row(&known, state)).collect();
    Ok(answer(&AgreementRows { rows }))
}

fn unknown(id: &str) -> No {
    No::unknown(
        format!("the ledger has no agreement {id}"),
        "see which there are: tally agreement list",
    )
}

pub(super) fn rejected(rejection: Rejection) -> No {
    let what = format!("the ledger rejected it ({rejection}): {}", rejection.meaning());
    No::rejected(what, format!("see: tally explain {rejection}"))
}

pub(super) fn unsaid(why: &WriteError) -> No {
    No::ours(why.to_string(), "look at it again: tally agreement list")
}

/// What the register gets: the signatures that stand stay, as long as the document does, and when
/// members join it.
fn next(
    admin: &Admin,
    document: &Encoded<Agreement>,
    new: &[Approval],
    accession: bool,
) -> Result<(Encoded<RegisterBody>, Vec<Approval>), No> {
    let known = admin.0.replica.known();
    let (mut approvals, mut suspended_by) = (new.to_vec(), Vec::new());
    if let Some((record, standing)) = known.registers.agreement(&document.value().id) {
        suspended_by.clone_from(&record.suspended_by);
        if accession || record.document.bytes() == document.bytes() {
            let key = |it: &Approval| (it.member.clone(), it.role.clone());
            // Whoever has left a group since is no party any more, and takes their approval along.
            let members = members(&known.registers, document.value());
            let kept = standing.iter().filter(|old| members.contains(&old.member));
            let kept = kept.filter(|old| new.iter().all(|one| key(one) != key(old)));
            approvals.extend(kept.cloned());
        }
    }
    approvals.sort_by(|one, other| (&one.member, &one.role).cmp(&(&other.member, &other.role)));
    let record = AgreementRecord { document: document.clone(), suspended_by };
    let body = encode_checked(RegisterBody::Agreement(Box::new(record)));
    let body = body.map_err(|why| No::caller(format!("the document: {why}"), "shorten it"))?;
    Ok((body, approvals))
}

fn document(text: &str) -> Result<Encoded<Agreement>, No> {
    let bad = |why: String| {
        No::caller(format!("the document: {why}"), "use a tally of the same version as the agent")
    };
    let bytes = STANDARD.decode(text).map_err(|why| bad(why.to_string()))?;
    decode(&bytes).map_err(|why| bad(why.to_string()))
}

pub(super) fn approval(text: &ApprovalText) -> Result<Approval, No> {
    let bad = |what: &str| {
        No::caller(
            format!("the signature's {what} can't be read"),
            "use a tally of the same version as the agent",
        )
    };
    let key = fixed(&text.public_key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let key = key.ok_or_else(|| bad("key"))?;
    let signature = fixed(&text.signature).ok_or_else(|| bad("bytes"))?;
    Ok(Approval {
        member: text.member.parse().map_err(|_| bad("member"))?,
        role: text.role.parse().map_err(|_| bad("role"))?,
        key: KeyId::of(&key),
        algorithm: Algorithm::EdDsa,
        signature: Signature::from_bytes(signature),
    })
}

pub(super) fn fixed<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn done(
    registers: &Registers,
    document: &Encoded<Agreement>,
    approvals: &[Approval],
    leaf: u64,
    version: u64,
) -> AgreementDone {
    let missing = missing(registers, document.value(), approvals);
    AgreementDone { leaf, register_version: version, signed_by: signers(approvals), missing }
}

fn row(known: &Known, state: &RegisterState) -> Option<AgreementRow> {
    let RegisterValue::Agreement { record, approvals } = &state.value else { return None };
    Some(row_of(known, state.leaf, record, approvals))
}

fn row_of(
    known: &Known,
    leaf: LeafIndex,
    record: &AgreementRecord,
    approvals: &[Approval],
) -> AgreementRow {
    let document = record.document.value();
    // Ledger time stands still while nothing is recorded; the host's clock is near it.
    let today = known.time.max(wall()).london_date();
    AgreementRow {
        id: document.id.to_string(),
        version: document.version,
        title: document.title.clone(),
        start: document.start.to_string(),
        review: document.review.to_string(),
        end: document.end.to_string(),
        parties: document.parties.iter().map(ToString::to_string).collect(),
        signed_by: signers(approvals),
        missing: missing(&known.registers, document, approvals),
        suspended_by: record.suspended_by.iter().map(ToString::to_string).collect(),
        standing: document.standing_on(today).to_string(),
        leaf: leaf.0,
        document: STANDARD.encode(record.document.bytes()),
    }
}

fn signers(approvals: &[Approval]) -> Vec<String> {
    approvals.iter().map(|it| it.member.to_string()).collect()
}

/// Members of the agreement, groups as they are now, whose officers have not signed.
fn missing(registers: &Registers, document: &Agreement, approvals: &[Approval]) -> Vec<String> {
    let signed = |member: &MemberId| approvals.iter().any(|it| it.member == *member);
    let missing = members(registers, document).into_iter().filter(|member| !signed(member));
    missing.map(|member| member.to_string()).collect()
}

/// All who may sign: parties by name, and the members of groups as they are now.
fn members(registers: &Registers, document: &Agreement) -> BTreeSet<MemberId> {
    let parties = document.parties.iter().flat_map(|party| match party {
        Party::Member(id) => vec![id.clone()],
        Party::Group(id) => registers.group(id).map(|it| it.members.clone()).unwrap_or_default(),
    });
    parties.collect()
}
