//! Why a FHIR Consent is not taken over. One closed table.

use std::fmt;

use crate::error::RecordError;

macro_rules! consent_faults {
    ($($variant:ident = $code:literal; $meaning:literal)*) => {
        /// What is wrong with a Consent. Holds no value of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConsentFault {
            $(#[doc = $meaning] $variant,)*
            /// It is no JSON, or nested too deep.
            Json(RecordError),
        }

        impl ConsentFault {
            /// All that are no matter of JSON.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* Self::Json(error) => error.code() }
            }
        }

        impl fmt::Display for ConsentFault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($meaning),)*
                    Self::Json(error) => fmt::Display::fmt(error, f),
                }
            }
        }
    };
}

consent_faults! {
    TooLarge = "consent-too-large"; "It is larger than the limit of 128 KiB."
    NotConsent = "consent-no-consent"; "It is no Consent resource."
    ReleaseFive = "consent-release-5"; "It is a Consent of FHIR R5, whose base decision and rules stand elsewhere: export it as FHIR R4 (4.0.1)."
    NotActive = "consent-not-active"; "Its status is not active, so it is not to be followed: what was recorded of it before is to be withdrawn."
    OtherScope = "consent-other-scope"; "Its scope is not patient-privacy: it is not about who may see records."
    NoCategory = "consent-no-category"; "It has no category."
    Modified = "consent-modified"; "It has a modifierExtension or implicitRules, which may change the meaning of all the rest."
    UnknownElement = "consent-unknown-element"; "It has an element that R4 does not have there, or that may change its meaning."
    Unsupported = "consent-unsupported"; "This element limits the rule in a way that can't be told of a request or a record here; IHE PCF does not use it."
    Malformed = "consent-malformed"; "It has the wrong shape."
    NoPatient = "consent-no-patient"; "It does not say whose it is: by an NHS number, or as a reference Patient/ID."
    NoBase = "consent-no-base"; "It says neither permit nor deny: neither by provision.type nor by a policyRule of OPTIN or OPTOUT."
    UntypedRule = "consent-untyped-rule"; "The provision has no type, permit or deny: without it nobody can say whether it permits or is an exception (IHE PCF requires it)."
    UnknownPurpose = "consent-unknown-purpose"; "The purpose is none of v3-ActReason, and none of the local list."
    UnknownLabel = "consent-unknown-label"; "The label has no system or no code, or is a confidentiality that HL7 does not have."
    UnknownClass = "consent-unknown-class"; "The class is no resource type of FHIR R4."
    UnknownMeaning = "consent-unknown-meaning"; "The meaning of the data reference is none of instance, related and authoredby."
    BadReference = "consent-bad-reference"; "The reference is no literal one to another record."
    BadDate = "consent-bad-date"; "The date is none, or the period ends before it starts."
    TooMany = "consent-too-many"; "There are more provisions, or more values of one condition, than the limit."
    TooDeep = "consent-too-deep"; "Provisions are nested deeper than the limit."
}

/// Why a Consent is not taken over: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct ConsentError {
    /// Where, as a path of R4's own names: `provision.provision[0].purpose[1]`.
    pub place: String,
    /// What.
    pub fault: ConsentFault,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_has_a_code_and_a_sentence_of_its_own() {
        let codes = ConsentFault::ALL.iter().map(|fault| fault.code()).collect::<BTreeSet<_>>();
        assert_eq!(codes.len(), ConsentFault::ALL.len());
        for fault in ConsentFault::ALL {
            assert!(fault.code().starts_with("consent-"), "{fault:?}");
            assert!(fault.to_string().ends_with('.'), "{fault:?}");
        }
    }
}
