//! Records that match, page by page.

use super::*;

const NHS: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// Two Patients, and 25 Observations of each.
fn desk() -> Desk {
    let mut entries = vec![
        ("urn:uuid:p1".to_owned(), patient("p1", Some("999 000 0018"))),
        ("urn:uuid:p2".to_owned(), patient("p2", None)),
    ];
    for number in 0..50 {
        let subject = if number % 2 == 0 { "urn:uuid:p1" } else { "Patient/p2" };
        entries.push((format!("urn:uuid:o{number}"), observation(&format!("o{number}"), subject)));
    }
    let entries: Vec<_> = entries.iter().map(|(url, text)| (url.as_str(), text.clone())).collect();
    Desk::new()
        .with("records/all.json", &bundle(&entries))
        .with("nhs.csv", "patient_id,nhs_number\np2,9990000026\n")
}

#[test]
fn each_parameter_finds_what_it_should() {
    let desk = desk();
    let source = desk.fhir().unwrap();
    let found = |path: &str| {
        let entries = desk.all_pages(&source, path);
        ids(&entries).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found("Patient"), ["p1", "p2"]);
    assert_eq!(found("Patient?_id=p2"), ["p2"]);
    assert_eq!(found("Observation?_id=o3&patient=p2"), ["o3"]);
    assert_eq!(found(&format!("Patient?identifier={NHS}|999+000+0018")), ["p1"]);
    // However it is written in the record, and where only the subjects file knows it.
    assert_eq!(found(&format!("Patient?identifier={NHS}%7C9990000018")), ["p1"]);
    assert_eq!(found(&format!("Patient?identifier={NHS}|9990000026")), ["p2"]);
    let of_one: Vec<_> = (0..50).step_by(2).map(|number| format!("o{number}")).collect();
    for path in ["Observation?patient=p1", "Observation?subject=Patient/p1&patient=Patient%2Fp1"] {
        let mut found = found(path);
        assert!(found.is_sorted(), "{path}");
        found.sort_by_key(|id| id.trim_start_matches('o').parse::<u32>().unwrap());
        assert_eq!(found, of_one, "{path}");
    }
    for nothing in [
        "Patient?_id=p3",
        "Patient?identifier=x|9990000018",
        "Observation?patient=p3",
        "Observation?_id=o3&patient=p1",
        "Observation?patient=p1&subject=p2",
        "Encounter",
    ] {
        assert!(!source.read(&ask(nothing)).unwrap().known(), "{nothing}");
    }
    assert_eq!(refusal(&source, "Observation?code=1"), Some(Refusal::UnsupportedParameter));
}

#[test]
fn pages_lead_through_all_that_matches_once() {
    let desk = desk();
    let source = desk.fhir().unwrap();
    let all: Vec<_> = desk.all_pages(&source, "Observation?_count=200");
    assert_eq!(all.len(), 50);
    for count in ["", "?_count=1", "?_count=7", "?_count=50", "?_count=999"] {
        assert_eq!(desk.all_pages(&source, &format!("Observation{count}")), all, "{count}");
    }
    assert_eq!(desk.get(&source, "Observation")["entry"].as_array().unwrap().len(), 20);
    let entry = &all[0];
    assert_eq!(entry["fullUrl"], "/fhir/RZ9/Observation/o0");
    assert_eq!(entry["search"]["mode"], "match");
}

#[test]
fn a_total_is_told_where_one_page_holds_all() {
    let mut desk = desk();
    let source = desk.fhir().unwrap();
    assert_eq!(desk.get(&source, "Observation?_count=50")["total"], 50);
    let page = desk.get(&source, "Observation?_count=49");
    assert!(page["total"].is_null());
    let last = desk.get(&source, &next_of(&page).unwrap());
    assert!(last["total"].is_null() && last["entry"].as_array().unwrap().len() == 1);
    // Those of somebody who objects are not counted, and leave no trace.
    desk.denied = vec!["nhs-number|9990000018"];
    let page = desk.get(&source, "Observation?_count=50");
    assert_eq!(page["total"], 25);
    assert_eq!(page["entry"].as_array().unwrap().len(), 25);
    assert!(!page.to_string().contains("OperationOutcome"));
    let cut = desk.cut(&source, "Observation?_count=50");
    assert_eq!((cut.records, cut.people.len(), cut.people_withheld), (25, 1, 1));
}

