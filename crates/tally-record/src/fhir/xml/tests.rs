//! Facts about FHIR's XML: what becomes of it in JSON, and what is none.

use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<Value, RecordError> {
    let json = json_of_xml(text.as_bytes(), &RecordLimits::default())?;
    Ok(serde_json::from_slice(&json).unwrap())
}

/// A Patient with these elements.
fn patient(inner: &str) -> Result<Value, RecordError> {
    read(&format!("<Patient xmlns=\"http://hl7.org/fhir\">{inner}</Patient>"))
}

#[test]
fn each_element_becomes_what_json_has_for_it() {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- a made-up person -->
<Patient xmlns="http://hl7.org/fhir">
  <id value="p1"/>
  <meta><versionId value="2"/></meta>
  <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p class="a">x &amp; <b>y</b></p></div></text>
  <extension url="https://x.example/e"><valueBoolean value="true"/></extension>
  <identifier id="i1"><system value="https://fhir.nhs.uk/Id/nhs-number"/><value value="9990000018"/></identifier>
  <active value="true"/>
  <name>
    <family value="O&apos;Quill &lt;&#x41;&gt;"/>
    <given value="Ottilie"/>
    <given id="g2"><extension url="https://x.example/g"><valueDecimal value="1.50"/></extension></given>
    <given value="R"/>
  </name>
  <birthDate value="1941-03-14"><extension url="https://x.example/t"><valueDateTime value="1941-03-14T04:00:00Z"/></extension></birthDate>
  <multipleBirthInteger value="2"/>
  <contained><Observation><id value="c"/><status value="final"/></Observation></contained>
</Patient>"#;
    let expected = json!({
        "resourceType": "Patient",
        "id": "p1",
        "meta": { "versionId": "2" },
        "text": {
            "status": "generated",
            "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p class=\"a\">x &amp; <b>y</b></p></div>",
        },
        "extension": [{ "url": "https://x.example/e", "valueBoolean": true }],
        "identifier": [{
            "id": "i1",
            "system": "https://fhir.nhs.uk/Id/nhs-number",
            "value": "9990000018",
        }],
        "active": true,
        "name": [{
            "family": "O'Quill <A>",
            "given": ["Ottilie", null, "R"],
            "_given": [
                null,
                { "id": "g2", "extension": [{ "url": "https://x.example/g", "valueDecimal": 1.50 }] },
                null,
            ],
        }],
        "birthDate": "1941-03-14",
        "_birthDate": {
            "extension": [{ "url": "https://x.example/t", "valueDateTime": "1941-03-14T04:00:00Z" }],
        },
        "multipleBirthInteger": 2,
        "contained": [{ "resourceType": "Observation", "id": "c", "status": "final" }],
    });
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read(&format!("\u{feff}{text}")).unwrap(), expected);
}

#[test]
fn decimals_keep_their_digits_and_bundles_their_entries() {
    let text = r#"<Bundle xmlns="http://hl7.org/fhir"><type value="collection"/><total value="1"/>
      <entry><fullUrl value="urn:uuid:1"/><resource><Observation><id value="o1"/>
        <valueQuantity><value value="0.100"/></valueQuantity></Observation></resource></entry></Bundle>"#;
    let json = json_of_xml(text.as_bytes(), &RecordLimits::default()).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"resourceType":"Bundle","type":"collection","total":1,"entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Observation","id":"o1","valueQuantity":{"value":0.100}}}]}"#
    );
}

