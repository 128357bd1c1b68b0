//! A provider's answer as it arrives: which frame may follow which, what each shows, and the digest of
//! what came.
//!
//! Invariant: nothing that a frame says is believed before the frames that prove it were checked: the
//! receipt (or the promise) first, then the opening that it commits to, then the body under the opening's salt,
//! and of a stream the end that its provider has signed.

use bytes::Bytes;
use tally_core::Encoded;
use tally_core::dataset::{Selection, Wanted};
use tally_core::entry::{Flags, How, ProviderHalf};
use tally_core::exchange::requester::{Event, Trailer};
use tally_core::exchange::{Promise, PromisedHalf, RecordedHalf, StreamEnd};
use tally_core::id::{ExchangeId, MemberId};
use tally_core::opening::{BodyDigest, CHUNK_LEN, Opening, StreamDigest};
use tally_core::receipt::{Receipt, Trust};
use tally_core::refusal::{Refusal, Scope};
use tally_log::Hash;
use tally_net::FrameError;
use tally_wire::message::agent::{Answer, Description, OpeningPart, Refused, reset_reason};
use tally_wire::{OPENING_LEN_MAX, decode};

use crate::exchange::Shared;

/// What has arrived so far.
pub(super) struct Arriving {
    exchange: ExchangeId,
    provider: MemberId,
    /// What was asked of a dataset.
    wanted: Wanted,
    pub(super) receipt: Option<(Encoded<Receipt>, RecordedHalf)>,
    /// What came in place of a receipt.
    pub(super) promise: Option<(Encoded<Promise>, PromisedHalf)>,
    opening_bytes: Vec<u8>,
    pub(super) opening: Option<Encoded<Opening>>,
    pub(super) description: Option<Description>,
    digest: Option<Digest>,
    /// Bytes that a stream is said to have: an application is told, and takes so many for all.
    announced: Option<u64>,
    pub(super) bytes: u64,
    /// What the provider has signed about all that came.
    pub(super) end: Option<StreamEnd>,
    /// What the provider says of its no, as far as that is handed on.
    said: Option<(Refusal, String)>,
    /// Bytes of a dataset of which another part was asked for than there is.
    length: Option<u64>,
    short_chunk: bool,
}

enum Digest {
    Whole(BodyDigest),
    Stream(StreamDigest),
}

/// What follows from a frame.
pub(super) struct Step {
    /// For the machine.
    pub(super) event: Option<Event>,
    /// A piece of the body.
    pub(super) piece: Option<Bytes>,
    /// Whether nothing may follow.
    pub(super) last: bool,
}

impl Arriving {
    pub(super) const fn new(exchange: ExchangeId, provider: MemberId, wanted: Wanted) -> Self {
        Self {
            exchange,
            provider,
            wanted,
            receipt: None,
            promise: None,
            opening_bytes: Vec::new(),
            opening: None,
            description: None,
            digest: None,
            announced: None,
            bytes: 0,
            end: None,
            said: None,
            length: None,
            short_chunk: false,
        }
    }

    /// Takes the next frame.
    pub(super) fn take(&mut self, shared: &Shared, frame: Answer) -> Step {
        match self.step(shared, frame) {
            Ok(step) => step,
            Err(refusal) => Step::lost(self.exchange, refusal),
        }
    }

    /// Takes the next of the body.
    pub(super) fn take_piece(&mut self, bytes: Bytes) -> Step {
        self.next_data(bytes).unwrap_or_else(|refusal| Step::lost(self.exchange, refusal))
    }

    /// The stream has ended, or broke.
    pub(super) fn ended(&self, error: Option<&FrameError>) -> Event {
        let exchange = self.exchange;
        let begun = self.half().is_some();
        let refusal = match error {
            Some(FrameError::TooLong { .. }) => Refusal::ProtocolViolated,
            Some(FrameError::Reset { code }) => match reset_reason(*code) {
                // What stops a release, and nothing else, may be said in this way.
                Some(Refusal::BasisWithdrawn) if begun => Refusal::BasisWithdrawn,
                Some(refusal) if refusal.scope() == Scope::Operation => refusal,
                _ if begun => Refusal::BrokenOff,
                _ => Refusal::Unreachable,
            },
            _ if begun => Refusal::BrokenOff,
            _ => Refusal::Unreachable,
        };
        Event::Lost { exchange, refusal }
    }

