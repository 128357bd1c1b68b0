//! Every "no" that an exchange can end with: one closed table. The wire code, the ledger's number,
//! the HTTP status, the FHIR issue type, the metric label and the help text come from its rows and
//! from nowhere else.
//!
//! A new refusal is a new row. Numbers are stored on the ledger: they are never used again for
//! something else.

mod explain;
mod table;

pub(crate) use explain::quoted;
pub use explain::{REFUSAL_SYSTEM, SPINE_SYSTEM, Said};
pub use table::Refusal;

use std::fmt;
use std::str::FromStr;

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Who asked could have known better, or has to do something first.
    Caller,
    /// The other organisation's side did something that it must not.
    Peer,
    /// Something around us is missing or slow. Trying again may help.
    Environment,
    /// Our own configuration or store.
    Us,
}

/// What of a refusal is recorded, and what leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// About organisations and agreements: recorded by both sides under its own code.
    Organisation,
    /// About a person: recorded as `person-level`, leaves as `not-available`, the same as an
    /// unknown person.
    Person,
    /// Nothing was decided: a metric at the provider, the code in the requester's half.
    Operation,
    /// Refused at the requester's own ingress: a log line and a metric, no entry.
    Ingress,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The information governance lead of the provider.
    ProviderIgLead,
    /// The provider's Caldicott Guardian.
    ProviderCaldicott,
    /// Whoever runs the provider's agent.
    ProviderOperator,
    /// The information governance lead of one's own organisation.
    OwnIgLead,
    /// Whoever runs one's own agent.
    OwnOperator,
    /// Whoever runs the ledger nodes.
    LedgerOperators,
    /// Whoever wrote the application that asks.
    ApplicationVendor,
}

/// There is no such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown refusal code")]
pub struct UnknownRefusal;

impl Refusal {
    /// As the ledger may know it: a refusal about a person is just that.
    #[must_use]
    pub fn on_ledger(self) -> Self {
        if self.scope() == Scope::Person { Self::PersonLevel } else { self }
    }

    /// As the requester may know it: a refusal about a person looks like an unknown person.
    #[must_use]
    pub fn outwards(self) -> Self {
        if self.scope() == Scope::Person { Self::NotAvailable } else { self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Refusal {
    type Err = UnknownRefusal;

    fn from_str(text: &str) -> Result<Self, UnknownRefusal> {
        Self::ALL.iter().copied().find(|known| known.code() == text).ok_or(UnknownRefusal)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProviderIgLead => "the IG lead of the provider",
            Self::ProviderCaldicott => "the Caldicott Guardian of the provider",
            Self::ProviderOperator => "whoever runs the provider's agent",
            Self::OwnIgLead => "the IG lead of your organisation",
            Self::OwnOperator => "whoever runs your organisation's agent",
            Self::LedgerOperators => "whoever runs the ledger nodes",
            Self::ApplicationVendor => "whoever wrote the application",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_and_numbers_are_unique_and_lead_back() {
        let codes = Refusal::ALL.iter().map(|refusal| refusal.code()).collect::<BTreeSet<_>>();
        let numbers = Refusal::ALL.iter().map(|refusal| refusal.number()).collect::<BTreeSet<_>>();
        assert_eq!(codes.len(), Refusal::ALL.len());
        assert_eq!(numbers.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            assert_eq!(refusal.code().parse(), Ok(*refusal));
            assert_eq!(Refusal::from_number(refusal.number()), Some(*refusal));
        }
    }

    #[test]
    fn what_is_about_a_person_looks_like_an_unknown_person() {
        let personal = [Refusal::ConsentAbsent, Refusal::ConsentDenied, Refusal::UnknownRecord];
        for refusal in personal {
            assert_eq!(refusal.outwards(), Refusal::NotAvailable);
            assert_eq!(refusal.on_ledger(), Refusal::PersonLevel);
        }
        assert_eq!(Refusal::NoAgreement.outwards(), Refusal::NoAgreement);
    }

    #[test]
    fn what_is_about_a_person_has_the_code_of_an_unknown_record_or_none() {
        assert_eq!(Refusal::NotAvailable.spine_code(), Some("RESOURCE_NOT_FOUND"));
        for refusal in Refusal::ALL.iter().filter(|it| it.scope() == Scope::Person) {
            let code = refusal.spine_code();
            assert!(code.is_none() || code == Some("RESOURCE_NOT_FOUND"), "{refusal}");
        }
    }

    #[test]
    fn every_refusal_explains_itself_in_sentences() {
        for refusal in Refusal::ALL {
            assert!(refusal.meaning().ends_with('.'), "{refusal}");
            assert!(refusal.remedy().ends_with('.'), "{refusal}");
        }
    }
}
