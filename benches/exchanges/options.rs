//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use crate::Trouble;
use crate::arguments::{binary, must_be_there, numbers, seconds};
use crate::measure::Times;

/// How it is said.
pub(crate) const USAGE: &str = "\
usage: cargo bench --package tally-benches --bench exchanges -- [OPTIONS]
  --seconds N        how long each point is measured (20)
  --warm-up N        seconds before that (2)
  --idle N           seconds of idleness before memory is read (10)
  --callers N,N,…    the points (1,64)
  --rate N           then so many exchanges a second, asked whether or not earlier ones were answered;
                     0 for not at all (half of what the most callers reached)
  --delay N          at the end one caller with the provider so many milliseconds away, each way; 0 for
                     not at all (10)
  --tally PATH       the binary, as `cargo build --release --package tally-cli` makes it
  --dir PATH         where all write; say so if the target directory is not on the disk in question";

/// What is measured, and with what.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) times: Times,
    pub(crate) idle: Duration,
    pub(crate) callers: Vec<usize>,
    pub(crate) rate: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) tally: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Options {
    /// Reads the arguments; cargo adds `--bench` to them.
    ///
    /// # Errors
    /// [`Trouble`] names what makes no sense.
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, Trouble> {
        let mut options = Self {
            times: Times { warm_up: Duration::from_secs(2), span: Duration::from_secs(20) },
            idle: Duration::from_secs(10),
            callers: vec![1, 64],
            rate: None,
            delay: Duration::from_millis(10),
            tally: binary()?,
            dir: env!("CARGO_TARGET_TMPDIR").into(),
        };
        while let Some(name) = args.next() {
            if name == "--bench" {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--seconds" => options.times.span = seconds(&value)?,
                "--warm-up" => options.times.warm_up = seconds(&value)?,
                "--idle" => options.idle = seconds(&value)?,
                "--callers" => options.callers = numbers(&value)?,
                "--rate" => options.rate = Some(value.parse()?),
                "--delay" => options.delay = Duration::from_millis(value.parse()?),
                "--tally" => options.tally = value.into(),
                "--dir" => options.dir = value.into(),
                other => return Err(format!("there is no option {other:?}").into()),
            }
        }
        must_be_there(&options.tally)?;
        Ok(options)
    }
}
