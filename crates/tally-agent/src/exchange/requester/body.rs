//! The body as the application gets it.

use std::fmt;

use bytes::Bytes;
use tally_core::refusal::Refusal;
use tokio::sync::mpsc;

/// What is handed on, piece by piece. An error ends it: the rest is not what the provider's half
/// promises, or never came.
pub struct Body(mpsc::Receiver<Result<Bytes, Refusal>>);

impl Body {
    /// One that pieces are handed to, so many ahead of the application.
    pub(super) fn new(pieces_max: usize) -> (mpsc::Sender<Result<Bytes, Refusal>>, Self) {
        let (pieces, body) = mpsc::channel(pieces_max);
        (pieces, Self(body))
    }

    /// The next piece; none once all was handed on.
    pub async fn next(&mut self) -> Option<Result<Bytes, Refusal>> {
        self.0.recv().await
    }

    /// As [`next`](Self::next), to be polled.
    pub fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Refusal>>> {
        self.0.poll_recv(context)
    }

    /// All of it, in memory: for answers that are known to be small.
    ///
    /// # Errors
    /// The refusal that broke it off.
    pub async fn read(mut self) -> Result<Vec<u8>, Refusal> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
