//! A member's witness on a real connection: who may ask it, whom it asks to be let in, and what it says.
//! The nodes that ask are played by the test; the registers are those of a real ledger.

use std::sync::Arc;

use tally_agent::witness::state::{WitnessState, directory};
use tally_agent::witness::{Standing, Witness, WitnessParts, WitnessView, cosigner};
use tally_core::id::NodeId;
use tally_core::register::{RegisterBody, RegisterName, Witness as Registered, register_preimage};
use tally_log::note::{KeyName, signature_lines};
use tally_log::proof::consistency;
use tally_log::{
    AddCheckpoint, Checkpoint, Hash, NoteSigner, Origin, SignedCheckpoint, leaf_hash, root_of,
};
use tally_net::endpoint::{endpoint, server_config};
use tally_net::frame::FrameLimits;
use tally_net::ledger::LedgerAddress;
use tally_net::tls::{self, Accept};
use tally_net::{Accepted, Listener, ListenerLimits, Role, alpn, read_frame, write_frame};
use tally_wire::message::hello::{HelloAnswer, Welcome};
use tally_wire::message::ledger::{NotLeader, QueryRefusal, QueryRefused};
use tally_wire::message::witness::{ToWitness, WitnessAnswer, WitnessAsk, WitnessStart};
use tally_wire::{decode_value, encode, encode_checked};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::mesh::{LONG, MEMBERS, MESH, Mesh, PROVIDES, approval, key};

const FRAMES: FrameLimits = FrameLimits { len_max: 512 * 1024, wait_max: LONG };

/// What the test has a node do with a witness that comes.
enum Plays {
    LeadsNot(NodeId),
    Refuses,
    Asks(mpsc::Receiver<(String, mpsc::Sender<WitnessAnswer>)>),
}

/// A ledger node played by the test.
struct Played {
    address: LedgerAddress,
    /// How often a witness came.
    came: watch::Receiver<usize>,
}

fn play(mesh: &Mesh, node: u64, plays: Plays) -> Played {
    let place = usize::try_from(node).unwrap() - 1;
    let identity = mesh.identity(place, Role::Ledger, &node.to_string());
    let trust = mesh.ledger_config(place, identity.clone()).trust;
    let accept = Accept { roles: &[Role::Agent], anonymous: false };
    let tls = tls::server_config(identity, trust.clone(), accept, &[alpn::LEDGER]).unwrap();
    let limits = ListenerLimits::default();
    let server = server_config(tls, &limits.connection).unwrap();
    let local = endpoint("127.0.0.1:0".parse().unwrap(), Some(server)).unwrap();
    let address = LedgerAddress { node: NodeId(node), address: local.local_addr().unwrap() };
    let mut listener = Listener::start(local, trust, limits);
    let (came_to, came) = watch::channel(0);
    let plays = Arc::new(tokio::sync::Mutex::new(plays));
    tokio::spawn(async move {
        while let Some(accepted) = listener.next().await {
            let Ok(accepted) = accepted else { continue };
            tokio::spawn(serve(accepted, NodeId(node), Arc::clone(&plays), came_to.clone()));
        }
    });
    Played { address, came }
}

async fn serve(
    accepted: Accepted,
    node: NodeId,
    plays: Arc<tokio::sync::Mutex<Plays>>,
    came: watch::Sender<usize>,
) {
    let connection = accepted.connection.clone();
    let (mut send, mut receive) = connection.accept_bi().await.unwrap();
    read_frame(&mut receive, FRAMES).await.unwrap();
    let member = MEMBERS[usize::try_from(node.0).unwrap() - 1].parse().unwrap();
    let welcome = Welcome {
        version: 1,
        epoch: 0,
        member,
        node: Some(node),
        protocol: 1,
        frame_len_max: 512 * 1024,
    };
    write_frame(&mut send, &encode(&HelloAnswer::Welcome(welcome)), FRAMES).await.unwrap();
    send.finish().unwrap();
    let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
    let start = read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
    let start = decode_value::<WitnessStart>(&start).unwrap();
    assert!(start.vkey.starts_with(&format!("{MESH}/witness/RZ9+")), "{}", start.vkey);
    came.send_modify(|came| *came += 1);
    let mut plays = plays.lock().await;
    let last = match &mut *plays {
        Plays::LeadsNot(leader) => {
            ToWitness::NotLeader(NotLeader { number: None, leader: Some(*leader) })
        }
        Plays::Refuses => ToWitness::Refused(QueryRefused { why: QueryRefusal::NotAllowed }),
        Plays::Asks(asks) => {
            let mut number = 0;
            while let Some((request, reply)) = asks.recv().await {
                number += 1;
                let ask = WitnessAsk { number, request: request.into_bytes() };
                let ask = encode(&ToWitness::Ask(ask));
                if write_frame(&mut send, &ask, FRAMES).await.is_err() {
                    return;
                }
                let answer = read_frame(&mut receive, FRAMES).await.ok().flatten();
                let Some(answer) = answer else { return };
                let answer = decode_value::<WitnessAnswer>(&answer).unwrap();
                assert_eq!(answer.number, number);
                reply.send(answer).await.unwrap();
            }
            return;
        }
    };
    write_frame(&mut send, &encode(&last), FRAMES).await.unwrap();
    send.finish().unwrap();
    drop(send.stopped().await);
}

