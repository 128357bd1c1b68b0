//! Who is asking, by tokens as Spine and GP Connect have them: keys that are made here sign as an issuer
//! does, and agents that are processes of their own believe as much as they should.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tally_core::refusal::SPINE_SYSTEM;
use tally_tests::dev::{Answer, Dev, Files, Row};
use tally_tests::mesh::until;

use super::TALLY;
use super::books::{Books, WHOLE};
use super::needles::Needles;
use super::outcome::told;

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = ["G9V9S", { code = "RZ9", until = 2024-09-30 }, { code = "RZ4", until = 2024-09-30 }] }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member]]
id = "OTHERTON"
name = "Otherton Community NHS Trust (fictional)"
codes = { ods = ["RZ8", { code = "RZ7", until = 2024-09-30 }], gss = "E99000001" }
supersedes = ["RZ7"]
dspt = { status = "not-met", published_on = 2026-06-30 }

[[member.ingress]]
purpose = "TREAT"
user = "jwt"
jwks = "issuer.jwks.json"
issuer = "https://issuer.example"
audience = "https://tally.example"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }

[[member.ingress]]
purpose = "TREAT"
user = "jwt"
unsigned_tokens = true
"#;

const CARE: &str = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Support after a stay in hospital"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "OTHERTON", "LZ9"]
"#;

/// A share of the same records, for users who are known so well.
fn share(requester: &str, user_known: &str) -> String {
    format!(
        r#"
[[share]]
provider = "RZ9"
requesters = ["{requester}"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = {{ art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }}
fields = {{ Patient = ["*"] }}
user_known = "{user_known}"
"#
    )
}

const PATH: &str = "/fhir/RZ9/Patient/pat-ottilie-71";
/// The trust, whose tokens are signed.
const TRUST: &str = "OTHERTON";
/// The council, whose tokens are not.
const COUNCIL: &str = "LZ9";
const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
const USER: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id|profile-wren-4471";

/// Who issues tokens.
pub(super) struct Issuer(EcdsaKeyPair);

impl Issuer {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn keys(&self, id: &str) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": text(x), "y": text(y) });
        json!({ "keys": [key] }).to_string()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "first" }), claims)
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encoded(&json!({ "alg": "none", "typ": "JWT" })), encoded(claims))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The flat claims of NRL and Spine, with a name of its own each time.
pub(super) fn flat(organisation: &str) -> Value {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let now_s = now_s();
    json!({
        "iss": "https://issuer.example",
        "aud": "https://tally.example",
        "jti": format!("jti-{number}"),
        "sub": USER,
        "iat": now_s,
        "exp": now_s + 300,
        "reason_for_request": "directcare",
        "scope": "patient/*.read",
        "requesting_organization": format!("{ODS}|{organisation}"),
        "requesting_system": "https://fhir.nhs.uk/Id/accredited-system|200000000205",
        "requesting_user": USER,
    })
}

