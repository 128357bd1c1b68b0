//! Hello, from both ends.

use std::time::Duration;

use tally_net::SpiffeId;
use tally_net::frame::{read_frame, write_frame};
use tally_net::quinn::Connection;
use tally_wire::message::AGENT_FRAME_LEN_MAX;
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome, Unwelcome, Welcome};
use tally_wire::{decode_value, encode};
use tokio::time::timeout;

use std::sync::atomic::Ordering;

use super::dial::Unreached;
use super::{FRAMES, Peers};

/// Both have said hello within this time, or the connection ends.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);
/// Close code: unwelcome, as the answer to the hello said.
const CLOSE_UNWELCOME: u32 = 16;
/// The version of these messages that is spoken.
const VERSION: u64 = 1;

impl Peers {
    /// Says hello on a connection that this side has dialled.
    pub(super) async fn greet(&self, connection: &Connection) -> Result<(), Unreached> {
        let greeted = timeout(HELLO_WAIT_MAX, self.say_hello(connection)).await;
        let greeted = greeted.unwrap_or(Err(Unreached::Silent));
        if greeted.is_err() {
            connection.close(CLOSE_UNWELCOME.into(), b"no hello");
        }
        greeted
    }

    async fn say_hello(&self, connection: &Connection) -> Result<(), Unreached> {
        let settings = &self.0.settings;
        let (mut send, mut receive) = connection.open_bi().await.map_err(Unreached::lost)?;
        let hello = Hello {
            version_min: VERSION,
            version_max: VERSION,
            mesh_id: settings.mesh_id,
            epoch: settings.epoch,
            member: settings.member.clone(),
            node: None,
            protocol: tally_net::rules::newest(),
            frame_len_max: u64::try_from(AGENT_FRAME_LEN_MAX).unwrap_or(u64::MAX),
        };
        write_frame(&mut send, &encode(&hello), FRAMES).await.map_err(|_| Unreached::Silent)?;
        // A peer that has stopped the stream says why in its answer.
        drop(send.finish());
        let answer = read_frame(&mut receive, FRAMES).await.ok().flatten();
        let answer = answer.ok_or(Unreached::Silent)?;
        match decode_value::<HelloAnswer>(&answer) {
            Ok(HelloAnswer::Welcome(_)) => Ok(()),
            Ok(HelloAnswer::Unwelcome(Unwelcome { why })) => Err(Unreached::Unwelcome(why)),
            Err(_) => Err(Unreached::Unwelcome(NotWelcome::VersionUnknown)),
        }
    }

    /// Hears and answers the hello of a peer that has dialled; none if the connection ends.
    pub(super) async fn greeted(&self, connection: &Connection, peer: &SpiffeId) -> Option<()> {
        let greeted = timeout(HELLO_WAIT_MAX, self.answer_hello(connection, peer)).await;
        let welcome = greeted.ok().flatten();
        if welcome.is_none() {
            connection.close(CLOSE_UNWELCOME.into(), b"unwelcome");
        }
        welcome
    }

    async fn answer_hello(&self, connection: &Connection, peer: &SpiffeId) -> Option<()> {
        let (mut send, mut receive) = connection.accept_bi().await.ok()?;
        let hello = read_frame(&mut receive, FRAMES).await.ok()??;
        let hello = decode_value::<Hello>(&hello).ok()?;
        let refusal = self.refuse(&hello, peer);
        let settings = &self.0.settings;
        let answer = match refusal {
            Some(why) => HelloAnswer::Unwelcome(Unwelcome { why }),
            None => HelloAnswer::Welcome(Welcome {
                version: VERSION,
                epoch: settings.epoch,
                member: settings.member.clone(),
                node: None,
                protocol: tally_net::rules::newest(),
                frame_len_max: u64::try_from(AGENT_FRAME_LEN_MAX).unwrap_or(u64::MAX),
            }),
        };
        write_frame(&mut send, &encode(&answer), FRAMES).await.ok()?;
        send.finish().ok()?;
        if refusal.is_some() {
            // The answer must arrive before the close does.
            drop(send.stopped().await);
            return None;
        }
        Some(())
    }

    fn refuse(&self, hello: &Hello, peer: &SpiffeId) -> Option<NotWelcome> {
        let settings = &self.0.settings;
        if hello.version_min > VERSION || hello.version_max < VERSION {
            Some(NotWelcome::VersionUnknown)
        } else if hello.mesh_id != settings.mesh_id {
            Some(NotWelcome::WrongMesh)
        } else if hello.epoch < settings.epoch {
            Some(NotWelcome::EpochPassed)
        } else if hello.epoch > settings.epoch {
            Some(NotWelcome::EpochUnknown)
        } else if hello.member != peer.member || hello.node.is_some() {
            Some(NotWelcome::NotAMember)
        } else if self.0.draining.load(Ordering::Relaxed) {
            Some(NotWelcome::Draining)
        } else {
            None
        }
    }
}
