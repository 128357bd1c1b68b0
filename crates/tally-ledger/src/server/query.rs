//! Questions about what the ledger holds.
//!
//! Invariant: a member reads its own entries, providers' halves that name it as who asked, and what is
//! everybody's; auditors and the ledger's own nodes read all. Who asks is who its certificate says.

use std::sync::Arc;
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::id::LeafIndex;
use tally_core::ledger::{Session, lane_of};
use tally_core::receipt::Receipt;
use tally_core::register::MemberRecord;
use tally_log::proof::{inclusion, inclusion_needs};
use tally_log::{BatchTree, Edge, Hash, TileSet};
use tally_net::quinn::SendStream;
use tally_net::{Role, SpiffeId};
use tally_wire::encode;
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::ledger::{
    ENTRIES_MAX, Entries, EntriesQuery, Query, QueryAnswer, QueryRefusal, QueryRefused,
    ReceiptAnswer, SessionAnswer, SessionQuery, Status,
};

use tokio::time::timeout;

use super::leaves::{Leaves, Owner, Unreadable};
use super::own::own;
use super::{ServerParts, StreamError, count, write};
use crate::published::Published;
use crate::sequencer::leader_of;
use crate::signer::LogSigner;
use crate::tiles::{Head, TileReader};

/// Bytes of leaves in one answer at most: room is left for what stands around them.
pub(super) const ANSWER_BYTES_MAX: usize = LEDGER_FRAME_LEN_MAX - 16 * 1024;

/// How far tiles may lag behind what was applied before a question has to wait too long.
const TILES_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a question waits for a checkpoint that is witnessed.
const WITNESSED_WAIT_MAX: Duration = Duration::from_secs(2);

/// Answers one question.
pub(super) async fn answer(
    parts: &ServerParts,
    send: &mut SendStream,
    query: Query,
    peer: &SpiffeId,
) -> Result<(), StreamError> {
    count(&parts.counters.queries);
    let answered = match query {
        Query::Session(query) => Ok(session(parts, &query, peer)),
        Query::Status(_) => status(parts),
        Query::Entries(query) => {
            let reader = Reader::of(parts, peer);
            read(parts, move |tiles, _| entries(tiles, query, &reader)).await
        }
        Query::Own(query) => {
            let member = peer.member.clone();
            read(parts, move |tiles, _| own(tiles, &query, &member)).await
        }
        Query::Receipt(query) => {
            let reader = Reader::of(parts, peer);
            read(parts, move |tiles, signer| receipt(tiles, signer, query.leaf, &reader, None))
                .await
        }
        Query::WitnessedReceipt(query) => {
            witnessed_receipt(parts, query.leaf, Arc::new(Reader::of(parts, peer))).await
        }
    };
    let answer = answered.unwrap_or_else(|why| QueryAnswer::Refused(QueryRefused { why }));
    write(parts, send, &answer).await
}

/// Who reads.
struct Reader {
    peer: SpiffeId,
    reads_all: bool,
}

impl Reader {
    fn of(parts: &ServerParts, peer: &SpiffeId) -> Self {
        let audits = || {
            parts.ledger.with_state(|state| {
                state.registers().member(&peer.member).is_some_and(MemberRecord::audits)
            })
        };
        let reads_all = match peer.role {
            // Which node it is was looked up when it said hello.
            Role::Ledger => true,
            Role::Auditor => audits(),
            _ => false,
        };
        Self { peer: peer.clone(), reads_all }
    }

    fn may_read(&self, leaves: &mut Leaves<'_>, leaf: LeafIndex) -> Result<bool, QueryRefusal> {
        if self.reads_all {
            return Ok(true);
        }
        Ok(match leaves.owner(leaf)? {
            Owner::Everybody => true,
            Owner::Member(member) => {
                member == self.peer.member || leaves.is_asked_by(leaf, &self.peer.member)?
            }
            Owner::Unknown => false,
        })
    }
}

