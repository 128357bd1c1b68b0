//! A process that runs until somebody ends it, and what it says meanwhile.

mod log;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use log::{Levels, log, write_events};

/// The signals that tell a process to end: SIGTERM, and Ctrl-C. Heard from when this is made on, so
/// that none is lost between the first and the second.
pub(crate) struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

/// SIGHUP: what may change while the process runs is to be read again. Heard from when this is made on.
pub(crate) struct Hangups(Option<Signal>);

impl Hangups {
    /// Must be called in a tokio runtime.
    pub(crate) fn listen() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        next(&mut self.0).await;
    }
}

impl Signals {
    /// Must be called in a tokio runtime.
    pub(crate) fn listen() -> Self {
        // Where they can't be had, the process ends as the system does it.
        let listen = |kind| signal(kind).ok();
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let Self { terminate, interrupt } = self;
        tokio::select! {
            () = next(terminate) => {}
            () = next(interrupt) => {}
        }
    }

    /// Waits for the next one or, if so asked, until standard input ends.
    pub(crate) async fn next_or_parent_ended(&mut self, end_with_stdin: bool) {
        tokio::select! {
            () = self.next() => {}
            () = parent_ended(end_with_stdin) => {}
        }
    }
}

async fn next(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Waits until the process is to end: by SIGTERM, by Ctrl-C or, if so asked, when standard input ends.
pub(crate) async fn shutdown(end_with_stdin: bool) {
    Signals::listen().next_or_parent_ended(end_with_stdin).await;
}

/// Waits, if so asked, until the process ends that holds the other end of standard input.
pub(crate) async fn parent_ended(end_with_stdin: bool) {
    if !end_with_stdin {
        std::future::pending::<()>().await;
    }
    // Nobody writes there.
    let mut byte = [0];
    while tokio::io::stdin().read(&mut byte).await.is_ok_and(|count| count > 0) {}
}
