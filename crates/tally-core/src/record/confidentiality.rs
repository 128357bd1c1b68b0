//! How confidential a record says that it is.

use super::{Item, Label};

/// HL7's v3-Confidentiality, least first: each covers those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidentiality {
    /// `U`: for anybody.
    Unrestricted,
    /// `L`: of no harm to anybody.
    Low,
    /// `M`: little.
    Moderate,
    /// `N`: as health records are. What has no label is.
    Normal,
    /// `R`: as those of people are who would be in danger if they were found. The Personal
    /// Demographics Service leaves out of their Patients where they are.
    Restricted,
    /// `V`: for hardly anybody.
    VeryRestricted,
}

/// The names that the code system has had: in FHIR R4, in STU3, and as an object identifier.
const SYSTEMS: [&str; 3] = [
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "http://hl7.org/fhir/v3/Confidentiality",
    "urn:oid:2.16.840.1.113883.5.25",
];

const CODES: [(&str, Confidentiality); 6] = [
    ("U", Confidentiality::Unrestricted),
    ("L", Confidentiality::Low),
    ("M", Confidentiality::Moderate),
    ("N", Confidentiality::Normal),
    ("R", Confidentiality::Restricted),
    ("V", Confidentiality::VeryRestricted),
];

impl Confidentiality {
    /// What a label says; none if it is of another system. A code that the system no longer has, or
    /// never had, is the strictest; one without a system counts if it is one of the system's.
    #[must_use]
    pub fn of(label: &Label) -> Option<Self> {
        let known = CODES.iter().find(|(code, _)| *code == label.code).map(|(_, level)| *level);
        if SYSTEMS.contains(&label.system.as_str()) {
            Some(known.unwrap_or(Self::VeryRestricted))
        } else {
            known.filter(|_| label.system.is_empty())
        }
    }
}

impl Item {
    /// The strictest of its labels.
    #[must_use]
    pub fn confidentiality(&self) -> Confidentiality {
        let labels = self.labels.iter().filter_map(Confidentiality::of);
        labels.max().unwrap_or(Confidentiality::Normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)]) -> Confidentiality {
        let labels = labels
            .iter()
            .map(|(system, code)| Label { system: (*system).to_owned(), code: (*code).to_owned() });
        let item = Item {
            kind: "Patient".to_owned(),
            id: "p1".to_owned(),
            people: Vec::new(),
            labels: labels.collect(),
            facets: crate::record::Facets::default(),
            bytes: 1,
        };
        item.confidentiality()
    }

    #[test]
    fn the_strictest_label_counts_and_no_label_is_normal() {
        let [r4, stu3, oid] = SYSTEMS;
        assert_eq!(of(&[]), Confidentiality::Normal);
        assert_eq!(of(&[(r4, "L")]), Confidentiality::Low);
        assert_eq!(of(&[(r4, "N"), (stu3, "R"), (r4, "U")]), Confidentiality::Restricted);
        assert_eq!(of(&[(oid, "V")]), Confidentiality::VeryRestricted);
        assert_eq!(of(&[("", "R")]), Confidentiality::Restricted);
    }

    #[test]
    fn a_code_that_nobody_knows_is_the_strictest_and_another_systems_says_nothing() {
        assert_eq!(of(&[(SYSTEMS[0], "TBOO")]), Confidentiality::VeryRestricted);
        assert_eq!(of(&[(SYSTEMS[0], "")]), Confidentiality::VeryRestricted);
        assert_eq!(of(&[("https://example.org/labels", "V")]), Confidentiality::Normal);
        assert_eq!(of(&[("", "HIV")]), Confidentiality::Normal);
    }
}
