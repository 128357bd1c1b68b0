//! Why a person's directives say yes or no to a request about one record: the same function as
//! decisions use, told step by step.

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::consent::{
    Actor, Actors, Answer, Asked, CONFIDENTIALITY, CONFIDENTIALITY_CODES, Consent, Data, Days,
    Directive, Directives, Named, Provision, Reference, Rule, SENSITIVITY, Simple, Spoken, Word,
};
use tally_core::id::Purpose;
use tally_core::policy::Registers;
use tally_core::purpose::{Lineage, is_known};
use tally_core::record::{Facets, Item, Label};
use tally_core::time::Date;

use super::super::api::{ConsentExplained, ConsentStep, ExplainConsent, RecordText};
use super::super::{Admin, No, answer, person, question};
use crate::clock::wall;
use crate::store::{DirectiveId, KnownAs};

pub(in super::super) async fn explain(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, No> {
    let asked = question::<ExplainConsent>(request).await?;
    let person = admin.decided_about(person(&asked.subject)?)?;
    let known = admin.0.replica.known();
    let now = known.time.max(wall()).london_date();
    let requester = known.member(&asked.requester, now).map(|member| member.id.clone());
    let requester = requester.ok_or_else(|| {
        No::caller(format!("{}: no member of the mesh", asked.requester), "name a member")
    })?;
    let purpose = asked.purpose.parse::<Purpose>().ok().filter(is_known);
    let purpose = purpose.ok_or_else(|| {
        No::caller("the purpose is none that is known", "name a v3-ActReason code, such as TREAT")
    })?;
    let today = match &asked.on {
        None => now,
        Some(text) => text
            .parse::<Date>()
            .map_err(|_| No::caller("the day is none", "write it as YYYY-MM-DD"))?,
    };
    let lineage = Lineage::of(&purpose);
    let before = Registers::before(&*known.registers, &requester);
    let asks = Asked { requester: &requester, before: &before, purpose: &lineage, today };
    let item = item(&asked.record)?;
    let names = admin.0.sources.names_before(&person).into_iter().collect();
    let bound = admin.0.store.binding(KnownAs { person, before: names }).await?;
    Ok(answer(&explained(bound, &asks, &item)))
}

/// The answer of decisions, and the word of each directive.
fn explained(
    bound: Option<Vec<(DirectiveId, Directive)>>,
    asked: &Asked<'_>,
    item: &Item,
) -> ConsentExplained {
    let (ids, directives) = match bound {
        Some(bound) => {
            let (ids, list): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
            (ids, Directives::Known(list))
        }
        None => (Vec::new(), Directives::Unreadable),
    };
    let words = directives.words(asked, item).unwrap_or_default();
    let known = match &directives {
        Directives::Known(list) => list.as_slice(),
        Directives::Unreadable => &[],
    };
    let steps = ids.iter().zip(known).zip(words).map(|((id, said), word)| step(*id, said, word));
    let steps: Vec<_> = steps.collect();
    let (decision, rule, place) = match directives.answer(asked, item) {
        Answer::Permit(place) => ("permit", "something permits, and nothing denies", Some(place)),
        Answer::Deny(place) => ("deny", "a denial beats every permit", Some(place)),
        Answer::Absent => {
            ("absent", "nothing is said: the agreement's common-law basis decides", None)
        }
        Answer::Unreadable => {
            ("unreadable", "what can't be read can't be kept to: nothing is released", None)
        }
    };
    let decisive = place.and_then(|place| steps.get(place));
    ConsentExplained {
        decision: decision.to_owned(),
        rule: rule.to_owned(),
        directive: decisive.map(|step| step.directive),
        provision: decisive.and_then(|step| step.provision.clone()),
        steps,
    }
}

fn step(id: DirectiveId, said: &Directive, word: Word) -> ConsentStep {
    let (says, provision, because) = match (said, word) {
        (Directive::Consent(consent), Word::Consent(spoken)) => spoken_step(consent, spoken),
        (Directive::Consent(_), _) => {
            let because = "none of its provisions reaches this request".to_owned();
            ("silent", None, because)
        }
        (Directive::Simple(simple), Word::Permits) => ("permits", None, simple_words(simple)),
        (Directive::Simple(simple), Word::Denies) => ("denies", None, simple_words(simple)),
        (Directive::Simple(_), Word::Replaced) => {
            ("replaced", None, "a later word about the same purpose and asker".to_owned())
        }
        (Directive::Simple(simple), _) => {
            ("silent", None, format!("it is about something else: {}", simple_words(simple)))
        }
    };
    let says = says.to_owned();
    ConsentStep { directive: id.0, says, provision, because }
}

fn spoken_step(consent: &Consent, spoken: Spoken) -> (&'static str, Option<String>, String) {
    let conditions = consent.provision(spoken.provision).map(conditions).unwrap_or_default();
    let because = if spoken.outside {
        format!("the record is not among those that it permits: {conditions}")
    } else {
        conditions
    };
    let says = match spoken.rule {
        Rule::Permit => "permits",
        Rule::Deny => "denies",
    };
    (says, Some(consent.place_of(spoken.provision)), because)
}

fn simple_words(simple: &Simple) -> String {
    let purpose =
        simple.purpose.as_ref().map_or_else(|| "any purpose".to_owned(), |it| it.to_string());
    let actors = match &simple.actors {
        Actors::Anyone => "anyone".to_owned(),
        Actors::These(members) => joined(members.iter().map(ToString::to_string)),
    };
    format!("purpose {purpose}; to {actors}")
}

/// What a provision states itself, in words.
fn conditions(provision: &Provision) -> String {
    let mut words = Vec::new();
    let mut add = |name: &str, values: String| {
        if !values.is_empty() {
            words.push(format!("{name} {values}"));
        }
    };
    add("purpose", joined(provision.purposes.iter().map(ToString::to_string)));
    add(
        "to",
        joined(provision.actors.iter().map(|actor| match actor {
            Actor::Member(member) => member.to_string(),
            Actor::Unknown => "somebody whom nobody could tell".to_owned(),
        })),
    );
    add("label", joined(provision.labels.iter().map(|label| label.code.clone())));
    add("type", joined(provision.kinds.iter().cloned()));
    add(
        "data",
        joined(provision.data.iter().map(|data| match data {
            Data::Instance(reference) => reference.reveal().to_owned(),
            Data::Related(reference) => format!("related to {}", reference.reveal()),
            Data::AuthoredBy(reference) => format!("authored by {}", reference.reveal()),
        })),
    );
    if provision.period.is_some() {
        add("in its", "period".to_owned());
    }
    if provision.data_period.is_some() {
        add("data of its", "time frame".to_owned());
    }
    if words.is_empty() { "no condition of its own".to_owned() } else { words.join("; ") }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

/// A record of which nothing more is known than was told.
fn item(told: &RecordText) -> Result<Item, No> {
    let days = match &told.date {
        None => None,
        Some(text) => {
            let days = Days::parse(text).map(|days| (days.first, days.last));
            Some(days.ok_or_else(|| No::caller("the record's date is none", "write YYYY-MM-DD"))?)
        }
    };
    Ok(Item {
        // The rows of a dataset have no type either.
        kind: told.kind.clone().unwrap_or_else(|| "row".to_owned()),
        id: told.id.clone().unwrap_or_default(),
        people: Vec::new(),
        labels: told.labels.iter().map(|text| label(text)).collect(),
        facets: Facets {
            days,
            authors: named(&told.authors),
            encounters: named(&told.encounters),
            contained: Vec::new(),
        },
        bytes: 0,
    })
}

fn label(text: &str) -> Label {
    let (system, code) = match text.split_once('|') {
        Some(parts) => parts,
        None if CONFIDENTIALITY_CODES.contains(&text) => (CONFIDENTIALITY, text),
        None => (SENSITIVITY, text),
    };
    Label { system: system.to_owned(), code: code.to_owned() }
}

fn named(texts: &[String]) -> Named {
    let references: Vec<_> = texts.iter().filter_map(|text| Reference::new(text)).collect();
    Named { complete: !references.is_empty() && references.len() == texts.len(), references }
}
