//! What the members decide together, through the real binary: who is a member and with which keys and
//! nodes, who cosigns, which rules hold.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Files, Ran};
use tally_tests::mesh::until;

use super::TALLY;
use super::world::{COUNCIL, PROVIDER, TRUST};

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member]]
id = "RZ8"
name = "Otherton Community NHS Trust (fictional)"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
"#;

/// A vkey of a cosignature, C2SP tlog-cosignature's own form.
fn witness_key(name: &str, seed: u8) -> String {
    let key = tally_log::SigningKey::from_seed(&[seed; 32]).verifying_key();
    tally_log::NoteKey::cosignature_v1(tally_log::KeyName::new(name).unwrap(), key).to_string()
}

fn node_key(seed: u8) -> String {
    let name = tally_log::KeyName::new("dev.example/ledger/0").unwrap();
    let key = tally_log::SigningKey::from_seed(&[seed; 32]).verifying_key();
    tally_log::NoteKey::ed25519(name, key).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_members_decide_together_takes_a_majority_and_is_shown_before_it_is_signed() {
    let dev = Dev::start(TALLY, &Files::new(MESH)).await.unwrap();
    a_change_takes_two_of_three(&dev).await;
    a_paper_whose_register_moved_is_refused(&dev).await;
    a_key_and_a_number_have_one_use(&dev).await;
    a_ledger_node_is_named_and_taken_away(&dev).await;
    a_member_is_admitted_suspended_and_removed(&dev).await;
    witnesses_are_named(&dev).await;
    rules_that_no_node_knows_are_not_proposed(&dev).await;
    the_mesh_is_shown(&dev).await;
    an_agents_key_is_replaced(&dev).await;
}

async fn a_change_takes_two_of_three(dev: &Dev) {
    let paper = file(dev, "name.json");
    let set = "name=Anytown Teaching Hospitals (fictional)";
    let args = ["member", "propose", "--member", PROVIDER, "--set", set, "--to", &paper];
    let proposed = done(dev, PROVIDER, &args).await;
    assert_eq!((&proposed["missing"], &proposed["leaf"]), (&json!(2), &Value::Null));
    let first = dev.tally(COUNCIL, &["member", "approve", &paper, "--output", "json"]).await;
    let first = first.unwrap().done().unwrap();
    // What is signed is shown first, from what to what.
    let change = "Anytown Hospitals NHS Trust (fictional) → Anytown Teaching Hospitals (fictional)";
    assert!(first.said.contains("member/RZ9, version 2"), "{}", first.said);
    assert!(first.said.contains(change), "{}", first.said);
    let first = first.json();
    assert_eq!((&first["missing"], &first["leaf"]), (&json!(1), &Value::Null));
    let row = member(dev, PROVIDER).await;
    assert_eq!((&row["version"], &row["leaf"]), (&json!(1), &json!(0)), "one is no majority");
    // The same officer twice is one approval.
    let again = done(dev, COUNCIL, &["member", "approve", &paper]).await;
    assert_eq!((&again["missing"], &again["leaf"]), (&json!(1), &Value::Null));
    let second = done(dev, TRUST, &["member", "approve", &paper]).await;
    assert!(second["leaf"].is_u64(), "{second}");
    let row = heard(dev, PROVIDER, |row| row["version"] == 2).await;
    assert_eq!(row["name"], "Anytown Teaching Hospitals (fictional)");
    assert_eq!(row["codes"], json!(["ods:RZ9"]), "what was not named stays");
    let table = dev.tally(PROVIDER, &["member", "list"]).await.unwrap().done().unwrap().out;
    assert!(
        table.lines().any(|line| line.starts_with("RZ9 ") && line.contains("active")),
        "{table}"
    );
}

async fn a_paper_whose_register_moved_is_refused(dev: &Dev) {
    let (one, other) = (file(dev, "one.json"), file(dev, "other.json"));
    for (paper, name) in [(&one, "name=One (fictional)"), (&other, "name=Other (fictional)")] {
        let args = ["member", "propose", "--member", TRUST, "--set", name, "--to", paper];
        done(dev, PROVIDER, &args).await;
        done(dev, PROVIDER, &["member", "approve", paper]).await;
    }
    let filed = done(dev, COUNCIL, &["member", "approve", &one]).await;
    assert!(filed["leaf"].is_u64(), "{filed}");
    heard(dev, TRUST, |row| row["version"] == 2).await;
    let late = refused(dev, COUNCIL, &["member", "approve", &other]).await;
    assert!(late.said.contains("has changed since this was proposed"), "{}", late.said);
    assert!(late.said.contains("version 2 now"), "{}", late.said);
    let same = ["member", "propose", "--member", TRUST, "--set", "name=One (fictional)"];
    let same = [&same[..], &["--to", &other]].concat();
    let same = refused(dev, PROVIDER, &same).await;
    assert!(same.said.contains("nothing would change"), "{}", same.said);
}

async fn a_key_and_a_number_have_one_use(dev: &Dev) {
    let paper = file(dev, "no.json");
    // The agent's key for the officer.
    let agent = dev.dir().join(TRUST).join("agent.key").display().to_string();
    let public = dev.tally(TRUST, &["member", "key", "agent", &agent]).await;
    let public = public.unwrap().done().unwrap().out;
    let text =
        format!("tally = 1\nid = \"RZ8\"\nofficers = {{ ig-lead = \"{}\" }}\n", public.trim());
    let said = refused_change(dev, &text, &paper).await;
    assert!(said.contains("key-reused"), "{said}");
    // Another member's node.
    let text = format!(
        "tally = 1\nid = \"RZ8\"\n[[node]]\nnumber = 1\nvkey = \"{}\"\nquic = \"a.example:1\"\n\
         https = \"a.example:2\"\n",
        node_key(40)
    );
    let said = refused_change(dev, &text, &paper).await;
    assert!(said.contains("node-reused"), "{said}");
    // All that is wrong with a file, at once.
    let said =
        refused_change(dev, "tally = 1\nid = \"RZ8\"\naddress = 7\nsize = 3\n", &paper).await;
    assert!(said.contains("line 3: address") && said.contains("line 4: size"), "{said}");
    assert!(!PathBuf::from(&paper).exists());
}

async fn a_ledger_node_is_named_and_taken_away(dev: &Dev) {
    let paper = file(dev, "node.json");
    let add = format!(
        "tally = 1\nid = \"LZ9\"\n[[node]]\nnumber = 9\nvkey = \"{}\"\nquic = \"l9.example:7610\"\n\
         https = \"l9.example:7611\"\n",
        node_key(41)
    );
    agree_on(dev, &add, &paper).await;
    heard(dev, COUNCIL, |row| row["nodes"].as_array().is_some_and(|it| it.contains(&json!(9))))
        .await;
    agree_on(dev, "tally = 1\nid = \"LZ9\"\nremove_nodes = [9]\n", &paper).await;
    heard(dev, COUNCIL, |row| row["nodes"].as_array().is_some_and(|it| !it.contains(&json!(9))))
        .await;
    // Its number never comes back.
    let said = refused_change(dev, &add, &file(dev, "again.json")).await;
    assert!(said.contains("node-reused"), "{said}");
}

async fn a_member_is_admitted_suspended_and_removed(dev: &Dev) {
    let home = file(dev, "QX1");
    let new = ["member", "new", "QX1", "--name", "Otherton ICB (fictional)", "--to", &home];
    dev.tally(PROVIDER, &new).await.unwrap().done().unwrap();
    let own = format!("{home}/member.toml");
    let paper = file(dev, "admit.json");
    let proposed = done(dev, PROVIDER, &["member", "admit", &own, "--to", &paper]).await;
    let changes = proposed["changes"].as_array().unwrap();
    assert!(changes.iter().all(|it| it["from"].is_null()) && changes.len() >= 6, "{proposed}");
    done(dev, PROVIDER, &["member", "approve", &paper]).await;
    assert!(done(dev, COUNCIL, &["member", "approve", &paper]).await["leaf"].is_u64());
    let row = heard(dev, "QX1", |row| row["status"] == "active").await;
    assert_eq!(row["officers"], json!(["caldicott", "ig-lead"]));
    let twice = refused(dev, PROVIDER, &["member", "admit", &own, "--to", &paper]).await;
    assert!(twice.said.contains("is a member already"), "{}", twice.said);
    // Of four members three are a majority: the new one counts.
    for (command, status) in [
        ("suspend", "suspended"),
        ("resume", "active"),
        ("suspend", "suspended"),
        ("remove", "removed"),
    ] {
        let proposed = done(dev, TRUST, &["member", command, "QX1", "--to", &paper]).await;
        let needed = usize::try_from(proposed["missing"].as_u64().unwrap()).unwrap();
        let mut last = Value::Null;
        for officer in [PROVIDER, COUNCIL, TRUST].into_iter().take(needed) {
            last = done(dev, officer, &["member", "approve", &paper]).await;
        }
        assert!(last["leaf"].is_u64(), "{command}: {last}");
        heard(dev, "QX1", |row| row["status"] == status).await;
    }
    let back = refused(dev, TRUST, &["member", "resume", "QX1", "--to", &paper]).await;
    assert!(back.said.contains("was removed"), "{}", back.said);
    let unknown = refused(dev, TRUST, &["member", "suspend", "XX7", "--to", &paper]).await;
    assert!(unknown.said.contains("is no member"), "{}", unknown.said);
}

async fn witnesses_are_named(dev: &Dev) {
    let (text, paper) = (dev.files().join("witnesses.toml"), file(dev, "witnesses.json"));
    let rows = |count: u8| {
        let row = |it: u8| {
            let key = witness_key(&format!("w{it}.example"), 50 + it);
            format!("[[witness]]\nurl = \"https://w{it}.example/\"\nvkey = \"{key}\"\n")
        };
        format!("tally = 1\n{}", (0..count).map(row).collect::<String>())
    };
    // Three ledger nodes sign, too.
    fs::write(&text, rows(14)).unwrap();
    let text = text.display().to_string();
    let propose = ["mesh", "witnesses", "propose", &text, "--to", &paper];
    let many = refused(dev, PROVIDER, &propose).await;
    assert!(many.said.contains("cosigners-too-many"), "{}", many.said);
    let own = witness_key("dev.example/witness/RZ9", 60);
    fs::write(&text, format!("{}[[witness]]\nmember = \"RZ9\"\nvkey = \"{own}\"\n", rows(1)))
        .unwrap();
    done(dev, PROVIDER, &propose).await;
    let wrong = dev.tally(PROVIDER, &["member", "approve", &paper]).await.unwrap();
    assert_eq!(wrong.code, Some(2), "{}", wrong.said);
    done(dev, PROVIDER, &["mesh", "witnesses", "approve", &paper]).await;
    let filed = done(dev, TRUST, &["mesh", "witnesses", "approve", &paper]).await;
    assert!(filed["leaf"].is_u64(), "{filed}");
    let known = until("witnesses at the council", Duration::from_secs(20), async || {
        let known = done(dev, COUNCIL, &["mesh", "witnesses", "list"]).await;
        let there = known["rows"].as_array().is_some_and(|rows| rows.len() == 2);
        if there { Ok(known) } else { Err(known.to_string()) }
    });
    let known = known.await.unwrap();
    assert_eq!(
        (&known["rows"][0]["name"], &known["rows"][1]["member"]),
        (&json!("w0.example"), &json!("RZ9"))
    );
}

async fn rules_that_no_node_knows_are_not_proposed(dev: &Dev) {
    let paper = file(dev, "rules.json");
    let shown = done(dev, PROVIDER, &["mesh", "protocol", "show"]).await;
    assert_eq!(shown["in_force"], 1);
    let known: Vec<_> = shown["nodes"].as_array().unwrap().iter().map(|it| &it["known"]).collect();
    assert_eq!(known, [&json!(1), &json!(1), &json!(1)], "{shown}");
    let early = refused(dev, PROVIDER, &["mesh", "protocol", "propose", "2", "--to", &paper]).await;
    assert!(early.said.contains("0 of 3 ledger nodes know version 2"), "{}", early.said);
    let back = refused(dev, PROVIDER, &["mesh", "protocol", "propose", "1", "--to", &paper]).await;
    assert!(back.said.contains("nothing would change"), "{}", back.said);
}

async fn the_mesh_is_shown(dev: &Dev) {
    let shown = done(dev, COUNCIL, &["mesh", "show"]).await;
    assert_eq!(
        (&shown["mesh"], &shown["protocol"], &shown["epoch"]),
        (&json!("dev.example"), &json!(1), &json!(0))
    );
    assert_eq!(shown["ledger_nodes"].as_array().map(Vec::len), Some(3), "{shown}");
    assert_eq!(shown["witness_quorum"], 2, "{shown}");
    let table = dev.tally(COUNCIL, &["mesh", "show"]).await.unwrap().done().unwrap().out;
    assert!(table.contains("QX1 (removed)"), "{table}");
}

async fn an_agents_key_is_replaced(dev: &Dev) {
    let next = dev.dir().join(TRUST).join("agent-2.key").display().to_string();
    let public = dev.tally(TRUST, &["member", "key", "agent", &next]).await;
    let public = public.unwrap().done().unwrap().out;
    let text = format!("tally = 1\nid = \"RZ8\"\nagent_key = \"{}\"\n", public.trim());
    let change = dev.files().join("key.toml");
    fs::write(&change, text).unwrap();
    let paper = file(dev, "key.json");
    let change = change.display().to_string();
    done(dev, TRUST, &["member", "propose", &change, "--to", &paper]).await;
    done(dev, TRUST, &["member", "approve", &paper]).await;
    let filed = done(dev, COUNCIL, &["member", "approve", &paper]).await;
    let keys: Vec<_> = filed["changes"].as_array().unwrap().iter().map(|it| &it["what"]).collect();
    assert_eq!(keys, [&json!("agent key")]);
    assert!(filed["leaf"].is_u64(), "{filed}");
}

/// Two of three members want it so.
async fn agree_on(dev: &Dev, text: &str, paper: &str) {
    let change = dev.files().join("change.toml");
    fs::write(&change, text).unwrap();
    let change = change.display().to_string();
    done(dev, PROVIDER, &["member", "propose", &change, "--to", paper]).await;
    done(dev, PROVIDER, &["member", "approve", paper]).await;
    let filed = done(dev, COUNCIL, &["member", "approve", paper]).await;
    assert!(filed["leaf"].is_u64(), "{filed}");
}

/// What is said of a change that nobody can propose.
async fn refused_change(dev: &Dev, text: &str, paper: &str) -> String {
    let change = dev.files().join("change.toml");
    fs::write(&change, text).unwrap();
    let change = change.display().to_string();
    let ran = dev.tally(PROVIDER, &["member", "propose", &change, "--to", paper]).await.unwrap();
    assert!(matches!(ran.code, Some(1 | 2)), "{ran:?}");
    ran.said
}

/// A member as every agent has it once this is so.
async fn heard(dev: &Dev, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for agent in [PROVIDER, TRUST, COUNCIL] {
        let what = format!("{id} at {agent}");
        let there = until(&what, Duration::from_secs(20), async || {
            let known = done(dev, agent, &["member", "list"]).await;
            let row = known["rows"].as_array().unwrap().iter().find(|it| it["id"] == id).cloned();
            let row = row.unwrap_or_default();
            if fits(&row) { Ok(row) } else { Err(row.to_string()) }
        });
        last = there.await.unwrap();
    }
    last
}

async fn member(dev: &Dev, id: &str) -> Value {
    let known = done(dev, PROVIDER, &["member", "list"]).await;
    known["rows"].as_array().unwrap().iter().find(|it| it["id"] == id).cloned().unwrap_or_default()
}

fn file(dev: &Dev, name: &str) -> String {
    dev.files().join(name).display().to_string()
}

async fn done(dev: &Dev, member: &str, args: &[&str]) -> Value {
    let args: Vec<_> = args.iter().copied().chain(["--output", "json"]).collect();
    dev.tally(member, &args).await.unwrap().done().unwrap().json()
}

async fn refused(dev: &Dev, member: &str, args: &[&str]) -> Ran {
    let ran = dev.tally(member, args).await.unwrap();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran
}
