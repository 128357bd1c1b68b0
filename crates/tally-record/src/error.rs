//! Why a FHIR body, or an entry of a Bundle, is not understood. One closed table.

macro_rules! record_errors {
    ($($variant:ident = $code:literal; $meaning:literal)*) => {
        /// Why a FHIR body, or an entry of a Bundle, can't be described, and so is not released. The
        /// fault is the source's, or of whoever configured it. Holds no byte of the record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        pub enum RecordError {
            $(#[doc = $meaning] #[error($meaning)] $variant,)*
        }

        impl RecordError {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code: for logs, metric labels and `tally explain`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

record_errors! {
    // the bytes
    TooLarge = "record-too-large"; "The body is larger than the limit."
    NotUtf8 = "record-not-utf8"; "The body is not UTF-8."
    NotJson = "record-not-json"; "The body is not JSON."
    NotXml = "record-not-xml"; "The body is not XML, or has what FHIR's XML has not: a DTD, an entity of its own, a prefix, text between elements."
    UnknownElement = "record-unknown-element"; "It has an element that FHIR R4 does not have there, so nobody knows how often it may stand."
    TooDeep = "record-too-deep"; "The JSON is nested deeper than the limit."
    DuplicateKey = "record-duplicate-key"; "A JSON object has the same name twice, so readers would disagree on what it says."
    // what it says that it is
    NoResourceType = "record-no-resource-type"; "It is no FHIR resource: it has no resourceType."
    UnknownType = "record-unknown-type"; "Its resourceType is none of FHIR R4's."
    Outcome = "record-outcome"; "It is an OperationOutcome: no record, and nobody knows whom its text is about."
    // what decides about it
    BadId = "record-bad-id"; "Its id is not a FHIR id: 1 to 64 letters, digits, hyphens and dots."
    MalformedElement = "record-malformed-element"; "An element that decides whom the record is about, or how it is labelled, has the wrong shape."
    SubjectUnresolved = "record-subject-unresolved"; "It is about somebody, and nothing in reach says whom."
    BinaryOfNobody = "record-binary-of-nobody"; "It is a Binary, and its securityContext names nobody: nothing says who may see it."
    TooManyPeople = "record-too-many-people"; "It is about more people than the limit."
    TooManyLabels = "record-too-many-labels"; "It has more labels than the limit."
    TooManyContained = "record-too-many-contained"; "It contains more resources than the limit."
    // Bundles
    TooManyEntries = "record-too-many-entries"; "The Bundle has more entries than the limit."
    NestedBundle = "record-nested-bundle"; "A Bundle inside a Bundle or a resource is not read."
    EntryWithoutResource = "record-entry-without-resource"; "An entry of the Bundle has no resource."
    ModifiedEntry = "record-modified-entry"; "The Bundle, or one of its entries, has an extension or a rule that may change its meaning."
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_code_and_a_sentence_of_its_own() {
        let codes = RecordError::ALL.iter().map(|error| error.code()).collect::<BTreeSet<_>>();
        assert_eq!(codes.len(), RecordError::ALL.len());
        for error in RecordError::ALL {
            assert!(error.code().starts_with("record-"), "{error:?}");
            assert!(error.to_string().ends_with('.'), "{error:?}");
        }
    }
}
