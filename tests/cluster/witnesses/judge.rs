//! A witness by the book (C2SP tlog-witness), and ones that don't keep to it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tally_log::note::KeyName;
use tally_log::witness::NotCosigned;
use tally_log::{AddCheckpoint, Checkpoint, Cosigner, NoteKey, SigningKey, sha256};
use tally_net::endpoint::{ConnectionLimits, client_config, connect, endpoint};
use tally_net::frame::FrameLimits;
use tally_net::{Expect, Role, alpn, read_frame, tls, write_frame};
use tally_tests::mesh::{MESH, Mesh, node_id, now_s};
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::hello::Hello;
use tally_wire::message::witness::{ToWitness, WitnessAnswer, WitnessStart};
use tally_wire::{decode_value, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::LONG;

const FRAMES: FrameLimits = FrameLimits { len_max: LEDGER_FRAME_LEN_MAX, wait_max: LONG };

/// How a witness answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As it must.
    Honest,
    /// With a signature over something else.
    Lies,
    /// That it saw another history.
    SawAnother,
}

/// A witness. Clones are the same one.
#[derive(Clone)]
pub(super) struct Judge(Arc<Inner>);

struct Inner {
    cosigner: Cosigner,
    log_keys: Vec<NoteKey>,
    seen: Mutex<(Way, Option<Checkpoint>)>,
}

/// Ends what runs when it is dropped.
pub(super) struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Judge {
    pub(super) fn new(mesh: &Mesh, name: &str, way: Way) -> Self {
        let secret = SigningKey::from_seed(sha256(&[b"witness", name.as_bytes()]).as_bytes());
        let cosigner = Cosigner::new(KeyName::new(&format!("{MESH}/{name}")).unwrap(), secret);
        let seen = Mutex::new((way, None));
        Self(Arc::new(Inner { cosigner, log_keys: mesh.log_keys(), seen }))
    }

    pub(super) fn key(&self) -> &NoteKey {
        self.0.cosigner.key()
    }

    pub(super) fn turn(&self, way: Way) {
        self.0.seen.lock().unwrap().0 = way;
    }

    fn answer(&self, request: &[u8]) -> (u16, Vec<u8>) {
        let Ok(asked) = AddCheckpoint::parse(request) else { return (400, Vec::new()) };
        let mut seen = self.0.seen.lock().unwrap();
        let (way, latest) = &mut *seen;
        if *way == Way::SawAnother {
            return (422, Vec::new());
        }
        if let Err(why) = asked.check(&self.0.log_keys, latest.as_ref()) {
            let body = match why {
                NotCosigned::OldSizeDiffers { latest } => format!("{latest}\n"),
                _ => String::new(),
            };
            return (why.http_status(), body.into_bytes());
        }
        let checkpoint = asked.checkpoint.checkpoint();
        let mut cosigned = checkpoint.clone();
        if *way == Way::Lies {
            cosigned.size += 1;
        }
        let time_s = u64::try_from(now_s()).unwrap();
        let line = self.0.cosigner.cosign(&cosigned, time_s).unwrap();
        *latest = Some(checkpoint.clone());
        (200, format!("{line}\n").into_bytes())
    }

    /// Serves as a third party does, and says where.
    pub(super) async fn serve(&self) -> (SocketAddr, Running) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let judge = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let judge = judge.clone();
                tokio::spawn(async move { drop(judge.speak(stream).await) });
            }
        });
        (address, Running(task.abort_handle()))
    }

    async fn speak(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            break (end + 4, length.and_then(|it| it.parse::<usize>().ok()).unwrap());
        };
        while bytes.len() < head + length {
            stream.read_buf(&mut bytes).await?;
        }
        let request = bytes[..head].starts_with(b"POST /w/add-checkpoint HTTP/1.1\r\n");
        let (status, body) = if request { self.answer(&bytes[head..]) } else { (404, Vec::new()) };
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await
    }

    /// Dials out as a member's agent does, to whichever node leads, and again when that ends.
    pub(super) fn dial(&self, mesh: &Mesh, member: usize) -> Running {
        let (judge, config) = (self.clone(), mesh.config(member));
        let nodes = mesh.node_count();
        let addresses: Vec<SocketAddr> = (0..nodes).map(|node| mesh.agents_address(node)).collect();
        let mesh_id = mesh.id();
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let node = turn % nodes;
                let hello = Hello {
                    version_min: 1,
                    version_max: 1,
                    mesh_id,
                    epoch: 0,
                    member: config.member.clone(),
                    node: None,
                    protocol: 1,
                    frame_len_max: LEDGER_FRAME_LEN_MAX as u64,
                };
                let name = Some(node_id(node).to_string());
                let expect = Expect { member: None, role: Role::Ledger, name };
                let identity = Some(config.identity.clone());
                let tls =
                    tls::client_config(identity, config.trust.clone(), expect, &[alpn::LEDGER]);
                let ended = judge.visit(addresses[node], tls.unwrap(), &hello).await;
                assert_eq!(ended, None, "it goes on until the node ends it");
                tokio::time::interval(std::time::Duration::from_millis(20)).tick().await;
            }
        });
        Running(task.abort_handle())
    }

    /// Until the node ends it.
    async fn visit(
        &self,
        address: SocketAddr,
        tls: tally_net::rustls::ClientConfig,
        hello: &Hello,
    ) -> Option<()> {
        let limits = ConnectionLimits::default();
        let quic = client_config(tls, &limits).ok()?;
        let local = endpoint("0.0.0.0:0".parse().unwrap(), None).ok()?;
        let connection = connect(&local, quic, address, &limits).await.ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        write_frame(&mut send, &encode(hello), FRAMES).await.ok()?;
        send.finish().ok()?;
        read_frame(&mut receive, FRAMES).await.ok()??;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        let start = WitnessStart { vkey: self.key().to_string() };
        write_frame(&mut send, &encode(&start), FRAMES).await.ok()?;
        loop {
            let frame = read_frame(&mut receive, FRAMES).await.ok()??;
            let ToWitness::Ask(ask) = decode_value(&frame).ok()? else { return None };
            let (status, body) = self.answer(&ask.request);
            let answer = WitnessAnswer { number: ask.number, status, body };
            write_frame(&mut send, &encode(&answer), FRAMES).await.ok()?;
        }
    }
}
