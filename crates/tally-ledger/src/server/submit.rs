//! Submissions: many in flight, answered in any order.

use std::sync::Arc;
use std::time::Duration;

use tally_core::ledger::{Rejection, Submission};
use tally_net::SpiffeId;
use tally_net::frame::read_frame;
use tally_net::quinn::{RecvStream, SendStream};
use tally_wire::message::ledger::SubmitAnswer;
use tokio::sync::{Semaphore, mpsc};

use super::{FRAMES, ServerParts, StreamError, count, read_submission, write};
use crate::metrics::TurnedAway;
use crate::sequencer::{Answers, number_of, rejected};

/// Takes submissions until the agent ends the stream and all are answered.
pub(super) async fn take(
    parts: &ServerParts,
    send: &mut SendStream,
    receive: &mut RecvStream,
    first: Vec<u8>,
    peer: &SpiffeId,
) -> Result<(), StreamError> {
    let (answers, mut answered) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(parts.limits.stream_submissions_max.max(1)));
    let taking = async {
        let mut next = Some(first);
        while let Some(frame) = next {
            // While too many wait, nothing more is read: the agent feels it.
            let Ok(place) = places.acquire().await else { break };
            place.forget();
            if let Err(wait) = forward(parts, &frame, peer, &answers)? {
                // Too much of this member waits. That was its answer; nothing more is read meanwhile,
                // so that whoever does not care about answers costs others nothing.
                tokio::time::sleep(wait).await;
            }
            next = read_frame(receive, FRAMES).await?;
        }
        drop(answers);
        Ok::<_, StreamError>(())
    };
    let answering = async {
        while let Some(answer) = answered.recv().await {
            write::<SubmitAnswer>(parts, send, &answer).await?;
            places.add_permits(1);
        }
        Ok(())
    };
    // A stream whose answers nobody takes, takes nothing more in; and the other way round.
    tokio::try_join!(taking, answering).map(|_| ())
}

fn forward(
    parts: &ServerParts,
    frame: &[u8],
    peer: &SpiffeId,
    answers: &Answers,
) -> Result<Result<(), Duration>, StreamError> {
    count(&parts.counters.submissions);
    let submission = read_submission(frame)?;
    match refuse(parts, &submission, peer) {
        Some(rejection) => {
            // Nobody reads it if the stream has gone.
            drop(answers.send(rejected(number_of(&submission), rejection)));
            parts.metrics.turned_away(TurnedAway::NotOwn);
            Ok(Ok(()))
        }
        None => {
            let (member, answers) = (Some(&peer.member), Some(answers.clone()));
            Ok(parts.sequencer.submit(member, submission, frame.len(), answers))
        }
    }
}

/// An agent submits for its own member. What the ledger judges anyway is left to it.
fn refuse(parts: &ServerParts, submission: &Submission, peer: &SpiffeId) -> Option<Rejection> {
    match submission {
        // The nodes themselves found the ledger.
        Submission::Genesis(_) => Some(Rejection::AlreadyFounded),
        // Only a node that is stopped begins an epoch: one that runs would lose all sessions.
        Submission::Recovery(_) => Some(Rejection::RecoveryNotSubmitted),
        Submission::SessionStart(start) => {
            (start.value().member != peer.member).then_some(Rejection::NotOwnEntry)
        }
        Submission::Batch(batch) => {
            let others = parts.ledger.with_state(|state| {
                let session = state.sessions().open(batch.session);
                session.is_some_and(|session| session.member != peer.member)
            });
            others.then_some(Rejection::NotOwnEntry)
        }
    }
}
