//! `tally audit subject`: who asked for a person's records here, and how far that is the whole truth.

use std::path::Path;

use tally_agent::admin::api::{AskSubject, SubjectAnswer};

use crate::acting::{Acting, subject as typed};
use crate::args::SubjectArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, print};

/// `tally audit subject`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or can't ask the ledger.
pub(crate) fn subject(
    args: &SubjectArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = AskSubject { subject: typed(&args.subject)? };
    let answer: SubjectAnswer = acting.ask("/subject", &asked)?;
    print(output, &answer, || table(&answer))?;
    // An answer that may lack somebody is none that a person can rely on.
    let said = answer.tested + answer.disposed;
    Ok(if said == answer.own_entries { Exit::Done } else { Exit::Refused })
}

fn table(answer: &SubjectAnswer) -> String {
    let head = ["leaf", "at", "who", "user", "purpose", "agreement", "outcome", "code", "records"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    rows.extend(answer.rows.iter().map(|row| {
        vec![
            row.leaf.to_string(),
            or_none(&row.at),
            row.requester.clone(),
            or_none(&row.user),
            row.purpose.clone(),
            or_none(&row.agreement),
            row.outcome.clone(),
            or_none(&row.code),
            row.records.len().to_string(),
        ]
    }));
    let mut text = columns(&rows);
    text.push_str(&format!(
        "{} of {} own entries tested, to size {}\n",
        answer.tested, answer.own_entries, answer.size
    ));
    if answer.disposed > 0 {
        let years = answer.disposed_before;
        let years = years.map(|it| format!(", those of retention years before {it} among them"));
        text.push_str(&format!(
            "{} of them can't be tested any more: what they were about was disposed of{}\n",
            answer.disposed,
            years.unwrap_or_default()
        ));
    }
    text
}
