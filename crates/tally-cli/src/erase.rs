//! `tally erase`: counts what a disposal would destroy, has an officer sign for it here, with a key that
//! goes nowhere else, and keeps the certificate.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tally_agent::admin::api::{
    Certificate, ErasureDone, ErasurePlan, ErasurePrepared, ErasureYear, HoldDone, HoldRows,
    HoldSubject, PlanErasure, PrepareErasure, ReleaseSubject, RunErasure,
};
use tally_core::entry::{DisposalBasis, Disposed, disposal_preimage};
use tally_core::id::OfficerRole;
use tally_log::{SigningKey, sha256};
use tally_net::keyfile::{self, KeyUse};

use crate::acting::{Acting, subject};
use crate::args::{
    Authority, EraseHoldArgs, ErasePlanArgs, EraseReleaseArgs, EraseRunArgs, EraseSubjectArgs,
};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, pairs, print};

/// `tally erase plan`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn plan(
    args: &ErasePlanArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let plan: ErasurePlan = acting.ask("/erase/plan", &PlanErasure { before: args.before })?;
    print(output, &plan, || {
        let mut text = years(&plan.years);
        if !plan.ended {
            text.push_str(&format!(
                "Not all of the years before {} have ended: only a test mesh disposes of them now.\n",
                plan.before
            ));
        }
        text
    })?;
    Ok(Exit::Done)
}

/// `tally erase run`.
///
/// # Errors
/// [`Failure`] if nobody confirms it, there is no key to sign with, or the agent says no.
pub(crate) fn run(
    args: &EraseRunArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let basis = DisposalBasis::RetentionEnded;
    dispose(basis, Some(args.before), None, &args.authority, config, output)
}

/// `tally erase subject`.
///
/// # Errors
/// [`Failure`] if nobody confirms it, there is no key to sign with, or the agent says no.
pub(crate) fn erase_subject(
    args: &EraseSubjectArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let basis = DisposalBasis::ALL.into_iter().find(|basis| basis.code() == args.reason_code);
    let basis = basis
        .ok_or_else(|| Failure::usage("no such reason", "name court-order, or legal-obligation"))?;
    let person = subject(&args.subject)?;
    if args.subject == "-" && !args.authority.yes {
        let what = "standard input can't be both the person and the confirmation";
        return Err(Failure::usage(what, "say --yes"));
    }
    dispose(basis, None, Some(person), &args.authority, config, output)
}

/// `tally erase hold`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or says no.
pub(crate) fn hold(
    args: &EraseHoldArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let reason_code = args.reason_code.clone();
    let asked = HoldSubject { subject: subject(&args.subject)?, reason_code };
    held(&acting.ask("/erase/hold", &asked)?, output)
}

/// `tally erase release`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or says no.
pub(crate) fn release(
    args: &EraseReleaseArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = ReleaseSubject { subject: subject(&args.subject)? };
    held(&acting.ask("/erase/release", &asked)?, output)
}

/// `tally erase holds`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn holds(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let holds: HoldRows = acting.ask("/erase/holds", &json!({}))?;
    print(output, &holds, || {
        let mut rows = vec![["reason", "names"].map(str::to_owned).to_vec()];
        rows.extend(holds.rows.iter().map(|it| vec![it.reason_code.clone(), it.names.to_string()]));
        columns(&rows)
    })?;
    Ok(Exit::Done)
}

fn held(done: &HoldDone, output: Output) -> Result<Exit, Failure> {
    print(output, done, || {
        let text = match (done.held, done.changed) {
            (true, true) => "on hold: nothing of this person's access history is disposed of",
            (true, false) => "on hold, as before",
            (false, true) => "released: the next disposal takes this person along",
            (false, false) => "was not on hold",
        };
        text.to_owned()
    })?;
    Ok(Exit::Done)
}

