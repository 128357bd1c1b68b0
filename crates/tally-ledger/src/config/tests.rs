use std::fs;

use super::*;

const GOOD: &str = r#"
tally = 1
data_dir = "data"
member = "RZ9"
node_id = 1

[mesh]
id = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
genesis = "/etc/tally/genesis.cbor"

[identity]
cert = "node.pem"
key = "node.key"

[log]
key = "log.key"
"#;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<LedgerConfig, Vec<String>> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let read = LedgerConfig::read(text, Path::new("/srv"), variables.iter().map(owned));
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_left_out_has_the_ports_of_the_mesh() {
    let config = read(GOOD, &[]).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/data"));
    assert_eq!(config.genesis, Path::new("/etc/tally/genesis.cbor"));
    assert_eq!(config.identity_ca, None);
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.mesh_id.0.as_bytes()[31], 31);
    let ports =
        [config.agents_listen, config.https_listen, config.health_listen, config.raft_listen];
    assert_eq!(ports.map(|listen| listen.port()), [7610, 7611, 7612, 7613]);
    assert_eq!(config.limits, LedgerLimits::default());
}

#[test]
fn a_variable_takes_the_place_of_any_key() {
    let config = read(
        GOOD,
        &[
            ("TALLY_LEDGER_NODE_ID", "7"),
            ("TALLY_LEDGER_RAFT_LISTEN", "[::1]:0"),
            ("TALLY_LEDGER_DATA_DIR", "elsewhere"),
            ("TALLY_LEDGER_LIMITS_HTTPS_CONNECTIONS_MAX", "9"),
            ("TALLY_LEDGER_SERVICE_HOST", "10.0.0.1"),
            ("TALLY_LEDGER_PORT_7610_UDP", "udp://10.0.0.1:7610"),
            ("TALLY_CONFIG", "x"),
            ("PATH", "/bin"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.node_id, NodeId(7));
    assert_eq!(config.raft_listen.to_string(), "[::1]:0");
    assert_eq!(config.data_dir, Path::new("/srv/elsewhere"));
    assert_eq!(config.limits.https_connections_max, 9);
    for (path, _) in KEYS {
        let name = format!("{PREFIX}{}", path.replace('.', "_").to_uppercase());
        let (found, unknown) = overrides(PREFIX, KEYS, [(name, String::new())]);
        assert_eq!((found[0].path, unknown.len()), (*path, 0));
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let text = GOOD
        .replace("tally = 1", "tally = 2")
        .replace("node_id = 1", "node_id = \"one\"\nnode = 2")
        .replace("key = \"log.key\"", "")
        .replace("[identity]", "[raft]\nlisten = \"localhost\"\n\n[identity]")
        .replace("0001", "01");
    let variables =
        [("TALLY_LEDGER_HTTPS_LISTEN", "0.0.0.0:7612"), ("TALLY_LEDGER_HTTPS_PORT", "1")];
    assert_eq!(
        read(&text, &variables).unwrap_err(),
        [
            "line 2: tally: this version reads format 1 only",
            "line 5: node_id: expected a whole number from 1",
            "line 6: node: no such key is known here",
            "line 9: mesh.id: not a mesh id: expected 64 hexadecimal digits",
            "line 13: raft.listen: expected IP:PORT or [IPv6]:PORT, such as 0.0.0.0:7613",
            "line 19: log.key: is missing",
            "health.listen: 0.0.0.0:7612 is taken by another of this node's sockets",
            "the variable TALLY_LEDGER_HTTPS_PORT is for no key that is known",
        ]
    );
}

#[test]
fn peers_are_other_nodes_each_once() {
    let peer =
        |node, port| format!("\n[[raft.peer]]\nnode_id = {node}\naddress = \"a.example:{port}\"\n");
    let config = read(&format!("{GOOD}{}{}", peer(2, 7613), peer(3, 7623)), &[]).unwrap();
    let addresses = config.raft_peers.values().map(Address::as_str).collect::<Vec<_>>();
    assert_eq!(addresses, ["a.example:7613", "a.example:7623"]);
    let wrong = read(&format!("{GOOD}{}{}{}", peer(1, 1), peer(2, 2), peer(2, 3)), &[]);
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.len(), 2);
    assert!(wrong.iter().all(|it| it.contains("stands here twice, or is this node itself")));
}

#[test]
fn an_empty_file_says_all_that_is_missing() {
    let wrong = read("", &[]).unwrap_err();
    let keys = ["tally", "data_dir", "member", "node_id", "mesh.id", "mesh.genesis"];
    let keys = keys.iter().chain(&["identity.cert", "identity.key", "log.key"]);
    let missing: Vec<String> = keys.map(|key| format!("{key}: is missing")).collect();
    assert_eq!(wrong, missing);
}

#[test]
fn a_file_is_named_in_front_of_each_of_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tally.toml");
    let gone = LedgerConfig::load(&path).unwrap_err();
    assert!(matches!(gone, ConfigError::Io { .. }), "{gone}");
    fs::write(&path, GOOD.replace("member = \"RZ9\"", "member = 9\nx = 1")).unwrap();
    let wrong = LedgerConfig::load(&path).unwrap_err().to_string();
    let path = path.display();
    assert_eq!(
        wrong,
        format!(
            "{path}: line 4: member: expected a text in quotes\n\
             {path}: line 5: x: no such key is known here"
        )
    );
    let good = dir.path().join("good.toml");
    fs::write(&good, GOOD).unwrap();
    assert_eq!(LedgerConfig::load(&good).unwrap().log_key, dir.path().join("log.key"));
}

#[test]
fn every_key_that_a_variable_may_set_stands_in_the_reference() {
    for (key, _) in KEYS {
        assert!(REFERENCE.iter().any(|row| row.key == *key), "{key}");
    }
    let keys: std::collections::BTreeSet<_> = REFERENCE.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), REFERENCE.len());
}
