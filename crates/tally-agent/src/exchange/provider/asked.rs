//! What was asked, for the source, what reads it there, and a refusal of it in words.

use std::sync::Arc;

use tally_core::entry::AgreementRef;
use tally_core::id::{ExchangeId, MemberId};
use tally_core::refusal::{Refusal, Said};
use tally_wire::message::agent::Request;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Detail, Input};
use crate::base_url::BaseUrl;
use crate::source::{Ask, Source, Unread};
use crate::trace::{Trace, within};

/// Reads for one exchange; dropped, it is broken off, and a server that is read from is told.
pub(super) struct ReadTask(AbortHandle);

impl ReadTask {
    /// Reads, and tells the desk what there is.
    pub(super) fn start(
        source: Option<Arc<Source>>,
        ask: Ask,
        trace: Option<Trace>,
        exchange: ExchangeId,
        mailbox: mpsc::Sender<Input>,
    ) -> Self {
        let task = tokio::spawn(async move {
            let read = match source {
                Some(source) => within(trace, source.describe(ask)).await,
                None => Err(unread(Refusal::UnknownSource)),
            };
            let input = match read {
                Ok(reading) => Input::Described { exchange, reading: Arc::new(reading) },
                Err(unread) => Input::NotDescribed { exchange, unread },
            };
            // The desk is gone only when the agent is.
            drop(mailbox.send(input).await);
        });
        Self(task.abort_handle())
    }
}

impl Drop for ReadTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

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
        wanted: request.wanted.clone(),
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
) -> Detail {
    Said { refusal, exchange, provider, purpose: &request.purpose, agreement }.text().into()
}
