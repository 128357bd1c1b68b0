//! Keys that are made here sign tokens as an issuer does.

use std::fs;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tally_core::entry::UserKnown;
use tempfile::TempDir;

use super::*;

const NOW_S: u64 = 1_800_000_000;
const NOW: Timestamp = Timestamp(NOW_S * 1000);
const USER: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id|555";

/// Somebody who issues tokens.
enum Issuer {
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>, &'static str),
}

impl Issuer {
    fn all() -> Vec<Self> {
        let rsa = || Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        vec![
            Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), "ES256"),
            Self::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(), "ES384"),
            Self::Ed(Ed25519KeyPair::generate().unwrap()),
            Self::Rsa(rsa(), "RS256"),
            Self::Rsa(rsa(), "RS512"),
        ]
    }

    fn new() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), "ES256")
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_, name) | Self::Rsa(_, name) => name,
            Self::Ed(_) => "EdDSA",
        }
    }

    fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair, name) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if *name == "ES256" { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "kid": id, "crv": curve, "x": text(x), "y": text(y) })
            }
            Self::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({ "kty": "OKP", "kid": id, "crv": "Ed25519", "x": x })
            }
            Self::Rsa(pair, _) => {
                let components = pair.public_key();
                let parts = rsa_parts(components.as_ref());
                json!({ "kty": "RSA", "kid": id, "n": text(&parts.0), "e": text(&parts.1) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair, name) => {
                let padding = if *name == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PKCS1_SHA512 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn token(&self, id: &str, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "kid": id, "typ": "JWT" });
        let signed = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Modulus and exponent of RFC 8017's RSAPublicKey, of 2,048 bits.
fn rsa_parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let exponent = der[der.len() - 3..].to_vec();
    let modulus = der[der.len() - 5 - 256..der.len() - 5].to_vec();
    (modulus, exponent)
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims(id: u32) -> Value {
    json!({
        "jti": id, "sub": USER, "iat": NOW_S, "exp": NOW_S + 300, "scope": "patient/*.read",
        "requesting_organization": "https://fhir.nhs.uk/Id/ods-organization-code|RZ9",
        "requesting_user": USER,
    })
}

/// An ingress that takes what these issuers sign.
fn ingress(issuers: &[(&str, &Issuer)]) -> (TempDir, Tokens) {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, issuers);
    let jwks = Some(dir.path().join("keys.json"));
    let tokens = Tokens::open(&TokenSettings { jwks, ..TokenSettings::default() }).unwrap();
    (dir, tokens)
}

fn write(dir: &TempDir, issuers: &[(&str, &Issuer)]) {
    let keys = issuers.iter().map(|(id, issuer)| issuer.jwk(id)).collect::<Vec<_>>();
    fs::write(dir.path().join("keys.next"), json!({ "keys": keys }).to_string()).unwrap();
    fs::rename(dir.path().join("keys.next"), dir.path().join("keys.json")).unwrap();
}

fn check(tokens: &Tokens, token: &str) -> Result<User, Refusal> {
    tokens.check(token, &"TREAT".parse().unwrap(), &["RZ9".parse().unwrap()], NOW)
}

#[test]
fn what_a_key_of_the_file_has_signed_makes_a_verified_user() {
    let issuers = Issuer::all();
    let named = ["k0", "k1", "k2", "k3", "k4"].into_iter().zip(&issuers).collect::<Vec<_>>();
    let (_dir, tokens) = ingress(&named);
    for (id, issuer) in named {
        let user = check(&tokens, &issuer.token(id, &claims(1))).unwrap();
        assert_eq!(user.known, UserKnown::Verified, "{id}");
        let mut broken = issuer.token(id, &claims(2)).into_bytes();
        // The first byte of the signature, whose every bit counts.
        let at = broken.iter().rposition(|byte| *byte == b'.').unwrap() + 1;
        broken[at] = if broken[at] == b'B' { b'C' } else { b'B' };
        let broken = String::from_utf8(broken).unwrap();
        assert_eq!(check(&tokens, &broken).err(), Some(Refusal::TokenInvalid), "{id}");
    }
}

#[test]
fn nobody_elses_key_and_no_other_algorithm_signs() {
    let (own, other) = (Issuer::new(), Issuer::new());
    let (_dir, tokens) = ingress(&[("own", &own)]);
    let forged = other.token("own", &claims(1));
    assert_eq!(check(&tokens, &forged).err(), Some(Refusal::TokenInvalid));
    let unknown = other.token("other", &claims(1));
    assert_eq!(check(&tokens, &unknown).err(), Some(Refusal::TokenKeyUnknown));
    let signed = own.token("own", &claims(1));
    let (rest, signature) = signed.rsplit_once('.').unwrap();
    let (_, body) = rest.split_once('.').unwrap();
    let swapped = |header: Value, signature: &str| {
        check(&tokens, &format!("{}.{body}.{signature}", encoded(&header))).err()
    };
    // The public key as a secret of HMAC, and no signature at all.
    let hmac = swapped(json!({ "alg": "HS256", "kid": "own" }), signature);
    assert_eq!(hmac, Some(Refusal::TokenAlgorithmRefused));
    let rsa = swapped(json!({ "alg": "RS256", "kid": "own" }), signature);
    assert_eq!(rsa, Some(Refusal::TokenAlgorithmRefused));
    assert_eq!(swapped(json!({ "alg": "none" }), ""), Some(Refusal::TokenUnsigned));
    let header = swapped(json!({ "alg": "ES256", "kid": "own", "x": 1 }), signature);
    assert_eq!(header, Some(Refusal::TokenInvalid));
}

#[test]
fn a_token_comes_once() {
    let issuer = Issuer::new();
    let (_dir, tokens) = ingress(&[("k", &issuer)]);
    let token = issuer.token("k", &claims(1));
    assert!(check(&tokens, &token).is_ok());
    assert_eq!(check(&tokens, &token).err(), Some(Refusal::TokenUsedBefore));
    // Another signature over the same is the same token.
    let again = issuer.token("k", &claims(1));
    assert_ne!(again, token);
    assert_eq!(check(&tokens, &again).err(), Some(Refusal::TokenUsedBefore));
    assert!(check(&tokens, &issuer.token("k", &claims(2))).is_ok());
}

#[test]
fn unsigned_tokens_make_asserted_users_where_they_are_taken() {
    let unsigned = TokenSettings { unsigned: true, ..TokenSettings::default() };
    let tokens = Tokens::open(&unsigned).unwrap();
    let text = |id| format!("{}.{}.", encoded(&json!({ "alg": "none" })), encoded(&claims(id)));
    assert_eq!(check(&tokens, &text(1)).unwrap().known, UserKnown::Asserted);
    let signed = Issuer::new().token("k", &claims(1));
    assert_eq!(check(&tokens, &signed).err(), Some(Refusal::TokenKeyUnknown));
}

#[test]
fn keys_that_change_count_and_keys_that_can_not_be_read_do_not() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let (dir, tokens) = ingress(&[("old", &old)]);
    assert!(check(&tokens, &old.token("old", &claims(1))).is_ok());
    let look_again = || {
        let mut keys = lock(tokens.keys.as_ref().unwrap());
        keys.age(Duration::from_secs(1));
    };
    write(&dir, &[("new", &new)]);
    look_again();
    assert!(check(&tokens, &new.token("new", &claims(1))).is_ok());
    let gone = check(&tokens, &old.token("old", &claims(2))).err();
    assert_eq!(gone, Some(Refusal::TokenKeyUnknown));
    fs::write(dir.path().join("keys.json"), "{").unwrap();
    look_again();
    let unreadable = check(&tokens, &new.token("new", &claims(2))).err();
    assert_eq!(unreadable, Some(Refusal::TokenKeysUnreadable));
    fs::remove_file(dir.path().join("keys.json")).unwrap();
    look_again();
    let missing = check(&tokens, &new.token("new", &claims(2))).err();
    assert_eq!(missing, Some(Refusal::TokenKeysUnreadable));
    write(&dir, &[("new", &new)]);
    look_again();
    assert!(check(&tokens, &new.token("new", &claims(3))).is_ok());
}

#[test]
fn an_agent_does_not_start_without_the_keys_that_it_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let open = || {
        let settings = TokenSettings { jwks: Some(path.clone()), ..TokenSettings::default() };
        Tokens::open(&settings).err().map(|why| why.to_string())
    };
    assert!(open().unwrap().contains("[ingress] jwks"));
    // A point that is not on its curve is no key.
    let half = URL_SAFE_NO_PAD.encode([7; 32]);
    let key = json!({ "kty": "EC", "crv": "P-256", "x": half, "y": half });
    fs::write(&path, json!({ "keys": [key] }).to_string()).unwrap();
    assert!(open().unwrap().contains("key 0 is no public key"));
}
