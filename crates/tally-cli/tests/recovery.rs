//! The binary, without any mesh: a ledger that went on in a new epoch, and the paper for it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it is wrong")]

use std::path::Path;
use std::{fs, str};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tally_core::entry::{Algorithm, Genesis, Recovery, Seal};
use tally_core::id::{KeyId, MeshId, NodeId, Salt16};
use tally_core::ledger::{Registers, Rejection, Surroundings, check_recovery};
use tally_core::register::Approval;
use tally_core::time::Timestamp;
use tally_log::{Signature, VerifyingKey};

#[path = "support/binary.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod binary;
#[path = "support/golden.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod golden;

use binary::{MESH, json, tally};
use golden::Golden;

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// An export over a recovery; its leaf; and what the old epoch had signed 7 leaves further.
fn export() -> (tempfile::TempDir, u64, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = || {
        let mut golden = Golden::new();
        golden.batch(64);
        golden
    };
    let (mut old, mut new) = (ledger(), ledger());
    old.batch(6);
    let leaf = new.recover();
    new.batch(64);
    golden::write(&dir.path().join("export"), &new.files());
    (dir, leaf, old.files()["checkpoint"].clone())
}

#[test]
fn an_export_over_a_recovery_verifies_and_says_where() {
    let (dir, leaf, _) = export();
    let args = ["audit", "verify", "--dir", "export", "--output", "json"];
    let output = tally(&args, dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer = json(&output);
    assert_eq!((&answer["verified"], &answer["first_bad"]), (&true.into(), &Value::Null));
    assert_eq!(answer["origin"], "golden.example/ledger/1");
    let recovery = &answer["recoveries"][0];
    assert_eq!((&recovery["epoch"], &recovery["leaf"]), (&1.into(), &leaf.into()));
    assert_eq!((&recovery["size"], &recovery["lost"]), (&leaf.into(), &0.into()));
    assert_eq!(answer["recoveries"].as_array().unwrap().len(), 1);
}

#[test]
fn what_was_lost_is_named_and_ends_with_1() {
    let (dir, leaf, lost) = export();
    fs::write(dir.path().join("mine.checkpoint"), &lost).unwrap();
    let args = ["audit", "verify", "--dir", "export", "--receipt", "mine.checkpoint"];
    let output = tally(&[&args[..], &["--output", "json"]].concat(), dir.path());
    assert_eq!(output.status.code(), Some(1));
    let answer = json(&output);
    let why = format!(
        "mine.checkpoint: checkpoint of epoch 0 over {} leaves: the ledger was recovered at {leaf}: 7 \
         leaves that it had acknowledged are lost",
        leaf + 7
    );
    assert_eq!((&answer["first_bad"]["why"], &answer["verified"]), (&why.into(), &false.into()));
    assert_eq!(answer["recoveries"][0]["lost"], 7);
    assert_eq!(answer["recoveries"][0]["shown_by"], "mine.checkpoint");
    let table = tally(&args, dir.path());
    assert!(text(&table.stdout).contains("known to be lost"), "{}", text(&table.stdout));
    // The same from where exports keep them.
    let kept = dir.path().join("export/checkpoints");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join(format!("{}-0011223344556677", leaf + 7)), &lost).unwrap();
    let output = tally(&["audit", "verify", "--dir", "export"], dir.path());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_log_shows_a_recovery_as_a_row() {
    let (dir, leaf, _) = export();
    let cursor = leaf.to_string();
    let args = ["audit", "log", "--dir", "export", "--cursor", &cursor, "--limit", "1"];
    let page = json(&tally(&[&args[..], &["--output", "json"]].concat(), dir.path()));
    let row = &page["rows"][0];
    assert_eq!((&row["half"], &row["leaf"]), (&"recovery".into(), &leaf.into()));
    assert_eq!((&row["outcome"], &row["recovery"]["epoch"]), (&"recovered".into(), &1.into()));
    assert_eq!(row["recovery"]["size"], leaf);
    assert!(row["at"].as_str().unwrap().ends_with('Z'));
    let receipt = tally(&["audit", "receipt", &cursor, "--dir", "export"], dir.path());
    assert_eq!(receipt.status.code(), Some(2), "{}", text(&receipt.stdout));
}

#[test]
fn a_code_of_a_recovery_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let output = tally(&["explain", "recovery-of-other-leaves"], dir.path());
    assert_eq!(output.status.code(), Some(0));
}

const ROOT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

struct Rules;

impl Surroundings for Rules {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        tally_wire::encode(seal)
    }
}

