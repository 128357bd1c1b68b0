//! A connection to one ledger node that has said hello, and queries over it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tally_core::id::NodeId;
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome};
use tally_wire::message::ledger::{Query, QueryAnswer};
use tally_wire::{DecodeError, Object, decode_value, encode};
use tokio::time::timeout;

use super::{LedgerAddress, LedgerConfig};
use crate::alpn;
use crate::endpoint::{ConnectError, client_config, connect, endpoint, peer};
use crate::frame::{FrameError, FrameLimits, read_frame, write_frame};
use crate::identity::{IdentityError, Role};
use crate::rules;
use crate::tls::{self, Expect};
use crate::trust::TrustStore;

/// Frames to and from a ledger node.
pub(super) const FRAMES: FrameLimits =
    FrameLimits { len_max: LEDGER_FRAME_LEN_MAX, wait_max: Duration::from_secs(5) };

/// A connection to one ledger node.
#[derive(Debug, Clone)]
pub struct Link {
    connection: Connection,
    node: NodeId,
    protocol: u64,
    answer_wait_max: Duration,
    // Dropped last: the connection lives on the endpoint's socket.
    _endpoint: Endpoint,
}

/// Why a node can't be talked to.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error("ledger node {node}: {error}")]
    Connect {
        /// Which node.
        node: NodeId,
        /// Why.
        error: ConnectError,
    },
    /// It does not want us.
    #[error("ledger node {node} refused the connection: {why:?}")]
    Unwelcome {
        /// Which node.
        node: NodeId,
        /// Why.
        why: NotWelcome,
    },
    /// The stream broke.
    #[error("ledger node {node}: {error}")]
    Frame {
        /// Which node.
        node: NodeId,
        /// How.
        error: FrameError,
    },
    /// It said something that is no message.
    #[error("ledger node {node} sent something that is no message: {error}")]
    Malformed {
        /// Which node.
        node: NodeId,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// It did not answer in time, or ended the stream without an answer.
    #[error("ledger node {node} did not answer")]
    NoAnswer {
        /// Which node.
        node: NodeId,
    },
    /// Our own configuration can't be used.
    #[error("can't connect to the ledger: {0}")]
    Unusable(String),
}

impl Link {
    /// Dials a node, checks that it is that node, and says hello.
    ///
    /// # Errors
    /// [`LinkError`] says why there is no link.
    pub async fn dial(config: &LedgerConfig, to: LedgerAddress) -> Result<Self, LinkError> {
        let mut link = Self::reach(config, to).await?;
        link.greet(config).await?;
        Ok(link)
    }

    /// Dials a node and checks that it is that node. It is still to be greeted.
    pub(super) async fn reach(config: &LedgerConfig, to: LedgerAddress) -> Result<Self, LinkError> {
        let LedgerAddress { node, address } = to;
        let expect = Expect { member: None, role: Role::Ledger, name: Some(node.to_string()) };
        let unusable = |error: &dyn std::fmt::Display| LinkError::Unusable(error.to_string());
        let identity = Some(config.identity.clone());
        let tls = tls::client_config(identity, config.trust.clone(), expect, &[alpn::LEDGER])
            .map_err(|error| unusable(&error))?;
        let limits = &config.limits.connection;
        let quic = client_config(tls, limits).map_err(|error| unusable(&error))?;
        let local = endpoint(unspecified(address), None).map_err(|error| unusable(&error))?;
        let connection = connect(&local, quic, address, limits)
            .await
            .map_err(|error| LinkError::Connect { node, error })?;
        let answer_wait_max = config.limits.query_wait_max;
        Ok(Self { connection, node, protocol: 0, answer_wait_max, _endpoint: local })
    }

    /// Why the node has ended the connection, if it says that it is for whom it was told it talks to. Only
    /// of a node that the registers name: any member's CA can issue a certificate that says ledger node.
    pub(super) fn turned_away(&self, trust: &TrustStore) -> Option<IdentityError> {
        if !peer(&self.connection).is_ok_and(|who| trust.is_node(&who)) {
            return None;
        }
        match self.connection.close_reason()? {
            theirs @ (ConnectionError::ConnectionClosed(_)
            | ConnectionError::ApplicationClosed(_)) => match ConnectError::from(theirs) {
                ConnectError::Identity(why) => Some(why),
                _ => None,
            },
            _ => None,
        }
    }

