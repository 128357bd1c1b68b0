//! The steps that ask the running mesh, as applications, officers and auditors do.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::LOOK;
use super::mesh::{Answer, Document, Mesh, Node, get, refusal_code, run};
use super::source::{compare, compare_all, in_words, record, records_about, resources};
use super::step::{Seen, Unlike, ensure, seconds};
use super::story::{COMMUNITY, COUNCIL, HOSPITALS, OTHER, PERSON, Person, Recorded, Story};

/// Who asks at the council and at the other trust: nobody, like everybody here.
pub(super) const COUNCIL_USER: &str = "https://anytown-council.example/staff|jo.madeupson";
const COMMUNITY_USER: &str = "https://otherton-community.example/staff|sam.madeupson";
/// Both halves of an exchange are on the ledger within this time.
const HALVES_WAIT_MAX: Duration = Duration::from_secs(15);
/// The ledger has a new leader, and serves, within this time.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(30);
/// A Patient that the hospitals don't have.
const UNKNOWN_RECORD: &str = "rz9-0000";

/// The council reads a Patient.
pub(super) async fn read(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let (answer, took) = council_asks(&story.document, &patient(&PERSON), "TREAT").await?;
    expect_status(&answer, 200)?;
    let source = record("Patient", PERSON.record)?;
    let parts = compare(&source, &answer.json()?, story.released("Patient"))?;
    keep_receipt(story, &answer).await?;
    let recorded = recorded(&story.document, &answer, true).await?;
    let told = vec![
        format!(
            "Anytown City Council asked Anytown Hospitals for the details of {}, for her care \
             (TREAT).",
            PERSON.title
        ),
        format!("Released, as they stand in the hospitals' record: {}.", in_words(&parts.released)),
        format!("Withheld, as DSA-1 does not name them: {}.", in_words(&parts.withheld)),
        format!(
            "Each side's half of this is on the ledger: the hospitals' as leaf {}, the council's as \
             leaf {}.",
            recorded.leaf, recorded.requester_leaf
        ),
    ];
    Ok(story.about_person(recorded, took, told))
}

/// The council reads all that there is about the person.
pub(super) async fn everything(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let path = format!("{}/$everything", patient(&PERSON));
    let (answer, took) = council_asks(&story.document, &path, "TREAT").await?;
    expect_status(&answer, 200)?;
    let all = records_about(PERSON.record)?;
    let came = resources(&answer.json()?)?;
    let (outcomes, came): (Vec<_>, Vec<_>) =
        came.into_iter().partition(|it| kind_of(it) == "OperationOutcome");
    let (named, withheld): (Vec<_>, Vec<_>) =
        all.iter().partition(|it| story.released(&kind_of(it)).is_some());
    compare_all(&named, &came, |kind| story.released(kind))?;
    let tells = |kind: &str| outcomes.iter().any(|it| it.to_string().contains(kind));
    let is_so = !outcomes.is_empty() && !withheld.is_empty();
    ensure(is_so, "a word in the answer that something was withheld", "none")?;
    let told_what = withheld.iter().any(|it| tells(&kind_of(it)));
    ensure(!told_what, "no word of what was withheld", "it says what")?;
    let recorded = recorded(&story.document, &answer, true).await?;
    let told = vec![
        format!(
            "The hospitals have {} records about her. {} were released: {}.",
            all.len(),
            named.len(),
            counted(&named),
        ),
        format!(
            "{} were withheld whole: {}. The answer says that something is missing, not what.",
            withheld.len(),
            counted(&withheld),
        ),
    ];
    Ok(story.about_person(recorded, took, told))
}

/// The other trust searches under its own agreement.
pub(super) async fn shared_care(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let path = format!("/fhir/{HOSPITALS}/AllergyIntolerance?patient={}", PERSON.record);
    let ingress = &story.document.member(COMMUNITY)?.http;
    let begun = Instant::now();
    let answer = get(ingress, &path, &headers("TREAT", COMMUNITY_USER)).await?;
    let took = begun.elapsed();
    expect_status(&answer, 200)?;
    let all = records_about(PERSON.record)?;
    let allergies: Vec<_> = all.iter().filter(|it| kind_of(it) == "AllergyIntolerance").collect();
    let came = resources(&answer.json()?)?;
    compare_all(&allergies, &came, |_| Some(&tally_core::agreement::Elements::All))?;
    let recorded = recorded(&story.document, &answer, true).await?;
    let told = vec![format!(
        "Otherton Community asked for her allergies, for her care. DSA-2 shares them between the \
         two trusts: {} released, whole.",
        counted(&allergies),
    )];
    Ok(story.about_person(recorded, took, told))
}

