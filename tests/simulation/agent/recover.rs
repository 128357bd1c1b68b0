//! After a start, and now and then: the ledger held against the store.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::entry::{Entry, Outcome};
use tally_core::exchange::OwedId;
use tally_core::exchange::provider::{self, OwnHalf};
use tally_core::exchange::requester::{self, PeerHalf};
use tally_core::id::{ExchangeId, LeafIndex, SessionId};
use tally_core::ledger::Registers;
use tally_core::time::Timestamp;

use crate::agent::client::Phase;
use crate::agent::{Agent, limits};
use crate::ledger::Ledger;
use crate::mesh::{PEOPLE, member};
use crate::store::{Notice, Row, Write};
use crate::truth::Fact;
use crate::world::{Canary, Context, index};

/// What the ledger holds of this agent.
#[derive(Default)]
struct Own {
    permits: Vec<OwnHalf>,
    closed: BTreeSet<LeafIndex>,
    filed: BTreeSet<OwedId>,
    peers: Vec<(Timestamp, PeerHalf)>,
    answered: BTreeSet<ExchangeId>,
    /// The last batch of the agent's own that left leaves.
    last_batch: Option<(SessionId, u64)>,
}

impl Agent {
    pub(super) fn standing(
        &mut self,
        context: &mut Context,
        ledger: &Ledger,
        session: Option<SessionId>,
        registers: Registers,
        size: u64,
    ) {
        let Some(live) = &mut self.live else { return };
        match &live.client.phase {
            Phase::Asking => {
                live.replica = registers;
                live.feed_next = usize::try_from(size).unwrap();
                self.start_session(context, session);
            }
            Phase::Settling(own) if session == Some(*own) => {
                let own = *own;
                self.settle(context, ledger, own, size);
            }
            Phase::Open(_) => self.sweep(context, ledger, size),
            Phase::Starting(_) | Phase::Settling(_) => {}
        }
    }

    /// Files what an earlier life left unsaid, and opens for business.
    fn settle(&mut self, context: &mut Context, ledger: &Ledger, session: SessionId, size: u64) {
        let own = self.read_own(context, ledger, size);
        let durable = &self.store.durable;
        let mut writes = Vec::new();
        for id in durable.outbox.keys().filter(|id| own.filed.contains(*id)) {
            writes.push(Write::RowDone { id: id.clone() });
        }
        let waiting = |half: &OwnHalf| durable.outbox.contains_key(&OwedId::Close(half.leaf));
        let permits: Vec<_> = own
            .permits
            .iter()
            .map(|half| OwnHalf {
                closed: own.closed.contains(&half.leaf) || waiting(half),
                ..half.clone()
            })
            .collect();
        // The store says which batches it knows of: if the ledger has later ones, it is a copy.
        let behind = durable.behind || durable.position < own.last_batch;
        if behind {
            writes.push(Write::Behind { behind });
        }
        let refused = own.filed.iter().chain(durable.outbox.keys()).filter_map(|id| match id {
            OwedId::ProviderHalf(exchange) => Some(*exchange),
            _ => None,
        });
        let exchanges = refused.chain(permits.iter().map(|half| half.exchange)).collect();
        for unsettled in provider::settle(&permits, &durable.openings, behind) {
            let exchange = unsettled.exchange;
            writes.push(Write::Row { id: unsettled.id, row: row(unsettled.close) });
            writes.push(Write::Finish { exchange });
        }
        if context.canary == Some(Canary::HalfLostInCrash) {
            let intents = durable.intents.keys().copied();
            writes.extend(intents.map(|exchange| Write::Forget { exchange }));
        } else {
            let peers: Vec<_> = own.peers.iter().map(|(_, peer)| peer.clone()).collect();
            let answered = self.own_halves(&own);
            let intents = &durable.intents;
            let done = intents.keys().filter(|exchange| answered.contains(exchange));
            writes.extend(done.map(|exchange| Write::Forget { exchange: *exchange }));
            for unsettled in requester::settle(&member(self.index), intents, &peers, &answered) {
                let exchange = unsettled.exchange;
                writes.push(Write::Row { id: unsettled.id, row: row(unsettled.half) });
                writes.push(Write::Forget { exchange });
            }
        }
        self.provide(context, provider::Event::KnownBefore { exchanges });
        if let Some(live) = &mut self.live {
            live.client.open(session, own.filed);
            live.behind = behind;
        }
        if behind {
            let wait_ms = context.between(500, 6_000);
            self.later(context, wait_ms, crate::world::Own::Import);
        }
        self.write(context, writes, Notice::Work);
    }

