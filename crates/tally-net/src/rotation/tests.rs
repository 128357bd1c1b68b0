use std::time::{SystemTime, UNIX_EPOCH};

use tally_core::register::{MemberRecord, MemberStatus};
use tally_log::SigningKey;
use tempfile::TempDir;

use super::*;
use crate::authority::{Authority, Issued, Validity};

const AGENT: &str = "spiffe://dev.example/RZ9/agent/a";

struct Files {
    dir: TempDir,
    ca: Authority,
    trust: TrustStore,
}

impl Files {
    fn new() -> Self {
        let ca = Authority::create("RZ9", hours(-1, 24)).unwrap();
        let trust = TrustStore::new("dev.example".parse().unwrap());
        trust.update(&member(&ca));
        Self { dir: tempfile::tempdir().unwrap(), ca, trust }
    }

    fn issue(&self, id: &str, validity: Validity) -> Issued {
        self.ca.issue(&id.parse().unwrap(), &[], validity).unwrap()
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("a.pem"), self.dir.path().join("a.key"))
    }

    /// As `tally identity issue` writes them: each file whole, one after the other.
    fn put(&self, certificate: &str, key: &str) {
        let (certificate_path, key_path) = self.paths();
        for (path, text) in [(certificate_path, certificate), (key_path, key)] {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, path).unwrap();
        }
    }

    /// Reads what is there, and follows it.
    fn rotation(&self) -> (Identity, Rotation) {
        let (certificate, key) = self.paths();
        let identity = Identity::load(&certificate, &key).unwrap();
        let trust = self.trust.clone();
        (identity.clone(), Rotation::new(identity, &certificate, &key, trust))
    }
}

fn hours(from: i64, until: i64) -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    Validity { from_s: now + from * 3600, until_s: now + until * 3600 }
}

fn member(ca: &Authority) -> MemberRecord {
    MemberRecord {
        id: "RZ9".parse().unwrap(),
        name: "RZ9".into(),
        codes: vec![],
        ca: ca.certificate_der().to_vec(),
        agent_key: SigningKey::from_seed(&[1; 32]).verifying_key(),
        officers: vec![],
        nodes: vec![],
        address: None,
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    }
}

#[test]
fn a_new_certificate_is_taken_by_all_who_hold_the_old_one() {
    let files = Files::new();
    let [old, new] = [4, 8].map(|until| files.issue(AGENT, hours(-1, until)));
    files.put(&old.certificate_pem, &old.key_pem);
    let (identity, mut rotation) = files.rotation();
    let clone = identity.clone();
    assert!(matches!(rotation.look(), Turn::Same));
    files.put(&new.certificate_pem, &new.key_pem);
    assert!(matches!(rotation.look(), Turn::Replaced));
    assert!(identity.is_same_as(&new.identity()) && clone.is_same_as(&new.identity()));
    assert_eq!(identity.validity().unwrap(), hours(-1, 8));
    assert!(matches!(rotation.look(), Turn::Same));
}

#[test]
fn what_can_not_be_used_changes_nothing_and_is_said_once() {
    let files = Files::new();
    let good = files.issue(AGENT, hours(-1, 4));
    files.put(&good.certificate_pem, &good.key_pem);
    let (identity, mut rotation) = files.rotation();
    let fresh = files.issue(AGENT, hours(-1, 8));
    let other = files.issue("spiffe://dev.example/RZ9/agent/b", hours(-1, 8));
    let expired = files.issue(AGENT, hours(-8, -4));
    let stranger = Authority::create("RZ9", hours(-1, 24)).unwrap();
    let strange = stranger.issue(&AGENT.parse().unwrap(), &[], hours(-1, 8)).unwrap();
    let cases: [(&str, &str, &str); 5] = [
        ("no certificate", "nonsense", &fresh.key_pem),
        ("not the key of the certificate", &fresh.certificate_pem, &good.key_pem),
        ("is for spiffe://dev.example/RZ9/agent/b", &other.certificate_pem, &other.key_pem),
        ("certificate-expired", &expired.certificate_pem, &expired.key_pem),
        ("certificate-other-issuer", &strange.certificate_pem, &strange.key_pem),
    ];
    for (why, certificate, key) in cases {
        files.put(certificate, key);
        // It may be half written: it is said once it stays so.
        assert!(matches!(rotation.look(), Turn::Same), "{why}");
        let Turn::Kept(told) = rotation.look() else { panic!("{why}") };
        assert!(told.to_string().contains(why), "{told}");
        assert!(matches!(rotation.look(), Turn::Same), "{why}");
        let Turn::Kept(told) = rotation.look_again() else { panic!("{why}") };
        assert!(told.to_string().contains(why), "{told}");
        assert!(identity.is_same_as(&good.identity()), "{why}");
    }
    files.put(&fresh.certificate_pem, &fresh.key_pem);
    assert!(matches!(rotation.look(), Turn::Replaced));
}

#[test]
fn a_file_that_is_gone_for_a_moment_is_waited_for() {
    let files = Files::new();
    let [old, new] = [4, 8].map(|until| files.issue(AGENT, hours(-1, until)));
    files.put(&old.certificate_pem, &old.key_pem);
    let (identity, mut rotation) = files.rotation();
    fs::remove_file(files.paths().1).unwrap();
    assert!(matches!(rotation.look(), Turn::Same));
    assert!(matches!(rotation.look_again(), Turn::Kept(NotUsed::Io { .. })));
    assert!(identity.is_same_as(&old.identity()));
    files.put(&new.certificate_pem, &new.key_pem);
    assert!(matches!(rotation.look(), Turn::Replaced));
}
