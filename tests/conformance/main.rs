//! What others have to understand, read by what others wrote.
//!
//! The CDDL in `proto/` and the vectors beside it, against each other, by a validator that is not
//! ours: what the codec accepts the CDDL describes, and what CDDL can forbid it does forbid. And
//! exports, by implementations of C2SP's tiles that are not ours, in Rust and in Go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot read the workspace should stop there"
)]
#![allow(clippy::indexing_slicing, reason = "places come from the test itself")]

mod exports;
mod go;
mod hapi;

use std::collections::BTreeMap;
use std::fs;

use cddl::cddl_from_str;
use cddl::validator::Validator as _;
use cddl::validator::cbor::CBORValidator;
use cddl::validator::cbor_value::decode_cbor;
use tally_tests::workspace_root;

const FILES: [&str; 6] = ["common", "entries", "registers", "openings", "ledger", "agents"];

/// What CDDL has no words for: bytes that are no CBOR item, the encoding of an item, order, sizes of
/// the whole.
const BEYOND_CDDL: [&str; 7] = [
    "truncated",
    "trailing-bytes",
    "not-canonical",
    "indefinite",
    "not-ascending",
    "too-large",
    "bad-key",
];

/// The validator that is used here does not look into an optional item that is an array itself.
const INSIDE_OPTIONAL: &str = "inside an optional array, where the validator does not look";

/// Some more, each with its reason.
const BEYOND_CDDL_BY_NAME: [(&str, &str); 6] = [
    ("bad-no-such-day", "which months have how many days is no regular language that one can read"),
    ("bad-unknown-refusal", "the numbers of refusals stand in tally-core's table alone"),
    ("bad-opt-out-of-both", INSIDE_OPTIONAL),
    ("bad-opt-out-of-nothing", INSIDE_OPTIONAL),
    ("bad-opt-out-reference", INSIDE_OPTIONAL),
    ("bad-opt-out-answers-too-many", INSIDE_OPTIONAL),
];

/// A vector, and what its text says of it.
struct Vector {
    name: String,
    rule: String,
    /// None if it must be accepted.
    refused: Option<String>,
    bytes: Vec<u8>,
}

#[test]
fn the_cddl_describes_every_good_vector() {
    let good = vectors().into_iter().filter(|vector| vector.refused.is_none());
    let wrong = check(good).into_iter().filter_map(|(name, fits)| Some((name, fits.err()?)));
    let wrong = wrong.collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_cddl_describes_the_golden_log_and_the_state_after_it() {
    let golden = |file| fs::read(workspace_root().join("proto/golden").join(file)).unwrap();
    let vector = |name: String, rule: &str, bytes: &[u8]| Vector {
        name,
        rule: rule.to_owned(),
        refused: None,
        bytes: bytes.to_vec(),
    };
    let mut vectors = vec![vector("state".to_owned(), "state", &golden("state.cbor"))];
    let log = golden("log.cbor");
    let mut rest = log.as_slice();
    while let Some((len, tail)) = rest.split_first_chunk() {
        let (bytes, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        vectors.push(vector(format!("proposal {}", vectors.len()), "proposal", bytes));
        rest = tail;
    }
    let wrong = check(vectors.into_iter()).into_iter();
    let wrong = wrong.filter_map(|(name, fits)| Some((name, fits.err()?))).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_cddl_forbids_what_it_can() {
    let beyond = |vector: &Vector, code: &str| {
        BEYOND_CDDL.contains(&code)
            || BEYOND_CDDL_BY_NAME.iter().any(|(name, _)| *name == vector.name)
    };
    let bad = vectors()
        .into_iter()
        .filter(|vector| vector.refused.as_ref().is_some_and(|code| !beyond(vector, code)));
    let fits = check(bad).into_iter().filter(|(_, fits)| fits.is_ok());
    let fits = fits.map(|(name, _)| name).collect::<Vec<_>>();
    assert!(fits.is_empty(), "accepted by the CDDL: {fits:#?}");
}

/// Whether each of them fits its rule. A rule is checked by standing first.
fn check(vectors: impl Iterator<Item = Vector>) -> Vec<(String, Result<(), String>)> {
    let schema = schema();
    let mut by_rule = BTreeMap::<String, Vec<Vector>>::new();
    vectors.for_each(|vector| by_rule.entry(vector.rule.clone()).or_default().push(vector));
    let mut checked = Vec::new();
    for (rule, vectors) in by_rule {
        let schema = format!("vector = {rule}\n{schema}");
        let schema = cddl_from_str(&schema, true).unwrap();
        for Vector { name, bytes, .. } in vectors {
            let fits = decode_cbor(&bytes).map_err(|error| error.to_string()).and_then(|item| {
                let mut validator = CBORValidator::new(&schema, item, None);
                validator.validate().map_err(|error| error.to_string())
            });
            checked.push((name, fits));
        }
    }
    checked
}

fn schema() -> String {
    let read = |file| fs::read_to_string(workspace_root().join(format!("proto/{file}.cddl")));
    // RFC 8610 §3.8.3 anchors .regexp at both ends; this validator anchors only .iregexp.
    FILES.map(|file| read(file).unwrap()).join("\n").replace(".regexp", ".iregexp")
}

fn vectors() -> Vec<Vector> {
    let directory = workspace_root().join("proto/vectors");
    let files = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|kind| kind == "diag"));
    texts
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            // "/ entries.cddl close: refused, truncated /"
            let line = text.lines().next().unwrap().trim_matches(['/', ' ']);
            let (place, verdict) = line.split_once(": ").unwrap();
            Vector {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                rule: place.split_once(' ').unwrap().1.to_owned(),
                refused: verdict.strip_prefix("refused, ").map(str::to_owned),
                bytes: fs::read(path.with_extension("cbor")).unwrap(),
            }
        })
        .collect()
}
