//! Three etcd processes with their defaults, and clients that put.
//!
//! They get what favours them: no TLS, no authentication, clients that know the leader, and several
//! connections.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::Trouble;
use crate::measure::Caller;
use crate::process::Process;

const NODES: usize = 3;
/// They have a leader within this time.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// As long as an entry of the ledger.
const VALUE_LEN: usize = 256;

const PUT: &str = "/etcdserverpb.KV/Put";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// Whether there is such a binary, and it runs.
pub(crate) fn is_installed(binary: &Path) -> bool {
    let silent = || Stdio::null();
    let ran = Command::new(binary).arg("--version").stdout(silent()).stderr(silent()).status();
    ran.is_ok_and(|status| status.success())
}

/// A cluster that runs.
pub(crate) struct Cluster {
    nodes: Vec<Process>,
    leader: Endpoint,
}

impl Cluster {
    /// Starts it in empty directories and waits for its leader.
    ///
    /// # Errors
    /// [`Trouble`] if it gets none.
    pub(crate) async fn start(binary: &Path, dir: &Path) -> Result<Self, Trouble> {
        let ports = free_ports(2 * NODES)?;
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let (peers, clients) = ports.split_at(NODES);
        let initial = peers.iter().enumerate().map(|(id, port)| format!("node{id}={}", url(port)));
        let initial = initial.collect::<Vec<_>>().join(",");
        let mut nodes = Vec::new();
        for (id, (peer, client)) in peers.iter().zip(clients).enumerate() {
            let name = format!("node{id}");
            let (peer, client) = (url(peer), url(client));
            let mut command = Command::new(binary);
            command.arg("--data-dir").arg(dir.join(&name)).args(["--name", &name]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--initial-cluster", &initial, "--initial-cluster-state", "new"]);
            command.args(["--logger", "zap", "--log-level", "error"]);
            nodes.push(Process::start(&mut command, &dir.join(format!("{name}.log")), false)?);
        }
        let endpoints = clients.iter().map(|port| Endpoint::from_shared(url(port)));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { nodes, leader: leader(&endpoints).await? })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Process::id).collect()
    }

    /// So many connections to the leader, which callers share.
    ///
    /// # Errors
    /// [`Trouble`] if there is none.
    pub(crate) async fn connect(&self, count: usize) -> Result<Connections, Trouble> {
        let mut channels = Vec::new();
        for _ in 0..count {
            channels.push(self.leader.connect().await?);
        }
        Ok(Connections(channels))
    }
}

/// Connections to the leader.
pub(crate) struct Connections(Vec<Channel>);

impl Connections {
    pub(crate) fn caller(&self, caller: usize) -> Putter {
        let channel = self.0.iter().cycle().nth(caller).cloned();
        Putter { grpc: channel.map(Grpc::new), caller, number: 0 }
    }
}

/// A caller of etcd.
pub(crate) struct Putter {
    /// None if there is no connection at all.
    grpc: Option<Grpc<Channel>>,
    caller: usize,
    number: u64,
}

impl Caller for Putter {
    async fn ask(&mut self) -> Result<u16, Trouble> {
        self.number += 1;
        let key = format!("{:04}/{:011}", self.caller, self.number).into_bytes();
        let put = PutRequest { key, value: vec![0x5a; VALUE_LEN] };
        let grpc = self.grpc.as_mut().ok_or("there is no connection")?;
        let put: PutResponse = call(grpc, PUT, put).await?;
        // An answer without a revision would say that nothing was put.
        put.header.filter(|header| header.revision > 0).ok_or("the put has no revision")?;
        Ok(1)
    }
}

/// The node that leads, as soon as one says so of itself.
async fn leader(endpoints: &[Endpoint]) -> Result<Endpoint, Trouble> {
    let deadline = Instant::now() + READY_WAIT_MAX;
    while Instant::now() < deadline {
        for endpoint in endpoints {
            if leads(endpoint).await.unwrap_or(false) {
                return Ok(endpoint.clone());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Err("etcd has no leader".into())
}

async fn leads(endpoint: &Endpoint) -> Result<bool, Trouble> {
    let mut grpc = Grpc::new(endpoint.connect().await?);
    let status: StatusResponse = call(&mut grpc, STATUS, StatusRequest {}).await?;
    Ok(status.leader != 0 && status.header.is_some_and(|it| it.member_id == status.leader))
}

async fn call<Q, A>(grpc: &mut Grpc<Channel>, path: &'static str, ask: Q) -> Result<A, Trouble>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    grpc.ready().await?;
    let path = Uri::from_static(path).into_parts().path_and_query.ok_or("that is no path")?;
    let answer = grpc.unary(Request::new(ask), path, ProstCodec::default()).await;
    Ok(answer.map_err(|why: Status| why.to_string())?.into_inner())
}

/// Ports that nobody has now. Somebody may take one before etcd does; then it says so and ends.
fn free_ports(count: usize) -> Result<Vec<u16>, Trouble> {
    let mut held = BTreeMap::new();
    while held.len() < count {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        held.insert(listener.local_addr()?.port(), listener);
    }
    Ok(held.into_keys().collect())
}

// The fields of etcd's api/etcdserverpb/rpc.proto that are used here, by their numbers.

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}
