//! What the command line says.

use std::path::PathBuf;

use crate::Trouble;
use crate::arguments::{binary, must_be_there};

/// How it is said.
pub(crate) const USAGE: &str = "\
usage: cargo bench --package tally-benches --bench streams -- [OPTIONS]
  --mebibytes N      the file's length (2048)
  --rounds N         how often each way is measured, in turn (3)
  --open N           datasets that are open at once while memory is read; 0 for none (1000)
  --tally PATH       the binary, as `cargo build --release --package tally-cli` makes it
  --dir PATH         where all write; say so if the target directory is not on the disk in question";

/// What this process does.
#[derive(Debug)]
pub(crate) enum Mode {
    /// Measures.
    Measure(Options),
    /// Is the server of raw QUIC, of a mesh that is laid out there and of a file.
    Serve(PathBuf, PathBuf),
}

/// What is measured, and with what.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) bytes: u64,
    pub(crate) rounds: usize,
    pub(crate) open: usize,
    pub(crate) tally: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Mode {
    /// Reads the arguments; cargo adds `--bench` to them.
    ///
    /// # Errors
    /// [`Trouble`] names what makes no sense.
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, Trouble> {
        let mut options = Options {
            bytes: 2048 << 20,
            rounds: 3,
            open: 1000,
            tally: binary()?,
            dir: env!("CARGO_TARGET_TMPDIR").into(),
        };
        while let Some(name) = args.next() {
            if name == "--bench" {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--mebibytes" => options.bytes = value.parse::<u64>()?.max(1) << 20,
                "--rounds" => options.rounds = value.parse::<usize>()?.max(1),
                "--open" => options.open = value.parse()?,
                "--tally" => options.tally = value.into(),
                "--dir" => options.dir = value.into(),
                "--serve-raw" => {
                    let file = args.next().ok_or("--serve-raw needs a file too")?;
                    return Ok(Self::Serve(value.into(), file.into()));
                }
                other => return Err(format!("there is no option {other:?}").into()),
            }
        }
        must_be_there(&options.tally)?;
        Ok(Self::Measure(options))
    }
}
