//! Arguments that both benches over real processes take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Trouble;

/// `target/release/tally`, seen from the bench in `target/release/deps`.
///
/// # Errors
/// [`Trouble`] if the bench lies nowhere.
pub(crate) fn binary() -> Result<PathBuf, Trouble> {
    let this = std::env::current_exe()?;
    let release = this.parent().and_then(|deps| deps.parent());
    Ok(release.ok_or("this executable lies nowhere")?.join("tally"))
}

/// A time in whole seconds.
///
/// # Errors
/// [`Trouble`] if it is none.
pub(crate) fn seconds(text: &str) -> Result<Duration, Trouble> {
    Ok(Duration::from_secs(text.parse()?))
}

/// Numbers from 1 on, with commas.
///
/// # Errors
/// [`Trouble`] if they are none.
pub(crate) fn numbers(text: &str) -> Result<Vec<usize>, Trouble> {
    text.split(',').map(|number| Ok(number.parse::<usize>()?.max(1))).collect()
}

/// Whether the binary was made.
///
/// # Errors
/// [`Trouble`] says how, if it was not.
pub(crate) fn must_be_there(binary: &Path) -> Result<(), Trouble> {
    if binary.is_file() {
        return Ok(());
    }
    let path = binary.display();
    let remedy = "cargo build --release --package tally-cli";
    Err(format!("{path}: there is no such binary; to make it: {remedy}").into())
}
