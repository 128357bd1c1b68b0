//! How the agent says who it is: tokens that are fetched, kept, thrown away, and never shown.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA384, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::source::{Algorithm, OAuthClient, Secret};

/// A server that gives numbered tokens at `/token`, and takes the last one alone.
fn guarded(life_seconds: u64) -> impl Fn(&fake::Seen) -> Reply + Send + Sync + 'static {
    let given = std::sync::atomic::AtomicUsize::new(0);
    move |seen| {
        if seen.target == "/token" {
            let number = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            return Reply::json(&json!({
                "access_token": format!("SECRET-{number}"),
                "token_type": "Bearer",
                "expires_in": life_seconds,
            }));
        }
        let number = given.load(std::sync::atomic::Ordering::SeqCst);
        if seen.head.contains(&format!("authorization: Bearer SECRET-{number}\r\n")) {
            two_people(seen)
        } else {
            Reply::new(401, "text/plain", "SECRET")
        }
    }
}

fn client(fake: &Fake) -> OAuthClient {
    OAuthClient {
        token_url: fake.url("/token").parse().unwrap(),
        client_id: "tally agent".to_owned(),
        scope: Some("system/*.rs".to_owned()),
    }
}

fn with_secret(desk: &Desk, fake: &Fake) -> FhirServerSettings {
    fs::write(desk.path().join("secret"), "s3cr:t+\n").unwrap();
    let secret = Secret::File(desk.path().join("secret"));
    let auth = Auth::ClientCredentials { client: client(fake), secret };
    FhirServerSettings { auth, ..settings(&fake.url("/r4")) }
}

fn tokens_asked(fake: &Fake) -> Vec<fake::Seen> {
    fake.seen().into_iter().filter(|seen| seen.target == "/token").collect()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept_for_its_life() {
    let fake = Fake::start(guarded(300)).await;
    let desk = Desk::new();
    let source = desk.server(with_secret(&desk, &fake));
    let reads = ["Patient/p1", "Patient/p2", "Observation/o1"];
    let reads = reads.map(|path| get(&desk, &source, path));
    assert!(futures_util::future::join_all(reads).await.iter().all(Result::is_ok));
    let asked = tokens_asked(&fake);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line(), "POST /token");
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=system%2F%2A.rs");
    // Form-encoded before they are joined: RFC 6749 §2.3.1.
    let basic = STANDARD.encode("tally%20agent:s3cr%3At%2B");
    assert!(asked[0].head.contains(&format!("authorization: Basic {basic}\r\n")));
    assert!(!format!("{source:?}").contains("s3cr"), "{source:?}");
}

