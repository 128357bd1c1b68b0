//! `tally explain CODE`: what each code means, whose fault it is, and what to do. The tables are
//! those that the codes themselves come from.

use serde::Serialize;
use tally_core::ledger::Rejection;
use tally_core::refusal::{Fault, Refusal};
use tally_core::register::RegisterName;
use tally_ledger::cluster::{self, ClusterRefusal};
use tally_net::IdentityError;

use crate::args::ExplainArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, print};

/// One code, in words.
#[derive(Debug, Serialize)]
struct Explained {
    code: &'static str,
    kind: &'static str,
    meaning: String,
    fault: &'static str,
    remedy: String,
    ask: Option<String>,
}

/// `tally explain`.
///
/// # Errors
/// [`Failure`] if there is no such code.
pub(crate) fn explain(args: &ExplainArgs, output: Output) -> Result<Exit, Failure> {
    let all = all();
    let Some(code) = &args.code else {
        print(output, &all, || list(&all))?;
        return Ok(Exit::Done);
    };
    let found: Vec<Explained> = all.into_iter().filter(|it| it.code == code).collect();
    if found.is_empty() {
        let remedy = "tally explain without a code lists all that there are";
        return Err(Failure::usage(format!("there is no code {code:?}"), remedy));
    }
    print(output, &found, || found.iter().map(Explained::text).collect::<Vec<_>>().join("\n"))?;
    Ok(Exit::Done)
}

fn all() -> Vec<Explained> {
    let refusals = Refusal::ALL.iter().map(|it| of_refusal(*it));
    let rejections = Rejection::CODES.iter().filter_map(|(number, _)| of_rejection(*number));
    let identities = IdentityError::ALL.iter().map(|it| of_identity(*it));
    let changes = ClusterRefusal::ALL.iter().map(|it| of_change(*it));
    refusals.chain(rejections).chain(identities).chain(changes).collect()
}

fn of_change(refusal: ClusterRefusal) -> Explained {
    Explained {
        code: refusal.code(),
        kind: "refusal of a change of the ledger's cluster",
        meaning: refusal.text().to_owned(),
        fault: match refusal.fault() {
            cluster::Fault::Caller => fault(Fault::Caller),
            cluster::Fault::Environment => fault(Fault::Environment),
        },
        remedy: refusal.remedy().to_owned(),
        ask: None,
    }
}

fn of_refusal(refusal: Refusal) -> Explained {
    Explained {
        code: refusal.code(),
        kind: "refusal of an exchange",
        meaning: refusal.meaning().to_owned(),
        fault: fault(refusal.fault()),
        remedy: refusal.remedy().to_owned(),
        ask: Some(refusal.ask().to_string()),
    }
}

fn of_rejection(number: u16) -> Option<Explained> {
    let rejection = Rejection::from_parts(number, Vec::new())
        .or_else(|| Rejection::from_parts(number, vec![RegisterName::Protocol]))?;
    Some(Explained {
        code: rejection.code(),
        kind: "rejection by the ledger",
        meaning: rejection.meaning().to_owned(),
        fault: fault(rejection.fault()),
        remedy: rejection.remedy().to_owned(),
        ask: None,
    })
}

fn of_identity(error: IdentityError) -> Explained {
    let text = error.to_string();
    let meaning = text.split_once(": ").map_or(text.as_str(), |(_, meaning)| meaning);
    Explained {
        code: error.code(),
        kind: "identity that was refused",
        meaning: sentence(meaning),
        fault: "whoever showed the certificate",
        remedy: identity_remedy(error).to_owned(),
        ask: None,
    }
}

/// What to do about a refused identity.
pub(crate) const fn identity_remedy(error: IdentityError) -> &'static str {
    match error {
        IdentityError::CertificateMissing => {
            "Show a certificate of a member of the mesh: only checkpoints and tiles are public."
        }
        IdentityError::CertificateMalformed | IdentityError::IdentityMalformed => {
            "Have a certificate issued: tally identity issue."
        }
        IdentityError::OtherMesh => "Use the certificate for this mesh.",
        IdentityError::MemberUnknown => "Have the organisation admitted to the mesh.",
        IdentityError::MemberRemoved => "Have the organisation admitted to the mesh again.",
        IdentityError::OtherIssuer | IdentityError::ChainInvalid => {
            "Issue it from the CA that the member's register names, or register the new CA."
        }
        IdentityError::Expired => "Have a new certificate issued: they live for 24 hours.",
        IdentityError::NotYetValid => "Check the clocks of both sides.",
        IdentityError::RoleRefused => "Use a certificate of a role that may do this.",
        IdentityError::OtherWorkload => "Check the address: another workload answers there.",
        IdentityError::OtherMember => {
            "Give the sidecar the address of its own member's agent: no other lets it in."
        }
    }
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Caller => "whoever asks",
        Fault::Peer => "the other organisation",
        Fault::Environment => "something around us",
        Fault::Us => "our own side",
    }
}

fn list(all: &[Explained]) -> String {
    let row = |it: &Explained| vec![it.code.to_owned(), it.kind.to_owned(), it.meaning.clone()];
    columns(&all.iter().map(row).collect::<Vec<_>>())
}

impl Explained {
    fn text(&self) -> String {
        let Self { code, kind, meaning, fault, remedy, ask } = self;
        let ask = ask.as_ref().map(|ask| format!("Ask:          {ask}.\n")).unwrap_or_default();
        format!("{code} ({kind})\n{meaning}\nWhat to do:   {remedy}\nWhose fault:  {fault}.\n{ask}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_of_every_table_is_explained() {
        let all = all();
        let codes = all.iter().map(|it| it.code).collect::<BTreeSet<_>>();
        let expected = Refusal::ALL.len() + Rejection::CODES.len() + IdentityError::ALL.len();
        assert_eq!(all.len(), expected + ClusterRefusal::ALL.len());
        assert!(codes.contains("stale") && codes.contains("certificate-expired"));
        for it in &all {
            assert!(it.meaning.ends_with('.') && it.remedy.ends_with('.'), "{}", it.code);
        }
    }
}