#[test]
fn nothing_that_expands_or_leads_elsewhere_is_xml_of_ours() {
    let bomb = r#"<!DOCTYPE Patient [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>
        <Patient xmlns="http://hl7.org/fhir"><id value="p1"/><gender value="&b;"/></Patient>"#;
    let outside = r#"<!DOCTYPE Patient [<!ENTITY a SYSTEM "file:///etc/passwd">]>
        <Patient xmlns="http://hl7.org/fhir"><gender value="&a;"/></Patient>"#;
    assert_eq!(read(bomb), Err(RecordError::NotXml));
    assert_eq!(read(outside), Err(RecordError::NotXml));
    for inner in [
        "<gender value=\"&nbsp;\"/>",
        "<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\">&nbsp;</div></text>",
        "<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\"><p a=\"&x;\"/></div></text>",
        "words",
        "<gender value=\"male\">words</gender>",
        "<![CDATA[x]]>",
        "<gender value=\"male\" value=\"female\"/>",
        "<gender value=\"male\" other=\"x\"/>",
        "<gender value=\"<!DOCTYPE x>\"/>",
        "<f:gender xmlns:f=\"http://hl7.org/fhir\" value=\"male\"/>",
        "<gender xmlns=\"https://other.example\" value=\"male\"/>",
        "<gender value=\"male\">",
        "<gender value=\"male\"></sex>",
    ] {
        assert_eq!(patient(inner), Err(RecordError::NotXml), "{inner}");
    }
    for text in [
        "",
        "{}",
        "<Patient/>",
        "<Patient xmlns=\"https://other.example\"/>",
        "<Patient xmlns=\"http://hl7.org/fhir\"/><Patient xmlns=\"http://hl7.org/fhir\"/>",
        "<Patient xmlns=\"http://hl7.org/fhir\"",
    ] {
        assert_eq!(read(text), Err(RecordError::NotXml), "{text}");
    }
    assert_eq!(
        json_of_xml(b"<Patient xmlns=\"\xff\"/>", &RecordLimits::default()),
        Err(RecordError::NotUtf8)
    );
}

#[test]
fn what_could_be_read_in_two_ways_is_not_read() {
    for (inner, error) in [
        ("<martian value=\"x\"/>", RecordError::UnknownElement),
        ("<_gender value=\"x\"/>", RecordError::UnknownElement),
        (
            "<gender value=\"male\"/><active value=\"true\"/><gender value=\"female\"/>",
            RecordError::UnknownElement,
        ),
        ("<gender value=\"male\"/><gender value=\"female\"/>", RecordError::MalformedElement),
        ("<gender/>", RecordError::MalformedElement),
        ("<name value=\"x\"/>", RecordError::MalformedElement),
        ("<active value=\"yes\"/>", RecordError::MalformedElement),
        ("<active value=\"1,2\"/>", RecordError::MalformedElement),
        ("<multipleBirthInteger value=\"02\"/>", RecordError::MalformedElement),
        ("<name url=\"x\"/>", RecordError::UnknownElement),
        (
            "<birthDate value=\"1941-03-14\"><family value=\"x\"/></birthDate>",
            RecordError::UnknownElement,
        ),
        ("<contained><Martian/></contained>", RecordError::UnknownType),
        ("<contained/>", RecordError::MalformedElement),
    ] {
        assert_eq!(patient(inner), Err(error), "{inner}");
    }
    assert_eq!(read("<Martian xmlns=\"http://hl7.org/fhir\"/>"), Err(RecordError::UnknownType));
    assert_eq!(read("<HumanName xmlns=\"http://hl7.org/fhir\"/>"), Err(RecordError::UnknownType));
}

#[test]
fn depth_and_size_have_limits() {
    let nested = |depth: usize| {
        let open = "<extension url=\"x\">".repeat(depth);
        patient(&format!("{open}{}", "</extension>".repeat(depth)))
    };
    assert!(nested(60).is_ok());
    assert_eq!(nested(64), Err(RecordError::TooDeep));
    assert_eq!(nested(100_000), Err(RecordError::TooDeep));
    let div = |depth: usize| {
        let (open, close) = ("<p>".repeat(depth), "</p>".repeat(depth));
        patient(&format!(
            "<text><div xmlns=\"http://www.w3.org/1999/xhtml\">{open}{close}</div></text>"
        ))
    };
    assert!(div(50).is_ok());
    assert_eq!(div(100_000), Err(RecordError::TooDeep));
    let limits = RecordLimits { bytes_max: 10, ..RecordLimits::default() };
    assert_eq!(json_of_xml(&[b' '; 11], &limits), Err(RecordError::TooLarge));
}
