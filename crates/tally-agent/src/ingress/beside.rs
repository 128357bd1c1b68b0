//! Applications that come through a sidecar: over its connection, answered by the very router that
//! answers at the agent's own socket.
//!
//! Invariant: a sidecar says how its applications are known, never that less is asked of them: where users
//! show tokens, they show them behind a sidecar too.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tally_core::id::Purpose;
use tally_net::Accepted;
use tally_net::frame::{read_frame, write_frame};
use tally_net::quinn::{Connection, RecvStream, SendStream, StoppedError, VarInt};
use tally_wire::message::hello::{NotWelcome, Unwelcome};
use tally_wire::message::sidecar::{SidecarAnswer, SidecarHello, SidecarWelcome};
use tally_wire::{decode_value, encode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Ingress, IngressParts, router};
use crate::base_url::BaseUrl;
use crate::config::{IngressSettings, IngressUser};
use crate::http::{Brought, HttpLimits, HttpServer, Shedding};
use crate::peers::FRAMES;

/// The version of these messages that is spoken.
const VERSION: u64 = 1;
/// A sidecar has said hello within this time, or its connection ends.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections of applications that wait to be answered.
const BROUGHT_MAX: usize = 64;
/// How long answers in flight may take once their sidecar takes no more applications: as long as it waits.
const LAST_ANSWER_WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// Close code: no hello, or none that is understood.
const CLOSE_UNWELCOME: u32 = 16;

/// The door through which an application has come.
#[derive(Clone)]
pub(super) enum Door {
    /// The agent's own socket, with its address if that is TCP.
    Own(Option<SocketAddr>),
    /// A sidecar.
    Sidecar(Arc<Beside>),
}

/// What a sidecar has said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beside {
    /// Whether its applications show certificates.
    pub(super) tls: bool,
    listening: Option<SocketAddr>,
    base_url: Option<BaseUrl>,
    purpose: Option<Purpose>,
    service: Option<String>,
}

impl Door {
    /// Where it listens, if that is TCP.
    pub(super) fn listening(&self) -> Option<SocketAddr> {
        match self {
            Self::Own(address) => *address,
            Self::Sidecar(beside) => beside.listening,
        }
    }
}

impl Beside {
    /// None if it says something that is no address.
    fn of(hello: SidecarHello) -> Option<Self> {
        let SidecarHello { tls, listening, base_url, purpose, service, .. } = hello;
        let listening = listening.map(|text| text.parse()).transpose().ok()?;
        let base_url = base_url.map(|text| text.parse()).transpose().ok()?;
        Some(Self { tls, listening, base_url, purpose, service })
    }

    /// What holds for its applications where this holds for the agent's own.
    pub(super) fn settings(&self, agents: IngressSettings) -> IngressSettings {
        let user = match (&self.service, agents.user) {
            (_, by_token @ IngressUser::Token(_)) => by_token,
            (Some(service), _) => IngressUser::Service(service.clone()),
            (None, user) => user,
        };
        let purpose = self.purpose.clone().or(agents.purpose);
        IngressSettings { purpose, base_url: self.base_url.clone(), user, ..agents }
    }
}

/// Serves the applications of all sidecars that connect. Without a receiver nobody does.
pub(super) fn serve(
    connections: Option<mpsc::Receiver<Accepted>>,
    parts: &Arc<IngressParts>,
    shedding: Shedding,
) -> HttpServer {
    let (brought, streams) = mpsc::channel(BROUGHT_MAX);
    let parts = Arc::clone(parts);
    tokio::spawn(async move {
        let Some(mut connections) = connections else { return };
        while let Some(accepted) = connections.recv().await {
            tokio::spawn(attend(accepted, Arc::clone(&parts), brought.clone()));
        }
    });
    HttpServer::brought(streams, HttpLimits::default(), shedding)
}

