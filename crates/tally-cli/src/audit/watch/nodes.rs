//! The ledger's nodes as a watcher asks them, all at once: one that is silent keeps no other waiting.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use tally_log::proof::{consistency, consistency_needs, verify_consistency};
use tally_log::tile::TilePath;
use tally_log::{BadProof, Checkpoint, Edge, NodeId, SignedCheckpoint, TileSet};

use crate::failure::Failure;
use crate::history::RegisterHistory;
use crate::https::Https;
use crate::online::Online;

/// Bytes of a checkpoint at most.
const CHECKPOINT_LEN_MAX: usize = 64 * 1024;
/// Bytes of a tile of hashes.
const TILE_LEN_MAX: usize = 8192;
/// A node that answers nothing for so long is silent.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// The nodes.
pub(super) struct Nodes(Vec<Node>);

struct Node {
    name: String,
    https: Https,
}

/// What a node has shown.
pub(super) struct Shown {
    pub(super) node: String,
    /// Its newest checkpoint; or why there is none.
    pub(super) published: Result<SignedCheckpoint, String>,
    /// The newest that a quorum of witnesses has cosigned, as it says.
    pub(super) witnessed: Option<SignedCheckpoint>,
}

/// What a proof has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proved {
    /// The smaller tree is the beginning of the larger.
    Consistent,
    /// The larger tree begins with another one than was signed.
    Forked,
    /// Nothing: no node has the tiles that lead to the larger root.
    Nothing(String),
}

impl Nodes {
    /// Those that a reader knows of.
    ///
    /// # Errors
    /// [`Failure`] if certificate and key don't fit.
    pub(super) fn of(online: &Online) -> Result<Self, Failure> {
        let nodes = online.https.nodes().iter().map(|name| {
            let https = online.https.of_one(name, WAIT_MAX)?;
            Ok(Node { name: name.clone(), https })
        });
        nodes.collect::<Result<Vec<_>, Failure>>().map(Self)
    }

    /// Asks all of them at once.
    pub(super) fn ask(&mut self) -> Vec<Shown> {
        thread::scope(|scope| {
            let asked =
                self.0.iter_mut().map(|node| scope.spawn(|| node.ask())).collect::<Vec<_>>();
            asked.into_iter().filter_map(|asked| asked.join().ok()).collect()
        })
    }

    /// Reads the registers on at each of these nodes; which of them told none that can be taken, and why.
    pub(super) fn read_registers(
        &mut self,
        at: &BTreeSet<String>,
        registers: &mut RegisterHistory,
    ) -> Vec<(String, String)> {
        let asked = self.0.iter_mut().filter(|node| at.contains(&node.name));
        let read = asked.filter_map(|node| {
            let why = registers.read_on(&mut node.https).err()?;
            Some((node.name.clone(), why.to_string()))
        });
        read.collect()
    }

    /// Whether one checkpoint is the beginning of another, by the tiles of the first node that has
    /// them.
    pub(super) fn prove(&mut self, first: &str, old: &Checkpoint, new: &Checkpoint) -> Proved {
        let mut last = Proved::Nothing("no node answers".to_owned());
        let (own, others): (Vec<_>, Vec<_>) =
            self.0.iter_mut().partition(|node| node.name == first);
        for node in own.into_iter().chain(others) {
            match node.prove(old, new) {
                Proved::Nothing(why) => last = Proved::Nothing(why),
                shown => return shown,
            }
        }
        last
    }
}

impl Node {
    fn ask(&mut self) -> Shown {
        let published = match self.https.get(0, "/checkpoint", CHECKPOINT_LEN_MAX) {
            Ok(Some(note)) => SignedCheckpoint::parse(&note).map_err(|why| why.to_string()),
            Ok(None) => Err("it publishes no checkpoint".to_owned()),
            Err(why) => Err(why.to_string()),
        };
        let witnessed = published.is_ok().then(|| {
            let note = self.https.get(0, "/checkpoint/witnessed", CHECKPOINT_LEN_MAX).ok()??;
            SignedCheckpoint::parse(&note).ok()
        });
        Shown { node: self.name.clone(), published, witnessed: witnessed.flatten() }
    }

    fn prove(&mut self, old: &Checkpoint, new: &Checkpoint) -> Proved {
        let mut fetch = |path: TilePath| {
            let found = self.https.get(0, &format!("/{path}"), TILE_LEN_MAX);
            found.map_err(|why| why.to_string())?.ok_or_else(|| format!("{path} is not there"))
        };
        prove_by(&mut fetch, old, new).unwrap_or_else(Proved::Nothing)
    }
}

