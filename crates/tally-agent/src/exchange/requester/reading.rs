//! A provider's answer as it arrives: which frame may follow which, what each shows, and the digest of
//! what came.
//!
//! Invariant: nothing that a frame says is believed before the frames that prove it were checked: the
//! receipt first, then the opening that it commits to, then the body under the opening's salt.

use bytes::Bytes;
use tally_core::Encoded;
use tally_core::entry::{Flags, How};
use tally_core::exchange::RecordedHalf;
use tally_core::exchange::requester::{Event, Trailer};
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
    pub(super) receipt: Option<(Encoded<Receipt>, RecordedHalf)>,
    opening_bytes: Vec<u8>,
    pub(super) opening: Option<Encoded<Opening>>,
    pub(super) description: Option<Description>,
    digest: Option<Digest>,
    pub(super) bytes: u64,
    pub(super) detail: Option<String>,
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
    pub(super) const fn new(exchange: ExchangeId, provider: MemberId) -> Self {
        Self {
            exchange,
            provider,
            receipt: None,
            opening_bytes: Vec::new(),
            opening: None,
            description: None,
            digest: None,
            bytes: 0,
            detail: None,
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

    /// The stream has ended, or broke.
    pub(super) fn ended(&self, error: Option<&FrameError>) -> Event {
        let exchange = self.exchange;
        let begun = self.receipt.is_some();
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
                if self.receipt.is_some() {
                    return Err(Refusal::ProtocolViolated);
                }
                let half = self.check(shared, frame.receipt.value())?;
                self.receipt = Some((frame.receipt, half));
                Ok(Step::nothing())
            }
            Answer::Opening(part) => self.take_opening(&part),
            Answer::Description(description) => {
                if self.opening.is_none() || self.description.is_some() {
                    return Err(Refusal::ProtocolViolated);
                }
                self.description = Some(description);
                let (receipt, opening) = self
                    .receipt
                    .as_ref()
                    .zip(self.opening.as_ref())
                    .ok_or(Refusal::ProtocolViolated)?;
                let (receipt, opening) = (Box::new(receipt.1.clone()), Box::new(opening.clone()));
                Ok(Step::event(Event::Permitted { exchange, receipt, opening }))
            }
            Answer::Data(data) => {
                self.take_data(&data.bytes)?;
                let event = Some(Event::Arrived { exchange, bytes: self.bytes });
                Ok(Step { event, piece: Some(Bytes::from(data.bytes)), last: false })
            }
            Answer::Trailer(trailer) => {
                let digest = self.finished().ok_or(Refusal::ProtocolViolated)?;
                let bytes = self.bytes;
                if trailer.how != How::Sent {
                    return Err(Refusal::BrokenOff);
                }
                let trailer = Trailer { bytes: trailer.bytes, root: trailer.root };
                let event = Event::Complete { exchange, bytes, digest, trailer };
                Ok(Step { last: true, ..Step::event(event) })
            }
            Answer::Refused(refused) => self.refused(refused),
        }
    }

    fn check(&self, shared: &Shared, receipt: &Receipt) -> Result<RecordedHalf, Refusal> {
        let known = shared.replica.known();
        let member = known.registers.member(&self.provider).ok_or(Refusal::ReceiptInvalid)?;
        let trust = Trust {
            mesh_id: &shared.mesh_id,
            epoch: shared.epoch,
            log_keys: &known.log_keys,
            member: &self.provider,
            agent_keys: std::slice::from_ref(&member.agent_key),
        };
        RecordedHalf::check(receipt, &trust).map_err(|error| {
            tracing::warn!(exchange = %self.exchange, %error, "a receipt does not verify");
            Refusal::ReceiptInvalid
        })
    }

    fn take_opening(&mut self, part: &OpeningPart) -> Result<Step, Refusal> {
        let Some((_, half)) = &self.receipt else { return Err(Refusal::ProtocolViolated) };
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
            self.digest = Some(if half.half().flags.has(Flags::STREAMED) {
                Digest::Stream(StreamDigest::new(salt))
            } else {
                Digest::Whole(BodyDigest::new(&salt))
            });
            self.opening = Some(opening);
        }
        Ok(Step::nothing())
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
        Ok(())
    }

    fn finished(&self) -> Option<Hash> {
        self.description.as_ref()?;
        Some(match self.digest.as_ref()? {
            Digest::Whole(digest) => digest.digest(),
            Digest::Stream(digest) => digest.root(),
        })
    }

    fn refused(&mut self, refused: Refused) -> Result<Step, Refusal> {
        let Refused { refusal, detail, counted } = refused;
        let receipt = self.receipt.as_ref().map(|(_, half)| Box::new(half.clone()));
        // What the provider finds out at once about the request itself is as if the own ingress had
        // found it: nothing is owed.
        let of_request = matches!(
            refusal,
            Refusal::UnknownSource | Refusal::RangeInvalid | Refusal::NotAcceptable
        );
        if refusal.scope() == Scope::Ingress && (!of_request || receipt.is_some()) {
            return Err(Refusal::ProtocolViolated);
        }
        self.detail = Some(detail);
        let counted = counted || of_request;
        let exchange = self.exchange;
        let event = Event::Refused { exchange, refusal, receipt, counted };
        Ok(Step { last: true, ..Step::event(event) })
    }
}

impl Step {
    const fn nothing() -> Self {
        Self { event: None, piece: None, last: false }
    }

    const fn event(event: Event) -> Self {
        Self { event: Some(event), piece: None, last: false }
    }

    const fn lost(exchange: ExchangeId, refusal: Refusal) -> Self {
        Self { event: Some(Event::Lost { exchange, refusal }), piece: None, last: true }
    }
}
