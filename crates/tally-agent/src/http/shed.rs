//! What a server does not take on, counted; and what it says to whom it has no place for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Stream;
use super::places::Busy;

/// Callers at once that hear why they are turned away; the others find their connection closed.
const FAREWELLS_MAX: usize = 64;
/// How long such a caller may take to hear it.
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(1);

/// What is said where nobody has said what to say.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
                      connection: close\r\n\r\n";

/// Why a connection ended that might have been served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// There was no place for it.
    Full,
    /// It asked nothing, and gave way to somebody who came.
    Silent,
    /// A request did not come within its time.
    Slow,
    /// What came was no request, or more than is read of one.
    Malformed,
    /// It shook no hands.
    Handshake,
}

impl Shed {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::Silent, Self::Slow, Self::Malformed, Self::Handshake];

    /// The word, for a label of a metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Malformed => "malformed",
            Self::Handshake => "handshake",
        }
    }
}

/// What is done about connections that are not served. Cheap to clone.
#[derive(Clone)]
pub struct Shedding {
    count: Arc<dyn Fn(Shed) + Send + Sync>,
    full: Bytes,
    farewells: Arc<Semaphore>,
}

impl Shedding {
    /// `count` hears of each.
    #[must_use]
    pub fn new(count: Arc<dyn Fn(Shed) + Send + Sync>) -> Self {
        let farewells = Arc::new(Semaphore::new(FAREWELLS_MAX));
        Self { count, full: Bytes::from_static(FULL), farewells }
    }

    /// With another whole answer to whom there is no place for.
    #[must_use]
    pub fn saying(self, full: Bytes) -> Self {
        Self { full, ..self }
    }

    pub(super) fn count(&self, shed: Shed) {
        (self.count)(shed);
    }

    /// How a connection ended is the caller's business, but for what we made of it.
    pub(super) fn count_end(&self, ended: Result<(), hyper::Error>) {
        match ended {
            Err(why) if why.is_timeout() => self.count(Shed::Slow),
            Err(why) if why.is_parse() => self.count(Shed::Malformed),
            Ok(()) | Err(_) => {}
        }
    }

    /// Says that there is no place. Under TLS that would take a handshake, so nothing is said.
    pub(super) fn turn_away(&self, mut stream: Box<dyn Stream>, tls: bool) {
        self.count(Shed::Full);
        let Ok(place) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
        if tls {
            return;
        }
        let full = self.full.clone();
        tokio::spawn(async move {
            let said = async {
                // Some clients take for nonsense what is answered before they have asked.
                let mut unread = [0; 1024];
                let _heard = stream.read(&mut unread).await?;
                stream.write_all(&full).await?;
                stream.shutdown().await?;
                // What was sent and not read would have the system take back what we said.
                while stream.read(&mut unread).await? > 0 {}
                Ok::<_, std::io::Error>(())
            };
            drop(timeout(FAREWELL_WAIT_MAX, said).await);
            drop(place);
        });
    }
}

impl Default for Shedding {
    /// Counts nothing.
    fn default() -> Self {
        Self::new(Arc::new(|_| {}))
    }
}

impl fmt::Debug for Shedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shedding(…)")
    }
}

/// The body of an answer. While it is on its way, its connection does not give way.
pub(super) struct Answering {
    body: Body,
    _busy: Busy,
}

impl Answering {
    pub(super) const fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
