//! A provider that lies: its entries are on the ledger, but what it sends is not what they say.

use std::sync::Arc;

use tally_agent::exchange::{Ask, Head};
use tally_agent::peers::FRAMES;
use tally_core::Encoded;
use tally_core::dataset::{Selected, Selection};
use tally_core::entry::{AgreementRef, Entry, Flags, How, Outcome, ProviderHalf};
use tally_core::exchange::StreamSum;
use tally_core::id::{ExchangeId, LeafIndex, Salt16};
use tally_core::ledger::Registers;
use tally_core::opening::{Opening, Salt32, StreamDigest, commitment, digest};
use tally_core::refusal::Refusal;
use tally_core::register::RegisterName;
use tally_log::Hash;
use tally_net::endpoint::server_config;
use tally_net::frame::{read_frame, write_frame};
use tally_net::ledger::{AgentKey, Client, Travel};
use tally_net::quinn::{Endpoint, RecvStream, SendStream};
use tally_net::{Accept, Listener, ListenerLimits, Role, alpn, tls};
use tally_wire::message::agent::{
    Answer as Frame, Data, Description, OpeningPart, ReceiptFrame, Refused, Request, Trailer,
};
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome, Unwelcome, Welcome};
use tally_wire::{decode_value, encode, encode_checked};
use tokio::time::timeout;

use super::data::*;
use super::mesh::*;

/// The liar's place among the members.
const LIES: usize = 1;
const BODY: &[u8] = b"ward,beds\nA,12\nB,7\n";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    Nothing,
    /// The last byte of the body is another one.
    Body,
    /// More comes than was promised.
    Length,
    /// The description says less than comes.
    Described,
    /// The trailer comes too early.
    Short,
    /// The opening is not the one that is committed to.
    Opening,
    /// The receipt is of another exchange.
    Exchange,
    /// No ledger node has signed the receipt's checkpoint.
    Checkpoint,
    /// The body comes without a receipt.
    NoReceipt,
    /// A refusal that can only be the requester's own.
    Refusal,
    /// It says that it speaks no version that the requester does.
    Version,
    /// A stream that is what its end says.
    Stream,
    /// A stream with a trailer in place of its end.
    Unsigned,
    /// A stream whose end another member's agent has signed.
    Signed,
    /// A stream whose end is about other bytes.
    Root,
    /// A stream whose end says that it was broken off.
    How,
}

impl Lie {
    const fn is_of_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Unsigned | Self::Signed | Self::Root | Self::How)
    }
}

struct Liar {
    mesh_id: tally_core::id::MeshId,
    client: Client,
    registers: Arc<Registers>,
    lie: Lie,
}

impl Liar {
    /// Takes every connection, and lies in every answer.
    async fn serve(self: Arc<Self>, mut listener: Listener) {
        while let Some(Ok(accepted)) = listener.next().await {
            let liar = Arc::clone(&self);
            tokio::spawn(async move {
                let connection = accepted.connection.clone();
                let (send, receive) = connection.accept_bi().await.unwrap();
                if liar.lie == Lie::Version {
                    not_welcome(send, receive).await;
                    return;
                }
                greet(send, receive).await;
                while let Ok((send, receive)) = connection.accept_bi().await {
                    tokio::spawn(Arc::clone(&liar).answer(send, receive));
                }
                drop(accepted);
            });
        }
    }

    async fn answer(self: Arc<Self>, mut send: SendStream, mut receive: RecvStream) {
        let request = read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
        let request = decode_value::<Request>(&request).unwrap();
        for frame in self.frames(&request).await {
            // The requester may have hung up: that is what it should do.
            if write_frame(&mut send, &encode(&frame), FRAMES).await.is_err() {
                return;
            }
        }
        drop(send.finish());
        drop(send.stopped().await);
    }

    async fn frames(&self, request: &Request) -> Vec<Frame> {
        if self.lie == Lie::Refusal {
            let refusal = Refusal::PurposeMissing;
            let (detail, counted) = (String::new(), true);
            return vec![Frame::Refused(Refused { refusal, detail, counted, length: None })];
        }
        let mut exchange = request.exchange;
        if self.lie == Lie::Exchange {
            exchange = ExchangeId([9; 16]);
        }
        let opening = opening(exchange, 1);
        let half = self.half(request, exchange, &opening);
        let commitment = commitment(&self.mesh_id, opening.bytes());
        let recorded = self.client.append(half, Travel::Together, LONG).await.unwrap();
        let mut receipt = recorded.receipt().unwrap();
        if self.lie == Lie::Checkpoint {
            let end = receipt.checkpoint.len() - 4;
            receipt.checkpoint[end] ^= 1;
        }
        let sent = match self.lie {
            Lie::Opening => self::opening(exchange, 2),
            _ => opening,
        };
        let mut body = BODY.to_vec();
        match self.lie {
            Lie::Body => *body.last_mut().unwrap() ^= 1,
            Lie::Length => body.push(b'x'),
            Lie::Short => drop(body.pop()),
            _ => {}
        }
        let bytes = body.len() as u64;
        let how = How::Sent;
        let media_type = "text/csv".to_owned();
        let selected = Selected { selection: Selection::All, length: None };
        let said = (self.lie == Lie::Described).then_some(5);
        let described = Description { media_type, etag: None, bytes: said, selected, about: None };
        let mut frames = vec![
            Frame::Receipt(Box::new(ReceiptFrame { receipt: encode_checked(receipt).unwrap() })),
            Frame::Opening(OpeningPart { last: true, bytes: sent.bytes().to_vec() }),
            Frame::Description(described),
            Frame::Data(Data { bytes: body.clone() }),
        ];
        frames.push(match self.lie.is_of_stream() && self.lie != Lie::Unsigned {
            true => self.end(exchange, sent.value(), commitment, &body),
            false => Frame::Trailer(Trailer { how, bytes, root: None }),
        });
        if self.lie == Lie::NoReceipt {
            frames.drain(..3);
        }
        frames
    }

