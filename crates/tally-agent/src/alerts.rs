//! Alerts to this member's privacy officers: that somebody broke the glass, or was released a record on
//! a relationship that they alone claim, and where to look.
//!
//! Invariant: an alert holds a reference and no person, user or reason. It is given at least once: it
//! waits in the store, from the same transaction on in which the mirror heard of the access, until it
//! stands in the file and the webhook has taken it. A restart loses none.

mod file;
mod webhook;

pub use webhook::{BadWebhook, Webhook};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tally_core::id::MemberId;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::clock::wall;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::store::{GlassCounts, OwedAlert, Store, StoreError};
use webhook::Caller;

/// The file of alerts in the agent's data directory: JSON lines, only ever added to.
pub const FILE: &str = "alerts.jsonl";

/// Alerts that are in memory at once; the rest waits in the store.
const TOGETHER_MAX: u32 = 64;
/// A webhook takes an alert within this time.
const SEND_WAIT_MAX: Duration = Duration::from_secs(5);
/// The first pause after a webhook that did not; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// The longest pause: the officers hear within this time of a webhook that is back.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often is looked at what became overdue meanwhile.
const LOOK: Duration = Duration::from_secs(10);

/// Where alerts go, and when a review is due.
pub(crate) struct AlertSettings {
    pub(crate) data_dir: PathBuf,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) review_wait_max: Duration,
}

/// What waits, for whoever measures. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct GlassWatch(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    open: AtomicU64,
    overdue: AtomicU64,
    alerts: AtomicU64,
}

/// The task that gives alerts. Dropped, it ends at once; what waits is given after the next start.
pub(crate) struct Alerts {
    task: JoinHandle<()>,
    watch: GlassWatch,
}

/// One alert, as officers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    tally: u8,
    alert: &'static str,
    /// Whose officers are alerted.
    member: String,
    exchange: String,
    leaf: u64,
    at: String,
    provider: String,
    requester: String,
}

impl Alert {
    fn of(member: &MemberId, access: &OwedAlert) -> Self {
        Self {
            tally: 1,
            alert: access.kind.word(),
            member: member.to_string(),
            exchange: access.exchange.to_string(),
            leaf: access.leaf.0,
            at: access.at.rfc3339(),
            provider: access.provider.to_string(),
            requester: access.requester.to_string(),
        }
    }

    fn line(&self) -> Vec<u8> {
        // Texts and numbers always have a JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl GlassWatch {
    /// What waited when it was last looked at.
    #[must_use]
    pub fn counts(&self) -> GlassCounts {
        GlassCounts {
            open: self.0.open.load(Ordering::Relaxed),
            overdue: self.0.overdue.load(Ordering::Relaxed),
            alerts_waiting: self.0.alerts.load(Ordering::Relaxed),
        }
    }

    fn set(&self, counts: GlassCounts) {
        self.0.open.store(counts.open, Ordering::Relaxed);
        self.0.overdue.store(counts.overdue, Ordering::Relaxed);
        self.0.alerts.store(counts.alerts_waiting, Ordering::Relaxed);
    }
}

impl Alerts {
    /// Gives what waits, and from then on whatever the mirror hears of. Must be called in a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`BadWebhook`] if its certificates can't be read.
    pub(crate) fn start(
        settings: AlertSettings,
        store: Store,
        recorder: Recorder,
        metrics: Metrics,
    ) -> Result<Self, BadWebhook> {
        let watch = GlassWatch::default();
        let caller = settings.webhook.as_ref().map(Caller::new).transpose()?;
        let giver = Giver {
            file: settings.data_dir.join(FILE),
            caller,
            review_wait_max: settings.review_wait_max,
            store,
            recorder,
            metrics,
            watch: watch.clone(),
        };
        Ok(Self { task: tokio::spawn(giver.run()), watch })
    }

    pub(crate) fn watch(&self) -> GlassWatch {
        self.watch.clone()
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Giver {
    file: PathBuf,
    caller: Option<Caller>,
    review_wait_max: Duration,
    store: Store,
    recorder: Recorder,
    metrics: Metrics,
    watch: GlassWatch,
}

impl Giver {
    async fn run(self) {
        let mut wait = RETRY_WAIT;
        loop {
            let all_given = match self.give().await {
                Ok(all_given) => all_given,
                Err(error) => {
                    tracing::error!(%error, "alerts can't be read or marked as given");
                    false
                }
            };
            if let Err(error) = self.look().await {
                tracing::error!(%error, "what waits for a review can't be counted");
            }
            let pause = if all_given { LOOK } else { wait };
            wait = if all_given { RETRY_WAIT } else { wait.saturating_mul(2).min(RETRY_WAIT_MAX) };
            // A new access is told at once, however long the webhook has been away.
            drop(timeout(pause, self.recorder.alerted()).await);
        }
    }

    /// Whether nothing waits any more.
    async fn give(&self) -> Result<bool, StoreError> {
        loop {
            let waiting = self.store.alerts(TOGETHER_MAX).await?;
            if waiting.is_empty() {
                return Ok(true);
            }
            let written = self.write(&waiting).await?;
            let sent = self.send(&waiting).await?;
            if !(written && sent) {
                return Ok(false);
            }
        }
    }

    /// Into the file: all of them, whatever the webhook does.
    async fn write(&self, waiting: &[OwedAlert]) -> Result<bool, StoreError> {
        let new = waiting.iter().filter(|access| !access.filed);
        let leaves: Vec<_> = new.clone().map(|access| access.leaf).collect();
        if leaves.is_empty() {
            return Ok(true);
        }
        let lines: Vec<u8> =
            new.flat_map(|access| Alert::of(self.store.member(), access).line()).collect();
        let path = self.file.clone();
        let written = spawn_blocking(move || file::append(&path, &lines)).await;
        let written = written.map_err(std::io::Error::other).and_then(|written| written);
        if let Err(error) = written {
            self.metrics.alert_failed();
            tracing::error!(%error, "the file of alerts can't be written");
            return Ok(false);
        }
        self.store.alerts_filed(leaves).await?;
        Ok(true)
    }

    /// To the webhook, one after another. The first that it does not take is tried again first.
    async fn send(&self, waiting: &[OwedAlert]) -> Result<bool, StoreError> {
        for access in waiting.iter().filter(|access| !access.sent) {
            if let Some(caller) = &self.caller {
                let alert = Alert::of(self.store.member(), access);
                let sent = timeout(SEND_WAIT_MAX, caller.post(alert.line())).await;
                let why = match sent {
                    Ok(Ok(())) => None,
                    Ok(Err(why)) => Some(why.to_string()),
                    Err(_) => Some("no answer in time".to_owned()),
                };
                if let Some(why) = why {
                    self.metrics.alert_failed();
                    let exchange = access.exchange;
                    tracing::warn!(%exchange, why, "the webhook did not take an alert");
                    return Ok(false);
                }
            }
            self.store.alert_sent(access.leaf).await?;
            let (exchange, leaf) = (access.exchange, access.leaf.0);
            tracing::warn!(%exchange, leaf, alert = access.kind.word(), "officers are alerted");
        }
        Ok(true)
    }

    async fn look(&self) -> Result<(), StoreError> {
        let due = wall().before(self.review_wait_max);
        self.watch.set(self.store.glass_counts(due).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
