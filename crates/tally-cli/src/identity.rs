//! `tally identity`: certificates of a member's own workloads, from its own CA.

use std::path::Path;

use serde::Serialize;
use tally_core::id::MemberId;
use tally_core::time::Timestamp;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tally_net::tls::check_by_ca;
use tally_net::{Identity, Role, SpiffeId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::args::{IdentityIssueArgs, IdentityShowArgs};
use crate::config::identity_files;
use crate::failure::{Exit, Failure};
use crate::mesh::layout::{issue_run_by, write_issued};
use crate::output::{Output, columns, print};
use crate::system::now_s;

/// One certificate, in words.
#[derive(Debug, Serialize)]
struct Shown {
    identity: String,
    subject: String,
    valid_from: String,
    valid_until: String,
    valid_now: bool,
    /// Whole days until it ends; below 0 once it has.
    days_left: i64,
    addresses: Vec<String>,
    issuer: String,
    /// Whether the key is its own; none where no key was named.
    key_fits: Option<bool>,
    /// Why the CA does not vouch for it, or "vouches"; none where no CA was named.
    ca: Option<String>,
}

/// What is held beside a certificate.
#[derive(Debug, Clone, Copy, Default)]
struct Beside<'p> {
    key: Option<&'p Path>,
    ca: Option<&'p Path>,
}

/// The word for a CA that vouches.
const VOUCHES: &str = "vouches";

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
    let operator = args.operator.as_deref().map(str::parse::<MemberId>).transpose();
    let operator = operator.map_err(|why| {
        let remedy = "give the id of the member that runs the workload: --operator QX1";
        Failure::usage(format!("no member's id: {why}"), remedy)
    })?;
    let issued = issue_run_by(&args.ca, operator.as_ref(), &id, &args.ip, args.valid_for)?;
    write_issued(&args.to, &args.name, &issued)?;
    let shown = show_pem(&issued.certificate_pem, &args.to)?;
    print(output, &shown, || table(&shown))?;
    Ok(Exit::Done)
}

/// `tally identity show`.
///
/// # Errors
/// [`Failure`] if the file holds no certificate.
pub(crate) fn show(
    args: &IdentityShowArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let (certificate, key, ca) = match (&args.certificate, config) {
        (Some(file), _) => (file.clone(), args.key.clone(), args.ca.clone()),
        (None, Some(config)) => {
            let (certificate, key, ca) = identity_files(config)?;
            (certificate, Some(key), ca)
        }
        (None, None) => {
            let remedy = "tally identity show FILE, or --config with a configuration";
            return Err(Failure::usage("nobody said which certificate to show", remedy));
        }
    };
    let pem = crate::system::read_text(&certificate, 1024 * 1024)?;
    let mut shown = show_pem(&pem, &certificate)?;
    if let Some(first) = shown.first_mut() {
        let beside = Beside { key: key.as_deref(), ca: ca.as_deref() };
        first.hold_beside(&certificate, beside)?;
    }
    print(output, &shown, || table(&shown))?;
    // Whoever scripts this wants to know.
    Ok(if shown.iter().all(Shown::is_good) { Exit::Done } else { Exit::Refused })
}

impl Shown {
    fn is_good(&self) -> bool {
        let vouched = self.ca.as_deref().is_none_or(|it| it == VOUCHES);
        self.valid_now && vouched && self.key_fits.unwrap_or(true)
    }

    /// Looks whether key and CA fit to the certificate.
    fn hold_beside(&mut self, path: &Path, Beside { key, ca }: Beside<'_>) -> Result<(), Failure> {
        let remedy = "name files in PEM: certificate, key and CA";
        let bad = |why: &dyn std::fmt::Display| Failure::configuration(why, remedy);
        // A CA can be asked without the key: the certificate stands for both.
        let identity = match key {
            Some(key) => Identity::load(path, key).map_err(|why| bad(&why))?,
            None => {
                let chain = CertificateDer::pem_file_iter(path).map_err(|why| bad(&why))?;
                let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|why| bad(&why))?;
                let none = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(Vec::new()));
                Identity::new(chain, none)
            }
        };
        self.key_fits = key.map(|_| identity.certified().is_ok());
        if let Some(ca) = ca {
            let told = |why| bad(&format!("{}: {why}", ca.display()));
            let ca = CertificateDer::from_pem_file(ca).map_err(told)?;
            let checked = check_by_ca(&identity, &ca);
            self.ca = Some(checked.map_or_else(|why| why.code().to_owned(), |()| VOUCHES.into()));
        }
        Ok(())
    }
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
        days_left: until_s.saturating_sub(now_s()).div_euclid(DAY_S),
        subject: certificate.subject().to_string(),
        key_fits: None,
        ca: None,
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

/// Seconds of a day.
const DAY_S: i64 = 24 * 60 * 60;

fn table(shown: &[Shown]) -> String {
    let head = [
        "identity",
        "valid from",
        "valid until",
        "now",
        "days left",
        "key",
        "CA",
        "addresses",
        "issuer",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(shown.iter().map(|it| {
        let now = if it.valid_now { "valid" } else { "NOT VALID" };
        let key = match it.key_fits {
            None => "-",
            Some(true) => "fits",
            Some(false) => "ANOTHER'S",
        };
        let ca = match it.ca.as_deref() {
            None => "-".to_owned(),
            Some(VOUCHES) => VOUCHES.to_owned(),
            Some(why) => format!("DOES NOT VOUCH: {why}"),
        };
        vec![
            it.identity.clone(),
            it.valid_from.clone(),
            it.valid_until.clone(),
            now.to_owned(),
            it.days_left.to_string(),
            key.to_owned(),
            ca,
            it.addresses.join(" "),
            it.issuer.clone(),
        ]
    }));
    columns(&rows)
}
