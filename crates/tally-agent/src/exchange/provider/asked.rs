//! What was asked, for the source, and a refusal of it in words.

use tally_core::entry::AgreementRef;
use tally_core::id::{ExchangeId, MemberId};
use tally_core::refusal::{Refusal, Said};
use tally_wire::message::agent::Request;

use crate::source::{Ask, Unread};

pub(super) fn ask_of(member: &MemberId, request: &Request) -> Ask {
    let base_url = if request.source.as_str() == "fhir" {
        format!("/fhir/{member}")
    } else {
        format!("/data/{member}/{}", request.source)
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
