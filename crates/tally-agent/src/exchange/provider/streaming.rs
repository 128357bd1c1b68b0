//! A dataset about nobody on its way out: what the client is told of it, and whether it goes on with an
//! earlier exchange.
//!
//! Invariant: a resume is a decision of its own, and of the very version that the first exchange was of:
//! of another one all is sent, to who says so with If-Range, or nothing.

use tally_core::dataset::{Selected, Selection};
use tally_core::exchange::Question;
use tally_core::policy::Permit;
use tally_core::refusal::Refusal;
use tally_wire::message::agent::Description;
use tally_wire::message::dataset::About;

use super::Detail;
use super::deciding::Case;
use crate::exchange::Shared;
use crate::source::{Chunks, Opened, Reading, Stream};
use crate::store::{Begun, StoreError};

/// A text of a source's descriptor is told up to so many bytes.
const TEXT_LEN_MAX: usize = 256;

/// A stream on its way out.
pub(super) struct Streaming {
    /// Of what it is: to be durable before the first byte leaves, so that it can be resumed.
    pub(super) begun: Begun,
    pub(super) chunks: Chunks,
}

/// What is known of the exchange that a request resumes.
pub(super) enum Before {
    /// It resumes none.
    Nothing,
    /// Nobody here knows of one that this requester could mean.
    Unknown,
    /// It was of this.
    Begun(Begun),
}

impl Before {
    pub(super) async fn of(shared: &Shared, question: &Question) -> Result<Self, StoreError> {
        let Some(first) = question.resumes else { return Ok(Self::Nothing) };
        let begun = shared.store.begun(question.requester.clone(), first).await?;
        let begun = begun.filter(|begun| begun.source == question.source);
        Ok(begun.map_or(Self::Unknown, Self::Begun))
    }

    /// Whether the version with this tag may be sent.
    fn allows(&self, stream: &Stream, etag: &str) -> Result<(), Refusal> {
        match self {
            Self::Nothing => Ok(()),
            Self::Unknown => Err(Refusal::ResumeUnknown),
            Self::Begun(begun) if begun.etag == etag => Ok(()),
            // RFC 9110 §13.1.5: all is sent, and nobody adds it to what came before.
            Self::Begun(_) => match &stream.wanted().if_range {
                Some(tag) if tag != etag => Ok(()),
                _ => Err(Refusal::DatasetChanged),
            },
        }
    }
}

impl Case {
    /// What leaves of a dataset under a permit.
    pub(super) fn stream(
        &self,
        stream: &Stream,
        permit: &Permit,
    ) -> Result<(Description, Streaming), Refusal> {
        self.before.allows(stream, &stream.etag(permit))?;
        let Opened { etag, selected, columns, chunks } = stream.open(permit)?;
        let is_head = selected.selection == Selection::Head;
        let descriptor = self.source.descriptor();
        let about = is_head.then(|| About {
            title: descriptor.title.as_deref().map(cut),
            licence: descriptor.licence.as_deref().map(cut),
            columns,
        });
        let description = Description {
            media_type: stream.media_type().to_owned(),
            etag: Some(etag.clone()),
            bytes: selected.bytes(),
            selected,
            about,
        };
        let begun = Begun {
            requester: self.question.requester.clone(),
            exchange: self.exchange,
            source: self.question.source.clone(),
            etag,
        };
        Ok((description, Streaming { begun, chunks }))
    }

    /// How long the dataset is of which no byte of the range is there, where that is known.
    pub(super) fn beyond(&self, refusal: Refusal, permit: &Permit) -> Option<Detail> {
        let (Refusal::RangeInvalid, Reading::Stream(stream)) = (refusal, &*self.reading) else {
            return None;
        };
        let length = stream.known_length(permit)?;
        Some(Detail { text: refusal.meaning().to_owned(), length: Some(length) })
    }
}

/// What a body is said to be that was read as a whole.
pub(super) fn whole(media_type: &str) -> Description {
    let selected = Selected { selection: Selection::All, length: None };
    let media_type = media_type.to_owned();
    Description { media_type, etag: None, bytes: None, selected, about: None }
}

/// As much of a text as is told.
fn cut(text: &str) -> String {
    let end = (0..=TEXT_LEN_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
