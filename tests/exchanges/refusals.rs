//! Every no that can be reached: what the application is told, and what the ledger holds of it.

use std::fs;

use tally_tests::dev::{Answer, Dev};

use super::books::{BROKEN_OFF, Books, WHOLE};
use super::outcome::told;
use super::world::{
    COUNCIL, PEOPLE, PLANNING, PROVIDER, TREAT, TRUST, care_share, ended_at_the_provider,
    record_consent, running, withdraw_consent,
};

/// What is recorded of a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// Nothing: it never left the own ingress. A metric counts it.
    Nowhere,
    /// Nothing: the provider found out at once what the own ingress might have.
    ByNobody,
    /// By the requester alone, with the code.
    ByRequester,
    /// By both, with the code.
    ByBoth,
    /// By both, and by neither what it was about the person.
    AboutPerson,
}

use Recorded::{AboutPerson, ByBoth, ByNobody, ByRequester, Nowhere};

/// A request, and its no.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'static str, Recorded);

const USER: (&str, &str) = TREAT[1];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_no_says_why_and_whom_to_ask_and_is_recorded_as_promised() {
    let dev = running().await;
    let mut books = Books::default();
    decided_or_not(&dev, &mut books).await;
    in_words_that_help(&dev, &mut books).await;
    at_other_times(&dev, &mut books).await;
    at_the_own_ingress(&dev, &mut books).await;
    free_of_charge(&dev).await;
    a_source_that_has_gone(&dev, &mut books).await;
    books.balance(&dev).await;
}

/// What the provider refuses, and what it can't decide.
async fn decided_or_not(dev: &Dev, books: &mut Books) {
    let patient = format!("Patient/{}", PEOPLE[0].id);
    let (version, history) = (format!("{patient}/_history/1"), format!("{patient}/_history"));
    let nobody = "Patient?identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000395";
    let purpose = |code: &'static str| [("tally-purpose", code), USER];
    let elsewhere = [TREAT[0], USER, ("tally-agreement", "DSA-FIGURES")];
    let blank = [purpose("ETREAT")[0], USER, ("tally-reason", "%20%C2%A0")];
    let fhir: [Case<'_>; 20] = [
        (&patient, &purpose("HRESCH"), 403, "purpose-not-in-agreement", ByBoth),
        (&patient, &purpose("HMARKT"), 403, "purpose-forbidden", ByBoth),
        (&patient, &purpose("DONAT"), 403, "purpose-unclassified", ByBoth),
        (&patient, &purpose("ETREAT"), 403, "reason-missing", ByBoth),
        (&patient, &blank, 403, "reason-missing", ByBoth),
        (&patient, &TREAT[..1], 403, "user-not-known-enough", ByBoth),
        (&patient, &elsewhere, 403, "no-agreement", ByBoth),
        ("Condition/c-1", TREAT, 403, "type-not-in-agreement", ByBoth),
        ("Patient/pat-nobody-99", TREAT, 404, "not-available", AboutPerson),
        ("Observation/obs-none-99", TREAT, 404, "not-available", AboutPerson),
        ("Patient/pat-nobody-99/$everything", TREAT, 404, "not-available", AboutPerson),
        (nobody, TREAT, 404, "not-available", AboutPerson),
        ("Patient?birthdate=1941", TREAT, 400, "unsupported-parameter", ByRequester),
        (&version, TREAT, 404, "not-available", AboutPerson),
        (&history, TREAT, 400, "bad-query", Nowhere),
        ("Patient?_count=zero", TREAT, 400, "bad-query", ByRequester),
        ("Patient?_page=AAAA", TREAT, 400, "bad-query", ByRequester),
        ("Nonsense/1", TREAT, 404, "unknown-type", ByRequester),
        ("Nonsense", TREAT, 404, "unknown-type", ByRequester),
        ("Patient?_format=xml", TREAT, 406, "not-acceptable", Nowhere),
    ];
    let under = |root: &str, case: &Case<'_>| format!("/{root}/{PROVIDER}/{}", case.0);
    for case in &fhir {
        refused(dev, books, COUNCIL, &under("fhir", case), *case).await;
    }
    // That a record can't be read is news of it: nobody hears it who may not ask.
    let data: [Case<'_>; 6] = [
        ("broken", PLANNING, 403, "purpose-not-in-agreement", ByBoth),
        ("large", PLANNING, 403, "purpose-not-in-agreement", ByBoth),
        ("private", PLANNING, 403, "no-agreement", ByBoth),
        ("beds", TREAT, 403, "purpose-not-in-agreement", ByBoth),
        ("broken", TREAT, 502, "source-malformed", ByRequester),
        ("large", TREAT, 403, "too-large", ByRequester),
    ];
    for case in &data {
        refused(dev, books, COUNCIL, &under("data", case), *case).await;
    }
    for source in ["broken", "large"] {
        let path = format!("/data/{PROVIDER}/{source}");
        refused(dev, books, TRUST, &path, ("", TREAT, 403, "no-agreement", ByBoth)).await;
    }
    let beyond = [PLANNING[0], ("range", "bytes=99999-")];
    let path = format!("/data/{PROVIDER}/beds");
    refused(dev, books, COUNCIL, &path, ("", &beyond, 416, "range-invalid", ByNobody)).await;
    // Only the trust itself can say that it has nothing of the kind: it shares nothing with anybody.
    let path = format!("/data/{TRUST}/nothing");
    refused(dev, books, COUNCIL, &path, ("", PLANNING, 404, "unknown-source", ByNobody)).await;
    let path = format!("/data/{PROVIDER}/beds/nothing.csv");
    refused(dev, books, COUNCIL, &path, ("", PLANNING, 404, "not-available", ByRequester)).await;
}

