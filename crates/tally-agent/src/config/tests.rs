//! What a configuration may say, and what it may not.

use super::*;

const GOOD: &str = r#"
tally = 1
data_dir = "data"
member = "RZ9"
[mesh]
id = "0101010101010101010101010101010101010101010101010101010101010101"
genesis = "genesis.cbor"
[identity]
cert = "agent.pem"
key = "agent.pem.key"
[agent]
key = "agent.key"
"#;

fn read(more: &str, variables: &[(&str, &str)]) -> Result<AgentConfig, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let read = AgentConfig::read(&format!("{GOOD}{more}"), Path::new("base"), variables);
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_not_said_is_the_default() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.data_dir, Path::new("base/data"));
    assert_eq!(config.ingress.listen, "127.0.0.1:7601".parse().unwrap());
    assert_eq!(config.limits, AgentLimits::default());
}

#[test]
fn an_ingress_that_others_reach_is_refused_wherever_it_is_said() {
    let open = read("[ingress]\nlisten = \"0.0.0.0:7601\"\n", &[]).unwrap_err();
    assert!(open.contains("not on loopback"), "{open}");
    let open = read("", &[("TALLY_AGENT_INGRESS_LISTEN", "[::]:7601")]).unwrap_err();
    assert!(open.contains("not on loopback"), "{open}");
}

#[test]
fn a_limit_that_lets_nothing_through_is_refused() {
    for key in ["exchanges_max", "requests_max", "outbox_entries_max", "refusals_max"] {
        let none = read(&format!("[limits]\n{key} = 0\n"), &[]).unwrap_err();
        assert!(none.contains(key) && none.contains("from 1"), "{none}");
        assert!(read(&format!("[limits]\n{key} = 1\n"), &[]).is_ok());
    }
}

#[test]
fn what_is_not_known_is_refused() {
    assert!(read("[quic]\nlisen = \"0.0.0.0:1\"\n", &[]).is_err());
    assert!(read("", &[("TALLY_AGENT_QUIC_LISEN", "0.0.0.0:1")]).is_err());
    let jwt = read("[ingress]\nuser = \"jwt\"\n", &[]).unwrap_err();
    assert!(jwt.contains("no tokens yet"), "{jwt}");
}
