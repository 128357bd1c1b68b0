//! The stream on which the ledger asks a witness to cosign: the witness dials out, so that no member
//! has to open a port for it.

use std::time::Duration;

use quinn::{RecvStream, SendStream};
use tally_core::id::NodeId;
use tally_wire::message::ledger::{NotLeader, QueryRefusal, QueryRefused};
use tally_wire::message::witness::{ToWitness, WitnessAnswer, WitnessAsk, WitnessStart};

use super::link::{Link, LinkError};
use super::{LedgerAddress, LedgerConfig};

/// A stream on which nothing is asked for so long is opened anew: an idle ledger has nothing to ask,
/// and neither has a node that leads no more and did not say so.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A stream on which a node asks.
#[derive(Debug)]
pub struct WitnessStream {
    link: Link,
    send: SendStream,
    receive: RecvStream,
}

/// Why a node asks no more.
#[derive(Debug, thiserror::Error)]
pub enum WitnessEnd {
    /// It does not lead: this one does, if it is known.
    #[error("the node does not lead")]
    NotLeader(Option<NodeId>),
    /// The `witnesses` register, as the node knows it, does not name this key with this member.
    #[error("the node does not know this witness: {0:?}")]
    Refused(QueryRefusal),
    /// It asked nothing for so long that the stream is better opened anew.
    #[error("the node asks nothing")]
    Idle,
    /// It ended the stream.
    #[error("the node ended the stream")]
    Gone,
    /// The connection broke.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl WitnessStream {
    /// Dials a node and offers to cosign with the key of this name. Whether the node wants that shows
    /// with [`next`](Self::next).
    ///
    /// # Errors
    /// [`WitnessEnd`] if there is no connection.
    pub async fn open(
        config: &LedgerConfig,
        to: LedgerAddress,
        vkey: &str,
    ) -> Result<Self, WitnessEnd> {
        let link = Link::dial(config, to).await?;
        let (mut send, receive) = link.open().await?;
        link.write(&mut send, &WitnessStart { vkey: vkey.to_owned() }).await?;
        Ok(Self { link, send, receive })
    }

    /// Which node it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.link.node()
    }

    /// The next thing that the node asks.
    ///
    /// # Errors
    /// [`WitnessEnd`] says why there will be none.
    pub async fn next(&mut self) -> Result<WitnessAsk, WitnessEnd> {
        let read = self.link.read::<ToWitness>(&mut self.receive);
        let read = tokio::time::timeout(SILENCE_MAX, read).await;
        match read.map_err(|_| WitnessEnd::Idle)?? {
            Some(ToWitness::Ask(ask)) => Ok(ask),
            Some(ToWitness::NotLeader(NotLeader { leader, .. })) => {
                Err(WitnessEnd::NotLeader(leader))
            }
            Some(ToWitness::Refused(QueryRefused { why })) => Err(WitnessEnd::Refused(why)),
            None => Err(WitnessEnd::Gone),
        }
    }

    /// Answers what was asked.
    ///
    /// # Errors
    /// [`WitnessEnd`] if the node does not take it.
    pub async fn answer(&mut self, answer: &WitnessAnswer) -> Result<(), WitnessEnd> {
        Ok(self.link.write(&mut self.send, answer).await?)
    }
}

impl Drop for WitnessStream {
    fn drop(&mut self) {
        self.link.close();
    }
}