/// Reads tiles on a thread that may wait, if there is a place.
async fn read<T: Send + 'static>(
    parts: &ServerParts,
    work: impl FnOnce(&TileReader, &LogSigner) -> Result<T, QueryRefusal> + Send + 'static,
) -> Result<T, QueryRefusal> {
    let place = Arc::clone(&parts.reads).try_acquire_owned().map_err(|_| QueryRefusal::Busy)?;
    // Who asks for what was just answered to it must find it.
    let applied = parts.ledger.head().size;
    let mut heads = parts.tiles.heads();
    let reached = heads.wait_for(|head| head.size >= applied);
    match timeout(TILES_WAIT_MAX, reached).await {
        Ok(Ok(_)) => {}
        _ => return Err(QueryRefusal::Busy),
    }
    let (tiles, signer) = (parts.tiles.clone(), Arc::clone(&parts.signer));
    let done = tokio::task::spawn_blocking(move || {
        let answer = work(&tiles, &signer);
        drop(place);
        answer
    });
    done.await.map_err(|_| QueryRefusal::Busy)?
}

fn entries(
    tiles: &TileReader,
    query: EntriesQuery,
    reader: &Reader,
) -> Result<QueryAnswer, QueryRefusal> {
    let mut leaves = Leaves::new(tiles);
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    let count = usize::from(query.count).min(ENTRIES_MAX);
    for index in (query.first.0..).take(count) {
        let Some(leaf) = leaves.leaf(LeafIndex(index))? else { break };
        bytes = bytes.saturating_add(leaf.bytes().len()).saturating_add(8);
        if bytes > ANSWER_BYTES_MAX {
            break;
        }
        if !reader.may_read(&mut leaves, LeafIndex(index))? {
            return Err(QueryRefusal::NotAllowed);
        }
        found.push(leaf);
    }
    if found.is_empty() {
        return Err(QueryRefusal::Unknown);
    }
    Ok(QueryAnswer::Entries(Entries { first: query.first, entries: found }))
}

/// A receipt under a checkpoint that a quorum of witnesses has cosigned; waits a moment for it.
async fn witnessed_receipt(
    parts: &ServerParts,
    leaf: LeafIndex,
    reader: Arc<Reader>,
) -> Result<QueryAnswer, QueryRefusal> {
    let may_read = Arc::clone(&reader);
    let sealed = read(parts, move |tiles, _| {
        let mut leaves = Leaves::new(tiles);
        readable(&mut leaves, leaf, &may_read)?;
        Ok(leaves.seal(leaf)?.ok_or(QueryRefusal::Unknown)?.0)
    });
    let covers = sealed.await?.0.saturating_add(1);
    let mut checkpoints = parts.checkpoints.clone();
    let witnessed = timeout(WITNESSED_WAIT_MAX, checkpoints.reach_witnessed(covers)).await;
    let witnessed = witnessed.ok().flatten().ok_or(QueryRefusal::Unknown)?;
    read(parts, move |tiles, signer| receipt(tiles, signer, leaf, &reader, Some(&witnessed))).await
}

/// A leaf that has a receipt which this reader may have.
fn readable(
    leaves: &mut Leaves<'_>,
    leaf: LeafIndex,
    reader: &Reader,
) -> Result<Encoded<Entry>, QueryRefusal> {
    let entry = leaves.leaf(leaf)?.ok_or(QueryRefusal::Unknown)?;
    // What stands outside batches has no seal to show it by.
    if lane_of(entry.value()).is_none() {
        return Err(QueryRefusal::Unknown);
    }
    // Whoever was promised a half in an emergency has no other way to its receipt.
    let asked_for = match entry.value() {
        Entry::ProviderHalf(half) => {
            half.requester == reader.peer.member && reader.peer.role == Role::Agent
        }
        _ => false,
    };
    if !asked_for && !reader.may_read(leaves, leaf)? {
        return Err(QueryRefusal::NotAllowed);
    }
    Ok(entry)
}