    fn step(&mut self, shared: &Shared, frame: Answer) -> Result<Step, Refusal> {
        let exchange = self.exchange;
        match frame {
            Answer::Receipt(frame) => {
                if self.half().is_some() {
                    return Err(Refusal::ProtocolViolated);
                }
                let half = self.check(shared, frame.receipt.value())?;
                if half.half().flags.alert_officers() {
                    // The own officers hear of it, whatever becomes of the answer.
                    shared.recorder.hear_of_access(half.leaf());
                }
                self.receipt = Some((frame.receipt, half));
                Ok(Step::nothing())
            }
            Answer::Promise(frame) => {
                if self.half().is_some() {
                    return Err(Refusal::ProtocolViolated);
                }
                let half = self.check_promise(shared, frame.promise.value())?;
                self.promise = Some((frame.promise, half));
                Ok(Step::nothing())
            }
            Answer::Opening(part) => self.take_opening(&part),
            Answer::Description(description) => self.take_description(description),
            Answer::Data(data) => self.next_data(Bytes::from(data.bytes)),
            Answer::Trailer(trailer) => {
                if self.half().is_some_and(|half| half.flags.has(Flags::STREAMED)) {
                    // Nobody has signed what such a stream is said to be.
                    return Err(Refusal::RootUnsigned);
                }
                let digest = self.finished()?;
                let bytes = self.bytes;
                if trailer.how != How::Sent {
                    return Err(Refusal::BrokenOff);
                }
                let trailer = Trailer { bytes: trailer.bytes, root: trailer.root };
                let event = Event::Complete { exchange, bytes, digest, trailer };
                Ok(Step { last: true, ..Step::event(event) })
            }
            Answer::End(end) => self.take_end(shared, *end),
            Answer::Refused(refused) => self.refused(refused),
        }
    }

    /// The provider's half, on the ledger or promised.
    pub(super) fn half(&self) -> Option<&ProviderHalf> {
        let promised = || self.promise.as_ref().map(|(_, half)| half.half());
        self.receipt.as_ref().map(|(_, half)| half.half()).or_else(promised)
    }

    fn check(&self, shared: &Shared, receipt: &Receipt) -> Result<RecordedHalf, Refusal> {
        self.trusting(shared, |trust| RecordedHalf::check_with(receipt, trust, &shared.verified))
    }

    fn check_promise(&self, shared: &Shared, promise: &Promise) -> Result<PromisedHalf, Refusal> {
        self.trusting(shared, |trust| PromisedHalf::check(promise, trust))
    }

