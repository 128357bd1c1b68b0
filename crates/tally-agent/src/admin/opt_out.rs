//! The national data opt-out's check service, as officers use it: a request's file out, the reply in.
//!
//! Invariant: what is answered to an officer about a bad file names lines and reasons, never numbers;
//! what is logged are references and counts of whole checks.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::entry::Environment;
use tally_core::id::{CheckDigit, NhsNumber, OptOutReference, SourceId};
use tally_core::record::Person;
use tally_core::time::Timestamp;
use tally_record::opt_out;
use tokio::task::spawn_blocking;
use tracing::info;

use super::api::{ImportOptOut, OptOutCheckRow, OptOutCheckRows, OptOutRequest, RequestOptOut};
use super::{Admin, No, answer, question};
use crate::clock::wall;
use crate::store::{OptOutRow, OptOutTaken};

pub(super) async fn request(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<RequestOptOut>(request).await?;
    let mailbox = asked.mailbox.clone().or_else(|| admin.0.opt_out.mailbox.clone());
    let mailbox = mailbox.ok_or_else(|| {
        let remedy = "name it: --mailbox, or mailbox in [opt_out] of the agent's configuration";
        No::caller("nobody said which MESH mailbox the request is sent from", remedy)
    })?;
    let (numbers, without_number) = admin.numbers(&asked).await?;
    let batch = numbers.iter().copied().skip(asked.skip).take(opt_out::LINES_MAX);
    let batch = batch.collect::<Vec<_>>();
    if batch.is_empty() {
        let what = "there is nobody to ask about";
        return Err(No::caller(what, "name a source or a list of people with NHS numbers"));
    }
    let people = batch.iter().map(Person::with_number).collect::<Vec<_>>();
    let now = wall();
    let reference = admin.0.store.ask_opt_out(mailbox, now.london_date(), now, &people).await?;
    let reference = reference.map_err(|bad| {
        No::caller(bad.to_string(), "name the mailbox as MESH knows it, such as X26OT001")
    })?;
    let done = asked.skip.saturating_add(batch.len());
    info!(%reference, asked = batch.len(), "opt-out request");
    // Numbers and commas are always text.
    let file = String::from_utf8(opt_out::write(&batch)).unwrap_or_default();
    Ok(answer(&OptOutRequest {
        file_name: opt_out::file_name(&reference),
        reference: reference.to_string(),
        file,
        asked: batch.len(),
        without_number,
        next: (done < numbers.len()).then_some(done),
    }))
}

pub(super) async fn import(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ImportOptOut>(request).await?;
    let reference = asked.reference.parse::<OptOutReference>();
    let reference = reference.map_err(|bad| {
        No::caller(
            bad.to_string(),
            "name the check: --reference, or call the file as the request was",
        )
    })?;
    // Who was asked about decides: a synthetic number that was not is refused as well.
    let check = match admin.0.genesis.value().environment {
        Environment::Test => CheckDigit::Skipped,
        Environment::Live => CheckDigit::Checked,
    };
    let numbers = opt_out::read_reply(asked.reply.as_bytes(), check).map_err(bad_file)?;
    let people = numbers.iter().map(Person::with_number).collect();
    let (now, age_max) = (wall(), admin.0.opt_out.answer_age_max);
    let bytes = asked.reply.into_bytes();
    let taken =
        admin.0.store.answer_opt_out(reference.clone(), people, bytes, now, age_max).await?;
    let row = match taken {
        OptOutTaken::Taken(row) => row,
        OptOutTaken::UnknownCheck => {
            let what = format!("no request was made with the reference {reference}");
            return Err(No::unknown(what, "see which there are: tally opt-out status"));
        }
        OptOutTaken::TooOld => {
            let what = format!("{reference} was asked too long ago: its answer may not be used");
            return Err(No::caller(what, "ask again: tally opt-out request"));
        }
        OptOutTaken::OtherReply => {
            let what = format!("another reply was taken for {reference} before");
            return Err(No::rejected(what, "ask again, and import that request's reply"));
        }
        OptOutTaken::NotAsked(count) => {
            let what = format!("{count} people of the reply were not asked about in {reference}");
            return Err(No::caller(what, "import the reply to this very request"));
        }
    };
    info!(%reference, "opt-out reply taken");
    Ok(answer(&admin.check_row(&row, now)))
}

