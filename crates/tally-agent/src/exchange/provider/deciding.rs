//! From what was read to a decision that can be recorded: facts, policy, minimisation, opening.
//!
//! Invariant: the registers are taken before the store is asked. A narrowing is durable in the store
//! before it is written to its register, so a decision that has not seen it names an older version of
//! the register, and the ledger refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tally_core::Encoded;
use tally_core::exchange::Question;
use tally_core::exchange::provider::{Body, Decision, Permitted, Refused};
use tally_core::id::{BadId, ExchangeId};
use tally_core::opening::{BodyDigest, Opened, Opening, Salt32, TagKey, commitment};
use tally_core::policy::{
    self, Deciding, Facts, OptOutAnswers, Permit, PersonFact, Progress, Registers, Warning,
};
use tally_core::purpose::{Class, class_of, is_known};
use tally_core::record::{Item, Person};
use tally_core::refusal::{Refusal, Scope};
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::encode_checked;
use tally_wire::message::agent::{Description, Request};

use super::Decided;
use super::opt_out;
use super::releasing::Outgoing;
use super::streaming::{self, Before};
use super::turns::SLICE;
use crate::clock::wall;
use crate::exchange::Shared;
use crate::random;
use crate::replica::Known;
use crate::source::{Reading, Source};
use crate::spool::SpoolError;
use crate::store::{KnownAs, Reader, StoreError};
use crate::trace::Trace;

/// More people than this make a permit a bulk one: it travels alone.
const PEOPLE_TOGETHER_MAX: u64 = 64;

/// What leaves once its permit is recorded.
pub(super) struct Prepared {
    pub(super) opening: Encoded<Opening>,
    /// Who they are to whom the opening gives a one-time name, by their tags.
    pub(super) known: BTreeMap<Hash, Opened>,
    pub(super) commitment: Hash,
    pub(super) description: Description,
    pub(super) body: Outgoing,
    /// Its permit must not share a batch.
    pub(super) bulk: bool,
    /// The break-glass episode that it belongs to.
    pub(super) episode: Option<Episode>,
    /// The versions of the own consent registers that the decision has heard of, whether or not the
    /// ledger has.
    pub(super) consents: BTreeMap<u8, u64>,
}

/// Who reads whose records by breaking the glass, and what that goes on with.
#[derive(Clone)]
pub(super) struct Episode {
    pub(super) reader: Reader,
    /// The commitment of its first half, if that is on the ledger.
    pub(super) first: Option<Hash>,
    pub(super) now: Timestamp,
    /// Episodes that began before are over.
    pub(super) since: Timestamp,
}

/// What a decision is about.
pub(super) struct Case {
    pub(super) exchange: ExchangeId,
    pub(super) question: Question,
    pub(super) request: Arc<Request>,
    pub(super) source: Arc<Source>,
    pub(super) reading: Arc<Reading>,
    /// What is known of the exchange that this one resumes.
    pub(super) before: Before,
}

