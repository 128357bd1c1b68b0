//! Opens the directory: the lock, the key, the database, and whose all of it is.
//!
//! Invariant: a store that was there once is never made anew. The key gets its name only after the
//! database is durable, so a key without a database, or a database without a key, is a loss that
//! somebody must look after, not a first start.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tally_core::id::{MemberId, MeshId};
use tally_log::Hash;

use super::outbox::Taken;
use super::secrets::{KEY_LEN, Key, Secrets, draw};
use super::years::Years;
use super::{StoreError, StoreSettings, disposal, epochs, outbox, schema, streams};

/// Statements that each connection keeps prepared.
const STATEMENTS_MAX: usize = 128;

const LOCK: &str = "store.lock";
const KEY: &str = "store.key";
const NEW_KEY: &str = "store.key.new";
const DATABASE: &str = "store.sqlite";

/// Whose store it is, and what keeps it.
pub(super) struct Home {
    pub(super) member: MemberId,
    pub(super) mesh_id: MeshId,
    pub(super) consent_registers: u16,
    pub(super) secrets: Secrets,
    /// The keys of retention years.
    pub(super) years: Years,
    pub(super) database: PathBuf,
    /// Which entries of the outbox are in a batch.
    pub(super) taken: Taken,
    /// Keeps other processes out for as long as it is open.
    _lock: File,
}

/// What an open store is made of.
pub(super) struct Opened {
    pub(super) home: Home,
    pub(super) writer: Connection,
    pub(super) reader: Connection,
}

/// Opens the store, or makes it where there is none.
pub(super) fn open(settings: StoreSettings) -> Result<Opened, StoreError> {
    let StoreSettings { directory, member, mesh_id, consent_registers } = settings;
    if !(1..=256).contains(&consent_registers) {
        return Err(StoreError::ConsentRegisters);
    }
    make_directory(&directory)?;
    let lock = lock(&directory)?;
    let database = directory.join(DATABASE);
    let owner = Owner { member: &member, mesh_id: &mesh_id };
    let secrets = match find_key(&directory)? {
        Some(key) => Secrets::of(&key),
        None => Secrets::of(&first_start(&directory, &owner)?),
    };
    let writer = connect(&database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check(&writer, &database)?;
    owner.check(&writer, &secrets, &directory)?;
    disposal::make(&writer)?;
    epochs::make(&writer)?;
    outbox::make(&writer)?;
    streams::make(&writer)?;
    let years = Years::in_directory(&directory);
    let reader = connect(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let home = Home {
        member,
        mesh_id,
        consent_registers,
        secrets,
        years,
        database,
        taken: Taken::default(),
        _lock: lock,
    };
    Ok(Opened { home, writer, reader })
}

/// Whom a store must belong to.
struct Owner<'a> {
    member: &'a MemberId,
    mesh_id: &'a MeshId,
}

impl Owner<'_> {
    fn write(&self, db: &Connection, secrets: &Secrets) -> Result<(), StoreError> {
        db.execute(
            "INSERT INTO owner (id, member, mesh_id, key_check) VALUES (1, ?1, ?2, ?3)",
            (self.member.as_str(), self.mesh_id.0.as_bytes(), secrets.check()),
        )?;
        Ok(())
    }

    fn check(
        &self,
        db: &Connection,
        secrets: &Secrets,
        directory: &Path,
    ) -> Result<(), StoreError> {
        let found = db.query_row("SELECT member, mesh_id, key_check FROM owner", [], |row| {
            let found = (row.get::<_, String>(0)?, row.get::<_, [u8; 32]>(1)?);
            Ok((found, row.get::<_, Key>(2)?))
        });
        let ((member, mesh_id), key_check) = found?;
        if member != self.member.as_str() {
            let wanted = self.member.to_string();
            return Err(StoreError::OtherMember { found: member, wanted });
        }
        let mesh_id = MeshId(Hash::from_bytes(mesh_id));
        if mesh_id != *self.mesh_id {
            let (found, wanted) = (mesh_id.to_string(), self.mesh_id.to_string());
            return Err(StoreError::OtherMesh { found, wanted });
        }
        if key_check != *secrets.check() {
            return Err(StoreError::OtherKey { path: directory.join(KEY) });
        }
        Ok(())
    }
}

