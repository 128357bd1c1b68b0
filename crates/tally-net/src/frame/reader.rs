//! Frames of a stream, one after another, for whoever reads many: what has come is taken in few steps,
//! and each byte is copied once.
//!
//! Invariant: what is announced is allocated only within the limit, and not before it begins to come.

use std::collections::VecDeque;
use std::future::pending;

use bytes::{Buf, Bytes};
use quinn::RecvStream;
use tokio::time::{Instant, sleep_until};

use super::{FrameError, FrameLimits};

/// Pieces of a stream that are taken at once: of the size of a datagram each.
const PIECES_MAX: usize = 16;
/// Bytes of the length of a frame.
const LEN_LEN: usize = 4;

/// Reads the frames of a stream.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    limits: FrameLimits,
    /// What has come and belongs to no frame yet.
    come: VecDeque<Bytes>,
    /// The length of the next frame, as far as it has come.
    head: Vec<u8>,
    /// What has come of the next frame, once its length is known.
    frame: Option<(usize, Vec<u8>)>,
    /// When it must be whole.
    due: Option<Instant>,
    ended: bool,
}

impl FrameReader {
    /// Of a stream on which nothing of a frame was read yet.
    #[must_use]
    pub const fn new(stream: RecvStream, limits: FrameLimits) -> Self {
        Self {
            stream,
            limits,
            come: VecDeque::new(),
            head: Vec::new(),
            frame: None,
            due: None,
            ended: false,
        }
    }

    /// The next frame, however long it takes to begin; none if the stream ended cleanly. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameError`] says whether the peer announced too much, stopped in the middle, stalled or is
    /// gone.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                self.due = None;
                return Ok(Some(frame));
            }
            let begun = self.frame.is_some() || !self.head.is_empty();
            if self.ended {
                return if begun { Err(FrameError::Truncated) } else { Ok(None) };
            }
            if begun && self.due.is_none() {
                self.due = Some(Instant::now() + self.limits.wait_max);
            }
            let due = self.due;
            let late = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            let mut pieces = [const { Bytes::new() }; PIECES_MAX];
            tokio::select! {
                biased;
                read = self.stream.read_chunks(&mut pieces) => match read? {
                    Some(count) => self.come.extend(pieces.into_iter().take(count)),
                    None => self.ended = true,
                },
                () = late => {
                    return Err(FrameError::Stalled { wait_max: self.limits.wait_max });
                }
            }
        }
    }

    /// Takes a frame out of what has come, or what there is of it.
    fn take(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        while let Some(piece) = self.come.front_mut() {
            let Some((len, frame)) = &mut self.frame else {
                let taken = piece.len().min(LEN_LEN - self.head.len());
                self.head.extend_from_slice(&piece.split_to(taken));
                if let Ok(announced) = <[u8; LEN_LEN]>::try_from(self.head.as_slice()) {
                    self.head.clear();
                    self.frame = Some((self.len_of(announced)?, Vec::new()));
                    if let Some(whole) = self.whole() {
                        return Ok(Some(whole));
                    }
                }
                self.drop_empty();
                continue;
            };
            frame.reserve_exact(*len - frame.len());
            let taken = piece.len().min(*len - frame.len());
            frame.extend_from_slice(piece.chunk().get(..taken).unwrap_or_default());
            piece.advance(taken);
            let whole = self.whole();
            self.drop_empty();
            if whole.is_some() {
                return Ok(whole);
            }
        }
        Ok(None)
    }

    fn len_of(&self, announced: [u8; LEN_LEN]) -> Result<usize, FrameError> {
        let (announced, len_max) = (u32::from_be_bytes(announced), self.limits.len_max);
        let len = usize::try_from(announced).ok().filter(|len| *len <= len_max);
        len.ok_or(FrameError::TooLong { len: announced.into(), len_max })
    }

    /// The frame, if nothing of it is missing.
    fn whole(&mut self) -> Option<Vec<u8>> {
        self.frame.take_if(|(len, frame)| frame.len() == *len).map(|(_, frame)| frame)
    }

    fn drop_empty(&mut self) {
        if self.come.front().is_some_and(Bytes::is_empty) {
            self.come.pop_front();
        }
    }
}
