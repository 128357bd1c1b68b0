//! The requester's side: applications that ask, and what arrives.

use tally_core::entry::{Action, Flags, UserKnown};
use tally_core::exchange::Question;
use tally_core::exchange::requester::{Effect, Event, Trailer};
use tally_core::id::ExchangeId;
use tally_core::opening::{Opening, StreamDigest, digest};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;

use crate::agent::client::Phase;
use crate::agent::provide::CHUNK;
use crate::agent::{Agent, Asking};
use crate::mesh::{MEMBERS, PEOPLE, index_of, member};
use crate::store::{Notice, Row, Write};
use crate::truth::Fact;
use crate::world::{Context, Message, Place};

/// What applications ask for, and why: most of it is permitted.
const WISHES: [(&str, &str); 10] = [
    ("fhir", "TREAT"),
    ("fhir", "TREAT"),
    ("fhir", "TREAT"),
    ("fhir", "TREAT"),
    ("beds", "TREAT"),
    ("beds", "TREAT"),
    ("old", "TREAT"),
    ("fhir", "HOPERAT"),
    ("fhir", "HRESCH"),
    ("none", "TREAT"),
];

impl Agent {
    /// An application asks.
    pub(crate) fn ask(&mut self, context: &mut Context) {
        let Some(live) = &mut self.live else { return };
        if !matches!(live.client.phase, Phase::Open(_)) {
            return;
        }
        let others: Vec<_> = (0..MEMBERS.len()).filter(|index| *index != self.index).collect();
        let provider = context.random.pick(&others);
        let (source, purpose) = context.random.pick(&WISHES);
        let count = context.between(1, 3);
        // Two of eight ids belong to nobody.
        let people = (0..count).map(|_| context.random.index(PEOPLE + 2)).collect::<Vec<_>>();
        let people: std::collections::BTreeSet<_> = people.into_iter().collect();
        let exchange = ExchangeId(context.random.bytes());
        let question = Question {
            provider: member(provider),
            requester: member(self.index),
            source: source.parse().unwrap(),
            action: Action::Search,
            purpose: purpose.parse().unwrap(),
            agreement: None,
            user_known: UserKnown::Asserted,
            resumes: None,
        };
        live.wishes.insert(exchange, people.into_iter().collect());
        self.request(context, Event::Asked { exchange, question: Box::new(question) });
    }

    pub(super) fn do_requester(&mut self, context: &mut Context, effect: Effect) {
        let Some(live) = &mut self.live else { return };
        match effect {
            Effect::TurnAway { exchange, .. } => {
                live.wishes.remove(&exchange);
            }
            Effect::StoreIntent { exchange, question } => {
                if context.goes_wrong(4) {
                    self.write(context, Vec::new(), Notice::IntentNotStored { exchange });
                } else {
                    let write = Write::Intent { exchange, question };
                    self.write(context, vec![write], Notice::IntentStored { exchange });
                }
            }
            Effect::Send { exchange, question } => self.send(context, exchange, question),
            Effect::HandOn { exchange, up_to } => {
                context.note(Fact::HandedOn { agent: self.index, exchange, up_to });
            }
            Effect::HangUp { exchange } => {
                if let Some(asking) = live.asking.get(&exchange) {
                    context.break_off(asking.stream);
                }
            }
            Effect::Owe { id, exchange, entry } => {
                let row = Row { entry, not_before: Timestamp(0), waits: None };
                let writes = vec![Write::Row { id, row }, Write::Forget { exchange }];
                self.write(context, writes, Notice::Work);
            }
            Effect::KeepPromise { exchange } | Effect::OweLate { exchange, .. } => {
                panic!("{exchange} was promised, and nobody breaks the glass in here");
            }
            Effect::Forget { exchange } => {
                self.write(context, vec![Write::Forget { exchange }], Notice::Nobody);
            }
            Effect::Finish { .. } | Effect::Fail { .. } => {}
            Effect::Ended(ended) => {
                live.asking.remove(&ended.exchange);
                let (agent, life, exchange) = (self.index, self.life, ended.exchange);
                context.note(Fact::Ended { agent, life, exchange, provider: false });
            }
            Effect::Drained => self.drained(context),
        }
    }

    fn send(&mut self, context: &mut Context, exchange: ExchangeId, question: Box<Question>) {
        let Some(live) = &mut self.live else { return };
        let people = live.wishes.remove(&exchange).unwrap_or_default();
        let provider = index_of(&question.provider);
        let stream = context.open_stream(exchange, self.index, provider);
        let message = Message::Question { question, people };
        if context.goes_wrong(20) {
            // Somebody sends the same once more: nobody waits for the answer.
            let other = context.open_stream(exchange, self.index, provider);
            context.send(other, true, message.clone());
        }
        let asking =
            Asking { stream, salt: None, streamed: false, received: Vec::new(), digest: None };
        live.asking.insert(exchange, asking);
        context.send(stream, true, message);
    }

    pub(super) fn message_to_requester(
        &mut self,
        context: &mut Context,
        at: Place,
        message: Message,
    ) {
        let exchange = at.exchange;
        let asking = self.live.as_mut().and_then(|live| live.asking.get_mut(&exchange));
        let Some(asking) = asking.filter(|it| it.stream == at.stream) else { return };
        let event = match message {
            Message::Question { .. } => return,
            Message::Head { receipt, opening } => {
                let Ok(opening) = tally_wire::decode::<Opening>(&opening) else { return };
                let salt = opening.value().salt;
                asking.salt = Some(salt);
                asking.streamed = receipt.half().flags.has(Flags::STREAMED);
                asking.digest = asking.streamed.then(|| StreamDigest::new(salt));
                Event::Permitted { exchange, receipt, opening: Box::new(opening) }
            }
            Message::Chunk { bytes } => {
                asking.received.extend_from_slice(&bytes);
                if let Some(digest) = &mut asking.digest {
                    digest.push(&bytes);
                }
                let bytes = u64::try_from(asking.received.len()).unwrap();
                Event::Arrived { exchange, bytes }
            }
            Message::Trailer { bytes: sent, root } => {
                let bytes = u64::try_from(asking.received.len()).unwrap();
                let Some(salt) = asking.salt else { return };
                let digest = match &asking.digest {
                    Some(stream) => stream.root(),
                    None => digest(&salt, &asking.received.chunks(CHUNK).collect::<Vec<_>>()),
                };
                let trailer = Trailer { bytes: sent, root };
                Event::Complete { exchange, bytes, digest, trailer }
            }
            Message::No { refusal, receipt, counted } => {
                Event::Refused { exchange, refusal, receipt, counted }
            }
            Message::Gone => {
                let begun = asking.salt.is_some();
                let refusal = if begun { Refusal::BrokenOff } else { Refusal::Unreachable };
                Event::Lost { exchange, refusal }
            }
        };
        self.request(context, event);
    }
}