    /// A provider's half may have come after the last look, in answer to a question that a crash
    /// made us forget.
    fn sweep(&mut self, context: &mut Context, ledger: &Ledger, size: u64) {
        if context.canary == Some(Canary::HalfLostInCrash) {
            return;
        }
        let own = self.read_own(context, ledger, size);
        let old = |at: &Timestamp| at.after(limits().half_wait_max) <= context.now;
        let peers = own.peers.iter().filter(|(at, _)| old(at));
        let peers: Vec<_> = peers.map(|(_, peer)| peer.clone()).collect();
        let mut answered = self.own_halves(&own);
        answered.extend(self.store.durable.intents.keys());
        if let Some(live) = &self.live {
            answered.extend(live.asking.keys());
        }
        let mut writes = Vec::new();
        for unsettled in requester::settle(&member(self.index), &BTreeMap::new(), &peers, &answered)
        {
            writes.push(Write::Row { id: unsettled.id, row: row(unsettled.half) });
        }
        if !writes.is_empty() {
            self.write(context, writes, Notice::Work);
        }
    }

    /// What people have said is brought from elsewhere into the older store.
    pub(super) fn import(&mut self, context: &mut Context) {
        let mut writes = Vec::new();
        for person in 0..PEOPLE {
            let whose = (self.index, person);
            let said = context.truth.said.get(&whose);
            if !context.truth.deciding.contains_key(&whose) {
                let denies = said.is_some_and(|mind| mind.denies);
                writes.push(Write::Directive { person, denies });
            }
        }
        writes.push(Write::Behind { behind: false });
        self.write(context, writes, Notice::Imported);
    }

    /// Exchanges of which a half of ours is on the ledger or on its way.
    fn own_halves(&self, own: &Own) -> BTreeSet<ExchangeId> {
        let waiting = self.store.durable.outbox.keys().filter_map(|id| match id {
            OwedId::RequesterHalf(exchange) => Some(*exchange),
            _ => None,
        });
        waiting.chain(own.answered.iter().copied()).collect()
    }

    fn read_own(&self, context: &mut Context, ledger: &Ledger, size: u64) -> Own {
        let me = member(self.index);
        let mut own = Own::default();
        for leaf in ledger.own_leaves(self.index, size) {
            context.note(Fact::Read { agent: self.index, leaf });
            let known = &ledger.leaves[index(leaf)];
            match &known.entry {
                Entry::ProviderHalf(half) if half.provider == me => match half.outcome {
                    Outcome::Permit => {
                        let (exchange, commitment) = (half.exchange, half.commitment);
                        let half = OwnHalf { leaf, exchange, commitment, closed: false };
                        own.permits.push(half);
                    }
                    Outcome::Refuse(_) => {
                        own.filed.insert(OwedId::ProviderHalf(half.exchange));
                    }
                },
                Entry::ProviderHalf(half) => {
                    let half = PeerHalf { leaf, half: (**half).clone() };
                    own.peers.push((known.time, half));
                }
                Entry::RequesterHalf(half) => {
                    own.answered.insert(half.exchange);
                    own.filed.insert(OwedId::RequesterHalf(half.exchange));
                }
                Entry::Close(close) => {
                    own.closed.insert(close.provider_leaf);
                    own.filed.insert(OwedId::Close(close.provider_leaf));
                }
                Entry::RefusalCount(count) => {
                    own.filed.insert(OwedId::RefusalCount {
                        requester: count.requester.clone(),
                        refusal: count.refusal,
                        from: count.from,
                    });
                }
                Entry::Disposal(disposal) => {
                    own.filed.insert(OwedId::Disposal(disposal.what.certificate));
                }
                Entry::Seal(seal) => own.last_batch = Some((seal.session, seal.number)),
                Entry::Genesis(_)
                | Entry::Recovery(_)
                | Entry::SessionStart(_)
                | Entry::Register(_)
                | Entry::Review(_) => {}
            }
        }
        own
    }
}

const fn row(entry: tally_core::exchange::Draft) -> Row {
    Row { entry, not_before: Timestamp(0), waits: None }
}
