//! The provider's effects: the source, the policy, the store, and the body on its way out.

use std::collections::BTreeMap;

use tally_core::agreement::Condition;
use tally_core::consent::{Actors, Directives, Effect as Says, Simple};
use tally_core::entry::{Entry, Environment};
use tally_core::exchange::RecordedHalf;
use tally_core::exchange::provider::{Body, Decision, Effect, Event, Permitted, Proof, Refused};
use tally_core::id::{CheckDigit, ExchangeId, LeafIndex};
use tally_core::opening::{Opened, Opening, Salt32, StreamDigest, TagKey, commitment, digest};
use tally_core::policy::{self, Facts, OptOutAnswers, PersonFact, Verdict};
use tally_core::record::{Facets, Item, Person};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::agent::{Agent, Serving};
use crate::mesh::{MEMBERS, PEOPLE};
use crate::store::{Notice, Row, Write};
use crate::truth::Fact;
use crate::world::{Canary, Context, Message, Own, Place};

/// A chunk is this long in here, so that a body of a few hundred bytes is a long one.
pub(super) const CHUNK: usize = 64;

impl Agent {
    pub(super) fn message_to_provider(
        &mut self,
        context: &mut Context,
        at: Place,
        message: Message,
    ) {
        let Some(live) = &mut self.live else { return };
        let exchange = at.exchange;
        match message {
            Message::Question { question, people } => {
                live.incoming = Some((at.stream, people));
                self.provide(context, Event::Requested { exchange, question });
            }
            Message::Gone => {
                let serving = live.serving.get_mut(&exchange);
                let Some(serving) = serving.filter(|it| it.stream == at.stream) else { return };
                serving.stopped = true;
                if serving.releasing {
                    self.report_broken(context, exchange);
                } else {
                    live.serving.remove(&exchange);
                    self.provide(context, Event::Gone { exchange });
                }
            }
            Message::Head { .. }
            | Message::Chunk { .. }
            | Message::Trailer { .. }
            | Message::No { .. } => {}
        }
    }

    pub(super) fn do_provider(&mut self, context: &mut Context, effect: Effect) {
        match effect {
            Effect::TurnAway { refusal, .. } => {
                let incoming = self.live.as_mut().and_then(|live| live.incoming.take());
                if let Some((stream, _)) = incoming {
                    let no = Message::No { refusal, receipt: None, counted: false };
                    context.send(stream, false, no);
                }
            }
            Effect::Read { exchange } => self.read(context, exchange),
            Effect::Decide { exchange, attempt, .. } => {
                let slow = context.goes_wrong(10);
                let wait_ms = if slow { context.between(100, 6_000) } else { 1 };
                self.later(context, wait_ms, Own::Decide { exchange, attempt });
            }
            Effect::Submit { exchange, attempt, half } => {
                self.submit(context, exchange, attempt, half);
            }
            Effect::StoreOpening { exchange, attempt, opening } => {
                let commitment = commitment(&self.mesh_id, opening.bytes());
                let write = Write::Opening { exchange, commitment };
                self.store_or_fail(context, vec![write], exchange, attempt);
            }
            Effect::File { exchange, attempt, half, opening } => {
                let commitment = commitment(&self.mesh_id, opening.bytes());
                let id = tally_core::exchange::OwedId::ProviderHalf(exchange);
                let waits = Some((exchange, attempt));
                let row = Row { entry: half, not_before: Timestamp(0), waits };
                let writes = vec![Write::Opening { exchange, commitment }, Write::Row { id, row }];
                self.store_or_fail(context, writes, exchange, attempt);
            }
            Effect::Count { exchange, attempt, id, count, not_before } => {
                let row = Row { entry: count, not_before, waits: None };
                self.store_or_fail(context, vec![Write::Row { id, row }], exchange, attempt);
            }
            Effect::Release { exchange, receipt, .. } => {
                self.begin_release(context, exchange, receipt);
            }
            Effect::FileLate { exchange, .. }
            | Effect::ReleaseLate { exchange, .. }
            | Effect::EndLate { exchange, .. } => {
                panic!(
                    "{exchange} goes on without the ledger, and nobody breaks the glass in here"
                );
            }
            Effect::Stop { exchange, refusal } => {
                let serving = self.live.as_mut().and_then(|it| it.serving.get_mut(&exchange));
                if let Some(serving) = serving {
                    serving.stopped = true;
                    let no = Message::No { refusal, receipt: None, counted: false };
                    context.send(serving.stream, false, no);
                    self.later(context, 1, Own::Send { exchange });
                }
            }
            Effect::Refuse { exchange, refusal, proof } => {
                self.say_no(context, exchange, refusal, proof);
            }
            Effect::Owe { id, exchange, entry } => {
                let row = Row { entry, not_before: Timestamp(0), waits: None };
                let writes = vec![Write::Row { id, row }, Write::Finish { exchange }];
                self.write(context, writes, Notice::Work);
            }
            Effect::Finish { exchange } => {
                self.write(context, vec![Write::Finish { exchange }], Notice::Nobody);
            }
            Effect::Ended(ended) => {
                let (agent, life, exchange) = (self.index, self.life, ended.exchange);
                context.note(Fact::Ended { agent, life, exchange, provider: true });
            }
            Effect::Drained => self.drained(context),
        }
    }

