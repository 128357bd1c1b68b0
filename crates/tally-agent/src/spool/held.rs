//! A body that is held until it leaves: in memory if it is small, else in the spool.

use std::borrow::Cow;
use std::fmt;

use tally_core::opening::CHUNK_LEN;

use super::sealed::Writer;
use super::{Spool, SpoolError, Spooled, Turn};

/// A body that is held. Its `Debug` shows none of it.
#[derive(Clone)]
pub enum Held {
    /// In memory.
    Memory(Vec<u8>),
    /// On disk, sealed.
    Spooled(Spooled),
}

/// A body that comes piece by piece, and is held: in memory as long as it fits there.
pub struct Gather {
    /// None: whatever comes is no more than what lies in memory already.
    spool: Option<Spool>,
    memory: Vec<u8>,
    writer: Option<Writer>,
}

impl Held {
    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(body) => body.len() as u64,
            Self::Spooled(spooled) => spooled.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it in memory: for what can be read in no other way, and is known to be bounded. Blocks.
    ///
    /// # Errors
    /// [`SpoolError`] if it can't be read from the disk.
    pub fn whole(&self) -> Result<Cow<'_, [u8]>, SpoolError> {
        match self {
            Self::Memory(body) => Ok(Cow::Borrowed(body)),
            Self::Spooled(spooled) => {
                let mut body = Vec::with_capacity(usize::try_from(spooled.len()).unwrap_or(0));
                for chunk in spooled.chunks() {
                    body.extend_from_slice(&chunk?);
                }
                Ok(Cow::Owned(body))
            }
        }
    }

    /// Has each piece of it looked at, in order. Blocks.
    ///
    /// # Errors
    /// What `each` says, or [`SpoolError`] if it can't be read from the disk.
    pub fn each<E: From<SpoolError>>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Memory(body) => body.chunks(CHUNK_LEN).try_for_each(each),
            Self::Spooled(spooled) => spooled.chunks().try_for_each(|chunk| each(&chunk?)),
        }
    }

    /// What is made of it, which is held as it is.
    pub(crate) fn gather(&self) -> Gather {
        match self {
            Self::Memory(_) => Gather { spool: None, memory: Vec::new(), writer: None },
            Self::Spooled(spooled) => Gather::new(spooled.spool().clone()),
        }
    }

    /// Waits until all of it may be in memory. Blocks.
    pub(crate) fn turn(&self) -> Result<Option<Turn<'_>>, SpoolError> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::Spooled(spooled) => spooled.spool().turn(spooled.len()),
        }
    }
}

impl Gather {
    pub(super) const fn new(spool: Spool) -> Self {
        Self { spool: Some(spool), memory: Vec::new(), writer: None }
    }

    /// Takes the next piece. Blocks for as long as a disk takes.
    ///
    /// # Errors
    /// [`SpoolError`] if it fits nowhere any more.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        if let Some(writer) = &mut self.writer {
            return writer.push(piece);
        }
        let bytes = (self.memory.len() + piece.len()) as u64;
        let Some(spool) = self.spool.as_ref().filter(|spool| !spool.fits_into_memory(bytes)) else {
            self.memory.extend_from_slice(piece);
            return Ok(());
        };
        let mut writer = spool.writer()?;
        writer.push(&std::mem::take(&mut self.memory))?;
        writer.push(piece)?;
        self.writer = Some(writer);
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    /// [`SpoolError`] if the last of it fits nowhere.
    pub fn finish(self) -> Result<Held, SpoolError> {
        match self.writer {
            Some(writer) => writer.finish().map(Held::Spooled),
            None => Ok(Held::Memory(self.memory)),
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Memory(_) => "Memory",
            Self::Spooled(_) => "Spooled",
        };
        f.debug_struct(name).field("bytes", &self.len()).finish_non_exhaustive()
    }
}
