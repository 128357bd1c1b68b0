//! A source that holds its answers, how many may wait for it, and what that costs those who ask another
//! one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tally_tests::dev::{Answer, Dev};
use tally_tests::mesh::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::memory::{metric, resident_kib};
use super::world::{
    BEDS, COUNCIL, PLANNING, PROVIDER, RECORD, TREAT, is_refused, is_served, with_records,
};

/// Questions for records, all at once.
const ASKED: usize = 1000;
/// Of them, those that one user asks: as many as one may have in flight.
const OF_ONE_USER: usize = 250;
/// How many may wait for one source where nobody has said otherwise.
const WAITING_MAX: usize = 512;
/// Reads of figures, one after the other, before and beside them.
const READS: usize = 100;
/// Below this a difference says more of the machine than of the agents.
const FLOOR: Duration = Duration::from_millis(400);
/// How long a source is waited for: on a machine so slow that all could not be asked within it, some have
/// been told `upstream-unreachable`.
const SOURCE_WAIT_MAX: Duration = Duration::from_secs(10);
/// What becomes true does so within this time, on a machine that is busy.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// What all of them may cost the agent where they are asked, and the one where they wait for the source, in
/// the tests' build. Measured: 36.6 and 29.7 MiB; 45.8 and 43.7 while what waits had room for what comes
/// later.
const OPEN_KIB_MAX: [u64; 2] = [44 * 1024, 38 * 1024];

/// A FHIR server that has one Patient, and holds its answers for as long as it is told to.
struct SlowServer {
    port: u16,
    /// How many questions it has not answered yet.
    waiting: watch::Receiver<usize>,
    holds: watch::Sender<bool>,
}

impl SlowServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (holds, held) = watch::channel(false);
        let (count, waiting) = watch::channel(0);
        let count = Arc::new(count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, held.clone(), Arc::clone(&count)));
            }
        });
        Self { port, waiting, holds }
    }

    fn source(&self) -> String {
        format!(
            "kind = \"fhir\"\nurl = \"http://127.0.0.1:{}/r4\"\n\
             auth = {{ kind = \"bearer\", token_file = \"token\" }}",
            self.port
        )
    }

    /// Waits until so many wait, or one of them hears something else.
    async fn reaches(&self, count: usize) {
        let mut waiting = self.waiting.clone();
        let reached = waiting.wait_for(|waiting| *waiting >= count);
        tokio::time::timeout(WAIT_MAX, reached).await.expect("they all ask").unwrap();
    }
}

