//! Published lists of organisations, where they lie beside the repository: codes that were really given
//! fit, codes that were closed lead nowhere, and successors are known.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test may read files and where they are")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tally_core::id::{GssCode, MemberId, OdsCode};
use tally_core::register::{AssessmentStatus, GSS, ODS, OrganisationCode, may_supersede};
use tally_core::time::Date;

/// `TALLY_SHARED_DATA`, or `../shared/data` beside the repository; `None` says so in one line.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let at = std::env::var_os("TALLY_SHARED_DATA").map_or(beside, PathBuf::from);
    if !at.is_dir() {
        let why = "no published data at ../shared/data nor at TALLY_SHARED_DATA: nothing measured";
        // Not by a macro, whose text is kept back where a test passes.
        drop(writeln!(std::io::stderr(), "{why}"));
        return None;
    }
    Some(at)
}

fn rows(path: &Path, headers: bool) -> Vec<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(headers).flexible(true).from_path(path).unwrap();
    reader.records().map(Result::unwrap).collect()
}

/// A date as the directory writes it: `20240930`; none before the years that the ledger knows.
fn day(text: &str) -> Option<Date> {
    let parts = (text.get(..4)?, text.get(4..6)?, text.get(6..8)?);
    format!("{}-{}-{}", parts.0, parts.1, parts.2).parse().ok()
}

/// Trusts by code: name, and code with its days.
fn trusts(path: &Path) -> BTreeMap<String, (String, OrganisationCode)> {
    let trust = |row: &csv::StringRecord| {
        let code = OrganisationCode::new(ODS, &row[0]).unwrap();
        assert_eq!(code.value, row[0]);
        let (from, until) = (day(&row[10]), day(&row[11]));
        (code.value.clone(), (row[1].to_owned(), OrganisationCode { from, until, ..code }))
    };
    rows(path, false).iter().map(trust).collect()
}

#[test]
fn every_published_code_fits_and_closed_trusts_are_closed() {
    let Some(root) = data() else { return };
    let now = trusts(&root.join("ods-trusts-current/etr.csv"));
    let then = trusts(&root.join("ods-trusts-2021/etr.csv"));
    assert_eq!(now.len(), 273);
    let today = "2026-11-25".parse().unwrap();
    let closed = now.values().filter(|(_, code)| !code.is_current(today)).count();
    assert_eq!(closed, 68);
    // Solent closed on 30 September 2024: that was its last day.
    let solent = &now["R1C"].1;
    assert!(solent.is_current("2024-09-30".parse().unwrap()));
    assert!(!solent.is_current("2024-10-01".parse().unwrap()));
    assert!("G6V2S".parse::<OdsCode>().unwrap().is_anana());
    let renamed =
        then.iter().filter(|(code, (name, _))| now.get(*code).is_some_and(|(now, _)| now != name));
    assert_eq!(renamed.count(), 47);
    for file in ["ods-trusts-current/eccg.csv", "ods-dspt-gp/etr.csv"] {
        for row in rows(&root.join(file), false) {
            assert_eq!(OrganisationCode::new(ODS, &row[0]).unwrap().value, row[0], "{file}");
        }
    }
    let practices = rows(&root.join("ods-dspt-gp/gp-reg-pat-prac-map.csv"), true);
    let is_code = |text: &str| text.parse::<OdsCode>().is_ok_and(|it| !it.is_unusually_long());
    assert!(practices.iter().all(|row| is_code(&row[2])));
    assert!(practices.len() > 6_000);
}

#[test]
fn cumbria_was_replaced_by_two_councils_and_areas_change_under_one_that_stays() {
    let Some(root) = data() else { return };
    let path = "local-authorities/uk_la_future/uk_local_authorities_future.json";
    let councils: Value = serde_json::from_slice(&fs::read(root.join(path)).unwrap()).unwrap();
    let councils = councils.as_array().unwrap();
    assert_eq!(councils.len(), 470);
    let text = |council: &Value, key: &str| council[key].as_str().unwrap_or_default().to_owned();
    let codes = councils.iter().map(|it| text(it, "gss-code")).filter(|it| !it.is_empty());
    let codes = codes.collect::<Vec<_>>();
    assert_eq!(codes.len(), 445);
    for code in &codes {
        assert_eq!(OrganisationCode::new(GSS, code).unwrap().value, *code);
    }
    let cumbria = councils.iter().find(|it| text(it, "local-authority-code") == "CMA").unwrap();
    let successors = text(cumbria, "replaced-by");
    let mut successors = successors.split(',').map(str::trim).collect::<Vec<_>>();
    successors.sort_unstable();
    assert_eq!(successors, ["CBD", "WAF"]);
    // Each of the two came in its place, and so may both.
    let gone = ["CMA".parse::<MemberId>().unwrap()];
    for successor in successors {
        assert!(may_supersede(&successor.parse().unwrap(), &gone));
    }
    assert!("E08000020".parse::<GssCode>() != "E08000037".parse::<GssCode>());
}

#[test]
fn every_published_assessment_has_its_word() {
    let Some(root) = data() else { return };
    let path = root.join("ods-dspt-gp/data_DSPTmetric_20220208.csv");
    let mut found = BTreeMap::new();
    for row in rows(&path, true) {
        let status = match &row[row.len() - 1] {
            "Standards Exceeded" => AssessmentStatus::Exceeded,
            "Standards Met" => AssessmentStatus::Met,
            "Approaching Standards" => AssessmentStatus::Approaching,
            "Standards Not Met" => AssessmentStatus::NotMet,
            "Not Published" => AssessmentStatus::NotPublished,
            other => panic!("{other}"),
        };
        *found.entry(status.word()).or_insert(0) += 1;
    }
    assert_eq!(found.len(), AssessmentStatus::WORDS.len());
}
