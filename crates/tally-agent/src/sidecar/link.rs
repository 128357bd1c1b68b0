//! The connection to the member's agent, made again whenever it ends.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tally_core::id::MemberId;
use tally_core::refusal::Refusal;
use tally_core::register::Address;
use tally_net::endpoint::{ConnectionLimits, client_config, endpoint};
use tally_net::frame::{read_frame, write_frame};
use tally_net::quinn::{Connection, Endpoint, SendStream};
use tally_net::{ConnectError, Expect, Identity, Role, TrustStore, alpn, connect, tls};
use tally_wire::message::hello::{NotWelcome, Unwelcome};
use tally_wire::message::sidecar::{SidecarAnswer, SidecarHello};
use tally_wire::{decode_value, encode};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::metrics::{Dialled, SidecarMetrics};
use crate::peers::FRAMES;
use crate::random;

/// The first pause after a dial that failed; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause, which is lengthened by up to half: the sidecars of an agent do not all dial at once.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The agent answers the hello within this time.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long the last words may take to leave.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Close code: done.
const CLOSE_DONE: u32 = 0;

/// What a link is made with.
pub(super) struct LinkSettings {
    pub(super) agent: Address,
    pub(super) member: MemberId,
    pub(super) identity: Identity,
    pub(super) trust: TrustStore,
    pub(super) limits: ConnectionLimits,
    pub(super) hello: watch::Receiver<SidecarHello>,
    pub(super) metrics: SidecarMetrics,
}

/// Whether the agent is there.
#[derive(Debug, Clone)]
pub(super) enum Linked {
    /// It is, as far as is known.
    Up(Connection),
    /// It is not, and so applications are told; none before the first dial has ended.
    Down(Option<Refusal>),
}

/// Keeps the connection until it is dropped.
pub(super) struct Link {
    linked: watch::Receiver<Linked>,
    draining: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    /// Its name leads nowhere.
    #[error("the agent's address can't be resolved")]
    NoSuchHost,
    /// This machine gives no socket.
    #[error("no socket: {0}")]
    Socket(std::io::Error),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It said no.
    #[error("the agent refused the connection: {0:?}")]
    Unwelcome(NotWelcome),
    /// It said nothing, or nonsense.
    #[error("the agent said no hello")]
    Silent,
}

/// A connection on which both have said hello.
struct Greeted {
    endpoint: Endpoint,
    connection: Connection,
    /// Its end says that no more applications come.
    control: SendStream,
}

impl Link {
    /// Must be called in a tokio runtime.
    pub(super) fn start(settings: LinkSettings) -> Self {
        let (told, linked) = watch::channel(Linked::Down(None));
        let (draining, drains) = watch::channel(false);
        let task = tokio::spawn(settings.keep(told, drains));
        Self { linked, draining, task }
    }

    pub(super) fn linked(&self) -> watch::Receiver<Linked> {
        self.linked.clone()
    }

    /// No more applications come.
    pub(super) fn begin_drain(&self) {
        self.draining.send_replace(true);
    }

