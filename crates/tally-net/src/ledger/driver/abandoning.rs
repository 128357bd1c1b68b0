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
        self.drain();
        for job in self.queue.drain(..) {
            answer(job.reply, AppendError::SessionEnded);
        }
        // Whoever told it may be gone.
        let _ = told.send(*self.session.borrow());
    }
}
