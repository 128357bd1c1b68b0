//! A session that ends before its time, because its agent will not wait for what it has handed in.

use super::super::append::{Abandon, AppendError};
use super::super::batch::answer;
use super::Driver;

impl Driver {
    pub(super) fn abandon_if_told(&mut self) {
        while let Ok(told) = self.abandoned.try_recv() {
            self.abandon(told);
        }
    }

    /// Ends the session with all that waits for it: none of it is sent any more.
    pub(super) fn abandon(&mut self, told: Abandon) {
        self.end_session();
        // What found no room in the queue was handed in, too: sent in the next session it would be a second
        // entry beside the one that is owed instead.
        loop {
            self.drain();
            if self.queue.is_empty() {
                break;
            }
            for job in self.queue.drain(..) {
                answer(job.reply, AppendError::SessionEnded { sent: None });
            }
        }
        // Whoever told it may be gone.
        let _ = told.send(*self.session.borrow());
    }
}

#[cfg(test)]
mod tests {
    use quinn::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tally_core::entry::{Close, Entry, How};
    use tally_core::id::{LeafIndex, MeshId, Salt16, SessionId};
    use tally_log::{Hash, SigningKey};
    use tokio::sync::{mpsc, oneshot, watch};

    use super::super::super::append::{Job, Recorded, Travel};
    use super::super::super::batch::{Numbering, gather};
    use super::super::super::{AgentKey, ClientLimits, LedgerConfig};
    use super::*;
    use crate::TrustStore;
    use crate::identity::Identity;

    fn config() -> LedgerConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(Vec::new()));
        LedgerConfig {
            member: "RZ9".parse().unwrap(),
            mesh_id: MeshId(Hash::from_bytes([3; 32])),
            epoch: 0,
            nodes: Vec::new(),
            identity: Identity::new(Vec::new(), key),
            trust: TrustStore::new("dev.example".parse().unwrap()),
            log_keys: Vec::new(),
            limits: ClientLimits { queue_entries_max: 2, ..ClientLimits::default() },
        }
    }

    type Answer = oneshot::Receiver<Result<Recorded, AppendError>>;

    fn job() -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        let (provider_leaf, how) = (LeafIndex(1), How::Sent);
        let salt = Salt16([0; 16]);
        let close = Close { salt, counter: 0, provider_leaf, how, bytes: 0, root: None };
        (Job { entry: Entry::Close(close), travel: Travel::Alone, reply }, answer)
    }

    /// Opens a session, and has the first entry that waits under way in it.
    fn send_one(driver: &mut Driver, session: SessionId) {
        let mut numbering = Numbering { session, next_batch: 0, next_counter: 0 };
        driver.drain();
        let LedgerConfig { mesh_id, epoch, .. } = &driver.config;
        let key = &driver.key.secret;
        let batch = gather(&mut driver.queue, &mut numbering, mesh_id, *epoch, key);
        driver.under_way.extend(batch);
        driver.numbering = Some(numbering);
        driver.session.send_replace(Some(session));
    }

    #[test]
    fn an_entry_that_waits_for_the_next_session_is_said_to_be_sent_in_that_one() {
        let (session, _) = watch::channel(None);
        let (jobs, queue) = mpsc::channel(3);
        let (_abandons, abandoned) = mpsc::channel(1);
        let key = AgentKey::new(SigningKey::from_seed(&[4; 32]));
        let mut driver = Driver::new(config(), key, None, session, queue, abandoned);
        let mut answers = Vec::new();
        for _ in 0..3 {
            let (job, answer) = job();
            jobs.try_send(job).unwrap();
            answers.push(answer);
        }
        let [first, second] = [SessionId(LeafIndex(3)), SessionId(LeafIndex(9))];
        send_one(&mut driver, first);
        driver.end_session();
        send_one(&mut driver, second);
        driver.end_session();
        let (told, _ended) = oneshot::channel();
        driver.abandon(told);
        let sent = answers.iter_mut().map(|answer| match answer.try_recv() {
            Ok(Err(AppendError::SessionEnded { sent })) => sent,
            other => panic!("{other:?}"),
        });
        assert_eq!(sent.collect::<Vec<_>>(), [Some(first), Some(second), None]);
    }

    #[test]
    fn what_found_no_room_in_the_queue_is_taken_back_too() {
        let (session, _) = watch::channel(None);
        let (jobs, queue) = mpsc::channel(2);
        let (_abandons, abandoned) = mpsc::channel(1);
        let key = AgentKey::new(SigningKey::from_seed(&[4; 32]));
        let mut driver = Driver::new(config(), key, None, session, queue, abandoned);
        let mut replies = Vec::new();
        for round in 0..2 {
            for _ in 0..2 {
                let (job, answer) = job();
                jobs.try_send(job).unwrap();
                replies.push(answer);
            }
            if round == 0 {
                driver.drain();
            }
        }
        let (told, _ended) = oneshot::channel();
        driver.abandon(told);
        for mut reply in replies {
            let answer = reply.try_recv();
            assert!(matches!(answer, Ok(Err(AppendError::SessionEnded { sent: None }))));
        }
        assert!(driver.queue.is_empty() && driver.jobs.is_empty());
    }
}