#[tokio::test]
async fn a_token_whose_life_is_over_is_fetched_anew() {
    let fake = Fake::start(guarded(0)).await;
    let desk = Desk::new();
    let source = desk.server(with_secret(&desk, &fake));
    for _ in 0..3 {
        assert!(get(&desk, &source, "Patient/p1").await.is_ok());
    }
    assert_eq!(tokens_asked(&fake).len(), 3);
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_fetched_anew_once() {
    let answers = guarded(300);
    let fake = Fake::start(move |seen| match seen.number {
        // The token of the first read is withdrawn before the second.
        3 => Reply::status(401),
        _ => answers(seen),
    })
    .await;
    let desk = Desk::new();
    let source = desk.server(with_secret(&desk, &fake));
    for _ in 0..3 {
        assert!(get(&desk, &source, "Patient/p1").await.is_ok());
    }
    assert_eq!(tokens_asked(&fake).len(), 2);
    let fake = Fake::start(|seen| match seen.target.as_str() {
        "/token" => Reply::json(&json!({ "access_token": "a", "token_type": "bearer" })),
        _ => Reply::status(401),
    })
    .await;
    let source = desk.server(with_secret(&desk, &fake));
    assert_eq!(get(&desk, &source, "Patient/p1").await, Err(Refusal::UpstreamRefused));
    assert_eq!(fake.seen().len(), 4);
}

#[tokio::test]
async fn a_server_of_tokens_that_gives_none_has_its_refusals_too() {
    let answer = |value: Value| Reply::json(&value);
    for (reply, refusal) in [
        (Reply::new(400, "application/json", "{\"error\":\"SECRET\"}"), Refusal::UpstreamRefused),
        (Reply::status(503), Refusal::UpstreamUnreachable),
        (answer(json!({ "token_type": "bearer" })), Refusal::UpstreamMalformed),
        (
            answer(json!({ "access_token": "a b", "token_type": "bearer" })),
            Refusal::UpstreamMalformed,
        ),
        (answer(json!({ "access_token": "a", "token_type": "mac" })), Refusal::UpstreamMalformed),
        (Reply::new(200, "text/html", "<SECRET>"), Refusal::UpstreamMalformed),
    ] {
        let what = format!("{reply:?}");
        let fake = Fake::start(move |_| reply.clone()).await;
        let desk = Desk::new();
        let source = desk.server(with_secret(&desk, &fake));
        assert_eq!(get(&desk, &source, "Patient/p1").await, Err(refusal), "{what}");
        // Neither it nor the server of records is asked again.
        assert_eq!(fake.seen().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_bearer_token_is_the_one_that_the_file_holds_now() {
    let fake = Fake::start(|seen| {
        let known = seen.head.contains("authorization: Bearer second\r\n");
        if known { two_people(seen) } else { Reply::status(401) }
    })
    .await;
    let desk = Desk::new();
    let token_file = desk.path().join("token");
    let auth = Auth::Bearer { token_file: token_file.clone() };
    let source = desk.server(FhirServerSettings { auth, ..settings(&fake.url("/r4")) });
    // The file may come later than the agent.
    assert_eq!(get(&desk, &source, "Patient/p1").await, Err(Refusal::UpstreamRefused));
    fs::write(&token_file, "first\n").unwrap();
    assert_eq!(get(&desk, &source, "Patient/p1").await, Err(Refusal::UpstreamRefused));
    fs::write(&token_file, "second\n").unwrap();
    assert!(get(&desk, &source, "Patient/p1").await.is_ok());
}

/// Whether a signature is that of a text.
type Verify = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// A key in PEM, and what verifies its signatures.
fn key_of(algorithm: Algorithm) -> (String, Verify) {
    let (der, verify): (Vec<u8>, Verify) = match algorithm {
        Algorithm::Es384 => {
            let kind = &ECDSA_P384_SHA384_FIXED_SIGNING;
            let der = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(kind, der.as_ref()).unwrap();
            let public = pair.public_key().as_ref().to_vec();
            let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, public);
            (der.as_ref().to_vec(), Box::new(move |text, it| key.verify(text, it).is_ok()))
        }
        Algorithm::Rs384 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let der =
                aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair);
            let public = pair.public_key().as_ref().to_vec();
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA384, public);
            let der = der.unwrap().as_ref().to_vec();
            (der, Box::new(move |text, it| key.verify(text, it).is_ok()))
        }
    };
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    );
    (pem, verify)
}

#[tokio::test]
async fn smart_backend_services_get_a_signed_assertion_that_is_used_once() {
    for (algorithm, name) in [(Algorithm::Rs384, "RS384"), (Algorithm::Es384, "ES384")] {
        let fake = Fake::start(guarded(0)).await;
        let desk = Desk::new();
        let (pem, verify) = key_of(algorithm);
        let key = desk.path().join("key.pem");
        fs::write(&key, pem).unwrap();
        let auth = Auth::SmartBackend {
            client: client(&fake),
            key: key.clone(),
            key_id: "k1".to_owned(),
            algorithm,
        };
        let settings = FhirServerSettings { auth: auth.clone(), ..settings(&fake.url("/r4")) };
        let source = desk.server(settings.clone());
        for _ in 0..2 {
            assert!(get(&desk, &source, "Patient/p1").await.is_ok());
        }
        let mut ids = Vec::new();
        for asked in tokens_asked(&fake) {
            assert!(!asked.head.contains("authorization"), "{}", asked.head);
            let fields: BTreeMap<_, _> =
                asked.body.split('&').filter_map(|it| it.split_once('=')).collect();
            let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
            assert_eq!(fields["client_assertion_type"], kind);
            assert_eq!(fields["grant_type"], "client_credentials");
            let token = fields["client_assertion"];
            let (text, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(verify(text.as_bytes(), &signature), "{name}");
            let part = |place: usize| -> Value {
                let part = text.split('.').nth(place).unwrap();
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
            };
            assert_eq!(part(0), json!({ "alg": name, "kid": "k1", "typ": "JWT" }));
            let claims = part(1);
            assert_eq!(
                (&claims["iss"], &claims["sub"]),
                (&json!("tally agent"), &json!("tally agent"))
            );
            assert_eq!(claims["aud"], fake.url("/token"));
            let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert!((1..=300).contains(&life), "{life}");
            ids.push(claims["jti"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1]);
        // A key of another kind is told at the start.
        fs::write(&key, "no key").unwrap();
        let kind = SourceKind::FhirServer(Box::new(settings));
        let told = desk.open("fhir", kind).unwrap_err().to_string();
        assert!(told.contains("the key for assertions can't be read"), "{told}");
    }
}
