//! What the ledger of a mesh holds, as its auditor reads it.

use std::time::Duration;

use serde_json::Value;

use super::Dev;
use crate::mesh::{Waited, until};

/// What is owed to the ledger is there within this time, on a machine that is busy.
const ENTRIES_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pages of the log that are read at most.
const PAGES_MAX: usize = 1000;

/// A half or a close, as `tally audit log` shows it.
pub type Row = Value;

impl Dev {
    /// All halves and closes that the ledger has, in order of their leaves.
    ///
    /// # Errors
    /// [`Waited`] if they can't be read.
    pub async fn rows(&self) -> Result<Vec<Row>, Waited> {
        self.rows_from(0).await
    }

    /// Those from a leaf on.
    ///
    /// # Errors
    /// [`Waited`] if they can't be read.
    pub async fn rows_from(&self, leaf: u64) -> Result<Vec<Row>, Waited> {
        let mut rows = Vec::new();
        let mut cursor = leaf.to_string();
        for _ in 0..PAGES_MAX {
            let args =
                ["audit", "log", "--output", "json", "--limit", "10000", "--cursor", &cursor];
            let page = self.auditor(&args).await?.done()?.json();
            rows.extend(page["rows"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return Ok(rows),
            }
        }
        Err(Waited::of("the last page of the log", "there is always another"))
    }

    /// Waits until the ledger has so many halves and closes of an exchange, and gives them.
    ///
    /// # Errors
    /// [`Waited`] if it does not get them, or can't be read.
    pub async fn entries_of(&self, exchange: &str, count: usize) -> Result<Vec<Row>, Waited> {
        let what = format!("{count} entries of {exchange}");
        until(&what, ENTRIES_WAIT_MAX, async || {
            let rows = self.rows().await.map_err(|error| error.to_string())?;
            let rows = rows_of(&rows, exchange);
            if rows.len() >= count { Ok(rows) } else { Err(format!("{rows:?}")) }
        })
        .await
    }

    /// Waits until the auditor can read all that any node has applied by now: a checkpoint is
    /// published a little after the leaves that it covers.
    ///
    /// # Errors
    /// [`Waited`] if none gets published, or no node says what it has.
    pub async fn published(&self) -> Result<(), Waited> {
        let status = self.auditor(&["ledger", "status", "--output", "json"]).await?.json();
        let nodes = status["nodes"].as_array().into_iter().flatten();
        let applied = nodes.filter_map(|node| node["size"].as_u64()).max();
        let applied = applied.ok_or_else(|| Waited::of("what a node has applied", status))?;
        until("a checkpoint of what is applied", ENTRIES_WAIT_MAX, async || {
            let size = self.size().await.map_err(|error| error.to_string())?;
            if size >= applied { Ok(()) } else { Err(format!("{size} of {applied}")) }
        })
        .await
    }

    /// Leaves that the auditor can read.
    ///
    /// # Errors
    /// [`Waited`] if it can't be read.
    pub async fn size(&self) -> Result<u64, Waited> {
        let args = ["audit", "log", "--output", "json", "--limit", "1"];
        let page = self.auditor(&args).await?.done()?.json();
        page["size"].as_u64().ok_or_else(|| Waited::of("the ledger's size", page))
    }

    /// What `tally audit verify` says of the whole ledger. Exit code 1 is an answer too.
    ///
    /// # Errors
    /// [`Waited`] if it says nothing.
    pub async fn verify(&self) -> Result<Value, Waited> {
        let ran = self.auditor(&["audit", "verify", "--output", "json"]).await?;
        let json = ran.json();
        if json.is_null() {
            return Err(Waited::of("an answer of audit verify", ran.said));
        }
        Ok(json)
    }
}

/// Those of one exchange, in order of their leaves.
#[must_use]
pub fn rows_of(rows: &[Row], exchange: &str) -> Vec<Row> {
    rows.iter().filter(|row| row["exchange"] == exchange).cloned().collect()
}
