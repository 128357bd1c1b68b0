//! What `/checkpoint` serves: the last checkpoint that the voters signed, for a size whose tiles are
//! readable; and the last one that a quorum of the witnesses has cosigned.
//!
//! The leader names a size, asks the other voters for their signatures over it, and tells all nodes;
//! each checks what it is told against its own tree before it shows it.
//!
//! Invariants: nothing is signed before it is applied. What is shown never goes backwards, not over a
//! restart either: it is kept beside the tiles, and until this node has applied as much again it
//! shows nothing. A node whose tiles contradict what it showed before, or what most voters sign,
//! stops publishing.

mod board;
mod file;
pub(crate) mod note;
mod ring;
mod task;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

pub(crate) use board::Which;
pub use board::{Board, Checkpoints, Published, WitnessSeen};
pub(crate) use file::{epoch_of, last_of};
pub(crate) use ring::Ring;

use crate::signer::{LogSigner, NotSigned};
use crate::tiles::{TileError, TileReader};
use file::Kept;
use task::Task;

/// How a node publishes.
pub struct PublisherSettings {
    /// This node's log key.
    pub signer: Arc<LogSigner>,
    /// The directory of the tiles.
    pub dir: PathBuf,
    /// Time between two checkpoints at least; 250 ms by default. After a pause, the next comes at
    /// once.
    pub pause: Duration,
    /// Where it is shown.
    pub board: Board,
    /// The other nodes; none if this one publishes by itself.
    pub(crate) ring: Option<Ring>,
}

/// Publishes checkpoints as the tiles grow. Ends when it is dropped, or when nobody writes tiles any
/// more.
#[derive(Debug)]
pub struct Publisher {
    task: JoinHandle<Result<(), PublishError>>,
    spread: Option<JoinHandle<()>>,
    board: Board,
}

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
    /// This node showed another history than the one it now holds, or most voters sign another. A
    /// person has to find out why before it signs anything again.
    #[error(
        "{}: the checkpoint of size {size} that was published contradicts this node's log",
        path.display()
    )]
    Forked {
        /// The file with that checkpoint.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// What can't be signed.
    #[error("can't sign: {0}")]
    NotSigned(#[from] NotSigned),
}

impl PublisherSettings {
    /// With the default pause, on a board of its own, and by itself.
    #[must_use]
    pub fn new(signer: Arc<LogSigner>, dir: PathBuf) -> Self {
        let pause = Duration::from_millis(250);
        Self { signer, dir, pause, board: Board::default(), ring: None }
    }
}

impl Publisher {
    /// Starts to publish what this reader can read.
    ///
    /// # Errors
    /// [`PublishError::Io`] if the last checkpoint can't be read.
    pub fn start(settings: PublisherSettings, tiles: TileReader) -> Result<Self, PublishError> {
        let PublisherSettings { signer, dir, pause, board, ring } = settings;
        let published = Kept::read(&dir, Which::Published, signer.origin())?;
        let witnessed = Kept::read(&dir, Which::Witnessed, signer.origin())?;
        let spread = ring.clone().map(|ring| tokio::spawn(ring.spread(board.clone())));
        let task = Task::new(signer, tiles, ring, board.clone(), pause, published, witnessed);
        Ok(Self { task: tokio::spawn(task.run()), spread, board })
    }

    /// The last published checkpoint.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        self.board.checkpoints()
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
        if let Some(spread) = &self.spread {
            spread.abort();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use tally_log::note::KeyName;
    use tally_log::{Hash, NoteKey, SignedCheckpoint, SigningKey};
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep_until};

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
    async fn a_file_that_a_power_cut_emptied_or_tore_is_written_anew_from_the_tiles() {
        for left in ["", "dev.example/ledger/0\n20\n"] {
            let dir = TempDir::new().unwrap();
            let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
            grow(&mut store, 30);
            for name in ["checkpoint", "checkpoint-witnessed", "checkpoint.new"] {
                fs::write(dir.path().join(name), left).unwrap();
            }
            let publisher = start(&dir, &store);
            let published = publisher.checkpoints().reach(30).await.unwrap();
            assert_eq!(published.head, head(30));
            assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), published.note);
            assert_eq!(publisher.checkpoints().witnessed(), None);
        }
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
