//! `tally agreement`: data sharing agreements, from a file to signatures on the ledger. What is
//! signed is signed here, with the officer's own key, and goes nowhere else.

mod accession;

pub(crate) use accession::{accede, accept};

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;
use tally_agent::admin::api::{
    AgreementDone, AgreementRow, AgreementRows, ApprovalText, GetAgreement, SuspendAgreement,
    WriteAgreement,
};
use tally_agent::config::AgentConfig;
use tally_core::Encoded;
use tally_core::agreement::{self, Agreement, AllowList, Standing, file};
use tally_core::id::{MemberId, MeshId};
use tally_core::register::agreement_preimage;
use tally_core::time::Timestamp;
use tally_log::SigningKey;
use tally_net::keyfile::{self, KeyUse};

use crate::acting::Acting;
use crate::args::{AgreementCheckArgs, AgreementFileArgs, AgreementShowArgs, AgreementSignArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, pairs, print};
use crate::system::{now_s, read_text};

/// Bytes of an agreement file at most.
const FILE_LEN_MAX: u64 = 256 * 1024;

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    good: bool,
    id: String,
    version: u64,
    /// What whoever signs should know.
    warnings: Vec<String>,
}

/// `tally agreement check`.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn check(args: &AgreementCheckArgs, output: Output) -> Result<Exit, Failure> {
    let agreement = read(&args.file)?;
    let document = agreement.value();
    if args.plain {
        return plain(document, output);
    }
    let checked = Checked {
        file: args.file.display().to_string(),
        good: true,
        id: document.id.to_string(),
        version: document.version,
        warnings: warnings(document),
    };
    print(output, &checked, || {
        let mut text = format!("{}@{}: a good agreement\n", checked.id, checked.version);
        for warning in &checked.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text
    })?;
    Ok(Exit::Done)
}

/// `tally agreement propose`.
///
/// # Errors
/// [`Failure`] if the file is wrong, the agent is not there, or the ledger says no.
pub(crate) fn propose(
    args: &AgreementFileArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let agreement = read(&args.file)?;
    let acting = Acting::open(config)?;
    let asked = WriteAgreement {
        document: STANDARD.encode(agreement.bytes()),
        approvals: Vec::new(),
        accession: false,
    };
    done(agreement.value(), &acting.ask("/agreements/write", &asked)?, output)
}

/// `tally agreement sign`.
///
/// # Errors
/// [`Failure`] if there is no such agreement, no key to sign with, or the ledger says no.
pub(crate) fn sign(
    args: &AgreementSignArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let (id, version) = args.agreement.split_once('@').unwrap_or((&args.agreement, ""));
    let row: AgreementRow =
        acting.ask("/agreements/get", &GetAgreement { id: id.to_owned(), version: None })?;
    if version.parse() != Ok(row.version) {
        let what = format!("{}: the ledger has version {}", args.agreement, row.version);
        let remedy = format!("read it, then name what you sign: {id}@{}", row.version);
        return Err(Failure::usage(what, remedy));
    }
    let Some(officer) = &acting.config.officer else {
        let remedy = "name the officer's role and key under [officer] in the configuration";
        return Err(Failure::configuration("there is no key to sign with", remedy));
    };
    let key = keyfile::load(&officer.key, KeyUse::Officer)
        .map_err(|why| Failure::configuration(why, "give the officer's own key file"))?;
    let document = STANDARD.decode(&row.document);
    let document =
        document.map_err(|why| Failure::environment(why, "use a tally of the agent's version"))?;
    let AgentConfig { member, mesh_id, .. } = &acting.config;
    let approval = approve(member, officer.role.as_str(), &key, mesh_id, &document);
    let asked =
        WriteAgreement { document: row.document, approvals: vec![approval], accession: false };
    let agreement = tally_wire::decode_value::<Agreement>(&document)
        .map_err(|why| Failure::environment(why, "use a tally of the agent's version"))?;
    done(&agreement, &acting.ask("/agreements/write", &asked)?, output)
}

