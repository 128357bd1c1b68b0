//! A log in C2SP's layout, as an export holds it, is accepted by implementations that are not ours, in
//! two languages, at every size where tiles begin, fill or end. What is damaged is refused by it, too.

use std::fs;
use std::path::Path;

use tally_log::tile::{TileContent, encode_bundle, tiles_at};
use tally_log::{
    Checkpoint, Edge, Hash, KeyName, NoteSigner, Origin, SignedCheckpoint, SigningKey, Tile,
    TileWriter, leaf_hash,
};
use tally_tests::c2sp::{Accepted, Refused, accept};
use tempfile::TempDir;

use super::go::Go;

const ORIGIN: &str = "dev.example/ledger/0";

#[test]
fn others_accept_our_logs_at_every_kind_of_size() {
    for size in [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 66_000] {
        let dir = export(size);
        let accepted = accept(dir.path()).unwrap_or_else(|refused| panic!("{size}: {refused}"));
        assert_eq!(accepted, Accepted { size: size as u64, signatures: 2 });
    }
}

#[test]
fn the_reference_code_of_go_accepts_our_logs_and_refuses_damaged_ones() {
    let Some(go) = Go::ready() else { return };
    for size in [1, 2, 255, 256, 257, 512, 65_536, 65_537] {
        let dir = export(size);
        assert_eq!(go.accept(dir.path()), Ok((size as u64, 2)), "{size}");
    }
    for (file, at, said) in [
        ("tile/entries/000", 40, "the entries don't lead to the root of the checkpoint"),
        ("tile/0/001.p/44", 40, "tile/0/001.p/44 is not the tile of its entries"),
        ("tile/1/000.p/1", 0, "tile/1/000.p/1 is not the tile of its entries"),
        ("checkpoint", 40, "invalid signature for key"),
    ] {
        let dir = export(300);
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let refused = go.accept(dir.path()).unwrap_err();
        assert!(refused.contains(said), "{file}: {refused}");
    }
}

#[test]
fn others_refuse_what_is_damaged() {
    let refused = |file: &str, damage: fn(&mut Vec<u8>)| {
        let dir = export(300);
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        accept(dir.path()).unwrap_err()
    };
    let flip = |bytes: &mut Vec<u8>| bytes[40] ^= 1;
    assert!(matches!(refused("tile/entries/000", flip), Refused::Root));
    assert!(matches!(refused("tile/entries/001.p/44", |it| it.push(0)), Refused::Bundle(_)));
    assert!(matches!(refused("tile/0/000", flip), Refused::Tile(_)));
    assert!(matches!(refused("tile/0/001.p/44", flip), Refused::Tile(_)));
    assert!(matches!(refused("tile/1/000.p/1", |it| it[0] ^= 1), Refused::Tile(_)));
    assert!(matches!(refused("checkpoint", flip), Refused::Note(_)));
    let one_size_more = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replacen("\n300\n", "\n301\n", 1).into_bytes();
    };
    assert!(matches!(refused("checkpoint", one_size_more), Refused::Note(_)));
    let dir = export(300);
    write(dir.path(), "tile/0/001.p/43", &[0; 43 * 32]);
    assert!(matches!(accept(dir.path()), Err(Refused::Strange(_))));
    fs::remove_file(dir.path().join("tile/0/001.p/44")).unwrap();
    assert!(matches!(accept(dir.path()), Err(Refused::File { .. })));
}

/// Writes a log of this size, signed by two of its nodes.
fn export(size: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let entries = (0..size).map(|leaf| format!("entry {leaf}")).collect::<Vec<_>>();
    let hashes = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect::<Vec<_>>();
    for Tile { path, hashes } in TileWriter::new().append(hashes.iter().copied()) {
        let bytes = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<_>>();
        write(dir.path(), &path.to_string(), &bytes);
    }
    let bundles = tiles_at(size as u64).filter(|path| path.content() == TileContent::Entries);
    for (path, entries) in bundles.zip(entries.chunks(256)) {
        write(dir.path(), &path.to_string(), &encode_bundle(entries).unwrap());
    }
    let signers = [1, 2].map(|node| {
        NoteSigner::new(KeyName::new(ORIGIN).unwrap(), SigningKey::from_seed(&[node; 32]))
    });
    let mut edge = Edge::new();
    hashes.iter().for_each(|hash: &Hash| edge.push(*hash));
    let origin = Origin::new(ORIGIN).unwrap();
    let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
    let mut signed = SignedCheckpoint::sign(checkpoint, &signers[0]).unwrap();
    signed.add(signers[1].sign(signed.note().text())).unwrap();
    write(dir.path(), "checkpoint", signed.to_string().as_bytes());
    let keys = signers.iter().map(|signer| format!("{}\n", signer.key())).collect::<String>();
    write(dir.path(), "log.vkey", keys.as_bytes());
    dir
}

fn write(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
