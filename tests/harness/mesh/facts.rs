//! Waiting for what is to become true, and reading what the nodes hold.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tally_core::id::LeafIndex;
use tally_log::{Hash, SignedCheckpoint, TilePath};
use tally_net::Role;
use tally_net::ledger::Link;
use tally_wire::message::ledger::{EntriesQuery, Query, QueryAnswer, Status, StatusQuery};
use tokio::time::{Instant, interval, timeout};

use super::Mesh;
use crate::dev::http::ask;

/// Longer than anything takes, on a machine that is busy with other things.
const FACT_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often a fact is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// Leaves that are asked for at once.
const PAGE: u16 = 512;

/// Something that was waited for in vain.
#[derive(Debug, thiserror::Error)]
#[error("waited in vain for {what}: {why}")]
pub struct Waited {
    what: String,
    why: String,
}

impl Waited {
    pub(crate) fn of(what: &str, why: impl fmt::Display) -> Self {
        Self { what: what.to_owned(), why: why.to_string() }
    }
}

/// Waits until `look` sees what it looks for, at most `wait_max`. What it says instead is told if
/// that does not come.
///
/// # Errors
/// [`Waited`] with what was seen last.
pub async fn until<T>(
    what: &str,
    wait_max: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, Waited> {
    let deadline = Instant::now() + wait_max;
    let mut looks = interval(LOOK);
    let mut seen = "nothing yet".to_owned();
    while Instant::now() < deadline {
        looks.tick().await;
        match timeout(wait_max, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(other)) => seen = other,
            Err(_) => "no answer".clone_into(&mut seen),
        }
    }
    Err(Waited::of(what, seen))
}

impl Mesh {
    /// Asks a node how it is, as an auditor of the first member.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub async fn status(&self, node: usize) -> Result<Status, String> {
        let link = self.link(node).await?;
        let answer = link.ask(&Query::Status(StatusQuery {})).await;
        link.close();
        match answer.map_err(|error| error.to_string())? {
            QueryAnswer::Status(status) => Ok(status),
            other => Err(format!("{other:?}")),
        }
    }

    /// A gauge or counter of a node's that has no labels.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn metric(&self, node: usize, name: &str) -> Result<u64, String> {
        let (_, text) = self.health(node, "/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.ok_or_else(|| format!("no {name}"))?;
        value.parse().map_err(|_| format!("{name} is {value}"))
    }

    /// Waits until every node that runs has so many leaves, and says how many each has.
    ///
    /// # Errors
    /// [`Waited`] if one does not get there.
    pub async fn reach(&self, size: u64) -> Result<Vec<u64>, Waited> {
        let mut sizes = Vec::new();
        for node in (0..self.node_count()).filter(|node| self.runs(*node)) {
            let what = format!("{size} leaves at node {}", node + 1);
            let there = until(&what, FACT_WAIT_MAX, async || {
                let there = self.status(node).await?.size;
                if there >= size { Ok(there) } else { Err(format!("{there} leaves")) }
            });
            sizes.push(there.await?);
        }
        Ok(sizes)
    }

    /// Waits until a node that runs is known to lead, by itself too.
    ///
    /// # Errors
    /// [`Waited`] if none is.
    pub async fn leader(&self) -> Result<usize, Waited> {
        until("a leader", FACT_WAIT_MAX, async || {
            for node in (0..self.node_count()).filter(|node| self.runs(*node)) {
                let Ok(status) = self.status(node).await else { continue };
                if status.leader == Some(super::node_id(node)) {
                    return Ok(node);
                }
            }
            Err("none says that it leads".to_owned())
        })
        .await
    }

    /// All leaves that a node has, up to this size, as an auditor reads them.
    ///
    /// # Errors
    /// Why they can't be read, in words.
    pub async fn leaves(&self, node: usize, size: u64) -> Result<Vec<Vec<u8>>, String> {
        let link = self.link(node).await?;
        let mut leaves = Vec::new();
        while (leaves.len() as u64) < size {
            let left = size - leaves.len() as u64;
            let count = u16::try_from(left).unwrap_or(PAGE).min(PAGE);
            let first = LeafIndex(leaves.len() as u64);
            let query = Query::Entries(EntriesQuery { first, count });
            match link.ask(&query).await.map_err(|error| error.to_string())? {
                QueryAnswer::Entries(page) if !page.entries.is_empty() => {
                    leaves.extend(page.entries.iter().map(|entry| entry.bytes().to_vec()));
                }
                other => return Err(format!("{other:?}")),
            }
        }
        link.close();
        Ok(leaves)
    }

    /// Size and root that a node signs, once its signature is checked.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub async fn head(&self, node: usize) -> Result<(u64, Hash), String> {
        let status = self.status(node).await?;
        let signed = SignedCheckpoint::parse(&status.checkpoint);
        let signed = signed.map_err(|error| error.to_string())?;
        signed.verify_log(&self.log_keys()).map_err(|error| error.to_string())?;
        Ok((signed.checkpoint().size, signed.checkpoint().root))
    }

    /// The tiles of a node that does not run, byte by byte, by their paths.
    #[must_use]
    pub fn tiles(&self, node: usize) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let dir = self.data_dir(node).join("tiles/tile");
        collect(&dir, "", &mut found);
        found
    }

    /// What a node answers at a path of its health: the status, and the body.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub async fn health(&self, node: usize, path: &str) -> Result<(u16, String), String> {
        let at = format!("http://{}", self.node(node).health);
        let answer = ask(&at, "GET", path, &[]).await.map_err(|error| error.to_string())?;
        let answer = answer.all().await.map_err(|error| error.to_string())?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// The full tiles that several nodes have are the same: called at the end of every mesh, whose nodes
    /// may still run, as a full tile never changes.
    ///
    /// # Panics
    /// If one is not.
    pub(super) fn check_tiles(&self) {
        let mut seen = BTreeMap::<TilePath, (usize, Vec<u8>)>::new();
        for node in 0..self.node_count() {
            for (name, bytes) in self.tiles(node) {
                // What grows has another name.
                let Ok(path) = format!("tile{name}").parse::<TilePath>() else { continue };
                let (first, expected) = seen.entry(path).or_insert_with(|| (node, bytes.clone()));
                let first = *first + 1;
                assert!(*expected == bytes, "{path}: nodes {first} and {} differ", node + 1);
            }
        }
    }

    async fn link(&self, node: usize) -> Result<Link, String> {
        let config = self.config_as(0, self.identity(0, Role::Auditor, "tests"));
        let link = Link::dial(&config, self.ledger_address(node)).await;
        link.map_err(|error| error.to_string())
    }
}

fn collect(dir: &Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &name, found);
        } else {
            found.insert(name, fs::read(entry.path()).unwrap_or_default());
        }
    }
}