/// The council asks again, for research.
pub(super) async fn other_purpose(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let (answer, took) = council_asks(&story.document, &patient(&PERSON), "HRESCH").await?;
    let body = expect_refusal(&answer, 403, "purpose-not-in-agreement")?;
    let said = |path: &str| {
        let text = body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        ensure(!text.is_empty(), format!("words at {path} of the answer"), "none").map(|()| text)
    };
    let (text, remedy) = (said("/issue/0/details/text")?, said("/issue/0/diagnostics")?);
    ensure(remedy.contains("Ask:"), "whom to ask, in the answer", &remedy)?;
    let recorded = recorded(&story.document, &answer, false).await?;
    let code = recorded.code.clone().unwrap_or_default();
    ensure(code == "purpose-not-in-agreement", "the reason on the ledger", code)?;
    let told = vec![
        "The council asked for the same record for research (HRESCH). Nothing was released, and \
         the refusal is on the ledger like a release."
            .to_owned(),
        format!("The answer: \"{text}\" \"{remedy}\""),
    ];
    Ok(story.about_person(recorded, took, told))
}

/// The person objects at the hospitals; the council asks again.
pub(super) async fn objection(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let subject = format!("nhs-number|{}", PERSON.nhs_number);
    let config = &story.document.member(HOSPITALS)?.config;
    let said = run(Some(config), &["consent", "record", "--subject", &subject, "--object"]).await?;
    let on_ledger = said.json.get("on_ledger") == Some(&Value::Bool(true));
    ensure(said.code == Some(0) && on_ledger, "an objection that counts", said.brief())?;
    let version = said.json.get("version").and_then(Value::as_u64).unwrap_or_default();

    let (answer, took) = council_asks(&story.document, &patient(&PERSON), "TREAT").await?;
    let refused = expect_refusal(&answer, 404, "not-available")?;
    let nobody = format!("/fhir/{HOSPITALS}/Patient/{UNKNOWN_RECORD}");
    let (unknown, _) = council_asks(&story.document, &nobody, "TREAT").await?;
    let not_there = expect_refusal(&unknown, 404, "not-available")?;
    let words = |body: &Value| body.pointer("/issue/0/details/text").cloned();
    ensure(
        words(&refused) == words(&not_there),
        "the words that are said of somebody who is not known",
        words(&refused).unwrap_or_default(),
    )?;

    let recorded_refusal = recorded(&story.document, &answer, false).await?;
    let recorded_unknown = recorded(&story.document, &unknown, false).await?;
    for one in [&recorded_refusal, &recorded_unknown] {
        let code = one.code.clone().unwrap_or_default();
        ensure(code == "person-level", "person-level, and no more, on the ledger", code)?;
    }
    story.about_others.push(recorded_unknown);
    let told = vec![
        format!(
            "Anytown Hospitals recorded her objection. What the ledger has of it: their consents \
             changed, to version {version}."
        ),
        "The council asked for the record of the first step again: not available. The same words \
         are said of somebody whom the hospitals have never heard of, so they don't tell that she \
         objected, nor that she is known there. The ledger says no more than \"person-level\"."
            .to_owned(),
    ];
    Ok(story.about_person(recorded_refusal, took, told))
}

/// The ledger's leader is killed; the council asks for somebody else.
pub(super) async fn leader_killed(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let leader = leader(&story.document).await?;
    let begun = Instant::now();
    Mesh::kill(&leader);
    let mut refused = 0;
    let answer = loop {
        let (answer, _) = council_asks(&story.document, &patient(&OTHER), "TREAT").await?;
        match answer.status {
            200 => break answer,
            503 | 504 if begun.elapsed() < LEADER_WAIT_MAX => refused += 1,
            _ => {
                let expected = format!("the record, within {}", seconds(LEADER_WAIT_MAX));
                return Err(Unlike::new(expected, answer.brief()));
            }
        }
        sleep(LOOK).await;
    };
    let took = begun.elapsed();
    let source = record("Patient", OTHER.record)?;
    compare(&source, &answer.json()?, story.released("Patient"))?;
    let recorded = recorded(&story.document, &answer, true).await?;
    let next = self::leader(&story.document).await?;
    ensure(next.id != leader.id, "another leader", format!("node {}", next.id))?;
    let meanwhile = match refused {
        0 => "It was served at the first asking".to_owned(),
        1 => "It was refused once, with nothing released, and then served".to_owned(),
        _ => format!("It was refused {refused} times, with nothing released, and then served"),
    };
    let told = vec![
        format!(
            "Node {} of {} led the ledger; it is run by {}. It was killed, without warning.",
            leader.id,
            story.document.ledger.len(),
            organisation(&leader.member),
        ),
        format!(
            "The council asked for the details of {}. {meanwhile}, {} after the kill. Node {} leads \
             now, and the ledger goes on without that organisation.",
            OTHER.title,
            seconds(took),
            next.id,
        ),
    ];
    let seen = seen(&recorded, took, told);
    story.about_others.push(recorded);
    Ok(seen)
}