/// `tally agreement list`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn list(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let answer: AgreementRows = acting.ask("/agreements/list", &json!({}))?;
    print(output, &answer, || {
        let head = ["agreement", "title", "from", "to", "standing", "signed by", "not yet by"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(answer.rows.iter().map(|row| {
            vec![
                format!("{}@{}", row.id, row.version),
                row.title.clone(),
                row.start.clone(),
                row.end.clone(),
                standing(row),
                or_nobody(&row.signed_by),
                or_nobody(&row.missing),
            ]
        }));
        columns(&rows)
    })?;
    Ok(Exit::Done)
}

/// `tally agreement suspend` and `resume`.
///
/// # Errors
/// [`Failure`] if the agent is not there, the ledger has no such agreement, or there is nothing to do.
pub(crate) fn suspend(
    id: &str,
    suspended: bool,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = SuspendAgreement { id: id.to_owned(), suspended };
    acting.ask::<_, AgreementDone>("/agreements/suspend", &asked)?;
    let row: AgreementRow = acting.ask("/agreements/get", &asked_for(id)?)?;
    print(output, &row, || shown(&row))?;
    Ok(Exit::Done)
}

/// `tally agreement show`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or the ledger has no such agreement.
pub(crate) fn show(
    args: &AgreementShowArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let row: AgreementRow = acting.ask("/agreements/get", &asked_for(&args.agreement)?)?;
    if args.plain {
        return plain(&document(&row.document)?, output);
    }
    print(output, &row, || shown(&row))?;
    Ok(Exit::Done)
}

/// `ID` or `ID@VERSION`.
fn asked_for(text: &str) -> Result<GetAgreement, Failure> {
    let (id, version) = match text.split_once('@') {
        None => (text, None),
        Some((id, version)) => {
            let bad = |_| Failure::usage(format!("{text}: no version"), "write ID@VERSION");
            (id, Some(version.parse().map_err(bad)?))
        }
    };
    Ok(GetAgreement { id: id.to_owned(), version })
}

/// The document of an answer.
pub(crate) fn document(text: &str) -> Result<Agreement, Failure> {
    let remedy = "use a tally of the agent's version";
    let bytes = STANDARD.decode(text).map_err(|why| Failure::environment(why, remedy))?;
    tally_wire::decode_value(&bytes).map_err(|why| Failure::environment(why, remedy))
}

fn plain(agreement: &Agreement, output: Output) -> Result<Exit, Failure> {
    let text = agreement::plain(agreement);
    let name = format!("{}@{}", agreement.id, agreement.version);
    print(output, &json!({ "agreement": name, "plain": text }), || text.clone())?;
    Ok(Exit::Done)
}

fn shown(row: &AgreementRow) -> String {
    let mut text = pairs(&[
        ("agreement", format!("{}@{}", row.id, row.version)),
        ("title", row.title.clone()),
        ("from", row.start.clone()),
        ("review by", row.review.clone()),
        ("to", row.end.clone()),
        ("standing", row.standing.clone()),
        ("parties", row.parties.join(" ")),
        ("signed by", or_nobody(&row.signed_by)),
        ("not yet signed by", or_nobody(&row.missing)),
        ("suspended by", or_nobody(&row.suspended_by)),
        ("leaf", row.leaf.to_string()),
    ]);
    let Ok(agreement) = document(&row.document) else { return text };
    for share in &agreement.shares {
        let requesters = share.requesters.iter().map(ToString::to_string);
        let purposes = share.purposes.iter().map(ToString::to_string);
        text.push_str(&format!(
            "\n{} shares {} with {} for {}\n",
            share.provider,
            share.source,
            requesters.collect::<Vec<_>>().join(" "),
            purposes.collect::<Vec<_>>().join(" "),
        ));
        if !share.condition.is_empty() {
            text.push_str(&format!("only when: {}\n", share.condition.text().trim()));
        }
    }
    if row.standing == "past-review" {
        text.push_str(&format!("\nwarning: it should have been reviewed by {}\n", row.review));
    }
    text
}