/// Takes the applications of one sidecar, until its connection ends.
async fn attend(accepted: Accepted, parts: Arc<IngressParts>, brought: mpsc::Sender<Brought>) {
    let (connection, sidecar) = (&accepted.connection, accepted.peer.name.as_str());
    let greeted = timeout(HELLO_WAIT_MAX, greeted(connection, &parts)).await;
    let Some((beside, control)) = greeted.ok().flatten() else {
        tracing::warn!(sidecar, "a sidecar said no hello that is understood");
        connection.close(CLOSE_UNWELCOME.into(), b"no hello");
        return;
    };
    tracing::info!(sidecar, "a sidecar is connected");
    let router = router(Ingress(parts, Door::Sidecar(Arc::new(beside))));
    let (stop, stopping) = watch::channel(None);
    let mut streams = 0_u64;
    let serving = async {
        while let Ok((send, receive)) = connection.accept_bi().await {
            streams = streams.saturating_add(1);
            let stream = Box::new(Carried { receive, send, acknowledged: None });
            let (router, stopping) = (router.clone(), stopping.clone());
            if brought.send(Brought { stream, router, stopping }).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(serving, tell_of_the_end(control, &stop));
    tracing::info!(sidecar, connections = streams, "a sidecar has gone");
    // Its place is free again from here on.
    drop(accepted);
}

/// Hears a hello and answers it; gives the stream on which its end is told.
async fn greeted(connection: &Connection, parts: &IngressParts) -> Option<(Beside, RecvStream)> {
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let hello = read_frame(&mut receive, FRAMES).await.ok()??;
    let hello = decode_value::<SidecarHello>(&hello).ok()?;
    let known = hello.version_min <= VERSION && hello.version_max >= VERSION;
    let beside = Beside::of(hello).filter(|_| known);
    let mesh_id = tally_core::id::MeshId(parts.genesis.leaf_hash());
    let answer = match &beside {
        Some(_) => SidecarAnswer::Welcome(SidecarWelcome { version: VERSION, mesh_id }),
        None => SidecarAnswer::Unwelcome(Unwelcome { why: NotWelcome::VersionUnknown }),
    };
    write_frame(&mut send, &encode(&answer), FRAMES).await.ok()?;
    send.finish().ok()?;
    if beside.is_none() {
        // The answer must arrive before the close does.
        drop(send.stopped().await);
    }
    beside.map(|beside| (beside, receive))
}

/// Once a sidecar takes no more applications, what is idle ends, and the rest after its answer.
async fn tell_of_the_end(mut control: RecvStream, stop: &watch::Sender<Option<Duration>>) {
    // Nothing more is said there: whatever comes is its end, or that of the connection.
    drop(control.read_to_end(0).await);
    stop.send_replace(Some(LAST_ANSWER_WAIT_MAX));
}

/// Resolves once the sidecar has all that was sent, or wants no more of it.
type Acknowledged = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// The connection of an application, on a stream of its sidecar's.
struct Carried {
    receive: RecvStream,
    send: SendStream,
    acknowledged: Option<Acknowledged>,
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, into)
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }

    /// Waits until all has arrived: an agent that ends must not take the last bytes with it.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.acknowledged.is_none() {
            // One that was reset is as much at its end.
            drop(self.send.finish());
            self.acknowledged = Some(Box::pin(self.send.stopped()));
        }
        if let Some(acknowledged) = &mut self.acknowledged {
            drop(ready!(acknowledged.as_mut().poll(context)));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{IngressAddress, TokenSettings};

    fn beside(service: Option<&str>) -> Beside {
        let hello = SidecarHello {
            version_min: 1,
            version_max: 1,
            tls: false,
            listening: Some("127.0.0.1:7601".to_owned()),
            base_url: None,
            purpose: Some("TREAT".parse().unwrap()),
            service: service.map(str::to_owned),
        };
        Beside::of(hello).unwrap()
    }

    fn agents(user: IngressUser) -> IngressSettings {
        IngressSettings {
            listen: IngressAddress::Tcp("127.0.0.1:7601".parse().unwrap()),
            tls: None,
            purpose: Some("HOPERAT".parse().unwrap()),
            base_url: "https://agent.example".parse().ok(),
            user,
        }
    }

    #[test]
    fn a_sidecar_says_what_its_applications_do_not_and_asks_no_less_of_them() {
        let said = beside(Some("pas")).settings(agents(IngressUser::Header));
        assert_eq!(said.purpose.unwrap().to_string(), "TREAT");
        assert_eq!(said.user, IngressUser::Service("pas".to_owned()));
        // Links lead to where its own applications see it, not to where the agent's do.
        assert_eq!(said.base_url, None);
        let nothing = Beside { purpose: None, ..beside(None) };
        let said = nothing.settings(agents(IngressUser::Header));
        assert_eq!(
            (said.purpose.unwrap().to_string().as_str(), said.user),
            ("HOPERAT", IngressUser::Header)
        );
        let by_token = IngressUser::Token(TokenSettings::default());
        assert_eq!(beside(Some("pas")).settings(agents(by_token.clone())).user, by_token);
    }
}
