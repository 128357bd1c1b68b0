//! `tally identity`: certificates of a member's own workloads, from its own CA.

use std::path::Path;

use serde::Serialize;
use tally_core::time::Timestamp;
use tally_net::rustls::pki_types::CertificateDer;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::{Role, SpiffeId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::args::{IdentityIssueArgs, IdentityShowArgs};
use crate::failure::{Exit, Failure};
use crate::mesh::layout::{issue as issue_from, write_issued};
use crate::output::{Output, columns, print};
use crate::system::now_s;

/// One certificate, in words.
#[derive(Debug, Serialize)]
struct Shown {
    identity: String,
    valid_from: String,
    valid_until: String,
    valid_now: bool,
    addresses: Vec<String>,
    issuer: String,
}

/// `tally identity issue`.
///
/// # Errors
/// [`Failure`] if the CA can't be used, or the files not be written.
pub(crate) fn issue(args: &IdentityIssueArgs, output: Output) -> Result<Exit, Failure> {
    let role = Role::parse(&args.role).ok_or_else(|| {
        let known = Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        Failure::usage(format!("there is no role {:?}", args.role), format!("one of {known}"))
    })?;
    let text = format!("spiffe://{}/{}/{}/{}", args.mesh, args.member, role.as_str(), args.name);
    let id: SpiffeId = text.parse().map_err(|_| {
        let remedy = "a name has 1 to 64 of a-z, 0-9 and -; a ledger node's is its number";
        Failure::usage(format!("{text} is no identity"), remedy)
    })?;
    if role == Role::Ledger && id.node().is_none() {
        let remedy = "give a ledger node's number: --name 1";
        return Err(Failure::usage(format!("{} is no ledger node's number", args.name), remedy));
    }
    let issued = issue_from(&args.ca, &id, &args.ip, args.valid_for)?;
    write_issued(&args.to, &args.name, &issued)?;
    let shown = show_pem(&issued.certificate_pem, &args.to)?;
    print(output, &shown, || table(&shown))?;
    Ok(Exit::Done)
}

/// `tally identity show`.
///
/// # Errors
/// [`Failure`] if the file holds no certificate.
pub(crate) fn show(args: &IdentityShowArgs, output: Output) -> Result<Exit, Failure> {
    let pem = crate::system::read_text(&args.certificate, 1024 * 1024)?;
    let shown = show_pem(&pem, &args.certificate)?;
    print(output, &shown, || table(&shown))?;
    // Whoever scripts this wants to know.
    Ok(if shown.iter().all(|it| it.valid_now) { Exit::Done } else { Exit::Refused })
}

fn show_pem(pem: &str, path: &Path) -> Result<Vec<Shown>, Failure> {
    let bad = |why: String| {
        let remedy = "give a file with certificates in PEM";
        Failure::configuration(format!("{}: {why}", path.display()), remedy)
    };
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    let certificates =
        certificates.collect::<Result<Vec<_>, _>>().map_err(|why| bad(why.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    certificates
        .iter()
        .map(|it| show_der(it).ok_or_else(|| bad("a certificate can't be read".to_owned())))
        .collect()
}

fn show_der(der: &CertificateDer<'_>) -> Option<Shown> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (from_s, until_s) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|it| it.value.general_names.as_slice()).unwrap_or_default();
    let addresses = names.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => address(bytes),
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let time = |seconds: i64| {
        let ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        Timestamp(ms).rfc3339()
    };
    Some(Shown {
        identity: SpiffeId::of(der)
            .map_or_else(|_| format!("({})", certificate.subject()), |id| id.to_string()),
        valid_from: time(from_s),
        valid_until: time(until_s),
        valid_now: (from_s..=until_s).contains(&now_s()),
        addresses: addresses.collect(),
        issuer: certificate.issuer().to_string(),
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|it| std::net::Ipv6Addr::from(it).to_string())
}

fn table(shown: &[Shown]) -> String {
    let head = ["identity", "valid from", "valid until", "now", "addresses", "issuer"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(shown.iter().map(|it| {
        let now = if it.valid_now { "valid" } else { "NOT VALID" };
        let (from, until) = (it.valid_from.clone(), it.valid_until.clone());
        let addresses = it.addresses.join(" ");
        vec![it.identity.clone(), from, until, now.to_owned(), addresses, it.issuer.clone()]
    }));
    columns(&rows)
}