/// Asks through a node that the test plays.
struct Asker(mpsc::Sender<(String, mpsc::Sender<WitnessAnswer>)>);

impl Asker {
    fn new() -> (Self, Plays) {
        let (asks, asked) = mpsc::channel(1);
        (Self(asks), Plays::Asks(asked))
    }

    async fn ask(&self, leaves: &[Hash], old: u64, new: usize) -> WitnessAnswer {
        let (reply, mut answer) = mpsc::channel(1);
        self.0.send((request(leaves, old, new), reply)).await.unwrap();
        timeout(LONG, answer.recv()).await.unwrap().unwrap()
    }
}

/// By two of the three ledger nodes.
fn signed(leaves: &[Hash], size: usize) -> SignedCheckpoint {
    let origin = format!("{MESH}/ledger/0");
    let name = KeyName::new(&origin).unwrap();
    let [leader, other] = ["log 2", "log 3"].map(|log| NoteSigner::new(name.clone(), key(log)));
    let origin = Origin::new(&origin).unwrap();
    let checkpoint = Checkpoint { origin, size: size as u64, root: root_of(&leaves[..size]) };
    let mut signed = SignedCheckpoint::sign(checkpoint, &leader).unwrap();
    signed.add(other.sign(signed.note().text())).unwrap();
    signed
}

fn request(leaves: &[Hash], old_size: u64, size: usize) -> String {
    let node = |id: tally_log::NodeId| {
        let begin = usize::try_from(id.index() << id.level()).ok()?;
        leaves.get(begin..begin + (1 << id.level())).map(root_of)
    };
    let proof = consistency(old_size, size as u64, node).unwrap();
    AddCheckpoint { old_size, proof, checkpoint: signed(leaves, size) }.to_string()
}

/// The members name these witnesses.
async fn name_witnesses(mesh: &Mesh, witnesses: Vec<Registered>) {
    let exchange = &mesh.agent(PROVIDES).exchange;
    let known = exchange.replica().known();
    let name = RegisterName::Witnesses;
    let state = known.registers.get(&name);
    let (version, previous) = (state.map_or(0, |it| it.version) + 1, state.map(|it| it.leaf));
    let body = encode_checked(RegisterBody::Witnesses(witnesses)).unwrap();
    let preimage = register_preimage(&mesh.mesh_id(), &name, version, previous, true, body.bytes());
    let approvals = MEMBERS[..2].iter().map(|member| approval(member, &preimage)).collect();
    let written = exchange.recorder().write_register(&name, true, body, approvals);
    timeout(LONG, written).await.unwrap().unwrap();
}

/// The ledger of the registers is another one than the one that the test has cosigned: its receipts would
/// rightly be taken for those of a fork.
fn no_receipts() -> watch::Receiver<Vec<u8>> {
    watch::channel(Vec::new()).1
}

