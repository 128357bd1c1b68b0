//! A process that runs until somebody ends it.

use std::io::{self, Write};

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Waits until the process is to end: by SIGTERM, by Ctrl-C or, if so asked, when standard input ends.
pub(crate) async fn shutdown(end_with_stdin: bool) {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            // Without it, the process ends as the system does it.
            Err(_) => std::future::pending().await,
        }
    };
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = terminate => {}
        () = interrupt => {}
        () = parent_ended(end_with_stdin) => {}
    }
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

/// Says something of this process on standard error.
pub(crate) fn log(part: &str, text: &str) {
    // If standard error is closed, nobody reads it.
    drop(writeln!(io::stderr().lock(), "tally {part}: {text}"));
}

/// Lets what happens in this process be written to standard error, a line for each event, from this
/// level on. What a ledger node says of its cluster is always written: it is seldom, and is asked for
/// when it is too late.
pub(crate) fn write_events(level: tracing::Level) {
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    let cluster = Targets::new().with_target("tally_ledger", tracing::Level::INFO);
    let lines = tracing_subscriber::registry()
        .with(lines.with_writer(io::stderr))
        .with(cluster.with_default(level));
    // Only a test could have said it before.
    drop(lines.try_init());
}
