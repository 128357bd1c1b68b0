//! Each exchange has both its halves, and each release its close where the half could not say all.
//! An intent is durable before the first byte goes on.

use std::collections::BTreeMap;

use tally_core::entry::{Entry, Flags, Outcome};
use tally_core::exchange::OwedId;
use tally_core::id::{ExchangeId, LeafIndex};

use super::{Scene, ensure};
use crate::mesh::MEMBERS;
use crate::truth::Fact;
use crate::world::index;

pub(crate) fn both_halves(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    match fact {
        Fact::HandedOn { agent, exchange, .. } => {
            let store = &scene.agents[*agent].store.durable;
            // The half itself is as good as the intent.
            let durable = store.intents.contains_key(exchange)
                || store.outbox.contains_key(&OwedId::RequesterHalf(*exchange));
            ensure(durable, || format!("{exchange} was handed on before its intent was durable"))
        }
        Fact::NotTaken { agent, code } => {
            Err(format!("the ledger did not take what {} owes: {code}", MEMBERS[*agent]))
        }
        Fact::Ended { agent, life, exchange, provider } => {
            let known = scene.truth.ended.contains(&(*agent, *life, *exchange, *provider));
            ensure(!known, || format!("{exchange} ended twice"))
        }
        _ => Ok(()),
    }
}

/// Everybody is up, and nobody has anything left to do.
pub(crate) fn everything_ends(scene: &Scene<'_>) -> Result<(), String> {
    for (agent, name) in scene.agents.iter().zip(MEMBERS) {
        let Some(live) = &agent.live else { return Err(format!("{name} is down")) };
        let in_flight = (live.provider.in_flight(), live.requester.in_flight());
        ensure(in_flight == (0, 0), || format!("{name} still has {in_flight:?} in flight"))?;
        let durable = &agent.store.durable;
        let (outbox, intents, jobs) =
            (durable.outbox.len(), durable.intents.len(), durable.jobs.len());
        ensure(outbox == 0 && intents == 0 && jobs == 0, || {
            format!("{name} still owes {outbox} entries, {intents} intents, {jobs} writes")
        })?;
    }
    Ok(())
}

pub(crate) fn halves_and_closes_are_complete(scene: &Scene<'_>) -> Result<(), String> {
    let mut providers: BTreeMap<ExchangeId, LeafIndex> = BTreeMap::new();
    let mut requesters: BTreeMap<ExchangeId, LeafIndex> = BTreeMap::new();
    let mut closes: BTreeMap<LeafIndex, u32> = BTreeMap::new();
    for (place, leaf) in (0..).zip(&scene.ledger.leaves) {
        let place = LeafIndex(place);
        let second = match &leaf.entry {
            Entry::ProviderHalf(half) => providers.insert(half.exchange, place),
            Entry::RequesterHalf(half) => requesters.insert(half.exchange, place),
            Entry::Close(close) => {
                *closes.entry(close.provider_leaf).or_default() += 1;
                None
            }
            _ => None,
        };
        ensure(second.is_none(), || format!("leaf {place} is a second half of its exchange"))?;
    }
    for (exchange, leaf) in &providers {
        let Entry::ProviderHalf(half) = &scene.ledger.leaves[index(*leaf)].entry else { continue };
        let other = requesters.get(exchange);
        let other = other.ok_or_else(|| format!("{exchange} lacks its requester's half"))?;
        let Entry::RequesterHalf(other) = &scene.ledger.leaves[index(*other)].entry else {
            continue;
        };
        let same = other.requester == half.requester
            && other.provider == half.provider
            && other.provider_leaf.is_none_or(|named| named == *leaf);
        ensure(same, || format!("the halves of {exchange} are not about the same"))?;
        let closed = closes.get(leaf).copied().unwrap_or(0);
        let fits = match half.outcome {
            Outcome::Refuse(_) => closed == 0,
            Outcome::Permit if half.flags.has(Flags::STREAMED) => closed == 1,
            // After a crash the provider may not know any more that all has left.
            Outcome::Permit if scene.truth.delivered.contains(exchange) => closed <= 1,
            Outcome::Permit => closed == 1,
        };
        ensure(fits, || format!("{exchange} has {closed} closes"))?;
    }
    Ok(())
}