/// An agreement of a file.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn read(path: &Path) -> Result<Encoded<Agreement>, Failure> {
    let text = read_text(path, FILE_LEN_MAX)?;
    let agreement = file::read(&text).map_err(|problems| Failure::problems(path, &problems))?;
    let unknown = unknown_fields(&agreement);
    if !unknown.is_empty() {
        return Err(Failure::problems(path, &unknown));
    }
    tally_wire::encode_checked(agreement).map_err(|why| {
        Failure::configuration(format!("{}: {why}", path.display()), "shorten the file")
    })
}

/// What an officer of a member signs of an agreement, as its agent takes it.
pub(crate) fn approve(
    member: &MemberId,
    role: &str,
    key: &SigningKey,
    mesh_id: &MeshId,
    document: &[u8],
) -> ApprovalText {
    ApprovalText {
        member: member.to_string(),
        role: role.to_owned(),
        public_key: STANDARD.encode(key.verifying_key().as_bytes()),
        signature: STANDARD.encode(key.sign(&agreement_preimage(mesh_id, document)).as_bytes()),
    }
}

/// Fields that name nothing in FHIR R4: nothing would ever leave by them.
fn unknown_fields(agreement: &Agreement) -> Vec<file::Problem> {
    let mut problems = Vec::new();
    for (place, share) in agreement.shares.iter().enumerate() {
        let AllowList::Elements(types) = &share.fields else { continue };
        for (kind, elements) in types {
            let path = format!("share[{place}].fields.{kind}");
            match tally_record::fhir::unknown_paths(kind, elements) {
                None => {
                    let what = "FHIR R4 has no such type of record".to_owned();
                    problems.push(file::Problem { path, line: None, what });
                }
                Some(unknown) => problems.extend(unknown.into_iter().map(|element| {
                    let what = format!("a {kind} of FHIR R4 has no {element}");
                    file::Problem { path: path.clone(), line: None, what }
                })),
            }
        }
    }
    problems
}

/// What a signer should know, and may not expect: types whose records are withheld whole.
fn warnings(agreement: &Agreement) -> Vec<String> {
    let mut warnings = agreement::warnings(agreement);
    let today = Timestamp(u64::try_from(now_s()).unwrap_or(0).saturating_mul(1_000)).london_date();
    match agreement.standing_on(today) {
        Standing::Ended => warnings.push(format!("its last day, {}, has passed", agreement.end)),
        Standing::PastReview => {
            warnings.push(format!("the day of its review, {}, has passed", agreement.review));
        }
        Standing::NotStarted | Standing::InForce => {}
    }
    for share in &agreement.shares {
        let AllowList::Elements(types) = &share.fields else { continue };
        for (kind, elements) in types {
            let missing = tally_record::fhir::missing_modifiers(kind, elements);
            if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
                warnings.push(format!(
                    "a {kind} that has {} is withheld whole: {} changes what the rest means, and \
                     is not among the fields",
                    missing.join(" or "),
                    if missing.len() == 1 { "it" } else { "each" },
                ));
            }
        }
    }
    warnings
}

fn done(agreement: &Agreement, done: &AgreementDone, output: Output) -> Result<Exit, Failure> {
    print(output, done, || {
        pairs(&[
            ("agreement", format!("{}@{}", agreement.id, agreement.version)),
            ("leaf", done.leaf.to_string()),
            ("signed by", or_nobody(&done.signed_by)),
            ("not yet by", or_nobody(&done.missing)),
        ])
    })?;
    Ok(Exit::Done)
}

fn standing(row: &AgreementRow) -> String {
    match row.suspended_by.as_slice() {
        [] => row.standing.clone(),
        by => format!("suspended by {}", by.join(" ")),
    }
}

fn or_nobody(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
}