async fn stands(view: &WitnessView, stands: impl Fn(&Standing) -> bool) {
    let mut standing = view.changes();
    timeout(LONG, standing.wait_for(|it| stands(it))).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_finds_the_leader_and_cosigns_one_history() {
    let mesh = Mesh::running().await;
    let dir = tempfile::tempdir().unwrap();
    let cosigner = cosigner(MESH, &"RZ9".parse().unwrap(), key("witness RZ9")).unwrap();
    let vkey = cosigner.key().clone();
    WitnessState::create(&directory(dir.path()), &vkey).unwrap();
    let (asker, asks) = Asker::new();
    let follower = play(&mesh, 1, Plays::LeadsNot(NodeId(2)));
    let leader = play(&mesh, 2, asks);
    let exchange = &mesh.agent(PROVIDES).exchange;
    let mut ledger = mesh.ledger_config(PROVIDES, mesh.identity(PROVIDES, Role::Agent, "agent"));
    ledger.nodes = vec![follower.address, leader.address];
    let parts = WitnessParts {
        member: "RZ9".parse().unwrap(),
        cosigner,
        data_dir: dir.path().to_owned(),
        ledger,
        replica: exchange.replica().clone(),
        heads: no_receipts(),
    };
    let witness = Witness::start(parts);
    let view = witness.view();
    // Nobody has named it: it does not even come.
    stands(&view, |standing| *standing == Standing::Unregistered).await;
    let stranger = Registered {
        member: Some("LZ9".parse().unwrap()),
        vkey: vkey.to_string(),
        url: String::new(),
    };
    name_witnesses(&mesh, vec![stranger.clone()]).await;
    assert_eq!((view.standing(), *leader.came.borrow()), (Standing::Unregistered, 0));

    let own = Registered { member: Some("RZ9".parse().unwrap()), ..stranger };
    name_witnesses(&mesh, vec![own]).await;
    let leaves: Vec<Hash> = (0..20_u8).map(|leaf| leaf_hash(&[leaf])).collect();
    let answer = asker.ask(&leaves, 0, 9).await;
    assert_eq!(answer.status, 200);
    assert_eq!(*follower.came.borrow(), 1, "it was told who leads");
    let mut cosigned = signed(&leaves, 9);
    let lines = signature_lines(std::str::from_utf8(&answer.body).unwrap()).unwrap();
    lines.into_iter().for_each(|line| cosigned.add(line).unwrap());
    assert_eq!(cosigned.note().verify([&vkey]).unwrap().len(), 1);
    stands(&view, |standing| *standing == Standing::Attending(NodeId(2))).await;

    let fork: Vec<Hash> = (100..120_u8).map(|leaf| leaf_hash(&[leaf])).collect();
    let refused = asker.ask(&fork, 9, 15).await;
    assert_eq!((refused.status, refused.body.len()), (422, 0));
    assert_eq!(asker.ask(&leaves, 9, 15).await.status, 200);
    let (last, kept) = view
        .look(|judge| (judge.last().unwrap().checkpoint().size, judge.evidence().kept().len()))
        .unwrap();
    assert_eq!((last, kept), (15, 1));

    // The members do not name it any more: it leaves by itself.
    name_witnesses(&mesh, Vec::new()).await;
    stands(&view, |standing| *standing == Standing::Unregistered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_without_its_state_cosigns_nothing_and_one_that_is_refused_says_so() {
    let mesh = Mesh::running().await;
    let dir = tempfile::tempdir().unwrap();
    let node = play(&mesh, 1, Plays::Refuses);
    let exchange = &mesh.agent(PROVIDES).exchange;
    let mut ledger = mesh.ledger_config(PROVIDES, mesh.identity(PROVIDES, Role::Agent, "agent"));
    ledger.nodes = vec![node.address];
    let start = || {
        Witness::start(WitnessParts {
            member: "RZ9".parse().unwrap(),
            cosigner: cosigner(MESH, &"RZ9".parse().unwrap(), key("witness RZ9")).unwrap(),
            data_dir: dir.path().to_owned(),
            ledger: ledger.clone(),
            replica: exchange.replica().clone(),
            heads: no_receipts(),
        })
    };
    let witness = start();
    let vkey = witness.view().key().clone();
    let named = Registered {
        member: Some("RZ9".parse().unwrap()),
        vkey: vkey.to_string(),
        url: String::new(),
    };
    name_witnesses(&mesh, vec![named]).await;
    let Standing::Broken(why) = witness.view().standing() else { panic!("it has no state") };
    assert!(why.contains("tally witness new"), "{why}");
    assert_eq!(*node.came.borrow(), 0);
    drop(witness);

    WitnessState::create(&directory(dir.path()), &vkey).unwrap();
    let witness = start();
    let mut came = node.came.clone();
    timeout(LONG, came.wait_for(|came| *came >= 2)).await.unwrap().unwrap();
    assert!(!matches!(witness.view().standing(), Standing::Attending(_)));
    // Two processes are not one witness.
    let second = start();
    let Standing::Broken(why) = second.view().standing() else { panic!("it is another process's") };
    assert!(why.contains("another process"), "{why}");
}
