//! What officers get.

use tally_core::id::{ExchangeId, LeafIndex};
use tally_core::time::Timestamp;

use super::*;
use crate::store::AlertKind;

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
