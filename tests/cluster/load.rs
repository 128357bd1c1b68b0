//! Clients that append and record what they were told.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tally_core::entry::{Action, Entry, Flags, Outcome, RequesterHalf};
use tally_core::id::{ExchangeId, LeafIndex, Salt16};
use tally_core::refusal::Refusal;
use tally_log::sha256;
use tally_net::ledger::{AgentKey, AppendError, Client, Feed, Recorded, Travel};
use tally_tests::mesh::Mesh;
use tokio::task::JoinSet;

use super::history::Recorder;

/// How long a caller waits for the definite answer to an entry, at most.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// Callers of one client at once: their entries travel together.
const CALLERS: u64 = 8;

/// An entry of a member that is unlike any other of its kind.
pub(crate) fn entry(mesh: &Mesh, member: usize, number: u64) -> Entry {
    let name = format!("{member} {number}");
    let [salt, exchange] = ["salt", "exchange"].map(|what| {
        let hash = sha256(&[what.as_bytes(), name.as_bytes()]);
        *hash.as_bytes().first_chunk().unwrap()
    });
    let other = (member + 1) % mesh.members.len();
    Entry::RequesterHalf(Box::new(RequesterHalf {
        salt: Salt16(salt),
        exchange: ExchangeId(exchange),
        counter: 0,
        requester: mesh.members[member].id.clone(),
        provider_leaf: None,
        provider: mesh.members[other].id.clone(),
        agreement: None,
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Refuse(Refusal::Unreachable),
        bytes_arrived: 0,
        digest: None,
        commitment: None,
        flags: Flags::NONE,
        rectifies: None,
    }))
}

/// Appends one entry, however long its definite answer takes, and records what its caller was told.
pub(crate) async fn append(
    recorder: &Recorder,
    client: &Client,
    member: usize,
    entry: Entry,
) -> Result<Recorded, AppendError> {
    let asked = recorder.ask(member, &entry);
    let outcome = client.append(entry, Travel::Together, ANSWER_WAIT_MAX).await;
    recorder.told(asked, &outcome);
    outcome
}

/// Work that goes on beside a test.
pub(crate) struct Load {
    workers: JoinSet<()>,
    clients: Vec<Client>,
    /// Lets the clients hear of nodes that join.
    feeds: JoinSet<()>,
    done: Arc<AtomicU64>,
}

impl Load {
    /// Starts a client for each member, each of which appends so many entries.
    pub(crate) fn start(mesh: &Mesh, recorder: &Recorder, each: u64) -> Self {
        Self::start_for(mesh, recorder, mesh.members.len(), 0..each)
    }

    /// The same with entries of these numbers: those of one number are the same entry.
    pub(crate) fn numbered(mesh: &Mesh, recorder: &Recorder, numbers: Range<u64>) -> Self {
        Self::start_for(mesh, recorder, mesh.members.len(), numbers)
    }

    /// The same for the first so many members alone.
    pub(crate) fn start_for(
        mesh: &Mesh,
        recorder: &Recorder,
        members: usize,
        numbers: Range<u64>,
    ) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let (mut workers, mut feeds) = (JoinSet::new(), JoinSet::new());
        let mut clients = Vec::new();
        for member in 0..members {
            // What the feed hears of members, the client knows: they share their trust.
            let config = mesh.config(member);
            let mut feed = Feed::follow(config.clone(), LeafIndex(0));
            feeds.spawn(async move { while feed.next().await.is_some() {} });
            let key = AgentKey::new(mesh.members[member].agent_key.clone());
            let client = Client::start(config, key);
            clients.push(client.clone());
            for caller in 0..CALLERS {
                let numbers = numbers.clone().filter(|number| number % CALLERS == caller);
                let entries = numbers.map(|number| entry(mesh, member, number));
                let entries = entries.collect::<Vec<_>>();
                let (client, recorder, done) = (client.clone(), recorder.clone(), done.clone());
                workers.spawn(async move {
                    for entry in entries {
                        // What came of it is in the history.
                        drop(append(&recorder, &client, member, entry).await);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        Self { workers, clients, feeds, done }
    }

    /// The client of a member: one agent has one session.
    pub(crate) fn client(&self, member: usize) -> Client {
        self.clients[member].clone()
    }

    /// How many entries were answered.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until all are.
    pub(crate) async fn finish(mut self) {
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        self.feeds.shutdown().await;
    }
}
