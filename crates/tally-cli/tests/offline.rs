//! The binary, without any mesh: exports, receipts, help.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it is wrong")]

use std::{fs, str};

use serde_json::Value;

#[path = "support/binary.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod binary;
#[path = "support/golden.rs"]
#[allow(dead_code, unreachable_pub, reason = "the unit tests use the rest")]
mod golden;

use binary::{json, tally};
use golden::Golden;

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// The first leaves of the golden log: all registers of the founding.
const FOUNDED: usize = 11;

/// An export of 300 leaves or so.
fn export() -> (tempfile::TempDir, Golden) {
    let dir = tempfile::tempdir().unwrap();
    let mut golden = Golden::new();
    (0..4).for_each(|_| golden.batch(64));
    golden::write(&dir.path().join("export"), &golden.files());
    (dir, golden)
}

#[test]
fn an_export_verifies_in_the_words_of_the_formats() {
    let (dir, golden) = export();
    let output = tally(&["audit", "verify", "--dir", "export", "--output", "json"], dir.path());
    assert_eq!(output.status.code(), Some(0));
    let answer = json(&output);
    let size = golden.leaves.len();
    assert_eq!(answer["verified"], true);
    assert_eq!(answer["size"], size);
    assert_eq!(answer["leaves_checked"], size);
    assert_eq!((&answer["signatures"], &answer["cosignatures"]), (&3.into(), &0.into()));
    assert_eq!(answer["first_bad"], Value::Null);
    assert_eq!(answer["mesh_id"], golden.state.mesh_id().to_string());
    let checkpoint = fs::read_to_string(dir.path().join("export/checkpoint")).unwrap();
    assert_eq!(answer["root"], checkpoint.lines().nth(2).unwrap());
    let table = tally(&["audit", "verify", "--dir", "export"], dir.path());
    assert!(text(&table.stdout).starts_with("verified"), "{}", text(&table.stdout));
}

#[test]
fn halves_that_are_missing_are_named_and_end_with_1() {
    let (dir, golden) = export();
    let args = ["audit", "missing", "--dir", "export", "--output", "json"];
    let output = tally(&args, dir.path());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let answer = json(&output);
    assert_eq!(answer["size"], golden.leaves.len());
    let missing = answer["missing"].as_array().unwrap();
    assert!(!missing.is_empty());
    assert_eq!(answer["missing_halves"], missing.len());
    // They are what verifying names.
    let args = ["audit", "verify", "--missing", "--dir", "export", "--output", "json"];
    assert_eq!(json(&tally(&args, dir.path()))["missing"], answer["missing"]);
    let table = tally(&["audit", "missing", "--dir", "export"], dir.path());
    assert!(text(&table.stdout).starts_with("missing half of"), "{}", text(&table.stdout));
    for half in missing {
        assert!(text(&table.stdout).contains(half["exchange"].as_str().unwrap()));
    }
}

#[test]
fn nothing_is_said_to_be_missing_of_a_ledger_that_is_not_as_it_must_be() {
    let (dir, golden) = export();
    let args = ["audit", "missing", "--dir", "export"];
    let mut leaves = golden.leaves.clone();
    leaves.truncate(golden.leaves.len() - 3);
    let mut files = golden::files_of(&leaves);
    files.insert("checkpoint".to_owned(), golden.files()["checkpoint"].clone());
    golden::write(&dir.path().join("export"), &files);
    let output = tally(&args, dir.path());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("tally audit verify"), "{}", text(&output.stderr));
}

#[test]
fn a_ledger_of_which_no_half_is_missing_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    // The registers of the start, before anybody has asked for anything.
    let leaves = &Golden::new().leaves[..FOUNDED];
    golden::write(&dir.path().join("export"), &golden::files_of(leaves));
    let output = tally(&["audit", "missing", "--dir", "export"], dir.path());
    let said = format!("no half is missing in {FOUNDED} leaves\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), said.as_str()));
}

/// One of the founders of this ledger was renamed before its last entries.
#[test]
fn rows_say_what_organisations_were_called_then() {
    let (dir, golden) = export();
    let last = (golden.leaves.len() - 20).to_string();
    let args = ["audit", "log", "--dir", "export", "--cursor", &last];
    let page = json(&tally(&[&args[..], &["--output", "json"]].concat(), dir.path()));
    let rows = page["rows"].as_array().unwrap();
    assert!(!rows.is_empty(), "{page}");
    let renamed = Value::from("Renamed (fictional)");
    for row in rows {
        assert_eq!((&row["provider"], &row["provider_name"]), (&"RZ9".into(), &renamed));
        let requester = row["requester"].as_str().unwrap();
        assert_eq!(row["requester_name"], format!("{requester} (fictional)"));
    }
    let table = tally(&args, dir.path());
    assert!(text(&table.stdout).contains("RZ9: Renamed (fictional)\n"), "{}", text(&table.stdout));
}

