//! Somebody who dials an agent as another member's agent does, and then may say anything.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tally_agent::config::AgentConfig;
use tally_net::endpoint::{ConnectionLimits, client_config, connect, endpoint};
use tally_net::frame::FrameLimits;
use tally_net::quinn::{ClientConfig, Connection, Endpoint};
use tally_net::{
    ConnectError, Expect, Identity, Role, TrustStore, alpn, read_frame, read_genesis, tls,
    write_frame,
};
use tally_tests::dev::Dev;
use tally_wire::encode;
use tally_wire::message::AGENT_FRAME_LEN_MAX;
use tally_wire::message::hello::Hello;
use tokio::time::Duration;

use super::world::PROVIDER;

const FRAMES: FrameLimits =
    FrameLimits { len_max: AGENT_FRAME_LEN_MAX, wait_max: Duration::from_secs(20) };

/// Who dials, and whom.
#[derive(Clone)]
pub(super) struct Peer {
    config: Arc<AgentConfig>,
    quic: ClientConfig,
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddr,
}

impl Peer {
    /// As this member's agent, with its certificate.
    pub(super) fn of(dev: &Dev, member: &str) -> Self {
        Self::dialling(dev, member, true)
    }

    /// Somebody without a certificate.
    pub(super) fn nobody(dev: &Dev, member: &str) -> Self {
        Self::dialling(dev, member, false)
    }

    fn dialling(dev: &Dev, member: &str, certified: bool) -> Self {
        let config = AgentConfig::load(&dev.dir_of(member).join("tally.toml")).unwrap();
        let genesis = read_genesis(&config.genesis, config.mesh_id).unwrap();
        let trust = TrustStore::new(genesis.value().mesh.clone());
        genesis.value().members.iter().for_each(|member| trust.update(member));
        let identity = Identity::load(&config.identity_cert, &config.identity_key).unwrap();
        let provider = Some(PROVIDER.parse().unwrap());
        let expect = Expect { member: provider, role: Role::Agent, name: None };
        let identity = Some(identity).filter(|_| certified);
        let tls = tls::client_config(identity, trust, expect, &[alpn::AGENT]).unwrap();
        let quic = client_config(tls, &ConnectionLimits::default()).unwrap();
        let endpoint = endpoint("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let (config, address) = (Arc::new(config), quic_address(dev));
        Self { config, quic, endpoint, address }
    }

    /// Shakes hands.
    pub(super) async fn connects(&self) -> Result<Connection, ConnectError> {
        self.connects_to(self.address).await
    }

    /// The same, with whoever is there.
    pub(super) async fn connects_to(
        &self,
        address: SocketAddr,
    ) -> Result<Connection, ConnectError> {
        connect(&self.endpoint, self.quic.clone(), address, &ConnectionLimits::default()).await
    }

    /// Says hello, and is welcome.
    pub(super) async fn greets(&self, connection: &Connection) {
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            mesh_id: self.config.mesh_id,
            epoch: 0,
            member: self.config.member.clone(),
            node: None,
            protocol: tally_net::rules::newest(),
            frame_len_max: AGENT_FRAME_LEN_MAX as u64,
        };
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        write_frame(&mut send, &encode(&hello), FRAMES).await.unwrap();
        send.finish().unwrap();
        read_frame(&mut receive, FRAMES).await.unwrap().unwrap();
    }
}

/// Where the provider's agent is dialled.
pub(super) fn quic_address(dev: &Dev) -> SocketAddr {
    let text = fs::read(dev.dir_of(PROVIDER).join("data/bound.json")).unwrap();
    let bound: Value = serde_json::from_slice(&text).unwrap();
    let mut address: SocketAddr = bound["quic"].as_str().unwrap().parse().unwrap();
    if address.ip().is_unspecified() {
        address.set_ip("127.0.0.1".parse().unwrap());
    }
    address
}
