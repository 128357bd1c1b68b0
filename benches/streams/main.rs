//! A dataset about nobody as it streams from one member to an application of another, beside the same
//! bytes over QUIC alone and through a plain proxy with mutual TLS.
//!
//! Invariant: what is compared is measured in one run on one machine, in turn, with the same
//! certificates, over one connection; each counts from the question to the last byte. An answer that
//! is shorter than the file ends the run: there is no figure of what was broken off.

#![allow(dead_code, reason = "what it shares with the benches over callers has more than it needs")]

#[path = "../appends/arguments.rs"]
mod arguments;
#[path = "../appends/machine.rs"]
mod machine;
#[path = "../appends/measure.rs"]
mod measure;
#[path = "../appends/members.rs"]
mod members;
#[path = "../appends/memory.rs"]
mod memory;
mod mesh;
mod open;
mod options;
#[path = "../appends/process.rs"]
mod process;
mod proxy;
mod raw;
mod table;
#[path = "../appends/tally.rs"]
mod tally;

use std::process::ExitCode;
use std::time::Instant;

use tokio::runtime::Builder;

use measure::cpu_s;
use mesh::Members;
use options::{Mode, Options};
use proxy::Proxy;
use table::{Pass, Way};

/// Why nothing was measured.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let mode = match Mode::from_args(std::env::args().skip(1)) {
        Ok(mode) => mode,
        Err(why) => {
            eprintln!("error: {why}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let ran =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Trouble::from);
    let ran = ran.and_then(|runtime| {
        runtime.block_on(async {
            match mode {
                Mode::Measure(options) => run(&options).await,
                Mode::Serve(dir, file) => raw::serve(&dir, &file).await,
            }
        })
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Trouble> {
    println!("{}", machine::load()?);
    let dir = tempfile::Builder::new().prefix("streams").tempdir_in(&options.dir)?;
    let silent = open::SilentServer::start().await?;
    let members = Members::start(&options.tally, dir.path(), options.bytes, silent.port)?;
    let files = dir.path().join("files");
    let raw = raw::Server::start(&members.dir(), dir.path(), &files.join("dataset"))?;
    let proxy = Proxy::start(&members.dir(), &files, dir.path()).await?;
    let mut passes = Vec::new();
    for round in 0..options.rounds {
        for way in Way::ALL {
            let servers = match way {
                Way::Raw(_) => vec![raw.id()],
                Way::Tally => members.agents(),
                Way::Proxy => proxy.pids()?,
            };
            let before = used_s(&servers)?;
            let begun = Instant::now();
            match way {
                Way::Raw(it) => raw.read(it, options.bytes).await?,
                Way::Tally => members.read(options.bytes).await?,
                Way::Proxy => {
                    let request = proxy.request("/dataset")?;
                    let read = proxy::read(&mut proxy.connect().await?, request).await?;
                    mesh::whole(read, options.bytes)?;
                }
            }
            let pass = Pass {
                way,
                bytes: options.bytes,
                wait: begun.elapsed(),
                servers_s: used_s(&servers)? - before,
            };
            eprintln!("round {round}: {pass:?}");
            passes.push(pass);
        }
    }
    println!("{}", machine::load()?);
    println!("{}", table::table(&passes)?);
    if options.open > 0 {
        println!("{}", open::open(&members, &silent, options.open).await?);
    }
    Ok(())
}

/// Processor time that these have used.
fn used_s(pids: &[u32]) -> Result<f64, Trouble> {
    pids.iter().map(|pid| cpu_s(*pid)).sum()
}