/// The hospitals say who asked for the person's record.
pub(super) async fn who_saw(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let subject = format!("nhs-number|{}", PERSON.nhs_number);
    let config = &story.document.member(HOSPITALS)?.config;
    let begun = Instant::now();
    let answer = run(Some(config), &["audit", "subject", "--subject", &subject]).await?;
    let took = begun.elapsed();
    ensure(answer.code == Some(0), "an answer that is complete", answer.brief())?;
    let number = |name: &str| answer.json.get(name).and_then(Value::as_u64);
    let (Some(tested), Some(own), Some(size)) =
        (number("tested"), number("own_entries"), number("size"))
    else {
        return Err(Unlike::new("how far the answer goes", answer.brief()));
    };
    ensure(tested == own && own > 0, format!("all {own} own entries tested"), tested)?;
    let rows = answer.json.get("rows").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut told = vec![format!(
        "She asks Anytown Hospitals. Their answer has {} lines, and is complete to leaf {}: each of \
         the {own} times that anybody ever asked them was tested for her.",
        rows.len(),
        size.saturating_sub(1),
    )];
    check_rows(story, &rows)?;
    told.extend(rows.iter().map(row_in_words));
    let last = story.about_person.last();
    let leaf = last.map(|it| it.leaf);
    ensure(leaf.is_none_or(|leaf| leaf < size), format!("leaf {leaf:?} seen"), size)?;
    let at = last.map(|it| it.at.clone());
    Ok(Seen { leaf, at, took: Some(took), told })
}

/// The answer has what happened, and nothing else.
fn check_rows(story: &Story<'_>, rows: &[Value]) -> Result<(), Unlike> {
    for one in &story.about_person {
        let found = rows.iter().find(|row| text(row, "exchange") == one.exchange);
        let found = found.ok_or_else(|| {
            Unlike::new(
                format!("the exchange on leaf {} in the answer", one.leaf),
                "it is not there",
            )
        })?;
        let leaf = found.get("leaf").and_then(Value::as_u64);
        ensure(leaf == Some(one.leaf), format!("leaf {}", one.leaf), format!("{leaf:?}"))?;
        let outcome = if one.permitted { "permit" } else { "refuse" };
        ensure(text(found, "outcome") == outcome, outcome, text(found, "outcome"))?;
    }
    let others = rows
        .iter()
        .filter(|row| !story.about_person.iter().any(|one| one.exchange == text(row, "exchange")));
    let others = others.count();
    ensure(others == 0, "nothing about anybody else in the answer", format!("{others} lines"))
}

fn row_in_words(row: &Value) -> String {
    let leaf = row.get("leaf").and_then(Value::as_u64).unwrap_or_default();
    let time = text(row, "at");
    let time = time.split_once('T').map_or(time, |(_, time)| time);
    let user = text(row, "user");
    let user = user.rsplit_once('|').map_or(user, |(_, user)| user);
    let code = text(row, "code");
    let why = if code.is_empty() { String::new() } else { format!(", {code}") };
    let outcome = if text(row, "outcome") == "permit" { "released" } else { "refused" };
    let records = row.get("records").and_then(Value::as_array).map_or(0, Vec::len);
    format!(
        "· {time} leaf {leaf}: {} ({user}), {}, {}: {outcome}{why}, {records} {}",
        organisation(text(row, "requester")),
        text(row, "purpose"),
        match text(row, "agreement") {
            "" => "no agreement",
            agreement => agreement,
        },
        if records == 1 { "record" } else { "records" },
    )
}

impl Story<'_> {
    /// Notes an exchange about the person, and tells it.
    fn about_person(&mut self, recorded: Recorded, took: Duration, told: Vec<String>) -> Seen {
        let seen = seen(&recorded, took, told);
        self.about_person.push(recorded);
        seen
    }
}

fn seen(recorded: &Recorded, took: Duration, told: Vec<String>) -> Seen {
    let (leaf, at) = (Some(recorded.leaf), Some(recorded.at.clone()));
    Seen { leaf, at, took: Some(took), told }
}

fn patient(person: &Person) -> String {
    format!("/fhir/{HOSPITALS}/Patient/{}", person.record)
}

