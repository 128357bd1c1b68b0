//! The body as the application gets it.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use tally_core::refusal::Refusal;
use tokio::sync::mpsc;

/// What is handed on, piece by piece. An error ends it: the rest is not what the provider's half
/// promises, or never came.
///
/// Invariant: a body that merely stops is not whole. Its end is said, or it is broken off.
pub struct Body {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

/// What is handed to a body: a piece, its end, or why there is none.
pub(super) type Piece = Result<Option<Bytes>, Refusal>;

impl Body {
    /// One that pieces are handed to, so many ahead of the application.
    pub(super) fn new(pieces_max: usize) -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(pieces_max);
        (sender, Self { pieces, ended: false })
    }

    /// The next piece; none once all was handed on.
    pub async fn next(&mut self) -> Option<Result<Bytes, Refusal>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), to be polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refusal>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match std::task::ready!(self.pieces.poll_recv(context)) {
            Some(Ok(Some(piece))) => return Poll::Ready(Some(Ok(piece))),
            Some(Ok(None)) => None,
            Some(Err(refusal)) => Some(Err(refusal)),
            // Whoever handed it on is gone, and did not say that this is all.
            None => Some(Err(Refusal::BrokenOff)),
        };
        self.ended = true;
        Poll::Ready(next)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_merely_stops_is_broken_off() {
        let (pieces, mut body) = Body::new(4);
        pieces.send(Ok(Some(Bytes::from_static(b"all but")))).await.unwrap();
        drop(pieces);
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"all but"))));
        assert_eq!(body.next().await, Some(Err(Refusal::BrokenOff)));
        assert_eq!(body.next().await, None);
    }

    #[tokio::test]
    async fn a_body_whose_end_is_said_is_whole() {
        let (pieces, body) = Body::new(4);
        pieces.send(Ok(Some(Bytes::from_static(b"all")))).await.unwrap();
        pieces.send(Ok(None)).await.unwrap();
        drop(pieces);
        assert_eq!(body.read().await, Ok(b"all".to_vec()));
    }
}
