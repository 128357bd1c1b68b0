//! One query on one connection: a read-only transaction, its result in pieces, and an end that the
//! server hears of.
//!
//! Invariant: whoever drops the result before its end has the query cancelled at the server; and a
//! result that breaks off never looks like one that ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tally_net::rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, Config, CopyOutStream, Error, NoTls};

use super::tls::MakeTls;

/// How long the server is given to hear that a query is of no use any more.
const CANCEL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Reads only, in one snapshot, whatever the role may do otherwise.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Each setting is bound, and for this transaction alone.
const SET: &str = "SELECT set_config(name, value, true) \
    FROM unnest($1::text[], $2::text[]) AS setting(name, value)";

/// The result of a query, in pieces as they come. A [`Stream`].
pub(super) struct Copying {
    pieces: Pin<Box<CopyOutStream>>,
    running: Running,
}

/// A connection with something under way on it.
struct Running {
    client: Client,
    cancel: CancelToken,
    tls: Option<Arc<ClientConfig>>,
    is_done: bool,
    /// One of the connections that there may be.
    place: Option<OwnedSemaphorePermit>,
}

impl Copying {
    /// Connects, and begins to ask: `settings` are bound, and `copy` says what for.
    pub(super) async fn start(
        config: &Config,
        tls: Option<Arc<ClientConfig>>,
        settings: &[(String, String)],
        copy: &str,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let running = Running::connect(config, tls, place).await?;
        running.client.batch_execute(BEGIN).await?;
        let (names, values): (Vec<&str>, Vec<&str>) =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        running.client.query(SET, &[&names, &values]).await?;
        let pieces = Box::pin(running.client.copy_out(copy).await?);
        Ok(Self { pieces, running })
    }
}

impl Running {
    async fn connect(
        config: &Config,
        tls: Option<Arc<ClientConfig>>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let client = match &tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                // It ends with its client; why, whoever asks is told.
                tokio::spawn(async move { drop(connection.await) });
                client
            }
            Some(tls) => {
                let (client, connection) = config.connect(MakeTls(Arc::clone(tls))).await?;
                tokio::spawn(async move { drop(connection.await) });
                client
            }
        };
        let cancel = client.cancel_token();
        Ok(Self { client, cancel, tls, is_done: false, place: Some(place) })
    }
}

impl Stream for Copying {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.pieces.as_mut().poll_next(context));
        // Nothing is under way any more after the end, or after the server has said what is wrong.
        self.running.is_done = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_done || self.client.is_closed() {
            return;
        }
        let (cancel, tls, place) = (self.cancel.clone(), self.tls.take(), self.place.take());
        runtime.spawn(async move {
            let cancelled = async {
                match tls {
                    None => cancel.cancel_query(NoTls).await,
                    Some(tls) => cancel.cancel_query(MakeTls(tls)).await,
                }
            };
            if !matches!(timeout(CANCEL_WAIT_MAX, cancelled).await, Ok(Ok(()))) {
                tracing::warn!("a query could not be cancelled: its timeout ends it");
            }
            drop(place);
        });
    }
}
