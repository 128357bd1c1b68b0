//! What may change while an agent runs.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Agent, StartError, limits};
use crate::config::{AgentConfig, IngressUser};

impl Agent {
    /// Reads again what may change while it runs: certificate and key.
    pub fn read_again(&self) {
        self.certificates.read_again();
    }

    /// Takes over what may change while it runs, where a key [`reloads`](crate::config::reloads): what requests
    /// that state nothing mean, and quotas. What is in flight goes on.
    pub fn reconfigure(&self, new: &AgentConfig) {
        self.settings.send_modify(|settings| {
            settings.purpose.clone_from(&new.ingress.purpose);
            let by_token = |user: &IngressUser| matches!(user, IngressUser::Token(_));
            if !by_token(&settings.user) && !by_token(&new.ingress.user) {
                settings.user.clone_from(&new.ingress.user);
            }
        });
        let quotas = limits(&new.limits);
        self.users.set_max(quotas.requests_per_user_max);
        self.exchange.set_quotas(&quotas);
    }

    /// Opens the sources as they are configured now; those whose settings are as before stay as they are.
    /// What is in flight goes on with those that it began with.
    ///
    /// # Errors
    /// [`StartError`] if one can't be opened: then all stay as they were.
    pub async fn reopen_sources(&self, new: &AgentConfig) -> Result<(), StartError> {
        let (sources, all) = (Arc::clone(&self.sources), new.sources.clone());
        let opened = spawn_blocking(move || sources.reopen(all)).await;
        Ok(opened.map_err(|why| StartError::Own(why.to_string()))??)
    }
}