async fn serve(
    mut stream: TcpStream,
    mut held: watch::Receiver<bool>,
    count: Arc<watch::Sender<usize>>,
) {
    let patient = json!({
        "resourceType": "Patient",
        "id": "pat-ottilie-71",
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018" }],
    });
    let body = patient.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        count.send_modify(|waiting| *waiting += 1);
        drop(held.wait_for(|held| !held).await);
        count.send_modify(|waiting| *waiting -= 1);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// All questions, as so many users ask them at once.
fn ask_all(dev: &Arc<Dev>) -> JoinSet<Answer> {
    let mut asked = JoinSet::new();
    for number in 0..ASKED {
        let dev = Arc::clone(dev);
        asked.spawn(async move {
            let user = format!("https://staff.example|wren-{}", number / OF_ONE_USER);
            let headers = [TREAT[0], ("tally-user", user.as_str())];
            dev.get(COUNCIL, RECORD, &headers).await.expect("an answer, whatever it is")
        });
    }
    asked
}

/// The 99th of a hundred times in which figures are read.
async fn p99(dev: &Dev) -> Duration {
    let mut times = Vec::new();
    for _ in 0..READS {
        let asked = Instant::now();
        let answer = dev.get(COUNCIL, BEDS, PLANNING).await.unwrap();
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.code());
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    times[READS * 99 / 100 - 1]
}

/// How many of these were served. All others were shed with a time to come back, by these codes; or
/// waited for the source as long as anybody does.
fn served(answers: &[Answer], codes: &[&str], since: Instant) -> usize {
    let (served, others): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 200);
    for answer in others {
        let code = answer.code();
        if code == "upstream-unreachable" && since.elapsed() > SOURCE_WAIT_MAX {
            continue;
        }
        assert!(codes.contains(&code.as_str()), "{code}");
        is_refused(answer, 503, &code);
    }
    served.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_holds_its_answers_takes_only_its_own_places_and_delays_nobody_else() {
    let server = SlowServer::start().await;
    let dev = Arc::new(with_records(&server.source()).await);
    is_served(&dev, COUNCIL).await;
    p99(&dev).await;
    let alone = p99(&dev).await;
    server.holds.send_replace(true);
    let since = Instant::now();
    let mut asked = ask_all(&dev);
    server.reaches(WAITING_MAX).await;
    // Whoever is not among those that wait hears so at once.
    let mut answers = Vec::new();
    while answers.len() < ASKED - WAITING_MAX {
        answers.push(asked.join_next().await.expect("they answer").unwrap());
    }
    let beside = p99(&dev).await;
    let waiting = *server.waiting.borrow();
    server.holds.send_replace(false);
    assert_eq!(served(&answers, &["too-busy"], since), 0, "they did not wait");
    answers.extend(asked.join_all().await);
    println!("p99 alone {alone:?}, beside {waiting} that wait for a slow source {beside:?}");
    assert!(beside <= (2 * alone).max(FLOOR), "p99 {beside:?}, alone {alone:?}");
    // A question that was given up is asked again: this server does not see that the first one is over.
    assert!(waiting <= WAITING_MAX || since.elapsed() > SOURCE_WAIT_MAX, "{waiting}");
    // So many at once may be more than the ledger of a busy machine takes in its time.
    let served = served(&answers, &["too-busy", "ledger-unavailable"], since);
    assert!(served >= WAITING_MAX / 2 || since.elapsed() > SOURCE_WAIT_MAX, "{served} served");
    // It is as before for whoever asks now.
    is_served(&dev, COUNCIL).await;
    let shed =
        "tally_agent_exchanges_total{code=\"too-busy\",outcome=\"refused\",side=\"provider\"} ";
    assert_eq!(metric(&dev, PROVIDER, shed).await, (ASKED - WAITING_MAX) as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_records_that_wait_for_their_source_come_or_are_shed_in_the_end() {
    let server = SlowServer::start().await;
    let dev = Arc::new(with_records(&server.source()).await);
    let more = "[limits]\nexchanges_max = 2048\nexchanges_per_member_max = 1500\n\
                exchanges_per_source_max = 1500";
    dev.reconfigure(PROVIDER, more).await.unwrap();
    is_served(&dev, COUNCIL).await;
    let resident = || [COUNCIL, PROVIDER].map(|name| resident_kib(&dev, name));
    let before = resident();
    server.holds.send_replace(true);
    let since = Instant::now();
    let asked = ask_all(&dev);
    server.reaches(ASKED).await;
    let open = resident();
    server.holds.send_replace(false);
    let answers = asked.join_all().await;
    println!(
        "{ASKED} open: requester {} to {} KiB, provider {} to {} KiB; ended: {:?} KiB, {:?}",
        before[0],
        open[0],
        before[1],
        open[1],
        resident(),
        since.elapsed()
    );
    let served = served(&answers, &["ledger-unavailable"], since);
    assert!(served >= ASKED / 2 || since.elapsed() > SOURCE_WAIT_MAX, "{served} served");
    let costs = open.iter().zip(before).map(|(open, before)| open.saturating_sub(before));
    let bounded = costs.zip(OPEN_KIB_MAX).all(|(kib, max)| kib < max);
    assert!(bounded, "{before:?} to {open:?}, {OPEN_KIB_MAX:?} more at most");
    // Nothing is left over: what each owes the ledger goes there.
    for name in [COUNCIL, PROVIDER] {
        let settled = until("an outbox that is empty", WAIT_MAX, async || {
            match metric(&dev, name, "tally_agent_outbox_entries ").await {
                0 => Ok(()),
                entries => Err(entries.to_string()),
            }
        });
        settled.await.unwrap();
    }
    is_served(&dev, COUNCIL).await;
}