/// What the file says, as a leaf.
fn recovery_in(path: &Path) -> Recovery {
    let paper: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let what = &paper["what"]["recovery"];
    let hash = |text: &Value| text.as_str().unwrap().parse::<MeshId>().unwrap();
    let fixed = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let salt = what["salt"].as_str().unwrap();
    let salt = (0..32).step_by(2).map(|at| u8::from_str_radix(&salt[at..at + 2], 16).unwrap());
    let approvals = paper["approvals"].as_array().unwrap().iter().map(|it| {
        let key = fixed(&it["public_key"]).try_into().unwrap();
        Approval {
            member: it["member"].as_str().unwrap().parse().unwrap(),
            role: it["role"].as_str().unwrap().parse().unwrap(),
            key: KeyId::of(&VerifyingKey::from_bytes(&key).unwrap()),
            algorithm: Algorithm::EdDsa,
            signature: Signature::from_bytes(fixed(&it["signature"]).try_into().unwrap()),
        }
    });
    let mut approvals = approvals.collect::<Vec<_>>();
    approvals.sort_by(|one, next| one.member.cmp(&next.member));
    Recovery {
        salt: Salt16(salt.collect::<Vec<_>>().try_into().unwrap()),
        mesh_id: hash(&paper["mesh_id"]),
        epoch: what["epoch"].as_u64().unwrap(),
        size: what["size"].as_u64().unwrap(),
        root: hash(&what["root"]).0,
        node: NodeId(what["node"].as_u64().unwrap()),
        approvals,
    }
}

/// A founded mesh of which nothing runs, and the paper for it.
fn founded() -> (tempfile::TempDir, Registers, MeshId) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mesh.toml"), MESH).unwrap();
    let init = tally(&["mesh", "init", "--mesh", "mesh.toml", "--to", "mesh"], dir.path());
    assert_eq!(init.status.code(), Some(0), "{}", text(&init.stderr));
    let genesis = fs::read(dir.path().join("mesh/genesis.cbor")).unwrap();
    let mesh_id = MeshId(tally_log::leaf_hash(&genesis));
    let mut registers = Registers::default();
    let genesis: Genesis = tally_wire::decode_value(&genesis).unwrap();
    registers.found(&genesis, Timestamp::default());
    let new = ["ledger", "recovery", "new", "--size", "1200", "--node", "2", "--root", ROOT];
    let to = ["--to", "recovery.json", "--config", "mesh/RZ9/tally.toml"];
    let proposed = tally(&[&new[..], &to].concat(), dir.path());
    assert_eq!(proposed.status.code(), Some(0), "{}", text(&proposed.stderr));
    (dir, registers, mesh_id)
}

#[test]
fn officers_sign_a_recovery_in_turn_while_nothing_runs() {
    let (dir, registers, mesh_id) = founded();
    let path = dir.path().join("recovery.json");
    let check = || check_recovery(&registers, &mesh_id, &recovery_in(&path), &Rules);
    assert_eq!(check(), Err(Rejection::ApprovalsMissing));
    for (member, signed) in [("RZ9", 1), ("LZ9", 2), ("RZ9", 2)] {
        let config = format!("mesh/{member}/tally.toml");
        let args = ["ledger", "recovery", "approve", "recovery.json", "--config", &config];
        let output = tally(&[&args[..], &["--output", "json"]].concat(), dir.path());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let shown = text(&output.stderr);
        assert!(shown.contains("1200 leaves, 0 to 1199, as they are"), "{shown}");
        assert!(shown.contains("what epoch 0 has recorded from leaf 1200 on"), "{shown}");
        let answer = json(&output);
        assert_eq!((&answer["size"], &answer["epoch"]), (&1200.into(), &1.into()));
        assert_eq!(answer["approved_by"].as_array().unwrap().len(), signed);
        // Nobody runs who could say how many must.
        assert_eq!(answer["missing"], Value::Null);
    }
    assert_eq!(check(), Ok(()));
}

#[test]
fn a_checkpoint_that_was_kept_shows_the_officer_what_is_lost() {
    let (dir, ..) = founded();
    let kept = dir.path().join("mesh/RZ9/checkpoints");
    fs::create_dir(&kept).unwrap();
    let note = |size: u64, root: &str| {
        let root = root.parse::<MeshId>().unwrap().0;
        let log = "dev.example/ledger/0";
        let origin = tally_log::Origin::new(log).unwrap();
        let checkpoint = tally_log::Checkpoint { origin, size, root };
        let name = tally_log::KeyName::new(log).unwrap();
        let signer = tally_log::NoteSigner::new(name, golden::key("log", "LZ9"));
        tally_log::SignedCheckpoint::sign(checkpoint, &signer).unwrap().to_string()
    };
    let args = ["ledger", "recovery", "show", "recovery.json", "--config", "mesh/RZ9/tally.toml"];
    let show = || tally(&[&args[..], &["--output", "json"]].concat(), dir.path());
    assert_eq!(
        (&json(&show())["known_lost"], &json(&show())["shown_by"]),
        (&0.into(), &Value::Null)
    );
    fs::write(kept.join("1234-0011223344556677"), note(1234, ROOT)).unwrap();
    let shown = json(&show());
    assert_eq!(shown["known_lost"], 34);
    assert!(shown["shown_by"].as_str().unwrap().contains("1234 leaves"), "{shown}");
    // Of another history nobody signs.
    let other = ROOT.replace("00", "ff");
    fs::write(kept.join("1200-0011223344556677"), note(1200, &other)).unwrap();
    let approve = args.map(|it| if it == "show" { "approve" } else { it });
    let refused = tally(&approve, dir.path());
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("another root"), "{}", text(&refused.stderr));
    assert!(recovery_in(&dir.path().join("recovery.json")).approvals.is_empty());
}
