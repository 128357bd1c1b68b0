//! Publishing, one step after another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_log::{Hash, SignedCheckpoint};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::PublishError;
use super::board::{Board, Offered, Which};
use super::file::{Kept, blocking};
use super::note::{self, merged, says_more};
use super::ring::Ring;
use crate::signer::LogSigner;
use crate::tiles::{Head, TileReader};

/// How often a leader asks those who have not signed what is published.
const COMPLETE_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct Task {
    signer: Arc<LogSigner>,
    tiles: TileReader,
    ring: Option<Ring>,
    board: Board,
    pause: Duration,
    published: Kept,
    witnessed: Kept,
    /// Whether what an earlier run showed agrees with the tiles, as far as that is known.
    compared: bool,
    /// Notes that wait for the tiles to get there.
    offered: watch::Receiver<Offered>,
    pending: Offered,
    /// Nothing is published before.
    next_at: Instant,
    refused: Refused,
}

/// Notes of others that were not shown, so that it is said once.
#[derive(Debug, Default)]
struct Refused {
    said: bool,
}

impl Task {
    pub(super) fn new(
        signer: Arc<LogSigner>,
        tiles: TileReader,
        ring: Option<Ring>,
        board: Board,
        pause: Duration,
        published: Kept,
        witnessed: Kept,
    ) -> Self {
        Self {
            signer,
            tiles,
            ring,
            offered: board.offered(),
            board,
            pause,
            compared: published.last.is_none(),
            published,
            witnessed,
            pending: Offered::default(),
            next_at: Instant::now(),
            refused: Refused::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<(), PublishError> {
        let mut heads = self.tiles.heads();
        // What was offered before this node publishes counts too.
        self.offered.mark_changed();
        // Who publishes alone leads always; nothing is ever sent on such a channel.
        let alone = watch::Sender::new(true);
        let mut leads = self.ring.as_ref().map_or_else(|| alone.subscribe(), Ring::leading);
        loop {
            let head = *heads.borrow_and_update();
            let mut wait = None;
            if self.compare(head).await? {
                if self.leads() {
                    wait = self.lead(head).await?;
                }
                self.show_again().await?;
                self.take_offers(head).await?;
            }
            // While the next one has to wait anyway, or is another's to name, a tree that grows is no
            // news.
            let names = self.leads() && wait.is_none();
            let grows = names || !self.compared || self.pending.is_some();
            tokio::select! {
                grown = heads.changed(), if grows => if grown.is_err() { return Ok(()) },
                _ = self.offered.changed() => {}
                _ = leads.changed() => {}
                () = sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => {}
            }
        }
    }

    fn leads(&self) -> bool {
        self.ring.as_ref().is_none_or(Ring::leads)
    }

    /// Whether this node has applied what an earlier run showed, and it is the same.
    async fn compare(&mut self, head: Head) -> Result<bool, PublishError> {
        if self.compared {
            return Ok(true);
        }
        let Some(before) = self.published.head() else { return Ok(true) };
        if head.size < before.size {
            return Ok(false);
        }
        if self.root_at(before.size).await? != Some(before.root) {
            return Err(self.forked(before.size));
        }
        self.compared = true;
        Ok(true)
    }

    /// Publishes what this node, as the leader, has applied; says when to look again.
    async fn lead(&mut self, head: Head) -> Result<Option<Instant>, PublishError> {
        if !self.signer.may_sign(head.size) {
            return Ok(None);
        }
        let shown = self.board.shown(Which::Published);
        let last = self.published.head();
        let grown = last.is_none_or(|last| head.size > last.size);
        let keys = self.ring.as_ref().map(Ring::keys);
        let missing = match (&keys, &shown) {
            (Some(keys), Some(shown)) => keys.missing(&shown.signed),
            (Some(keys), None) => keys.voters.clone(),
            (None, _) => BTreeSet::new(),
        };
        if !grown && shown.is_some() && missing.is_empty() {
            return Ok(None);
        }
        if Instant::now() < self.next_at {
            return Ok(Some(self.next_at));
        }
        // The tree may have grown beyond what is shown: that is only completed if it has not.
        let head = last.filter(|last| head.size <= last.size).unwrap_or(head);
        let mut signed = self.signer.sign_checkpoint(head.size, head.root)?;
        let mut others = BTreeSet::new();
        if let (Some(ring), Some(keys)) = (&self.ring, &keys) {
            let wanted = if grown { &keys.voters } else { &missing };
            let said = ring.sign(&signed, wanted, keys).await;
            others = said.others;
            let own = signed.note().signatures().first().cloned();
            let mut lines = said.lines;
            lines.extend(own.map(|line| (ring.own(), line)));
            signed = merged(&signed, lines.into_values());
            if keys.is_majority(&others) {
                return Err(self.forked(head.size));
            }
        }
        if !others.is_empty() {
            tracing::error!(size = head.size, nodes = ?others, "ledger nodes sign another root");
        }
        // What is on the last one stays, cosignatures too.
        if let Some(last) = self.published.last.as_ref()
            && last.checkpoint() == signed.checkpoint()
        {
            signed = merged(last, signed.note().signatures().iter().cloned());
        }
        if shown.is_none_or(|shown| shown.signed != signed) {
            self.show(Which::Published, signed).await?;
        }
        self.next_at = Instant::now() + if grown { self.pause } else { COMPLETE_AGAIN };
        Ok(Some(self.next_at))
    }

    /// Shows what an earlier run showed, until there is more.
    async fn show_again(&mut self) -> Result<(), PublishError> {
        for which in [Which::Published, Which::Witnessed] {
            if self.board.shown(which).is_some() {
                continue;
            }
            let kept = match which {
                Which::Published => &self.published,
                Which::Witnessed => &self.witnessed,
            };
            if let Some(last) = kept.last.clone()
                && self.is_in_force(which, &last)
                && self.holds(which, &last).await?
            {
                self.board.show(which, last);
            }
        }
        Ok(())
    }

    /// Shows what it is offered, if it is more, true and readable here.
    async fn take_offers(&mut self, head: Head) -> Result<(), PublishError> {
        let offered = self.offered.borrow_and_update().clone();
        for (which, note) in offered.into_notes() {
            self.pending.put(which, note);
        }
        for (which, note) in std::mem::take(&mut self.pending).into_notes() {
            let Ok(signed) = note::parse(&note) else { continue };
            let shown = self.board.shown(which);
            if shown.is_some_and(|shown| !says_more(&signed, &shown.signed)) {
                continue;
            }
            if signed.checkpoint().size > head.size {
                // Others are ahead. Somebody who makes such a note up gets no further with it.
                if self.is_signed(which, &signed) {
                    self.pending.put(which, note);
                }
            } else if self.holds(which, &signed).await? {
                self.show(which, signed).await?;
            }
        }
        Ok(())
    }

    /// Whether those who have cosigned still have a say: if not, that is no news worth a line.
    fn is_in_force(&self, which: Which, signed: &SignedCheckpoint) -> bool {
        let size = signed.checkpoint().size;
        which == Which::Published
            || self.ring.as_ref().is_some_and(|ring| ring.keys().quorum(size).is_some())
    }

    fn is_signed(&mut self, which: Which, signed: &SignedCheckpoint) -> bool {
        let Some(ring) = &self.ring else { return false };
        let keys = ring.keys();
        let size = signed.checkpoint().size;
        match keys.check(signed, self.signer.origin()) {
            Err(why) => {
                // Before the genesis is applied here nobody's key is known.
                if !keys.nodes.is_empty() && !std::mem::replace(&mut self.refused.said, true) {
                    tracing::error!(size, %why, "a checkpoint that a ledger node sent is not shown");
                }
                false
            }
            Ok(signers) => match which {
                Which::Published => true,
                Which::Witnessed => {
                    keys.quorum(size).is_some_and(|quorum| signers.witnesses >= quorum)
                }
            },
        }
    }

    /// Whether a note is signed as it must be, and this node's tree has that root.
    async fn holds(
        &mut self,
        which: Which,
        signed: &SignedCheckpoint,
    ) -> Result<bool, PublishError> {
        if self.ring.is_none() || !self.is_signed(which, signed) {
            return Ok(false);
        }
        let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
        match self.root_at(size).await? {
            None => return Ok(false),
            Some(own) if own == root => return Ok(true),
            Some(_) => {}
        }
        let keys = self.ring.as_ref().map(Ring::keys).unwrap_or_default();
        let signers = keys.check(signed, self.signer.origin());
        if signers.is_ok_and(|signers| keys.is_majority(&signers.nodes)) {
            return Err(self.forked(size));
        }
        tracing::error!(size, "a ledger node signs another root than this node has");
        Ok(false)
    }

    async fn root_at(&self, size: u64) -> Result<Option<Hash>, PublishError> {
        let tiles = self.tiles.clone();
        Ok(blocking(move || tiles.edge(size)).await?.map(|edge| edge.root()))
    }

    /// Kept before it is shown: what nobody saw may be forgotten, not the other way round.
    async fn show(&mut self, which: Which, signed: SignedCheckpoint) -> Result<(), PublishError> {
        let kept = match which {
            Which::Published => &mut self.published,
            Which::Witnessed => &mut self.witnessed,
        };
        // Never backwards, whatever is shown yet.
        let back = |last: &SignedCheckpoint| last.checkpoint().size > signed.checkpoint().size;
        if kept.last.as_ref().is_some_and(back) {
            return Ok(());
        }
        if kept.last.as_ref() != Some(&signed) {
            kept.keep(&signed).await?;
        }
        self.refused.said = false;
        self.board.show(which, signed);
        Ok(())
    }

    fn forked(&self, size: u64) -> PublishError {
        PublishError::Forked { path: self.published.path.clone(), size }
    }
}

impl Offered {
    fn is_some(&self) -> bool {
        self.published.is_some() || self.witnessed.is_some()
    }

    fn put(&mut self, which: Which, note: Bytes) {
        match which {
            Which::Published => self.published = Some(note),
            Which::Witnessed => self.witnessed = Some(note),
        }
    }

    fn into_notes(self) -> impl Iterator<Item = (Which, Bytes)> {
        let published = self.published.map(|note| (Which::Published, note));
        published.into_iter().chain(self.witnessed.map(|note| (Which::Witnessed, note)))
    }
}
