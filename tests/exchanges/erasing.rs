//! The end of retention: an officer has the keys of openings destroyed. What the ledger said it still
//! says, and whom it was about nobody can tell any more. In a test mesh no year has to be waited for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tally_log::sha256;
use tally_tests::dev::{Dev, Ran, rows_of};
use tally_tests::mesh::until;

use super::books::{Books, WHOLE};
use super::outcome::told;
use super::world::{COUNCIL, PEOPLE, PROVIDER, TREAT, ended_at_the_provider, running, verifies};

/// An agent has heard of what it has recorded within this time, on a machine that is busy.
const HEAR_WAIT_MAX: Duration = Duration::from_secs(20);
/// Later than any retention year.
const LATER: &str = "2200";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_disposed_of_nobody_can_tell_and_the_ledger_verifies() {
    let dev = running().await;
    let mut books = Books::default();
    let mut exchanges = Vec::new();
    for person in [PEOPLE[0], PEOPLE[0], PEOPLE[1]] {
        exchanges.push(read(&dev, &mut books, person.id).await);
    }
    let search = format!("/fhir/{PROVIDER}/Patient");
    let answer = dev.get(COUNCIL, &search, TREAT).await.unwrap();
    exchanges.push(books.expect(&answer, WHOLE));
    books.balance(&dev).await;
    accesses(&dev, PEOPLE[0].nhs_number, (3, 4, 4, 0)).await;

    not_by_a_wrong_key(&dev).await;
    let plan = tally(&dev, &["plan", "--before", LATER, "--output", "json"]).await;
    let plan = plan.done().unwrap().json();
    assert_eq!((plan["keys"].as_u64(), plan["openings"].as_u64()), (Some(4), Some(4)), "{plan}");
    assert_eq!(plan["ended"], false);
    let subject = format!("nhs-number|{}", PEOPLE[1].nhs_number);
    let hold = ["hold", "--subject", &subject, "--reason-code", "public-inquiry"];
    tally(&dev, &hold).await.done().unwrap();
    let ordered = erase_subject(&dev, &subject).await;
    assert_eq!(ordered.code, Some(1), "{ordered:?}");
    assert!(ordered.said.contains("hold"), "{ordered:?}");

    let done = dispose(&dev).await;
    // Whoever is on hold keeps two: the one about them, and the one about all.
    assert_eq!(done["keys"], 3, "{done}");
    assert_eq!((&done["openings"], &done["held"]), (&json!(2), &json!(1)), "{done}");
    books.also(1);
    let rows = books.balance(&dev).await;
    let row = rows.iter().find(|row| row["half"] == "disposal").unwrap();
    assert_eq!(
        row["disposal"]["certificate"],
        format!("sha256:{}", done["certificate"].as_str().unwrap())
    );
    assert_eq!(row["disposal"]["authorised_by"], "caldicott");
    assert_eq!((&row["disposal"]["keys"], &row["disposal"]["held"]), (&json!(3), &json!(1)));
    assert_eq!(rows_of(&rows, &exchanges[0]).len(), 2);
    // Nobody says any more that it was not them.
    accesses(&dev, PEOPLE[0].nhs_number, (0, 1, 4, 3)).await;
    accesses(&dev, PEOPLE[1].nhs_number, (2, 2, 4, 2)).await;

    // The next start finds nothing to settle, and the agent goes on.
    dev.stop(PROVIDER).await.unwrap();
    dev.start_again(PROVIDER).await.unwrap();
    read(&dev, &mut books, PEOPLE[0].id).await;
    books.balance(&dev).await;
    accesses(&dev, PEOPLE[0].nhs_number, (1, 2, 5, 3)).await;
    release_and_order(&dev, &subject).await;
    books.also(1);
    books.balance(&dev).await;
}

