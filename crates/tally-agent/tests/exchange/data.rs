//! What the provider keeps, what is asked of it, and the agreements.

use std::fs;
use std::path::Path;

use tally_agent::exchange::Ask;
use tally_agent::source::{OptOutScope, SourceKind, SourceSettings};
use tally_core::dataset::Wanted;
use tally_core::entry::{Action, UserKnown};
use tally_core::id::CheckDigit;

use super::mesh::{MEMBERS, PROVIDES};

/// A question about Patient/p1, for treatment.
pub(crate) fn patient() -> Ask {
    Ask {
        provider: MEMBERS[PROVIDES].parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        path: "Patient/p1".to_owned(),
        query: String::new(),
        wanted: Wanted::default(),
        purpose: "TREAT".parse().unwrap(),
        agreement: None,
        user_known: UserKnown::Asserted,
        user: Some("rota|nurse-joy".to_owned()),
        role: None,
        relationship: None,
        reason: None,
        resumes: None,
        request_ids: vec!["r-1".to_owned()],
        base_url: None,
        trace: None,
    }
}

/// A question for the whole dataset.
pub(crate) fn dataset(source: &str) -> Ask {
    Ask {
        source: source.parse().unwrap(),
        action: Action::Dataset,
        path: String::new(),
        ..patient()
    }
}

pub(crate) const NHS_NUMBER: &str = "9990000018";
/// Longer than what sockets and buffers hold on the way.
pub(crate) const BEDS_LEN: usize = 48 << 20;

pub(crate) fn write_data(dir: &Path) {
    let fhir = dir.join("fhir");
    fs::create_dir(&fhir).unwrap();
    let patient = |id: &str, number: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"{id}","identifier":[{{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"{number}"}}],"gender":"female","birthDate":"1970-01-01"}}"#
        )
    };
    fs::write(fhir.join("p1.json"), patient("p1", NHS_NUMBER)).unwrap();
    fs::write(fhir.join("p2.json"), patient("p2", "9990000026")).unwrap();
    fs::write(dir.join("beds.csv"), "ward,beds\nA,12\nB,7\n").unwrap();
    let row = "A,12345678\n";
    let rows = BEDS_LEN / row.len();
    fs::write(dir.join("long.csv"), format!("ward,beds\n{}", row.repeat(rows))).unwrap();
}

pub(crate) fn sources(dir: &Path) -> Vec<SourceSettings> {
    let source = |id: &str, kind| SourceSettings {
        id: id.parse().unwrap(),
        kind,
        title: None,
        licence: None,
        identifiers: CheckDigit::Checked,
        opt_out: OptOutScope::Care,
    };
    let table = |name: &str| SourceKind::Files { path: dir.join(name), person: None };
    vec![
        source("fhir", SourceKind::FhirDirectory { path: dir.join("fhir"), subjects: None }),
        source("beds", table("beds.csv")),
        source("long", table("long.csv")),
    ]
}

pub(crate) const AGREEMENT: &str = r#"
tally = 1
id = "DSA-1"
version = 1
title = "Discharge support"
start = 2026-01-01
review = 2098-12-31
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
fields = { Patient = ["identifier", "birthDate"] }
user_known = "asserted"
relationship = "none"
overrides = []
offline_emergency = false
"#;

pub(crate) const DATASETS: &str = r#"
tally = 1
id = "DSA-2"
version = 1
title = "Beds"
start = 2026-01-01
review = 2098-12-31
end = 2099-12-31
dpia = "DPIA-78"
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "beds"
purposes = ["TREAT"]
data = "none"
confidential = false
columns = ["ward", "beds"]
user_known = "asserted"
relationship = "none"
overrides = []
offline_emergency = false

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "long"
purposes = ["TREAT"]
data = "none"
confidential = false
columns = ["ward", "beds"]
user_known = "asserted"
relationship = "none"
overrides = []
offline_emergency = false
"#;

pub(crate) const LIARS: &str = r#"
tally = 1
id = "DSA-3"
version = 1
title = "Beds of others"
start = 2026-01-01
review = 2098-12-31
end = 2099-12-31
dpia = "DPIA-79"
parties = ["LZ9", "QX1"]

[[share]]
provider = "QX1"
requesters = ["LZ9"]
source = "beds"
purposes = ["TREAT"]
data = "none"
confidential = false
columns = ["ward", "beds"]
user_known = "asserted"
relationship = "none"
overrides = []
offline_emergency = false
"#;
