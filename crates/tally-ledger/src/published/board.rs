//! What a node shows, where everybody who needs it looks; and what it is given to show.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_core::id::MemberId;
use tally_log::{Checkpoint, SignedCheckpoint};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::tiles::Head;

/// A checkpoint that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What it says.
    pub head: Head,
    /// The signed note.
    pub note: Bytes,
    /// The same, read.
    pub signed: SignedCheckpoint,
    /// Since when this node has shown this tree.
    pub since: Instant,
}

/// How a witness is, as the node that asks it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSeen {
    /// The name of its key.
    pub name: String,
    /// Whose agent it is; none for a third party's.
    pub member: Option<MemberId>,
    /// The size that it cosigned last, and when that came.
    pub cosigned: Option<(u64, Instant)>,
    /// What it does.
    pub state: &'static str,
}

/// What a node shows. Cheap to clone: clones are the same board.
#[derive(Debug, Clone)]
pub struct Board(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    published: watch::Sender<Option<Arc<Published>>>,
    witnessed: watch::Sender<Option<Arc<Published>>>,
    witnesses: watch::Sender<Vec<WitnessSeen>>,
    offered: watch::Sender<Offered>,
}

/// What others would have this node show, the newest of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Offered {
    pub(super) published: Option<Bytes>,
    pub(super) witnessed: Option<Bytes>,
}

/// Which of the two checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest.
    Published,
    /// The newest that a quorum of witnesses has cosigned.
    Witnessed,
}

/// The last published checkpoint, and the last witnessed one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    published: watch::Receiver<Option<Arc<Published>>>,
    witnessed: watch::Receiver<Option<Arc<Published>>>,
    witnesses: watch::Receiver<Vec<WitnessSeen>>,
}

impl Default for Board {
    fn default() -> Self {
        Self(Arc::new(Shown {
            published: watch::Sender::new(None),
            witnessed: watch::Sender::new(None),
            witnesses: watch::Sender::new(Vec::new()),
            offered: watch::Sender::new(Offered::default()),
        }))
    }
}

impl Board {
    /// What is shown, and what is going to be.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints {
            published: self.0.published.subscribe(),
            witnessed: self.0.witnessed.subscribe(),
            witnesses: self.0.witnesses.subscribe(),
        }
    }

    /// Offers a note: whoever shows it checks it first.
    pub(crate) fn offer(&self, which: Which, note: Bytes) {
        if self.shown(which).is_some_and(|shown| shown.note == note) {
            return;
        }
        self.0.offered.send_modify(|offered| match which {
            Which::Published => offered.published = Some(note),
            Which::Witnessed => offered.witnessed = Some(note),
        });
    }

    pub(super) fn offered(&self) -> watch::Receiver<Offered> {
        self.0.offered.subscribe()
    }

    /// What is shown now.
    pub(crate) fn shown(&self, which: Which) -> Option<Arc<Published>> {
        self.of(which).borrow().clone()
    }

    /// Shows a checkpoint that was checked and kept.
    pub(super) fn show(&self, which: Which, signed: SignedCheckpoint) {
        let Checkpoint { size, root, .. } = *signed.checkpoint();
        let note = Bytes::from(signed.to_string());
        let before = self.shown(which).filter(|before| before.head.size == size);
        let since = before.map_or_else(Instant::now, |before| before.since);
        let published = Published { head: Head { size, root }, note, signed, since };
        self.of(which).send_replace(Some(Arc::new(published)));
    }

    /// Shows no witnessed checkpoint any more: other witnesses are in force.
    pub(crate) fn forget_witnessed(&self) {
        self.0.witnessed.send_replace(None);
    }

    /// Tells how the witnesses are.
    pub(crate) fn tell_witnesses(&self, seen: Vec<WitnessSeen>) {
        self.0.witnesses.send_if_modified(|told| {
            let changed = *told != seen;
            *told = seen;
            changed
        });
    }

    fn of(&self, which: Which) -> &watch::Sender<Option<Arc<Published>>> {
        match which {
            Which::Published => &self.0.published,
            Which::Witnessed => &self.0.witnessed,
        }
    }
}

impl Published {
    /// For how long this node has shown this tree.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl WitnessSeen {
    /// How long ago its last cosignature came.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.cosigned.map(|(_, at)| at.elapsed())
    }
}

impl Checkpoints {
    /// The last; none before this node has applied what it had published before.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// The last that a quorum of the witnesses in force has cosigned; none if there is none.
    #[must_use]
    pub fn witnessed(&self) -> Option<Arc<Published>> {
        self.witnessed.borrow().clone()
    }

    /// How the witnesses in force are, as far as this node knows.
    #[must_use]
    pub fn witnesses(&self) -> Vec<WitnessSeen> {
        self.witnesses.borrow().clone()
    }

    /// Waits for one of at least this size; none if the node is gone.
    pub async fn reach(&mut self, size: u64) -> Option<Arc<Published>> {
        reach(&mut self.published, size).await
    }

    /// The same of those that a quorum of the witnesses in force has cosigned.
    pub async fn reach_witnessed(&mut self, size: u64) -> Option<Arc<Published>> {
        reach(&mut self.witnessed, size).await
    }

    /// Waits until either is another; false if the node is gone.
    pub(crate) async fn either_changed(&mut self) -> bool {
        tokio::select! {
            changed = self.published.changed() => changed.is_ok(),
            changed = self.witnessed.changed() => changed.is_ok(),
        }
    }
}

async fn reach(
    shown: &mut watch::Receiver<Option<Arc<Published>>>,
    size: u64,
) -> Option<Arc<Published>> {
    let reached =
        |last: &Option<Arc<Published>>| last.as_ref().is_some_and(|last| last.head.size >= size);
    shown.wait_for(reached).await.ok()?.clone()
}
