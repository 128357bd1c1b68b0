//! The schema for editors says what the reader does.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value as Json, json};
use toml::de::{DeTable, DeValue};

use super::*;

const SCHEMA: &str = include_str!("../../../../../../proto/agreement.schema.json");

/// What the repository shows of agreements.
const SAMPLES: [&str; 4] = [
    GOOD,
    include_str!("../../../../../tally-cli/demo/agreements/dsa-1.toml"),
    include_str!("../../../../../tally-cli/demo/agreements/dsa-2.toml"),
    include_str!("../../../../../tally-cli/demo/agreements/dsa-3.toml"),
];

fn schema() -> Json {
    serde_json::from_str(SCHEMA).unwrap()
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

/// A file as editors see it.
fn as_json(text: &str) -> Json {
    table(DeTable::parse(text).unwrap().get_ref())
}

fn table(table: &DeTable<'_>) -> Json {
    table.iter().map(|(key, it)| (key.get_ref().to_string(), value(it.get_ref()))).collect()
}

fn value(one: &DeValue<'_>) -> Json {
    match one {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(number.as_str().parse::<i64>().unwrap()),
        DeValue::Float(number) => json!(number.as_str()),
        DeValue::Boolean(truth) => json!(truth),
        DeValue::Datetime(day) => json!(day.to_string()),
        DeValue::Array(list) => list.iter().map(|it| value(it.get_ref())).collect(),
        DeValue::Table(inner) => table(inner),
    }
}

#[test]
fn the_samples_are_as_the_schema_says() {
    let validator = validator();
    for sample in SAMPLES {
        read(sample).unwrap();
        let sample = as_json(sample);
        let wrong: Vec<_> = validator.iter_errors(&sample).map(|it| it.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// What is wrong with one value or key alone. What contradicts something else is for `check`.
#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    let validator = validator();
    for (from, to) in [
        ("tally = 1", "tally = 2"),
        ("tally = 1", ""),
        ("id = \"DSA-1\"", "id = \"DSA 1\""),
        ("id = \"DSA-1\"", "id = 1"),
        ("version = 1", "version = 0"),
        ("title = \"Discharge support\"", "title = \"\""),
        ("start = 2026-01-01", "start = 2026-01-01T00:00:00Z"),
        ("dpia", "dpai"),
        ("[\"RZ9\", \"LZ9\"]", "[\"RZ9\", \"RZ9\"]"),
        ("[\"RZ9\", \"LZ9\"]", "[]"),
        ("[\"RZ9\", \"LZ9\"]", "[\"RZ9\", \"Councils\"]"),
        ("provider = \"RZ9\"", "provider = \"councils\""),
        ("source = \"fhir\"", "source = \"FHIR\""),
        ("[\"TREAT\"]", "[]"),
        ("[\"TREAT\"]", "[\"local:\"]"),
        ("data = \"special\"", "data = \"secret\""),
        ("art6 = \"6(1)(e)\"", "art6 = \"6(1)(g)\""),
        ("art6 = ", "art7 = \"x\", art6 = "),
        ("implied-consent", "consent"),
        ("fields = {", "columns = [\"a\"]\nfields = {"),
        ("Observation = ", "observation = "),
        ("[\"*\"]", "[]"),
        ("\"asserted\"", "\"guessed\""),
        ("relationship = \"none\"", "relationship = \"maybe\""),
        ("\"consent-denied\"", "\"agreement-ended\""),
        ("offline_emergency = false", "offline_emergency = 0"),
        ("offline_emergency = false", "show_reasons = \"yes\""),
        ("offline_emergency = false", "when = 7"),
        ("offline_emergency = false", "dspt = \"not-met\""),
        ("confidential = true", "confidental = true"),
        ("[[share]]", "[[shares]]"),
    ] {
        assert!(with(from, to).is_err(), "{to}");
        let bad = as_json(&GOOD.replacen(from, to, 1));
        assert!(!validator.is_valid(&bad), "{to}");
    }
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let mut asked = BTreeSet::new();
    let read = file::read(GOOD, FILE_LEN_MAX, &[], |reader, keys| {
        let agreement = read_agreement(reader, keys);
        asked.clone_from(&reader.asked);
        agreement
    });
    read.unwrap();
    let schema = schema();
    let keys = |of: &Json, below: &str| {
        let properties = of["properties"].as_object().unwrap();
        properties.keys().map(|key| format!("{below}{key}")).collect::<Vec<_>>()
    };
    let mut said: BTreeSet<String> = keys(&schema, "").into_iter().collect();
    said.extend(keys(&schema["$defs"]["share"], "share[0]."));
    said.extend(keys(&schema["$defs"]["basis"], "share[0].basis."));
    assert_eq!(said, asked);
}
