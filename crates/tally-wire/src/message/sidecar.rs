//! Between a sidecar and its own member's agent. The sidecar dials, opens a stream and sends one
//! [`SidecarHello`]; the agent answers with one [`SidecarAnswer`]. The stream stays open: when the sidecar
//! ends its side of it, it takes no more applications, and the agent ends what is idle.
//!
//! Each further stream is one connection of an application, byte by byte: HTTP/1.1, which the agent alone
//! reads and answers.

use tally_core::id::{MeshId, Purpose};

use super::AGENT_FRAME_LEN_MAX;
use super::hello::Unwelcome;
use crate::codec::{Optional, Text, choice, object};

/// What a sidecar says of itself. Who it is, its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarHello {
    /// The oldest version of these messages that it speaks, from 1.
    pub version_min: u64,
    /// The newest one.
    pub version_max: u64,
    /// Whether its applications show certificates: then other machines may be among them.
    pub tls: bool,
    /// Where it listens for them, as IP:PORT, 1 to 64 bytes; none for a Unix socket.
    pub listening: Option<String>,
    /// Where they see it, if not where it listens, 1 to 256 bytes: links in answers begin with it.
    pub base_url: Option<String>,
    /// The purpose of requests that state none; else as the agent's own ingress says.
    pub purpose: Option<Purpose>,
    /// The application that is the user of all requests, 1 to 128 bytes; else users are known as at the
    /// agent's own ingress.
    pub service: Option<String>,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarAnswer {
    /// Go on.
    Welcome(SidecarWelcome),
    /// The connection ends.
    Unwelcome(Unwelcome),
}

/// Go on, in this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarWelcome {
    /// The version that both speak from here on: the newest that both know.
    pub version: u64,
    /// The agent's mesh.
    pub mesh_id: MeshId,
}

object! { SidecarHello = 63, 1, AGENT_FRAME_LEN_MAX => {
    version_min, version_max, tls,
    listening: Optional<Text<1, 64>>,
    base_url: Optional<Text<1, 256>>,
    purpose,
    service: Optional<Text<1, 128>>,
} }
object! { SidecarWelcome = 64, 1, AGENT_FRAME_LEN_MAX => { version, mesh_id } }

choice! { SidecarAnswer, AGENT_FRAME_LEN_MAX => {
    Welcome(SidecarWelcome), Unwelcome(Unwelcome),
} }