    /// Checks what the provider has sent against the keys that the registers have.
    fn trusting<T, E: std::fmt::Display>(
        &self,
        shared: &Shared,
        check: impl FnOnce(&Trust<'_>) -> Result<T, E>,
    ) -> Result<T, Refusal> {
        let checked = self.with_trust(shared, check).ok_or(Refusal::ReceiptInvalid)?;
        checked.map_err(|error| {
            tracing::warn!(exchange = %self.exchange, %error, "a receipt does not verify");
            Refusal::ReceiptInvalid
        })
    }

    /// With the keys that the registers have of the provider now; none if it is no member any more.
    fn with_trust<T>(&self, shared: &Shared, look: impl FnOnce(&Trust<'_>) -> T) -> Option<T> {
        let known = shared.replica.known();
        let member = known.registers.member(&self.provider)?;
        let trust = Trust {
            mesh_id: &shared.mesh_id,
            epoch: shared.epoch,
            log_keys: &known.log_keys,
            member: &self.provider,
            agent_keys: std::slice::from_ref(&member.agent_key),
        };
        Some(look(&trust))
    }

    fn take_opening(&mut self, part: &OpeningPart) -> Result<Step, Refusal> {
        let half = self.half().ok_or(Refusal::ProtocolViolated)?;
        let streamed = half.flags.has(Flags::STREAMED);
        if self.opening.is_some() {
            return Err(Refusal::ProtocolViolated);
        }
        self.opening_bytes.extend_from_slice(&part.bytes);
        if self.opening_bytes.len() > OPENING_LEN_MAX {
            return Err(Refusal::ProtocolViolated);
        }
        if part.last {
            let bytes = std::mem::take(&mut self.opening_bytes);
            let opening: Encoded<Opening> =
                decode(&bytes).map_err(|_| Refusal::CommitmentMismatch)?;
            let salt = opening.value().salt;
            self.digest = Some(if streamed {
                Digest::Stream(StreamDigest::new(salt))
            } else {
                Digest::Whole(BodyDigest::new(&salt))
            });
            self.opening = Some(opening);
        }
        Ok(Step::nothing())
    }

    /// How long the body is counts only as far as something proves it: for one that was read before
    /// the decision the half says it, for a stream what comes has to be as long.
    fn take_description(&mut self, mut description: Description) -> Result<Step, Refusal> {
        let known = self.half().zip(self.opening.as_ref());
        let (half, opening) = known.ok_or(Refusal::ProtocolViolated)?;
        if self.description.is_some() {
            return Err(Refusal::ProtocolViolated);
        }
        let (streamed, bytes) = (half.flags.has(Flags::STREAMED), half.bytes);
        let (exchange, opening) = (self.exchange, Box::new(opening.clone()));
        // A part of something else than what was asked for would be put in the wrong place.
        let selected = description.selected;
        if streamed && self.wanted.allows(&selected) {
            description.bytes = selected.bytes();
            self.announced = description.bytes;
        } else if !streamed && selected.selection == Selection::All {
            description.bytes = Some(bytes);
        } else {
            return Err(Refusal::ProtocolViolated);
        }
        self.description = Some(description);
        let event = match (&self.receipt, &self.promise) {
            (Some((_, half)), _) => {
                Event::Permitted { exchange, receipt: Box::new(half.clone()), opening }
            }
            (None, Some((_, half))) => {
                Event::Promised { exchange, promise: Box::new(half.clone()), opening }
            }
            (None, None) => return Err(Refusal::ProtocolViolated),
        };
        Ok(Step::event(event))
    }

    fn next_data(&mut self, bytes: Bytes) -> Result<Step, Refusal> {
        self.take_data(&bytes)?;
        let event = Some(Event::Arrived { exchange: self.exchange, bytes: self.bytes });
        Ok(Step { event, piece: Some(bytes), last: false })
    }

    fn take_data(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        // A chunk that is short was the last one.
        if self.description.is_none() || self.short_chunk {
            return Err(Refusal::ProtocolViolated);
        }
        match self.digest.as_mut().ok_or(Refusal::ProtocolViolated)? {
            Digest::Whole(digest) => digest.push(bytes),
            Digest::Stream(digest) => {
                digest.push(bytes);
                self.short_chunk = bytes.len() < CHUNK_LEN;
            }
        }
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len);
        if self.announced.is_some_and(|announced| self.bytes > announced) {
            return Err(Refusal::ProtocolViolated);
        }
        Ok(())
    }

    /// A stream is delivered once its provider has signed that this is what it sent.
    fn take_end(&mut self, shared: &Shared, end: StreamEnd) -> Result<Step, Refusal> {
        let (exchange, bytes, digest) = (self.exchange, self.bytes, self.finished()?);
        let half = self.half().ok_or(Refusal::ProtocolViolated)?;
        let checked = self.with_trust(shared, |trust| end.check(half, (bytes, digest), trust));
        checked.ok_or(Refusal::RootUnsigned)?.map_err(|error| {
            tracing::warn!(%exchange, %error, "the end of a stream does not verify");
            Refusal::RootUnsigned
        })?;
        let trailer = Trailer { bytes: end.sum.bytes, root: Some(end.sum.root) };
        self.end = Some(end);
        let event = Event::Complete { exchange, bytes, digest, trailer };
        Ok(Step { last: true, ..Step::event(event) })
    }

    /// The digest of a body that has come to its end.
    fn finished(&self) -> Result<Hash, Refusal> {
        let is_short = self.announced.is_some_and(|announced| self.bytes != announced);
        if self.description.is_none() || is_short {
            return Err(Refusal::ProtocolViolated);
        }
        match self.digest.as_ref() {
            Some(Digest::Whole(digest)) => Ok(digest.digest()),
            Some(Digest::Stream(digest)) => Ok(digest.root()),
            None => Err(Refusal::ProtocolViolated),
        }
    }

    /// What the provider says of this no in words; none of another one.
    pub(super) fn words_of(&self, refusal: Refusal) -> Option<String> {
        self.said.as_ref().filter(|(of, _)| *of == refusal).map(|(_, words)| words.clone())
    }

    /// How long the dataset is, if this no is about its length.
    pub(super) fn length_of(&self, refusal: Refusal) -> Option<u64> {
        self.length.filter(|_| refusal == Refusal::RangeInvalid)
    }

    fn refused(&mut self, refused: Refused) -> Result<Step, Refusal> {
        let Refused { refusal, detail, counted, length } = refused;
        let receipt = self.receipt.as_ref().map(|(_, half)| Box::new(half.clone()));
        // What the provider finds out at once about the request itself is as if the own ingress had
        // found it: nothing is owed.
        let of_request = matches!(
            refusal,
            Refusal::UnknownSource
                | Refusal::RangeInvalid
                | Refusal::NotAcceptable
                | Refusal::DatasetChanged
                | Refusal::ResumeUnknown
        );
        if refusal.scope() == Scope::Ingress && (!of_request || receipt.is_some()) {
            return Err(Refusal::ProtocolViolated);
        }
        self.said =
            Some((refusal, detail)).filter(|(of, words)| takes_words(*of) && is_plain(words));
        self.length = length;
        let counted = counted || of_request;
        let exchange = self.exchange;
        let event = Event::Refused { exchange, refusal, receipt, counted };
        Ok(Step { last: true, ..Step::event(event) })
    }
}

/// Where the provider says more than the code: which parameter, of a request that it does not understand.
/// Such a request is on the ledger; of anything else the own words are as good, and nobody else's.
const fn takes_words(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::UnsupportedParameter | Refusal::BadQuery | Refusal::UnknownType)
}

