//! What the tests of the whole workspace share: where it is, its text, what others make of an export,
//! and meshes of real processes.
//!
//! The tree is walked rather than asked of git, so that the tests also run from a source archive.

pub mod c2sp;
#[allow(
    clippy::indexing_slicing,
    reason = "a JSON value answers null for what it has not, and places are checked"
)]
pub mod dev;
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a mesh that can't be made should stop the test"
)]
pub mod mesh;

#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a database that can't be made stops the test"
)]
pub mod postgres;

pub mod relay;

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

/// A text file of the workspace.
#[derive(Debug)]
pub struct TextFile {
    /// Relative to the root of the workspace, with `/` between the parts.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// The directory that holds the workspace's `Cargo.toml`.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every UTF-8 file below the root, in byte order of its path; neither git's own nor built files.
///
/// # Errors
///
/// When a directory or a file cannot be read.
pub fn text_files() -> io::Result<Vec<TextFile>> {
    let root = workspace_root();
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if holds_no_source(&entry) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if let Some(file) = read_text(&root, &entry.path())? {
                files.push(file);
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Built files lie in `target`, also below a package that is a workspace of its own. In a second
/// worktree `.git` is a file.
fn holds_no_source(entry: &DirEntry) -> bool {
    entry.file_name() == ".git" || entry.file_name() == "target"
}

/// `None` for what is not text: vectors and other binary files have no style.
fn read_text(root: &Path, path: &Path) -> io::Result<Option<TextFile>> {
    let Ok(text) = String::from_utf8(fs::read(path)?) else { return Ok(None) };
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    Ok(Some(TextFile { path: parts.join("/"), text }))
}
