//! Applications behind a sidecar get what they would get from their agent, through its restarts too.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use tally_tests::dev::{Answer, Beside, Dev};
use tally_tests::mesh::until;

use super::world::{COUNCIL, FLOW_LEN, PLANNING, PROVIDER, TREAT, dataset, record, running};

/// What is told is told within this time, on a machine that is busy.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(30);
/// KiB of its own that a sidecar may have resident: what is not the program's text, which lies in memory
/// once for all processes of a machine and is larger where it was built without optimisation.
const OWN_KIB_MAX: u64 = 15_000;

/// Where a member's agent is reached by its sidecars.
pub(super) fn agent_of(dev: &Dev, member: &str) -> String {
    dev.member(member)["quic"].as_str().unwrap().to_owned()
}

async fn council_sidecar(dev: &Dev, name: &str, more: &str) -> Beside {
    let beside = dev.sidecar(COUNCIL, name, &agent_of(dev, COUNCIL), more).await.unwrap();
    ready(&beside).await;
    beside
}

pub(super) async fn ready(beside: &Beside) {
    let ready = until("a sidecar that is ready", TOLD_WAIT_MAX, async || {
        let told = beside.health("/ready").await.map_err(|error| error.to_string())?;
        if told.status == 200 { Ok(()) } else { Err(told.json().to_string()) }
    });
    ready.await.unwrap();
}

/// Why a sidecar is not ready.
pub(super) async fn lacks(beside: &Beside) -> Vec<String> {
    let told = beside.health("/ready").await.unwrap();
    let told = (told.status, told.json());
    assert_eq!(told.0 == 200, told.1["ready"] == true, "{}", told.1);
    let reasons = told.1["reasons"].as_array().unwrap().iter();
    reasons.map(|it| it["reason"].as_str().unwrap().to_owned()).collect()
}

/// The value of a metric of a sidecar.
async fn metric(beside: &Beside, line: &str) -> Result<u64, String> {
    let text = beside.health("/metrics").await.map_err(|error| error.to_string())?.body;
    let text = String::from_utf8(text).unwrap();
    let value = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).ok_or(text)
}

