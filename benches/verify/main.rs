//! What it takes to verify a long ledger: `tally audit verify --dir` as a process of its own, over an
//! export that is made here, of exchanges with real signatures.

#![allow(clippy::print_stdout, reason = "what is measured is printed")]
#![allow(clippy::print_stderr, reason = "the same")]

mod export;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const USAGE: &str = "\
usage: cargo bench --package tally-benches --bench verify -- [OPTIONS]
  --entries N        about how many, seals not counted (10000000)
  --threads N,N,…    with how many threads each time (1,2)
  --tally PATH       the binary, as `cargo build --release --package tally-cli` makes it
  --dir PATH         where the export goes, 2.9 GB for ten million; it is deleted at the end
  --keep             leave it there: the next run with this --dir does not make it again";

type Trouble = Box<dyn Error>;

struct Options {
    entries: u64,
    threads: Vec<usize>,
    tally: PathBuf,
    dir: PathBuf,
    keep: bool,
}

fn main() -> ExitCode {
    let run = Options::from_args(std::env::args().skip(1)).and_then(|options| run(&options));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, Trouble> {
        let this = std::env::current_exe()?;
        let release = this.parent().and_then(Path::parent).ok_or("this executable lies nowhere")?;
        let mut options = Self {
            entries: 10_000_000,
            threads: vec![1, 2],
            tally: release.join("tally"),
            dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("verify"),
            keep: false,
        };
        while let Some(name) = args.next() {
            match name.as_str() {
                "--bench" => continue,
                "--keep" => {
                    options.keep = true;
                    continue;
                }
                _ => {}
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--entries" => options.entries = value.parse()?,
                "--threads" => {
                    options.threads = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--tally" => options.tally = value.into(),
                "--dir" => options.dir = value.into(),
                _ => return Err(format!("{name} is no option").into()),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<(), Trouble> {
    let dir = options.dir.join(options.entries.to_string());
    let begun = Instant::now();
    if dir.join("checkpoint").exists() {
        println!("the export that was kept: {}", dir.display());
    } else {
        let size = export::make(&dir, options.entries)?;
        println!("an export of {size} leaves, made in {:.0?}", begun.elapsed());
    }
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!("load average {}", load.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
    println!("| threads | seconds | CPU seconds | µs an entry | resident MiB |");
    println!("|---|---|---|---|---|");
    for threads in &options.threads {
        let Measured { took, cpu, resident_kib, leaves } = measure(options, &dir, *threads)?;
        let each_us = cpu.as_secs_f64() * 1e6 / leaves as f64;
        let (took, cpu) = (took.as_secs_f64(), cpu.as_secs_f64());
        let resident = resident_kib / 1024;
        println!("| {threads} | {took:.1} | {cpu:.1} | {each_us:.2} | {resident} |");
    }
    if !options.keep {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

struct Measured {
    took: Duration,
    cpu: Duration,
    resident_kib: u64,
    leaves: u64,
}

/// One run. What it used, the system says once it has ended, as GNU time does.
fn measure(options: &Options, dir: &Path, threads: usize) -> Result<Measured, Trouble> {
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%U %S %M"]).arg(&options.tally);
    command.args(["--output", "json", "audit", "verify", "--threads", &threads.to_string()]);
    command.arg("--dir").arg(dir).stdin(Stdio::null());
    let begun = Instant::now();
    let output = command.output().map_err(|why| format!("/usr/bin/time: {why}"))?;
    let took = begun.elapsed();
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    if answer.get("verified") != Some(&Value::Bool(true)) {
        return Err(format!("it does not verify: {answer}").into());
    }
    let said = String::from_utf8(output.stderr)?;
    // Lines on how far it is come before.
    let used = said.lines().last().unwrap_or_default().split(' ').collect::<Vec<_>>();
    let [user, system, resident] = used.as_slice() else { return Err(said.into()) };
    let cpu = Duration::from_secs_f64(user.parse::<f64>()? + system.parse::<f64>()?);
    let leaves =
        answer.get("leaves_checked").and_then(Value::as_u64).ok_or("no count of leaves")?;
    Ok(Measured { took, cpu, resident_kib: resident.parse()?, leaves })
}
