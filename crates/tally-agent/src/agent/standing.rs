//! What is looked at to tell how the agent stands: for `/ready`, and for the metrics.

use std::collections::BTreeSet;
use std::sync::Arc;

use tally_core::limits::Limits;
use tally_core::refusal::Refusal;
use tally_net::{Identity, TrustStore, tls};
use tokio::task::JoinHandle;

use super::certificate::until;
use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::health::{Health, Observe};
use crate::metrics::Observed;
use crate::readiness::{Look, NotReady, Readiness};
use crate::source::Sources;
use crate::store::Store;
use crate::witness::WitnessView;

/// What readiness is told from, beside the exchanges.
pub(super) struct Stands {
    pub(super) identity: Identity,
    pub(super) trust: TrustStore,
    pub(super) store: Store,
    pub(super) sources: Arc<Sources>,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
}

/// Looks now and then how the agent stands, until dropped.
pub(super) struct Looking(JoinHandle<()>);

impl Looking {
    /// From here on health tells what is seen.
    pub(super) fn begin(
        told: &Health,
        exchange: &Exchange,
        stands: Stands,
        alerts: &Alerts,
        witness: Option<WitnessView>,
    ) -> Self {
        let readiness = told.readiness.clone();
        let sources = Arc::clone(&stands.sources);
        let watched = (stands.identity.clone(), stands.store.clone(), sources);
        readiness.look_with(look(exchange, stands));
        drop(told.observe.set(observe(exchange, watched, alerts, witness, readiness.clone())));
        Self(tokio::spawn(readiness.keep_looking()))
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks for what keeps the agent from doing its work.
fn look(exchange: &Exchange, stands: Stands) -> Look {
    let (replica, closed) = (exchange.replica().clone(), exchange.closed_source());
    let outside = exchange.outside_source();
    let member = exchange.peers().member().clone();
    Box::new(move || {
        let mut found = BTreeSet::new();
        match closed() {
            None | Some(Refusal::ClockSkew) => {}
            Some(Refusal::StoreBehind) => drop(found.insert(NotReady::StoreBehind)),
            Some(_) => drop(found.insert(NotReady::Starting)),
        }
        let known = replica.known();
        match known.heard_at {
            None => drop(found.insert(NotReady::RegistersUnknown)),
            Some(heard) if stands.clock.now().since(heard) > stands.limits.feed_age_max => {
                found.insert(NotReady::RegistersOld);
            }
            Some(_) => {}
        }
        if known.clock_skewed {
            found.insert(NotReady::ClockSkew);
        }
        // Before the registers are heard, a member that joined later is unknown here.
        if known.heard_at.is_some() {
            if let Err(why) = tls::check(&stands.identity, &stands.trust) {
                found.insert(NotReady::of_identity(why));
            }
            if !stands.trust.is_active(&member) {
                found.insert(NotReady::MemberNotActive);
            }
        }
        // A member that was removed is told no registers any more, only that it was.
        if let Some(why) = known.turned_away {
            found.insert(NotReady::of_identity(why));
        }
        match outside() {
            Some(Refusal::KeyReplaced) => drop(found.insert(NotReady::KeyReplaced)),
            Some(_) => drop(found.insert(NotReady::MemberNotActive)),
            None => {}
        }
        if !stands.store.is_open() {
            found.insert(NotReady::StoreClosed);
        }
        if stands.store.outbox_len() >= stands.limits.outbox_entries_max {
            found.insert(NotReady::OutboxFull);
        }
        found
    })
}

/// What metrics are told from.
fn observe(
    exchange: &Exchange,
    (identity, store, sources): (Identity, Store, Arc<Sources>),
    alerts: &Alerts,
    witness: Option<WitnessView>,
    readiness: Readiness,
) -> Observe {
    let glass = alerts.watch();
    let replica = exchange.replica().clone();
    let admissions = exchange.peers().admissions();
    Arc::new(move || {
        let known = replica.known();
        Observed {
            outbox_entries: store.outbox_len(),
            ledger_size: known.size,
            spool_bytes: sources.spooled_bytes(),
            not_ready: readiness.reasons().into_iter().map(|(reason, _)| reason).collect(),
            assurance: known.assessed(),
            break_glass: glass.counts(),
            witness: witness.as_ref().map(WitnessView::observed),
            certificate_until: until(&identity),
            admissions: admissions.counts(),
        }
    })
}
