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
    assert_eq!(config.ingress.listen.to_string(), "127.0.0.1:7601");
    assert_eq!(config.limits, AgentLimits::default());
}

#[test]
fn an_agent_is_a_witness_only_where_a_key_is_named() {
    assert_eq!(read("", &[]).unwrap().witness_key, None);
    let named = read("[witness]\nkey = \"witness.key\"\n", &[]).unwrap();
    assert_eq!(named.witness_key.as_deref(), Some(Path::new("base/witness.key")));
    let named = read("", &[("TALLY_AGENT_WITNESS_KEY", "w.key")]).unwrap();
    assert_eq!(named.witness_key.as_deref(), Some(Path::new("base/w.key")));
    assert!(read("[witness]\nkee = \"w\"\n", &[]).is_err());
}

#[test]
fn an_ingress_that_others_reach_is_refused_wherever_it_is_said() {
    let open = read("[ingress]\nlisten = \"0.0.0.0:7601\"\n", &[]).unwrap_err();
    assert!(open.contains("not on loopback"), "{open}");
    let open = read("", &[("TALLY_AGENT_INGRESS_LISTEN", "[::]:7601")]).unwrap_err();
    assert!(open.contains("not on loopback"), "{open}");
}

#[test]
fn an_ingress_listens_on_a_socket_of_this_machine_or_anywhere_with_mutual_tls() {
    let unix = read("[ingress]\nlisten = \"unix:run/ingress.sock\"\n", &[]).unwrap().ingress;
    assert_eq!(unix.listen, IngressAddress::Unix("base/run/ingress.sock".into()));
    let tls = "cert = \"i.pem\"\nkey = \"i.key\"\nclient_ca = \"apps.pem\"\n";
    let open = read(&format!("[ingress]\nlisten = \"0.0.0.0:7601\"\n{tls}"), &[]).unwrap().ingress;
    let expected = IngressTls {
        cert: "base/i.pem".into(),
        key: "base/i.key".into(),
        client_ca: "base/apps.pem".into(),
    };
    assert_eq!(open.tls, Some(expected));
    for (text, why) in [
        ("listen = \"unix:\"\n".to_owned(), "expected IP:PORT"),
        (format!("listen = \"unix:{}\"\n", "x".repeat(120)), "at most 107 bytes"),
        (format!("listen = \"unix:a.sock\"\n{tls}"), "takes no TLS"),
        (
            "listen = \"0.0.0.0:7601\"\ncert = \"i.pem\"\nkey = \"i.key\"\n".to_owned(),
            "all of cert",
        ),
    ] {
        let told = read(&format!("[ingress]\n{text}"), &[]).unwrap_err();
        assert!(told.contains(why), "{why}: {told}");
    }
}

#[test]
fn a_limit_that_lets_nothing_through_is_refused() {
    for key in [
        "exchanges_max",
        "exchanges_per_member_max",
        "exchanges_per_source_max",
        "requests_max",
        "outbox_entries_max",
        "refusals_max",
        "break_glass_seconds",
        "break_glass_reason_chars_min",
        "review_wait_seconds",
        "offline_feed_age_seconds",
        "drain_wait_seconds",
    ] {
        let none = read(&format!("[limits]\n{key} = 0\n"), &[]).unwrap_err();
        assert!(none.contains(key) && none.contains("from 1"), "{none}");
        assert!(read(&format!("[limits]\n{key} = 1\n"), &[]).is_ok());
    }
}

#[test]
fn the_opt_out_is_asked_and_its_answers_are_short_lived_unless_another_nation_is_configured() {
    assert_eq!(read("", &[]).unwrap().opt_out, OptOutSettings::default());
    let text = "[opt_out]\nnation = \"wales\"\nmailbox = \"X26OT001\"\nanswer_age_max_s = 60\n";
    let expected = OptOutSettings {
        nation: crate::opt_out::Nation::Wales,
        answer_age_max: Duration::from_secs(60),
        mailbox: Some("X26OT001".to_owned()),
    };
    assert_eq!(read(text, &[]).unwrap().opt_out, expected);
    for (line, why) in [
        ("nation = \"france\"", "expected one of england"),
        ("mailbox = \"9990000018\"", "expected a MESH mailbox"),
        ("answer_age_max_s = 0", "from 1"),
        ("answer_age_max_s = 2678401", "no short-lived copy"),
        ("off = true", "no such key"),
    ] {
        let refused = read(&format!("[opt_out]\n{line}\n"), &[]).unwrap_err();
        assert!(refused.contains(why), "{line}: {refused}");
    }
}

#[test]
fn how_long_openings_are_kept_is_the_members_to_say() {
    assert_eq!(read("", &[]).unwrap().retention_years, 8);
    assert_eq!(read("[retention]\nyears = 25\n", &[]).unwrap().retention_years, 25);
    assert_eq!(read("", &[("TALLY_AGENT_RETENTION_YEARS", "20")]).unwrap().retention_years, 20);
    for years in ["0", "201", "-1", "100000"] {
        assert!(read(&format!("[retention]\nyears = {years}\n"), &[]).is_err(), "{years}");
    }
}

#[test]
fn what_is_not_known_is_refused() {
    assert!(read("[quic]\nlisen = \"0.0.0.0:1\"\n", &[]).is_err());
    assert!(read("", &[("TALLY_AGENT_QUIC_LISEN", "0.0.0.0:1")]).is_err());
}

