//! `tally agreement accede` and `accept`: a member joins an agreement, by its own signature and those
//! of all who give. Nothing changes for the others, so they need not sign again.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tally_agent::admin::api::{AgreementDone, AgreementRow, GetAgreement, WriteAgreement};
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
    let asked = GetAgreement { id: agreement.id.to_string(), version: None };
    let current: AgreementRow = acting.ask("/agreements/get", &asked)?;
    check_only_joins(&super::document(&current.document)?, &agreement)?;
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

/// The signature under an accession is one under the whole document, and whoever is a party already
/// could file it as any other new version. So nobody signs what does more than let members in.
///
/// # Errors
/// [`Failure`] if it does, beside the version that is on the ledger.
fn check_only_joins(current: &Agreement, joined: &Agreement) -> Result<(), Failure> {
    let mut before = joined.clone();
    before.version = current.version;
    before.parties.retain(|party| current.parties.contains(party));
    for (share, known) in before.shares.iter_mut().zip(&current.shares) {
        let is_new =
            |party: &Party| joined.parties.contains(party) && !current.parties.contains(party);
        share.requesters.retain(|party| known.requesters.contains(party) || !is_new(party));
    }
    let may_be_next = current.version < joined.version || current == joined;
    if before == *current && may_be_next {
        return Ok(());
    }
    let what = format!("the file changes more of {} than who is in it", joined.id);
    let remedy = "have it made anew from what is on the ledger, or propose it as a new version, which \
                  everybody reads and signs";
    Err(Failure::refused_as(what, remedy))
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

#[cfg(test)]
mod tests {
    use super::*;

    const CARE: &str = r#"
tally = 1
id = "DSA-1"
version = 3
title = "Discharge support"
start = 2026-01-01
review = 2026-10-01
end = 2026-12-31
parties = ["LZ9", "RZ9"]
[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
fields = { Patient = ["birthDate"] }
"#;

    #[test]
    fn nobody_accepts_more_than_that_a_member_joins() {
        let current = tally_core::agreement::file::read(CARE).unwrap();
        let joined = join(current.clone(), &"QX1".parse().unwrap(), &[]).ok().unwrap();
        assert!(check_only_joins(&current, &joined).is_ok());
        assert!(check_only_joins(&joined, &joined).is_ok());
        let spoils: [fn(&mut Agreement); 6] = [
            |it| it.version = 3,
            |it| it.end = "2099-12-31".parse().unwrap(),
            |it| it.shares[0].purposes = vec!["HRESCH".parse().unwrap()],
            |it| it.shares[0].user_known = tally_core::entry::UserKnown::Service,
            |it| it.shares.push(it.shares[0].clone()),
            |it| it.parties.retain(|party| party.to_string() != "LZ9"),
        ];
        for (place, spoil) in spoils.into_iter().enumerate() {
            let mut spoilt = joined.clone();
            spoil(&mut spoilt);
            if spoilt != joined {
                assert!(check_only_joins(&current, &spoilt).is_err(), "{place}");
            }
        }
    }
}
