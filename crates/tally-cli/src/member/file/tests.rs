use tally_log::{KeyName, SigningKey};

use super::*;
use crate::registers::change::key;

const ORIGIN: &str = "dev.example/ledger/0";

fn public(seed: u8) -> VerifyingKey {
    SigningKey::from_seed(&[seed; 32]).verifying_key()
}

fn vkey(name: &str, seed: u8) -> String {
    NoteKey::ed25519(KeyName::new(name).unwrap(), public(seed)).to_string()
}

/// A file with its certificate beside it.
fn read(text: &str) -> Result<MemberFile, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let validity = tally_net::authority::Validity { from_s: 0, until_s: 4_000_000_000 };
    let authority = tally_net::Authority::create("QX1 CA", validity).unwrap();
    fs::write(dir.path().join("ca.pem"), authority.certificate_pem()).unwrap();
    let problems = |found: Vec<Problem>| {
        let shown =
            found.iter().map(|it| it.to_string().replace(dir.path().to_str().unwrap(), "D"));
        shown.collect()
    };
    MemberFile::read(text, dir.path(), ORIGIN).map_err(problems)
}

fn whole() -> String {
    format!(
        "tally = 1\nid = \"QX1\"\nname = \"Otherton ICB (fictional)\"\ncodes = {{ ods = \"QX1\" }}\n\
         dspt = {{ status = \"met\", published_on = 2026-06-30 }}\naddress = \"agent.qx1.example:7600\"\n\
         ca = \"ca.pem\"\nagent_key = \"{}\"\n\
         officers = {{ ig-lead = \"{}\", caldicott = \"{}\" }}\n\
         [[node]]\nnumber = 4\nvkey = \"{}\"\nquic = \"l4.example:7610\"\nhttps = \"l4.example:7611\"\n",
        key(&public(1)),
        key(&public(2)),
        key(&public(3)),
        vkey(ORIGIN, 4),
    )
}

#[test]
fn a_new_member_says_all_of_itself() {
    let record = read(&whole()).unwrap().apply(None).unwrap();
    assert_eq!(record.id.as_str(), "QX1");
    let roles: Vec<_> = record.officers.iter().map(|it| it.role.as_str()).collect();
    assert_eq!(roles, ["caldicott", "ig-lead"]);
    assert_eq!((record.nodes[0].id, record.nodes[0].log_key), (NodeId(4), public(4)));
    assert!(record.ca.len() > 100 && record.status == MemberStatus::Active);
    let lacks = read("tally = 1\nid = \"QX1\"\n").unwrap().apply(None);
    let lacked = vec!["name", "ca", "agent_key", "officers.ig-lead"];
    assert_eq!(lacks, Err(NoRecord::Lacks(lacked)));
}

#[test]
fn what_a_change_does_not_name_stays_as_it_is() {
    let old = read(&whole()).unwrap().apply(None).unwrap();
    let change = |rest: &str| {
        let file = read(&format!("tally = 1\nid = \"QX1\"\n{rest}")).unwrap();
        file.apply(Some(old.clone()))
    };
    assert_eq!(change(""), Ok(old.clone()));
    let renamed = MemberRecord { name: "Other".to_owned(), ..old.clone() };
    assert_eq!(change("name = \"Other\""), Ok(renamed));
    let silent = MemberRecord { address: None, ..old.clone() };
    assert_eq!(change("address = \"none\""), Ok(silent));
    let rotated = change(&format!("officers = {{ ig-lead = \"{}\" }}", key(&public(9)))).unwrap();
    assert_eq!((rotated.officers[0].key, rotated.officers[1].key), (public(3), public(9)));
    let fewer = change("remove_officers = [\"caldicott\"]\nremove_nodes = [4]").unwrap();
    assert_eq!((fewer.officers.len(), fewer.nodes.len()), (1, 0));
    let node = |number: u64, seed: u8| {
        format!(
            "[[node]]\nnumber = {number}\nvkey = \"{}\"\nquic = \"a:1\"\nhttps = \"a:2\"\n",
            vkey(ORIGIN, seed)
        )
    };
    let more = change(&node(2, 7)).unwrap();
    assert_eq!(more.nodes.iter().map(|it| it.id.0).collect::<Vec<_>>(), [2, 4]);
    let gone = |text: &str| Err(NoRecord::NotThere(text.to_owned()));
    assert_eq!(change("remove_nodes = [7]"), gone("ledger node 7"));
    assert_eq!(change("remove_officers = [\"auditor\"]"), gone("officer auditor"));
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_line() {
    let text = format!(
        "tally = 2\nid = \"Q X1\"\nname = \"\"\naddress = \"nowhere\"\nca = \"none.pem\"\n\
         agent_key = \"AAAA\"\nofficers = {{ Chief = \"x\" }}\nstatus = \"active\"\n\
         [[node]]\nnumber = 0\nvkey = \"{}\"\nquic = \"a\"\n",
        vkey("other.example/ledger/0", 4),
    );
    let problems = read(&text).unwrap_err();
    let lines: Vec<_> = problems.iter().map(|it| it.split(':').next().unwrap()).collect();
    for line in 1..=7 {
        let wanted = format!("line {line}");
        assert!(lines.contains(&wanted.as_str()), "{wanted}: {problems:#?}");
    }
    let told = problems.join("\n");
    for wanted in [
        "status: no such key is known here",
        "D/none.pem holds no certificate in PEM",
        "a ledger node's key is named dev.example/ledger/0",
        "node[0].https: is missing",
        "line 10: node[0].number",
        "line 12: node[0].quic",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in {told}");
    }
}

#[test]
fn a_witness_key_is_no_ledger_nodes() {
    let name = KeyName::new(ORIGIN).unwrap();
    let cosigns = NoteKey::cosignature_v1(name, public(4)).to_string();
    let text = whole().replace(&vkey(ORIGIN, 4), &cosigns);
    assert!(read(&text).unwrap_err()[0].contains("type 0x01"));
    let twice = format!(
        "{}[[node]]\nnumber = 4\nvkey = \"{}\"\nquic = \"a:1\"\nhttps = \"a:2\"\n",
        whole(),
        vkey(ORIGIN, 5)
    );
    assert!(read(&twice).unwrap_err()[0].contains("node 4 stands here twice"));
}
