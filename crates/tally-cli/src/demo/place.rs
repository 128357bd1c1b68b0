//! The directory of a demo: gone when it is dropped, however the demo ends, unless it is to be kept.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::system::random;

/// Where everything of one demo is.
pub(super) struct Place {
    dir: PathBuf,
    keep: bool,
}

impl Place {
    /// Makes a fresh one among the system's temporary files, for its owner alone.
    ///
    /// # Errors
    /// [`Failure`] if it can't be made.
    pub(super) fn new(keep: bool) -> Result<Self, Failure> {
        let name = format!("tally-demo-{:08x}", u32::from_be_bytes(random()?));
        let dir = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&dir).map_err(|why| {
            let what = format!("{}: {why}", dir.display());
            Failure::environment(what, "set TMPDIR to a directory that can be written")
        })?;
        Ok(Self { dir, keep })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Something in it.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep
            && let Err(why) = fs::remove_dir_all(&self.dir)
        {
            super::say(&format!("{} could not be removed: {why}", self.dir.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_place_is_its_owners_and_gone_afterwards_unless_it_is_kept() {
        let (gone, kept) = (Place::new(false).unwrap(), Place::new(true).unwrap());
        let dirs = [gone.dir().to_owned(), kept.dir().to_owned()];
        assert_ne!(dirs[0], dirs[1]);
        for dir in &dirs {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
            fs::write(dir.join("x"), "x").unwrap();
        }
        drop((gone, kept));
        assert_eq!(dirs.each_ref().map(|dir| dir.exists()), [false, true]);
        fs::remove_dir_all(&dirs[1]).unwrap();
    }
}
