//! Members' witnesses, each on a stream that its agent opened.

use tally_core::register::Witness;
use tally_log::NoteKey;
use tally_net::frame::read_frame;
use tally_net::quinn::{RecvStream, SendStream};
use tally_net::{Role, SpiffeId};
use tally_wire::decode_value;
use tally_wire::message::ledger::{NotLeader, QueryRefusal, QueryRefused};
use tally_wire::message::witness::{ToWitness, WitnessAnswer, WitnessAsk, WitnessStart};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{FRAMES, ServerParts, StreamError, write};
use crate::published::note::witness_key;
use crate::sequencer::leader_of;
use crate::witnesses::{ANSWER_WAIT_MAX, Visitor};

/// Asks a witness what the leader wants to have cosigned, until either side ends it.
pub(super) async fn attend(
    parts: &ServerParts,
    send: &mut SendStream,
    receive: &mut RecvStream,
    start: WitnessStart,
    peer: &SpiffeId,
) -> Result<(), StreamError> {
    let Some(key) = named(parts, &start.vkey, peer) else {
        let refused = QueryRefused { why: QueryRefusal::NotAllowed };
        return write(parts, send, &ToWitness::Refused(refused)).await;
    };
    let leads = || {
        let leader = leader_of(&parts.consensus, &parts.standing);
        (leader.map(|leader| leader.0) == Some(*parts.consensus.node_id()), leader)
    };
    if let (false, leader) = leads() {
        return write(parts, send, &ToWitness::NotLeader(NotLeader { number: None, leader })).await;
    }
    let (asks, mut asked) = mpsc::channel(1);
    let (_here, gone) = oneshot::channel();
    parts.visitors.send(Visitor { key, asks, gone }).await.map_err(|_| StreamError::Failed)?;
    let mut number = 0_u64;
    loop {
        let asking = tokio::select! {
            asking = asked.recv() => asking,
            // It speaks when it is asked: this is its end.
            ended = read_frame(receive, FRAMES) => {
                return match ended? {
                    None => Ok(()),
                    Some(_) => Err(StreamError::NotForThisCaller),
                };
            }
        };
        let Some(asking) = asking else {
            // Another node leads, the register has changed, or another stream took its place.
            let (_, leader) = leads();
            let not_leader = NotLeader { number: None, leader };
            return write(parts, send, &ToWitness::NotLeader(not_leader)).await;
        };
        number = number.saturating_add(1);
        let ask = WitnessAsk { number, request: asking.request };
        write(parts, send, &ToWitness::Ask(ask)).await?;
        let answer = timeout(ANSWER_WAIT_MAX, read_frame(receive, FRAMES)).await;
        let Some(answer) = answer.map_err(|_| StreamError::Stalled)?? else { return Ok(()) };
        let answer = decode_value::<WitnessAnswer>(&answer)?;
        if answer.number != number {
            return Err(StreamError::NotForThisCaller);
        }
        // Whoever asked may have gone.
        drop(asking.answer.send((answer.status, answer.body)));
    }
}

/// The key, if the register has exactly this one for the caller's member, as one that comes by itself.
fn named(parts: &ServerParts, vkey: &str, peer: &SpiffeId) -> Option<NoteKey> {
    if peer.role != Role::Agent {
        return None;
    }
    let is_named =
        |witness: &Witness| witness.vkey == vkey && witness.member.as_ref() == Some(&peer.member);
    parts.ledger.with_state(|state| {
        let witness = state.registers().witnesses().iter().find(|it| is_named(it))?;
        witness_key(witness).filter(|_| witness.url.is_empty())
    })
}
