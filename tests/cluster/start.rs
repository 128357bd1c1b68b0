//! A node that can't start says what is wrong, and whose it is, before it serves anybody.

use std::fs;
use std::net::UdpSocket;

use tally_tests::mesh::{Exit, Mesh, Plan};

use super::TALLY;

const ONE: Plan = Plan { members: 1, nodes: 1 };

#[tokio::test]
async fn the_directory_of_another_mesh_is_refused() {
    let mut other = Mesh::running(TALLY, ONE).await.unwrap();
    other.stop(0).await.unwrap();
    let mut mesh = Mesh::new(TALLY, ONE).unwrap();
    fs::rename(other.data_dir(0), mesh.data_dir(0)).unwrap();
    let exit = mesh.start_to_fail(0).await.unwrap();
    says(&exit, &["belongs to mesh", &other.id().to_string(), &mesh.id().to_string()]);
}

#[tokio::test]
async fn a_second_process_on_one_directory_is_refused_and_the_first_goes_on() {
    let mesh = Mesh::running(TALLY, ONE).await.unwrap();
    let exit = mesh.run_beside(0).await.unwrap();
    says(&exit, &["another process has this directory open"]);
    mesh.reach(1).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let mut mesh = Mesh::new(TALLY, ONE).unwrap();
    for (address, setting) in
        [(mesh.agents_address(0), "[agents] listen"), (mesh.raft_address(0), "[raft] listen")]
    {
        let taken = UdpSocket::bind(address).unwrap();
        let exit = mesh.start_to_fail(0).await.unwrap();
        says(&exit, &[setting, &address.to_string()]);
        drop(taken);
    }
}

#[tokio::test]
async fn a_key_that_nobody_knows_is_named_with_its_line() {
    let mut mesh = Mesh::new(TALLY, ONE).unwrap();
    let path = mesh.node_dir(0).join("tally.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("colour = \"red\"\n{text}")).unwrap();
    let exit = mesh.start_to_fail(0).await.unwrap();
    says(&exit, &["colour", "tally.toml"]);
    assert_eq!(exit.code, Some(2), "{}", exit.said);
}

#[tokio::test]
async fn the_key_or_certificate_of_another_node_is_refused() {
    let three = Plan::THREE;
    let mut mesh = Mesh::new(TALLY, three).unwrap();
    for file in ["log.key", "node.pem"] {
        let own = mesh.node_dir(0).join(file);
        let before = fs::read(&own).unwrap();
        fs::copy(mesh.node_dir(1).join(file), &own).unwrap();
        let exit = mesh.start_to_fail(0).await.unwrap();
        assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
        fs::write(&own, before).unwrap();
    }
}

fn says(exit: &Exit, words: &[&str]) {
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    for word in words {
        assert!(exit.said.contains(word), "{word} is not in: {}", exit.said);
    }
}
