//! What a token has to say, and which refusal each fault has.

use super::*;

const NOW_S: u64 = 1_800_000_000;
const SUBJECT: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id|555";

fn claims() -> Claims {
    Claims {
        issuer: Some("https://issuer.example".to_owned()),
        audience: vec!["https://other.example".to_owned(), "https://tally.example".to_owned()],
        subject: Some(SUBJECT.to_owned()),
        issued_at_s: Some(NOW_S - 10),
        not_before_s: None,
        expires_at_s: Some(NOW_S + 290),
        reason: Some("directcare".to_owned()),
        scope: Some("patient/*.read".to_owned()),
        organisation: Some("rz9".to_owned()),
        user: Some(Requesting {
            subject: SUBJECT.to_owned(),
            user: Identifier::of_flat(SUBJECT),
            role: Identifier::of_flat(SUBJECT),
        }),
    }
}

fn judged(change: impl FnOnce(&mut Claims), purpose: &str) -> Result<User, Refusal> {
    let mut claims = claims();
    change(&mut claims);
    let codes = ["G6V2S".parse().unwrap(), "RZ9".parse().unwrap()];
    let expected = Expected {
        issuer: Some("https://issuer.example"),
        audience: Some("https://tally.example"),
        codes: &codes,
        purpose: &purpose.parse().unwrap(),
    };
    judge(&claims, Signature::Verified, &expected, Timestamp(NOW_S * 1000 + 999))
}

