//! The end of retention: what would go, by whose authority it goes, and the holds that keep it.
//!
//! Invariant: the officer's key is never here: what comes is a certificate and a signature for it, and
//! nothing is destroyed before the registers say that the ledger will take the two. Access history
//! outlives a request to be erased (UK GDPR Art 17(3)): one person goes before the end of retention only
//! where a court or a statute demands it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::entry::{Algorithm, Disposal, DisposalBasis, Disposed, Environment};
use tally_core::id::{KeyId, Salt16};
use tally_core::ledger::check_disposal;
use tally_core::record::Person;
use tally_core::time::Date;
use tally_log::{Signature, VerifyingKey, sha256};
use tokio::task::spawn_blocking;
use tracing::info;

use super::agreements::fixed;
use super::api::{
    Certificate, ErasureDone, ErasurePlan, ErasurePrepared, ErasureYear, HoldDone, HoldRow,
    HoldRows, HoldSubject, PlanErasure, PrepareErasure, ReleaseSubject, RunErasure,
};
use super::{Admin, No, answer, person, question};
use crate::clock::wall;
use crate::store::{DisposalOrder, DisposalPlan, KnownAs, StoreError, YearPlan};

/// How long an answer waits for the entry to be on the ledger.
const ENTRY_WAIT_MAX: Duration = Duration::from_secs(10);

pub(super) async fn plan(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<PlanErasure>(request).await?;
    admin.follow_holds().await?;
    let plan = admin.0.store.plan_disposal(asked.before).await?;
    Ok(answer(&ErasurePlan {
        before: asked.before,
        ended: asked.before <= admin.ledger_day().parts().0,
        years: plan.years.iter().map(year).collect(),
        keys: plan.keys(),
        openings: plan.openings(),
        held: plan.held(),
    }))
}

pub(super) async fn prepare(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<PrepareErasure>(request).await?;
    let basis = basis(&asked.basis)?;
    let names = admin.names(asked.subject.as_deref())?;
    let (plan, before) = admin.counted(basis, asked.before, names).await?;
    let made_at = wall().rfc3339();
    let certificate = admin.certificate(basis, before, &plan, &asked.role, made_at);
    if certificate.keys == 0 && certificate.openings == 0 {
        let what = if certificate.held > 0 {
            "nothing is left there but what a legal hold keeps"
        } else {
            "nothing is left there to be disposed of"
        };
        return Err(No::rejected(what, "see what there is: tally erase plan --before YEAR"));
    }
    let text = text_of(&certificate)?;
    Ok(answer(&ErasurePrepared { text, certificate }))
}

pub(super) async fn run(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<RunErasure>(request).await?;
    let signed = serde_json::from_str::<Certificate>(&asked.text).map_err(|_| {
        No::caller("the certificate can't be read", "use a tally of the same version as the agent")
    })?;
    let basis = basis(&signed.basis)?;
    let names = admin.names(asked.subject.as_deref())?;
    let before = asked.subject.is_none().then_some(signed.before);
    let (plan, before) = admin.counted(basis, before, names.clone()).await?;
    let (role, made_at) = (&signed.authorised_by, signed.made_at.clone());
    if text_of(&admin.certificate(basis, before, &plan, role, made_at))? != asked.text {
        return Err(moved());
    }
    let disposal = admin.disposal(&asked, &signed, basis)?;
    admin.check(&disposal)?;
    let Disposed { keys, openings, held, certificate, .. } = disposal.what;
    let order = DisposalOrder { disposal, certificate: asked.text.into_bytes(), subject: names };
    admin.0.store.dispose(order).await.map_err(no)?;
    admin.0.store.finish_disposals().await?;
    info!(basis = basis.code(), before, keys, openings, held, %certificate, "disposed of");
    admin.0.recorder.flush(ENTRY_WAIT_MAX).await;
    Ok(answer(&ErasureDone {
        keys,
        openings,
        held,
        certificate: certificate.to_string(),
        on_ledger: admin.0.store.outbox_len() == 0,
    }))
}

pub(super) async fn hold(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<HoldSubject>(request).await?;
    let code = asked.reason_code;
    let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if code.is_empty() || code.len() > 32 || !code.chars().all(is_code) {
        // Whoever writes a sentence there may name the person.
        let what = "the reason is no code: expected 1 to 32 of a-z, 0-9 and '-'";
        return Err(No::caller(what, "write a code, such as public-inquiry"));
    }
    let names = admin.names(Some(&asked.subject))?;
    let before = admin.0.store.holds_by_reason().await?;
    admin.0.store.hold(names, code).await?;
    let changed = admin.0.store.holds_by_reason().await? != before;
    info!(changed, "legal hold");
    Ok(answer(&HoldDone { held: true, changed }))
}

pub(super) async fn release(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ReleaseSubject>(request).await?;
    let names = admin.names(Some(&asked.subject))?;
    let changed = admin.0.store.release(names).await?;
    info!(changed, "legal hold released");
    Ok(answer(&HoldDone { held: false, changed }))
}

pub(super) async fn holds(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let holds = admin.0.store.holds_by_reason().await?;
    let rows = holds.into_iter().map(|(reason_code, names)| HoldRow { reason_code, names });
    Ok(answer(&HoldRows { rows: rows.collect() }))
}

impl Admin {
    /// Ledger time's day: it stands still while nothing is recorded, so it is never ahead.
    fn ledger_day(&self) -> Date {
        self.0.replica.known().time.london_date()
    }

