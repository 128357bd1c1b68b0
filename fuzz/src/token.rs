//! Tokens: an input of two lines is a header and claims, put together to a token; any other is the
//! token's text. Whom a token makes a user fits all that is asked of a token.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tally_core::claims::{
    AHEAD_S_MAX, Claims, Expected, LIFE_S_MAX, Signature, User, WHO_LEN_MAX, judge,
};
use tally_core::entry::UserKnown;
use tally_core::id::{OdsCode, Purpose};
use tally_core::time::Timestamp;
use tally_record::token::{Signing, Token};

static CODES: LazyLock<Vec<OdsCode>> =
    LazyLock::new(|| ["RZ9", "LZ9"].map(|code| code.parse().expect("an ODS code")).to_vec());
/// The first two are care of the one person.
static PURPOSES: LazyLock<Vec<Purpose>> = LazyLock::new(|| {
    ["TREAT", "BTG", "HRESCH"].map(|code| code.parse().expect("a purpose")).to_vec()
});

pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let composed = text.split_once('\n').map(|(header, claims)| compose(header, claims));
    let text = composed.as_deref().unwrap_or(text);
    let Ok(token) = Token::read(text) else { return };
    assert!(text.starts_with(token.signed()));
    assert_eq!(*token.signing() == Signing::None, token.signature().is_empty());
    // Another spelling of the same bytes would be another token.
    let signature = URL_SAFE_NO_PAD.encode(token.signature());
    assert_eq!(format!("{}.{signature}", token.signed()), text);
    let Ok(claims) = token.claims() else { return };
    assert_eq!(token.claims().as_ref(), Ok(&claims));
    if let Some(issued_at_s) = claims.issued_at_s {
        for now_s in [0, 1, 299, 300].map(|later_s| issued_at_s.saturating_add(later_s)) {
            judged(&claims, Timestamp(now_s.saturating_mul(1000)));
        }
        judged(&claims, Timestamp(issued_at_s.saturating_sub(30).saturating_mul(1000)));
    }
}

fn compose(header: &str, claims: &str) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signature = if header.contains("none") { "" } else { "c2lnbmVk" };
    format!("{}.{signature}", parts.join("."))
}

fn judged(claims: &Claims, now: Timestamp) {
    for purpose in PURPOSES.iter() {
        let expected = Expected { issuer: None, audience: None, codes: &CODES, purpose };
        let signed = judge(claims, Signature::Verified, &expected, now);
        let asserted = judge(claims, Signature::None, &expected, now);
        // The signature decides how far the user is known, and nothing else.
        assert_eq!(signed.as_ref().map(|it| &it.user), asserted.as_ref().map(|it| &it.user));
        assert_eq!(signed.as_ref().err(), asserted.as_ref().err());
        let (Ok(signed), Ok(asserted)) = (signed, asserted) else { continue };
        assert_eq!(signed.known, UserKnown::Verified);
        assert_eq!(asserted.known, UserKnown::Asserted);
        fits(claims, &signed, now, purpose);
        let elsewhere = Expected { codes: &[], ..expected };
        assert!(judge(claims, Signature::Verified, &elsewhere, now).is_err());
        let issuer = Expected { issuer: Some("\0"), ..expected };
        assert!(judge(claims, Signature::Verified, &issuer, now).is_err());
    }
}

fn fits(claims: &Claims, user: &User, now: Timestamp, purpose: &Purpose) {
    let now_s = now.0 / 1000;
    let issued_at_s = claims.issued_at_s.expect("when it was issued");
    let expires_at_s = claims.expires_at_s.expect("when it ends");
    assert!((1..=LIFE_S_MAX).contains(&(expires_at_s - issued_at_s)));
    assert!(now_s < expires_at_s);
    assert!(issued_at_s <= now_s + AHEAD_S_MAX);
    assert!(claims.not_before_s.is_none_or(|from_s| from_s <= now_s + AHEAD_S_MAX));
    let code = claims.organisation.as_deref().and_then(|code| code.parse().ok());
    assert!(code.is_some_and(|code| CODES.contains(&code)));
    let named = claims.user.as_ref().expect("a user");
    assert_eq!(claims.subject.as_ref(), Some(&named.subject));
    assert!(claims.reason.is_none() || PURPOSES[..2].contains(purpose));
    assert!(claims.scope.as_deref().is_some_and(|scope| scope.contains(".read")));
    for written in [Some(&user.user), user.role.as_ref()].into_iter().flatten() {
        assert!(written.len() <= WHO_LEN_MAX && !written.chars().any(char::is_control));
        assert!(written.contains('|'));
    }
    assert_eq!(format!("{claims:?} {user:?}"), "Claims(…) User(…)");
}