/// Decides on what is known now.
pub(super) async fn decide(shared: &Arc<Shared>, mut case: Case) -> Decided {
    let before = Before::of(shared, &case.question).await;
    case.before = match before {
        Ok(before) => before,
        Err(error) => {
            tracing::error!(%error, "what was streamed before can't be read");
            return undecided(case.exchange, Refusal::StoreUnavailable);
        }
    };
    let known = shared.replica.known();
    let people: BTreeSet<_> = case.reading.items().iter().flat_map(|item| &item.people).collect();
    let named = people.into_iter().map(|person| KnownAs {
        person: person.clone(),
        before: shared
            .sources
            .names_before(person)
            .into_iter()
            .chain(case.reading.names_before(person))
            .collect(),
    });
    let asked = shared.store.people(named.collect(), shared.retention_year()).await;
    let mut people = match asked {
        Ok(people) => people,
        Err(error) => {
            tracing::error!(%error, "what people have said can't be read");
            return undecided(case.exchange, Refusal::StoreUnavailable);
        }
    };
    if shared.check_consents(&known, &people.consent_versions) {
        return undecided(case.exchange, Refusal::StoreBehind);
    }
    // Ledger time stands still while nothing is recorded; the host's clock is near it.
    let now = known.time.max(wall());
    let purpose = &case.question.purpose;
    let opt_out = opt_out::answers(shared, &case.source, purpose, now, &mut people.facts).await;
    let opt_out = match opt_out {
        Ok(opt_out) => opt_out,
        Err(error) => {
            tracing::error!(%error, "what the opt-out service answered can't be read");
            return undecided(case.exchange, Refusal::StoreUnavailable);
        }
    };
    let episode = match case.episode(shared, now).await {
        Ok(episode) => episode,
        Err(error) => {
            tracing::error!(%error, "break-glass episodes can't be read");
            return undecided(case.exchange, Refusal::StoreUnavailable);
        }
    };
    let (shared, exchange) = (Arc::clone(shared), case.exchange);
    // Another thread costs more than to decide about one record: it has to be woken, and so have we.
    let is_quick = is_about_few(&people.facts) && case.reading.is_small();
    let judge = move || {
        let (facts, tag_keys) = (people.facts, people.tag_keys);
        let decided = case.judge(&shared, &known, (&facts, &tag_keys), (now, opt_out), episode);
        let consents = people.consent_versions;
        Decided { prepared: decided.prepared.map(|it| Prepared { consents, ..it }), ..decided }
    };
    if is_quick {
        let judged = catch_unwind(AssertUnwindSafe(judge));
        return judged.unwrap_or_else(|_| undecided(exchange, Refusal::SourceMalformed));
    }
    let judged = tokio::task::spawn_blocking(judge);
    judged.await.unwrap_or_else(|_| undecided(exchange, Refusal::SourceMalformed))
}

impl Case {
    fn judge(
        &self,
        shared: &Shared,
        known: &Known,
        (people, tag_keys): (&BTreeMap<Person, PersonFact>, &BTreeMap<Person, TagKey>),
        (now, opt_out): (Timestamp, OptOutAnswers),
        episode: Option<Episode>,
    ) -> Decided {
        let _few = is_about_few(people).then(|| shared.turns.few());
        let facts = Facts {
            environment: shared.environment,
            today: now.london_date(),
            hour: now.london_hour(),
            opt_out,
            registers: &*known.registers,
            people,
            own_policy: &shared.own_policy,
        };
        let opener = Opener { case: self, shared, tag_keys };
        // A code that means nothing may be anything, and would come onto the ledger.
        let known = is_known(&self.question.purpose);
        let Some(request) = self.policy_request(shared).ok().filter(|_| known) else {
            return undecided(self.exchange, Refusal::BadQuery);
        };
        let decided = self.reading.decide(|items| Self::policy(shared, &request, items, &facts));
        if let Some(unread) = self.reading.unread()
            && !is_about_request(&decided)
        {
            return undecided(self.exchange, unread.refusal);
        }
        match decided {
            policy::Decision::Permit(permit) => {
                for warning in permit.warnings() {
                    let Warning::PastReview(review) = warning;
                    let (agreement, requester) = (permit.agreement(), &self.question.requester);
                    shared.outcomes.past_review(agreement, requester, *review);
                }
                self.permit(&opener, permit, episode)
            }
            policy::Decision::Refuse(refused) => {
                match opener.open(self.reading.people_and_record_ids()) {
                    Ok(opening) => refusing(Refused::by_policy(&refused, opening.encoded)),
                    Err(unable) => undecided(self.exchange, unable),
                }
            }
        }
    }

    /// Those about few people first, those about many a slice at a time.
    fn policy<R: Registers>(
        shared: &Shared,
        request: &policy::Request,
        items: &[Item],
        facts: &Facts<'_, R>,
    ) -> policy::Decision {
        let mut deciding = Deciding::new(request, items, facts);
        loop {
            let slice = (!is_about_few(facts.people)).then(|| shared.turns.slice());
            match deciding.go_on(SLICE) {
                Progress::Decided(decision) => return decision,
                Progress::More(rest) => deciding = rest,
            }
            drop(slice);
        }
    }