#[test]
fn a_flipped_byte_of_an_export_is_named_and_ends_with_1() {
    let (dir, golden) = export();
    let bundle = dir.path().join("export/tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    let before = golden.leaves[..41].iter().map(|leaf| leaf.len() + 2).sum::<usize>();
    bytes[before + 30] ^= 4;
    fs::write(&bundle, bytes).unwrap();
    let output = tally(&["audit", "verify", "--dir", "export", "--output", "json"], dir.path());
    assert_eq!(output.status.code(), Some(1));
    let answer = json(&output);
    assert_eq!((&answer["verified"], &answer["leaves_checked"]), (&false.into(), &41.into()));
    assert_eq!(answer["first_bad"]["leaf"], 41);
    assert!(answer["first_bad"]["why"].is_string());
}

#[test]
fn a_log_is_read_page_by_page_in_the_words_of_the_formats() {
    let (dir, golden) = export();
    let page = |args: &[&str]| {
        let args = [&["audit", "log", "--dir", "export", "--output", "json"], args].concat();
        let output = tally(&args, dir.path());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        json(&output)
    };
    let whole = page(&["--limit", "10000"]);
    assert_eq!(whole["size"], golden.leaves.len());
    assert_eq!(whole["next"], Value::Null);
    let rows = whole["rows"].as_array().unwrap();
    let mut paged = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let page = page(&["--limit", "7", "--cursor", &cursor]);
        paged.extend(page["rows"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    // What matches a half may stand on a later page; it is found all the same.
    assert_eq!(&paged, rows);
    for half in ["provider", "requester", "close"] {
        assert!(rows.iter().any(|row| row["half"] == half), "{half}");
    }
    let keys = rows[0].as_object().unwrap().keys().map(String::as_str);
    let first = rows.iter().find(|row| row["half"] == "provider").unwrap();
    assert_eq!(keys.count(), first.as_object().unwrap().len());
    assert!(first["at"].as_str().unwrap().ends_with('Z'));
    let exchange = first["exchange"].as_str().unwrap();
    let shown = tally(&["audit", "show", exchange, "--dir", "export"], dir.path());
    assert!(text(&shown.stdout).contains(exchange));
    let unknown = tally(&["audit", "show", "nothing", "--dir", "export"], dir.path());
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn leaves_that_are_not_those_of_the_checkpoint_are_not_shown() {
    let (dir, golden) = export();
    let mut leaves = golden.leaves.clone();
    let place = leaves.len() - 5;
    let salt = leaves[place].iter().rposition(|byte| *byte == leaves[place][5]).unwrap();
    leaves[place][salt] ^= 1;
    let checkpoint = golden.files()["checkpoint"].clone();
    let mut files = golden::files_of(&leaves);
    files.insert("checkpoint".to_owned(), checkpoint);
    golden::write(&dir.path().join("export"), &files);
    let cursor = (place - 40).to_string();
    for args in [
        &["audit", "log", "--dir", "export", "--cursor", &cursor] as &[&str],
        &["audit", "show", "nothing", "--dir", "export"],
        &["audit", "receipt", &cursor, "--dir", "export"],
    ] {
        let output = tally(args, dir.path());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty());
        let told = text(&output.stderr);
        assert!(told.contains("its leaves are not those of the checkpoint"), "{told}");
    }
}

#[test]
fn a_receipt_is_taken_and_checked_and_its_mesh_is_compared() {
    let (dir, golden) = export();
    let leaf = (golden.leaves.len() - 5).to_string();
    let taken =
        tally(&["audit", "receipt", &leaf, "--dir", "export", "--to", "r.json"], dir.path());
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken.stderr));
    let check = |args: &[&str]| {
        let args = [&["audit", "check", "r.json", "--output", "json"], args].concat();
        let output = tally(&args, dir.path());
        (output.status.code(), json(&output))
    };
    let (code, answer) = check(&[]);
    assert_eq!((code, &answer["verified"]), (Some(0), &true.into()), "{answer}");
    assert_eq!(answer["leaf"].to_string(), leaf);
    assert_eq!((&answer["kind"], &answer["why"]), (&"requester".into(), &Value::Null));
    let mesh_id = golden.state.mesh_id().to_string();
    assert_eq!(check(&["--mesh-id", &mesh_id]).0, Some(0));
    assert_eq!(check(&["--mesh-id", &"00".repeat(32)]).0, Some(1));
}

#[test]
fn every_entry_has_a_receipt_that_checks_or_says_why_not() {
    let (dir, golden) = export();
    for leaf in (0..golden.leaves.len()).step_by(3) {
        let entry = tally_wire::decode_entry(&golden.leaves[leaf]).unwrap();
        use tally_core::entry::Entry;
        let alone =
            matches!(entry.value(), Entry::Genesis(_) | Entry::SessionStart(_) | Entry::Seal(_));
        let (name, leaf) = (format!("{leaf}.json"), leaf.to_string());
        let args = ["audit", "receipt", &leaf, "--dir", "export", "--to", &name];
        let taken = tally(&args, dir.path());
        assert_eq!(taken.status.code(), Some(if alone { 2 } else { 0 }), "{leaf}");
        if !alone {
            let checked = tally(&["audit", "check", &name], dir.path());
            assert_eq!(checked.status.code(), Some(0), "{leaf}: {}", text(&checked.stdout));
        }
    }
}

#[test]
fn a_receipt_that_was_changed_is_refused() {
    let (dir, golden) = export();
    let leaf = (golden.leaves.len() - 5).to_string();
    tally(&["audit", "receipt", &leaf, "--dir", "export", "--to", "r.json"], dir.path());
    let good = fs::read_to_string(dir.path().join("r.json")).unwrap();
    let begin = good.find("\"receipt\":\"").unwrap() + 11;
    for place in (begin..begin + 600).step_by(23) {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        fs::write(dir.path().join("r.json"), bytes).unwrap();
        let output = tally(&["audit", "check", "r.json", "--output", "json"], dir.path());
        assert_eq!(output.status.code(), Some(1), "{place}");
        assert!(json(&output)["why"].is_string());
    }
}

#[test]
fn what_makes_no_sense_says_whose_fault_it_is_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["audit", "verify", "--dir", "nowhere"] as &[&str],
        &["audit", "check", "nothing"],
        &["explain", "no-such-code"],
    ] {
        let output = tally(args, dir.path());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let told = text(&output.stderr);
        assert!(told.contains("whose fault: ") && told.contains("what to do: "), "{told}");
        assert!(output.stdout.is_empty());
    }
    let unread = tally(&["audit", "verify", "--dir", ".", "--mesh-id", "xyz"], dir.path());
    assert_eq!(unread.status.code(), Some(2));
    assert!(text(&unread.stderr).contains("expected 64 hexadecimal digits"));
    // A member's own file is a good one, for other commands.
    fs::write(dir.path().join("tally.toml"), "tally = 1\n[agent]\nkey = \"agent.key\"\n").unwrap();
    for command in ["log", "missing", "verify", "stats"] {
        let other = tally(&["audit", command, "--config", "tally.toml"], dir.path());
        let told = text(&other.stderr);
        assert_eq!(other.status.code(), Some(2), "{command}");
        assert!(told.contains("tally.toml is the configuration of an agent"), "{command}: {told}");
        assert!(told.contains("--config auditor.toml"), "{command}: {told}");
    }
    for args in [&["audit"] as &[&str], &["no-such-command"], &[]] {
        assert_eq!(tally(args, dir.path()).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn every_command_teaches_with_an_example() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(tally(&["--help"], dir.path()).status.code(), Some(0));
    let commands = [
        "audit log",
        "audit show",
        "audit export",
        "audit verify",
        "audit missing",
        "audit check",
        "audit receipt",
        "dev",
        "dev start",
        "ledger",
        "ledger status",
        "mesh init",
        "member list",
        "member new",
        "member key",
        "member admit",
        "member propose",
        "member suspend",
        "member resume",
        "member remove",
        "member approve",
        "mesh show",
        "mesh witnesses list",
        "mesh witnesses propose",
        "mesh witnesses approve",
        "mesh protocol show",
        "mesh protocol propose",
        "mesh protocol approve",
        "identity issue",
        "identity show",
        "config check",
        "config show",
        "explain",
        "completions",
        "man",
        "demo",
    ];
    for command in commands {
        let args = command.split(' ').chain(["--help"]).collect::<Vec<_>>();
        let output = tally(&args, dir.path());
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        assert!(help.contains("Example"), "{command}: {help}");
        assert!(help.contains(&format!("tally {command}")), "{command}: {help}");
    }
}

#[test]
fn codes_are_explained_and_pages_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let output = tally(&["explain", "stale", "--output", "json"], dir.path());
    let answer = json(&output);
    assert_eq!(answer[0]["code"], "stale");
    assert!(answer[0]["remedy"].is_string());
    let output = tally(&["explain", "certificate-expired"], dir.path());
    assert!(text(&output.stdout).contains("What to do:"));
    for shell in ["bash", "zsh", "fish"] {
        let script = tally(&["completions", shell], dir.path());
        assert!(text(&script.stdout).contains("verify"), "{shell}");
    }
    assert!(text(&tally(&["man"], dir.path()).stdout).starts_with(".ie"));
    assert_eq!(tally(&["man", "--to", "pages"], dir.path()).status.code(), Some(0));
    assert!(dir.path().join("pages/tally-audit-verify.1").exists());
}
