//! Bodies that do not fit into memory leave as those that do.

use super::*;
use crate::spool::Held;

fn columns(names: &[&str]) -> AllowList {
    AllowList::Columns(names.iter().map(|it| (*it).to_owned()).collect())
}

/// So many visits of each of two people, of whom one objects, and of somebody who is not known.
fn visits(each: usize) -> String {
    let mut text = "nhs_number,visit,note\n".to_owned();
    for visit in 0..each {
        for person in ["9990000018", "9990000026", "nobody"] {
            text.push_str(&format!("{person},{visit},\"a, \"\"{visit}\"\"\"\n"));
        }
    }
    text
}

/// What is left of a table of people, and how it was held.
fn left(desk: &Desk, text: &str) -> (String, Held, u64) {
    fs::write(desk.path().join("visits.csv"), text).unwrap();
    let source = desk.dataset("visits.csv", Some("nhs_number")).unwrap();
    let reading = source.read(&ask_dataset("", 0)).unwrap();
    let permit = desk.permit(&source, &reading);
    let Reading::Whole(whole) = reading else { panic!("a stream") };
    let cut = whole.cut(&permit).unwrap();
    assert_eq!((cut.people.len(), cut.named.len(), cut.people_withheld), (1, 1, 1));
    assert_eq!(cut.records * 3, (text.lines().count() - 1) as u64);
    (cut.text(), cut.body, whole.items().len() as u64)
}

#[test]
fn a_table_on_disk_leaves_as_one_in_memory() {
    let mut desk = Desk { fields: columns(&["nhs_number", "note"]), ..Desk::new() };
    desk.denied = vec!["nhs-number|9990000018"];
    let text = visits(5_000);
    let (in_memory, held, _) = left(&desk, &text);
    assert!(matches!(held, Held::Memory(_)), "{held:?}");
    desk.limits.body_bytes_max = 1_000;
    let (on_disk, held, rows) = left(&desk, &text);
    assert!(matches!(held, Held::Spooled(_)), "{held:?}");
    assert_eq!((held.len(), rows), (on_disk.len() as u64, 10_000));
    assert!(in_memory == on_disk);
    assert!(on_disk.starts_with("nhs_number,note\n9990000026,\"a, \"\"0\"\"\"\n"), "{on_disk:.99}");
    assert_eq!(on_disk.lines().count(), 5_001);
    assert!(!on_disk.contains("9990000018") && !on_disk.contains("nobody"));
}

#[test]
fn more_rows_than_are_decided_about_at_once_are_too_large() {
    let desk = Desk { fields: columns(&["visit"]), ..Desk::new() };
    let row = "9990000018,1\n";
    let desk = desk.with("v.csv", &format!("nhs_number,visit\n{}", row.repeat(131_073)));
    let source = desk.dataset("v.csv", Some("nhs_number")).unwrap();
    let unread = source.read(&ask_dataset("", 0)).unwrap_err();
    assert_eq!(unread.refusal, Refusal::TooLarge);
    assert!(unread.detail.contains("rows"), "{}", unread.detail);
}

#[test]
fn a_record_that_does_not_fit_into_memory_has_a_page_of_its_own() {
    let note = "n".repeat(20_000);
    let large = observation("o2", "Patient/p1");
    let large = large.replace("\"final\"", &format!("\"final\",\"valueString\":\"{note}\""));
    let mut desk = Desk::new()
        .with("records/p.json", &patient("p1", Some("9990000018")))
        .with("records/1.json", &observation("o1", "Patient/p1"))
        .with("records/2.json", &large)
        .with("records/3.json", &observation("o3", "Patient/p1"));
    desk.limits.body_bytes_max = 4_096;
    let source = desk.fhir().unwrap();
    let cut = desk.cut(&source, "Observation/o2");
    assert!(matches!(cut.body, Held::Spooled(_)), "{cut:?}");
    assert_eq!(cut.bytes(), large.as_bytes());
    let all = desk.all_pages(&source, "Observation");
    assert_eq!(ids(&all), ["o1", "o2", "o3"]);
    assert_eq!(all[1]["resource"]["valueString"], note);
    // Who objects is not seen in it either.
    desk.denied = vec!["nhs-number|9990000018"];
    let reading = source.read(&ask("Observation/o2")).unwrap();
    assert!(matches!(desk.decide(&source, &reading), Decision::Refuse(_)));
}

#[test]
fn a_full_spool_and_a_body_that_is_too_large_have_codes_of_their_own() {
    let mut desk = Desk { fields: columns(&["visit"]), ..Desk::new() };
    let text = visits(1_000);
    desk.limits.body_bytes_max = 1_000;
    desk.limits.spool_bytes_max = text.len() as u64;
    desk.limits.spool_total_bytes_max = text.len() as u64 + 9_000;
    let desk = desk.with("v.csv", &text);
    let source = desk.dataset("v.csv", Some("nhs_number")).unwrap();
    let first = source.read(&ask_dataset("", 0)).unwrap();
    let second = source.read(&ask_dataset("", 0)).unwrap_err();
    assert_eq!(second.refusal, Refusal::SpoolFull);
    // What leaves needs room, too: 8,000 bytes of it.
    let permit = desk.permit(&source, &first);
    let Reading::Whole(whole) = first else { panic!("a stream") };
    let cut = whole.cut(&permit).unwrap();
    assert_eq!(whole.cut(&permit).err(), Some(Refusal::SpoolFull));
    drop((cut, whole));
    source.read(&ask_dataset("", 0)).unwrap();
    let mut desk = desk;
    desk.limits.spool_bytes_max -= 1;
    let source = desk.dataset("v.csv", Some("nhs_number")).unwrap();
    assert_eq!(source.read(&ask_dataset("", 0)).unwrap_err().refusal, Refusal::TooLarge);
}