    /// Ends the connection.
    pub(super) async fn close(mut self) {
        let linked = self.linked.borrow().clone();
        if let Linked::Up(connection) = linked {
            connection.close(CLOSE_DONE.into(), b"done");
        }
        // It ends with the connection, which it has waited for.
        drop(timeout(CLOSE_WAIT_MAX, &mut self.task).await);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LinkSettings {
    /// Until told that no more applications come.
    async fn keep(mut self, told: watch::Sender<Linked>, mut draining: watch::Receiver<bool>) {
        let mut failures = 0_u32;
        // What it said of itself holds no more; what began there goes on.
        let mut before: Option<Greeted> = None;
        loop {
            let hello = self.hello.borrow_and_update().clone();
            let mut greeted = match self.dial(&hello).await {
                Ok(greeted) => greeted,
                Err(why) => {
                    let lives = before.as_ref().is_some_and(Greeted::lives);
                    self.failed(&why, (failures, lives), &told);
                    failures = failures.saturating_add(1);
                    tokio::select! {
                        () = sleep(pause(failures)) => continue,
                        () = drained(&mut draining) => return,
                    }
                }
            };
            failures = 0;
            self.metrics.dialled(Dialled::Connected);
            tracing::info!(agent = %self.agent, "connected to the agent");
            told.send_replace(Linked::Up(greeted.connection.clone()));
            if let Some(mut before) = before.take() {
                drop(before.control.finish());
            }
            tokio::select! {
                why = greeted.connection.closed() => {
                    let why = DialError::from(ConnectError::from(why));
                    tracing::warn!(%why, "the agent is lost");
                    told.send_replace(Linked::Down(Some(why.refusal())));
                }
                changed = self.hello.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    before = Some(greeted);
                }
                () = drained(&mut draining) => {
                    drop(greeted.control.finish());
                    greeted.connection.closed().await;
                    greeted.endpoint.wait_idle().await;
                    return;
                }
            }
        }
    }

    /// Says once for each time that the agent goes away why it does not come back.
    fn failed(
        &self,
        why: &DialError,
        (failures, lives): (u32, bool),
        told: &watch::Sender<Linked>,
    ) {
        let refusal = why.refusal();
        let outcome = match refusal {
            Refusal::SidecarRefused => Dialled::Refused,
            _ => Dialled::Failed,
        };
        self.metrics.dialled(outcome);
        let same = matches!(&*told.borrow(), Linked::Down(Some(before)) if *before == refusal);
        if failures == 0 || !same {
            tracing::warn!(agent = %self.agent, code = refusal.code(), %why, "the agent is not reached");
        }
        if !lives {
            told.send_replace(Linked::Down(Some(refusal)));
        }
    }

    async fn dial(&self, hello: &SidecarHello) -> Result<Greeted, DialError> {
        let found = lookup_host(self.agent.as_str()).await.map_err(|_| DialError::NoSuchHost)?;
        let mut last = DialError::NoSuchHost;
        for address in found.take(ADDRESSES_MAX) {
            match self.dial_at(address, hello).await {
                Ok(greeted) => return Ok(greeted),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn dial_at(
        &self,
        address: SocketAddr,
        hello: &SidecarHello,
    ) -> Result<Greeted, DialError> {
        let unusable = |error: String| DialError::Connect(ConnectError::Unusable(error));
        let expect = Expect { member: Some(self.member.clone()), role: Role::Agent, name: None };
        let (identity, trust) = (Some(self.identity.clone()), self.trust.clone());
        let tls = tls::client_config(identity, trust, expect, &[alpn::SIDECAR])
            .map_err(|error| unusable(error.to_string()))?;
        let config =
            client_config(tls, &self.limits).map_err(|error| unusable(error.to_string()))?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = endpoint(any, None).map_err(DialError::Socket)?;
        let connection = connect(&endpoint, config, address, &self.limits).await?;
        let greeted = timeout(HELLO_WAIT_MAX, greet(&connection, hello)).await;
        let control = greeted.map_err(|_| DialError::Silent)??;
        Ok(Greeted { endpoint, connection, control })
    }
}

impl Greeted {
    fn lives(&self) -> bool {
        self.connection.close_reason().is_none()
    }
}

impl DialError {
    /// As applications are told.
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Connect(ConnectError::Identity(_) | ConnectError::Protocol)
            | Self::Unwelcome(_) => Refusal::SidecarRefused,
            _ => Refusal::AgentUnreachable,
        }
    }
}

/// Says hello, and hears the answer.
async fn greet(connection: &Connection, hello: &SidecarHello) -> Result<SendStream, DialError> {
    // Where the agent has closed the connection meanwhile, it has said why.
    let gone = || match connection.close_reason() {
        Some(why) => DialError::from(ConnectError::from(why)),
        None => DialError::Silent,
    };
    let (mut send, mut receive) = connection.open_bi().await.map_err(|_| gone())?;
    write_frame(&mut send, &encode(hello), FRAMES).await.map_err(|_| gone())?;
    let answer = read_frame(&mut receive, FRAMES).await.ok().flatten().ok_or_else(gone)?;
    match decode_value::<SidecarAnswer>(&answer) {
        Ok(SidecarAnswer::Welcome(_)) => Ok(send),
        Ok(SidecarAnswer::Unwelcome(Unwelcome { why })) => Err(DialError::Unwelcome(why)),
        Err(_) => Err(DialError::Silent),
    }
}

/// Waits until it is true. Who asks has gone when nobody can say so any more.
async fn drained(what: &mut watch::Receiver<bool>) {
    drop(what.wait_for(|what| *what).await);
}

fn pause(failures: u32) -> Duration {
    let pause = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(PAUSE_MAX);
    // Without randomness all are as long.
    let [share] = random::bytes::<1>().unwrap_or_default();
    pause + pause.saturating_mul(share.into()) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        assert!((PAUSE_MIN..PAUSE_MIN * 2).contains(&pause(1)));
        assert!((PAUSE_MAX..PAUSE_MAX * 2).contains(&pause(u32::MAX)));
    }
}
