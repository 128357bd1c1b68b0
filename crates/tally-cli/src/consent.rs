//! `tally consent`: what people say, recorded at their custodian.

use std::path::Path;

use tally_agent::admin::api::{
    ConsentDone, ConsentRows, Effect, ListConsents, RecordConsent, WithdrawConsent,
};

use crate::acting::{Acting, subject};
use crate::args::{ConsentListArgs, ConsentRecordArgs, ConsentWithdrawArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, pairs, print};

/// `tally consent record`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or says no.
pub(crate) fn record(
    args: &ConsentRecordArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let effect = match (args.permit, args.deny) {
        (true, _) => Effect::Permit,
        (_, true) => Effect::Deny,
        _ => Effect::Object,
    };
    let asked = RecordConsent {
        subject: subject(&args.subject)?,
        effect,
        purpose: args.purpose.clone(),
        requesters: args.requester.clone(),
        reason: args.reason.clone(),
    };
    done(&acting.ask("/consents/record", &asked)?, output)
}

/// `tally consent withdraw`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or says no.
pub(crate) fn withdraw(
    args: &ConsentWithdrawArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = WithdrawConsent { subject: subject(&args.subject)?, id: args.id };
    done(&acting.ask("/consents/withdraw", &asked)?, output)
}

/// `tally consent list`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or says no.
pub(crate) fn list(
    args: &ConsentListArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = ListConsents { subject: subject(&args.subject)? };
    let answer: ConsentRows = acting.ask("/consents/list", &asked)?;
    print(output, &answer, || table(&answer))?;
    Ok(Exit::Done)
}

fn done(done: &ConsentDone, output: Output) -> Result<Exit, Failure> {
    print(output, done, || {
        let on_ledger = if done.on_ledger {
            "yes: no access is recorded any more on what was said before"
        } else {
            "not yet: what forbids counts here at once, what permits when the ledger has it"
        };
        pairs(&[
            ("directive", done.id.to_string()),
            ("consent register", done.register.to_string()),
            ("version", done.version.to_string()),
            ("on the ledger", on_ledger.to_owned()),
        ])
    })?;
    Ok(Exit::Done)
}

fn table(answer: &ConsentRows) -> String {
    let head = ["id", "says", "purpose", "to", "recorded", "stands"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(answer.rows.iter().map(|row| {
        let says = match row.effect {
            Some(Effect::Permit) => "yes",
            Some(Effect::Deny) => "no",
            Some(Effect::Object) => "objects",
            None => "(can't be read)",
        };
        let stands = match (row.withdrawn, row.counts) {
            (true, _) => "withdrawn",
            (false, true) => "yes",
            (false, false) => "once the ledger has it",
        };
        let to = if row.requesters.is_empty() { "anyone".into() } else { row.requesters.join(" ") };
        vec![
            row.id.to_string(),
            says.to_owned(),
            row.purpose.clone().unwrap_or_else(|| "any".to_owned()),
            to,
            row.recorded_at.clone().unwrap_or_else(|| "-".to_owned()),
            stands.to_owned(),
        ]
    }));
    columns(&rows)
}
