//! What `/checkpoint` serves: the last checkpoint that this node signed, for a size whose tiles are
//! readable.
//!
//! Invariants: nothing is signed before it is applied. The published checkpoint never goes backwards,
//! not over a restart either: what was published is kept beside the tiles, and until this node has
//! applied as much again it publishes nothing. A node whose tiles contradict what it signed before
//! stops publishing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_log::checkpoint::BadCheckpoint;
use tally_log::{Origin, SignedCheckpoint};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::signer::LogSigner;
use crate::tiles::{Head, TileError, TileReader};

/// The file with the last published checkpoint, at its C2SP path beside the tiles.
const NAME: &str = "checkpoint";

/// How a node publishes.
#[derive(Debug)]
pub struct PublisherSettings {
    /// This node's log key.
    pub signer: Arc<LogSigner>,
    /// The directory of the tiles.
    pub dir: PathBuf,
    /// Time between two checkpoints at least; 250 ms by default. After a pause, the next comes at
    /// once.
    pub pause: Duration,
}

/// A checkpoint that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What it says.
    pub head: Head,
    /// The signed note.
    pub note: Bytes,
}

/// Publishes checkpoints as the tiles grow. Ends when it is dropped, or when nobody writes tiles any
/// more.
#[derive(Debug)]
pub struct Publisher {
    task: JoinHandle<Result<(), PublishError>>,
    published: Checkpoints,
}

/// The last published checkpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoints(watch::Receiver<Option<Arc<Published>>>);

/// Why nothing is published any more.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The tiles' fault.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// The disk's fault.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// This node signed another history than the one it now holds. A person has to find out why
    /// before it signs anything again.
    #[error(
        "{}: this node has published a checkpoint of size {size} that contradicts its log",
        path.display()
    )]
    Forked {
        /// The file with that checkpoint.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// No log has this size and root.
    #[error("can't sign: {0}")]
    Checkpoint(#[from] BadCheckpoint),
}

impl PublisherSettings {
    /// With the default pause.
    #[must_use]
    pub const fn new(signer: Arc<LogSigner>, dir: PathBuf) -> Self {
        Self { signer, dir, pause: Duration::from_millis(250) }
    }
}

impl Publisher {
    /// Starts to publish what this reader can read.
    ///
    /// # Errors
    /// [`PublishError::Io`] if the last checkpoint can't be read.
    pub fn start(settings: PublisherSettings, tiles: TileReader) -> Result<Self, PublishError> {
        let PublisherSettings { signer, dir, pause } = settings;
        let path = dir.join(NAME);
        let (sender, receiver) = watch::channel(None);
        let before = read_published(&path, signer.origin())?;
        let task = Task { signer, path, pause, tiles, before, published: sender };
        Ok(Self { task: tokio::spawn(task.run()), published: Checkpoints(receiver) })
    }

    /// The last published checkpoint.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        self.published.clone()
    }

    /// Waits until nothing is published any more.
    ///
    /// # Errors
    /// [`PublishError`] if that is not because the tiles are closed.
    pub async fn ended(&mut self) -> Result<(), PublishError> {
        // Only a panic or an abort could fail here; neither has a word of its own.
        (&mut self.task).await.unwrap_or(Ok(()))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checkpoints {
    /// The last; none before this node has applied what it had published before.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Published>> {
        self.0.borrow().clone()
    }

    /// Waits for one of at least this size; none if nothing is published any more.
    pub async fn reach(&mut self, size: u64) -> Option<Arc<Published>> {
        let reached = |last: &Option<Arc<Published>>| {
            last.as_ref().is_some_and(|last| last.head.size >= size)
        };
        self.0.wait_for(reached).await.ok()?.clone()
    }
}

struct Task {
    signer: Arc<LogSigner>,
    path: PathBuf,
    pause: Duration,
    tiles: TileReader,
    /// What was published by an earlier run, until it is compared with the tiles.
    before: Option<Head>,
    published: watch::Sender<Option<Arc<Published>>>,
}

impl Task {
    async fn run(mut self) -> Result<(), PublishError> {
        let mut heads = self.tiles.heads();
        loop {
            let head = *heads.borrow_and_update();
            if self.is_news(head).await? {
                self.publish(head).await?;
                sleep_until(Instant::now() + self.pause).await;
            }
            if heads.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Whether this head is to be published: it is more than what was.
    async fn is_news(&mut self, head: Head) -> Result<bool, PublishError> {
        if let Some(last) = self.published.borrow().as_ref() {
            return Ok(head.size > last.head.size);
        }
        let Some(before) = self.before else { return Ok(true) };
        if head.size < before.size {
            return Ok(false);
        }
        let tiles = self.tiles.clone();
        let edge = blocking(move || tiles.edge(before.size)).await?;
        if edge.is_none_or(|edge| edge.root() != before.root) {
            return Err(PublishError::Forked { path: self.path.clone(), size: before.size });
        }
        self.before = None;
        Ok(true)
    }

    async fn publish(&self, head: Head) -> Result<(), PublishError> {
        let note = Bytes::from(self.signer.sign(head.size, head.root)?);
        let (path, bytes) = (self.path.clone(), note.clone());
        // Kept before it is shown: what nobody saw may be forgotten, not the other way round.
        blocking(move || replace(&path, &bytes)).await?;
        self.published.send_replace(Some(Arc::new(Published { head, note })));
        Ok(())
    }
}

/// What an earlier run published for this log; none if it is for another epoch, or torn.
fn read_published(path: &Path, origin: &Origin) -> Result<Option<Head>, PublishError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PublishError::Io { path: path.to_owned(), source }),
    };
    let signed = SignedCheckpoint::parse(&bytes).ok();
    let checkpoint = signed.as_ref().map(SignedCheckpoint::checkpoint);
    let same = checkpoint.filter(|checkpoint| checkpoint.origin == *origin);
    Ok(same.map(|checkpoint| Head { size: checkpoint.size, root: checkpoint.root }))
}