fn dispose(
    basis: DisposalBasis,
    before: Option<u16>,
    subject: Option<String>,
    authority: &Authority,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let key = officer_key(&acting, authority)?;
    let asked = PrepareErasure {
        basis: basis.code().to_owned(),
        before,
        subject: subject.clone(),
        role: authority.authorised_by.clone(),
    };
    let prepared: ErasurePrepared = acting.ask("/erase/prepare", &asked)?;
    let ErasurePrepared { text, certificate } = prepared;
    if !authority.yes {
        confirm(&certificate)?;
    }
    let (path, file) = certificate_file(&certificate, authority)?;
    let signature = sign(&acting, basis, &certificate, &text, &key)?;
    let order = RunErasure {
        text: text.clone(),
        subject,
        public_key: STANDARD.encode(key.verifying_key().as_bytes()),
        signature,
    };
    // The file is there before anything is destroyed: a disk that is full is told now.
    let written = write_whole(file, &text);
    written.map_err(|why| unwritten(&path, &why))?;
    let done: ErasureDone = acting.ask("/erase/run", &order).inspect_err(|_| {
        // Nothing was disposed of, as far as is known: a certificate would say otherwise.
        drop(std::fs::remove_file(&path));
    })?;
    print(output, &done, || {
        let on_ledger = if done.on_ledger { "yes" } else { "not yet: it will be filed" };
        pairs(&[
            ("keys destroyed", done.keys.to_string()),
            ("openings destroyed", done.openings.to_string()),
            ("kept by a hold", done.held.to_string()),
            ("certificate", path.display().to_string()),
            ("its SHA-256", done.certificate.clone()),
            ("on the ledger", on_ledger.to_owned()),
        ])
    })?;
    Ok(Exit::Done)
}

/// The officer's signature for exactly what the certificate says.
fn sign(
    acting: &Acting,
    basis: DisposalBasis,
    certificate: &Certificate,
    text: &str,
    key: &SigningKey,
) -> Result<String, Failure> {
    let what = Disposed {
        basis,
        before: certificate.before,
        keys: certificate.keys,
        openings: certificate.openings,
        held: certificate.held,
        certificate: sha256(&[text.as_bytes()]),
    };
    let role = certificate.authorised_by.parse::<OfficerRole>();
    let role = role.map_err(|why| Failure::usage(why, "name caldicott, or ig-lead"))?;
    let config = &acting.config;
    let preimage = disposal_preimage(&config.mesh_id, &config.member, &role, &what);
    Ok(STANDARD.encode(key.sign(&preimage).as_bytes()))
}

fn officer_key(acting: &Acting, authority: &Authority) -> Result<SigningKey, Failure> {
    let own = acting.config.officer.as_ref();
    let own = own.filter(|officer| officer.role.as_str() == authority.authorised_by);
    let path = authority.key.as_ref().or_else(|| own.map(|officer| &officer.key));
    let path = path.ok_or_else(|| {
        let what = format!("there is no key of {} to sign with", authority.authorised_by);
        Failure::configuration(what, "give the officer's key file: --key FILE")
    })?;
    keyfile::load(path, KeyUse::Officer)
        .map_err(|why| Failure::configuration(why, "give the officer's own key file"))
}

fn confirm(certificate: &Certificate) -> Result<(), Failure> {
    let nobody = || Failure::usage("nobody confirmed it", "answer with yes, or say --yes");
    let mut said = std::io::stderr().lock();
    let asked = write!(
        said,
        "{}This can't be undone. Type yes to destroy the keys: ",
        years(&certificate.years)
    );
    if !std::io::stdin().is_terminal() || asked.and_then(|()| said.flush()).is_err() {
        return Err(nobody());
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if read.is_err() || line.trim() != "yes" {
        return Err(nobody());
    }
    Ok(())
}

/// Makes the file: one that is there already is some other certificate.
fn certificate_file(
    certificate: &Certificate,
    authority: &Authority,
) -> Result<(PathBuf, std::fs::File), Failure> {
    let path = authority.certificate.clone().unwrap_or_else(|| {
        let time = certificate.made_at.replace(':', "");
        PathBuf::from(format!("disposal-{}-{}.json", certificate.before, time))
    });
    let file = OpenOptions::new().create_new(true).write(true).open(&path);
    file.map_err(|why| unwritten(&path, &why)).map(|file| (path, file))
}

fn write_whole(mut file: std::fs::File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn unwritten(path: &Path, why: &std::io::Error) -> Failure {
    let what = format!("{}: {why}", path.display());
    Failure::environment(what, "name a new file for the certificate: --certificate FILE")
}

fn years(years: &[ErasureYear]) -> String {
    let head = ["retention year", "keys of people", "own openings", "received", "on hold"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(years.iter().map(|it| {
        let counts = [it.keys, it.own_openings, it.received_openings, it.held];
        let mut row = vec![it.year.to_string()];
        row.extend(counts.map(|count| count.to_string()));
        row
    }));
    columns(&rows)
}
