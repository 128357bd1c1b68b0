//! The member's witness: how it is, and what it keeps.

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::time::Timestamp;
use tally_log::SignedCheckpoint;

use super::api::{EvidenceFiles, EvidenceRow, RefusedCount, WitnessStatus};
use super::{Admin, No, answer, question};
use crate::witness::evidence::Evidence;
use crate::witness::judge::{Judge, Why};
use crate::witness::{Standing, registered};

pub(super) async fn status(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let known = admin.0.replica.known();
    let mut status = WitnessStatus {
        vkey: None,
        standing: None,
        broken: None,
        node: None,
        size: None,
        cosigned_at: None,
        refused: Vec::new(),
        evidence: Vec::new(),
        evidence_beyond: 0,
        witnesses: registered(&known).iter().map(|it| it.vkey.clone()).collect(),
        log_keys: known.log_keys.iter().map(ToString::to_string).collect(),
    };
    let Some(witness) = &admin.0.witness else { return Ok(answer(&status)) };
    let standing = witness.standing();
    status.vkey = Some(witness.key().to_string());
    status.standing = Some(standing.word().to_owned());
    match standing {
        Standing::Broken(why) => status.broken = Some(why),
        Standing::Attending(node) => status.node = Some(node.0),
        Standing::Unregistered | Standing::Searching => {}
    }
    witness.look(|judge| tell(judge, &mut status));
    Ok(answer(&status))
}

pub(super) async fn evidence(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let files = admin.0.witness.as_ref().and_then(|it| it.look(|it| it.evidence().kept().to_vec()));
    let files = files.ok_or_else(|| {
        let what = "this agent has no witness that keeps anything";
        No::unknown(what, "see: tally witness status")
    })?;
    Ok(answer(&EvidenceFiles { files }))
}

fn tell(judge: &Judge, status: &mut WitnessStatus) {
    status.size = judge.last().map(|last| last.checkpoint().size);
    let at = judge.last_at_s().map(|at_s| Timestamp(at_s.saturating_mul(1_000)));
    status.cosigned_at = at.map(Timestamp::rfc3339);
    let counts = Why::ALL.map(|why| (why, judge.refused(why)));
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts = counts.map(|(why, count)| RefusedCount { why: why.name().to_owned(), count });
    status.refused = counts.collect();
    status.evidence = judge.evidence().kept().iter().map(|(name, it)| row(name, it)).collect();
    status.evidence_beyond = judge.evidence().beyond();
}

fn row(name: &str, evidence: &Evidence) -> EvidenceRow {
    let size = |note: &str| {
        let signed = SignedCheckpoint::parse(note.as_bytes());
        signed.map_or(0, |signed| signed.checkpoint().size)
    };
    EvidenceRow {
        name: name.to_owned(),
        why: evidence.why.name().to_owned(),
        at: evidence.at.clone(),
        known_size: size(&evidence.known),
        offered_size: size(&evidence.offered),
    }
}
