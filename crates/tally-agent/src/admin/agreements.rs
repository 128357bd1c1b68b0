//! Agreements: proposed, signed and read. Officers' keys are never here: what comes is a document
//! and signatures, and the ledger checks both.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::Encoded;
use tally_core::agreement::{Agreement, Party};
use tally_core::entry::Algorithm;
use tally_core::id::{AgreementId, KeyId};
use tally_core::ledger::{RegisterState, RegisterValue, Rejection};
use tally_core::register::{AgreementRecord, Approval, RegisterBody, RegisterName};
use tally_log::{Signature, VerifyingKey};
use tally_wire::{decode, encode_checked};
use tracing::info;

use super::api::{
    AgreementDone, AgreementRow, AgreementRows, ApprovalText, GetAgreement, WriteAgreement,
};
use super::{Admin, No, answer, question};
use crate::recorder::WriteError;

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
        let (body, approvals) = next(&admin, &document, &new)?;
        let version = admin.0.recorder.version(&name);
        match admin.0.recorder.write_register(&name, true, body, approvals.clone()).await {
            Ok(written) => {
                info!(agreement = %id, leaf = written.leaf.0, "agreement written");
                return Ok(answer(&done(&document, &approvals, written.leaf.0, written.version)));
            }
            Err(WriteError::Moved) => admin.0.recorder.wait_for_move(&name, version).await,
            // Somebody signed between the two looks at the register: what is written is made anew with
            // that signature.
            Err(WriteError::Rejected(Rejection::ApprovalsLost)) if again => {}
            Err(WriteError::Rejected(rejection)) => {
                let what = format!("the ledger rejected it ({rejection}): {}", rejection.meaning());
                return Err(No::rejected(what, format!("see: tally explain {rejection}")));
            }
            Err(other) => {
                return Err(No::ours(other.to_string(), "look at it again: tally agreement list"));
            }
        }
    }
    Err(No::ours(WriteError::Moved.to_string(), "try again"))
}

pub(super) async fn get(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<GetAgreement>(request).await?;
    let unknown = || {
        No::unknown(
            format!("the ledger has no agreement {}", asked.id),
            "see which there are: tally agreement list",
        )
    };
    let id = asked.id.parse::<AgreementId>().map_err(|_| unknown())?;
    let known = admin.0.replica.known();
    let state = known.registers.get(&RegisterName::Agreement(id));
    state.and_then(row).map(|row| answer(&row)).ok_or_else(unknown)
}

pub(super) async fn list(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let known = admin.0.replica.known();
    let rows = known.registers.iter().filter_map(|(_, state)| row(state)).collect();
    Ok(answer(&AgreementRows { rows }))
}

/// What the register gets: the signatures that stand stay, as long as the document does.
fn next(
    admin: &Admin,
    document: &Encoded<Agreement>,
    new: &[Approval],
) -> Result<(Encoded<RegisterBody>, Vec<Approval>), No> {
    let known = admin.0.replica.known();
    let (mut approvals, mut suspended_by) = (new.to_vec(), Vec::new());
    if let Some((record, standing)) = known.registers.agreement(&document.value().id) {
        suspended_by.clone_from(&record.suspended_by);
        if record.document.bytes() == document.bytes() {
            let key = |it: &Approval| (it.member.clone(), it.role.clone());
            let kept = standing.iter().filter(|old| new.iter().all(|one| key(one) != key(old)));
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

fn approval(text: &ApprovalText) -> Result<Approval, No> {
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
    document: &Encoded<Agreement>,
    approvals: &[Approval],
    leaf: u64,
    version: u64,
) -> AgreementDone {
    let signed_by: Vec<_> = approvals.iter().map(|it| it.member.to_string()).collect();
    let parties = document.value().parties.iter().map(party);
    let missing = parties.filter(|party| !signed_by.contains(party)).collect();
    AgreementDone { leaf, register_version: version, signed_by, missing }
}

fn row(state: &RegisterState) -> Option<AgreementRow> {
    let RegisterValue::Agreement { record, approvals } = &state.value else { return None };
    let document = record.document.value();
    Some(AgreementRow {
        id: document.id.to_string(),
        version: document.version,
        title: document.title.clone(),
        start: document.start.to_string(),
        review: document.review.to_string(),
        end: document.end.to_string(),
        parties: document.parties.iter().map(party).collect(),
        signed_by: approvals.iter().map(|it| it.member.to_string()).collect(),
        suspended_by: record.suspended_by.iter().map(ToString::to_string).collect(),
        leaf: state.leaf.0,
        document: STANDARD.encode(record.document.bytes()),
    })
}

fn party(party: &Party) -> String {
    match party {
        Party::Member(id) => id.to_string(),
        Party::Group(id) => id.to_string(),
    }
}
