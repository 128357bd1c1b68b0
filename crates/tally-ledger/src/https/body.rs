//! A body that keeps its place among the large reads until it is sent: so many are in memory at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// What is not sent yet, and the place.
#[derive(Debug)]
struct LargeBody {
    rest: Bytes,
    _place: OwnedSemaphorePermit,
}

/// Gives back the place when the body was sent, or the connection is gone.
pub(super) fn large_body(bytes: Vec<u8>, place: OwnedSemaphorePermit) -> Body {
    Body::new(LargeBody { rest: bytes.into(), _place: place })
}

impl HttpBody for LargeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        /// Small enough for the place to be kept while a slow reader takes the rest.
        const PIECE_LEN: usize = 64 * 1024;
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE_LEN);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
