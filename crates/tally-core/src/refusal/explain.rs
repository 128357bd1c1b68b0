//! A refusal in words: for a person at a terminal, and as a FHIR OperationOutcome.

use std::fmt::Write as _;

use super::{Fault, Refusal};
use crate::entry::AgreementRef;
use crate::id::{ExchangeId, MemberId, Purpose};

/// The code system of refusals in FHIR.
pub const REFUSAL_SYSTEM: &str = "https://tally.example/CodeSystem/refusal";

/// The code system of errors at the NHS's own FHIR R4 services.
pub const SPINE_SYSTEM: &str = "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode";

/// A refusal, and the exchange that it is said about: names in the place of "the agreement", "this
/// purpose" and "the provider".
///
/// Give it what may leave: for a requester that is [`Refusal::outwards`], or what the agreement
/// shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// Which.
    pub refusal: Refusal,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who was asked.
    pub provider: &'a MemberId,
    /// Why.
    pub purpose: &'a Purpose,
    /// The agreement that came nearest.
    pub agreement: Option<&'a AgreementRef>,
}

impl Said<'_> {
    /// What happened: "DSA-1 does not cover HRESCH."
    #[must_use]
    pub fn text(&self) -> String {
        self.named(self.refusal.meaning())
    }

    /// What would make it lawful, or work, whom to ask, and the exchange to name when asking.
    #[must_use]
    pub fn diagnostics(&self) -> String {
        let remedy = self.named(self.refusal.remedy());
        let ask = self.named(&self.refusal.ask().to_string());
        let aim = aim(self.refusal);
        format!("{aim}: {}. Ask: {ask}. Exchange {}", begun(&remedy), self.exchange)
    }

    /// A FHIR R4 OperationOutcome with one issue, as JSON.
    #[must_use]
    pub fn operation_outcome(&self) -> String {
        self.operation_outcome_saying(&self.text())
    }

    /// The same, with other words for what happened, which are about no person.
    #[must_use]
    pub fn operation_outcome_saying(&self, text: &str) -> String {
        let spine = self.refusal.spine_code().map(|code| {
            format!(r#",{{"system":{},"code":{}}}"#, quoted(SPINE_SYSTEM), quoted(code))
        });
        format!(
            concat!(
                r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","#,
                r#""code":{issue},"details":{{"coding":[{{"system":{system},"code":{code}}}{spine}],"#,
                r#""text":{text}}},"diagnostics":{diagnostics}}}]}}"#
            ),
            issue = quoted(self.refusal.fhir_issue()),
            system = quoted(REFUSAL_SYSTEM),
            code = quoted(self.refusal.code()),
            spine = spine.unwrap_or_default(),
            text = quoted(text),
            diagnostics = quoted(&self.diagnostics()),
        )
    }

    fn named(&self, words: &str) -> String {
        let purpose = self.purpose.to_string();
        let mut text = words.replace("this purpose", &purpose);
        if let Some(agreement) = self.agreement {
            let id = agreement.id.as_str();
            text = text.replace("The agreement", id).replace("the agreement", id);
        }
        let provider = self.provider.as_str();
        text.replace("The provider's", &format!("{provider}'s"))
            .replace("of the provider", &format!("of {provider}"))
            .replace("the provider's", &format!("{provider}'s"))
    }
}

impl Refusal {
    /// All that there is to say about it, for `tally explain`: several lines.
    #[must_use]
    pub fn explanation(self) -> String {
        let fault = match self.fault() {
            Fault::Caller => "whoever asks",
            Fault::Peer => "the other organisation",
            Fault::Environment => "something around us",
            Fault::Us => "our own side",
        };
        format!(
            "{code}\n{meaning}\n\n{aim}: {remedy}\nAsk: {ask}.\nIt lies with: {fault}. HTTP {status}, FHIR {issue}{spine}.\n",
            code = self.code(),
            meaning = self.meaning(),
            aim = aim(self),
            remedy = self.remedy(),
            ask = self.ask(),
            status = self.http_status(),
            issue = self.fhir_issue(),
            spine = self.spine_code().map(|code| format!(", Spine {code}")).unwrap_or_default(),
        )
    }
}