    /// Each name that a person may be kept under; none of nobody.
    fn names(&self, subject: Option<&str>) -> Result<Vec<Person>, No> {
        let Some(subject) = subject else { return Ok(Vec::new()) };
        Ok(self.known_as(person(subject)?).into_iter().collect())
    }

    /// Who was put on hold under a local id is on hold under the NHS number that was learnt since.
    /// Looked at whenever something would go, as nothing else tells that a number was learnt.
    async fn follow_holds(&self) -> Result<(), No> {
        if self.0.store.holds_by_reason().await?.is_empty() {
            return Ok(());
        }
        let sources = Arc::clone(&self.0.sources);
        let renamed = spawn_blocking(move || {
            sources.renamed().map(|(person, before)| KnownAs { person, before }).collect::<Vec<_>>()
        });
        let renamed = renamed.await.map_err(|why| No::ours(why.to_string(), "report this"))?;
        let followed = self.0.store.holds_follow(renamed).await?;
        if followed > 0 {
            info!(followed, "legal holds go on under NHS numbers");
        }
        Ok(())
    }

    /// What would go, and the year before which it does.
    async fn counted(
        &self,
        basis: DisposalBasis,
        before: Option<u16>,
        names: Vec<Person>,
    ) -> Result<(DisposalPlan, u16), No> {
        self.follow_holds().await?;
        let whole_years = basis == DisposalBasis::RetentionEnded;
        match before {
            Some(before) if whole_years && names.is_empty() => {
                Ok((self.0.store.plan_disposal(before).await?, before))
            }
            None if !whole_years && !names.is_empty() => {
                let plan = self.0.store.plan_disposal_of(names).await.map_err(no)?;
                let last = plan.years.last().map_or(0, |year| year.year);
                Ok((plan, last.saturating_add(1)))
            }
            _ => Err(No::caller(
                "whole years go at the end of their retention, one person by order of a court or a \
                 statute",
                "see: tally help erase",
            )),
        }
    }

    fn certificate(
        &self,
        basis: DisposalBasis,
        before: u16,
        plan: &DisposalPlan,
        role: &str,
        made_at: String,
    ) -> Certificate {
        Certificate {
            tally: 1,
            what: "disposal".to_owned(),
            mesh: self.0.genesis.value().mesh.to_string(),
            mesh_id: self.mesh_id().to_string(),
            member: self.0.member.to_string(),
            basis: basis.code().to_owned(),
            before,
            years: plan.years.iter().map(year).collect(),
            keys: plan.keys(),
            openings: plan.openings(),
            held: plan.held(),
            authorised_by: role.to_owned(),
            made_at,
        }
    }

    /// What the ledger is to hold of it.
    fn disposal(
        &self,
        asked: &RunErasure,
        signed: &Certificate,
        basis: DisposalBasis,
    ) -> Result<Disposal, No> {
        let bad = |what: &str| {
            let what = format!("the authorisation's {what} can't be read");
            No::caller(what, "use a tally of the same version as the agent")
        };
        let key = fixed(&asked.public_key).and_then(|it| VerifyingKey::from_bytes(&it).ok());
        let signature = fixed(&asked.signature).ok_or_else(|| bad("signature"))?;
        Ok(Disposal {
            salt: Salt16([0; 16]),
            counter: 0,
            member: self.0.member.clone(),
            what: Disposed {
                basis,
                before: signed.before,
                keys: signed.keys,
                openings: signed.openings,
                held: signed.held,
                certificate: sha256(&[asked.text.as_bytes()]),
            },
            role: signed.authorised_by.parse().map_err(|_| bad("role"))?,
            key: KeyId::of(&key.ok_or_else(|| bad("key"))?),
            algorithm: Algorithm::EdDsa,
            signature: Signature::from_bytes(signature),
        })
    }

    /// Whether the ledger will take it: asked before anything is destroyed.
    fn check(&self, disposal: &Disposal) -> Result<(), No> {
        let live = self.0.genesis.value().environment == Environment::Live;
        let day = live.then(|| self.ledger_day());
        let verify =
            |key: &VerifyingKey, message: &[u8], it: &Signature| key.verify(message, it).is_ok();
        let registers = self.0.replica.known().registers;
        let checked = check_disposal(&registers, &self.mesh_id(), disposal, day, verify);
        checked.map_err(|rejection| {
            let what =
                format!("the ledger would not take it ({rejection}): {}", rejection.meaning());
            No::rejected(what, rejection.remedy())
        })
    }
}

fn basis(code: &str) -> Result<DisposalBasis, No> {
    let known = DisposalBasis::ALL.into_iter().find(|basis| basis.code() == code);
    known.ok_or_else(|| {
        let codes = DisposalBasis::ALL.map(DisposalBasis::code).join(", ");
        No::caller("the reason is none that is known", format!("name one of {codes}"))
    })
}

fn year(plan: &YearPlan) -> ErasureYear {
    ErasureYear {
        year: plan.year,
        keys: plan.keys,
        own_openings: plan.own_openings,
        received_openings: plan.received_openings,
        held: plan.held,
    }
}

fn text_of(certificate: &Certificate) -> Result<String, No> {
    let text = serde_json::to_string_pretty(certificate);
    let text = text.map_err(|why| No::ours(why.to_string(), "report this"))?;
    Ok(text + "\n")
}

fn moved() -> No {
    let what = "something else would be destroyed than was signed for";
    No::rejected(what, "look at the plan again, and authorise that")
}

fn no(error: StoreError) -> No {
    match error {
        StoreError::Held => No::rejected(
            error.to_string(),
            "a hold wins over every disposal: tally erase release, once it may end",
        ),
        StoreError::PlanMoved => moved(),
        other => other.into(),
    }
}