#[test]
fn what_is_hidden_makes_no_page_shorter_and_leads_to_none() {
    for denied in ["nhs-number|9990000018", "nhs-number|9990000026"] {
        let mut desk = desk();
        desk.denied = vec![denied];
        let source = desk.fhir().unwrap();
        let all = desk.all_pages(&source, "Observation?_count=200");
        assert_eq!(all.len(), 25);
        for count in [1, 7, 20, 24, 25, 26] {
            let path = format!("Observation?_count={count}");
            let page = desk.get(&source, &path);
            assert_eq!(page["entry"].as_array().unwrap().len(), count.min(25), "{path}");
            assert_eq!(next_of(&page).is_some(), count < 25, "{path}");
            assert_eq!(desk.all_pages(&source, &path), all, "{path}");
        }
        // Who is counted is who was found up to there, not who is on later pages.
        let cut = desk.cut(&source, "Observation?_count=1");
        assert_eq!((cut.records, cut.people.len()), (1, 1));
        assert!(cut.people_withheld <= 1);
    }
}

#[test]
fn a_link_says_nothing_of_what_was_searched_and_holds_for_its_path_and_index_alone() {
    let desk = desk();
    let source = desk.fhir().unwrap();
    let page = desk.get(&source, "Observation?patient=p1&_count=2");
    let own = &page["link"][0];
    assert_eq!(own["relation"], "self");
    assert_eq!(own["url"], "/fhir/RZ9/Observation?patient=p1&_count=2");
    let next = next_of(&page).unwrap();
    let token = next.strip_prefix("Observation?_page=").unwrap();
    // Long enough that no random token has it by chance.
    assert!(!token.contains("patient"));
    assert_eq!(refusal(&source, &next), None);
    assert_eq!(refusal(&source, &format!("{next}&_format=json")), None);
    for altered in [
        format!("Encounter?_page={token}"),
        format!("Patient/p1/$everything?_page={token}"),
        format!("Observation?_page={}", token.to_uppercase()),
        format!("Observation?_page={token}&_count=3"),
        format!("Observation?_page={token}&patient=p2"),
        "Observation?_page=".to_owned(),
    ] {
        assert_eq!(refusal(&source, &altered), Some(Refusal::BadQuery), "{altered}");
    }
    assert_eq!(refusal(&desk.fhir().unwrap(), &next), Some(Refusal::BadQuery));
    // What it searches by is known on each page.
    let first = source.read(&ask("Observation?patient=p1&_count=2")).unwrap();
    let second = source.read(&ask(&next)).unwrap();
    assert_eq!(first.queried(), second.queried());
    assert_eq!(first.queried()[0].element, "subject.reference");
}