/// Under this checkpoint, which covers the leaf and its seal; or the newest, signed by this node.
fn receipt(
    tiles: &TileReader,
    signer: &LogSigner,
    leaf: LeafIndex,
    reader: &Reader,
    under: Option<&Published>,
) -> Result<QueryAnswer, QueryRefusal> {
    let mut leaves = Leaves::new(tiles);
    let entry = readable(&mut leaves, leaf, reader)?;
    let (seal_leaf, seal) = leaves.seal(leaf)?.ok_or(QueryRefusal::Unknown)?;
    let first = seal_leaf.0.checked_sub(seal.value().count.into()).ok_or(Unreadable)?;
    let mut hashes = Vec::new();
    for index in first..seal_leaf.0 {
        hashes.push(leaves.leaf(LeafIndex(index))?.ok_or(Unreadable)?.leaf_hash());
    }
    let batch = BatchTree::new(&Edge::new(), &hashes).map_err(|_| Unreadable)?;
    let position = leaf.0.checked_sub(first).ok_or(Unreadable)?;
    let (head, checkpoint) = match under {
        Some(under) => (under.head, under.note.to_vec()),
        None => {
            let head = leaves.head();
            (head, signer.sign(head.size, head.root).map_err(|_| Unreadable)?)
        }
    };
    let receipt = Receipt {
        leaf,
        entry,
        path: path(tiles, leaf, head)?,
        seal_leaf,
        seal,
        seal_path: path(tiles, seal_leaf, head)?,
        batch_path: batch.path(position).map_err(|_| Unreadable)?,
        checkpoint,
    };
    let bytes = encode(&receipt);
    let receipt = Encoded::new(receipt, bytes);
    Ok(QueryAnswer::Receipt(Box::new(ReceiptAnswer { receipt })))
}

/// The path of a leaf in the tree of this head.
fn path(tiles: &TileReader, leaf: LeafIndex, head: Head) -> Result<Vec<Hash>, Unreadable> {
    let nodes = inclusion_needs(leaf.0, head.size).map_err(|_| Unreadable)?;
    let mut set = TileSet::new();
    for path in TileSet::needs(&nodes, head.size) {
        let bytes = tiles.read(path).ok().flatten().ok_or(Unreadable)?;
        set.insert(path, &bytes).map_err(|_| Unreadable)?;
    }
    inclusion(leaf.0, head.size, |node| set.node(node)).map_err(|_| Unreadable)
}

fn session(parts: &ServerParts, query: &SessionQuery, peer: &SpiffeId) -> QueryAnswer {
    if !Reader::of(parts, peer).reads_all && query.member != peer.member {
        return QueryAnswer::Refused(QueryRefused { why: QueryRefusal::NotAllowed });
    }
    parts.ledger.with_state(|state| {
        let last = state.current_session(&query.member);
        let open = last.and_then(|last| state.sessions().open(last));
        let Some(Session { next, counter, .. }) = open else {
            let closed = SessionAnswer { last, open: false, next: 0, counter: None };
            return QueryAnswer::Session(closed);
        };
        QueryAnswer::Session(SessionAnswer { last, open: true, next: *next, counter: *counter })
    })
}

/// The newest checkpoint is of what was applied here, signed by this node.
fn status(parts: &ServerParts) -> Result<QueryAnswer, QueryRefusal> {
    let (mesh_id, protocol, head) = parts.ledger.with_state(|state| {
        let head = Head { size: state.size(), root: state.root() };
        (*state.mesh_id(), state.registers().protocol(), head)
    });
    let checkpoint = parts.signer.sign(head.size, head.root).map_err(|_| QueryRefusal::Busy)?;
    Ok(QueryAnswer::Status(Status {
        mesh_id,
        epoch: parts.welcome.epoch,
        size: head.size,
        time: parts.ledger.head().time,
        protocol: protocol.unwrap_or_default(),
        leader: leader_of(&parts.consensus, &parts.standing),
        checkpoint,
    }))
}

impl From<Unreadable> for QueryRefusal {
    fn from(_: Unreadable) -> Self {
        Self::Busy
    }
}