    fn read(&mut self, context: &mut Context, exchange: ExchangeId) {
        let Some(live) = &mut self.live else { return };
        let Some((stream, people)) = live.incoming.take() else { return };
        let serving = Serving {
            stream,
            people,
            body: Vec::new(),
            sent: 0,
            opening: None,
            commitment: Hash::default(),
            digest: None,
            releasing: false,
            stopped: false,
        };
        live.serving.insert(exchange, serving);
        let slow = context.goes_wrong(10);
        let wait_ms = if slow { context.between(500, 12_000) } else { context.between(1, 60) };
        let fails = context.goes_wrong(20);
        let result = if fails { Err(Refusal::SourceMalformed) } else { Ok(()) };
        self.later(context, wait_ms, Own::Described { exchange, result });
    }

    /// The policy, on the registers and the directives as they are now.
    pub(super) fn decide(&mut self, context: &mut Context, exchange: ExchangeId, attempt: u32) {
        let Some(live) = &self.live else { return };
        let Some(serving) = live.serving.get(&exchange) else { return };
        let Some(question) = live.provider.question(exchange) else { return };
        let about_people = question.source.as_str() != "beds";
        let people: Vec<_> = if about_people {
            serving.people.iter().copied().filter(|person| *person < PEOPLE).collect()
        } else {
            Vec::new()
        };
        let items: Vec<_> = people.iter().map(|person| self.item(Some(*person))).collect();
        let items = if about_people { items } else { vec![self.item(None)] };
        let facts = people.iter().map(|person| (self.person(*person), self.fact(*person)));
        let facts: BTreeMap<_, _> = facts.collect();
        let request = policy::Request {
            requester: question.requester.clone(),
            provider: question.provider.clone(),
            source: question.source.clone(),
            action: question.action,
            purpose: question.purpose.clone(),
            kinds: if about_people { vec!["Patient".to_owned()] } else { Vec::new() },
            queried: Vec::new(),
            user_known: question.user_known,
            relationship: None,
            user_is_named: true,
            has_reason: true,
            reason_is_enough: true,
            agreement: question.agreement.clone(),
            check_digit: CheckDigit::Checked,
        };
        let facts = Facts {
            environment: Environment::Test,
            today: context.now.london_date(),
            hour: context.now.london_hour(),
            opt_out: OptOutAnswers::Unavailable,
            registers: &live.replica,
            people: &facts,
            own_policy: &Condition::default(),
        };
        let decision = match policy::decide(&request, &items, &facts) {
            policy::Decision::Permit(permit) => {
                let kept = permit.verdicts().zip(&people);
                let kept = kept.filter(|(verdict, _)| !matches!(verdict, Verdict::Drop(_)));
                let kept: Vec<_> = kept.map(|(_, person)| *person).collect();
                let records = permit.records();
                let streamed = !about_people || exchange.0[0].is_multiple_of(3);
                let (opening, body) = self.prepare(context, exchange, &kept, streamed);
                Decision::Permit(Box::new(Permitted {
                    permit,
                    opening,
                    records,
                    same_episode: false,
                    body,
                }))
            }
            policy::Decision::Refuse(refused) => {
                let (opening, _) = self.prepare(context, exchange, &people, false);
                Decision::Refuse(Box::new(Refused::by_policy(&refused, opening)))
            }
        };
        self.provide(context, Event::Decided { exchange, attempt, decision });
    }