fn refusal(change: impl FnOnce(&mut Claims)) -> Option<Refusal> {
    judged(change, "TREAT").err()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_token_that_fits_makes_a_verified_user_in_a_role() {
    let user = judged(|_| {}, "TREAT").unwrap();
    assert_eq!(user.known, UserKnown::Verified);
    assert_eq!((user.user.as_str(), user.role.as_deref()), (SUBJECT, Some(SUBJECT)));
}

#[test]
fn a_user_of_an_unsigned_token_is_asserted_never_verified() {
    let codes = ["RZ9".parse().unwrap()];
    let purpose = "TREAT".parse().unwrap();
    let expected = Expected { issuer: None, audience: None, codes: &codes, purpose: &purpose };
    let user = judge(&claims(), Signature::None, &expected, Timestamp(NOW_S * 1000)).unwrap();
    assert_eq!(user.known, UserKnown::Asserted);
}

#[test]
fn a_token_lives_for_five_minutes_and_not_one_second_more() {
    let life = |issued_at_s: u64, expires_at_s: u64| {
        refusal(|claims| {
            (claims.issued_at_s, claims.expires_at_s) = (Some(issued_at_s), Some(expires_at_s));
        })
    };
    assert_eq!(life(NOW_S, NOW_S + 300), None);
    assert_eq!(life(NOW_S, NOW_S + 301), Some(Refusal::TokenLifeTooLong));
    assert_eq!(life(NOW_S + 1, NOW_S + 1), Some(Refusal::TokenLifeTooLong));
    assert_eq!(life(NOW_S + 2, NOW_S + 1), Some(Refusal::TokenLifeTooLong));
    assert_eq!(life(0, u64::MAX), Some(Refusal::TokenLifeTooLong));
    assert_eq!(life(NOW_S - 299, NOW_S + 1), None);
    assert_eq!(life(NOW_S - 300, NOW_S), Some(Refusal::TokenExpired));
}

#[test]
fn an_issuers_clock_may_be_thirty_seconds_ahead() {
    let ahead = |ahead_s: u64| {
        refusal(|claims| {
            claims.issued_at_s = Some(NOW_S + ahead_s);
            claims.expires_at_s = Some(NOW_S + ahead_s + 300);
        })
    };
    assert_eq!(ahead(30), None);
    assert_eq!(ahead(31), Some(Refusal::TokenNotYetValid));
    let not_before = |from_s| refusal(|claims| claims.not_before_s = Some(from_s));
    assert_eq!(not_before(NOW_S + 30), None);
    assert_eq!(not_before(NOW_S + 31), Some(Refusal::TokenNotYetValid));
}

#[test]
fn a_token_is_of_the_issuer_and_for_the_audience_that_the_ingress_names() {
    assert_eq!(refusal(|it| it.issuer = None), Some(Refusal::TokenIssuerUnknown));
    let other = refusal(|it| it.issuer = text("https://issuer.example/"));
    assert_eq!(other, Some(Refusal::TokenIssuerUnknown));
    assert_eq!(refusal(|it| it.audience.clear()), Some(Refusal::TokenAudienceWrong));
    let other = refusal(|it| it.audience.truncate(1));
    assert_eq!(other, Some(Refusal::TokenAudienceWrong));
}

#[test]
fn a_token_is_of_the_member_whose_ingress_it_reaches() {
    assert_eq!(refusal(|it| it.organisation = text("G6V2S")), None);
    assert_eq!(refusal(|it| it.organisation = None), Some(Refusal::TokenOrganisationMissing));
    for other in ["RZ8", "", "RZ9 ", "https://fhir.nhs.uk/Id/ods-organization-code|RZ9"] {
        let refused = refusal(|it| it.organisation = text(other));
        assert_eq!(refused, Some(Refusal::TokenOrganisationWrong), "{other}");
    }
}

#[test]
fn the_subject_is_the_user_who_requests() {
    assert_eq!(refusal(|it| it.subject = text("556")), Some(Refusal::TokenSubjectWrong));
    let missing: [fn(&mut Claims); 7] = [
        |it| it.subject = None,
        |it| it.user = None,
        |it| it.user.as_mut().unwrap().user = None,
        |it| it.issued_at_s = None,
        |it| it.expires_at_s = None,
        |it| it.scope = None,
        |it| (it.subject, it.user) = (None, None),
    ];
    for change in missing {
        assert_eq!(refusal(change), Some(Refusal::TokenClaimMissing));
    }
    let long = |it: &mut Claims| {
        let value = "5".repeat(WHO_LEN_MAX);
        let user = Identifier { system: "staff".to_owned(), value };
        it.user.as_mut().unwrap().user = Some(user);
    };
    assert_eq!(refusal(long), Some(Refusal::TokenMalformed));
    let control = |it: &mut Claims| {
        it.user.as_mut().unwrap().role = Identifier::of_flat("staff|a\u{1b}[2Jb");
    };
    assert_eq!(refusal(control), Some(Refusal::TokenMalformed));
}

#[test]
fn direct_care_as_a_reason_is_no_secondary_use() {
    for purpose in ["TREAT", "COC", "ETREAT", "BTG"] {
        assert_eq!(judged(|_| {}, purpose).err(), None, "{purpose}");
    }
    for purpose in ["HRESCH", "POPHLTH", "HPAYMT", "local:SAFEGUARDING", "DONAT", "HMARKT"] {
        let refused = judged(|_| {}, purpose).err();
        assert_eq!(refused, Some(Refusal::TokenReasonWrong), "{purpose}");
        // Then the request alone says why.
        assert_eq!(judged(|it| it.reason = None, purpose).err(), None, "{purpose}");
    }
    for reason in ["secondaryuses", "patientaccess", "DIRECTCARE", ""] {
        let refused = refusal(|it| it.reason = text(reason));
        assert_eq!(refused, Some(Refusal::TokenReasonWrong), "{reason}");
    }
}

#[test]
fn a_token_for_writing_alone_does_not_read() {
    for scope in ["patient/*.read", "organization/*.read", "patient/*.write patient/*.read"] {
        assert_eq!(refusal(|it| it.scope = text(scope)), None, "{scope}");
    }
    for scope in ["patient/*.write", "", "patient/*.readwrite", "patient/*.*", "patient/*.READ"] {
        let refused = refusal(|it| it.scope = text(scope));
        assert_eq!(refused, Some(Refusal::TokenScopeWrong), "{scope}");
    }
}

#[test]
fn debug_names_nobody() {
    let claims = claims();
    let printed = format!("{claims:?} {:?} {:?}", claims.user, judged(|_| {}, "TREAT"));
    assert!(!printed.contains("555") && !printed.contains("rz9"), "{printed}");
}
