//! What is a token and what is none; whom it names; which key is its.

use proptest::prelude::*;
use serde_json::{Value, json};
use tally_core::claims::Claims;

use super::*;

const ROLE: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id|555";

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(header: &Value, claims: &Value, signature: &str) -> String {
    format!("{}.{}.{signature}", encoded(header), encoded(claims))
}

fn flat() -> Value {
    json!({
        "iss": "https://issuer.example",
        "aud": "https://tally.example",
        "sub": ROLE,
        "iat": 1_800_000_000_u64,
        "exp": 1_800_000_300_u64,
        "reason_for_request": "directcare",
        "scope": "patient/*.read",
        "requesting_organization": "https://fhir.nhs.uk/Id/ods-organization-code|RZ9",
        "requesting_system": "https://fhir.nhs.uk/Id/accredited-system|200000000205",
        "requesting_user": ROLE,
    })
}

fn gp_connect() -> Value {
    json!({
        "iss": "https://issuer.example",
        "aud": ["https://tally.example", "https://other.example"],
        "sub": "10019",
        "iat": 1_800_000_000_u64,
        "exp": 1_800_000_300_u64,
        "reason_for_request": "directcare",
        "requested_scope": "patient/*.read",
        "requesting_device": { "resourceType": "Device", "model": "v1" },
        "requesting_organization": {
            "resourceType": "Organization",
            "identifier": [{ "system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "RZ9" }],
            "name": "Anytown Hospitals NHS Trust (fictional)",
        },
        "requesting_practitioner": {
            "resourceType": "Practitioner",
            "id": "10019",
            "identifier": [
                { "system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "111222333444" },
                { "system": "https://fhir.nhs.uk/Id/sds-role-profile-id", "value": "555" },
                { "system": "https://local.example/user", "value": "wren" },
            ],
            "name": [{ "family": "Wrenfield", "given": ["Isolde"] }],
        },
    })
}

fn claims(value: &Value) -> Result<Claims, Refusal> {
    Token::read(&token(&json!({ "alg": "none" }), value, "")).and_then(|token| token.claims())
}

fn with(mut value: Value, path: &str, new: Value) -> Value {
    *value.pointer_mut(path).unwrap() = new;
    value
}

#[test]
fn both_forms_name_an_organisation_and_a_user() {
    let read = claims(&flat()).unwrap();
    assert_eq!(read.organisation.as_deref(), Some("RZ9"));
    assert_eq!((read.issued_at_s, read.expires_at_s), (Some(1_800_000_000), Some(1_800_000_300)));
    let user = read.user.unwrap();
    assert_eq!(user.subject, ROLE);
    assert_eq!(user.user.unwrap().value, "555");
    assert_eq!(user.role.unwrap().system, "https://fhir.nhs.uk/Id/sds-role-profile-id");

    let read = claims(&gp_connect()).unwrap();
    assert_eq!((read.organisation.as_deref(), read.audience.len()), (Some("RZ9"), 2));
    assert_eq!(read.scope.as_deref(), Some("patient/*.read"));
    let user = read.user.unwrap();
    assert_eq!(user.subject, "10019");
    assert_eq!(
        (user.user.unwrap().value, user.role.unwrap().value),
        ("111222333444".into(), "555".into())
    );
}

#[test]
fn an_unknown_identifier_is_nobodys() {
    let first = "/requesting_practitioner/identifier/0/value";
    let unknown = with(gp_connect(), first, json!("UNK"));
    let user = claims(&unknown).unwrap().user.unwrap();
    assert_eq!(user.user.unwrap().value, "555");
    let second = "/requesting_practitioner/identifier/1/value";
    let user = claims(&with(unknown, second, json!("UNK"))).unwrap().user.unwrap();
    assert_eq!((user.user.unwrap().value, user.role.is_none()), ("wren".into(), true));
    let none = with(gp_connect(), "/requesting_practitioner/identifier", json!([]));
    assert!(claims(&none).unwrap().user.unwrap().user.is_none());
}

#[test]
fn an_organisation_without_an_ods_code_is_none() {
    let other = json!("https://fhir.nhs.uk/Id/accredited-system|RZ9");
    for other in [other, json!("RZ9"), json!("")] {
        let read = claims(&with(flat(), "/requesting_organization", other)).unwrap();
        assert_eq!(read.organisation, None);
    }
    let path = "/requesting_organization/identifier/0/system";
    let read = claims(&with(gp_connect(), path, json!("https://local.example"))).unwrap();
    assert_eq!(read.organisation, None);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let mut two_users = flat();
    two_users["requesting_practitioner"] = gp_connect()["requesting_practitioner"].clone();
    let mut two_scopes = flat();
    two_scopes["requested_scope"] = json!("patient/*.write");
    let codes = json!([
        { "system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "RZ9" },
        { "system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "RZ8" },
    ]);
    let two_codes = with(gp_connect(), "/requesting_organization/identifier", codes);
    let kind = with(gp_connect(), "/requesting_practitioner/resourceType", json!("Patient"));
    for value in [two_users, two_scopes, two_codes, kind] {
        assert_eq!(claims(&value).err(), Some(Refusal::TokenMalformed), "{value}");
    }
    for (path, new) in [
        ("/iat", json!("1800000000")),
        ("/exp", json!(1_800_000_300.5)),
        ("/exp", json!(-1)),
        ("/sub", json!(["555"])),
        ("/aud", json!([1])),
        ("/aud", json!({})),
        ("/requesting_user", json!({})),
        ("/requesting_organization", json!(7)),
        ("/iss", json!(null)),
    ] {
        let value = with(flat(), path, new);
        assert_eq!(claims(&value).err(), Some(Refusal::TokenMalformed), "{value}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let (header, body) = (encoded(&json!({ "alg": "none" })), encoded(&flat()));
    let refused = |text: &str| Token::read(text).and_then(|token| token.claims()).err();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{body}"),
        format!("{header}.{body}.."),
        format!("{header}.{body}.AAAA"),
        format!("{header}=.{body}."),
        format!("{header}.{body}\n."),
        format!("{header}.{}.", URL_SAFE_NO_PAD.encode("[]")),
        format!("{header}.{}.", URL_SAFE_NO_PAD.encode(r#"{"sub":"a","sub":"b"}"#)),
        format!(
            "{header}.{}.",
            URL_SAFE_NO_PAD.encode(format!("{{\"a\":{}1{}}}", "[".repeat(12), "]".repeat(12)))
        ),
        format!("{header}.{}.", "A".repeat(TOKEN_LEN_MAX)),
        token(&json!({ "alg": "RS256" }), &flat(), ""),
        token(&json!({ "alg": "RS256", "crit": ["b64"], "b64": false }), &flat(), "AAAA"),
        token(&json!({ "alg": "RS256", "kid": 7 }), &flat(), "AAAA"),
        token(&json!({ "kid": "k" }), &flat(), "AAAA"),
        token(&json!({ "alg": "none" }), &flat(), "AB"),
    ] {
        assert_eq!(refused(&text), Some(Refusal::TokenMalformed), "{text}");
    }
    for algorithm in ["HS256", "None", "NONE", "RS384", "PS256", "ES256K", ""] {
        let text = token(&json!({ "alg": algorithm }), &flat(), "AAAA");
        assert_eq!(refused(&text), Some(Refusal::TokenAlgorithmRefused), "{algorithm}");
    }
}

fn rsa(bytes: usize) -> Value {
    json!({ "kty": "RSA", "kid": "r", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB" })
}

fn ec(curve: &str, bytes: usize) -> Value {
    let half = URL_SAFE_NO_PAD.encode(vec![7; bytes]);
    json!({ "kty": "EC", "kid": "e", "crv": curve, "x": half, "y": half })
}

fn keys(list: &[Value]) -> Result<Keys, KeysError> {
    Keys::read(json!({ "keys": list }).to_string().as_bytes())
}

fn by(algorithm: Algorithm, key_id: Option<&str>) -> Signing {
    Signing::By { algorithm, key_id: key_id.map(str::to_owned) }
}

#[test]
fn the_key_says_which_algorithm_it_is_for() {
    let set = keys(&[rsa(256), ec("P-256", 32)]).unwrap();
    let found = |signing: &Signing| set.find(signing).map(|(_, algorithm)| algorithm);
    assert_eq!(found(&by(Algorithm::Rs256, Some("r"))), Ok(Algorithm::Rs256));
    assert_eq!(found(&by(Algorithm::Rs512, Some("r"))), Ok(Algorithm::Rs512));
    assert_eq!(found(&by(Algorithm::Es256, Some("e"))), Ok(Algorithm::Es256));
    for (algorithm, id) in [
        (Algorithm::Es256, "r"),
        (Algorithm::Rs256, "e"),
        (Algorithm::Es384, "e"),
        (Algorithm::EdDsa, "e"),
    ] {
        let refused = found(&by(algorithm, Some(id)));
        assert_eq!(refused, Err(Refusal::TokenAlgorithmRefused), "{algorithm:?}");
    }
    assert_eq!(found(&by(Algorithm::Rs256, Some("x"))), Err(Refusal::TokenKeyUnknown));
    assert_eq!(found(&by(Algorithm::Rs256, None)), Err(Refusal::TokenKeyUnknown));
    assert_eq!(found(&Signing::None), Err(Refusal::TokenUnsigned));
    let mut only = rsa(256);
    only["alg"] = json!("RS512");
    let set = keys(&[only]).unwrap();
    assert!(set.find(&by(Algorithm::Rs512, None)).is_ok());
    let refused = set.find(&by(Algorithm::Rs256, None)).err();
    assert_eq!(refused, Some(Refusal::TokenAlgorithmRefused));
}

#[test]
fn keys_that_are_of_no_use_here_are_passed_over() {
    let mut for_secrets = rsa(256);
    for_secrets["use"] = json!("enc");
    let mut probabilistic = rsa(256);
    probabilistic["alg"] = json!("PS256");
    let strange = json!({ "kty": "AKP", "alg": "ML-DSA-44" });
    let all = [for_secrets, probabilistic, strange, ec("P-521", 66)];
    assert_eq!(keys(&all).err(), Some(KeysError::Empty));
    let set = keys(&[&all[..], &[ec("P-384", 48)]].concat()).unwrap();
    assert!(set.find(&by(Algorithm::Es384, None)).is_ok());
}

#[test]
fn a_file_of_keys_that_is_not_right_is_refused() {
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        keys(&[key]).err()
    };
    assert_eq!(with(rsa(256), "d", json!("AA")), Some(KeysError::Secret(0)));
    let shared = json!({ "kty": "oct", "k": "AAAA" });
    assert_eq!(keys(&[rsa(256), shared]).err(), Some(KeysError::Secret(1)));
    assert_eq!(keys(&[rsa(255)]).err(), Some(KeysError::Size(0)));
    assert_eq!(keys(&[rsa(1025)]).err(), Some(KeysError::Size(0)));
    assert_eq!(keys(&[rsa(256), rsa(256)]).err(), Some(KeysError::Twice));
    assert_eq!(with(ec("P-256", 31), "kid", json!("k")), Some(KeysError::Malformed(0)));
    assert_eq!(with(ec("P-256", 32), "alg", json!("ES384")), Some(KeysError::Malformed(0)));
    assert_eq!(with(rsa(256), "n", json!("====")), Some(KeysError::Malformed(0)));
    assert_eq!(with(rsa(256), "kty", json!(null)), Some(KeysError::Malformed(0)));
    assert_eq!(keys(&[]).err(), Some(KeysError::Empty));
    for bytes in [&b""[..], b"[]", b"{}", b"{\"keys\":{}}", b"{\"keys\":[],\"keys\":[]}"] {
        assert_eq!(Keys::read(bytes).err(), Some(KeysError::NotASet));
    }
    // A leading zero is no part of the number.
    let padded = URL_SAFE_NO_PAD.encode([vec![0], vec![0xff; 256]].concat());
    assert_eq!(with(rsa(256), "n", json!(padded)), None);
}

#[test]
fn debug_names_nobody() {
    let text = token(&json!({ "alg": "none" }), &flat(), "");
    assert_eq!(format!("{:?}", Token::read(&text).unwrap()), "Token(…)");
}

/// A token, and what may be done to it.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just(token(&json!({ "alg": "none" }), &flat(), "")),
        Just(token(&json!({ "alg": "ES256", "kid": "e" }), &gp_connect(), "AAAA")),
    ];
    let changes =
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..8);
    (whole, changes).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_text_makes_a_token_panic(bytes in mutated()) {
        if let Ok(token) = Token::read(&String::from_utf8_lossy(&bytes)) {
            drop(token.claims());
        }
    }

    #[test]
    fn no_claims_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut payload = gp_connect().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let text = format!("{}.{}.", encoded(&json!({ "alg": "none" })), URL_SAFE_NO_PAD.encode(&payload));
        drop(Token::read(&text).unwrap().claims());
        drop(Keys::read(&payload));
    }
}