#[test]
fn who_may_not_see_an_element_may_not_search_by_it() {
    let mut desk = desk();
    let these = |names: &[&str]| Elements::These(names.iter().map(|it| (*it).to_owned()).collect());
    desk.fields = AllowList::Elements(vec![
        ("Observation".to_owned(), these(&["status"])),
        ("Patient".to_owned(), these(&["birthDate"])),
    ]);
    let source = desk.fhir().unwrap();
    for path in ["Observation?patient=p1", &format!("Patient?identifier={NHS}|9990000018")] {
        let decision = desk.decide(&source, &source.read(&ask(path)).unwrap());
        assert!(matches!(decision, Decision::Refuse(refused)
            if refused.refusal() == Refusal::QueryNotPermitted));
    }
    // Below an element only what is named may be searched by.
    let by = |path: &str, patient: &[&str], observation: &[&str]| {
        let mut desk = self::desk();
        desk.fields = AllowList::Elements(vec![
            ("Observation".to_owned(), these(observation)),
            ("Patient".to_owned(), these(patient)),
        ]);
        let source = desk.fhir().unwrap();
        match desk.decide(&source, &source.read(&ask(path)).unwrap()) {
            Decision::Permit(_) => None,
            Decision::Refuse(refused) => Some(refused.refusal()),
        }
    };
    let refused = Some(Refusal::QueryNotPermitted);
    let identifier = format!("Patient?identifier={NHS}|9990000018");
    assert_eq!(by(&identifier, &["identifier.system", "identifier.value"], &["id"]), None);
    assert_eq!(by(&identifier, &["identifier.system"], &["id"]), refused);
    assert_eq!(by("Observation?patient=p1", &["id"], &["subject.reference"]), None);
    assert_eq!(by("Observation?patient=p1", &["id"], &["subject.display"]), refused);
    // Found by its id, it is cut, and the page says so.
    let found = desk.all_pages(&source, "Observation?_id=o1");
    assert_eq!(found[0]["resource"]["id"], "o1");
    assert!(found[0]["resource"]["subject"].is_null());
    assert_eq!(found[1]["resource"]["resourceType"], "OperationOutcome");
}

#[test]
fn everything_is_the_patient_and_then_all_about_them() {
    let desk = desk();
    let source = desk.fhir().unwrap();
    let entries = desk.all_pages(&source, "Patient/p2/$everything?_count=9");
    let found = ids(&entries);
    assert_eq!((found[0], found.len()), ("p2", 26));
    assert!(found[1..].is_sorted());
    let kinds: Vec<_> = source.read(&ask("Patient/p2/$everything")).unwrap().kinds().to_vec();
    assert_eq!(kinds, ["Patient"]);
}

#[test]
fn a_page_holds_fewer_entries_rather_than_too_many_bytes() {
    let mut desk = desk();
    desk.limits.body_bytes_max = 4_096;
    let source = desk.fhir().unwrap();
    let cut = desk.cut(&source, "Observation?_count=50");
    assert!(cut.records < 10 && cut.body.len() <= 4_096, "{cut:?}");
    assert_eq!(desk.all_pages(&source, "Observation?_count=50").len(), 50);
}

/// A trust's Patient with 30 Claims, which stand before 5 Observations and after nothing.
fn desk_with_claims() -> Desk {
    let mut entries = vec![("urn:uuid:p1".to_owned(), patient("p1", Some("999 000 0018")))];
    for number in 0..30 {
        let claim = observation(&format!("c{number:02}"), "urn:uuid:p1");
        let claim = claim.replace("\"Observation\"", "\"Claim\"");
        entries.push((format!("urn:uuid:c{number}"), claim.replace("\"subject\"", "\"patient\"")));
    }
    for number in 0..5 {
        let text = observation(&format!("o{number}"), "urn:uuid:p1");
        entries.push((format!("urn:uuid:o{number}"), text));
    }
    let entries: Vec<_> = entries.iter().map(|(url, text)| (url.as_str(), text.clone())).collect();
    Desk::new().with("records/all.json", &bundle(&entries))
}

#[test]
fn a_page_leads_on_to_the_next_one_of_which_something_may_leave() {
    let elements = |kinds: &[&str]| {
        AllowList::Elements(kinds.iter().map(|kind| ((*kind).to_owned(), Elements::All)).collect())
    };
    let mut desk = desk_with_claims();
    desk.fields = elements(&["Observation", "Patient"]);
    let source = desk.fhir().unwrap();
    let entries = desk.all_pages(&source, "Patient/p1/$everything?_count=3");
    // What says that something is missing has no id.
    let released = entries.iter().filter_map(|entry| entry["resource"]["id"].as_str());
    let released: Vec<_> = released.collect();
    assert_eq!(released, ["p1", "o0", "o1", "o2", "o3", "o4"]);

    // After the last record that may leave there is no page, though there are records.
    desk.fields = elements(&["Patient"]);
    let source = desk.fhir().unwrap();
    let page = desk.get(&source, "Patient/p1/$everything?_count=3");
    assert_eq!(next_of(&page), None);
}