/// What an application can tell two answers apart by, but for their exchanges.
fn shape(answer: &Answer) -> (u16, String, Vec<(String, String)>, bool) {
    let own = ["tally-exchange", "tally-receipt", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    // A refusal names its exchange, for whoever is asked about it.
    let mut body = answer.body.clone();
    if answer.status != 200 && !answer.header("tally-exchange").is_empty() {
        let text = String::from_utf8(body).unwrap();
        body = text.replace(answer.header("tally-exchange"), "EXCHANGE").into_bytes();
    }
    (answer.status, tally_log::leaf_hash(&body).to_string(), headers, answer.whole)
}

/// Bytes of the dataset that is too long for any buffer on the way.
pub(super) fn flow_len(dev: &Dev) -> usize {
    let len = fs::metadata(dev.files().join("flow.csv")).unwrap().len();
    assert!(len >= FLOW_LEN.try_into().unwrap());
    len.try_into().unwrap()
}

/// KiB that a process has resident: in all, and of its own.
fn resident_kib(beside: &Beside) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", beside.pid().unwrap())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kib("VmRSS:"), kib("RssAnon:"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_through_a_sidecar_is_what_comes_from_the_agent() {
    let dev = running().await;
    let pas = council_sidecar(&dev, "pas", "").await;
    let ward =
        council_sidecar(&dev, "ward", "purpose = \"local:PLANNING\"\nuser = \"service:ward\"")
            .await;
    let search = format!("/fhir/{PROVIDER}/Patient?_count=2");
    let nobody = format!("/fhir/{PROVIDER}/Patient/pat-nobody");
    let (record, beds, flow) = (record(0), dataset("beds"), dataset("flow"));
    for (path, headers) in [
        (&record, TREAT),
        (&nobody, TREAT),
        (&beds, PLANNING),
        (&flow, PLANNING),
        (&search, TREAT),
        // What is missing is missed at either.
        (&record, &[]),
        (&"/nowhere".to_owned(), &[]),
    ] {
        let own = dev.get(COUNCIL, path, headers).await.unwrap();
        let carried = pas.get(path, headers).await.unwrap();
        if path == &search {
            // Links lead to where each application has asked.
            let text = String::from_utf8(carried.body).unwrap();
            assert!(text.contains(&format!("http://{}/fhir/", pas.ingress())), "{text}");
            continue;
        }
        assert_eq!(shape(&own), shape(&carried), "{path}");
        if path == &flow {
            assert_eq!(carried.body.len(), flow_len(&dev));
        }
    }
    // Receipts, conditional reads and HEAD are the agent's own, too.
    let answer = pas.get(&record, TREAT).await.unwrap();
    let receipt = answer.header("tally-receipt").to_owned();
    assert_eq!(pas.get(&receipt, &[]).await.unwrap().status, 200);
    let known = [TREAT, &[("if-none-match", answer.header("etag"))]].concat();
    assert_eq!(pas.get(&record, &known).await.unwrap().status, 304);
    let head = pas.open("HEAD", &record, TREAT).await.unwrap().all().await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));

    // Each of two sidecars says for its application what that does not say.
    let planned = ward.get(&beds, &[]).await.unwrap();
    assert_eq!(planned.status, 200, "{}", planned.json());
    assert_eq!(pas.get(&beds, &[]).await.unwrap().code(), "purpose-missing");
    // A service is nobody that the agreement for care would know: its sidecar says so, whatever it says.
    let treat = ward.get(&record, TREAT).await.unwrap();
    assert_eq!(treat.code(), "user-not-known-enough", "{}", treat.json());

    for beside in [&pas, &ward] {
        let (all, own) = resident_kib(beside);
        eprintln!("a sidecar after its requests: {all} KiB resident, {own} KiB of its own");
        assert!(own <= OWN_KIB_MAX, "{own}");
        let carried = "tally_sidecar_connections_total{code=\"carried\"}";
        assert!(metric(beside, carried).await.unwrap() >= 2);
    }
    assert!(dev.log(COUNCIL).contains("a sidecar is connected"), "{}", dev.log(COUNCIL));
    // Nothing of a request is in its log.
    assert!(!pas.log().contains("pat-") && !pas.log().contains("wren"), "{}", pas.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_in_mid_question_is_told_and_found_again() {
    let dev = running().await;
    let pas = council_sidecar(&dev, "pas", "").await;
    let pid = pas.pid();
    assert_eq!(pas.get(&record(0), TREAT).await.unwrap().status, 200);
    // A body that breaks off is not taken for whole.
    let broken = async {
        let mut arriving = pas.open("GET", &dataset("flow"), PLANNING).await.unwrap();
        arriving.next().await.unwrap();
        dev.kill(COUNCIL).await.unwrap();
        arriving.all().await.unwrap()
    };
    let broken = broken.await;
    assert!(broken.status == 200 && !broken.whole, "{}", broken.body.len());
    let away = pas.get(&record(0), TREAT).await.unwrap();
    assert_eq!((away.status, away.code().as_str()), (503, "agent-unreachable"));
    assert_eq!((away.header("retry-after"), away.whole), ("1", true));
    assert_eq!(lacks(&pas).await, ["agent-unreachable"]);
    dev.start_again(COUNCIL).await.unwrap();
    ready(&pas).await;
    assert_eq!(pas.get(&record(1), TREAT).await.unwrap().status, 200);

    // The provider is asked and says nothing: the agent dies before there is an answer.
    dev.freeze(PROVIDER);
    let from = "tally_sidecar_bytes_total{direction=\"from-application\"}";
    let before = metric(&pas, from).await.unwrap();
    let path = record(2);
    let (lost, ()) = tokio::join!(pas.get(&path, TREAT), async {
        let said = until("a question at the agent", TOLD_WAIT_MAX, async || {
            let now = metric(&pas, from).await?;
            if now > before { Ok(()) } else { Err(now.to_string()) }
        });
        said.await.unwrap();
        dev.kill(COUNCIL).await.unwrap();
    });
    let lost = lost.unwrap();
    assert_eq!((lost.status, lost.code().as_str()), (503, "agent-lost"), "{}", lost.json());
    dev.thaw(PROVIDER);
    dev.start_again(COUNCIL).await.unwrap();
    ready(&pas).await;
    assert_eq!(pas.get(&record(2), TREAT).await.unwrap().status, 200);
    assert_eq!(pas.pid(), pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_drains_and_an_application_that_goes_away_lose_nothing() {
    let dev = running().await;
    let pas = council_sidecar(&dev, "pas", "").await;
    // The agent ends in good order: what has begun through the sidecar ends whole.
    let mut arriving = pas.open("GET", &dataset("flow"), PLANNING).await.unwrap();
    let mut len = arriving.next().await.unwrap().unwrap().len();
    dev.tell(COUNCIL, Signal::TERM);
    let rest = arriving.all().await.unwrap();
    len += rest.body.len();
    assert_eq!((len, rest.whole), (flow_len(&dev), true));
    dev.gone(COUNCIL).await.unwrap();
    dev.start_again(COUNCIL).await.unwrap();
    ready(&pas).await;

    // An application that goes away is an application that hangs up at the agent.
    let mut arriving = pas.open("GET", &dataset("flow"), PLANNING).await.unwrap();
    arriving.next().await.unwrap();
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    drop(arriving);
    let line = until("the end of its exchange", TOLD_WAIT_MAX, async || {
        let log = dev.log(COUNCIL);
        let line = log.lines().find(|line| line.contains(&exchange) && line.contains("outcome"));
        line.map(str::to_owned).ok_or_else(|| "nothing yet".to_owned())
    });
    let line = line.await.unwrap();
    assert!(!line.contains("outcome=\"released\""), "{line}");
    let open = until("no open connection", TOLD_WAIT_MAX, async || {
        match metric(&pas, "tally_sidecar_connections").await? {
            0 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    open.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_is_configured_anew_while_it_runs_and_ends_in_good_order() {
    let dev = running().await;
    let mut pas = council_sidecar(&dev, "pas", "").await;
    let path = pas.dir.join("sidecar.toml");
    let shown =
        ["config", "show", &path.display().to_string(), "--output", "json"].map(str::to_owned);
    let shown = shown.iter().map(String::as_str).collect::<Vec<_>>();
    let shown = dev.tally(COUNCIL, &shown).await.unwrap().done().unwrap().json();
    assert_eq!(shown["kind"], "sidecar", "{shown}");

    assert_eq!(pas.get(&dataset("beds"), &[]).await.unwrap().code(), "purpose-missing");
    let mut long = pas.open("GET", &dataset("flow"), PLANNING).await.unwrap();
    let first = long.next().await.unwrap().unwrap().len();
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace(
        "listen = \"127.0.0.1:0\"\n\n",
        "listen = \"127.0.0.1:0\"\npurpose = \"local:PLANNING\"\n",
    );
    fs::write(&path, text + "[limits]\nconnections_max = 7\n").unwrap();
    pas.tell(Signal::HUP);
    let told =
        "taken over: ingress.purpose; left as it was until the next start: limits.connections_max";
    pas.says(0, told).await.unwrap();
    let planned = until("the new purpose", TOLD_WAIT_MAX, async || {
        let answer = pas.get(&dataset("beds"), &[]).await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.code()) }
    });
    planned.await.unwrap();

    // Another certificate is taken as it comes, and the next dial shows it.
    dev.issue_sidecar(COUNCIL, "pas", &pas.dir).await.unwrap();
    pas.says(0, "another certificate is presented").await.unwrap();

    // Told to end, it lets what has begun end, and takes nothing new.
    pas.tell(Signal::TERM);
    pas.says(0, "takes nothing new").await.unwrap();
    let rest = long.all().await.unwrap();
    assert_eq!((first + rest.body.len(), rest.whole), (flow_len(&dev), true));
    assert_eq!(pas.ended().await.unwrap(), Some(0), "{}", pas.log());

    // Whoever could reach it from elsewhere would ask in the member's name.
    let open = fs::read_to_string(&path)
        .unwrap()
        .replace("\"127.0.0.1:0\"\npurpose", "\"0.0.0.0:0\"\npurpose");
    fs::write(&path, open).unwrap();
    let config = path.display().to_string();
    let refused = dev.tally(COUNCIL, &["sidecar", "--config", &config]).await.unwrap();
    assert_eq!(refused.code, Some(2), "{}", refused.said);
    assert!(refused.said.contains("not on loopback"), "{}", refused.said);
}
