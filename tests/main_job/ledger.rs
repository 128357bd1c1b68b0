//! What the ledger holds afterwards: for each exchange the entries that were promised, and no other.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tally_core::entry::Entry;
use tally_tests::c2sp::accept;
use tally_tests::dev::{Dev, Row};
use tally_tests::mesh::until;
use tally_wire::decode_entry;

use super::asking::{End, Happened};
use super::data::files;
use super::{REQUESTER, SYNTHETIC};

/// Halves are on the ledger within this time after their exchange, on a machine that is busy.
const HALVES_WAIT_MAX: Duration = Duration::from_secs(30);

/// Checks the whole ledger as its auditor, and says how many leaves it has.
pub(crate) async fn verify(dev: &Dev) -> u64 {
    let ran = dev.auditor(&["audit", "verify", "--output", "json"]).await.unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let verified = ran.json();
    let count = |name: &str| verified[name].as_u64().unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["first_bad"], Value::Null, "{verified}");
    assert_eq!(count("missing_halves"), 0, "{verified}");
    assert_eq!(count("leaves_checked"), count("size"), "{verified}");
    assert_eq!(verified["mesh_id"], dev.document()["mesh_id"]);
    count("size")
}

/// All leaves, out of an export that others' code has accepted.
pub(crate) async fn leaves(dev: &Dev, name: &str) -> Vec<Vec<u8>> {
    let to = dev.dir().join(name);
    let args = ["audit", "export", "--to", to.to_str().unwrap()];
    dev.auditor(&args).await.unwrap().done().unwrap();
    let accepted = accept(&to).unwrap();
    let mut leaves = Vec::new();
    for bundle in files(&to.join("tile/entries")) {
        let bytes = fs::read(bundle).unwrap();
        let mut rest = bytes.as_slice();
        // C2SP tlog-tiles: each entry after its length, in two bytes.
        while let Some((len, after)) = rest.split_first_chunk() {
            let (leaf, after) = after.split_at(u16::from_be_bytes(*len).into());
            leaves.push(leaf.to_vec());
            rest = after;
        }
    }
    assert_eq!(leaves.len() as u64, accepted.size);
    leaves
}

/// How many leaves there are of those that somebody wrote: what comes by itself, as sessions of
/// agents and seals of batches do, is not among them.
pub(crate) fn written(leaves: &[Vec<u8>]) -> BTreeMap<&'static str, usize> {
    let mut written = BTreeMap::new();
    for leaf in leaves {
        let kind = match decode_entry(leaf).unwrap().value() {
            Entry::SessionStart(_) | Entry::Seal(_) => continue,
            Entry::Genesis(_) => "genesis",
            Entry::Recovery(_) => "recovery",
            Entry::Register(_) => "register",
            Entry::ProviderHalf(_) => "provider",
            Entry::RequesterHalf(_) => "requester",
            Entry::Close(_) => "close",
            Entry::RefusalCount(_) => "refusal count",
            Entry::Review(_) => "review",
            Entry::Disposal(_) => "disposal",
        };
        *written.entry(kind).or_default() += 1;
    }
    written
}

/// All halves and closes, once as many are there as were promised.
pub(crate) async fn rows(dev: &Dev, happened: &BTreeMap<String, Happened>) -> Vec<Row> {
    let promised: usize = promised(happened).values().sum();
    let what = format!("{promised} halves and closes");
    let there = until(&what, HALVES_WAIT_MAX, async || {
        let rows = dev.rows().await.map_err(|error| error.to_string())?;
        if rows.len() >= promised { Ok(rows) } else { Err(rows.len().to_string()) }
    });
    there.await.unwrap()
}

/// Each exchange has the entries of what happened in it, and there is nothing else.
pub(crate) fn check(rows: &[Row], happened: &BTreeMap<String, Happened>) {
    let mut found = BTreeMap::<&str, Vec<&Row>>::new();
    for row in rows {
        found.entry(row["exchange"].as_str().unwrap()).or_default().push(row);
    }
    let unknown: Vec<_> = found.keys().filter(|id| !happened.contains_key(**id)).collect();
    assert!(unknown.is_empty(), "nobody asked for {unknown:?}");
    for (exchange, what) in happened {
        let rows = found.remove(exchange.as_str()).unwrap_or_default();
        let mut kinds: Vec<_> = rows.iter().map(|row| row["half"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, halves(what.end), "{exchange}: {what:?}");
        for row in &rows {
            check_row(row, what);
        }
        if matches!(what.end, End::Whole { .. }) {
            assert_eq!(rows[0]["digest"], rows[1]["digest"], "{exchange}");
            assert!(rows[0]["digest"].is_string(), "{exchange}");
        }
    }
}

/// How many leaves of each kind those exchanges make.
pub(crate) fn promised(happened: &BTreeMap<String, Happened>) -> BTreeMap<&'static str, usize> {
    let mut promised = BTreeMap::new();
    for kind in happened.values().flat_map(|it| halves(it.end)) {
        *promised.entry(*kind).or_default() += 1;
    }
    promised
}

/// Which entries were promised, ascending by their names.
const fn halves(end: End) -> &'static [&'static str] {
    match end {
        End::Whole { .. } | End::NotAvailable => &["provider", "requester"],
        End::Stream { .. } => &["close", "provider", "requester"],
        End::UnknownType => &["requester"],
    }
}

fn check_row(row: &Row, what: &Happened) {
    let half = row["half"].as_str().unwrap();
    let is = |name: &str, value: Value| assert_eq!(row[name], value, "{name} of {row}");
    is("provider", json!(what.provider));
    is("requester", json!(REQUESTER));
    is("operator", Value::Null);
    is("matched", json!(what.end != End::UnknownType));
    is("late", json!(false));
    if half == "close" {
        let End::Stream { bytes } = what.end else { panic!("a close of {what:?}") };
        is("bytes", json!(bytes));
        return;
    }
    let source = if what.source.is_empty() { "fhir" } else { &what.source };
    is("source", json!(source));
    is("action", json!(what.action));
    is("purpose", json!(what.purpose));
    is("break_glass", json!(false));
    let (outcome, code) = match what.end {
        End::Whole { .. } | End::Stream { .. } => ("permit", Value::Null),
        // The same for a person who is refused and for one whom nobody knows, in both halves.
        End::NotAvailable if half == "provider" => ("refuse", json!("person-level")),
        End::NotAvailable => ("refuse", json!("not-available")),
        End::UnknownType => ("refuse", json!("unknown-type")),
    };
    is("outcome", json!(outcome));
    is("code", code);
    if outcome == "permit" {
        is("agreement", json!(what.agreement));
        is("agreement_version", json!(1));
    }
    if let End::Whole { bytes, records } = what.end {
        is("bytes", json!(bytes));
        if half == "provider" {
            is("records", json!(records));
            is("user_known", json!("asserted"));
            is("people_withheld", json!(0));
            if what.provider == SYNTHETIC {
                is("people", json!(1));
            }
        }
    }
}
