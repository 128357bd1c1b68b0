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
use tally_core::id::{ExchangeId, MemberId};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::clock::wall;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::store::{Emergency, GlassCounts, OwedAlert, Store, StoreError, Way};
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
    late: AtomicU64,
    promises: AtomicU64,
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
    /// Where its entry is; none if that is owed still.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<u64>,
    /// Released before the ledger had its entry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
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
            leaf: Some(access.leaf.0),
            late: false,
            at: access.at.rfc3339(),
            provider: access.provider.to_string(),
            requester: access.requester.to_string(),
        }
    }

    /// Of an emergency whose entry is owed: once it is there, it alerts again and says where.
    fn of_emergency(member: &MemberId, emergency: &Emergency) -> Self {
        Self {
            tally: 1,
            alert: "break-glass",
            member: member.to_string(),
            exchange: emergency.exchange.to_string(),
            leaf: None,
            late: true,
            at: emergency.at.rfc3339(),
            provider: emergency.provider.to_string(),
            requester: emergency.requester.to_string(),
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
            late_owed: self.0.late.load(Ordering::Relaxed),
            promises_owed: self.0.promises.load(Ordering::Relaxed),
        }
    }

    fn set(&self, counts: GlassCounts) {
        self.0.open.store(counts.open, Ordering::Relaxed);
        self.0.overdue.store(counts.overdue, Ordering::Relaxed);
        self.0.alerts.store(counts.alerts_waiting, Ordering::Relaxed);
        self.0.late.store(counts.late_owed, Ordering::Relaxed);
        self.0.promises.store(counts.promises_owed, Ordering::Relaxed);
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
            metrics,
            watch: watch.clone(),
        };
        Ok(Self { task: tokio::spawn(giver.run(recorder.alerts())), watch })
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
    metrics: Metrics,
    watch: GlassWatch,
}

impl Giver {
    /// Two go side by side: a webhook that takes its time keeps nothing from the file.
    async fn run(self, news: Arc<Notify>) {
        let filed = Notify::new();
        let file = self.by_turns(Way::File, &news, &filed);
        let send = self.by_turns(Way::Webhook, &filed, &filed);
        tokio::join!(file, send);
    }

    /// Gives what waits; and again once there is news, or after a pause that grows while it fails.
    async fn by_turns(&self, way: Way, news: &Notify, filed: &Notify) {
        let mut wait = RETRY_WAIT;
        loop {
            let given = match way {
                Way::File => self.file_all(filed).await,
                Way::Webhook => self.send_all().await,
            };
            let all_given = match given {
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
            // A new access is told at once, however long it has been failing.
            drop(timeout(pause, news.notified()).await);
        }
    }

    /// Into the file. Whether nothing waits for it any more.
    async fn file_all(&self, filed: &Notify) -> Result<bool, StoreError> {
        loop {
            let late = self.store.late_alerts(Way::File, TOGETHER_MAX).await?;
            let waiting = self.store.alerts(Way::File, TOGETHER_MAX).await?;
            if waiting.is_empty() && late.is_empty() {
                return Ok(true);
            }
            let written = self.write_late(late).await? & self.write(&waiting).await?;
            // What the file does not take the webhook may.
            filed.notify_one();
            if !written {
                return Ok(false);
            }
        }
    }

    /// To the webhook. Whether nothing waits for it any more.
    async fn send_all(&self) -> Result<bool, StoreError> {
        loop {
            let late = self.store.late_alerts(Way::Webhook, TOGETHER_MAX).await?;
            let waiting = self.store.alerts(Way::Webhook, TOGETHER_MAX).await?;
            if waiting.is_empty() && late.is_empty() {
                return Ok(true);
            }
            if !(self.send_late(&late).await? && self.send(&waiting).await?) {
                return Ok(false);
            }
        }
    }

    async fn write_late(&self, new: Vec<Emergency>) -> Result<bool, StoreError> {
        let line = |it| Alert::of_emergency(self.store.member(), it).line();
        let lines: Vec<u8> = new.iter().flat_map(line).collect();
        if new.is_empty() {
            return Ok(true);
        }
        let written = self.append(lines).await;
        if written {
            self.store.late_alerts_filed(new).await?;
        }
        Ok(written)
    }

    async fn send_late(&self, waiting: &[Emergency]) -> Result<bool, StoreError> {
        for emergency in waiting {
            let alert = Alert::of_emergency(self.store.member(), emergency);
            if !self.post(&alert, emergency.exchange).await {
                return Ok(false);
            }
            self.store.late_alert_sent(emergency).await?;
            tracing::warn!(exchange = %emergency.exchange, "break-glass without the ledger");
        }
        Ok(true)
    }

    /// Into the file: all of them, whatever the webhook does.
    async fn write(&self, new: &[OwedAlert]) -> Result<bool, StoreError> {
        let leaves: Vec<_> = new.iter().map(|access| access.leaf).collect();
        if leaves.is_empty() {
            return Ok(true);
        }
        let line = |access| Alert::of(self.store.member(), access).line();
        let lines: Vec<u8> = new.iter().flat_map(line).collect();
        let written = self.append(lines).await;
        if written {
            self.store.alerts_filed(leaves).await?;
        }
        Ok(written)
    }

    async fn append(&self, lines: Vec<u8>) -> bool {
        let path = self.file.clone();
        let written = spawn_blocking(move || file::append(&path, &lines)).await;
        let written = written.map_err(std::io::Error::other).and_then(|written| written);
        if let Err(error) = &written {
            self.metrics.alert_failed();
            tracing::error!(%error, "the file of alerts can't be written");
        }
        written.is_ok()
    }

    /// To the webhook, one after another. The first that it does not take is tried again first.
    async fn send(&self, waiting: &[OwedAlert]) -> Result<bool, StoreError> {
        for access in waiting {
            let alert = Alert::of(self.store.member(), access);
            if !self.post(&alert, access.exchange).await {
                return Ok(false);
            }
            self.store.alert_sent(access.leaf).await?;
            let (exchange, leaf) = (access.exchange, access.leaf.0);
            tracing::warn!(%exchange, leaf, alert = access.kind.word(), "officers are alerted");
        }
        Ok(true)
    }

    /// Whether the webhook has it, or there is none.
    async fn post(&self, alert: &Alert, exchange: ExchangeId) -> bool {
        let Some(caller) = &self.caller else { return true };
        let sent = timeout(SEND_WAIT_MAX, caller.post(alert.line())).await;
        let why = match sent {
            Ok(Ok(())) => return true,
            Ok(Err(why)) => why.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.metrics.alert_failed();
        tracing::warn!(%exchange, why, "the webhook did not take an alert");
        false
    }

    async fn look(&self) -> Result<(), StoreError> {
        let due = wall().before(self.review_wait_max);
        self.watch.set(self.store.glass_counts(due).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