    /// Writes the opening and cuts the body down to what was kept.
    fn prepare(
        &mut self,
        context: &mut Context,
        exchange: ExchangeId,
        kept: &[usize],
        streamed: bool,
    ) -> (tally_core::Encoded<Opening>, Body) {
        let salt = Salt32(context.random.bytes());
        let opened = |person: &usize| Opened {
            person: self.person(*person),
            record_ids: vec![format!("Patient/p{person}")],
            tag: TagKey([u8::try_from(*person).unwrap(); 32]).tag(&self.mesh_id, exchange),
        };
        let opening = Opening {
            exchange,
            salt,
            people: kept.iter().map(opened).collect(),
            user: Some("rota|nurse-joy".to_owned()),
            role: None,
            relationship: None,
            reason: Some("chest pain".to_owned()),
            request_ids: Vec::new(),
        };
        let opening = tally_wire::encode_checked(opening).unwrap();
        let commitment = commitment(&self.mesh_id, opening.bytes());
        context.truth.openings.insert(commitment, opening.value().clone());
        let length = 20 + 90 * kept.len() + usize::from(exchange.0[1]);
        let body: Vec<_> = exchange.0.iter().copied().cycle().take(length).collect();
        let bytes = u64::try_from(body.len()).unwrap();
        let described = if streamed {
            Body::Stream
        } else {
            Body::Whole { bytes, digest: digest(&salt, &[&body]) }
        };
        let serving = self.live.as_mut().and_then(|live| live.serving.get_mut(&exchange));
        if let Some(serving) = serving {
            serving.body = body;
            serving.opening = Some(opening.clone());
            serving.commitment = commitment;
            serving.digest = streamed.then(|| StreamDigest::new(salt));
        }
        (opening, described)
    }

    fn item(&self, person: Option<usize>) -> Item {
        let kind = if person.is_some() { "Patient" } else { "row" };
        Item {
            kind: kind.to_owned(),
            id: person.map_or_else(|| "beds".to_owned(), |person| format!("p{person}")),
            people: person.map(|person| self.person(person)).into_iter().collect(),
            labels: Vec::new(),
            facets: Facets::default(),
            bytes: 90,
        }
    }

    fn person(&self, person: usize) -> Person {
        Person::new(&format!("{}/Patient|p{person}", MEMBERS[self.index])).unwrap()
    }

    fn fact(&self, person: usize) -> PersonFact {
        let no = Simple {
            effect: Says::Deny,
            purpose: None,
            actors: Actors::Anyone,
            recorded_at: Timestamp(1),
        };
        let denies = self.store.durable.denied.get(&person).copied().unwrap_or(false);
        PersonFact {
            consent_register: u8::try_from(person % 2).unwrap(),
            directives: Directives::Known(denies.then_some(no.into()).into_iter().collect()),
            opted_out: false,
        }
    }

    fn submit(
        &mut self,
        context: &mut Context,
        exchange: ExchangeId,
        attempt: u32,
        half: tally_core::exchange::Draft,
    ) {
        let Entry::ProviderHalf(value) = half.entry() else { return };
        let (commitment, value) = (value.commitment, (**value).clone());
        let agent = self.index;
        context.note(Fact::Submitted { agent, exchange, attempt, commitment });
        if let Some(live) = &mut self.live {
            live.client.submit(context.now, exchange, attempt, half);
        }
        if context.canary == Some(Canary::ReleaseBeforeReceipt) {
            let receipt = RecordedHalf::answered(LeafIndex(0), value);
            self.begin_release(context, exchange, Box::new(receipt));
        }
        self.pump(context);
    }

