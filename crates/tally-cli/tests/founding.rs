//! The binary founds a mesh, issues certificates and reads configurations.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it is wrong")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::str;

use serde_json::Value;

#[path = "support/binary.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod binary;

use binary::{MESH, json, tally};

fn told(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// A directory with a mesh of two members, and what `tally mesh init` answered.
fn founded() -> (tempfile::TempDir, Value) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mesh.toml"), MESH).unwrap();
    let args = ["mesh", "init", "--mesh", "mesh.toml", "--to", "mesh", "--output", "json"];
    let output = tally(&args, dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    (dir, json(&output))
}

#[test]
fn a_mesh_is_founded_with_its_keys_its_nodes_and_its_id() {
    let (dir, answer) = founded();
    let mesh = dir.path().join("mesh");
    let genesis = fs::read(mesh.join("genesis.cbor")).unwrap();
    assert_eq!(answer["mesh_id"], tally_log::leaf_hash(&genesis).to_string());
    let genesis: tally_core::entry::Genesis = tally_wire::decode_value(&genesis).unwrap();
    let members = genesis.members.iter().map(|it| it.id.as_str()).collect::<Vec<_>>();
    assert_eq!(members, ["LZ9", "RZ9"]);
    // Dealt out in the order of the file.
    let nodes = genesis.members.iter().map(|it| it.nodes.len()).collect::<Vec<_>>();
    assert_eq!(nodes, [1, 2]);
    for secret in ["RZ9/ca.key", "RZ9/agent.key", "LZ9/officers/ig-lead.key", "ledger-2/log.key"] {
        let mode = fs::metadata(mesh.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    for config in ["ledger-1/tally.toml", "ledger-3/tally.toml", "auditor.toml"] {
        let output = tally(&["config", "check", &format!("mesh/{config}")], dir.path());
        assert_eq!(output.status.code(), Some(0), "{config}: {}", told(&output));
    }
    let shown =
        tally(&["identity", "show", "mesh/ledger-2/node.pem", "--output", "json"], dir.path());
    assert_eq!(shown.status.code(), Some(0));
    let shown = json(&shown);
    assert_eq!(shown[0]["identity"], "spiffe://dev.example/LZ9/ledger/2");
    assert_eq!(shown[0]["addresses"][0], "127.0.0.1");
}

#[test]
fn a_certificate_is_shown_with_its_key_and_its_ca_and_what_does_not_fit_is_said() {
    let (dir, _) = founded();
    let show = |args: &[&str]| {
        let output = tally(&[&["identity", "show", "--output", "json"], args].concat(), dir.path());
        (output.status.code(), json(&output)[0].clone())
    };
    let (code, agent) = show(&["--config", "mesh/RZ9/tally.toml"]);
    assert_eq!(
        (code, &agent["key_fits"], &agent["ca"]),
        (Some(0), &true.into(), &"vouches".into())
    );
    assert_eq!(agent["identity"], "spiffe://dev.example/RZ9/agent/agent", "{agent}");
    assert!(agent["days_left"].as_i64().unwrap() >= 0, "{agent}");
    let (code, node) = show(&["--config", "mesh/ledger-1/tally.toml"]);
    assert_eq!((code, &node["ca"]), (Some(0), &"vouches".into()), "{node}");
    let identity = "mesh/RZ9/identity.pem";
    let (code, other) = show(&[identity, "--key", "mesh/LZ9/identity.key"]);
    assert_eq!((code, &other["key_fits"]), (Some(1), &false.into()), "{other}");
    let (code, other) = show(&[identity, "--ca", "mesh/LZ9/ca.pem"]);
    assert_eq!((code, &other["ca"]), (Some(1), &"certificate-other-issuer".into()), "{other}");
    let (code, alone) = show(&[identity]);
    assert_eq!((code, &alone["key_fits"], &alone["ca"]), (Some(0), &Value::Null, &Value::Null));
    assert_eq!(tally(&["identity", "show"], dir.path()).status.code(), Some(2));
}

#[test]
fn no_mesh_is_overwritten() {
    let (dir, _) = founded();
    let before = fs::read(dir.path().join("mesh/genesis.cbor")).unwrap();
    let again = tally(&["mesh", "init", "--mesh", "mesh.toml", "--to", "mesh"], dir.path());
    assert_eq!(again.status.code(), Some(2));
    assert!(told(&again).contains("there is a mesh already"), "{}", told(&again));
    assert_eq!(fs::read(dir.path().join("mesh/genesis.cbor")).unwrap(), before);
}

#[test]
fn two_meshes_of_the_same_founders_differ() {
    let [(_one, first), (_other, second)] = [founded(), founded()];
    assert_ne!(first["mesh_id"], second["mesh_id"]);
}

#[test]
fn a_certificate_is_issued_for_a_workload_and_for_so_long() {
    let (dir, _) = founded();
    let issue = |role: &str, name: &str, valid_for: &str| {
        let args = [
            "identity",
            "issue",
            "--ca",
            "mesh/RZ9",
            "--mesh",
            "dev.example",
            "--member",
            "RZ9",
            "--role",
            role,
            "--name",
            name,
            "--valid-for",
            valid_for,
            "--ip",
            "127.0.0.1",
            "--to",
            "certificates",
            "--output",
            "json",
        ];
        tally(&args, dir.path())
    };
    let output = issue("auditor", "kim", "2h");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let shown = json(&output);
    assert_eq!(shown[0]["identity"], "spiffe://dev.example/RZ9/auditor/kim");
    assert_eq!(shown[0]["valid_now"], true);
    assert!(dir.path().join("certificates/kim.key").exists());
    for (role, name, valid_for) in [
        ("king", "kim", "2h"),
        ("auditor", "Kim", "2h"),
        ("ledger", "one", "2h"),
        ("auditor", "kim", "2w"),
    ] {
        assert_eq!(
            issue(role, name, valid_for).status.code(),
            Some(2),
            "{role} {name} {valid_for}"
        );
    }
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let (dir, _) = founded();
    let path = dir.path().join("mesh/ledger-1/tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    let wrong = text.replace("node_id = 1\n", "node_id = \"one\"\nport = 7\n");
    fs::write(&path, wrong.replace("[raft]\nlisten = \"", "[raft]\nlisten = \"somewhere:"))
        .unwrap();
    let output = tally(&["config", "check", "mesh/ledger-1/tally.toml"], dir.path());
    assert_eq!(output.status.code(), Some(2));
    let told = told(&output);
    for part in ["node_id: expected a whole number", "port: no such key", "raft.listen: expected"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    fs::write(dir.path().join("x.toml"), "a = 1\n").unwrap();
    let output = tally(&["config", "check", "x.toml"], dir.path());
    assert!(told_kind(&output), "{output:?}");
    let output = tally(&["config", "show", "mesh.toml", "--output", "json"], dir.path());
    assert_eq!(json(&output)["kind"], "mesh");
}

#[test]
fn a_configuration_says_what_holds_and_why() {
    let (dir, _) = founded();
    let config = dir.path().join("mesh/RZ9/tally.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\n[alerts]\nwebhook = \"http://127.0.0.1:9/s3cret\"\n").unwrap();
    let shown = tally(&["config", "show", "mesh/RZ9/tally.toml", "--output", "json"], dir.path());
    assert_eq!(shown.status.code(), Some(0), "{}", told(&shown));
    let shown = json(&shown);
    let find = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|it| it["key"] == key).cloned().unwrap_or_default()
    };
    assert_eq!(
        (&find("member")["value"], &find("member")["at"]),
        (&"RZ9".into(), &"line 3".into())
    );
    let drain = find("limits.drain_wait_seconds");
    assert_eq!((&drain["value"], &drain["origin"]), (&"30".into(), &"default".into()));
    assert_eq!(find("alerts.webhook")["value"], "(hidden)");
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    let nothing = tally(&["config", "check"], dir.path());
    assert_eq!(nothing.status.code(), Some(2), "{}", told(&nothing));
    let checked = tally(&["config", "check", "--config", "mesh/RZ9/tally.toml"], dir.path());
    assert_eq!(checked.status.code(), Some(0), "{}", told(&checked));
}

fn told_kind(output: &Output) -> bool {
    output.status.code() == Some(2) && told(output).contains("no kind of file that is known")
}

#[test]
fn a_node_that_is_configured_wrongly_says_so_and_serves_nobody() {
    let (dir, answer) = founded();
    let mesh = dir.path().join("mesh");
    let path = mesh.join("ledger-1/tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    let start = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = tally(&["ledger", "--config", "mesh/ledger-1/tally.toml"], dir.path());
        assert_eq!(output.status.code(), Some(2));
        told(&output).to_owned()
    };
    let other = start(&text.replace(answer["mesh_id"].as_str().unwrap(), &"00".repeat(32)));
    assert!(other.contains("[mesh] id says"), "{other}");
    let key = start(&text.replace("[log]\nkey = \"log.key\"", "[log]\nkey = \"../RZ9/agent.key\""));
    assert!(key.contains("a key for agent, where one for log is needed"), "{key}");
    let key = start(&text.replace("key = \"log.key\"", "key = \"../ledger-2/log.key\""));
    assert!(key.contains("the log key is not the one that the mesh knows"), "{key}");
    let cert = start(&text.replace("\"node.", "\"../ledger-2/node."));
    assert!(cert.contains("the certificate is for spiffe://dev.example/LZ9/ledger/2"), "{cert}");
}
