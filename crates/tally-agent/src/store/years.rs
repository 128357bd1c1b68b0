//! The keys of retention years. Everything that tells about whom an entry was, and all that its opening
//! says, hangs on the key of its year: one small file each, beside the database.
//!
//! Invariant: without a year's key file, the store's own key and every byte of the database tell nothing
//! about that year: neither what an opening says, nor whose it is, nor whose tags are on the ledger. So
//! a disposal ends with a file that is overwritten and gone, and copies of pages that SQLite has left
//! anywhere, in the file, its log or a backup, are of no use. A key has a generation: where somebody's
//! part of a year stays, the rest of it gets a new key.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::secrets::{KEY_LEN, Key, Secrets, derive, draw, open, seal};
use super::thread::Desk;

/// Bytes of a key file at most; one has fewer.
const FILE_LEN_MAX: u64 = 256;

/// The key of one retention year, at one generation.
#[derive(Clone)]
pub(super) struct YearKey {
    key: Key,
    /// The keys of rows follow from it.
    wrap: Key,
}

/// Where the keys are, and those that were read.
pub(super) struct Years {
    directory: PathBuf,
    known: Mutex<BTreeMap<(u16, u32), YearKey>>,
}

/// What the database says of a year.
struct Standing {
    generation: u32,
    destroyed: bool,
}

impl YearKey {
    fn of(key: Key) -> Self {
        Self { wrap: derive(&key, &[b"wrap\0"]), key }
    }

    /// Where a person stands in the indexes of this year.
    pub(super) fn place(&self, blind: &Key) -> Key {
        derive(&self.key, &[b"place\0", blind])
    }

    /// Seals what stands in one place of one table.
    pub(super) fn seal(&self, place: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        seal(&derive(&self.wrap, place), plain)
    }

    /// Opens what [`seal`](Self::seal) sealed for the same place.
    pub(super) fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        open(&derive(&self.wrap, place), sealed)
    }
}

impl Years {
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), known: Mutex::default() }
    }

    fn path(&self, year: u16, generation: u32) -> PathBuf {
        self.directory.join(format!("year-{year}-{generation}.key"))
    }

    fn get(&self, secrets: &Secrets, year: u16, generation: u32) -> Result<YearKey, StoreError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&(year, generation)) {
            return Ok(key.clone());
        }
        let path = self.path(year, generation);
        let mut sealed = Vec::new();
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::KeyMissing { path: path.clone() },
            _ => io_at(&path)(error),
        })?;
        file.take(FILE_LEN_MAX).read_to_end(&mut sealed).map_err(io_at(&path))?;
        let key = secrets.open(&[&place_of(year, generation)], &sealed);
        let key = key.and_then(|key| Key::try_from(key).ok());
        let key = key.ok_or_else(|| StoreError::KeyMalformed { path: path.clone() })?;
        let key = YearKey::of(key);
        known.insert((year, generation), key.clone());
        Ok(key)
    }

    /// Makes the key, or takes the one that a start which was cut short has left. It is durable.
    fn make(&self, secrets: &Secrets, year: u16, generation: u32) -> Result<YearKey, StoreError> {
        let path = self.path(year, generation);
        if path.try_exists().map_err(io_at(&path))? {
            return self.get(secrets, year, generation);
        }
        let sealed = secrets.seal(&[&place_of(year, generation)], &draw::<KEY_LEN>()?)?;
        let new = path.with_extension("key.new");
        let written =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new);
        written
            .and_then(|mut file| file.write_all(&sealed).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(io_at(&path))?;
        self.get(secrets, year, generation)
    }

    /// Overwrites a key's file and removes it, if it is there.
    fn shred(&self, year: u16, generation: u32) -> Result<(), StoreError> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(year, generation));
        let path = self.path(year, generation);
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(io_at(&path))?,
        };
        let len = file.metadata().map_err(io_at(&path))?.len().min(FILE_LEN_MAX);
        let zeros = vec![0; usize::try_from(len).unwrap_or_default()];
        file.write_all(&zeros)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::remove_file(&path))
            .and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(io_at(&path))
    }
}

