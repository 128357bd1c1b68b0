//! Two of three nodes are lost for good, and the ledger goes on in a new epoch with what the third one
//! has: all of it, and nothing else.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tally_core::id::LeafIndex;
use tally_core::register::MemberRecord;
use tally_net::ledger::{AgentKey, Client, Feed, Travel};
use tally_tests::mesh::{Mesh, Plan, Planned, until};
use tokio::task::JoinSet;

use super::TALLY;
use super::history::{Answer, Fault, Recorder, check};
use super::load::{append, entry};
use super::membership::{done, write};

/// How long a caller waits while the mesh is dying: then what came of it is open.
const DYING_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long anything may take on a machine that is busy.
const FACT_WAIT_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_that_lost_two_of_three_nodes_goes_on_in_a_new_epoch_with_all_that_was_acknowledged()
{
    let mut mesh = Mesh::running(TALLY, Plan { members: 4, nodes: 3 }).await.unwrap();
    let recorder = Recorder::new();
    let load = Work::start(&mesh, &recorder);
    load.reach(600).await;
    // Whatever was acknowledged, the leader has.
    let survivor = mesh.leader().await.unwrap();
    let lost = (0..3).filter(|node| *node != survivor).collect::<Vec<_>>();
    for node in &lost {
        mesh.kill(*node).await.unwrap();
    }
    load.end().await;
    let running = mesh.look_after(survivor, &["recover", "--plan"]).await.unwrap();
    assert!(running.code == Some(2) && running.said.contains("a node runs"), "{running:?}");
    mesh.kill(survivor).await.unwrap();
    let copy = mesh.node_dir(lost[0]).join("copy");
    fs::rename(mesh.data_dir(lost[0]), &copy).unwrap();
    fs::remove_dir_all(mesh.data_dir(lost[1])).unwrap();

    let planned = recover(&mesh, survivor).await;
    mesh.go_on_in(1);
    mesh.start(survivor).unwrap();
    mesh.reach(planned.size + 1).await.unwrap();
    assert_eq!(mesh.status(survivor).await.unwrap().epoch, 1);
    assert_eq!(mesh.leader().await.unwrap(), survivor);
    assert_eq!(mesh.cluster(survivor).await.voters, [survivor as u64 + 1]);
    // Agents go on in new sessions.
    let mut feeds = JoinSet::new();
    let clients = (0..4).map(|member| client(&mesh, &mut feeds, member)).collect::<Vec<_>>();
    for (member, client) in clients.iter().enumerate() {
        let new = entry(&mesh, member, 1_000_000);
        let recorded = append(&recorder, client, member, new).await.unwrap();
        assert!(recorded.leaf().0 > planned.size);
    }

    an_old_node_changes_nothing(&mut mesh, lost[0], &copy).await;
    let mut nodes = vec![survivor];
    for member in [3, 0] {
        nodes.push(join(&mut mesh, &recorder, &clients[0], member, survivor).await);
    }
    let voters = nodes.iter().map(|node| *node as u64 + 1).collect::<Vec<_>>();
    assert_eq!(mesh.cluster(survivor).await.voters, voters);
    mesh.kill(survivor).await.unwrap();
    let new = entry(&mesh, 1, 1_000_001);
    append(&recorder, &clients[1], 1, new).await.unwrap();
    mesh.start(survivor).unwrap();
    drop(clients);
    judge(&mut mesh, &recorder, &nodes, &[]).await;
    verified(&mesh, Some(0), &[]).await;
    for node in nodes {
        mesh.stop(node).await.unwrap();
        let checked = mesh.look_after(node, &["fsck"]).await.unwrap();
        assert_eq!(checked.code, Some(0), "{}", checked.said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_that_goes_on_did_not_have_is_named_and_nothing_else_differs() {
    let mut mesh = Mesh::running(TALLY, Plan { members: 4, nodes: 3 }).await.unwrap();
    let recorder = Recorder::new();
    let load = Work::start(&mesh, &recorder);
    load.reach(200).await;
    let leader = mesh.leader().await.unwrap();
    let survivor = (leader + 1) % 3;
    mesh.freeze(survivor);
    load.reach(load.done() + 100).await;
    load.end().await;
    // An auditor has seen what is about to be lost.
    let size = mesh.status(leader).await.unwrap().size;
    let dir = tempfile::tempdir().unwrap();
    until("a checkpoint of what will be lost", FACT_WAIT_MAX, async || {
        let exit =
            mesh.audit(&["audit", "verify"], dir.path()).await.map_err(|it| it.to_string())?;
        let kept = kept_sizes(mesh.auditor_dir());
        if kept.iter().any(|kept| *kept >= size) { Ok(()) } else { Err(exit.said) }
    })
    .await
    .unwrap();
    for node in (0..3).filter(|node| *node != survivor) {
        mesh.kill(node).await.unwrap();
        fs::remove_dir_all(mesh.data_dir(node)).unwrap();
    }
    mesh.kill(survivor).await.unwrap();

    let planned = recover(&mesh, survivor).await;
    assert!(planned.size < size, "{planned:?}");
    mesh.go_on_in(1);
    mesh.start(survivor).unwrap();
    mesh.reach(planned.size + 1).await.unwrap();
    let client = mesh.client(2);
    append(&recorder, &client, 2, entry(&mesh, 2, 1_000_000)).await.unwrap();
    drop(client);
    let lost = size - planned.size;
    judge(&mut mesh, &recorder, &[survivor], &[planned.size]).await;
    let lost = format!("{lost} leaves");
    verified(&mesh, Some(1), &[&lost, "lost"]).await;
}

/// A member's client, which hears of nodes that join.
fn client(mesh: &Mesh, feeds: &mut JoinSet<()>, member: usize) -> Client {
    let config = mesh.config(member);
    let mut feed = Feed::follow(config.clone(), LeafIndex(0));
    feeds.spawn(async move { while feed.next().await.is_some() {} });
    Client::start(config, AgentKey::new(mesh.members[member].agent_key.clone()))
}

/// Plans, has too few and then enough officers approve, and carries it out, twice.
async fn recover(mesh: &Mesh, survivor: usize) -> Planned {
    let planned = mesh.plan(survivor).await.unwrap();
    assert_eq!(planned.epoch, 1);
    let paper = planned.paper.to_string_lossy().into_owned();
    let recover = ["recover", "--approved", &paper, "--yes"];
    mesh.approve(&planned.paper, 2).unwrap();
    let refused = mesh.look_after(survivor, &recover).await.unwrap();
    assert!(refused.code == Some(1) && refused.said.contains("nothing was written"), "{refused:?}");
    mesh.approve(&planned.paper, 3).unwrap();
    let asked = mesh.look_after(survivor, &recover[..3]).await.unwrap();
    assert!(asked.code == Some(1) && asked.said.contains("Type the mesh's name"), "{asked:?}");
    let again = mesh.plan(survivor).await.unwrap();
    assert_eq!((again.size, &again.root, again.epoch), (planned.size, &planned.root, 1));
    mesh.approve(&planned.paper, 3).unwrap();
    done(mesh.look_after(survivor, &recover).await.unwrap());
    let repeated = done(mesh.look_after(survivor, &recover).await.unwrap());
    assert!(repeated.said.contains("done already"), "{}", repeated.said);
    planned
}

/// It comes back from a copy: nobody takes it in, and it says why.
async fn an_old_node_changes_nothing(mesh: &mut Mesh, node: usize, copy: &Path) {
    fs::rename(copy, mesh.data_dir(node)).unwrap();
    let cluster = mesh.cluster(0).await;
    mesh.start(node).unwrap();
    until("an old node that finds out", FACT_WAIT_MAX, async || {
        let said = mesh.said(node);
        let found_out = said.contains("this ledger was recovered into a later epoch");
        if found_out { Ok(()) } else { Err(said) }
    })
    .await
    .unwrap();
    let old = mesh.health(node, "/ready").await.unwrap();
    assert_eq!(old.0, 503, "{old:?}");
    assert!(mesh.status(node).await.is_err(), "it answers whoever knows the new epoch");
    let now = mesh.cluster(0).await;
    assert_eq!((now.voters, now.entry), (cluster.voters, cluster.entry));
    mesh.kill(node).await.unwrap();
}

/// Adds a node of a member, whose register it takes the lost one out of, and gives it a vote.
async fn join(
    mesh: &mut Mesh,
    recorder: &Recorder,
    client: &Client,
    member: usize,
    survivor: usize,
) -> usize {
    let new = mesh.join_by(&[survivor]).await.unwrap();
    assert_eq!(new % 4, member);
    let node = mesh.ledger_node(new);
    let change = |it: &mut MemberRecord| it.nodes.push(node);
    write(mesh, recorder, client, member, change).await.unwrap();
    mesh.start(new).unwrap();
    let (number, address) = ((new + 1).to_string(), mesh.raft_address(new).to_string());
    let add = ["add", &number, "--raft-address", &address, "--promote"];
    done(mesh.operate(member, &add).await.unwrap());
    new
}

/// What these nodes hold is what callers were told. If the recovery gave up leaves from a size on, only
/// what was acknowledged there is missing.
async fn judge(mesh: &mut Mesh, recorder: &Recorder, nodes: &[usize], given_up: &[u64]) {
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.reach(size).await.unwrap();
    let leaves = mesh.leaves(nodes[0], size).await.unwrap();
    for node in &nodes[1..] {
        assert!(mesh.leaves(*node, size).await.unwrap() == leaves, "node {} differs", node + 1);
    }
    let appends = recorder.appends();
    let acknowledged = appends.iter().filter(|it| matches!(it.answer, Answer::Acknowledged(_)));
    assert!(acknowledged.count() > 200);
    let faults = check(&appends, &leaves);
    match given_up.first() {
        None => assert_eq!(faults, []),
        Some(from) => {
            assert!(!faults.is_empty());
            let is_lost = |fault: &Fault| match fault {
                Fault::Lost { leaf, .. } => leaf >= from,
                Fault::OtherRoot { size, .. } => size > from,
                Fault::BeforeAnEarlierOne { earlier, .. } => earlier >= from,
                _ => false,
            };
            let others = faults.iter().filter(|fault| !is_lost(fault)).collect::<Vec<_>>();
            assert!(others.is_empty(), "{others:?}");
        }
    }
}

/// What an export over both epochs proves to an auditor.
async fn verified(mesh: &Mesh, code: Option<i32>, said: &[&str]) {
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.published(size).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    done(mesh.audit(&["audit", "export", "--to", "export"], dir.path()).await.unwrap());
    // Who has seen nothing that is lost can't miss it: an auditor keeps what it has seen.
    let (seen, kept) =
        (mesh.auditor_dir().join("checkpoints"), dir.path().join("export/checkpoints"));
    fs::create_dir_all(&kept).unwrap();
    for file in fs::read_dir(seen).into_iter().flatten().flatten() {
        fs::copy(file.path(), kept.join(file.file_name())).unwrap();
    }
    for args in [&["audit", "verify"][..], &["audit", "verify", "--dir", "export"]] {
        let exit = mesh.audit(args, dir.path()).await.unwrap();
        assert_eq!(exit.code, code, "{args:?}: {}", exit.said);
        assert!(said.iter().all(|text| exit.said.contains(text)), "{args:?}: {}", exit.said);
    }
}

/// The sizes of the checkpoints that an auditor has kept.
fn kept_sizes(dir: &Path) -> Vec<u64> {
    let kept = fs::read_dir(dir.join("checkpoints")).into_iter().flatten().flatten();
    let size = |name: String| name.split('-').next()?.parse().ok();
    kept.filter_map(|file| size(file.file_name().into_string().ok()?)).collect()
}

/// Clients that append until they are told to end, however the mesh is.
struct Work {
    workers: JoinSet<()>,
    done: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Work {
    fn start(mesh: &Mesh, recorder: &Recorder) -> Self {
        let (done, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut workers = JoinSet::new();
        for member in 0..mesh.members.len() {
            let client = mesh.client(member);
            for caller in 0..4 {
                let entries = (0..5000).map(|number| entry(mesh, member, number * 4 + caller));
                let entries = entries.collect::<Vec<_>>();
                let (client, recorder) = (client.clone(), recorder.clone());
                let (done, ends) = (Arc::clone(&done), Arc::clone(&ends));
                workers.spawn(async move {
                    for entry in entries {
                        if ends.load(Ordering::Relaxed) {
                            return;
                        }
                        let asked = recorder.ask(member, &entry);
                        let told = client.append(entry, Travel::Together, DYING_WAIT_MAX).await;
                        done.fetch_add(u64::from(told.is_ok()), Ordering::Relaxed);
                        recorder.told(asked, &told);
                    }
                });
            }
        }
        Self { workers, done, ends }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so many entries are acknowledged.
    async fn reach(&self, wanted: u64) {
        let reached = until("acknowledged entries", FACT_WAIT_MAX, async || {
            let done = self.done();
            if done >= wanted { Ok(()) } else { Err(format!("{done} of {wanted}")) }
        });
        reached.await.unwrap();
    }

    /// What is not answered by then, is open for ever.
    async fn end(mut self) {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
    }
}
