//! The steps that need nothing but files: everything that ran has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tally_log::tile::{TileContent, TilePath, bundle_entries};

use super::mesh::{get, run};
use super::online::COUNCIL_USER;
use super::search::search;
use super::step::{Seen, Unlike, ensure};
use super::story::{COUNCIL, PERSON, Story};

/// Entries in a full bundle.
const BUNDLE: u64 = tally_log::tile::TILE_WIDTH as u64;

/// An auditor takes a copy, everything is ended, and the copy and a receipt are checked.
pub(super) async fn checked(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let export = story.place.at("export").display().to_string();
    let auditor = story.document.auditor.config.clone();
    let exported = run(Some(&auditor), &["audit", "export", "--to", &export]).await?;
    ensure(exported.code == Some(0), "a copy of the ledger", exported.brief())?;
    story.stop_mesh().await;
    let ingress = &story.document.member(COUNCIL)?.http;
    let answers = get(ingress, "/catalogue", &[]).await.is_ok();
    ensure(!answers, "nobody who answers any more", "an agent that does")?;

    let mesh_id = story.document.mesh_id.clone();
    let begun = Instant::now();
    let args = ["audit", "verify", "--dir", &export, "--mesh-id", &mesh_id];
    let verified = run(None, &args).await?;
    let number = |name: &str| verified.json.get(name).and_then(Value::as_u64).unwrap_or_default();
    let is_so = verified.code == Some(0)
        && verified.json.get("verified") == Some(&Value::Bool(true))
        && number("missing_halves") == 0
        && number("leaves_checked") == number("size");
    ensure(is_so, "a ledger that is right, with no half missing", verified.brief())?;

    let (receipt, body) = story.kept();
    let (receipt, body) = (receipt.display().to_string(), body.display().to_string());
    let args = ["audit", "check", &receipt, &body, "--mesh-id", &mesh_id];
    let check = run(None, &args).await?;
    let first = story.about_person.first();
    let leaf = first.map(|it| it.leaf);
    let is_so = check.code == Some(0)
        && check.json.get("verified") == Some(&Value::Bool(true))
        && check.json.get("leaf").and_then(Value::as_u64) == leaf;
    ensure(is_so, format!("a receipt that holds, for leaf {leaf:?}"), check.brief())?;
    let other = other_body(story)?.display().to_string();
    let check = run(None, &["audit", "check", &receipt, &other, "--mesh-id", &mesh_id]).await?;
    ensure(check.code == Some(1), "no for a record that was changed", check.brief())?;
    let took = begun.elapsed();
    let told = vec![
        format!(
            "An auditor took a copy of the ledger; then everything that ran here was ended. From the \
             copy alone: {} leaves, {} batches signed by the organisations, the signatures of {} \
             ledger nodes, and no half missing. All of it right.",
            number("size"),
            number("seals_checked"),
            number("signatures"),
        ),
        "The council's receipt for the first step holds too: that very record, byte for byte, was \
         released by the hospitals, and the entry about it is on the ledger. For a record in which \
         one byte is another, the receipt does not hold."
            .to_owned(),
    ];
    Ok(Seen { leaf, at: first.map(|it| it.at.clone()), took: Some(took), told })
}

/// The record of the first step, with one byte changed.
fn other_body(story: &Story<'_>) -> Result<PathBuf, Unlike> {
    let failed = |why: io::Error| Unlike::new("the record of the first step", why);
    let mut bytes = fs::read(story.kept().1).map_err(failed)?;
    let middle = bytes.len() / 2;
    bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
    let path = story.place.at("record-changed.json");
    fs::write(&path, bytes).map_err(failed)?;
    Ok(path)
}

/// One byte of a copy is flipped.
pub(super) async fn byte_flipped(story: &mut Story<'_>) -> Result<Seen, Unlike> {
    let (export, copy) = (story.place.at("export"), story.place.at("flipped"));
    let failed = |why: io::Error| Unlike::new("a second copy of the ledger", why);
    copy_all(&export, &copy).map_err(failed)?;
    let first = story.about_person.first().cloned();
    let first = first.ok_or_else(|| Unlike::new("an entry to change", "there is none"))?;
    let size = size_of(&export).map_err(failed)?;
    flip(&copy, first.leaf, size).map_err(failed)?;
    let (dir, mesh_id) = (copy.display().to_string(), story.document.mesh_id.clone());
    let begun = Instant::now();
    let verified = run(None, &["audit", "verify", "--dir", &dir, "--mesh-id", &mesh_id]).await?;
    let took = begun.elapsed();
    let bad = verified.json.pointer("/first_bad/leaf").and_then(Value::as_u64);
    let is_so = verified.code == Some(1) && bad == Some(first.leaf);
    ensure(is_so, format!("exit code 1, and leaf {} named", first.leaf), verified.brief())?;
    let why = verified.json.pointer("/first_bad/why").and_then(Value::as_str).unwrap_or_default();
    let told = vec![format!(
        "In a second copy, one bit of the entry about the first step was turned over. The check says \
         no, and where: leaf {} ({why}).",
        first.leaf
    )];
    Ok(Seen { leaf: bad, at: Some(first.at), took: Some(took), told })
}