/// The year's key; none if nothing was ever kept until then, or all of it was destroyed.
pub(super) fn live(desk: &Desk<'_>, year: u16) -> Result<Option<YearKey>, StoreError> {
    match standing(desk, year)? {
        Some(Standing { generation, destroyed: false }) => {
            desk.home.years.get(&desk.home.secrets, year, generation).map(Some)
        }
        _ => Ok(None),
    }
}

/// The year's key, made if need be.
pub(super) fn live_or_new(desk: &Desk<'_>, year: u16) -> Result<YearKey, StoreError> {
    match live(desk, year)? {
        Some(key) => Ok(key),
        None => next(desk, year),
    }
}

/// A new key for the year. What the one before sealed has to be moved over or be given up, in the same
/// transaction; the old key's file goes with [`shred_old`].
pub(super) fn next(desk: &Desk<'_>, year: u16) -> Result<YearKey, StoreError> {
    let generation = standing(desk, year)?.map_or(0, |it| it.generation);
    let generation = generation.saturating_add(1);
    let key = desk.home.years.make(&desk.home.secrets, year, generation)?;
    let sql = "INSERT INTO retention_years (year, generation, destroyed) VALUES (?1, ?2, 0) \
               ON CONFLICT (year) DO UPDATE SET generation = ?2, destroyed = 0";
    desk.change(sql, (year, generation))?;
    Ok(key)
}

/// Gives a year's key up: nothing is kept of the year.
pub(super) fn give_up(desk: &Desk<'_>, year: u16) -> Result<(), StoreError> {
    let sql = "UPDATE retention_years SET destroyed = 1 WHERE year = ?1";
    desk.change(sql, [year]).map(drop)
}

/// The years of which something is kept, ascending.
pub(super) fn all_live(desk: &Desk<'_>) -> Result<Vec<u16>, StoreError> {
    let sql = "SELECT year FROM retention_years WHERE destroyed = 0 ORDER BY year";
    desk.list(sql, [], |row| row.get(0))
}

/// Destroys the files of keys that were given up, or replaced. Files of years that the database does
/// not know are left: it may be the database that is the older one.
pub(super) fn shred_old(desk: &Desk<'_>) -> Result<(), StoreError> {
    let years = &desk.home.years;
    let sql = "SELECT year, generation, destroyed FROM retention_years";
    let standings = desk.list(sql, [], |row| {
        let (year, generation, destroyed) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((year, Standing { generation, destroyed }))
    })?;
    let standings: BTreeMap<u16, Standing> = standings.into_iter().collect();
    for entry in fs::read_dir(&years.directory).map_err(io_at(&years.directory))? {
        let name = entry.map_err(io_at(&years.directory))?.file_name();
        let Some((year, generation)) = name.to_str().and_then(numbers_of) else { continue };
        let old = standings.get(&year).is_some_and(|now| {
            generation < now.generation || (now.destroyed && generation == now.generation)
        });
        if old {
            years.shred(year, generation)?;
        }
    }
    Ok(())
}

fn standing(desk: &Desk<'_>, year: u16) -> Result<Option<Standing>, StoreError> {
    let sql = "SELECT generation, destroyed FROM retention_years WHERE year = ?1";
    desk.find(sql, [year], |row| Ok(Standing { generation: row.get(0)?, destroyed: row.get(1)? }))
}

/// Year and generation in the name of a key's file.
fn numbers_of(name: &str) -> Option<(u16, u32)> {
    let (year, generation) = name.strip_prefix("year-")?.strip_suffix(".key")?.split_once('-')?;
    Some((year.parse().ok()?, generation.parse().ok()?))
}

/// What a year's key is sealed for.
fn place_of(year: u16, generation: u32) -> Vec<u8> {
    [&b"year\0"[..], &year.to_be_bytes(), &generation.to_be_bytes()].concat()
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source: Arc::new(source) }
}

/// What a thief makes of the files.
#[cfg(test)]
pub(super) fn steal(
    directory: &Path,
    secrets: &Secrets,
    year: u16,
    generation: u32,
) -> Option<YearKey> {
    Years::in_directory(directory).get(secrets, year, generation).ok()
}
