//! What a process is given of its mesh: which genesis it takes, and which of its own certificates it
//! finds that its peers would refuse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as loudly as tests"
)]

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use tally_core::entry::{Environment, Genesis};
use tally_core::id::{MeshId, NodeId, Salt16};
use tally_core::register::{MemberRecord, MemberStatus};
use tally_log::SigningKey;
use tally_net::authority::Validity;
use tally_net::*;
use tempfile::TempDir;

/// A mesh of one founder, and a directory with its files.
struct Founder {
    ca: Authority,
    genesis: Genesis,
    dir: TempDir,
}

impl Founder {
    fn new() -> Self {
        let ca = Authority::create("RZ9", for_an_hour()).unwrap();
        let genesis = Genesis {
            salt: Salt16([1; 16]),
            mesh: "dev.example".parse().unwrap(),
            environment: Environment::Test,
            protocol: 1,
            members: vec![record("RZ9", &ca)],
            voters: vec![NodeId(1)],
        };
        Self { ca, genesis, dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn check(&self, identity: &Identity, ca: &str) -> Result<(), LoadIdentityError> {
        let ca = self.write("ca.pem", ca);
        check_by_own_ca(identity, &self.dir.path().join("cert.pem"), &ca, &self.genesis)
    }
}

#[test]
fn a_genesis_is_read_where_it_is_that_of_the_mesh() {
    let founder = Founder::new();
    let bytes = tally_wire::encode(&founder.genesis);
    let path = founder.write("genesis.cbor", &bytes);
    let mesh_id = MeshId(tally_wire::encode_checked(founder.genesis.clone()).unwrap().leaf_hash());
    assert_eq!(read_genesis(&path, mesh_id).unwrap().bytes(), bytes);
    let other = MeshId(tally_log::Hash::from_bytes([9; 32]));
    let told = read_genesis(&path, other).unwrap_err();
    assert!(
        matches!(&told, GenesisError::OtherMesh { found, wanted, .. }
            if *found == mesh_id && *wanted == other),
        "{told}"
    );
}

#[test]
fn what_is_no_genesis_is_told_with_its_file() {
    let founder = Founder::new();
    let bytes = tally_wire::encode(&founder.genesis);
    let any = MeshId(tally_log::Hash::from_bytes([9; 32]));
    let cut = bytes.split_last().unwrap().1;
    let long = vec![0; 65 * 1024];
    for bad in [b"".as_slice(), b"[mesh]\n", cut, &long] {
        let told = read_genesis(&founder.write("bad.cbor", bad), any).unwrap_err();
        assert!(matches!(told, GenesisError::Malformed { .. }), "{told}");
        assert!(told.to_string().contains("bad.cbor: not a genesis: "), "{told}");
    }
    let told = read_genesis(&founder.dir.path().join("absent.cbor"), any).unwrap_err();
    assert!(matches!(told, GenesisError::Io { .. }), "{told}");
}

#[test]
fn a_certificate_that_peers_would_refuse_is_told_before_any_does() {
    let founder = Founder::new();
    let own = founder.ca.certificate_pem();
    let issue = |ca: &Authority, member: &str, validity| {
        let id = format!("spiffe://dev.example/{member}/agent/a").parse().unwrap();
        ca.issue(&id, &[], validity).unwrap().identity()
    };
    let good = issue(&founder.ca, "RZ9", for_an_hour());
    founder.check(&good, own).unwrap();

    let past = Validity { from_s: now_s() - 7200, until_s: now_s() - 3600 };
    let stranger = Authority::create("XX1", for_an_hour()).unwrap();
    let refused = [
        (IdentityError::Expired, issue(&founder.ca, "RZ9", past)),
        (IdentityError::OtherIssuer, issue(&stranger, "RZ9", for_an_hour())),
    ];
    for (expected, identity) in refused {
        let told = founder.check(&identity, own).unwrap_err();
        assert!(
            matches!(&told, LoadIdentityError::Refused { path, why }
                if *why == expected && path.ends_with("cert.pem")),
            "{expected:?}: {told}"
        );
    }
    // The CA may have changed since the genesis: what counts is the file.
    let renewed = issue(&stranger, "RZ9", for_an_hour());
    founder.check(&renewed, stranger.certificate_pem()).unwrap();
    // Of who joined later the genesis has no record to check by.
    founder.check(&issue(&stranger, "XX1", for_an_hour()), own).unwrap();
}

#[test]
fn a_file_without_a_ca_is_named() {
    let founder = Founder::new();
    let id = "spiffe://dev.example/RZ9/agent/a".parse().unwrap();
    let identity = founder.ca.issue(&id, &[], for_an_hour()).unwrap().identity();
    for text in ["", "no certificate", &founder.ca.key_pem()] {
        let told = founder.check(&identity, text).unwrap_err();
        assert!(
            matches!(&told, LoadIdentityError::Certificate { path, .. } if path.ends_with("ca.pem")),
            "{told}"
        );
    }
}

fn record(id: &str, ca: &Authority) -> MemberRecord {
    MemberRecord {
        id: id.parse().unwrap(),
        name: id.into(),
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

fn for_an_hour() -> Validity {
    Validity { from_s: now_s() - 60, until_s: now_s() + 3600 }
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}