    fn store_or_fail(
        &mut self,
        context: &mut Context,
        writes: Vec<Write>,
        exchange: ExchangeId,
        attempt: u32,
    ) {
        if context.goes_wrong(4) {
            self.write(context, Vec::new(), Notice::NotStored { exchange, attempt });
        } else {
            self.write(context, writes, Notice::Stored { exchange, attempt });
        }
    }

    fn begin_release(
        &mut self,
        context: &mut Context,
        exchange: ExchangeId,
        receipt: Box<RecordedHalf>,
    ) {
        let agent = self.index;
        let serving = self.live.as_mut().and_then(|live| live.serving.get_mut(&exchange));
        let Some(serving) = serving.filter(|it| !it.releasing) else { return };
        serving.releasing = true;
        let (stream, commitment) = (serving.stream, serving.commitment);
        let opening = serving.opening.as_ref().map(|it| it.bytes().to_vec()).unwrap();
        context.note(Fact::Released { agent, exchange, commitment });
        context.send(stream, false, Message::Head { receipt, opening });
        let wait_ms = context.between(1, 10);
        self.later(context, wait_ms, Own::Send { exchange });
    }

    /// The next piece of the body, or its end.
    pub(super) fn send_next(&mut self, context: &mut Context, exchange: ExchangeId) {
        let agent = self.index;
        let serving = self.live.as_mut().and_then(|live| live.serving.get_mut(&exchange));
        let Some(serving) = serving.filter(|it| it.releasing) else { return };
        if serving.stopped {
            self.report_broken(context, exchange);
            return;
        }
        let (stream, commitment) = (serving.stream, serving.commitment);
        let end = serving.body.len().min(serving.sent + CHUNK);
        let chunk = serving.body[serving.sent..end].to_vec();
        let bytes = u64::try_from(end).unwrap();
        if chunk.is_empty() {
            let root = serving.digest.as_ref().map(StreamDigest::root);
            self.live.as_mut().and_then(|live| live.serving.remove(&exchange));
            context.send(stream, false, Message::Trailer { bytes, root });
            context.note(Fact::Delivered { agent, exchange });
            self.provide(context, Event::Delivered { exchange, bytes, root });
            return;
        }
        serving.sent = end;
        if let Some(digest) = &mut serving.digest {
            digest.push(&chunk);
        }
        context.note(Fact::Left { agent, exchange, commitment, bytes });
        context.send(stream, false, Message::Chunk { bytes: chunk });
        if context.random.chance(300) {
            self.write(context, vec![Write::Sent { exchange, bytes }], Notice::Nobody);
        }
        let slow = context.goes_wrong(40);
        let wait_ms = if slow { context.between(300, 9_000) } else { context.between(1, 60) };
        self.later(context, wait_ms, Own::Send { exchange });
        self.provide(context, Event::Progress { exchange, bytes });
    }

    fn report_broken(&mut self, context: &mut Context, exchange: ExchangeId) {
        let serving = self.live.as_mut().and_then(|live| live.serving.remove(&exchange));
        let Some(serving) = serving else { return };
        let bytes = u64::try_from(serving.sent).unwrap();
        let root = serving.digest.as_ref().map(StreamDigest::root).filter(|_| bytes > 0);
        self.provide(context, Event::Broken { exchange, bytes, root });
    }

    fn say_no(
        &mut self,
        context: &mut Context,
        exchange: ExchangeId,
        refusal: Refusal,
        proof: Proof,
    ) {
        let agent = self.index;
        context.note(Fact::Told { agent, exchange, refusal });
        let serving = self.live.as_mut().and_then(|live| live.serving.remove(&exchange));
        let Some(serving) = serving else { return };
        let (receipt, counted) = match proof {
            Proof::Recorded(receipt) => (Some(receipt), false),
            Proof::NotRecorded => (None, false),
            Proof::Counted => (None, true),
        };
        context.send(serving.stream, false, Message::No { refusal, receipt, counted });
    }
}
