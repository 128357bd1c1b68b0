//! `tally agreement accede` and `accept`: a member joins an agreement, by its own signature and those
//! of all who give. Nothing changes for the others, so they need not sign again.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tally_agent::admin::api::{AgreementDone, AgreementRow, WriteAgreement};
use tally_core::agreement::{Agreement, Party};
use tally_core::id::MemberId;

use super::{asked_for, document};
use crate::acting::Acting;
use crate::args::{AgreementAccedeArgs, AgreementAcceptArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, pairs, print};
use crate::paper::{Paper, What, read_document};

/// Where an accession stands.
#[derive(Debug, Serialize)]
struct Standing {
    agreement: String,
    signed_by: Vec<String>,
    /// Who gives and has not accepted yet.
    missing: Vec<String>,
    /// Where it is on the ledger, once it is.
    leaf: Option<u64>,
}

/// `tally agreement accede`.
///
/// # Errors
/// [`Failure`] if the ledger has no such agreement, the member is in it already, or nothing fits.
pub(crate) fn accede(
    args: &AgreementAccedeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let row: AgreementRow = acting.ask("/agreements/get", &asked_for(&args.agreement)?)?;
    let own = &acting.config.member;
    let joined = join(document(&row.document)?, own, &args.share)?;
    let encoded = tally_wire::encode_checked(joined)
        .map_err(|why| Failure::usage(why, "ask for a new version of the agreement"))?;
    let document = STANDARD.encode(encoded.bytes());
    let mut paper = Paper::new(&acting, What::Accession { document });
    paper.sign(&acting)?;
    paper.write(&args.to)?;
    tell(&paper, encoded.value(), None, output)
}

/// `tally agreement accept`.
///
/// # Errors
/// [`Failure`] if the file is none, there is no key to sign with, or the ledger says no.
pub(crate) fn accept(
    args: &AgreementAcceptArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let mut paper = Paper::read(&args.file, &acting)?;
    let What::Accession { document } = paper.what.clone() else {
        let remedy = "it is about a group: tally mesh group approve FILE";
        return Err(Failure::usage("the file is no accession", remedy));
    };
    let agreement = read_document(&document)?.into_parts().0;
    paper.sign(&acting)?;
    paper.write(&args.file)?;
    if !missing(&paper, &agreement).is_empty() {
        return tell(&paper, &agreement, None, output);
    }
    let approvals = paper.approvals.clone();
    let asked = WriteAgreement { document, approvals, accession: true };
    let done: AgreementDone = acting.ask("/agreements/write", &asked)?;
    tell(&paper, &agreement, Some(done.leaf), output)
}

/// The next version, with the member among the parties and those who ask.
fn join(agreement: Agreement, own: &MemberId, shares: &[String]) -> Result<Agreement, Failure> {
    let mut joined = agreement;
    let party = Party::Member(own.clone());
    if joined.parties.contains(&party) {
        let what = format!("{own} is a party of {} already", joined.id);
        return Err(Failure::refused_as(what, "sign it: tally agreement sign ID@VERSION"));
    }
    joined.version = joined.version.saturating_add(1);
    insert(&mut joined.parties, &party);
    let mut asks = false;
    for share in &mut joined.shares {
        let name = format!("{}/{}", share.provider, share.source);
        if shares.is_empty() || shares.contains(&name) {
            insert(&mut share.requesters, &party);
            asks = true;
        }
    }
    if !asks {
        let what = format!("{} shares none of what was named", joined.id);
        return Err(Failure::usage(what, "see what it shares: tally agreement show ID"));
    }
    Ok(joined)
}

fn insert(parties: &mut Vec<Party>, party: &Party) {
    if let Err(place) = parties.binary_search(party) {
        parties.insert(place, party.clone());
    }
}

fn missing(paper: &Paper, agreement: &Agreement) -> Vec<String> {
    let signed = paper.signed_by();
    let providers = agreement.shares.iter().map(|share| share.provider.to_string());
    let mut missing: Vec<_> = providers.filter(|it| !signed.contains(it)).collect();
    missing.sort();
    missing.dedup();
    missing
}

fn tell(
    paper: &Paper,
    agreement: &Agreement,
    leaf: Option<u64>,
    output: Output,
) -> Result<Exit, Failure> {
    let standing = Standing {
        agreement: format!("{}@{}", agreement.id, agreement.version),
        signed_by: paper.signed_by(),
        missing: missing(paper, agreement),
        leaf,
    };
    print(output, &standing, || {
        pairs(&[
            ("agreement", standing.agreement.clone()),
            ("signed by", super::or_nobody(&standing.signed_by)),
            ("to be accepted by", super::or_nobody(&standing.missing)),
            ("leaf", standing.leaf.map_or_else(|| "not yet".to_owned(), |leaf| leaf.to_string())),
        ])
    })?;
    Ok(Exit::Done)
}