/// Neither another officer's key nor an office that may not authorise destroys anything.
async fn not_by_a_wrong_key(dev: &Dev) {
    let key = officer(dev, "ig-lead");
    let args = ["run", "--before", LATER, "--authorised-by", "caldicott", "--yes", "--key", &key];
    let ran = tally(dev, &args).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.said.contains("disposal-unauthorised"), "{ran:?}");
    let ran = tally(dev, &["run", "--before", LATER, "--authorised-by", "auditor"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    // Nobody is there to say yes.
    let ran = tally(dev, &["run", "--before", LATER, "--authorised-by", "ig-lead"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.said.contains("--yes"), "{ran:?}");
}

/// Once the hold ends, a court's order about one person is carried out.
async fn release_and_order(dev: &Dev, subject: &str) {
    tally(dev, &["release", "--subject", subject]).await.done().unwrap();
    let done = erase_subject(dev, subject).await.done().unwrap().json();
    assert_eq!((&done["keys"], &done["openings"]), (&json!(1), &json!(2)), "{done}");
    accesses(dev, PEOPLE[1].nhs_number, (0, 1, 5, 4)).await;
    accesses(dev, PEOPLE[0].nhs_number, (1, 1, 5, 4)).await;
}

/// Whoever is on hold under a local id is on hold under the NHS number that is learnt afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legal_hold_goes_with_a_person_whose_nhs_number_is_learnt() {
    let dev = running().await;
    let mut books = Books::default();
    let hold = ["hold", "--subject", "RZ9/Patient|pat-late", "--reason-code", "public-inquiry"];
    tally(&dev, &hold).await.done().unwrap();
    read(&dev, &mut books, PEOPLE[1].id).await;
    dev.stop(PROVIDER).await.unwrap();
    let late = json!({
        "resourceType": "Patient", "id": "pat-late",
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000050" }],
    });
    fs::write(dev.files().join("rz9/late.json"), late.to_string()).unwrap();
    dev.start_again(PROVIDER).await.unwrap();
    read(&dev, &mut books, "pat-late").await;
    let plan = tally(&dev, &["plan", "--before", LATER, "--output", "json"]).await;
    let plan = plan.done().unwrap().json();
    assert_eq!((&plan["keys"], &plan["held"]), (&json!(1), &json!(1)), "{plan}");
    dispose(&dev).await;
    books.also(1);
    accesses(&dev, "9990000050", (1, 1, 2, 1)).await;
    accesses(&dev, PEOPLE[1].nhs_number, (0, 1, 2, 1)).await;
    books.balance(&dev).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_from_before_a_disposal_refuses_and_tells_no_more_than_the_later_one() {
    let dev = running().await;
    let mut books = Books::default();
    read(&dev, &mut books, PEOPLE[0].id).await;
    dev.stop(PROVIDER).await.unwrap();
    let (store, backup) = (store(&dev), dev.dir_of(PROVIDER).join("backup"));
    copy(&store, &backup);
    dev.start_again(PROVIDER).await.unwrap();
    dispose(&dev).await;
    books.also(1);
    books.balance(&dev).await;
    accesses(&dev, PEOPLE[0].nhs_number, (0, 0, 1, 1)).await;

    dev.stop(PROVIDER).await.unwrap();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&backup, &store).unwrap();
    dev.start_again(PROVIDER).await.unwrap();
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    told(&answer, 503, "store-behind");
    books.requesters(&answer, "store-behind");
    books.balance(&dev).await;
    // Keys that had come back are gone again, and their files.
    accesses(&dev, PEOPLE[0].nhs_number, (0, 0, 1, 1)).await;
    let names = fs::read_dir(&store).unwrap().map(|file| file.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let keys = names.filter(|name| name.starts_with("year-")).collect::<Vec<_>>();
    assert_eq!(keys, [""; 0]);
    verifies(&dev).await;
}

async fn read(dev: &Dev, books: &mut Books, id: &str) -> String {
    let path = format!("/fhir/{PROVIDER}/Patient/{id}");
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let exchange = books.expect(&answer, WHOLE);
    ended_at_the_provider(dev, &exchange).await;
    exchange
}

/// `tally erase` at the provider.
pub(super) async fn tally(dev: &Dev, args: &[&str]) -> Ran {
    let args = ["erase"].iter().chain(args).copied().collect::<Vec<_>>();
    dev.tally(PROVIDER, &args).await.unwrap()
}

/// All retention years go; gives what it says, once its certificate is what the ledger names.
pub(super) async fn dispose(dev: &Dev) -> Value {
    let (key, file) = (officer(dev, "caldicott"), dev.files().join("certificate.json"));
    let to = file.display().to_string();
    let args = [
        "run",
        "--before",
        LATER,
        "--authorised-by",
        "caldicott",
        "--yes",
        "--output",
        "json",
        "--key",
        &key,
        "--certificate",
        &to,
    ];
    let done = tally(dev, &args).await.done().unwrap().json();
    assert_eq!(done["on_ledger"], true, "{done}");
    let text = fs::read(&file).unwrap();
    assert_eq!(done["certificate"], sha256(&[&text]).to_string(), "{done}");
    let certificate: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(certificate["member"], PROVIDER);
    assert_eq!(certificate["keys"], done["keys"]);
    done
}

async fn erase_subject(dev: &Dev, subject: &str) -> Ran {
    let (key, file) = (officer(dev, "caldicott"), dev.files().join("order.json"));
    let to = file.display().to_string();
    let args = [
        "subject",
        "--subject",
        subject,
        "--reason-code",
        "court-order",
        "--authorised-by",
        "caldicott",
        "--yes",
        "--output",
        "json",
        "--key",
        &key,
        "--certificate",
        &to,
    ];
    tally(dev, &args).await
}

/// What the provider says about a person, once it has heard of it: rows, entries tested, own entries, and
/// those that can't be tested any more.
async fn accesses(dev: &Dev, nhs_number: &str, expected: (usize, u64, u64, u64)) {
    let subject = format!("nhs-number|{nhs_number}");
    let args = ["audit", "subject", "--subject", &subject, "--output", "json"];
    let said = until("what is known of a person", HEAR_WAIT_MAX, async || {
        let ran = dev.tally(PROVIDER, &args).await.and_then(Ran::done);
        let answer = ran.map_err(|error| error.to_string())?.json();
        let count = |key: &str| answer[key].as_u64().unwrap();
        let rows = answer["rows"].as_array().unwrap().len();
        let found = (rows, count("tested"), count("own_entries"), count("disposed"));
        if found == expected { Ok(()) } else { Err(format!("{found:?} for {expected:?}")) }
    });
    said.await.unwrap();
}

fn officer(dev: &Dev, role: &str) -> String {
    dev.dir_of(PROVIDER).join(format!("officers/{role}.key")).display().to_string()
}

fn store(dev: &Dev) -> PathBuf {
    let found = fs::read_dir(dev.dir_of(PROVIDER)).unwrap().map(|it| it.unwrap().path());
    let mut found = found.flat_map(|it| [it.clone(), it.join("store")]);
    found.find(|it| it.join("store.sqlite").is_file()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