/// The key of a store that was there before; none if there is to be a first start.
fn find_key(directory: &Path) -> Result<Option<Key>, StoreError> {
    let path = directory.join(KEY);
    let database = directory.join(DATABASE);
    let is_there = fs::metadata(&database).is_ok_and(|metadata| metadata.len() > 0);
    if path.try_exists().map_err(io_at(&path))? {
        let key = read_key(&path)?;
        return if is_there {
            Ok(Some(key))
        } else {
            Err(StoreError::DatabaseMissing { path: database })
        };
    }
    let was_starting = directory.join(NEW_KEY).try_exists().map_err(io_at(&path))?;
    // A start that was cut short had told nobody of anything: it begins again.
    if is_there && !was_starting { Err(StoreError::KeyMissing { path }) } else { Ok(None) }
}

/// Makes key and database. The key has its name once both are durable.
fn first_start(directory: &Path, owner: &Owner<'_>) -> Result<Key, StoreError> {
    let new_key = directory.join(NEW_KEY);
    let database = directory.join(DATABASE);
    for left in ["", "-wal", "-shm", "-journal"] {
        remove(&directory.join(format!("{DATABASE}{left}")))?;
    }
    remove(&new_key)?;
    let key = draw::<KEY_LEN>()?;
    private(&new_key)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
        .map_err(io_at(&new_key))?;
    sync(directory)?;
    private(&database).map_err(io_at(&database))?;
    let mut db = connect(&database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let transaction = db.transaction()?;
    schema::make(&transaction)?;
    owner.write(&transaction, &Secrets::of(&key))?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error)?;
    sync(directory)?;
    let path = directory.join(KEY);
    fs::rename(&new_key, &path).map_err(io_at(&path))?;
    sync(directory)?;
    Ok(key)
}

fn read_key(path: &Path) -> Result<Key, StoreError> {
    let file = File::open(path).map_err(io_at(path))?;
    let metadata = file.metadata().map_err(io_at(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    // A secret that Kubernetes mounts is root's, and its reader only in the group of it.
    let allowed = if metadata.uid() == 0 { 0o740 } else { 0o700 };
    if mode & !allowed != 0 {
        return Err(StoreError::KeyExposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let limit = metadata.len().min(64);
    file.take(limit).read_to_end(&mut bytes).map_err(io_at(path))?;
    bytes.try_into().map_err(|_| StoreError::KeyMalformed { path: path.to_owned() })
}

/// A connection with our settings: each commit is on the disk before it returns, what is deleted is
/// overwritten, and memory stays small. Most indexes are by random keys, so nearly every row changes pages of
/// its own: 8 MiB keep those that are changed again.
fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let damaged = |error: rusqlite::Error| match StoreError::from(error) {
        error if error.is_damage() => StoreError::Damaged { path: path.to_owned() },
        error => error,
    };
    let db = Connection::open_with_flags(path, flags).map_err(damaged)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // A statement's plan is made once, not again for each value that is bound.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(damaged)?;
    let settings = "
        PRAGMA synchronous = FULL;
        PRAGMA foreign_keys = ON;
        PRAGMA secure_delete = ON;
        PRAGMA trusted_schema = OFF;
        PRAGMA temp_store = MEMORY;
        PRAGMA mmap_size = 0;
        PRAGMA cache_size = -8192;
        PRAGMA journal_size_limit = 67108864;
    ";
    if access == OpenFlags::SQLITE_OPEN_READ_WRITE {
        let mode = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
        if mode.map_err(damaged)? != "wal" {
            // Without it the reader would stand in the writer's way.
            let refused = io::Error::other("the file system does not allow a write-ahead log");
            return Err(io_at(path)(refused));
        }
    }
    db.execute_batch(settings).map_err(damaged)?;
    Ok(db)
}

/// Whether it is a store in a form that is known, and whole.
fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id")? != schema::APPLICATION_ID {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    let found = pragma("user_version")?;
    if found > schema::FORM {
        let path = path.to_owned();
        return Err(StoreError::NewerForm { path, found, known: schema::FORM });
    }
    // Its findings name pages and tables; where they are is for a restore, not for a log.
    let quick_check = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match quick_check {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(_) => Err(StoreError::Damaged { path: path.to_owned() }),
        Err(error) => match StoreError::from(error) {
            error if error.is_damage() => Err(StoreError::Damaged { path: path.to_owned() }),
            error => Err(error),
        },
    }
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(io_at(directory))?;
    // A directory that nobody had told the disk about would take everything with it.
    directory.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync)
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(io_at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Locked { directory: directory.to_owned() })
        }
        Err(TryLockError::Error(error)) => Err(io_at(&path)(error)),
    }
}

/// A new file that its owner alone may read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

/// Makes creations and renames durable.
fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(io_at(directory))
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source: Arc::new(source) }
}
