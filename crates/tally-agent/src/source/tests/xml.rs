//! Records in XML: read like those in JSON, and left as JSON.

use super::*;

#[test]
fn records_in_xml_are_read_like_those_in_json() {
    let entry = |url: &str, record: &str| {
        format!("<entry><fullUrl value=\"{url}\"/><resource>{record}</resource></entry>")
    };
    let number = "<identifier><system value=\"https://fhir.nhs.uk/Id/nhs-number\"/>\
        <value value=\"9990000018\"/></identifier>";
    let patient = format!("<Patient><id value=\"p1\"/>{number}<active value=\"true\"/></Patient>");
    let first = "<Observation><id value=\"o1\"/><status value=\"final\"/>\
        <subject><reference value=\"urn:uuid:p1\"/></subject></Observation>";
    let entries = [entry("urn:uuid:p1", &patient), entry("urn:uuid:o1", first)].concat();
    let bundle =
        format!("<Bundle xmlns=\"http://hl7.org/fhir\"><type value=\"batch\"/>{entries}</Bundle>");
    let mut desk = Desk::new()
        .with("records/all.xml", &bundle)
        .with("records/o2.json", &observation("o2", "Patient/p1"))
        .with("records/bomb.xml", "<!DOCTYPE x [<!ENTITY a \"b\">]><Patient/>");
    let source = desk.fhir().unwrap();
    let report = source.report().unwrap();
    assert_eq!((report.files, report.records), (3, 3));
    let warning = Warning::File(tally_record::RecordError::NotXml);
    assert_eq!(report.warnings, [(warning, 1)].into());
    assert_eq!(desk.get(&source, "Patient/p1")["active"], true);
    assert_eq!(people(&source, "Observation/o1"), ["nhs-number|9990000018"]);
    assert_eq!(ids(&desk.all_pages(&source, "Observation?patient=p1")), ["o1", "o2"]);
    // Less of it leaves, as of any other.
    desk.fields = AllowList::Elements(vec![(
        "Patient".to_owned(),
        Elements::These(vec!["active".to_owned()]),
    )]);
    assert!(desk.get(&source, "Patient/p1").get("identifier").is_none());
    fs::write(desk.path().join("records/all.xml"), format!("{bundle} ")).unwrap();
    assert_eq!(refusal(&source, "Patient/p1"), Some(Refusal::SourceChanged));
}
