//! Appends that are durable on a quorum and whose receipts were checked, beside etcd's puts and
//! beside the disk.
//!
//! Invariant: what is compared is measured in one run on one machine: three processes each on the
//! same disk, callers that each wait for their own answer before they ask again, on one thread. Each
//! point begins with empty directories, and while one is measured the other does not run. Who comes
//! first alternates.

mod arguments;
mod etcd;
mod machine;
mod measure;
mod options;
mod process;
mod table;
mod tally;

use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Builder;

use measure::{Point, closed_loop};
use options::{Options, System};
use table::Row;

/// Why nothing was measured.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = match Options::from_args(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let ran = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Trouble::from)
        .and_then(|runtime| runtime.block_on(run(&options)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Trouble> {
    let mut systems = options.systems.clone();
    if systems.contains(&System::Etcd) && !etcd::is_installed(&options.etcd) {
        println!("etcd is not installed: only Tally is measured.\n");
        systems.retain(|system| *system != System::Etcd);
    }
    println!("{}", machine::load()?);
    println!("{}", machine::disk(&options.dir, "before")?);
    let mut rows = Vec::new();
    // Thrown away together at the end: a file system that has just deleted thousands of files is slow
    // to create others, and that would be the next one's loss.
    let mut dirs = Vec::new();
    for (turn, callers) in options.callers.iter().enumerate() {
        let mut row = Row { callers: *callers, tally: None, etcd: None };
        // Whatever else the machine does meanwhile should not always meet the same one.
        let mut order = systems.clone();
        if turn % 2 == 1 {
            order.reverse();
        }
        for system in order {
            let dir = tempfile::Builder::new().prefix("appends").tempdir_in(&options.dir)?;
            let point = measure_one(options, system, *callers, dir.path()).await?;
            dirs.push(dir);
            eprintln!("{system:?}, {callers} callers: {point:?}");
            match system {
                System::Tally => row.tally = Some(point),
                System::Etcd => row.etcd = Some(point),
            }
        }
        rows.push(row);
    }
    println!("{}", machine::disk(&options.dir, "after")?);
    println!("{}", machine::load()?);
    println!("{}", table::table(&rows));
    Ok(())
}

async fn measure_one(
    options: &Options,
    system: System,
    callers: usize,
    dir: &Path,
) -> Result<Point<1>, Trouble> {
    match system {
        System::Tally => {
            let mesh = tally::Mesh::start(&options.tally, dir, ["--ledger-only"])?;
            let agent = mesh.agent()?;
            let pids = mesh.pids();
            let callers = (0..callers).map(|caller| agent.caller(caller)).collect();
            closed_loop(callers, options.times, [&pids]).await
        }
        System::Etcd => {
            let cluster = etcd::Cluster::start(&options.etcd, dir).await?;
            let connections = cluster.connect(options.connections.min(callers)).await?;
            let pids = cluster.pids();
            let callers = (0..callers).map(|caller| connections.caller(caller)).collect();
            closed_loop(callers, options.times, [&pids]).await
        }
    }
}
