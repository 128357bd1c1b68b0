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

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_ends_first_is_told_first_and_once() {
        let mut doing = Doing::new();
        let (end_first, first) = oneshot::channel();
        let (end_second, second) = oneshot::channel();
        doing.begin(async { first.await.unwrap() });
        doing.begin(async { second.await.unwrap() });
        assert_eq!(doing.ended(), None);
        end_second.send(2).unwrap();
        assert_eq!(doing.next().await, 2);
        assert_eq!(doing.ended(), None);
        end_first.send(1).unwrap();
        assert_eq!(doing.ended(), Some(1));
        assert_eq!(doing.ended(), None);
    }

    #[tokio::test]
    async fn without_work_it_waits_and_goes_on_with_what_is_begun_later() {
        let mut doing = Doing::new();
        assert_eq!(doing.next().now_or_never(), None);
        doing.begin(ready(1));
        assert_eq!(doing.next().await, 1);
        assert_eq!(doing.next().now_or_never(), None);
        doing.begin(ready(2));
        assert_eq!(doing.ended(), Some(2));
    }

    #[tokio::test]
    async fn what_is_not_waited_for_any_more_goes_on_at_the_next_look() {
        let mut doing = Doing::new();
        let (end, ended) = oneshot::channel();
        doing.begin(async { ended.await.unwrap() });
        // The desk had something else to do, as often as it liked.
        for _ in 0..3 {
            assert_eq!(doing.next().now_or_never(), None);
        }
        let told = tokio::spawn(async move { doing.next().await });
        end.send(3).unwrap();
        assert_eq!(told.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_is_under_way_ends_with_the_desk() {
        let doing = Doing::new();
        let (mut end, ended) = oneshot::channel::<()>();
        doing.begin(async { drop(ended.await) });
        drop(doing);
        end.closed().await;
    }
}