    fn permit(&self, opener: &Opener<'_>, permit: Permit, episode: Option<Episode>) -> Decided {
        let episode = episode.filter(|_| permit.breaks_glass());
        let prepared = match &*self.reading {
            // What was read as a whole comes as a whole: nothing of it is resumed.
            Reading::Whole(_) if self.question.resumes.is_some() => Err(Refusal::ResumeUnknown),
            Reading::Whole(whole) => whole.cut(&permit).map(|cut| {
                let description = streaming::whole(cut.media_type);
                let people = Leaving { people: cut.people, named: cut.named };
                (people, cut.records, description, Outgoing::Whole(cut.body))
            }),
            Reading::Stream(stream) => self.stream(stream, &permit).map(|(description, stream)| {
                let stream = Outgoing::Stream(Box::new(stream));
                (Leaving::default(), permit.records(), description, stream)
            }),
            Reading::Result(result) => result.open(&permit).map(|chunks| {
                // The same query may find something else a moment later: there is nothing to name it by.
                let description = streaming::whole(result.media_type());
                let chunks = Outgoing::Result(Box::new(chunks));
                (Leaving::default(), permit.records(), description, chunks)
            }),
        };
        let (people, records, mut description, outgoing) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                return match opener.open(self.reading.people_and_record_ids()) {
                    Ok(it) => Decided {
                        detail: self.beyond(refusal, &permit),
                        ..refusing(Refused::after_policy(refusal, &permit, it.encoded))
                    },
                    Err(unable) => undecided(self.exchange, unable),
                };
            }
        };
        let opening = match opener.open_to_requester(people) {
            Ok(opening) => opening,
            Err(unable) => return undecided(self.exchange, unable),
        };
        let body = match &outgoing {
            Outgoing::Whole(body) => {
                (description.bytes, description.selected.length) =
                    (Some(body.len()), Some(body.len()));
                let mut digest = BodyDigest::new(&opening.salt);
                let digested = body.each::<SpoolError>(|piece| {
                    digest.push(piece);
                    Ok(())
                });
                if let Err(error) = digested {
                    return undecided(self.exchange, error.refusal());
                }
                Body::Whole { bytes: body.len(), digest: digest.digest() }
            }
            Outgoing::Stream(_) | Outgoing::Result(_) => Body::Stream,
        };
        let prepared = Prepared {
            opening: opening.encoded.clone(),
            known: opening.known,
            commitment: opening.commitment,
            description,
            body: outgoing,
            bulk: permit.people() > PEOPLE_TOGETHER_MAX,
            episode,
            consents: BTreeMap::new(),
        };
        let same_episode = prepared.episode.as_ref().is_some_and(|it| it.first.is_some());
        let permitted = Permitted { permit, opening: opening.encoded, records, body, same_episode };
        let decision = Decision::Permit(Box::new(permitted));
        Decided { decision, prepared: Some(prepared), detail: None }
    }

    /// The break-glass episode that the request would belong to; none if it is no break-glass by a user
    /// that it names about one person.
    async fn episode(
        &self,
        shared: &Shared,
        now: Timestamp,
    ) -> Result<Option<Episode>, StoreError> {
        let mut people = self.reading.items().iter().flat_map(|item| &item.people);
        let (Some(person), Some(user)) = (people.next(), &self.request.user) else {
            return Ok(None);
        };
        if class_of(&self.question.purpose) != Some(Class::Override) {
            return Ok(None);
        }
        let reader = Reader {
            requester: self.question.requester.clone(),
            user: user.clone(),
            person: person.clone(),
        };
        let since = now.before(shared.limits.break_glass_max);
        let first = shared.store.episode(reader.clone(), since).await?;
        Ok(Some(Episode { reader, first, now, since }))
    }

    fn policy_request(&self, shared: &Shared) -> Result<policy::Request, BadId> {
        let Question { requester, provider, source, action, purpose, agreement, .. } =
            self.question.clone();
        let relationship = self.request.relationship.as_deref().map(str::parse).transpose()?;
        Ok(policy::Request {
            requester,
            provider,
            source,
            action,
            purpose,
            kinds: self.reading.kinds().to_vec(),
            queried: self.reading.queried().to_vec(),
            user_known: self.request.user_known,
            relationship,
            user_is_named: self.request.user.is_some(),
            has_reason: policy::is_reason(self.request.reason.as_deref()),
            reason_is_enough: policy::is_reason_enough(
                self.request.reason.as_deref(),
                shared.limits.break_glass_reason_chars_min,
            ),
            agreement,
            check_digit: self.source.check_digit(),
        })
    }
}

