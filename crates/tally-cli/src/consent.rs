//! `tally consent`: what people say, recorded at their custodian.

use std::io::Read;
use std::path::Path;

use tally_agent::admin::api::{
    ActorText, ConsentDone, ConsentExplained, ConsentImported, ConsentRows, Effect, ExplainConsent,
    ImportConsent, ListConsents, RecordConsent, RecordText, WithdrawConsent,
};

use crate::acting::{Acting, subject};
use crate::args::{
    ConsentExplainArgs, ConsentImportArgs, ConsentListArgs, ConsentRecordArgs, ConsentWithdrawArgs,
};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, pairs, print};
use crate::system::read_text;

/// Bytes of a Consent's file that are read at most: the agent takes fewer.
const CONSENT_LEN_MAX: u64 = 256 * 1024;

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

/// `tally consent import`.
///
/// # Errors
/// [`Failure`] if the file can't be read, the agent is not there, or says no.
pub(crate) fn import(
    args: &ConsentImportArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let actors = args.actor.iter().map(|told| match told.rsplit_once('=') {
        Some((reference, member)) => {
            Ok(ActorText { reference: reference.to_owned(), member: member.to_owned() })
        }
        None => Err(Failure::usage(
            "an --actor has no `=`",
            "write the reference as the Consent has it, and the member: Group/night-shift=LZ9",
        )),
    });
    let asked = ImportConsent {
        consent: text_of(&args.file)?,
        actors: actors.collect::<Result<_, _>>()?,
        reason: args.reason.clone(),
    };
    let answer: ConsentImported = acting.ask("/consents/import", &asked)?;
    print(output, &answer, || imported(&answer))?;
    Ok(Exit::Done)
}

/// `tally consent explain`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or says no.
pub(crate) fn explain(
    args: &ConsentExplainArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = ExplainConsent {
        subject: subject(&args.subject)?,
        requester: args.requester.clone(),
        purpose: args.purpose.clone(),
        on: args.on.clone(),
        record: RecordText {
            kind: args.kind.clone(),
            id: args.id.clone(),
            labels: args.label.clone(),
            date: args.date.clone(),
            authors: args.author.clone(),
            encounters: args.encounter.clone(),
        },
    };
    let answer: ConsentExplained = acting.ask("/consents/explain", &asked)?;
    print(output, &answer, || explained(&answer))?;
    Ok(Exit::Done)
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

/// A file's text, or that of standard input.
fn text_of(file: &Path) -> Result<String, Failure> {
    if file != Path::new("-") {
        return read_text(file, CONSENT_LEN_MAX);
    }
    let mut text = String::new();
    let read = std::io::stdin().take(CONSENT_LEN_MAX).read_to_string(&mut text);
    read.map_err(|why| Failure::environment(format!("standard input: {why}"), "pipe it there"))?;
    Ok(text)
}

fn imported(done: &ConsentImported) -> String {
    let ids = done.directives.iter().map(ToString::to_string).collect::<Vec<_>>();
    let on_ledger = if done.on_ledger {
        "yes: no access is recorded any more on what was said before"
    } else {
        "not yet: what forbids counts here at once, what permits when the ledger has it"
    };
    let mut text = pairs(&[
        ("directive", ids.join(", ")),
        ("provisions", done.provisions.to_string()),
        ("may forbid", if done.narrows { "yes" } else { "no" }.to_owned()),
        ("on the ledger", on_ledger.to_owned()),
    ]);
    for place in &done.unknown_actors {
        text.push_str(&format!(
            "warning: {place}: nobody knows which member this is: a permit for it reaches nobody, a \
             denial everybody; name it with --actor\n"
        ));
    }
    text
}

fn explained(answer: &ConsentExplained) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut text = pairs(&[
        ("decision", answer.decision.clone()),
        ("because", answer.rule.clone()),
        ("directive", or_dash(&answer.directive.map(|id| id.to_string()))),
        ("provision", or_dash(&answer.provision)),
    ]);
    if answer.steps.is_empty() {
        return text;
    }
    let head = ["directive", "says", "provision", "because"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(answer.steps.iter().map(|step| {
        let provision = or_dash(&step.provision);
        vec![step.directive.to_string(), step.says.clone(), provision, step.because.clone()]
    }));
    text.push('\n');
    text.push_str(&columns(&rows));
    text
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
            Some(Effect::Consent) => "yes and no",
            None => "(can't be read)",
        };
        let stands = match (row.withdrawn, row.counts) {
            (true, _) => "withdrawn",
            (false, true) => "yes",
            (false, false) => "once the ledger has it",
        };
        let purpose = row.purpose.clone().unwrap_or_else(|| "any".to_owned());
        let purpose = row.provisions.map_or(purpose, |count| format!("Consent of {count}"));
        let to = if row.provisions.is_some() {
            "as it says".to_owned()
        } else if row.requesters.is_empty() {
            "anyone".into()
        } else {
            row.requesters.join(" ")
        };
        vec![
            row.id.to_string(),
            says.to_owned(),
            purpose,
            to,
            row.recorded_at.clone().unwrap_or_else(|| "-".to_owned()),
            stands.to_owned(),
        ]
    }));
    columns(&rows)
}