/// Every file of every ledger node is searched for the person.
pub(super) fn nobody_on_the_ledger(story: &Story<'_>) -> Result<Seen, Unlike> {
    let failed = |why: io::Error| Unlike::new("files that can be read", why);
    let (first, rest) = PERSON.nhs_number.split_at(3);
    let (middle, last) = rest.split_at(3);
    let spaced = format!("{first} {middle} {last}");
    let user = COUNCIL_USER.rsplit_once('|').map_or(COUNCIL_USER, |(_, user)| user);
    let person = [PERSON.nhs_number, &spaced, PERSON.given, PERSON.family, PERSON.record];
    let words = [&person[..], &[user]].concat();
    let begun = Instant::now();
    let mut dirs = story.document.ledger_dirs();
    let nodes = dirs.len();
    dirs.push(story.place.at("export"));
    let searched = search(&dirs, &words).map_err(failed)?;
    let took = begun.elapsed();
    let found = searched.found.iter().map(|path| path.display().to_string());
    let found = found.collect::<Vec<_>>().join(", ");
    ensure(found.is_empty(), "nothing about the person in the ledger's files", found)?;
    // A search that finds nothing anywhere shows nothing.
    let sources = search(&[story.place.at("data")], &words).map_err(failed)?;
    ensure(!sources.found.is_empty(), "the same words in the hospitals' own records", "none")?;
    let told = vec![format!(
        "{} files of {nodes} ledger nodes and of the copy, {} MB, were searched for her NHS number, \
         her names, her record and the name of the one who asked: nothing. (The same search finds \
         them in {} files of the trusts' own records.)",
        searched.files,
        searched.bytes / 1_000_000,
        sources.found.len(),
    )];
    Ok(Seen { took: Some(took), told, ..Seen::default() })
}

/// The size that the checkpoint of an export says.
fn size_of(export: &Path) -> io::Result<u64> {
    let checkpoint = fs::read_to_string(export.join("checkpoint"))?;
    let size = checkpoint.lines().nth(1).and_then(|line| line.parse().ok());
    size.ok_or_else(|| io::Error::other("the checkpoint says no size"))
}

/// Turns one bit in the middle of a leaf's bytes.
fn flip(export: &Path, leaf: u64, size: u64) -> io::Result<()> {
    let none = || io::Error::other(format!("the copy has no leaf {leaf}"));
    let path = TilePath::at_size(TileContent::Entries, leaf / BUNDLE, size).ok_or_else(none)?;
    let file = export.join(path.to_string());
    let mut bytes = fs::read(&file)?;
    let entries = bundle_entries(path, &bytes).map_err(io::Error::other)?;
    let place = usize::try_from(leaf % BUNDLE).map_err(io::Error::other)?;
    // Each entry has its length before it, in two bytes.
    let before: usize = entries.iter().take(place).map(|entry| entry.len() + 2).sum();
    let length = entries.get(place).ok_or_else(none)?.len();
    let byte = bytes.get_mut(before + 2 + length / 2).ok_or_else(none)?;
    *byte ^= 1;
    fs::write(&file, &bytes)
}

/// Copies a directory with all that is in it.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tally_log::tile::encode_bundle;

    use super::*;

    #[test]
    fn one_bit_of_one_leaf_is_turned() {
        let dir = tempfile::tempdir().unwrap();
        let entries: Vec<Vec<u8>> = (0..7).map(|length| vec![7; length + 1]).collect();
        let path = TilePath::at_size(TileContent::Entries, 0, 7).unwrap();
        let file = dir.path().join("from").join(path.to_string());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, encode_bundle(&entries).unwrap()).unwrap();
        let copy = dir.path().join("to");
        copy_all(&dir.path().join("from"), &copy).unwrap();
        for leaf in 0..7 {
            flip(&copy, leaf, 7).unwrap();
            let bytes = fs::read(copy.join(path.to_string())).unwrap();
            let flipped = bundle_entries(path, &bytes).unwrap();
            let differ = |at: &usize| flipped[*at] != entries[*at];
            assert_eq!((0..7).filter(differ).collect::<Vec<_>>(), [leaf as usize]);
            flip(&copy, leaf, 7).unwrap();
        }
        assert!(flip(&copy, 7, 7).is_err());
    }
}