pub(super) async fn status(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let (checks, now) = (admin.0.store.opt_out_checks().await?, wall());
    let rows = checks.iter().map(|row| admin.check_row(row, now)).collect();
    Ok(answer(&OptOutCheckRows { rows }))
}

impl Admin {
    /// The numbers that are asked about, and how many people have none.
    async fn numbers(&self, asked: &RequestOptOut) -> Result<(BTreeSet<NhsNumber>, usize), No> {
        let environment = self.0.genesis.value().environment;
        let synthetic = asked.synthetic && environment == Environment::Test;
        let check = if synthetic { CheckDigit::Skipped } else { CheckDigit::Checked };
        let (numbers, without) = match (&asked.source, &asked.list) {
            (Some(source), None) => self.numbers_of(source).await?,
            (None, Some(list)) => (opt_out::read_list(list, check).map_err(bad_file)?, 0),
            _ => {
                let remedy = "name either a source or a list of NHS numbers";
                return Err(No::caller("nobody said whom to ask about", remedy));
            }
        };
        let foreign = numbers.iter().filter(|number| !number.belongs_in(environment)).count();
        if foreign > 0 {
            let what = format!("{foreign} of the numbers do not belong in this kind of mesh");
            return Err(No::caller(
                what,
                "ask about made-up people in a test mesh, and only there",
            ));
        }
        Ok((numbers, without))
    }

    async fn numbers_of(&self, source: &str) -> Result<(BTreeSet<NhsNumber>, usize), No> {
        let known = source.parse::<SourceId>().ok();
        let known = known.and_then(|id| self.0.sources.get(&id));
        let source = known.ok_or_else(|| {
            No::unknown("this member has no such source", "name one of the configuration")
        })?;
        let check = source.check_digit();
        let people = spawn_blocking(move || source.everybody()).await;
        let people = people.map_err(|why| No::ours(why.to_string(), "see the agent's log"))?;
        let people = people.map_err(|unread| {
            No::ours(unread.to_string(), "mend the source, or give a list of NHS numbers")
        })?;
        let number = |person: &Person| {
            let text = person.reveal().strip_prefix("nhs-number|")?;
            NhsNumber::parse(text, check).ok()
        };
        let numbers = people.iter().filter_map(number).collect::<BTreeSet<_>>();
        let without = people.len().saturating_sub(numbers.len());
        Ok((numbers, without))
    }

    fn check_row(&self, row: &OptOutRow, now: Timestamp) -> OptOutCheckRow {
        let age_max = self.0.opt_out.answer_age_max;
        let state = match (row.asked, &row.answer) {
            _ if now.since(row.asked_at) > age_max => "too-old",
            (None, _) => "unfinished",
            (Some(_), None) => "waiting",
            (Some(_), Some(_)) => "usable",
        };
        OptOutCheckRow {
            reference: row.reference.to_string(),
            state: state.to_owned(),
            asked_at: row.asked_at.rfc3339(),
            asked: row.asked,
            answered_at: row.answer.map(|(at, ..)| at.rfc3339()),
            answered: row.answer.map(|(_, answered, _)| answered),
            usable_until: row.asked_at.after(age_max).rfc3339(),
            reply: row.answer.map(|(.., reply)| format!("hmac-sha256:{reply}")),
        }
    }
}

fn bad_file(bad: opt_out::BadOptOutFile) -> No {
    No::caller(bad.to_string(), "mend the lines, or ask the service for the file again")
}