fn is_about_few(people: &BTreeMap<Person, PersonFact>) -> bool {
    people.len() <= SLICE
}

/// Whether it is a no to the request as a whole, whatever there is.
fn is_about_request(decision: &policy::Decision) -> bool {
    matches!(decision, policy::Decision::Refuse(it) if it.refusal().scope() != Scope::Person)
}

fn refusing(refused: Refused) -> Decided {
    Decided { decision: Decision::Refuse(Box::new(refused)), prepared: None, detail: None }
}

/// Writes openings, each with a salt of its own.
struct Opener<'a> {
    case: &'a Case,
    shared: &'a Shared,
    tag_keys: &'a BTreeMap<Person, TagKey>,
}

/// Those whom a release is about.
#[derive(Default)]
struct Leaving {
    people: BTreeMap<Person, Vec<String>>,
    /// Those of them whom its body names.
    named: BTreeSet<Person>,
}

struct Written {
    encoded: Encoded<Opening>,
    /// Who they are to whom it gives a one-time name, by their tags.
    known: BTreeMap<Hash, Opened>,
    commitment: Hash,
    salt: Salt32,
}

impl Opener<'_> {
    /// An opening that stays here.
    fn open(&self, people: BTreeMap<Person, Vec<String>>) -> Result<Written, Refusal> {
        let named = people.keys().cloned().collect();
        self.open_to_requester(Leaving { people, named })
    }

    /// An opening that leaves with its release, and so names nobody whom the release does not name. The
    /// others have their tag for a name, and none of their records: which are one person's would be news
    /// as well.
    fn open_to_requester(&self, leaving: Leaving) -> Result<Written, Refusal> {
        let Leaving { people, named } = leaving;
        let mut known = BTreeMap::new();
        let Case { exchange, request, .. } = self.case;
        let mesh_id = &self.shared.mesh_id;
        let unable = Refusal::StoreUnavailable;
        let salt = random::bytes().map(Salt32).ok_or(unable)?;
        let people = random::shuffle(people.into_iter().collect()).ok_or(unable)?;
        let opened = people.into_iter().map(|(person, record_ids)| {
            let tag = self.tag_keys.get(&person)?.tag(mesh_id, *exchange);
            let is_named = named.contains(&person);
            let opened = Opened { person, record_ids, tag };
            if is_named {
                return Some(opened);
            }
            known.insert(tag, opened);
            Some(Opened { person: Person::with_tag(&tag)?, record_ids: Vec::new(), tag })
        });
        let opening = Opening {
            exchange: *exchange,
            salt,
            people: opened.collect::<Option<_>>().ok_or(unable)?,
            user: request.user.clone(),
            role: request.role.clone(),
            relationship: request.relationship.clone(),
            reason: request.reason.clone(),
            request_ids: request_ids(request),
        };
        let encoded = encode_checked(opening).map_err(|_| Refusal::TooLarge)?;
        let commitment = commitment(mesh_id, encoded.bytes());
        Ok(Written { encoded, known, commitment, salt })
    }
}

/// The application's own ids, and where the request stands in a trace: an auditor finds it by either.
fn request_ids(request: &Request) -> Vec<String> {
    /// An opening holds no more.
    const REQUEST_IDS_MAX: usize = 16;
    let trace = Trace::of_message(&request.trace).map(|trace| trace.parent().to_owned());
    request.request_ids.iter().cloned().chain(trace).take(REQUEST_IDS_MAX).collect()
}

/// Nothing is decided, and nothing recorded: the machine keeps no opening of it.
fn undecided(exchange: ExchangeId, refusal: Refusal) -> Decided {
    let opening = Opening {
        exchange,
        salt: Salt32([0; 32]),
        people: Vec::new(),
        user: None,
        role: None,
        relationship: None,
        reason: None,
        request_ids: Vec::new(),
    };
    let opening = Encoded::new(opening, Vec::new());
    refusing(Refused { refusal, told: refusal.outwards(), agreement: None, opening })
}
