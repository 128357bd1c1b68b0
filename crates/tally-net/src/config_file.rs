//! Configuration files of processes, from disk.
//!
//! Invariant: all that is wrong is told at once, each with its file and place.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tally_core::file::{Keys, Problem, Section, Told, Words};

/// Why there is no configuration: the fault of whoever wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file, or a variable, says something wrong.
    #[error("{}", Told { path, problems })]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All that is wrong, in the order of the lines.
        problems: Vec<Problem>,
    },
}

/// How a process writes what happens in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// In which form.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Words, for people.
    Human,
    /// One JSON object in each line.
    Json,
}

/// What is written, and all that is graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What is broken.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens.
    Info,
    /// How.
    Debug,
}

const FORMATS: Words<LogFormat> = &[("human", LogFormat::Human), ("json", LogFormat::Json)];
const LEVELS: Words<LogLevel> = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

impl LogSettings {
    /// Reads `log_format` and `log_level`; none after a complaint.
    pub fn read(
        section: &mut Section<'_, '_>,
        keys: &mut Keys<'_>,
        default: LogLevel,
    ) -> Option<Self> {
        let format = match section.reader.optional(keys, "log_format") {
            None => Some(LogFormat::Human),
            Some(value) => section.reader.word(&value, FORMATS),
        };
        let level = match section.reader.optional(keys, "log_level") {
            None => Some(default),
            Some(value) => section.reader.word(&value, LEVELS),
        };
        Some(Self { format: format?, level: level? })
    }
}

/// Reads a configuration file of at most `len_max` bytes; `read` is given its text, the folder that
/// relative paths are relative to, and this process's variables.
///
/// # Errors
/// [`ConfigError`] with all that is wrong.
pub fn load_config<T>(
    path: &Path,
    len_max: usize,
    read: impl FnOnce(&str, &Path, Vec<(String, String)>) -> Result<T, Vec<Problem>>,
) -> Result<T, ConfigError> {
    let mut text = String::new();
    // One byte more, so that a file that is too long is seen to be.
    let limit = (len_max as u64).saturating_add(1);
    let found = File::open(path).and_then(|it| it.take(limit).read_to_string(&mut text));
    found.map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    read(&text, folder, variables.collect())
        .map_err(|problems| ConfigError::Wrong { path: path.to_owned(), problems })
}