/// What the provider could not make out is said as it says it: the application is to mend just that.
async fn in_words_that_help(dev: &Dev, books: &mut Books) {
    let beds = format!("/data/{PROVIDER}/beds");
    let fhir = |rest: &str| format!("/fhir/{PROVIDER}/{rest}");
    let cases = [
        (fhir("Patient?birthdate=1941"), TREAT, "unsupported-parameter", "birthdate"),
        (fhir("Patient?_count=zero"), TREAT, "bad-query", "_count"),
        (fhir("Patient?_page=AAAA"), TREAT, "bad-query", "page"),
        (format!("{beds}?ward=A1"), PLANNING, "unsupported-parameter", "parameters"),
    ];
    for (path, headers, code, words) in cases {
        let case = (path.as_str(), headers, 400, code, ByRequester);
        let answer = refused(dev, books, COUNCIL, &path, case).await;
        let outcome = answer.json();
        let text = outcome["issue"][0]["details"]["text"].as_str().unwrap();
        assert!(text.contains(words), "{path}: {text}");
        assert!(!text.contains("1941") && !text.contains("A1"), "{path}: {text}");
    }
}

/// Agreements that hold at some other time.
async fn at_other_times(dev: &Dev, books: &mut Books) {
    for (source, code) in [("beds", "agreement-not-started"), ("flow", "agreement-ended")] {
        let path = format!("/data/{PROVIDER}/{source}");
        refused(dev, books, TRUST, &path, ("", PLANNING, 403, code, ByBoth)).await;
    }
}

