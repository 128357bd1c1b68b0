//! The least state machine that openraft's tests accept: it keeps what was applied last.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::entry::{RaftEntry as _, RaftPayload as _};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{OptionalSend, Snapshot, SnapshotMeta, StoredMembership};

use super::super::{Response, TypeConfig};

type Applied = (Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>);

/// Clones share what was applied.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    applied: Applied,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<Applied> {
        Ok(self.0.lock().unwrap().applied.clone())
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let id = Some(entry.log_id());
            let mut inside = self.0.lock().unwrap();
            inside.applied.0 = id;
            if let Some(membership) = entry.payload.get_membership() {
                inside.applied.1 = StoredMembership::new(id, membership);
            }
            if let Some(responder) = responder {
                responder.send(Response::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        (): (),
    ) -> io::Result<()> {
        let mut inside = self.0.lock().unwrap();
        inside.applied = (meta.last_log_id, meta.last_membership.clone());
        inside.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        let meta = self.0.lock().unwrap().snapshot.clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        let mut inside = self.0.lock().unwrap();
        let (last_log_id, last_membership) = inside.applied.clone();
        let meta = SnapshotMeta { last_log_id, last_membership };
        inside.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}
