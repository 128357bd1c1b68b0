//! What a node asks its peers beside consensus.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tally_core::time::Timestamp;
use tally_net::frame::read_frame;
use tally_wire::message::hello::NotWelcome;
use tokio::time::timeout;

use super::super::ask::{self, Ask, Stand};
use super::super::codec::Request;
use super::{CallError, Lane, Links, REQUESTS, open, write_pieces};
use crate::frame::Vote;
use crate::published::Which;
use crate::store::StoredEntry;

/// How long a question may take.
const ASK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a peer did not answer, in words.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct AskError {
    text: String,
    /// It does not take us for a node of the mesh.
    stranger: bool,
}

impl AskError {
    fn of(error: &impl std::fmt::Display) -> Self {
        Self { text: error.to_string(), stranger: false }
    }

    /// Whether the peer said that no register names this node.
    #[must_use]
    pub const fn is_stranger(&self) -> bool {
        self.stranger
    }
}

impl Links {
    /// How a node stands in the cluster.
    ///
    /// # Errors
    /// [`AskError`] if it did not say.
    pub async fn stand_of(&self, target: u64) -> Result<Stand, AskError> {
        let answer = self.ask(target, Ask::Stand).await?;
        ask::decode_stand(&answer).map_err(|error| AskError::of(&error))
    }

    /// The last vote that a node has on its disk.
    ///
    /// # Errors
    /// [`AskError`] if it did not say.
    pub async fn vote_of(&self, target: u64) -> Result<Vote, AskError> {
        let answer = self.ask(target, Ask::Vote).await?;
        ask::decode_vote(&answer).map_err(|error| AskError::of(&error))
    }

    /// Entries that a node knows to be committed, from the first of these on: not all of them, if they
    /// are many.
    ///
    /// # Errors
    /// [`AskError`] if it did not say.
    pub async fn entries_of(
        &self,
        target: u64,
        range: Range<u64>,
    ) -> Result<Vec<StoredEntry>, AskError> {
        let answer = self.ask(target, Ask::Entries(range)).await?;
        ask::decode_entries(&answer).map_err(|error| AskError::of(&error))
    }

    /// A checkpoint of this size as a node signs it; none if it has not so many leaves.
    ///
    /// # Errors
    /// [`AskError`] if it did not say.
    pub async fn head_of(&self, target: u64, size: u64) -> Result<Option<Vec<u8>>, AskError> {
        let answer = self.ask(target, Ask::Head(size)).await?;
        ask::decode_head(&answer).map_err(|error| AskError::of(&error))
    }

    /// What a node's wall clock says.
    ///
    /// # Errors
    /// [`AskError`] if it did not say.
    pub async fn clock_of(&self, target: u64) -> Result<Timestamp, AskError> {
        let answer = self.ask(target, Ask::Clock).await?;
        ask::decode_clock(&answer).map_err(|error| AskError::of(&error))
    }

    /// Tells a node to show a checkpoint, once it has checked it.
    ///
    /// # Errors
    /// [`AskError`] if it did not hear.
    pub(crate) async fn show(
        &self,
        target: u64,
        which: Which,
        note: Bytes,
    ) -> Result<(), AskError> {
        self.ask(target, Ask::Show(which, note)).await.map(|_| ())
    }

    async fn ask(&self, target: u64, ask: Ask) -> Result<Vec<u8>, AskError> {
        let exchange = async {
            let (mut send, mut receive) =
                open(&self.connection(target, Lane::Urgent).await?).await?;
            write_pieces(&mut send, Request::Ask(ask).encode()).await?;
            drop(send.finish());
            read_frame(&mut receive, REQUESTS).await?.ok_or(CallError::NoAnswer)
        };
        let answer = timeout(ASK_WAIT_MAX, exchange).await;
        let answer = answer.unwrap_or(Err(CallError::Late(ASK_WAIT_MAX)));
        answer.map_err(|error| AskError {
            stranger: matches!(error, CallError::Unwelcome(NotWelcome::NotAMember)),
            text: format!("node {target}: {error}"),
        })
    }
}