/// What does not get past the own ingress.
async fn at_the_own_ingress(dev: &Dev, books: &mut Books) {
    let patient = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    let stranger = format!("/fhir/XX9/Patient/{}", PEOPLE[0].id);
    let deep = format!("{patient}/a/b/c");
    let beds = format!("/data/{PROVIDER}/beds");
    let none = format!("/data/{PROVIDER}/nothing");
    let nobody = [TREAT[0], ("tally-user", "nobody")];
    let xml = [TREAT[0], USER, ("accept", "application/fhir+xml")];
    let part = [PLANNING[0], ("range", "bytes=2-1")];
    let friend = [TREAT[0], USER, ("tally-relationship", "friend|x")];
    let cases: [Case<'_>; 11] = [
        (&stranger, TREAT, 404, "unknown-member", Nowhere),
        (&none, PLANNING, 404, "unknown-source", Nowhere),
        ("/somewhere/else", TREAT, 404, "unknown-source", Nowhere),
        (&patient, &[USER], 400, "purpose-missing", Nowhere),
        (&patient, &[("tally-purpose", "no purpose"), USER], 400, "header-invalid", Nowhere),
        (&patient, &[("tally-purpose", "9990000018"), USER], 400, "header-invalid", Nowhere),
        (&patient, &nobody, 400, "header-invalid", Nowhere),
        (&patient, &friend, 400, "header-invalid", Nowhere),
        (&deep, TREAT, 400, "bad-query", Nowhere),
        (&patient, &xml, 406, "not-acceptable", Nowhere),
        (&beds, &part, 416, "range-invalid", Nowhere),
    ];
    for case in &cases {
        refused(dev, books, COUNCIL, case.0, *case).await;
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = dev.request(method, COUNCIL, &patient, TREAT).await.unwrap();
        told(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    assert_eq!(turned_away(dev, COUNCIL, "method-not-allowed").await, 3);
}

/// What is no exchange has no entry.
async fn free_of_charge(dev: &Dev) {
    for path in [format!("/fhir/{PROVIDER}/metadata"), "/catalogue".to_owned()] {
        let answer = dev.get(COUNCIL, &path, &[]).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("tally-exchange"), "", "{answer:?}");
    }
}

async fn a_source_that_has_gone(dev: &Dev, books: &mut Books) {
    fs::remove_file(dev.files().join("beds.csv")).unwrap();
    let path = format!("/data/{PROVIDER}/beds");
    let case = ("", PLANNING, 502, "source-unavailable", ByRequester);
    refused(dev, books, COUNCIL, &path, case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_holds_from_the_second_signature_on_and_a_no_of_the_person_until_it_is_withdrawn()
 {
    let dev = running().await;
    let mut books = Books::default();
    signatures(&dev, &mut books).await;
    relationships(&dev, &mut books).await;
    allow_lists(&dev, &mut books).await;
    directives(&dev, &mut books).await;
    busy(&dev, &mut books).await;
    unreachable(&dev, &mut books).await;
    books.balance(&dev).await;
}

async fn signatures(dev: &Dev, books: &mut Books) {
    let fields = "fields = { Patient = [\"name\"], Observation = [\"*\"] }";
    let columns = "columns = [\"nhs_number\"]\nrelationship = \"required\"";
    let mut text = "tally = 1\nid = \"DSA-NIGHT\"\nversion = 1\ntitle = \"Nights\"\n\
         start = 2025-01-01\nreview = 2099-06-30\nend = 2099-12-31\ndpia = \"DPIA-80\"\n\
         parties = [\"RZ9\", \"RZ8\"]\n"
        .to_owned();
    text.push_str(&care_share("fhir", TRUST, fields));
    text.push_str(&care_share("clinic", TRUST, columns));
    let file = dev.files().join("night.toml");
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let path = format!("/fhir/{PROVIDER}/Observation/{}", PEOPLE[0].observation);
    let no = |code| ("", &TREAT[1..], 403, code, ByBoth);
    refused(dev, books, TRUST, &path, no("no-agreement")).await;
    dev.tally(TRUST, &["agreement", "propose", &file]).await.unwrap().done().unwrap();
    refused(dev, books, TRUST, &path, no("agreement-not-signed")).await;
    signed_with_the_key_of_another(dev).await;
    refused(dev, books, TRUST, &path, no("agreement-not-signed")).await;
    dev.tally(TRUST, &["agreement", "sign", "DSA-NIGHT@1"]).await.unwrap().done().unwrap();
    refused(dev, books, TRUST, &path, no("agreement-not-signed")).await;
    dev.tally(PROVIDER, &["agreement", "sign", "DSA-NIGHT@1"]).await.unwrap().done().unwrap();
    permitted(dev, books, TRUST, &path, &TREAT[1..]).await;
}

/// The ledger takes a signature of a member's own officer only.
async fn signed_with_the_key_of_another(dev: &Dev) {
    let own = dev.dir_of(TRUST).join("tally.toml");
    let other = dev.dir_of(TRUST).join("other.toml");
    let text = fs::read_to_string(&own).unwrap();
    let key = format!("key = \"../{COUNCIL}/officers/ig-lead.key\"");
    fs::write(&other, text.replace("key = \"officers/ig-lead.key\"", &key)).unwrap();
    let other = other.display().to_string();
    let args = ["--config", &other, "agreement", "sign", "DSA-NIGHT@1"];
    let signed = dev.tally(TRUST, &args).await.unwrap();
    assert_eq!(signed.code, Some(1), "{}", signed.said);
    assert!(signed.said.contains("approval-invalid"), "{}", signed.said);
}

async fn relationships(dev: &Dev, books: &mut Books) {
    let path = format!("/data/{PROVIDER}/clinic");
    let case = ("", &TREAT[1..], 403, "relationship-missing", ByBoth);
    refused(dev, books, TRUST, &path, case).await;
    let stated = [USER, ("tally-relationship", "caseload|ward-7")];
    permitted(dev, books, TRUST, &path, &stated).await;
}

/// The trust may see names and nothing else of a Patient: neither may it search by something else,
/// nor read one whose meaning hangs on what it may not see.
async fn allow_lists(dev: &Dev, books: &mut Books) {
    let number = PEOPLE[0].nhs_number;
    let path = format!("/fhir/{PROVIDER}/Patient?identifier=x%7C{number}");
    let case = ("", &TREAT[1..], 403, "query-not-permitted", ByBoth);
    refused(dev, books, TRUST, &path, case).await;
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    let case = ("", &TREAT[1..], 404, "not-available", AboutPerson);
    refused(dev, books, TRUST, &path, case).await;
}

async fn directives(dev: &Dev, books: &mut Books) {
    let person = PEOPLE[1];
    let path = format!("/fhir/{PROVIDER}/Patient/{}", person.id);
    let no = ("", TREAT, 404, "not-available", AboutPerson);
    let sayings: [&[&str]; 3] = [
        &["--deny", "--purpose", "TREAT"],
        &["--object"],
        &["--deny", "--requester", COUNCIL, "--reason", "a neighbour works there"],
    ];
    for said in sayings {
        let exchange = permitted(dev, books, COUNCIL, &path, TREAT).await;
        ended_at_the_provider(dev, &exchange).await;
        let recorded = record_consent(dev, person.nhs_number, said).await;
        assert_eq!(recorded["on_ledger"], true, "{recorded}");
        refused(dev, books, COUNCIL, &path, no).await;
        withdraw_consent(dev, person.nhs_number, recorded["id"].as_u64().unwrap()).await;
    }
    let exchange = permitted(dev, books, COUNCIL, &path, TREAT).await;
    ended_at_the_provider(dev, &exchange).await;
    // What somebody says to one organisation is no word about another.
    record_consent(dev, person.nhs_number, &["--deny", "--requester", TRUST]).await;
    permitted(dev, books, COUNCIL, &path, TREAT).await;
}

/// One that takes one exchange at a time, while it releases a dataset to somebody who reads slowly.
async fn busy(dev: &Dev, books: &mut Books) {
    dev.reconfigure(PROVIDER, "[limits]\nexchanges_max = 1").await.unwrap();
    let flow = format!("/data/{PROVIDER}/flow");
    let mut arriving = dev.open("GET", COUNCIL, &flow, PLANNING).await.unwrap();
    arriving.next().await.unwrap().unwrap();
    books.expect_of(arriving.headers["tally-exchange"].to_str().unwrap(), BROKEN_OFF);
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[2].id);
    let case = ("", TREAT, 503, "too-busy", ByRequester);
    refused(dev, books, COUNCIL, &path, case).await;
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    drop(arriving);
    ended_at_the_provider(dev, &exchange).await;
    permitted(dev, books, COUNCIL, &path, TREAT).await;
    // The provider is killed next, and what it still owed then would stay with it.
    dev.entries_of(&exchange, BROKEN_OFF.len()).await.unwrap();
}

async fn unreachable(dev: &Dev, books: &mut Books) {
    dev.kill(PROVIDER).await.unwrap();
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[2].id);
    let case = ("", TREAT, 502, "unreachable", ByRequester);
    refused(dev, books, COUNCIL, &path, case).await;
}

/// Asks, hears no, and notes what the ledger has to hold of it.
async fn refused(dev: &Dev, books: &mut Books, by: &str, path: &str, case: Case<'_>) -> Answer {
    let (_, headers, status, code, recorded) = case;
    let before = if recorded == Nowhere { turned_away(dev, by, code).await } else { 0 };
    let answer = dev.get(by, path, headers).await.unwrap();
    println!("{path}: {} {}", answer.status, answer.code());
    told(&answer, status, code);
    match recorded {
        Nowhere => {
            assert_eq!(answer.header("tally-exchange"), "", "{answer:?}");
            assert_eq!(turned_away(dev, by, code).await, before + 1, "{code}");
        }
        ByNobody => drop(books.expect(&answer, &[])),
        ByRequester => drop(books.requesters(&answer, code)),
        ByBoth => drop(books.both(&answer, code)),
        AboutPerson => drop(books.about_a_person(&answer)),
    }
    answer
}

async fn permitted(
    dev: &Dev,
    books: &mut Books,
    by: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> String {
    let answer = dev.get(by, path, headers).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    books.expect(&answer, WHOLE)
}

/// How many requests a member's ingress has turned away with a code.
async fn turned_away(dev: &Dev, member: &str, code: &str) -> u64 {
    let metrics = dev.metrics(member).await.unwrap();
    let name = format!("tally_agent_turned_away_total{{code=\"{code}\",side=\"requester\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}
