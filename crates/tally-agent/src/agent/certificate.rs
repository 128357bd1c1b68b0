//! The agent's certificate, followed while it runs: what of that is told, and where.

use tally_core::time::Timestamp;
use tally_net::{Following, Identity, Rotation, TrustStore, Turn};

use crate::config::AgentConfig;
use crate::ingress::IngressListener;
use crate::metrics::Metrics;

/// All that the agent presents, followed until dropped.
pub(super) struct Certificates {
    own: Following,
    /// The ingress's, if it has one.
    of_ingress: Option<Following>,
}

impl Certificates {
    pub(super) fn follow(
        config: &AgentConfig,
        (identity, trust): (Identity, TrustStore),
        ingress: &IngressListener,
        metrics: &Metrics,
    ) -> Self {
        let (cert, key) = (&config.identity_cert, &config.identity_key);
        let own = Rotation::new(identity, cert, key, trust);
        let of_ingress = ingress.rotation(&config.ingress);
        Self {
            own: follow(own, metrics.clone()),
            of_ingress: of_ingress.map(|it| follow(it, metrics.clone())),
        }
    }

    /// Reads the files now, whether they look new or not.
    pub(super) fn read_again(&self) {
        let all = std::iter::once(&self.own).chain(&self.of_ingress);
        all.for_each(|certificate| certificate.again().notify_one());
    }
}

fn follow(rotation: Rotation, metrics: Metrics) -> Following {
    rotation.start(move |identity, turn| {
        metrics.certificate_turned(turn);
        match turn {
            Turn::Same => {}
            Turn::Replaced => {
                let until = until(identity).map(Timestamp::rfc3339).unwrap_or_default();
                tracing::info!(%until, "another certificate is presented from here on");
            }
            Turn::Kept(why) => {
                tracing::warn!(%why, "the new certificate is not used: the old one goes on");
            }
        }
    })
}

/// When the certificate ends; none if it does not say.
pub(super) fn until(identity: &Identity) -> Option<Timestamp> {
    let until_s = u64::try_from(identity.validity()?.until_s).ok()?;
    Some(Timestamp(until_s.saturating_mul(1000)))
}
