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
    /// What an earlier run showed; none if it is for another epoch, or torn.
    pub(super) last: Option<SignedCheckpoint>,
}

impl Kept {
    pub(super) fn read(dir: &Path, which: Which, origin: &Origin) -> Result<Self, PublishError> {
        // The published one is at its C2SP path.
        let path = dir.join(match which {
            Which::Published => "checkpoint",
            Which::Witnessed => "checkpoint-witnessed",
        });
        let last = match fs::read(&path) {
            Ok(bytes) => note::parse(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(PublishError::Io { path, source }),
        };
        let last = last.filter(|signed| signed.checkpoint().origin == *origin);
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