/// Only what the caller may or may not do is a matter of law.
const fn aim(refusal: Refusal) -> &'static str {
    match refusal.scope() {
        super::Scope::Organisation | super::Scope::Person => "To make this lawful",
        super::Scope::Operation | super::Scope::Ingress => "To make this work",
    }
}

/// A sentence as it stands after a colon: without its capital, and without its full stop.
fn begun(sentence: &str) -> String {
    let sentence = sentence.strip_suffix('.').unwrap_or(sentence);
    let mut letters = sentence.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// A JSON string (RFC 8259 §7).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                // Writing to a String can't fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXCHANGE: ExchangeId = ExchangeId([1; 16]);

    fn outcome(refusal: Refusal, agreement: Option<&AgreementRef>) -> serde_json::Value {
        let (provider, purpose) = ("RZ9".parse().unwrap(), "HRESCH".parse().unwrap());
        let said =
            Said { refusal, exchange: EXCHANGE, provider: &provider, purpose: &purpose, agreement };
        serde_json::from_str(&said.operation_outcome()).unwrap()
    }

    #[test]
    fn an_outcome_names_agreement_purpose_and_whom_to_ask() {
        let agreement = AgreementRef { id: "DSA-1".parse().unwrap(), version: 1 };
        let outcome = outcome(Refusal::PurposeNotInAgreement, Some(&agreement));
        let issue = &outcome["issue"][0];
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        assert_eq!(issue["severity"], "error");
        assert_eq!(issue["code"], "forbidden");
        assert_eq!(issue["details"]["coding"][0]["system"], REFUSAL_SYSTEM);
        assert_eq!(issue["details"]["coding"][0]["code"], "purpose-not-in-agreement");
        assert_eq!(issue["details"]["text"], "DSA-1 does not cover HRESCH.");
        let diagnostics = issue["diagnostics"].as_str().unwrap();
        let expected = "To make this lawful: amend DSA-1 to cover the purpose, \
                        if its legal bases allow that. Ask: the IG lead of RZ9. Exchange ";
        assert_eq!(diagnostics, format!("{expected}{EXCHANGE}"));
    }

    #[test]
    fn every_refusal_is_an_outcome_and_an_explanation() {
        // FHIR R4 issue-type, the codes that the table uses.
        let known = [
            "forbidden",
            "suppressed",
            "business-rule",
            "expired",
            "code-invalid",
            "security",
            "required",
            "transient",
            "not-found",
            "throttled",
            "too-costly",
            "not-supported",
            "invalid",
            "exception",
            "conflict",
            "timeout",
            "incomplete",
            "login",
            "too-long",
            "no-store",
        ];
        for refusal in Refusal::ALL {
            let outcome = outcome(*refusal, None);
            let issue = &outcome["issue"][0];
            assert!(known.contains(&issue["code"].as_str().unwrap()), "{refusal}");
            let diagnostics = issue["diagnostics"].as_str().unwrap();
            assert!(!diagnostics.contains(".."), "{diagnostics}");
            let explanation = refusal.explanation();
            for part in [refusal.code(), refusal.meaning(), refusal.remedy()] {
                assert!(explanation.contains(part), "{refusal}");
            }
        }
    }

    #[test]
    fn what_is_not_available_names_no_agreement() {
        let agreement = AgreementRef { id: "DSA-1".parse().unwrap(), version: 1 };
        let without = outcome(Refusal::NotAvailable, None);
        assert_eq!(outcome(Refusal::NotAvailable, Some(&agreement)), without);
    }

    proptest! {
        #[test]
        fn any_text_survives_as_json(text in any::<String>()) {
            let read: String = serde_json::from_str(&quoted(&text)).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