/// Without a sync: four a second would cost the log its own. A power cut may take the last ones back.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let new = path.with_extension("new");
    let replaced = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path));
    replaced.map_err(|source| PublishError::Io { path: path.to_owned(), source })
}

async fn blocking<T, E>(
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

#[cfg(test)]
pub(crate) mod tests {
    use tally_log::note::KeyName;
    use tally_log::{Hash, NoteKey, SigningKey};
    use tempfile::TempDir;

    use super::*;
    use crate::tiles::tests::{head, leaves, resume};
    use crate::tiles::{Resume, TileStore};

    pub(crate) fn signer() -> LogSigner {
        let key = SigningKey::from_seed(&[7; 32]);
        LogSigner::new(&"dev.example".parse().unwrap(), 0, key).unwrap()
    }

    fn start(dir: &TempDir, store: &TileStore) -> Publisher {
        let settings = PublisherSettings::new(Arc::new(signer()), dir.path().to_owned());
        Publisher::start(settings, store.reader()).unwrap()
    }

    fn grow(store: &mut TileStore, to: u64) {
        store.append(&leaves(store.head().size, to), head(to)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_published_verifies_and_is_readable() {
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        grow(&mut store, 300);
        let publisher = start(&dir, &store);
        let published = publisher.checkpoints().reach(300).await.unwrap();
        assert_eq!(published.head, head(300));
        let signed = SignedCheckpoint::parse(&published.note).unwrap();
        assert_eq!(signed.checkpoint().origin.as_str(), "dev.example/ledger/0");
        assert_eq!((signed.checkpoint().size, signed.checkpoint().root), (300, head(300).root));
        let name = KeyName::new("dev.example/ledger/0").unwrap();
        let key = NoteKey::ed25519(name, SigningKey::from_seed(&[7; 32]).verifying_key());
        assert!(signed.verify_log([&key]).is_ok());
        assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), published.note);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_comes_at_once_and_the_next_after_the_pause() {
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        let publisher = start(&dir, &store);
        let mut checkpoints = publisher.checkpoints();
        let began = Instant::now();
        checkpoints.reach(0).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        for size in 1..5 {
            grow(&mut store, size);
            let at = checkpoints.reach(size).await.unwrap().head.size;
            assert_eq!((at, began.elapsed()), (size, Duration::from_millis(250 * size)));
        }
        // Idle for longer than the pause: the next comes at once.
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        let idle = Instant::now();
        grow(&mut store, 9);
        assert_eq!(checkpoints.reach(9).await.unwrap().head, head(9));
        assert_eq!(idle.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_before_as_much_is_applied_as_was_published_before() {
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        grow(&mut store, 10);
        store.sync().unwrap();
        grow(&mut store, 20);
        let publisher = start(&dir, &store);
        publisher.checkpoints().reach(20).await.unwrap();
        drop((publisher, store));
        let mut store = TileStore::open(dir.path(), &resume(10)).unwrap();
        let publisher = start(&dir, &store);
        grow(&mut store, 19);
        sleep_until(Instant::now() + Duration::from_secs(9)).await;
        assert_eq!(publisher.checkpoints().last(), None);
        grow(&mut store, 21);
        assert_eq!(publisher.checkpoints().reach(0).await.unwrap().head, head(21));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_whose_tiles_contradict_what_it_signed_publishes_nothing() {
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        grow(&mut store, 30);
        let note = signer().sign(20, Hash::from_bytes([1; 32])).unwrap();
        fs::write(dir.path().join("checkpoint"), note).unwrap();
        let mut publisher = start(&dir, &store);
        let error = publisher.ended().await.unwrap_err();
        assert!(matches!(error, PublishError::Forked { size: 20, .. }), "{error}");
        assert_eq!(publisher.checkpoints().last(), None);
    }
}
