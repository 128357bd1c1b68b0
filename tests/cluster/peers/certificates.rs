//! Each bad certificate is refused by a real node with its code, on both of its endpoints.

use std::time::Duration;

use tally_core::entry::{Algorithm, Entry};
use tally_core::id::{KeyId, LeafIndex, Salt16};
use tally_core::register::{
    Approval, MemberStatus, RegisterBody, RegisterName, RegisterWrite, register_preimage,
};
use tally_net::authority::Validity;
use tally_net::endpoint::{client_config, connect, endpoint};
use tally_net::frame::FrameLimits;
use tally_net::ledger::{LedgerAddress, Link, LinkError, Travel};
use tally_net::{
    ConnectError, Expect, Identity, IdentityError, Role, SpiffeId, TrustStore, alpn, read_frame,
    tls,
};
use tally_tests::mesh::{MESH, Mesh, Plan, node_id, now_s, until};
use tally_wire::encode_checked;

use crate::TALLY;

const FRAMES: FrameLimits = FrameLimits { len_max: 1024, wait_max: Duration::from_secs(5) };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_certificate_is_refused_with_its_code() {
    let mesh = Mesh::running(TALLY, Plan { members: 2, nodes: 1 }).await.unwrap();
    let past = Validity { from_s: now_s() - 7200, until_s: now_s() - 3600 };
    let future = Validity { from_s: now_s() + 3600, until_s: now_s() + 7200 };
    let cases = [
        (IdentityError::Expired, mesh.identity_within(1, Role::Agent, "agent", past)),
        (IdentityError::NotYetValid, mesh.identity_within(1, Role::Agent, "agent", future)),
        (IdentityError::OtherMesh, issued(&mesh, 1, "spiffe://other.example/RB2/agent/agent")),
        // The other member's CA names a workload of this one.
        (IdentityError::OtherIssuer, issued(&mesh, 0, "spiffe://dev.example/RB2/agent/agent")),
        (IdentityError::MemberUnknown, issued(&mesh, 0, "spiffe://dev.example/XX1/agent/agent")),
        (IdentityError::RoleRefused, mesh.identity(1, Role::Sidecar, "agent")),
    ];
    for (expected, identity) in cases {
        let config = mesh.config_as(1, identity);
        let error = Link::dial(&config, mesh.ledger_address(0)).await.unwrap_err();
        assert_eq!(refused(&error), Some(expected), "{error}");
    }
    Link::dial(&mesh.config(1), mesh.ledger_address(0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_let_only_nodes_of_the_mesh_replicate() {
    let mesh = Mesh::running(TALLY, Plan { members: 2, nodes: 1 }).await.unwrap();
    let past = Validity { from_s: now_s() - 7200, until_s: now_s() - 3600 };
    let cases = [
        (IdentityError::RoleRefused, mesh.identity(0, Role::Agent, "agent")),
        (IdentityError::RoleRefused, mesh.identity(0, Role::Auditor, "auditor")),
        (IdentityError::Expired, mesh.identity_within(0, Role::Ledger, "1", past)),
        (IdentityError::OtherIssuer, issued(&mesh, 1, "spiffe://dev.example/RA1/ledger/2")),
        (IdentityError::OtherMesh, issued(&mesh, 0, "spiffe://other.example/RA1/ledger/2")),
    ];
    for (expected, identity) in cases {
        let error = dial_raft(&mesh, identity).await;
        let told = matches!(error, ConnectError::Identity(it) if it == expected);
        assert!(told, "{expected:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_does_not_take_one_node_for_another() {
    let mesh = Mesh::running(TALLY, Plan { members: 1, nodes: 1 }).await.unwrap();
    let to = LedgerAddress { node: node_id(1), address: mesh.agents_address(0) };
    let error = Link::dial(&mesh.config(0), to).await.unwrap_err();
    assert_eq!(refused(&error), Some(IdentityError::OtherWorkload), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_removed_is_cut_off_within_a_second_and_not_let_in_again() {
    let mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let gone = Link::dial(&mesh.config(2), mesh.ledger_address(0)).await.unwrap();
    let client = mesh.client(0);
    let wait = Duration::from_secs(30);
    let recorded = client.append(removal(&mesh, 2), Travel::Alone, wait).await.unwrap();
    mesh.reach(recorded.leaf().0 + 1).await.unwrap();
    let question =
        tally_wire::message::ledger::Query::Status(tally_wire::message::ledger::StatusQuery {});
    until("the end of the link", Duration::from_secs(1), async || {
        match gone.ask(&question).await {
            Ok(_) => Err("it is open".to_owned()),
            Err(error) if refused(&error) == Some(IdentityError::MemberRemoved) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    for node in 0..3 {
        let error = Link::dial(&mesh.config(2), mesh.ledger_address(node)).await.unwrap_err();
        // Its own trust store would still let its own node in, if it were another member's.
        assert_eq!(refused(&error), Some(IdentityError::MemberRemoved), "node {node}: {error}");
    }
}

/// The code of a refusal, whichever side made it.
fn refused(error: &LinkError) -> Option<IdentityError> {
    match error {
        LinkError::Connect { error: ConnectError::Identity(identity), .. } => Some(*identity),
        _ => None,
    }
}

/// A certificate for any identity, by a member's CA.
fn issued(mesh: &Mesh, authority: usize, id: &str) -> Identity {
    let validity = Validity { from_s: now_s() - 60, until_s: now_s() + 3600 };
    let id = id.parse::<SpiffeId>().unwrap();
    mesh.members[authority].authority.issue(&id, &[], validity).unwrap().identity()
}

/// Dials the endpoint for peers until it has said no.
async fn dial_raft(mesh: &Mesh, identity: Identity) -> ConnectError {
    let trust = TrustStore::new(MESH.parse().unwrap());
    mesh.genesis.value().members.iter().for_each(|member| trust.update(member));
    let expect = Expect { member: None, role: Role::Ledger, name: None };
    let tls = tls::client_config(Some(identity), trust, expect, &[alpn::RAFT]).unwrap();
    let limits = tally_net::endpoint::ConnectionLimits::default();
    let config = client_config(tls, &limits).unwrap();
    let local = endpoint("0.0.0.0:0".parse().unwrap(), None).unwrap();
    match connect(&local, config, mesh.raft_address(0), &limits).await {
        Err(error) => error,
        // A TLS 1.3 client is done before the server has seen its certificate.
        Ok(connection) => match connection.open_bi().await {
            Err(error) => error.into(),
            Ok((_send, mut receive)) => {
                let read = read_frame(&mut receive, FRAMES).await;
                assert!(read.is_err(), "it was answered");
                connection.closed().await.into()
            }
        },
    }
}

/// The write that removes a member, approved by the two others.
fn removal(mesh: &Mesh, member: usize) -> Entry {
    let mut record = mesh.record(member).clone();
    record.status = MemberStatus::Removed;
    let name = RegisterName::Member(record.id.clone());
    let body = encode_checked(RegisterBody::Member(Box::new(record))).unwrap();
    let (version, previous, narrows) = (2, Some(LeafIndex(0)), true);
    let preimage = register_preimage(&mesh.id(), &name, version, previous, narrows, body.bytes());
    let approvals = mesh.members.iter().enumerate().filter(|(place, _)| *place != member);
    let approvals = approvals.map(|(_, by)| Approval {
        member: by.id.clone(),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&by.officer_key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: by.officer_key.sign(&preimage),
    });
    let approvals = approvals.collect();
    let salt = Salt16([9; 16]);
    let write = RegisterWrite { salt, name, version, previous, narrows, body, approvals };
    Entry::Register(Box::new(write))
}
