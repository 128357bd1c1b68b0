//! The agent's certificate, followed while it runs: what of that is told, and where.

use std::sync::Arc;

use tally_core::time::Timestamp;
use tally_net::{Identity, Rotation, TrustStore, Turn};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::AgentConfig;
use crate::ingress::IngressListener;
use crate::metrics::Metrics;

/// All that the agent presents, followed until dropped.
pub(super) struct Certificates {
    own: Certificate,
    /// The ingress's, if it has one.
    of_ingress: Option<Certificate>,
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
            own: Certificate::follow(own, metrics.clone()),
            of_ingress: of_ingress.map(|it| Certificate::follow(it, metrics.clone())),
        }
    }

    /// Reads the files now, whether they look new or not.
    pub(super) fn read_again(&self) {
        self.own.read_again();
        self.of_ingress.iter().for_each(Certificate::read_again);
    }
}

/// Follows a certificate's files until dropped.
struct Certificate {
    again: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Certificate {
    fn follow(rotation: Rotation, metrics: Metrics) -> Self {
        let again = Arc::new(Notify::new());
        let told = move |identity: &Identity, turn: &Turn| {
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
        };
        let task = tokio::spawn(rotation.follow(Arc::clone(&again), told));
        Self { again, task }
    }

    fn read_again(&self) {
        self.again.notify_one();
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When the certificate ends; none if it does not say.
pub(super) fn until(identity: &Identity) -> Option<Timestamp> {
    let until_s = u64::try_from(identity.validity()?.until_s).ok()?;
    Some(Timestamp(until_s.saturating_mul(1000)))
}
