//! Configuration files: where paths begin, what variables take the place of keys, where something
//! listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Keys, Override, OverrideKind, Problem, Reader, Value};

/// Bytes of a path at most.
const PATH_LEN_MAX: usize = 4096;

/// A reader that knows where paths begin.
#[derive(Debug)]
pub struct Section<'r, 'f> {
    /// Complains.
    pub reader: &'r mut Reader,
    /// Relative paths are relative to this.
    pub folder: &'f Path,
}

/// What is wrong with a file, a line for each.
#[derive(Debug, Clone, Copy)]
pub struct Told<'p> {
    /// The file.
    pub path: &'p Path,
    /// All that is wrong.
    pub problems: &'p [Problem],
}

/// The variables that take the place of keys, and what is wrong with the others that are ours: those
/// whose name begins with `prefix`. A variable's name is the prefix and the key in capitals, with `_`
/// for the dot.
pub fn overrides(
    prefix: &str,
    keys: &[(&'static str, OverrideKind)],
    variables: impl IntoIterator<Item = (String, String)>,
) -> (Vec<Override>, Vec<Problem>) {
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for (origin, text) in variables {
        let Some(name) = origin.strip_prefix(prefix) else { continue };
        // Kubernetes describes a Service that is called like the program in such variables.
        if name.starts_with("SERVICE_") || name == "PORT" || name.starts_with("PORT_") {
            continue;
        }
        let named = keys.iter().find(|(key, _)| key.replace('.', "_").to_uppercase() == name);
        match named {
            Some(&(path, kind)) => found.push(Override { path, kind, text, origin }),
            None => {
                let what = format!("the variable {origin} is for no key that is known");
                unknown.push(Problem { path: String::new(), line: None, what });
            }
        }
    }
    unknown.sort_by(|one, other| one.what.cmp(&other.what));
    (found, unknown)
}

impl Section<'_, '_> {
    /// The format's version, which must be 1.
    pub fn format(&mut self, keys: &mut Keys<'_>) {
        let format = self.reader.required(keys, "tally");
        if let Some(format) = format
            && self.reader.number(&format).is_some_and(|number| number != 1)
        {
            self.reader.complain(&format, "this version reads format 1 only");
        }
    }

    /// The keys of a table; those of an absent one are all absent.
    pub fn table<'d>(&mut self, keys: &mut Keys<'d>, key: &str) -> Keys<'d> {
        let value = self.reader.optional(keys, key);
        let table = value.and_then(|value| self.reader.table(&value));
        table.unwrap_or_else(|| Keys::absent(key))
    }

    /// A path that must be there.
    pub fn path(&mut self, keys: &mut Keys<'_>, key: &str) -> Option<PathBuf> {
        let value = self.reader.required(keys, key)?;
        self.path_in(&value)
    }

    /// A path that may be absent: `Some(None)` then, `None` where it is wrong.
    #[allow(clippy::option_option, reason = "absent and wrong are two things, and callers use `?`")]
    pub fn optional_path(&mut self, keys: &mut Keys<'_>, key: &str) -> Option<Option<PathBuf>> {
        match self.reader.optional(keys, key) {
            None => Some(None),
            Some(value) => self.path_in(&value).map(Some),
        }
    }

    /// Where something listens: the key `listen` of a table.
    pub fn listen_in(&mut self, table: &mut Keys<'_>, default: SocketAddr) -> Option<SocketAddr> {
        let Some(value) = self.reader.optional(table, "listen") else { return Some(default) };
        let text = self.reader.text(&value, 256);
        let address = text.and_then(|text| text.parse().ok());
        if text.is_some() && address.is_none() {
            let what = format!("expected IP:PORT or [IPv6]:PORT, such as {default}");
            self.reader.complain(&value, what);
        }
        address
    }

    /// Where something listens: the key `listen` of a table that holds nothing else.
    pub fn listen(
        &mut self,
        keys: &mut Keys<'_>,
        key: &str,
        default: SocketAddr,
    ) -> Option<SocketAddr> {
        let mut table = self.table(keys, key);
        let listen = self.listen_in(&mut table, default);
        self.reader.close(table);
        listen
    }

    fn path_in(&mut self, value: &Value<'_>) -> Option<PathBuf> {
        let text = self.reader.text(value, PATH_LEN_MAX)?;
        if text.is_empty() || text.contains('\0') {
            self.reader.complain(value, "expected a path");
            return None;
        }
        Some(self.folder.join(text))
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, problems } = self;
        for (place, problem) in problems.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {problem}", path.display())?;
        }
        Ok(())
    }
}
