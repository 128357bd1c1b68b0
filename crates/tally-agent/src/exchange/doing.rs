//! What a desk waits for beside its mailbox.
//!
//! The desk polls it itself. A task for each would be woken by the store's thread on some other thread, and
//! would then wake the desk: this way all that becomes durable together wakes the desk once.

use std::pin::Pin;

use futures_util::FutureExt;
use futures_util::future::pending;
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Work under way, each with what it tells the desk at its end.
pub(super) struct Doing<I>(FuturesUnordered<Pin<Box<dyn Future<Output = I> + Send>>>);

impl<I> Doing<I> {
    pub(super) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    /// Begins something, as soon as the desk waits.
    pub(super) fn begin(&self, work: impl Future<Output = I> + Send + 'static) {
        self.0.push(Box::pin(work));
    }

    /// What ends next.
    pub(super) async fn next(&mut self) -> I {
        match self.0.next().await {
            Some(input) => input,
            // There is nothing under way.
            None => pending().await,
        }
    }

    /// What has ended, if something has.
    pub(super) fn ended(&mut self) -> Option<I> {
        self.0.next().now_or_never().flatten()
    }
}
