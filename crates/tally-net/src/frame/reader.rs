//! Frames of a stream, one after another, for whoever reads many: what has come is taken in few steps,
//! and each byte is copied once.
//!
//! Invariant: what is announced is allocated only within the limit, and not before it begins to come.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
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
    gathering: Gathering,
    wait_max: Duration,
    ended: bool,
}

/// Puts frames together from what comes.
#[derive(Debug)]
struct Gathering {
    len_max: usize,
    /// What has come and belongs to no frame yet.
    come: VecDeque<Bytes>,
    /// The length of the next frame, as far as it has come.
    head: Vec<u8>,
    /// The next frame, as far as it has come, once its length is known.
    frame: Option<(usize, Vec<u8>)>,
}

impl FrameReader {
    /// Of a stream on which nothing of a frame was read yet.
    #[must_use]
    pub fn new(stream: RecvStream, limits: FrameLimits) -> Self {
        let FrameLimits { len_max, wait_max } = limits;
        Self { stream, gathering: Gathering::new(len_max), wait_max, ended: false }
    }

    /// The next frame, however long it takes to begin; none if the stream ended cleanly. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameError`] says whether the peer announced too much, stopped in the middle, stalled or is
    /// gone.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        // When the frame that has begun must be whole. Of this call alone: nobody was listening before,
        // and what came meanwhile waits to be taken.
        let mut due: Option<Instant> = None;
        loop {
            if let Some(frame) = self.gathering.take()? {
                return Ok(Some(frame));
            }
            let begun = self.gathering.has_begun();
            if self.ended {
                return if begun { Err(FrameError::Truncated) } else { Ok(None) };
            }
            if begun {
                due.get_or_insert_with(|| Instant::now() + self.wait_max);
            }
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
                    Some(count) => self.gathering.come.extend(pieces.into_iter().take(count)),
                    None => self.ended = true,
                },
                () = late => return Err(FrameError::Stalled { wait_max: self.wait_max }),
            }
        }
    }
}

impl Gathering {
    const fn new(len_max: usize) -> Self {
        Self { len_max, come: VecDeque::new(), head: Vec::new(), frame: None }
    }

    /// Whether something of the next frame has come.
    const fn has_begun(&self) -> bool {
        self.frame.is_some() || !self.head.is_empty()
    }

    /// Takes a frame out of what has come; none if that is not all of one.
    fn take(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        while let Some(mut piece) = self.come.pop_front() {
            match &mut self.frame {
                Some((len, frame)) => {
                    frame.reserve_exact(len.saturating_sub(frame.len()));
                    let part = piece.split_to(piece.len().min(len.saturating_sub(frame.len())));
                    frame.extend_from_slice(&part);
                }
                None => {
                    let missing = LEN_LEN.saturating_sub(self.head.len());
                    self.head.extend_from_slice(&piece.split_to(piece.len().min(missing)));
                    if let Ok(announced) = <[u8; LEN_LEN]>::try_from(self.head.as_slice()) {
                        self.head.clear();
                        self.frame = Some((self.len_of(announced)?, Vec::new()));
                    }
                }
            }
            if !piece.is_empty() {
                self.come.push_front(piece);
            }
            if let Some((_, frame)) = self.frame.take_if(|(len, frame)| frame.len() == *len) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn len_of(&self, announced: [u8; LEN_LEN]) -> Result<usize, FrameError> {
        let (announced, len_max) = (u32::from_be_bytes(announced), self.len_max);
        let len = usize::try_from(announced).ok().filter(|len| *len <= len_max);
        len.ok_or_else(|| FrameError::TooLong { len: announced.into(), len_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames in what comes in pieces of so many bytes.
    fn frames(come: &[u8], piece_len: usize) -> (Vec<Vec<u8>>, Gathering) {
        let mut gathering = Gathering::new(300);
        let mut frames = Vec::new();
        for piece in come.chunks(piece_len) {
            gathering.come.push_back(Bytes::copy_from_slice(piece));
            frames.extend(std::iter::from_fn(|| gathering.take().unwrap()));
        }
        (frames, gathering)
    }

    #[test]
    fn frames_are_the_same_in_whatever_pieces_they_come() {
        let sent = [vec![1; 300], Vec::new(), vec![2; 1], vec![3; 77]];
        let come = sent.iter().flat_map(|frame| {
            [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat()
        });
        let come: Vec<u8> = come.collect();
        for piece_len in [1, 2, 3, 4, 5, 100, 304, 305, come.len()] {
            let (come, gathering) = frames(&come, piece_len);
            assert!(come == sent, "{piece_len}");
            assert!(!gathering.has_begun() && gathering.come.is_empty(), "{piece_len}");
        }
        assert!(frames(&come[..come.len() - 1], 100).1.has_begun());
        assert!(frames(&come[..2], 1).1.has_begun());
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_comes() {
        let mut gathering = Gathering::new(300);
        gathering.come.push_back(Bytes::from_static(&[0, 0, 1, 45]));
        assert_eq!(gathering.take(), Err(FrameError::TooLong { len: 301, len_max: 300 }));
    }
}