#[test]
fn tokens_are_taken_only_with_keys_or_where_the_ingress_says_that_it_takes_unsigned_ones() {
    let ingress = |lines: &str| {
        let config = read(&format!("[ingress]\n{lines}\n"), &[]);
        config.map(|config| config.ingress.user)
    };
    let none = ingress("user = \"jwt\"").unwrap_err();
    assert!(none.contains("needs jwks"), "{none}");
    let refused = ingress("user = \"jwt\"\nunsigned_tokens = false").unwrap_err();
    assert!(refused.contains("needs jwks"), "{refused}");
    let all = "user = \"jwt\"\njwks = \"keys.json\"\nissuer = \"i\"\naudience = \"a\"";
    let settings = TokenSettings {
        jwks: Some("base/keys.json".into()),
        issuer: Some("i".to_owned()),
        audience: Some("a".to_owned()),
        unsigned: false,
    };
    assert_eq!(ingress(all), Ok(IngressUser::Token(settings)));
    let unsigned = TokenSettings { unsigned: true, ..TokenSettings::default() };
    let taken = ingress("user = \"jwt\"\nunsigned_tokens = true");
    assert_eq!(taken, Ok(IngressUser::Token(unsigned)));
    for lines in ["jwks = \"keys.json\"", "user = \"service:pas\"\nunsigned_tokens = true"] {
        let unused = ingress(lines).unwrap_err();
        assert!(unused.contains("are for user = \"jwt\""), "{unused}");
    }
    assert!(ingress("user = \"service:\"").unwrap_err().contains("header, jwt or service"));
    assert!(ingress("user = \"jwt\"\njwks = \"k\"\nissuer = \"\"").is_err());
}

#[test]
fn links_lead_where_applications_see_the_ingress() {
    let base = |text: &str| {
        let config = read(&format!("[ingress]\nbase_url = \"{text}\"\n"), &[]);
        config.map(|config| config.ingress.base_url.map(|it| it.to_string()))
    };
    assert!(read("", &[]).unwrap().ingress.base_url.is_none());
    let proxy = "https://records.rz8.example/tally";
    assert_eq!(base(proxy), Ok(Some(proxy.to_owned())));
    let bad = base("records.rz8.example").unwrap_err();
    assert!(bad.contains("ingress.base_url") && bad.contains("http://"), "{bad}");
}

#[test]
fn a_policy_of_ones_own_is_read_as_strictly_as_a_condition() {
    assert!(read("", &[]).unwrap().own_policy.is_empty());
    let good = read("[policy]\nwhen = \"context.hour >= 6\"\n", &[]).unwrap();
    assert_eq!(good.own_policy.text(), "context.hour >= 6");
    let bad = read("[policy]\nwhen = \"context.our >= 6\"\n", &[]).unwrap_err();
    assert!(bad.contains("policy.when") && bad.contains("column 1"), "{bad}");
}

#[test]
fn alerts_go_over_https_or_stay_on_this_machine() {
    assert!(read("", &[]).unwrap().alerts.is_none());
    let local = read("[alerts]\nwebhook = \"http://127.0.0.1:9/hook\"\n", &[]).unwrap();
    assert!(local.alerts.is_some());
    let far = "[alerts]\nwebhook = \"http://alerts.example/hook/s3cret\"\n";
    let clear = read(far, &[]).unwrap_err();
    assert!(clear.contains("alerts.webhook") && !clear.contains("s3cret"), "{clear}");
    let nobody = read(&far.replace("http:", "https:"), &[]).unwrap_err();
    assert!(nobody.contains("alerts.ca"), "{nobody}");
    let vouched = far.replace("http:", "https:") + "ca = \"ca.pem\"\n";
    assert!(read(&vouched, &[]).unwrap().alerts.is_some());
}

#[test]
fn every_key_that_a_variable_may_set_stands_in_the_reference() {
    for (key, _) in KEYS {
        assert!(REFERENCE.iter().any(|row| row.key == *key), "{key}");
    }
    let keys: std::collections::BTreeSet<_> = REFERENCE.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), REFERENCE.len());
}

#[test]
fn every_key_of_the_reference_is_known_and_its_default_changes_nothing_when_it_is_written_out() {
    use tally_core::file::Unsaid;
    for row in REFERENCE.iter().filter(|row| !row.key.contains("[]")) {
        let Some((table, key)) = row.key.rsplit_once('.') else { continue };
        // The tables of the test's own file can't be opened twice.
        if matches!(table, "mesh" | "identity" | "agent") {
            continue;
        }
        let wrong = read(&format!("[{table}]\n{key} = {{ no = 1 }}\n"), &[]).unwrap_err();
        assert!(!wrong.contains(&format!("{}: no such key", row.key)), "{wrong}");
        let Unsaid::Is(default) = row.unsaid else { continue };
        // What stands beside `user` only goes with it.
        if row.key == "ingress.unsigned_tokens" {
            continue;
        }
        let mut written = read(&format!("[{table}]\n{key} = {default}\n"), &[]).unwrap();
        let unwritten = read("", &[]).unwrap();
        if table == "limits" {
            let limits = crate::agent::limits;
            assert_eq!(limits(&written.limits), limits(&unwritten.limits), "{}", row.key);
            written.limits = unwritten.limits;
        }
        assert_eq!(written, unwritten, "{}", row.key);
    }
}