/// The claims of GP Connect.
fn gp_connect(organisation: &str) -> Value {
    let mut claims = flat(organisation);
    for name in ["scope", "requesting_user"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims["sub"] = json!("10019");
    claims["requested_scope"] = json!("patient/*.read");
    claims["requesting_organization"] = json!({
        "resourceType": "Organization",
        "identifier": [{ "system": ODS, "value": organisation }],
    });
    claims["requesting_practitioner"] = json!({
        "resourceType": "Practitioner",
        "id": "10019",
        "identifier": [
            { "system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "sds-wren-4472" },
            { "system": "https://fhir.nhs.uk/Id/sds-role-profile-id", "value": "profile-wren-4471" },
        ],
        "name": [{ "family": "Wrenfieldson", "given": ["Isolde"] }],
    });
    claims
}

async fn running(issuer: &Issuer) -> Dev {
    let patient = json!({
        "resourceType": "Patient",
        "id": "pat-ottilie-71",
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018" }],
    });
    let care = [CARE, &share(TRUST, "verified"), &share(COUNCIL, "asserted")].concat();
    let files = Files::new(MESH)
        .with("care.toml", care)
        .with("issuer.jwks.json", issuer.keys("first"))
        .with("rz9/ottilie.json", patient.to_string());
    Dev::start(TALLY, &files).await.unwrap()
}

async fn ask(dev: &Dev, member: &str, token: &str, more: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [&[("authorization", bearer.as_str())], more].concat();
    dev.get(member, PATH, &headers).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_makes_a_verified_user_and_each_fault_of_one_has_its_code() {
    let issuer = Issuer::new();
    let mut dev = running(&issuer).await;
    let mut books = Books::default();
    known(&dev, &issuer, &mut books).await;
    unknown(&dev, &issuer).await;
    by_code(&dev, &mut books).await;
    keys_that_change(&dev, &issuer, &mut books).await;
    let rows = books.balance(&dev).await;
    let known = |row: &Value| row["user_known"].as_str().map(str::to_owned);
    let of = |member: &str| {
        let own = rows.iter().filter(|row| row["requester"] == member);
        own.filter_map(known).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(of(TRUST).into_iter().collect::<Vec<_>>(), ["verified"]);
    assert_eq!(of(COUNCIL).into_iter().collect::<Vec<_>>(), ["asserted"]);
    let named = |row: &&Row| row["requester"] == TRUST && row["half"] == "provider";
    let row = rows.iter().find(named).unwrap();
    assert_eq!(row["provider_name"], "Anytown Hospitals NHS Trust (fictional)");
    assert_eq!(row["requester_name"], "Otherton Community NHS Trust (fictional)");
    nowhere_in_the_open(&mut dev, &issuer).await;
}

/// Users in both forms; the opening says who, the ledger only how well known.
async fn known(dev: &Dev, issuer: &Issuer, books: &mut Books) {
    let forms = [
        (flat("RZ8"), USER),
        (gp_connect("rz8"), "https://fhir.nhs.uk/Id/sds-user-id|sds-wren-4472"),
    ];
    for (claims, user) in forms {
        let answer = ask(dev, TRUST, &issuer.token(&claims), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.code());
        books.expect(&answer, WHOLE);
        let args = ["audit", "subject", "--subject", "nhs-number|9990000018", "--output", "json"];
        let seen = until("the access", Duration::from_secs(20), async || {
            let shown = dev.tally("RZ9", &args).await.unwrap().done().unwrap().json().to_string();
            if shown.contains(user) { Ok(shown) } else { Err(shown) }
        });
        assert!(seen.await.unwrap().contains(USER));
    }
    let answer = ask(dev, COUNCIL, &unsigned(&flat("LZ9")), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.code());
    books.expect(&answer, WHOLE);
    let claimed = [("tally-relationship", "self-claimed|night shift")];
    let answer = ask(dev, TRUST, &issuer.token(&flat("RZ8")), &claimed).await;
    assert_eq!(answer.status, 200, "{}", answer.code());
    books.expect(&answer, WHOLE);
    let metrics = dev.metrics(TRUST).await.unwrap();
    assert!(metrics.contains("tally_agent_self_claimed_total 1"), "{metrics}");
    told_to_both_officers(dev, &super::world::exchange(&answer)).await;
    assert!(dev.metrics(COUNCIL).await.unwrap().contains("tally_agent_self_claimed_total 0"));
}

/// Both members' officers get a reference, and the council's, whom it does not concern, nothing.
async fn told_to_both_officers(dev: &Dev, exchange: &str) {
    let rows = dev.entries_of(exchange, 2).await.unwrap();
    assert!(rows.iter().all(|row| row["self_claimed"] == true), "{rows:?}");
    assert!(rows.iter().all(|row| row["break_glass"] == false), "{rows:?}");
    for member in ["RZ9", TRUST] {
        let file = dev.dir_of(member).join("data/alerts.jsonl");
        let line = until("an alert", Duration::from_secs(20), async || {
            let lines = fs::read_to_string(&file).unwrap_or_default();
            let found = lines.lines().find(|line| line.contains(exchange)).map(str::to_owned);
            found.ok_or(lines)
        });
        let line = line.await.unwrap();
        let alert: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(alert["alert"], "self-claimed", "{alert}");
        assert_eq!((&alert["provider"], &alert["requester"]), (&json!("RZ9"), &json!(TRUST)));
        assert_eq!(alert["member"], member, "{alert}");
        for secret in ["9990000018", "pat-ottilie-71", "night shift", "wren"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    assert!(!dev.dir_of(COUNCIL).join("data/alerts.jsonl").exists());
}

/// A fault, the status and the code that it has.
type Fault = (&'static str, fn(&mut Value), u16, &'static str);

const FAULTS: [Fault; 16] = [
    ("life", |it| it["exp"] = json!(now_s() + 400), 401, "token-life-too-long"),
    (
        "end",
        |it| (it["iat"], it["exp"]) = (json!(now_s() - 300), json!(now_s() - 1)),
        401,
        "token-expired",
    ),
    (
        "clock",
        |it| (it["iat"], it["exp"]) = (json!(now_s() + 120), json!(now_s() + 300)),
        401,
        "token-not-yet-valid",
    ),
    ("issuer", |it| it["iss"] = json!("https://other.example"), 401, "token-issuer-unknown"),
    ("audience", |it| it["aud"] = json!("https://other.example"), 401, "token-audience-wrong"),
    ("no life", |it| drop(it.as_object_mut().unwrap().remove("exp")), 400, "token-claim-missing"),
    (
        "no user",
        |it| drop(it.as_object_mut().unwrap().remove("requesting_user")),
        400,
        "token-claim-missing",
    ),
    (
        "no organisation",
        |it| drop(it.as_object_mut().unwrap().remove("requesting_organization")),
        400,
        "token-organisation-missing",
    ),
    (
        "another's",
        |it| it["requesting_organization"] = json!(format!("{ODS}|RZ9")),
        401,
        "token-organisation-wrong",
    ),
    (
        "closed",
        |it| it["requesting_organization"] = json!(format!("{ODS}|RZ7")),
        401,
        "token-organisation-wrong",
    ),
    (
        "no ODS code",
        |it| it["requesting_organization"] = json!(format!("{ODS}|E99000001")),
        401,
        "token-organisation-wrong",
    ),
    ("subject", |it| it["sub"] = json!("10020"), 401, "token-subject-wrong"),
    ("reason", |it| it["reason_for_request"] = json!("secondaryuses"), 401, "token-reason-wrong"),
    ("scope", |it| it["scope"] = json!("patient/*.write"), 403, "token-scope-wrong"),
    ("shape", |it| it["iat"] = json!("now"), 400, "token-malformed"),
    ("size", |it| it["padding"] = json!("x".repeat(8192)), 400, "token-malformed"),
];

/// Every fault over HTTP, before anything is asked of anybody.
async fn unknown(dev: &Dev, issuer: &Issuer) {
    for (what, change, status, code) in FAULTS {
        let mut claims = flat("RZ8");
        change(&mut claims);
        let answer = ask(dev, TRUST, &issuer.token(&claims), &[]).await;
        assert_eq!(answer.code(), code, "{what}");
        refused(&answer, status, code);
    }
    let claims = flat("RZ8");
    let token = issuer.token(&claims);
    let used = ask(dev, TRUST, &token, &[("tally-purpose", "HRESCH")]).await;
    refused(&used, 401, "token-reason-wrong");
    let cases = [
        (unsigned(&claims), 401, "token-unsigned"),
        (Issuer::new().token(&claims), 401, "token-invalid"),
        (
            issuer.sign(&json!({ "alg": "ES256", "kid": "second" }), &claims),
            401,
            "token-key-unknown",
        ),
        (
            issuer.sign(&json!({ "alg": "HS256", "kid": "first" }), &claims),
            401,
            "token-algorithm-refused",
        ),
        ("a.b.c".to_owned(), 400, "token-malformed"),
    ];
    for (token, status, code) in cases {
        refused(&ask(dev, TRUST, &token, &[]).await, status, code);
    }
    let none = dev.get(TRUST, PATH, &[("tally-user", "staff|wren")]).await.unwrap();
    refused(&none, 401, "user-missing");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let signed = ask(dev, COUNCIL, &issuer.token(&flat("LZ9")), &[]).await;
    refused(&signed, 401, "token-key-unknown");
    let elsewhere = ask(dev, COUNCIL, &unsigned(&flat("RZ8")), &[]).await;
    refused(&elsewhere, 401, "token-organisation-wrong");
}

fn refused(answer: &Answer, status: u16, code: &str) {
    told(answer, status, code);
    assert_eq!(answer.header("tally-exchange"), "");
    assert_eq!(answer.header("www-authenticate").is_empty(), status != 401, "{code}");
    let spine = &answer.json()["issue"][0]["details"]["coding"][1];
    let expected = if status == 400 || code == "user-missing" {
        "MISSING_OR_INVALID_HEADER"
    } else {
        "ACCESS_DENIED"
    };
    assert_eq!(
        (&spine["system"], &spine["code"]),
        (&json!(SPINE_SYSTEM), &json!(expected)),
        "{code}"
    );
}

/// A member is asked by its id or by a code that it has today, and one that was assessed badly is told
/// of and not cut off.
async fn by_code(dev: &Dev, books: &mut Books) {
    for (code, status) in [("G9V9S", 200), ("g9v9s", 200), ("RZ4", 404), ("RZ5", 404)] {
        let bearer = format!("Bearer {}", unsigned(&flat("lz9")));
        let path = format!("/fhir/{code}/Patient/pat-ottilie-71");
        let answer = dev.get(COUNCIL, &path, &[("authorization", &bearer)]).await.unwrap();
        assert_eq!(answer.status, status, "{code}: {}", answer.code());
        if status == 200 {
            books.expect(&answer, WHOLE);
        } else {
            told(&answer, 404, "unknown-member");
        }
    }
    let metrics = dev.metrics("RZ9").await.unwrap();
    let assured = "tally_member_assurance{member=\"OTHERTON\",status=\"not-met\"} 1";
    assert!(metrics.contains(assured), "{metrics}");
}

/// A token comes once; keys that are taken away count no more, and new ones do without a restart.
async fn keys_that_change(dev: &Dev, issuer: &Issuer, books: &mut Books) {
    let token = issuer.token(&flat("RZ8"));
    // What never got out of the own ingress has not used it up.
    let bearer = format!("Bearer {token}");
    for (path, code) in [
        ("fhir/XX9/Patient/pat-ottilie-71", "unknown-member"),
        ("data/RZ9/nothing", "unknown-source"),
    ] {
        let path = format!("/{path}");
        let answer = dev.get(TRUST, &path, &[("authorization", bearer.as_str())]).await.unwrap();
        told(&answer, 404, code);
    }
    let answer = ask(dev, TRUST, &token, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.code());
    books.expect(&answer, WHOLE);
    refused(&ask(dev, TRUST, &token, &[]).await, 401, "token-used-before");
    let next = Issuer::new();
    let path = dev.files().join("issuer.jwks.json");
    fs::write(&path, "no keys").unwrap();
    let code = async |issuer: &Issuer, expected: &str| {
        until(expected, Duration::from_secs(20), async || {
            let mut claims = flat("RZ8");
            // Nobody of the mesh: what is asked leads nowhere once the token is good.
            claims["requesting_organization"] = json!(format!("{ODS}|RX9"));
            let code = ask(dev, TRUST, &issuer.token(&claims), &[]).await.code();
            if code == expected { Ok(()) } else { Err(code) }
        })
        .await
        .unwrap();
    };
    code(issuer, "token-keys-unreadable").await;
    fs::write(&path, next.keys("first")).unwrap();
    code(&next, "token-organisation-wrong").await;
    code(issuer, "token-invalid").await;
}

/// No log line, no metric and no file has a token, or who is in it.
async fn nowhere_in_the_open(dev: &mut Dev, issuer: &Issuer) {
    let mut claims = gp_connect("RZ8");
    claims["jti"] = json!("canary-jti-9f31c2");
    let texts =
        ["profile-wren-4471", "sds-wren-4472", "Wrenfieldson", "canary-jti-9f31c2", "200000000205"];
    let needles = Needles::of(&texts);
    let token = issuer.token(&claims);
    assert_eq!(needles.in_bytes(token.as_bytes()).len(), texts.len());
    for member in [TRUST, COUNCIL] {
        // Whatever comes of it.
        drop(ask(dev, member, &token, &[]).await);
    }
    for name in dev.names() {
        let metrics = dev.metrics(&name).await.unwrap();
        assert!(needles.in_bytes(metrics.as_bytes()).is_empty(), "metrics of {name}");
    }
    let running = needles.below(&dev.dir());
    assert!(running.0.is_empty(), "{:?}", running.0);
    dev.end().await.unwrap();
    let ended = needles.below(&dev.dir());
    assert!(ended.0.is_empty(), "{:?}", ended.0);
    assert!(ended.1 > 20, "{} files", ended.1);
}