/// Proves by tiles. What they say of the older tree counts only if they lead to the root of the newer.
fn prove_by(
    fetch: &mut impl FnMut(TilePath) -> Result<Vec<u8>, String>,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<Proved, String> {
    let told = |why: &dyn std::fmt::Display| why.to_string();
    if old.size == 0 {
        return Ok(Proved::Consistent);
    }
    let edge = edge_nodes(old.size);
    let mut needs = consistency_needs(old.size, new.size).map_err(|why| told(&why))?;
    needs.extend(edge.iter().copied());
    let mut tiles = TileSet::new();
    for path in TileSet::needs(&needs, new.size) {
        let bytes = fetch(path)?;
        tiles.insert(path, &bytes).map_err(|why| told(&why))?;
    }
    let proof = consistency(old.size, new.size, |node| tiles.node(node));
    let proof = proof.map_err(|why| told(&why))?;
    let hashes = edge.iter().map(|node| tiles.node(*node)).collect::<Option<Vec<_>>>();
    let begins = hashes.and_then(|hashes| Edge::from_parts(old.size, hashes).ok());
    let begins = begins.ok_or("the tiles do not hold what they must")?.root();
    match verify_consistency(old.size, &begins, new.size, &new.root, &proof) {
        Ok(()) if begins == old.root => Ok(Proved::Consistent),
        Ok(()) => Ok(Proved::Forked),
        Err(BadProof::RootDiffers) => Err("its tiles do not lead to the signed root".to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

/// The full subtrees of a tree of this size, the largest first.
fn edge_nodes(size: u64) -> Vec<NodeId> {
    let mut begin = 0_u64;
    let mut nodes = Vec::new();
    for level in (0..u64::BITS).rev().filter(|level| (size >> level) & 1 == 1) {
        nodes.extend(NodeId::new(level, begin >> level));
        begin |= 1 << level;
    }
    nodes
}

#[cfg(test)]
mod tests {
    use tally_log::tile::TileWriter;
    use tally_log::{Hash, Origin, leaf_hash, root_of};

    use super::*;

    fn leaves(count: usize, from: usize) -> Vec<Hash> {
        let leaf = |place: usize| leaf_hash(&[u8::from(place >= from), (place % 251) as u8]);
        (0..count).map(leaf).collect()
    }

    fn at(size: usize, leaves: &[Hash]) -> Checkpoint {
        let origin = Origin::new("dev.example/ledger/0").unwrap();
        Checkpoint { origin, size: size as u64, root: root_of(&leaves[..size]) }
    }

    fn prove(tree: &[Hash], old: &Checkpoint, new: &Checkpoint) -> Result<Proved, String> {
        let tiles = TileWriter::new().append(tree.iter().copied());
        let mut fetch = |path: TilePath| {
            let tile = tiles.iter().rev().find(|tile| {
                let own = tile.path;
                (own.content(), own.index()) == (path.content(), path.index())
                    && own.width() >= path.width()
            });
            let bytes = tile.map(|tile| tile.to_bytes()).ok_or("none")?;
            Ok(bytes[..usize::from(path.width()) * Hash::LEN].to_vec())
        };
        prove_by(&mut fetch, old, new)
    }

    #[test]
    fn tiles_prove_that_a_tree_has_grown_or_that_it_is_another() {
        let (one, other) = (leaves(700, 700), leaves(700, 300));
        for (old, new) in [(1, 2), (256, 257), (299, 700), (300, 301), (512, 700), (699, 700)] {
            assert_eq!(prove(&one, &at(old, &one), &at(new, &one)), Ok(Proved::Consistent));
            let forked = prove(&other, &at(old, &one), &at(new, &other)).unwrap();
            let expected = if old > 300 { Proved::Forked } else { Proved::Consistent };
            assert_eq!(forked, expected, "{old} to {new}");
        }
    }

    #[test]
    fn tiles_of_another_tree_than_the_signed_one_prove_nothing() {
        let (one, other) = (leaves(700, 700), leaves(700, 300));
        assert!(prove(&other, &at(400, &one), &at(700, &one)).is_err());
        assert!(prove(&one, &at(400, &one), &at(700, &other)).is_err());
    }
}
