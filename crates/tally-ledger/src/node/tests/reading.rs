//! What nodes that run show of one ledger.

use std::net::SocketAddr;

use serde_json::Value;
use tally_log::tile::{TileContent, tiles_at};
use tally_log::{Checkpoint, SignedCheckpoint};
use tally_net::{Identity, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::mesh::*;
use crate::https::HttpLimits;
use crate::node::{Node, ReadServers, ReadSettings};

async fn serve(mesh: &Mesh, place: usize, node: &Node) -> ReadServers {
    let settings = mesh.settings(place);
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let settings = ReadSettings {
        https_listen: free,
        health_listen: free,
        identity: settings.identity,
        log_key: settings.log_key,
        limits: HttpLimits::default(),
        witness_ca: None,
    };
    node.serve_reads(settings).await.unwrap()
}

/// The status and the body.
async fn get(
    mesh: &Mesh,
    address: SocketAddr,
    identity: Option<Identity>,
    path: &str,
) -> (u16, Vec<u8>) {
    let expect = tally_net::Expect { member: None, role: Role::Ledger, name: None };
    let trust = mesh.config(0).trust;
    let config = tally_net::tls::client_config(identity, trust, expect, &[b"http/1.1"]).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = tally_net::tls::SERVER_NAME.try_into().unwrap();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = str::from_utf8(&answer[..end]).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), answer[end + 4..].to_vec())
}

async fn metrics(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_show_the_same_ledger_and_each_its_own_state() {
    let mesh = Mesh::running().await;
    let client = mesh.client(0);
    let mut last = append(&client, 0, 0).await;
    for number in 1..5 {
        last = append(&client, 0, number).await;
    }
    let size = last.leaf().0 + 2;
    mesh.reach(size).await;
    let leader = mesh.leader().await;
    let keys = mesh.config(0).log_keys;
    let auditor = Some(mesh.identity(1, Role::Auditor, "a"));
    // Any member can issue itself such a certificate; the members let one of them audit.
    let other = Some(mesh.identity(0, Role::Auditor, "a"));
    let mut shown: Vec<(Checkpoint, Vec<Vec<u8>>)> = Vec::new();
    // What is published is signed by all voters, whichever node names the size.
    let (mut serving, mut stopping) = (Vec::new(), Vec::new());
    for (place, node) in mesh.running_nodes().enumerate() {
        serving.push(serve(&mesh, place, node).await);
    }
    for (place, servers) in serving.into_iter().enumerate() {
        servers.checkpoints().reach(size).await.unwrap();
        let https = servers.https_address();
        let (status, note) = get(&mesh, https, None, "/checkpoint").await;
        assert_eq!(status, 200);
        let signed = SignedCheckpoint::parse(&note).unwrap();
        assert_eq!(signed.verify_log(&keys).unwrap().len(), keys.len());
        assert_eq!(signed.note().signatures().len(), keys.len());
        let mut tiles = Vec::new();
        for path in tiles_at(size) {
            let (status, tile) = get(&mesh, https, auditor.clone(), &format!("/{path}")).await;
            assert_eq!(status, 200, "{path}");
            tiles.push(tile);
        }
        shown.push((signed.checkpoint().clone(), tiles));
        let bundles = tiles_at(size).filter(|path| path.content() == TileContent::Entries);
        let bundles = bundles.map(|path| format!("/{path}"));
        for path in bundles.chain(["/admin/status".to_owned()]) {
            assert_eq!(get(&mesh, https, other.clone(), &path).await.0, 403, "{path}");
        }
        let (_, status) = get(&mesh, https, auditor.clone(), "/admin/status").await;
        let status: Value = serde_json::from_slice(&status).unwrap();
        let role = if place == leader { "leader" } else { "follower" };
        assert_eq!((&status["node"], &status["role"]), (&(place + 1).into(), &role.into()));
        assert_eq!((&status["size"], &status["published_size"]), (&size.into(), &size.into()));
        assert_eq!((&status["leader"], &status["sessions"]), (&(leader + 1).into(), &1.into()));
        assert!(status["disk"]["free_bytes"].as_u64().unwrap() > 0);
        let ready = metrics(servers.health_address(), "/ready").await;
        assert!(ready.starts_with("{\"ready\":true,"), "{ready}");
        let text = metrics(servers.health_address(), "/metrics").await;
        assert!(text.contains(&format!("tally_ledger_size_leaves {size}\n")), "{text}");
        let counted = "tally_ledger_batches_total{lane=\"unconditional\",verdict=\"accepted\"} 5\n";
        assert!(text.contains(counted), "{text}");
        stopping.push(servers);
    }
    for servers in stopping {
        servers.stop().await;
    }
    assert!(shown.iter().all(|it| *it == shown[0]));
}
