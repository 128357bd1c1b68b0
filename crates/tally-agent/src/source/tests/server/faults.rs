//! What a server can do wrong: each its own refusal, and none of its words outwards.

use super::*;
use tokio::net::TcpListener;

/// A server that always says the same, and what is then refused.
async fn refused(reply: Reply, change: impl Fn(&mut FhirServerSettings)) -> (Refusal, usize) {
    let fake = Fake::start(move |_| reply.clone()).await;
    let desk = Desk::new();
    let mut settings = settings(&fake.url("/r4"));
    change(&mut settings);
    let source = desk.server(settings);
    let refused = get(&desk, &source, "Patient/p1").await.unwrap_err();
    (refused, fake.seen().len())
}

/// What an upstream says must not leave: each body of a fault holds this word.
const WORDS: &str = "SECRET words of the server";

#[tokio::test]
async fn each_fault_of_a_server_has_a_refusal_of_its_own() {
    let text = |status| Reply::new(status, "text/plain", WORDS);
    let json = |body: &str| Reply::new(200, "application/fhir+json", body);
    let other = patient("p2", None);
    let bundle = r#"{"resourceType":"Bundle","type":"searchset"}"#;
    for (reply, refusal) in [
        (text(401), Refusal::UpstreamRefused),
        (text(403), Refusal::UpstreamRefused),
        (text(400), Refusal::UpstreamRefused),
        (text(422), Refusal::UpstreamRefused),
        (text(301).with("location", "http://127.0.0.1:1/"), Refusal::UpstreamMalformed),
        (text(204), Refusal::UpstreamMalformed),
        (text(200), Refusal::UpstreamMalformed),
        (json(WORDS), Refusal::UpstreamMalformed),
        (json("{\"resourceType\":\"Patient\",\"id\":\"p1\""), Refusal::UpstreamMalformed),
        (json(&other), Refusal::UpstreamMalformed),
        (json(bundle), Refusal::UpstreamMalformed),
        (json(&format!("[{}1]", "[".repeat(100))), Refusal::UpstreamMalformed),
        (Reply::new(404, "text/plain", WORDS), Refusal::UnknownRecord),
        (Reply::new(410, "text/plain", WORDS), Refusal::UnknownRecord),
        (json(&" ".repeat(5 * 1024 * 1024)), Refusal::TooLarge),
    ] {
        let what = format!("{reply:?}");
        // What is told once is not asked again.
        assert_eq!(refused(reply, |_| {}).await, (refusal, 1), "{what}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_again_a_few_times() {
    let short = |settings: &mut FhirServerSettings| {
        settings.answer_wait_max = Duration::from_millis(100);
    };
    for reply in [
        Reply::status(500),
        Reply::status(503),
        Reply::status(429),
        Reply::hang_up(),
        Reply::silence(),
        Reply::status(503).with("retry-after", "0"),
    ] {
        let what = format!("{reply:?}");
        let found = refused(reply, short).await;
        assert_eq!(found, (Refusal::UpstreamUnreachable, 3), "{what}");
    }
    // It wants to be left alone for longer than anybody waits.
    let reply = Reply::status(503).with("retry-after", "3600");
    assert_eq!(refused(reply, |_| {}).await, (Refusal::UpstreamUnreachable, 1));
}

#[tokio::test]
async fn an_answer_that_never_ends_is_waited_for_as_long_as_the_whole_may_take() {
    let whole = |settings: &mut FhirServerSettings| {
        settings.whole_wait_max = Duration::from_millis(300);
    };
    let found = refused(Reply::stall(), whole).await;
    assert_eq!(found, (Refusal::UpstreamUnreachable, 1));
}

#[tokio::test]
async fn nobody_at_the_address_is_an_unreachable_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let desk = Desk::new();
    let source = desk.server(settings(&format!("http://127.0.0.1:{port}/r4")));
    let refused = get(&desk, &source, "Patient/p1").await;
    assert_eq!(refused, Err(Refusal::UpstreamUnreachable));
}

#[tokio::test]
async fn a_server_that_is_back_is_read_as_if_nothing_had_been() {
    let fake = Fake::start(|seen| match seen.number {
        0 => Reply::status(503),
        1 => Reply::hang_up(),
        _ => two_people(seen),
    })
    .await;
    let desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    assert_eq!(get(&desk, &source, "Patient/p1").await.unwrap()["id"], "p1");
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn what_a_record_refers_to_and_can_not_be_read_fails_the_whole() {
    let fake = Fake::start(|seen| match seen.target.as_str() {
        "/r4/Patient/p1" => Reply::status(403),
        _ => two_people(seen),
    })
    .await;
    let desk = Desk::new();
    let source = desk.server(settings(&fake.url("/r4")));
    // Nobody knows under which number an objection would stand.
    assert_eq!(get(&desk, &source, "Observation/o1").await, Err(Refusal::UpstreamRefused));
}

#[tokio::test]
async fn a_fault_is_told_to_nobody_who_may_not_ask() {
    let fake = Fake::start(|_| Reply::status(403)).await;
    let mut desk = Desk::new();
    desk.fields = AllowList::Elements(vec![("Group".to_owned(), Elements::All)]);
    let source = desk.server(settings(&fake.url("/r4")));
    let reading = Arc::clone(&source).describe(ask("Patient/p1")).await.unwrap();
    let Decision::Refuse(refused) = desk.decide(&source, &reading) else { panic!("permitted") };
    assert_eq!(refused.refusal(), Refusal::TypeNotInAgreement);
}
