//! A Bundle of a mebibyte: read, decided about with one allow-list, and cut.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use tally_core::agreement::Elements;
use tally_record::Subjects;
use tally_record::fhir::{Context, Links, RecordLimits, Verdict, describe};

const BUNDLE_LEN: usize = 1024 * 1024;

/// Elements of an Observation: some whole, some in part, the rest stays.
const LISTED: [&str; 6] = [
    "code",
    "component.code.coding",
    "component.valueQuantity",
    "status",
    "subject.reference",
    "valueQuantity",
];

fn bundle() -> Vec<u8> {
    let mut text = String::from(r#"{"resourceType":"Bundle","type":"searchset","entry":["#);
    let mut number = 0_u32;
    while text.len() < BUNDLE_LEN {
        let comma = if number == 0 { "" } else { "," };
        text.push_str(&format!(
            r#"{comma}{{"fullUrl":"https://example.org/Observation/o{number}","resource":{{"resourceType":"Observation","id":"o{number}","meta":{{"versionId":"1"}},"text":{{"status":"generated","div":"<div>Blood pressure</div>"}},"status":"final","category":[{{"coding":[{{"code":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"85354-9"}}],"text":"Blood pressure"}},"subject":{{"reference":"Patient/p{number}","display":"Somebody made up"}},"effectiveDateTime":"2026-01-01","performer":[{{"display":"Somebody else"}}],"component":[{{"code":{{"coding":[{{"system":"http://loinc.org","code":"8480-6"}}],"text":"systolic"}},"valueQuantity":{{"value":107,"unit":"mmHg"}},"interpretation":[{{"text":"normal"}}]}},{{"code":{{"coding":[{{"system":"http://loinc.org","code":"8462-4"}}],"text":"diastolic"}},"valueQuantity":{{"value":60,"unit":"mmHg"}}}}]}},"search":{{"mode":"match"}}}}"#
        ));
        number += 1;
    }
    text.push_str("]}");
    text.into_bytes()
}

#[library_benchmark]
#[bench::one_mebibyte(setup = bundle)]
fn minimise(body: Vec<u8>) -> (usize, Vec<u8>) {
    let Ok(member) = "RZ9".parse() else { return (0, body) };
    let (subjects, limits) = (Subjects::default(), RecordLimits::default());
    let context = Context {
        member: &member,
        subjects: &subjects,
        base: None,
        neighbours: None,
        limits: &limits,
    };
    let elements = Elements::These(LISTED.map(str::to_owned).to_vec());
    let left = describe(black_box(&body), &context).map(|described| {
        let verdict = Verdict::Keep { elements: (&elements).into(), types: &[], unlocated: false };
        let verdicts = vec![verdict; described.items().len()];
        described.minimise(&verdicts, &Links::default())
    });
    let len = left.ok().and_then(|left| left.body).map_or(0, |body| body.len());
    (black_box(len), body)
}

library_benchmark_group!(name = pieces, benchmarks = [minimise]);
