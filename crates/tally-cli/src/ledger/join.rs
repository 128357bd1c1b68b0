//! `tally ledger join`: the directory of a new node, and what has to be done with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tally_core::id::{MeshId, NodeId};
use tally_core::register::{Address, LedgerNode};
use tally_net::keyfile::{self, KeyUse};

use super::cluster::{View, get};
use crate::args::JoinArgs;
use crate::failure::{Exit, Failure};
use crate::mesh::layout::note_key_in;
use crate::online::Online;
use crate::output::{Output, print};
use crate::system::{create_dir, new_key, write_file};

#[derive(Debug, Serialize)]
struct Answer {
    directory: String,
    node: u64,
    member: String,
    /// The log key as a policy names it.
    vkey: String,
    /// What the member's register must say of the node.
    register: Register,
    raft_address: String,
}

/// What a running node says of the ledger.
#[derive(Debug, Deserialize)]
struct Status {
    epoch: u64,
}

#[derive(Debug, Serialize)]
struct Register {
    id: u64,
    log_key: String,
    quic: String,
    https: String,
}

/// `tally ledger join`.
///
/// # Errors
/// [`Failure`] if the directory can't be made.
pub(crate) fn join(
    args: &JoinArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let config_path = args.to.join("tally.toml");
    if config_path.exists() {
        let what = format!("{}: there is a node already", args.to.display());
        return Err(Failure::usage(what, "give an empty directory"));
    }
    let founders = online.genesis.value().members.iter().flat_map(|member| &member.nodes);
    if founders.into_iter().any(|node| node.id.0 == args.node) || args.node == 0 {
        let what = format!("node {} founded this mesh, or is no number", args.node);
        return Err(Failure::usage(what, "give a number that no node ever had"));
    }
    let peers = peers(&mut online, args)?;
    let epoch = epoch(&mut online);
    create_dir(&args.to)?;
    let key = new_key()?;
    let key_path = args.to.join("log.key");
    keyfile::create(&key_path, KeyUse::Log, &key).map_err(|why| {
        Failure::environment(format!("{}: {why}", key_path.display()), "give an empty directory")
    })?;
    write_file(&args.to.join("genesis.cbor"), online.genesis.bytes())?;
    let node = LedgerNode {
        id: NodeId(args.node),
        log_key: key.verifying_key(),
        quic: address(&args.host, args.port)?,
        https: address(&args.host, args.port.saturating_add(1))?,
    };
    // Last: what has a configuration is complete.
    write_file(&config_path, text(args, online.mesh_id(), epoch, &peers).as_bytes())?;
    let mesh = &online.genesis.value().mesh;
    let answer = Answer {
        directory: args.to.display().to_string(),
        node: args.node,
        member: args.member.to_string(),
        vkey: note_key_in(mesh, epoch, &node)?.to_string(),
        register: Register {
            id: args.node,
            log_key: hexadecimal(node.log_key.as_bytes()),
            quic: node.quic.to_string(),
            https: node.https.to_string(),
        },
        raft_address: address(&args.host, args.port.saturating_add(3))?.to_string(),
    };
    print(output, &answer, || next_steps(&answer, mesh.as_str()))?;
    Ok(Exit::Done)
}

/// Where the nodes of the cluster are reached by their peers: as was typed, or as they say.
fn peers(online: &mut Online, args: &JoinArgs) -> Result<BTreeMap<u64, String>, Failure> {
    let mut peers: BTreeMap<u64, String> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut last = None;
    for place in 0..online.https.nodes().len() {
        match get::<View>(online, place, "/admin/nodes") {
            Ok(view) => {
                for node in view.nodes {
                    unknown.push(node.node);
                    if let Some(address) = node.raft_address {
                        peers.entry(node.node).or_insert(address);
                    }
                }
            }
            Err(error) => last = Some(error),
        }
    }
    for peer in &args.peers {
        peers.insert(peer.node, peer.address.to_string());
    }
    peers.remove(&args.node);
    unknown.retain(|node| !peers.contains_key(node) && *node != args.node);
    if let Some(node) = unknown.first() {
        let what = format!("no node that answers says where node {node} is reached by its peers");
        return Err(Failure::usage(what, format!("say it: --peer {node}=HOST:PORT")));
    }
    match last {
        Some(error) if peers.is_empty() => Err(error.into()),
        _ if peers.is_empty() => {
            let remedy = "name them: --peer NODE=HOST:PORT";
            Err(Failure::usage("nobody says where the other nodes are", remedy))
        }
        _ => Ok(peers),
    }
}

/// The ledger's epoch, as the nodes that answer say: each at least that of its own.
fn epoch(online: &mut Online) -> u64 {
    let places = 0..online.https.nodes().len();
    let said = places.filter_map(|place| get::<Status>(online, place, "/admin/status").ok());
    said.map(|status| status.epoch).max().unwrap_or_default()
}

fn text(args: &JoinArgs, mesh_id: MeshId, epoch: u64, peers: &BTreeMap<u64, String>) -> String {
    let listen = |above: u16| SocketAddr::new(args.listen, args.port.saturating_add(above));
    // The first needs no word.
    let epoch = if epoch > 0 { format!("epoch = {epoch}\n") } else { String::new() };
    let mut text = format!(
        "tally = 1\ndata_dir = \"data\"\nmember = \"{member}\"\nnode_id = {node}\n{epoch}\n\
         [mesh]\nid = \"{mesh_id}\"\ngenesis = \"genesis.cbor\"\n\n\
         [identity]\ncert = \"{node}.pem\"\nkey = \"{node}.key\"\n\n[log]\nkey = \"log.key\"\n\n\
         [agents]\nlisten = \"{agents}\"\n\n[https]\nlisten = \"{https}\"\n\n\
         [health]\nlisten = \"{health}\"\n\n[raft]\nlisten = \"{raft}\"\n",
        member = args.member,
        node = args.node,
        agents = listen(0),
        https = listen(1),
        health = listen(2),
        raft = listen(3),
    );
    for (node, address) in peers {
        // Writing to a text can't fail.
        let _ = write!(text, "\n[[raft.peer]]\nnode_id = {node}\naddress = \"{address}\"\n");
    }
    text
}

fn next_steps(answer: &Answer, mesh: &str) -> String {
    let Answer { directory, node, member, vkey, register, raft_address } = answer;
    format!(
        "made {directory}; its log key never leaves it\n\n\
         1. A certificate, from the CA of {member}:\n   \
            tally identity issue --ca DIR-OF-THE-CA --mesh {mesh} --member {member} \
            --role ledger --name {node} --to {directory}\n\
         2. The register of {member} must name the node; a majority of the members approves that:\n   \
            id {id}, log key {log_key},\n   agents at {quic}, HTTPS at {https}\n   \
            as a policy names its key: {vkey}\n\
         3. Start it: tally ledger --config {directory}/tally.toml\n\
         4. Add it, as an operator of {member}:\n   \
            tally ledger add {node} --raft-address {raft_address} --promote\n",
        id = register.id,
        log_key = register.log_key,
        quic = register.quic,
        https = register.https,
    )
}

fn address(host: &str, port: u16) -> Result<Address, Failure> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let address = format!("{host}:{port}").parse();
    address.map_err(|why| Failure::usage(format!("{host}: {why}"), "name a host: --host"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
