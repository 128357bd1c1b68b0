//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use crate::Trouble;
use crate::arguments::{binary, must_be_there, numbers, seconds};
use crate::measure::Times;

/// How it is said.
pub(crate) const USAGE: &str = "\
usage: cargo bench --package tally-benches --bench appends -- [OPTIONS]
  --seconds N        how long each point is measured (20)
  --warm-up N        seconds before that (2)
  --callers N,N,…    the points, through one agent (1,16,64,256,1000)
  --agents N,N,…     more points: 256 callers through so many agents (4,16,64,256; 0 for none)
  --kills N          kill so many leaders instead, one after the other
  --only tally|etcd  leave the other out
  --connections N    of etcd's clients, at most (16)
  --tally PATH       the binary, as `cargo build --release --package tally-cli` makes it
  --etcd PATH        etcd's binary (etcd)
  --dir PATH         where both write; say so if the target directory is not on the disk in question";

/// A system that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Tally,
    Etcd,
}

/// What is measured, and with what.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) times: Times,
    pub(crate) callers: Vec<usize>,
    pub(crate) agents: Vec<usize>,
    pub(crate) kills: usize,
    pub(crate) systems: Vec<System>,
    pub(crate) connections: usize,
    pub(crate) tally: PathBuf,
    pub(crate) etcd: PathBuf,
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
            callers: vec![1, 16, 64, 256, 1000],
            agents: vec![4, 16, 64, 256],
            kills: 0,
            systems: vec![System::Tally, System::Etcd],
            connections: 16,
            tally: binary()?,
            etcd: "etcd".into(),
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
                "--callers" => options.callers = numbers(&value)?,
                "--kills" => options.kills = value.parse()?,
                "--agents" if value == "0" => options.agents.clear(),
                "--agents" => options.agents = numbers(&value)?,
                "--connections" => options.connections = value.parse::<usize>()?.max(1),
                "--tally" => options.tally = value.into(),
                "--etcd" => options.etcd = value.into(),
                "--dir" => options.dir = value.into(),
                "--only" => {
                    options.systems = match value.as_str() {
                        "tally" => vec![System::Tally],
                        "etcd" => vec![System::Etcd],
                        other => return Err(format!("there is no system {other:?}").into()),
                    }
                }
                other => return Err(format!("there is no option {other:?}").into()),
            }
        }
        if options.systems.contains(&System::Tally) {
            must_be_there(&options.tally)?;
        }
        Ok(options)
    }
}
