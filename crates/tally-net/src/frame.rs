//! Frames on a stream: a length of four bytes, big-endian, then that many bytes. A length beyond the
//! limit is refused before anything is allocated for it.

mod reader;

pub use reader::FrameReader;

use std::time::Duration;

use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use tokio::time::timeout;

/// Why a frame did not cross.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer's fault: it announced more than may come.
    #[error("a frame of {len} bytes was announced; at most {len_max} are allowed")]
    TooLong {
        /// What was announced.
        len: u64,
        /// What is allowed.
        len_max: usize,
    },
    /// The peer stopped in the middle of a frame.
    #[error("the stream ended in the middle of a frame")]
    Truncated,
    /// The peer began a frame and did not finish it in time.
    #[error("a frame was begun and not finished within {} ms", wait_max.as_millis())]
    Stalled {
        /// How long it had.
        wait_max: Duration,
    },
    /// The peer has broken the stream off, and says why by a code.
    #[error("the peer has broken the stream off with code {code}")]
    Reset {
        /// What it means is for the protocol to say.
        code: u64,
    },
    /// The stream or its connection is gone.
    #[error("the stream is gone: {0}")]
    Gone(String),
}

/// Limits of the frames on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes after the length at most.
    pub len_max: usize,
    /// Once a frame has begun it must be whole within this time.
    pub wait_max: Duration,
}

/// A frame of so few bytes is copied behind its length: each write wakes whoever sends packets.
const TOGETHER_LEN_MAX: usize = 8 * 1024;

/// Reads the next frame, however long it takes to begin; none if the stream ended cleanly.
///
/// Not cancel-safe: a dropped read may leave the stream in the middle of a frame.
///
/// # Errors
/// [`FrameError`] says whether the peer announced too much, stopped in the middle, stalled or is gone.
pub async fn read_frame(
    stream: &mut RecvStream,
    limits: FrameLimits,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut first = [0_u8; 1];
    match stream.read_exact(&mut first).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let rest = async {
        let mut rest = [0_u8; 3];
        stream.read_exact(&mut rest).await?;
        let [a] = first;
        let [b, c, d] = rest;
        let announced = u32::from_be_bytes([a, b, c, d]);
        let too_long = FrameError::TooLong { len: announced.into(), len_max: limits.len_max };
        let len = usize::try_from(announced).map_err(|_| too_long.clone())?;
        if len > limits.len_max {
            return Err(too_long);
        }
        let mut frame = vec![0; len];
        stream.read_exact(&mut frame).await?;
        Ok(Some(frame))
    };
    timeout(limits.wait_max, rest)
        .await
        .map_err(|_| FrameError::Stalled { wait_max: limits.wait_max })?
}

/// Writes one frame.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is written, [`FrameError::Gone`] if the peer is.
pub async fn write_frame(
    stream: &mut SendStream,
    frame: &[u8],
    limits: FrameLimits,
) -> Result<(), FrameError> {
    if frame.len() <= TOGETHER_LEN_MAX {
        let mut whole = Vec::with_capacity(frame.len().saturating_add(4));
        append_frame(&mut whole, frame, limits)?;
        return write_frames(stream, &whole).await;
    }
    let len = length_of(frame, limits)?;
    stream.write_all(&len).await?;
    stream.write_all(frame).await?;
    Ok(())
}

/// Appends a frame to others that are written together.
///
/// # Errors
/// [`FrameError::TooLong`]: then nothing is appended.
pub fn append_frame(
    frames: &mut Vec<u8>,
    frame: &[u8],
    limits: FrameLimits,
) -> Result<(), FrameError> {
    frames.extend_from_slice(&length_of(frame, limits)?);
    frames.extend_from_slice(frame);
    Ok(())
}

/// Writes frames that were [appended](append_frame), at once.
///
/// # Errors
/// [`FrameError::Gone`] if the peer is.
pub async fn write_frames(stream: &mut SendStream, frames: &[u8]) -> Result<(), FrameError> {
    Ok(stream.write_all(frames).await?)
}

fn length_of(frame: &[u8], limits: FrameLimits) -> Result<[u8; 4], FrameError> {
    let too_long = || FrameError::TooLong {
        len: u64::try_from(frame.len()).unwrap_or(u64::MAX),
        len_max: limits.len_max,
    };
    if frame.len() > limits.len_max {
        return Err(too_long());
    }
    let len = u32::try_from(frame.len()).map_err(|_| too_long())?;
    Ok(len.to_be_bytes())
}

/// Writes one frame that is put together from its beginning and bytes that are not copied.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is written, [`FrameError::Gone`] if the peer is.
pub async fn write_frame_of(
    stream: &mut SendStream,
    head: &[u8],
    rest: Bytes,
    limits: FrameLimits,
) -> Result<(), FrameError> {
    let frame_len = head.len().saturating_add(rest.len());
    let len = u32::try_from(frame_len).ok().filter(|_| frame_len <= limits.len_max);
    let len = len.ok_or_else(|| FrameError::TooLong {
        len: u64::try_from(frame_len).unwrap_or(u64::MAX),
        len_max: limits.len_max,
    })?;
    let head = Bytes::from([&len.to_be_bytes(), head].concat());
    stream.write_all_chunks(&mut [head, rest]).await?;
    Ok(())
}

impl From<ReadExactError> for FrameError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Truncated,
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset { code: code.into() },
            error => Self::Gone(error.to_string()),
        }
    }
}

impl From<WriteError> for FrameError {
    fn from(error: WriteError) -> Self {
        Self::Gone(error.to_string())
    }
}
