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
                answer(job.reply, AppendError::SessionEnded);
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
    use tally_core::id::{LeafIndex, MeshId, Salt16};
    use tally_log::{Hash, SigningKey};
    use tokio::sync::{mpsc, oneshot, watch};

    use super::super::super::append::{Job, Travel};
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
            identity: Identity { chain: Vec::new(), key },
            trust: TrustStore::new("dev.example".parse().unwrap()),
            log_keys: Vec::new(),
            limits: ClientLimits { queue_entries_max: 2, ..ClientLimits::default() },
        }
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
                let (reply, answer) = oneshot::channel();
                let (provider_leaf, how) = (LeafIndex(1), How::Sent);
                let salt = Salt16([0; 16]);
                let close = Close { salt, counter: 0, provider_leaf, how, bytes: 0, root: None };
                let entry = Entry::Close(close);
                jobs.try_send(Job { entry, travel: Travel::Together, reply }).unwrap();
                replies.push(answer);
            }
            if round == 0 {
                driver.drain();
            }
        }
        let (told, _ended) = oneshot::channel();
        driver.abandon(told);
        for mut reply in replies {
            assert!(matches!(reply.try_recv(), Ok(Err(AppendError::SessionEnded))));
        }
        assert!(driver.queue.is_empty() && driver.jobs.is_empty());
    }
}