/// Whether it is text that can't pass for anything else where it is shown.
fn is_plain(words: &str) -> bool {
    let turns = |sign| matches!(sign, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !words.is_empty() && !words.contains(|sign: char| sign.is_control() || turns(sign))
}

impl Step {
    const fn nothing() -> Self {
        Self { event: None, piece: None, last: false }
    }

    pub(super) const fn event(event: Event) -> Self {
        Self { event: Some(event), piece: None, last: false }
    }

    pub(super) const fn lost(exchange: ExchangeId, refusal: Refusal) -> Self {
        Self { event: Some(Event::Lost { exchange, refusal }), piece: None, last: true }
    }
}

#[cfg(test)]
mod tests {
    use tally_core::dataset::Selected;
    use tally_core::opening::Salt32;

    use super::*;

    /// A stream that is said to have so many bytes.
    fn stream(announced: u64) -> Arriving {
        let media_type = "text/csv".to_owned();
        let selected = Selected { selection: Selection::All, length: Some(announced) };
        let bytes = Some(announced);
        let description = Description { media_type, etag: None, bytes, selected, about: None };
        Arriving {
            description: Some(description),
            digest: Some(Digest::Stream(StreamDigest::new(Salt32([1; 32])))),
            announced: Some(announced),
            ..Arriving::new(ExchangeId([1; 16]), "RZ9".parse().unwrap(), Wanted::default())
        }
    }

    #[test]
    fn of_a_no_a_provider_is_quoted_where_it_helps_and_only_plainly() {
        let said = |refusal, words: &str, about| {
            let mut arriving = stream(5);
            let (detail, length) = (words.to_owned(), Some(8));
            let refused = Refused { refusal, detail, counted: false, length };
            arriving.refused(refused).unwrap();
            (arriving.words_of(about), arriving.length_of(about))
        };
        let (bad, words) = (Refusal::BadQuery, "_count takes a whole number");
        assert_eq!(said(bad, words, bad), (Some(words.to_owned()), None));
        // What the own agent says no for has its own words.
        assert_eq!(said(bad, words, Refusal::StoreUnavailable), (None, None));
        for forged in ["", "fine\nerror: all is lost", "\u{1b}[2J", "turned \u{202e}round"] {
            assert_eq!(said(bad, forged, bad), (None, None), "{forged:?}");
        }
        let beyond = Refusal::RangeInvalid;
        assert_eq!(said(beyond, "9990000042", beyond), (None, Some(8)));
        assert_eq!(said(beyond, "", Refusal::StoreUnavailable), (None, None));
    }

    #[test]
    fn a_stream_is_as_long_as_the_application_was_told() {
        let mut right = stream(5);
        right.take_data(b"12345").unwrap();
        right.finished().unwrap();
        // The application would take the first four for all of it.
        assert_eq!(stream(4).take_data(b"12345"), Err(Refusal::ProtocolViolated));
        let mut short = stream(6);
        short.take_data(b"12345").unwrap();
        assert_eq!(short.finished(), Err(Refusal::ProtocolViolated));
    }
}