    /// The end of a stream, or a lie about it.
    fn end(&self, exchange: ExchangeId, opening: &Opening, commitment: Hash, body: &[u8]) -> Frame {
        let mut digest = StreamDigest::new(opening.salt);
        digest.push(if self.lie == Lie::Root { b"other" } else { body });
        let (bytes, root) = (body.len() as u64, digest.root());
        let how = if self.lie == Lie::How { How::Abandoned } else { How::Sent };
        let sum = StreamSum { exchange, how, bytes, root, content_root: None };
        let signer = if self.lie == Lie::Signed { ASKS } else { LIES };
        let key = AgentKey::new(key(&format!("agent {}", MEMBERS[signer])));
        Frame::End(Box::new(key.stream_end(&self.mesh_id, 0, &commitment, sum)))
    }

    fn half(&self, request: &Request, exchange: ExchangeId, opening: &Encoded<Opening>) -> Entry {
        let names = ["member/LZ9", "member/QX1", "agreement/DSA-3"];
        let mut names: Vec<RegisterName> = names.map(|name| name.parse().unwrap()).to_vec();
        names.sort();
        let read_set = names.iter().map(|name| self.registers.reference(name).unwrap()).collect();
        Entry::ProviderHalf(Box::new(ProviderHalf {
            salt: Salt16([7; 16]),
            exchange,
            counter: 0,
            provider: MEMBERS[LIES].parse().unwrap(),
            requester: MEMBERS[ASKS].parse().unwrap(),
            operator: None,
            agreement: Some(AgreementRef { id: "DSA-3".parse().unwrap(), version: 1 }),
            purpose: request.purpose.clone(),
            source: request.source.clone(),
            action: request.action,
            outcome: Outcome::Permit,
            user_known: request.user_known,
            people: 0,
            people_withheld: 0,
            records: 1,
            bytes: if self.lie.is_of_stream() { 0 } else { BODY.len() as u64 },
            digest: (!self.lie.is_of_stream()).then(|| digest(&opening.value().salt, &[BODY])),
            tags_root: opening.value().tags_root(&self.mesh_id),
            commitment: commitment(&self.mesh_id, opening.bytes()),
            flags: if self.lie.is_of_stream() { Flags::STREAMED } else { Flags::NONE },
            read_set,
            resumes: None,
            rectifies: None,
            opt_out: None,
        }))
    }
}

fn opening(exchange: ExchangeId, salt: u8) -> Encoded<Opening> {
    let opening = Opening {
        exchange,
        salt: Salt32([salt; 32]),
        people: Vec::new(),
        user: None,
        role: None,
        relationship: None,
        reason: None,
        request_ids: Vec::new(),
    };
    encode_checked(opening).unwrap()
}

async fn greet(mut send: SendStream, mut receive: RecvStream) {
    let hello = read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
    let hello = decode_value::<Hello>(&hello).unwrap();
    let welcome = Welcome {
        version: 1,
        epoch: hello.epoch,
        member: MEMBERS[LIES].parse().unwrap(),
        node: None,
        protocol: 1,
        frame_len_max: hello.frame_len_max,
    };
    let answer = encode(&HelloAnswer::Welcome(welcome));
    write_frame(&mut send, &answer, FRAMES).await.unwrap();
    send.finish().unwrap();
}

/// As an agent of years to come may answer.
async fn not_welcome(mut send: SendStream, mut receive: RecvStream) {
    drop(read_frame(&mut receive, FRAMES).await);
    let answer = HelloAnswer::Unwelcome(Unwelcome { why: NotWelcome::VersionUnknown });
    write_frame(&mut send, &encode(&answer), FRAMES).await.unwrap();
    send.finish().unwrap();
    drop(send.stopped().await);
}

