//! Dialling a member's agent, and dialling again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tally_core::id::MemberId;
use tally_core::refusal::Refusal;
use tally_core::register::{Address, MemberStatus};
use tally_net::endpoint::{client_config, peer};
use tally_net::listener::watch;
use tally_net::quinn::{Connection, ConnectionError};
use tally_net::{ConnectError, Expect, Role, alpn, connect, tls};
use tally_wire::message::hello::NotWelcome;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep};

use super::room::Roomy;
use super::{Peers, Slot};

/// The first pause after a dial that failed; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause. Whoever asks meanwhile hears at once that the member is not reached.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a member that only dials out looks whether its connections are there.
const KEEP_WAIT: Duration = Duration::from_secs(2);

/// Why a member's agent is not reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// The registers name no address of it, and it has not dialled.
    #[error("the member's agent has no address, and is not connected")]
    NoAddress,
    /// Its address leads nowhere.
    #[error("the address of the member's agent can't be resolved")]
    NoSuchHost,
    /// A dial has failed just now.
    #[error("the member's agent could not be reached a moment ago")]
    Resting,
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not want us.
    #[error("the member's agent refused the connection: {0:?}")]
    Unwelcome(NotWelcome),
    /// It said nothing, or nonsense.
    #[error("the member's agent said no hello")]
    Silent,
}

/// How the last dials went.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    failures: u32,
    not_before: Option<Instant>,
}

impl Unreached {
    pub(super) fn lost(error: ConnectionError) -> Self {
        Self::Connect(ConnectError::from(error))
    }

    /// As the requester's half says it.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Unwelcome(NotWelcome::VersionUnknown) | Self::Connect(ConnectError::Protocol) => {
                Refusal::VersionUnknown
            }
            _ => Refusal::Unreachable,
        }
    }
}

impl Peers {
    /// The connection that somebody else has dialled meanwhile, or a new one.
    pub(super) async fn dial(
        &self,
        member: &MemberId,
        slot: &Arc<Slot>,
    ) -> Result<Roomy, Unreached> {
        let mut dialling = slot.dialling.lock().await;
        if let Some(roomy) = slot.live() {
            return Ok(roomy);
        }
        if dialling.not_before.is_some_and(|until| Instant::now() < until) {
            return Err(Unreached::Resting);
        }
        match self.dial_once(member).await {
            Ok(connection) => {
                *dialling = Dialling::default();
                let roomy = slot.add(&connection, self.0.settings.connection);
                let (peers, member) = (self.clone(), member.clone());
                tokio::spawn(async move { peers.serve(connection, member).await });
                Ok(roomy)
            }
            Err(why) => {
                let pause = PAUSE_MIN.saturating_mul(1 << dialling.failures.min(8)).min(PAUSE_MAX);
                dialling.failures = dialling.failures.saturating_add(1);
                dialling.not_before = Some(Instant::now() + pause);
                Err(why)
            }
        }
    }

    async fn dial_once(&self, member: &MemberId) -> Result<Connection, Unreached> {
        let settings = &self.0.settings;
        let unusable = |error: String| Unreached::Connect(ConnectError::Unusable(error));
        let known = self.0.replica.known();
        let record = known.registers.member(member);
        let address = record.and_then(|record| record.address.clone());
        let address = resolve(&address.ok_or(Unreached::NoAddress)?).await?;
        let expect = Expect { member: Some(member.clone()), role: Role::Agent, name: None };
        let (identity, trust) = (Some(settings.identity.clone()), settings.trust.clone());
        let tls = tls::client_config(identity, trust, expect, &[alpn::AGENT])
            .map_err(|error| unusable(error.to_string()))?;
        let config = client_config(tls, &settings.connection)
            .map_err(|error| unusable(error.to_string()))?;
        // From before the handshake on: what changes during it must not be missed.
        let changes = settings.trust.changes();
        let connection = connect(&self.0.endpoint, config, address, &settings.connection).await?;
        let peer = peer(&connection).map_err(ConnectError::Identity)?;
        self.greet(&connection).await?;
        watch(settings.trust.clone(), connection.clone(), peer, changes);
        Ok(connection)
    }

    /// A member that has no address keeps connections to all who have one: they can ask it only over
    /// those.
    pub(super) async fn keep_connected(self) {
        let me = &self.0.settings.member;
        loop {
            let known = self.0.replica.known();
            let own = known.registers.member(me);
            let dials_out = own.is_some_and(|record| record.address.is_none());
            let others = known.registers.members().filter(|record| {
                record.id != *me
                    && record.address.is_some()
                    && record.status == MemberStatus::Active
            });
            let others: Vec<_> = others.map(|record| record.id.clone()).collect();
            drop(known);
            if dials_out {
                for member in others {
                    let slot = self.slot(&member);
                    if slot.live().is_none() {
                        let peers = self.clone();
                        // Who is not reached now is dialled again the next time round.
                        tokio::spawn(async move { drop(peers.dial(&member, &slot).await) });
                    }
                }
            }
            tokio::select! {
                () = sleep(KEEP_WAIT) => {}
                () = self.0.incoming.closed() => return,
            }
        }
    }
}

async fn resolve(address: &Address) -> Result<SocketAddr, Unreached> {
    let found = lookup_host(address.as_str()).await;
    let mut found = found.map_err(|_| Unreached::NoSuchHost)?;
    found.next().ok_or(Unreached::NoSuchHost)
}
