//! Where what is shown is kept, beside the tiles.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tally_log::{Checkpoint, Origin, SignedCheckpoint};
use tokio::task::spawn_blocking;

use super::board::Which;
use super::{PublishError, note};
use crate::tiles::Head;

/// A file with a checkpoint, and what stands in it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    /// What an earlier run showed in this epoch; none if it is torn.
    pub(super) last: Option<SignedCheckpoint>,
}

impl Kept {
    pub(super) fn read(dir: &Path, which: Which, origin: &Origin) -> Result<Self, PublishError> {
        let path = dir.join(which.file_name());
        let last = match fs::read(&path) {
            Ok(bytes) => note::parse(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(PublishError::Io { path, source }),
        };
        let (last, other) = match last {
            Some(last) if last.checkpoint().origin == *origin => (Some(last), None),
            other => (None, other),
        };
        if let Some(epoch) = other.and_then(|it| epoch_of(&it.checkpoint().origin)) {
            // The last of an epoch that ended: what it covers beyond the recovery is lost, and it says so.
            let kept = dir.join(which.file_name_of(epoch));
            let renamed = fs::rename(&path, &kept);
            renamed.map_err(|source| PublishError::Io { path: kept, source })?;
        }
        Ok(Self { path, last })
    }

    /// What is in the file.
    pub(super) fn head(&self) -> Option<Head> {
        let Checkpoint { size, root, .. } = *self.last.as_ref()?.checkpoint();
        Some(Head { size, root })
    }

    /// Keeps another. Without a sync: four a second would cost the log its own. A power cut may take
    /// the last ones back.
    pub(super) async fn keep(&mut self, signed: &SignedCheckpoint) -> Result<(), PublishError> {
        let (path, bytes) = (self.path.clone(), signed.to_string());
        blocking(move || {
            let new = path.with_extension("new");
            let replaced = fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path));
            replaced.map_err(|source| PublishError::Io { path, source })
        })
        .await?;
        self.last = Some(signed.clone());
        Ok(())
    }
}

impl Which {
    /// The file beside the tiles. The published one is at its C2SP path.
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Published => "checkpoint",
            Self::Witnessed => "checkpoint-witnessed",
        }
    }
}

impl Which {
    /// The file that keeps the last one of an epoch that ended.
    fn file_name_of(self, epoch: u64) -> String {
        format!("{}-{epoch}", self.file_name())
    }
}

/// The last checkpoint that this node showed in an epoch that ended; none if it showed none.
pub(crate) fn last_of(dir: &Path, epoch: u64) -> io::Result<Option<Vec<u8>>> {
    match fs::read(dir.join(Which::Published.file_name_of(epoch))) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The epoch that an origin ends with, if it is a ledger's.
pub(crate) fn epoch_of(origin: &Origin) -> Option<u64> {
    let (_, epoch) = origin.as_str().rsplit_once("/ledger/")?;
    let number = epoch.parse::<u64>().ok()?;
    (number.to_string() == epoch).then_some(number)
}

pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, PublishError>
where
    T: Send + 'static,
    E: Into<PublishError> + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        // The runtime is going down; so is this task.
        Err(_) => std::future::pending().await,
    }
}
