//! Appends that are durable on a quorum and whose receipts were checked, beside etcd's puts and
//! beside the disk.
//!
//! Invariant: what is compared is measured in one run on one machine: three processes each on the
//! same disk, callers that each wait for their own answer before they ask again, on one thread. Each
//! point begins with empty directories, and while one is measured the other does not run. Who comes
//! first alternates.

mod arguments;
mod etcd;
mod kills;
mod machine;
mod measure;
mod members;
mod options;
mod process;
mod table;
mod tally;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use mimalloc::MiMalloc;
use tokio::runtime::Builder;

use measure::{Point, closed_loop};
use options::{Options, System};
use table::Row;

/// As the agent that is shipped has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Callers where agents are many.
const CALLERS_OF_AGENTS: usize = 256;

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
    if options.kills > 0 {
        let dir = tempfile::Builder::new().prefix("appends").tempdir_in(&options.dir)?;
        println!("{}", kills::run(options, dir.path()).await?);
        return Ok(());
    }
    let mut rows = Vec::new();
    // Thrown away together at the end: a file system that has just deleted thousands of files is slow
    // to create others, and that would be the next one's loss.
    let mut dirs = Vec::new();
    for (turn, (callers, agents)) in points(options).into_iter().enumerate() {
        let mut row = Row { callers, agents, tally: None, etcd: None };
        // Whatever else the machine does meanwhile should not always meet the same one.
        let mut order = systems.clone();
        if turn % 2 == 1 {
            order.reverse();
        }
        for system in order {
            let dir = tempfile::Builder::new().prefix("appends").tempdir_in(&options.dir)?;
            let point = measure_one(options, system, (callers, agents), dir.path()).await?;
            dirs.push(dir);
            eprintln!("{system:?}, {callers} callers, {agents} agents: {point:?}");
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

/// Callers, and the agents that they are spread over.
fn points(options: &Options) -> Vec<(usize, usize)> {
    let through_one = options.callers.iter().map(|callers| (*callers, 1));
    let through_many = options.agents.iter().map(|agents| (CALLERS_OF_AGENTS, *agents));
    through_one.chain(through_many).collect()
}

async fn measure_one(
    options: &Options,
    system: System,
    (callers, agents): (usize, usize),
    dir: &Path,
) -> Result<Point<1>, Trouble> {
    match system {
        System::Tally => {
            let file = dir.join("mesh.toml");
            fs::write(&file, members::mesh_file(agents))?;
            let args = ["--ledger-only".as_ref(), "--mesh".as_ref(), file.as_os_str()];
            let mesh = tally::Mesh::start(&options.tally, dir, args)?;
            let agents = mesh.agents(agents).await?;
            let pids = mesh.pids();
            let spread = agents.iter().cycle().zip(0..callers);
            let callers = spread.map(|(agent, caller)| agent.caller(caller)).collect();
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
