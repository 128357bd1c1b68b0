//! What officers get.

use tally_core::entry::{Action, Entry, Flags, Outcome, ProviderHalf, UserKnown};
use tally_core::id::{ExchangeId, LeafIndex, MeshId, Salt16};
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::encode_checked;

use super::*;
use crate::store::{AlertKind, StoreSettings};

#[test]
fn an_alert_is_a_reference_and_nothing_else() {
    let access = OwedAlert {
        kind: AlertKind::BreakGlass,
        leaf: LeafIndex(41),
        exchange: ExchangeId([1; 16]),
        at: Timestamp(1_795_428_902_113),
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        filed: false,
        sent: false,
    };
    let line = Alert::of(&access.requester, &access).line();
    let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    // Whoever adds a key here adds it to what leaves the organisation's own systems.
    let known = ["alert", "at", "exchange", "leaf", "member", "provider", "requester", "tally"];
    assert_eq!(keys, known);
    assert_eq!(
        (json["alert"].as_str(), json["member"].as_str()),
        (Some("break-glass"), Some("LZ9"))
    );
    let claimed = OwedAlert { kind: AlertKind::SelfClaimed, ..access };
    let told: serde_json::Value =
        serde_json::from_slice(&Alert::of(&claimed.provider, &claimed).line()).unwrap();
    assert_eq!(
        (told["alert"].as_str(), told.as_object().unwrap().len()),
        (Some("self-claimed"), 8)
    );
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn a_line_that_a_crash_tore_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    file::append(&path, b"one\n").unwrap();
    std::fs::write(&path, b"one\ntw").unwrap();
    file::append(&path, b"three\n").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one\ntw\nthree\n");
}

/// A permit that broke the glass, as the mirror hears of it.
fn glass(number: u8) -> tally_core::Encoded<Entry> {
    let half = ProviderHalf {
        salt: Salt16([number; 16]),
        exchange: ExchangeId([number; 16]),
        counter: 0,
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        operator: None,
        agreement: None,
        purpose: "BTG".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        user_known: UserKnown::Verified,
        people: 1,
        people_withheld: 0,
        records: 1,
        bytes: 12,
        digest: None,
        tags_root: Hash::from_bytes([8; 32]),
        commitment: Hash::from_bytes([number; 32]),
        flags: Flags::BREAK_GLASS,
        read_set: Vec::new(),
        resumes: None,
        rectifies: None,
        opt_out: None,
    };
    encode_checked(Entry::ProviderHalf(Box::new(half))).unwrap()
}

#[tokio::test]
async fn a_webhook_that_takes_its_time_keeps_no_alert_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        directory: dir.path().join("store"),
        member: "RZ9".parse().unwrap(),
        mesh_id: MeshId(Hash::from_bytes([3; 32])),
        consent_registers: 1,
    };
    std::fs::create_dir(dir.path().join("store")).unwrap();
    let store = Store::open(settings).unwrap();
    // It takes calls, and answers none.
    let pager = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/alerts", pager.local_addr().unwrap());
    let caller = Caller::new(&Webhook::new(&address, None).unwrap()).unwrap();
    let (file, news) = (dir.path().join(FILE), Arc::new(Notify::new()));
    let giver = Giver {
        file: file.clone(),
        caller: Some(caller),
        review_wait_max: Duration::ZERO,
        store: store.clone(),
        metrics: Metrics::new(crate::clock::Clock::start()).unwrap(),
        watch: GlassWatch::default(),
    };
    let giving = tokio::spawn(giver.run(Arc::clone(&news)));
    let hear = async |number: u8| {
        let at = LeafIndex(u64::from(number));
        let leaf = vec![(at, Timestamp(1_000), glass(number))];
        store.mirror(leaf, LeafIndex(at.0 + 1)).await.unwrap();
        news.notify_one();
    };
    hear(1).await;
    let (called, _) = pager.accept().await.unwrap();
    hear(2).await;
    let filed = async {
        while !store.alerts(Way::File, 9).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    // The first call is still waited for.
    timeout(SEND_WAIT_MAX / 2, filed).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
    assert_eq!(store.alerts(Way::Webhook, 9).await.unwrap().len(), 2);
    drop(called);
    giving.abort();
}