    /// The newest version of the rules that the node says it knows.
    #[must_use]
    pub const fn protocol(&self) -> u64 {
        self.protocol
    }

    /// Which node it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Asks one question.
    ///
    /// # Errors
    /// [`LinkError`] if there is no answer; an answer may still say no.
    pub async fn ask(&self, query: &Query) -> Result<QueryAnswer, LinkError> {
        let (mut send, mut receive) = self.open().await?;
        self.write(&mut send, query).await?;
        // A node that has stopped the stream has answered, or will not.
        drop(send.finish());
        self.read_within(&mut receive).await
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.connection.close(0_u32.into(), b"done");
    }

    pub(super) async fn open(&self) -> Result<(SendStream, RecvStream), LinkError> {
        let node = self.node;
        let opened = timeout(self.answer_wait_max, self.connection.open_bi()).await;
        opened
            .map_err(|_| LinkError::NoAnswer { node })?
            .map_err(|error| LinkError::Connect { node, error: ConnectError::from(error) })
    }

    pub(super) async fn write<T: Object>(
        &self,
        stream: &mut SendStream,
        message: &T,
    ) -> Result<(), LinkError> {
        self.send(stream, &encode(message)).await
    }

    /// Sends a message. A node that takes nothing for as long as it may take to answer is as good as
    /// silent: whoever waited for it would never ask another.
    pub(super) async fn send(
        &self,
        stream: &mut SendStream,
        frame: &[u8],
    ) -> Result<(), LinkError> {
        let written = timeout(self.answer_wait_max, write_frame(stream, frame, FRAMES)).await;
        let silent = |_| LinkError::NoAnswer { node: self.node };
        written.map_err(silent)?.map_err(|error| self.broken(error))
    }

    /// The next message, however long it takes; none if the node ended the stream.
    pub(super) async fn read<T: Object>(
        &self,
        stream: &mut RecvStream,
    ) -> Result<Option<T>, LinkError> {
        let frame = read_frame(stream, FRAMES).await.map_err(|error| self.broken(error))?;
        let node = self.node;
        let decoded = frame.map(|bytes| decode_value(&bytes)).transpose();
        decoded.map_err(|error| LinkError::Malformed { node, error })
    }

    pub(super) fn broken(&self, error: FrameError) -> LinkError {
        // What closed the connection says more than what the stream saw of it.
        match self.connection.close_reason() {
            Some(reason) => {
                LinkError::Connect { node: self.node, error: ConnectError::from(reason) }
            }
            None => LinkError::Frame { node: self.node, error },
        }
    }

    async fn read_within<T: Object>(&self, stream: &mut RecvStream) -> Result<T, LinkError> {
        let silent = || LinkError::NoAnswer { node: self.node };
        let read = timeout(self.answer_wait_max, self.read(stream)).await.map_err(|_| silent())?;
        read?.ok_or_else(silent)
    }

    /// Says hello, and learns which rules the node knows.
    pub(super) async fn greet(&mut self, config: &LedgerConfig) -> Result<(), LinkError> {
        let (mut send, mut receive) = self.open().await?;
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            mesh_id: config.mesh_id,
            epoch: config.epoch,
            member: config.member.clone(),
            node: None,
            protocol: rules::newest(),
            frame_len_max: u64::try_from(LEDGER_FRAME_LEN_MAX).unwrap_or(u64::MAX),
        };
        self.write(&mut send, &hello).await?;
        drop(send.finish());
        match self.read_within(&mut receive).await? {
            HelloAnswer::Welcome(welcome) if welcome.epoch == config.epoch => {
                self.protocol = welcome.protocol;
                Ok(())
            }
            HelloAnswer::Welcome(welcome) => {
                let passed = welcome.epoch > config.epoch;
                let why = if passed { NotWelcome::EpochPassed } else { NotWelcome::EpochUnknown };
                Err(LinkError::Unwelcome { node: self.node, why })
            }
            HelloAnswer::Unwelcome(answer) => {
                Err(LinkError::Unwelcome { node: self.node, why: answer.why })
            }
        }
    }
}

fn unspecified(towards: SocketAddr) -> SocketAddr {
    match towards {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