async fn start(mesh: &Mesh, lie: Lie) -> Endpoint {
    let config = mesh.ledger_config(LIES, mesh.identity(LIES, Role::Agent, "agent"));
    let accept = Accept { roles: &[Role::Agent], anonymous: false };
    let limits = ListenerLimits::default();
    let tls =
        tls::server_config(config.identity, config.trust.clone(), accept, &[alpn::AGENT]).unwrap();
    let quic = server_config(tls, &limits.connection).unwrap();
    let endpoint = loop {
        // The last one's socket may not be gone yet.
        match tally_net::endpoint(mesh.agents_listen[LIES], Some(quic.clone())) {
            Ok(endpoint) => break endpoint,
            Err(_) => next_look().await,
        }
    };
    let liar = Liar {
        mesh_id: mesh.mesh_id(),
        client: mesh.client(LIES),
        registers: mesh.agent(ASKS).exchange.replica().known().registers,
        lie,
    };
    tokio::spawn(Arc::new(liar).serve(Listener::start(endpoint.clone(), config.trust, limits)));
    endpoint
}

/// What came, what was said, and where the half is that the requester believes in.
async fn asked(mesh: &Mesh, lie: Lie) -> (Vec<u8>, Option<Refusal>, Option<LeafIndex>) {
    let endpoint = timeout(LONG, start(mesh, lie)).await.unwrap();
    let ask = Ask { provider: MEMBERS[LIES].parse().unwrap(), ..dataset("beds") };
    let mut answer = mesh.ask(ask).await.unwrap();
    let mut came = Vec::new();
    let refusal = match answer.head {
        Head::Refused(no) => Some(no.refusal),
        Head::Permit { description, .. } => {
            // The application takes so many bytes for all of it.
            let known = (!lie.is_of_stream()).then_some(BODY.len() as u64);
            assert_eq!(description.bytes, known, "{lie:?}");
            loop {
                match timeout(LONG, answer.body.next()).await.unwrap() {
                    Some(Ok(piece)) => came.extend_from_slice(&piece),
                    Some(Err(refusal)) => break Some(refusal),
                    None => break None,
                }
            }
        }
    };
    let own = async {
        loop {
            let entries = mesh.of(answer.exchange).await;
            let own = entries.into_iter().find_map(|entry| match entry {
                Entry::RequesterHalf(half) => Some(half),
                _ => None,
            });
            match own {
                Some(own) => return own,
                None => next_look().await,
            }
        }
    };
    let own = timeout(LONG, own).await.unwrap();
    assert_eq!(own.outcome, refusal.map_or(Outcome::Permit, Outcome::Refuse), "{lie:?}");
    endpoint.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    (came, refusal, own.provider_leaf)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_byte_is_handed_on_only_if_all_of_it_is_true() {
    let mesh = Mesh::running().await;
    mesh.agree(ASKS, LIARS, &["LZ9", "QX1"]).await;
    for harmless in [Lie::Nothing, Lie::Described] {
        let (came, refusal, leaf) = asked(&mesh, harmless).await;
        assert_eq!((came.as_slice(), refusal), (BODY, None), "{harmless:?}");
        assert!(leaf.is_some());
    }
    let lies = [
        (Lie::Body, Refusal::DigestMismatch, true),
        (Lie::Length, Refusal::DigestMismatch, true),
        (Lie::Short, Refusal::DigestMismatch, true),
        (Lie::Opening, Refusal::CommitmentMismatch, true),
        (Lie::Exchange, Refusal::AnswerMismatch, true),
        (Lie::Checkpoint, Refusal::ReceiptInvalid, false),
        (Lie::NoReceipt, Refusal::ProtocolViolated, false),
        (Lie::Refusal, Refusal::ProtocolViolated, false),
    ];
    for (lie, code, believed) in lies {
        let (came, refusal, leaf) = asked(&mesh, lie).await;
        assert_eq!((refusal, leaf.is_some()), (Some(code), believed), "{lie:?}");
        assert!(came.len() < BODY.len(), "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_signed_end_is_not_delivered() {
    let mesh = Mesh::running().await;
    mesh.agree(ASKS, LIARS, &["LZ9", "QX1"]).await;
    let (came, refusal, leaf) = asked(&mesh, Lie::Stream).await;
    assert_eq!((came.as_slice(), refusal, leaf.is_some()), (BODY, None, true));
    for lie in [Lie::Unsigned, Lie::Signed, Lie::Root, Lie::How] {
        let (came, refusal, leaf) = asked(&mesh, lie).await;
        assert_eq!((refusal, leaf.is_some()), (Some(Refusal::RootUnsigned), true), "{lie:?}");
        assert!(came.len() < BODY.len(), "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_version_is_said_to_be_one() {
    let mesh = Mesh::running().await;
    mesh.agree(ASKS, LIARS, &["LZ9", "QX1"]).await;
    let (came, refusal, leaf) = asked(&mesh, Lie::Version).await;
    assert_eq!((came.len(), refusal, leaf), (0, Some(Refusal::VersionUnknown), None));
}
