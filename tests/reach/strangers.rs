//! Who is let in beside a member's applications: that member's sidecars, as long as it is a member.

use std::fs;
use std::time::Duration;

use tally_net::endpoint::{ConnectionLimits, client_config, endpoint};
use tally_net::rustls::pki_types::CertificateDer;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::{
    ConnectError, Expect, Identity, IdentityError, Role, TrustStore, alpn, connect, tls,
};
use tally_tests::dev::Dev;
use tally_tests::mesh::until;

use super::beside::{agent_of, lacks, ready};
use super::world::{COUNCIL, PROVIDER, TREAT, record, running};

/// What is told is told within this time, on a machine that is busy.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Dials the council's agent with a certificate of a member, as a workload that speaks a protocol; gives
/// what it was told, once it is told.
async fn dials(dev: &Dev, member: &str, role: &str, protocol: &[u8]) -> Option<IdentityError> {
    let dir = dev
        .dir()
        .join(format!("{member}-{role}-{}", String::from_utf8_lossy(protocol).replace('/', "-")));
    let (ca, to) = (dev.dir_of(member).display().to_string(), dir.display().to_string());
    let args = ["identity", "issue", "--ca", &ca, "--mesh", "dev.example", "--member", member];
    let what = ["--role", role, "--name", "one", "--to", &to];
    dev.tally(member, &[&args[..], &what[..]].concat()).await.unwrap().done().unwrap();
    let identity = Identity::load(&dir.join("one.pem"), &dir.join("one.key")).unwrap();
    let ca = CertificateDer::from_pem_file(dev.dir_of(COUNCIL).join("ca.pem")).unwrap();
    let council: tally_core::id::MemberId = COUNCIL.parse().unwrap();
    let trust = TrustStore::of_one("dev.example".parse().unwrap(), council.clone(), ca);
    let expect = Expect { member: Some(council), role: Role::Agent, name: None };
    let tls = tls::client_config(Some(identity), trust, expect, &[protocol]).unwrap();
    let limits = ConnectionLimits::default();
    let config = client_config(tls, &limits).unwrap();
    let own = endpoint("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let address = agent_of(dev, COUNCIL).parse().unwrap();
    let why = match connect(&own, config, address, &limits).await {
        Err(why) => why,
        // In QUIC the client's handshake may be done before the server has looked at its certificate.
        Ok(connection) => {
            match tokio::time::timeout(Duration::from_secs(2), connection.closed()).await {
                Err(_) => return None,
                Ok(why) => ConnectError::from(why),
            }
        }
    };
    match why {
        ConnectError::Identity(why) => Some(why),
        other => panic!("{member} {role}: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_own_members_sidecars_are_let_in() {
    let dev = running().await;
    // Of its own member, a sidecar is let in; of another, it is told why not.
    assert_eq!(dials(&dev, COUNCIL, "sidecar", alpn::SIDECAR).await, None);
    let other = dials(&dev, PROVIDER, "sidecar", alpn::SIDECAR).await;
    assert_eq!(other, Some(IdentityError::OtherMember));
    // A sidecar is no agent, and an agent no sidecar, whatever they say that they speak.
    for (member, role, protocol) in [
        (COUNCIL, "sidecar", alpn::AGENT),
        (PROVIDER, "sidecar", alpn::AGENT),
        (PROVIDER, "agent", alpn::SIDECAR),
        (COUNCIL, "auditor", alpn::SIDECAR),
        (COUNCIL, "officer", alpn::AGENT),
    ] {
        let why = dials(&dev, member, role, protocol).await;
        assert_eq!(why, Some(IdentityError::RoleRefused), "{member} {role}");
    }

    // The process: one that is sent to another member's agent finds that it is not its own.
    let astray = dev.sidecar(PROVIDER, "astray", &agent_of(&dev, COUNCIL), "").await.unwrap();
    astray.says(0, "the agent is not reached").await.unwrap();
    let answer = astray.get(&record(0), TREAT).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "sidecar-refused"));
    assert_eq!(lacks(&astray).await, ["sidecar-refused"]);
}

/// Has the members change the council's register, as its file says.
async fn change(dev: &Dev, command: &[&str], officers: &[&str]) {
    let paper = dev.files().join("change.json").display().to_string();
    let args = [command, &["--to", &paper, "--output", "json"]].concat();
    let proposed = dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json();
    let missing = usize::try_from(proposed["missing"].as_u64().unwrap()).unwrap();
    for officer in officers.iter().take(missing) {
        dev.tally(officer, &["member", "approve", &paper]).await.unwrap().done().unwrap();
    }
}

/// Why an agent is not ready.
async fn agent_lacks(dev: &Dev) -> Vec<String> {
    let told = dev.health(COUNCIL, "/ready").await.unwrap().json();
    let reasons = told["reasons"].as_array().unwrap().iter();
    reasons.map(|it| it["reason"].as_str().unwrap().to_owned()).collect()
}

/// Waits until an application of the council is refused with this code, at the agent's own ingress.
async fn refused_with(dev: &Dev, code: &str, status: u16) {
    let refused = until("a refusal at the own ingress", TOLD_WAIT_MAX, async || {
        let answer = dev.get(COUNCIL, &record(1), TREAT).await.map_err(|it| it.to_string())?;
        let told = (answer.status, answer.code());
        if told == (status, code.to_owned()) { Ok(()) } else { Err(format!("{told:?}")) }
    });
    refused.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_member_was_removed_hears_of_it_and_gives_nothing_to_its_sidecars() {
    let dev = running().await;
    let pas = dev.sidecar(COUNCIL, "pas", &agent_of(&dev, COUNCIL), "").await.unwrap();
    ready(&pas).await;
    assert_eq!(pas.get(&record(0), TREAT).await.unwrap().status, 200);
    // Who is suspended is not asked.
    change(&dev, &["member", "suspend", COUNCIL], &[PROVIDER, COUNCIL]).await;
    change(&dev, &["member", "remove", COUNCIL], &[PROVIDER]).await;
    // No register tells it: the ledger nodes do, by turning it away.
    refused_with(&dev, "not-a-member", 403).await;
    let lacks_of_agent = agent_lacks(&dev).await;
    assert!(lacks_of_agent.contains(&"member-not-active".to_owned()), "{lacks_of_agent:?}");
    let metrics = dev.metrics(COUNCIL).await.unwrap();
    let line = "tally_agent_not_ready{reason=\"member-not-active\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    // Its sidecar's connection has ended, and it gets no other one.
    let away = until("a sidecar that is turned away", TOLD_WAIT_MAX, async || {
        match lacks(&pas).await.as_slice() {
            [lack] if lack == "sidecar-refused" => Ok(()),
            lacks => Err(format!("{lacks:?}")),
        }
    });
    away.await.unwrap();
    let answer = pas.get(&record(1), TREAT).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "sidecar-refused"));
    // It says so once, however often it is turned away.
    let told = dev.log(COUNCIL);
    let lines = told.lines().filter(|line| line.contains("suspended or removed"));
    assert_eq!(lines.count(), 1, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_key_was_replaced_says_so_instead_of_asking_in_vain() {
    let dev = running().await;
    let pas = dev.sidecar(COUNCIL, "pas", &agent_of(&dev, COUNCIL), "").await.unwrap();
    ready(&pas).await;
    assert_eq!(dev.get(COUNCIL, &record(0), TREAT).await.unwrap().status, 200);
    let next = dev.dir_of(COUNCIL).join("agent-2.key").display().to_string();
    let key = dev.tally(COUNCIL, &["member", "key", "agent", &next]).await.unwrap().done().unwrap();
    let key = key.out.trim();
    let file = dev.files().join("change.toml");
    fs::write(&file, format!("tally = 1\nid = \"{COUNCIL}\"\nagent_key = \"{key}\"\n")).unwrap();
    let file = file.display().to_string();
    // Who writes it is not the one whose agent it turns away in the middle of that.
    change(&dev, &["member", "propose", &file], &[COUNCIL, PROVIDER]).await;
    refused_with(&dev, "key-replaced", 503).await;
    assert_eq!(agent_lacks(&dev).await, ["key-replaced"]);
    // Its sidecars are its member's still, and are told what its own applications are.
    let carried = until("the same through a sidecar", TOLD_WAIT_MAX, async || {
        let answer = pas.get(&record(1), TREAT).await.map_err(|it| it.to_string())?;
        if answer.code() == "key-replaced" { Ok(()) } else { Err(answer.code()) }
    });
    carried.await.unwrap();
}