fn headers<'h>(purpose: &'h str, user: &'h str) -> [(&'static str, &'h str); 2] {
    [("Tally-Purpose", purpose), ("Tally-User", user)]
}

async fn council_asks(
    document: &Document,
    path: &str,
    purpose: &str,
) -> Result<(Answer, Duration), Unlike> {
    let ingress = &document.member(COUNCIL)?.http;
    let begun = Instant::now();
    let answer = get(ingress, path, &headers(purpose, COUNCIL_USER)).await?;
    Ok((answer, begun.elapsed()))
}

fn expect_status(answer: &Answer, status: u16) -> Result<(), Unlike> {
    ensure(answer.status == status, format!("status {status}"), answer.brief())
}

fn expect_refusal(answer: &Answer, status: u16, code: &str) -> Result<Value, Unlike> {
    let body = answer.json()?;
    let is_so = answer.status == status && refusal_code(&body) == Some(code);
    ensure(is_so, format!("status {status}, {code}"), answer.brief())?;
    Ok(body)
}

/// Keeps the receipt and the body, for whoever checks them later.
async fn keep_receipt(story: &Story<'_>, answer: &Answer) -> Result<(), Unlike> {
    let path = answer.header("tally-receipt")?;
    let ingress = &story.document.member(COUNCIL)?.http;
    let receipt = get(ingress, path, &[]).await?;
    expect_status(&receipt, 200)?;
    let (receipt_file, body_file) = story.kept();
    let write = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).map_err(|why| Unlike::new("room for a receipt", why))
    };
    write(&receipt_file, &receipt.body)?;
    write(&body_file, &answer.body)
}

/// Waits until both halves of an exchange are on the ledger, as an auditor sees it.
async fn recorded(
    document: &Document,
    answer: &Answer,
    permitted: bool,
) -> Result<Recorded, Unlike> {
    let exchange = answer.header("tally-exchange")?.to_owned();
    let deadline = Instant::now() + HALVES_WAIT_MAX;
    loop {
        let shown = run(Some(&document.auditor.config), &["audit", "show", &exchange]).await?;
        let rows = shown.json.get("rows").or(Some(&shown.json)).and_then(Value::as_array);
        let half = |half: &str| {
            let row = rows?.iter().find(|row| text(row, "half") == half)?;
            Some((row.clone(), row.get("leaf")?.as_u64()?))
        };
        if let (Some((row, leaf)), Some((_, requester_leaf))) =
            (half("provider"), half("requester"))
        {
            let outcome = if permitted { "permit" } else { "refuse" };
            ensure(text(&row, "outcome") == outcome, outcome, text(&row, "outcome"))?;
            let at = text(&row, "at").to_owned();
            let code = row.get("code").and_then(Value::as_str).map(str::to_owned);
            return Ok(Recorded { exchange, leaf, requester_leaf, at, permitted, code });
        }
        if Instant::now() > deadline {
            let expected = "both halves of the exchange on the ledger";
            return Err(Unlike::new(expected, shown.brief()));
        }
        sleep(LOOK).await;
    }
}

/// Waits until the ledger's nodes say who leads them.
async fn leader(document: &Document) -> Result<Node, Unlike> {
    let deadline = Instant::now() + LEADER_WAIT_MAX;
    loop {
        let status = run(Some(&document.auditor.config), &["ledger", "status"]).await?;
        let nodes = status.json.get("nodes").and_then(Value::as_array);
        let leads = |node: &&Value| text(node, "role") == "leader";
        let id = nodes.and_then(|nodes| nodes.iter().find(leads)?.get("node")?.as_u64());
        if let Some(node) = document.ledger.iter().find(|node| Some(node.id) == id) {
            return Ok(node.clone());
        }
        if Instant::now() > deadline {
            return Err(Unlike::new("a ledger node that leads", status.brief()));
        }
        sleep(LOOK).await;
    }
}

/// Text in an object; empty if there is none such.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn kind_of(resource: &Value) -> String {
    text(resource, "resourceType").to_owned()
}

/// How many of each type.
fn counted(resources: &[&Value]) -> String {
    let mut kinds: Vec<String> = resources.iter().map(|it| kind_of(it)).collect();
    kinds.sort_unstable();
    let each = kinds.chunk_by(|one, other| one == other).filter_map(|same| {
        let kind = same.first()?;
        Some(format!("{} {kind}", same.len()))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn organisation(member: &str) -> &str {
    match member {
        HOSPITALS => "Anytown Hospitals",
        COMMUNITY => "Otherton Community",
        COUNCIL => "Anytown City Council",
        other => other,
    }
}
