//! The file of alerts: JSON lines that are only ever added to.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Adds whole lines, durable when this returns. A line that a crash tore gets its end first, so that
/// it spoils no other.
///
/// # Errors
/// What the system says; the lines may be there then, and come again.
pub(super) fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = File::options().create(true).read(true).append(true).mode(0o600).open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)?;
    file.sync_data()
}
