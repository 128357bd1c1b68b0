//! What was asked, for the source, and a refusal of it in words.

use tally_core::entry::AgreementRef;
use tally_core::id::{ExchangeId, MemberId};
use tally_core::refusal::{Refusal, Said};
use tally_wire::message::agent::Request;

use crate::base_url::BaseUrl;
use crate::source::{Ask, Unread};

pub(super) fn ask_of(member: &MemberId, request: &Request) -> Ask {
    // Another agent says it, and it comes back to its application in links: whatever is more than a
    // host and a path is as if it had said nothing.
    let base_url = request.base_url.as_deref().and_then(|it| it.parse::<BaseUrl>().ok());
    let base_url = base_url.as_ref().map(BaseUrl::as_str).unwrap_or_default();
    let base_url = if request.source.as_str() == "fhir" {
        format!("{base_url}/fhir/{member}")
    } else {
        format!("{base_url}/data/{member}/{}", request.source)
    };
    Ask {
        action: request.action,
        path: request.path.clone(),
        query: request.query.clone(),
        offset: request.offset,
        base_url,
    }
}

pub(super) fn unread(refusal: Refusal) -> Unread {
    Unread { refusal, detail: refusal.meaning().to_owned() }
}

/// The refusal in words.
pub(super) fn said(
    provider: &MemberId,
    exchange: ExchangeId,
    request: &Request,
    refusal: Refusal,
    agreement: Option<&AgreementRef>,
) -> String {
    Said { refusal, exchange, provider, purpose: &request.purpose, agreement }.text()
}
