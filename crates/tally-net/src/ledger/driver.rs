//! The task behind a client: it owns the session, the queue and what is under way, and talks to
//! whichever node leads.
//!
//! One task gathers, signs, sends and answers, so that entries which arrive while a batch is under
//! way travel together in the next one.

mod abandoning;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quinn::SendStream;
use tally_core::ledger::Rejection;
use tally_core::receipt::{BatchAnswer, Trust};
use tally_log::{NoteKey, SignedCheckpoint};
use tally_wire::message::ledger::{
    BatchRepeated, Query, QueryAnswer, ReceiptQuery, SubmissionRejected, SubmitAnswer,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::append::{Abandon, AppendError, Job, Journal, Recorded};
use super::batch::{Numbering, Signed, answer, gather};
use super::link::{Link, LinkError};
use super::nodes::{Reached, is_signed};
use super::session::{self, Start};
use super::{AgentKey, LedgerConfig};
use tally_core::id::{NodeId, SessionId};

pub(super) struct Driver {
    config: LedgerConfig,
    key: AgentKey,
    journal: Option<Arc<dyn Journal>>,
    session: watch::Sender<Option<SessionId>>,
    jobs: mpsc::Receiver<Job>,
    /// Changes when the session is to end before its time.
    abandoned: mpsc::Receiver<Abandon>,
    queue: VecDeque<Job>,
    under_way: VecDeque<Signed>,
    numbering: Option<Numbering>,
    start: Option<Start>,
    /// Which node to try next, and how long to pause before.
    next_node: usize,
    pause: Duration,
    leader: Option<NodeId>,
    /// Which node was silent last, and when: others are tried first for a while.
    silent: Option<(NodeId, Instant)>,
    ended: bool,
}

/// For so long others are tried before a node that was silent: longer than an election takes.
const AVOIDED: Duration = Duration::from_secs(2);

/// A stream to the node that leads, as far as we know.
struct Submitting {
    link: Link,
    send: SendStream,
    answers: mpsc::Receiver<Result<SubmitAnswer, LinkError>>,
    /// When the node is given up, if something is under way.
    deadline: Instant,
}

/// What ends a stream, but not the client.
enum Left {
    /// Try another node: this one, if it is known.
    Moved(Option<NodeId>),
    /// The session is over: open another.
    SessionOver,
    /// All callers are gone and everything is answered.
    Finished,
}

impl Driver {
    pub(super) fn new(
        config: LedgerConfig,
        key: AgentKey,
        journal: Option<Arc<dyn Journal>>,
        session: watch::Sender<Option<SessionId>>,
        jobs: mpsc::Receiver<Job>,
        abandoned: mpsc::Receiver<Abandon>,
    ) -> Self {
        let pause = config.limits.retry_wait_min;
        Self {
            config,
            key,
            journal,
            session,
            jobs,
            abandoned,
            queue: VecDeque::new(),
            under_way: VecDeque::new(),
            numbering: None,
            start: None,
            next_node: 0,
            pause,
            leader: None,
            silent: None,
            ended: false,
        }
    }

    pub(super) async fn run(mut self) {
        while !self.finished() {
            self.abandon_if_told();
            let Some(mut stream) = self.reach().await else {
                self.rest().await;
                continue;
            };
            let left = match self.converse(&mut stream).await {
                Ok(left) => left,
                Err(_) => {
                    self.silent = Some((stream.link.node(), Instant::now()));
                    Left::Moved(None)
                }
            };
            stream.link.close();
            match left {
                Left::Moved(leader) => {
                    self.leader = leader;
                    if leader.is_none() {
                        self.rest().await;
                    }
                }
                Left::SessionOver => self.end_session(),
                Left::Finished => break,
            }
        }
    }

    /// Dials the leader, or the next node in turn.
    async fn reach(&mut self) -> Option<Submitting> {
        let nodes = self.config.reached();
        let leader = self.leader.take();
        let hinted = nodes.iter().find(|node| Some(node.node()) == leader);
        let to = match hinted {
            Some(node) => node.clone(),
            None => self.next_in_turn(&nodes)?,
        };
        let to = to.resolve().await?;
        // A node that is dialled in vain is silent, too. One that was silent stays so when another
        // answers: to dial it again meanwhile would cost as long as a handshake may take.
        let others = self.silent.filter(|(node, _)| *node != to.node);
        self.silent = Some((to.node, Instant::now()));
        let link = Link::dial(&self.config, to).await.ok()?;
        let (send, mut receive) = link.open().await.ok()?;
        self.silent = others;
        let (answered, answers) = mpsc::channel(64);
        let reader = link.clone();
        tokio::spawn(async move {
            loop {
                let message = reader.read::<SubmitAnswer>(&mut receive).await;
                let message = message.transpose();
                let silent = LinkError::NoAnswer { node: reader.node() };
                let message = message.unwrap_or(Err(silent));
                let last = message.is_err();
                if answered.send(message).await.is_err() || last {
                    break;
                }
            }
        });
        let deadline = Instant::now() + self.config.limits.answer_wait_max;
        Some(Submitting { link, send, answers, deadline })
    }

    /// The next node in turn, but not the one that was silent just now if there is another.
    fn next_in_turn(&mut self, nodes: &[Reached]) -> Option<Reached> {
        let silent = self.silent.filter(|(_, at)| at.elapsed() < AVOIDED);
        for _ in 0..nodes.len() {
            let turn = self.next_node.checked_rem(nodes.len())?;
            self.next_node = turn + 1;
            let node = nodes.get(turn)?;
            if silent.is_none_or(|(silent, _)| silent != node.node()) || nodes.len() == 1 {
                return Some(node.clone());
            }
        }
        nodes.first().cloned()
    }

    /// Opens the session if there is none, sends again what is under way, then goes on until the
    /// stream ends.
    async fn converse(&mut self, stream: &mut Submitting) -> Result<Left, LinkError> {
        self.abandon_if_told();
        if self.numbering.is_none()
            && let Some(left) = self.open_session(stream).await?
        {
            return Ok(left);
        }
        for batch in &self.under_way {
            send(stream, &batch.frame).await?;
        }
        self.set_deadline(stream);
        loop {
            self.fill(stream).await?;
            if self.finished() {
                return Ok(Left::Finished);
            }
            let waiting = !self.under_way.is_empty();
            let open = !self.ended && self.has_room();
            tokio::select! {
                biased;
                message = stream.answers.recv() => {
                    let silent = LinkError::NoAnswer { node: stream.link.node() };
                    let message = message.unwrap_or(Err(silent))?;
                    if let Some(left) = self.take(message, stream).await? {
                        return Ok(left);
                    }
                    self.set_deadline(stream);
                }
                job = self.jobs.recv(), if open => match job {
                    Some(job) => self.queue.push_back(job),
                    None => self.ended = true,
                },
                // Without clones of the client there is nobody left to say so.
                Some(told) = self.abandoned.recv() => {
                    self.abandon(told);
                    return Ok(Left::SessionOver);
                }
                () = sleep_until(stream.deadline), if waiting => {
                    self.silent = Some((stream.link.node(), Instant::now()));
                    return Ok(Left::Moved(None));
                }
            }
        }
    }

    async fn open_session(&mut self, stream: &mut Submitting) -> Result<Option<Left>, LinkError> {
        let start = match self.start.take() {
            Some(start) => start,
            None => session::prepare(&stream.link, &self.config, &self.key).await?,
        };
        // Kept until there is an answer: the same bytes get the same answer, wherever they are sent.
        let start = self.start.insert(start);
        send(stream, &start.frame).await?;
        self.set_deadline(stream);
        let answer = timeout_at(stream.deadline, stream.answers.recv()).await;
        let silent = LinkError::NoAnswer { node: stream.link.node() };
        match answer.ok().flatten().unwrap_or(Err(silent))? {
            SubmitAnswer::SessionStarted(started) => {
                self.start = None;
                let session = started.session;
                self.numbering = Some(Numbering { session, next_batch: 0, next_counter: 0 });
                self.session.send_replace(Some(session));
                self.pause = self.config.limits.retry_wait_min;
                Ok(None)
            }
            SubmitAnswer::NotLeader(answer) => Ok(Some(Left::Moved(answer.leader))),
            SubmitAnswer::Rejected(_) => {
                // Somebody opened another session meanwhile, or the ledger is not founded yet: ask
                // again which is the last.
                self.start = None;
                Ok(Some(Left::Moved(None)))
            }
            _ => Ok(Some(Left::Moved(None))),
        }
    }

    /// Gathers and sends batches while there is room for one more under way.
    async fn fill(&mut self, stream: &mut Submitting) -> Result<(), LinkError> {
        while self.under_way.len() < self.config.limits.batches_in_flight_max.max(1) {
            // Callers that were just woken get to speak first: their next entries belong in this
            // batch, not in the one after.
            tokio::task::yield_now().await;
            self.drain();
            let Some(numbering) = &mut self.numbering else { return Ok(()) };
            let before = *numbering;
            let LedgerConfig { mesh_id, epoch, .. } = &self.config;
            let gathered = gather(&mut self.queue, numbering, mesh_id, *epoch, &self.key.secret);
            let Some(batch) = gathered else { return Ok(()) };
            if let Some(journal) = &self.journal
                && let Err(error) = journal.note(before.session, batch.number).await
            {
                // Nothing of it was sent, so its numbers are free for the next one.
                self.numbering = Some(before);
                batch.replies.into_iter().for_each(|reply| answer(reply, error.into()));
                continue;
            }
            if self.under_way.is_empty() {
                stream.deadline = Instant::now() + self.config.limits.answer_wait_max;
            }
            let sent = send(stream, &batch.frame).await;
            self.under_way.push_back(batch);
            sent?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        message: SubmitAnswer,
        stream: &mut Submitting,
    ) -> Result<Option<Left>, LinkError> {
        match message {
            SubmitAnswer::Accepted(accepted) => {
                if let Some(batch) = self.remove(accepted.number) {
                    return Ok(self.deliver(batch, accepted.answer));
                }
            }
            SubmitAnswer::Repeated(repeated) => {
                if let Some(batch) = self.remove(repeated.number) {
                    return self.fetch(batch, &repeated, &stream.link).await;
                }
            }
            SubmitAnswer::Rejected(SubmissionRejected { number: Some(number), rejection }) => {
                return self.rejected(number, rejection, stream).await;
            }
            SubmitAnswer::NotLeader(not) => return Ok(Some(Left::Moved(not.leader))),
            SubmitAnswer::Busy(busy) => {
                tokio::time::sleep(Duration::from_millis(busy.retry_ms.min(1000))).await;
                self.send_again(stream).await?;
            }
            SubmitAnswer::Rejected(_) | SubmitAnswer::SessionStarted(_) => {}
        }
        Ok(None)
    }

    /// Checks the answer once for the whole batch, then wakes the callers.
    fn deliver(&mut self, batch: Signed, answer: BatchAnswer) -> Option<Left> {
        let believed = self.believes(&answer.checkpoint) && batch.is_sealed_by(answer.seal.value());
        let expanded = answer.expand(&batch.entries).ok().filter(|_| believed);
        let Some(expanded) = expanded else {
            // The node is at fault: another one will answer the same bytes.
            self.put_back(batch);
            return Some(Left::Moved(None));
        };
        // There is a leader: who looks for the next one begins with short pauses again.
        self.pause = self.config.limits.retry_wait_min;
        let expanded = Arc::new(expanded);
        let answered = batch.replies.into_iter().zip(batch.entries).zip(0_u16..);
        for ((reply, entry), position) in answered {
            let recorded = Recorded::in_batch(Arc::clone(&expanded), position, entry);
            drop(reply.send(Ok(recorded)));
        }
        None
    }

    fn believes(&self, checkpoint: &[u8]) -> bool {
        SignedCheckpoint::parse(checkpoint).is_ok_and(|signed| is_signed(&self.config, &signed))
    }

    /// Asks for the receipts of a batch that was on the ledger before, one by one.
    async fn fetch(
        &mut self,
        mut batch: Signed,
        repeated: &BatchRepeated,
        link: &Link,
    ) -> Result<Option<Left>, LinkError> {
        let mut leaf = batch.next_leaf(repeated.first_leaf);
        let log_keys = self.config.all_log_keys();
        while let Some(entry) = batch.entries.first() {
            let asked = link.ask(&Query::Receipt(ReceiptQuery { leaf })).await;
            let receipt = match asked {
                Ok(QueryAnswer::Receipt(answer)) => Some(answer.receipt.into_parts().0),
                Ok(_) | Err(_) => None,
            };
            let fits = |receipt: &tally_core::receipt::Receipt| {
                receipt.entry == *entry && receipt.check(&self.trust(&log_keys)).is_ok()
            };
            let Some(receipt) = receipt.filter(fits) else {
                self.put_back(batch);
                return Ok(Some(Left::Moved(None)));
            };
            let reply = batch.replies.remove(0);
            batch.entries.remove(0);
            drop(reply.send(Ok(Recorded::alone(receipt))));
            leaf.0 = leaf.0.saturating_add(1);
        }
        Ok(None)
    }

    async fn rejected(
        &mut self,
        number: u64,
        rejection: Rejection,
        stream: &mut Submitting,
    ) -> Result<Option<Left>, LinkError> {
        match rejection {
            // What the ledger lacks before this batch was answered, and yet is not there: no batch of
            // this session can follow any more.
            Rejection::Gap if is_first(&self.under_way, number) => Ok(Some(Left::SessionOver)),
            // The node lacks a batch before this one: all are sent again, in order.
            Rejection::Gap => self.send_again(stream).await.map(|()| None),
            Rejection::SessionNotOpen | Rejection::WrongEpoch | Rejection::TooOld => {
                Ok(Some(Left::SessionOver))
            }
            rejection => {
                if let Some(batch) = self.remove(number) {
                    for reply in batch.replies {
                        answer(reply, AppendError::Rejected { rejection: rejection.clone() });
                    }
                }
                Ok(None)
            }
        }
    }

    async fn send_again(&self, stream: &mut Submitting) -> Result<(), LinkError> {
        for batch in &self.under_way {
            send(stream, &batch.frame).await?;
        }
        Ok(())
    }

    /// What is unanswered stays open for good: only the ledger can tell.
    fn end_session(&mut self) {
        self.numbering = None;
        self.start = None;
        for batch in self.under_way.drain(..) {
            for reply in batch.replies {
                answer(reply, AppendError::SessionEnded { sent: Some(batch.session) });
            }
        }
    }

    fn trust<'a>(&'a self, log_keys: &'a [NoteKey]) -> Trust<'a> {
        Trust {
            mesh_id: &self.config.mesh_id,
            epoch: self.config.epoch,
            log_keys,
            member: &self.config.member,
            agent_keys: std::slice::from_ref(&self.key.public),
        }
    }

    fn set_deadline(&self, stream: &mut Submitting) {
        stream.deadline = Instant::now() + self.config.limits.answer_wait_max;
    }

    fn remove(&mut self, number: u64) -> Option<Signed> {
        let place = self.under_way.iter().position(|batch| batch.number == number)?;
        self.under_way.remove(place)
    }

    fn put_back(&mut self, batch: Signed) {
        let place = self.under_way.partition_point(|other| other.number < batch.number);
        self.under_way.insert(place, batch);
    }

    fn drain(&mut self) {
        while self.has_room()
            && let Ok(job) = self.jobs.try_recv()
        {
            self.queue.push_back(job);
        }
    }

    /// What finds no room stays in the channel, until that is full too and callers are told.
    fn has_room(&self) -> bool {
        self.queue.len() < self.config.limits.queue_entries_max
    }

    fn finished(&self) -> bool {
        self.ended && self.queue.is_empty() && self.under_way.is_empty()
    }

    /// Pauses, longer each time, but hears when the last caller leaves.
    async fn rest(&mut self) {
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(self.config.limits.retry_wait_max);
        while let Ok(job) = timeout_at(until, self.jobs.recv()).await {
            match job {
                Some(job) if self.has_room() => self.queue.push_back(job),
                Some(job) => answer(job.reply, AppendError::TooBusy),
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
    }
}

/// Whether no batch before this one waits for its answer.
fn is_first(under_way: &VecDeque<Signed>, number: u64) -> bool {
    under_way.front().is_some_and(|first| first.number == number)
}

async fn send(stream: &mut Submitting, frame: &[u8]) -> Result<(), LinkError> {
    stream.link.send(&mut stream.send, frame).await
}

#[cfg(test)]
mod tests;
