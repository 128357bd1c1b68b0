//! Exchanges: records that cross from one member to another, with both halves on the ledger, as an
//! application gets them; beside a lone append, beside the disk, and beside nginx, which records
//! nothing.
//!
//! Invariant: what is compared is measured in one run on one machine, one after the other: first a
//! ledger alone with one caller, then a mesh of two members and three nodes, whose callers each wait
//! for their own answer before they ask again, on one thread; then they ask at half the rate that was
//! reached, whether or not they have answers. An answer that is no record, or has no receipt, ends the
//! run: there is no figure of refusals.

#[path = "../appends/arguments.rs"]
mod arguments;
mod far;
#[path = "../appends/machine.rs"]
mod machine;
#[path = "../appends/measure.rs"]
mod measure;
#[path = "../appends/members.rs"]
mod members;
#[path = "../appends/memory.rs"]
mod memory;
mod mesh;
mod open_loop;
mod options;
mod people;
mod plain;
#[path = "../appends/process.rs"]
mod process;
#[path = "../streams/proxy.rs"]
mod proxy;
mod standing;
mod table;
#[path = "../appends/tally.rs"]
mod tally;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Builder;

use measure::{Point, closed_loop};
use mesh::Members;
use open_loop::open_loop;
use options::Options;
use plain::Plain;
use proxy::Proxy;
use table::Row;

/// Exchanges that may wait at once where they are asked at a rate: an agent takes as many and more.
const WAITING_MAX: usize = 256;

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
    println!("{}", machine::load()?);
    println!("{}", standing::binary(&options.tally, &options.dir)?);
    println!("{}", machine::disk(&options.dir, "before")?);
    let new_dir = || tempfile::Builder::new().prefix("exchanges").tempdir_in(&options.dir);
    let (first, second) = (new_dir()?, new_dir()?);
    let mut rows =
        vec![Row { what: "append", callers: 1, point: append(options, first.path()).await? }];
    let members = Members::start(&options.tally, second.path())?;
    println!("{}", standing::memory(&members, options.idle, "after its start").await?);
    for callers in &options.callers {
        let readers = members.readers(*callers).await?;
        let (agents, nodes) = (members.agents(), members.nodes());
        let point = closed_loop(readers, options.times, [&agents, &nodes]).await?;
        eprintln!("{callers} callers: {point:?}");
        rows.push(Row { what: "exchange", callers: *callers, point });
    }
    rows.extend(at_a_rate(options, &members, &rows).await?);
    println!("{}", standing::memory(&members, options.idle, "after the load").await?);
    let records = second.path().join("files/rz9");
    let proxy = Arc::new(Proxy::start(members.dir(), &records, second.path()).await?);
    for callers in &options.callers {
        let readers = Plain::callers(&proxy, *callers).await?;
        let point = closed_loop(readers, options.times, [&proxy.pids()?, &[]]).await?;
        rows.push(Row { what: "nginx", callers: *callers, point });
    }
    if !options.delay.is_zero() {
        far::move_away(&members, &options.tally, options.delay).await?;
        // The agent is another process now, and its time is not counted.
        let point = closed_loop(members.readers(1).await?, options.times, [&[], &[]]).await?;
        rows.push(Row { what: "exchange, far", callers: 1, point });
    }
    println!("{}", machine::disk(&options.dir, "after")?);
    println!("{}", machine::load()?);
    println!("{}", table::table(&rows));
    Ok(())
}

/// What applications get that ask at a rate: as said, or half of what was reached.
async fn at_a_rate(
    options: &Options,
    members: &Members,
    reached: &[Row],
) -> Result<Option<Row>, Trouble> {
    let exchanges = reached.iter().filter(|row| row.what == "exchange");
    let most = exchanges.map(|row| row.point.per_s).fold(0.0, f64::max);
    let per_s = match options.rate {
        Some(rate) => rate,
        // Whole ones, and far below what 32 bits hold.
        None => format!("{:.0}", most / 2.0).parse()?,
    };
    if per_s == 0 {
        return Ok(None);
    }
    let readers = members.readers(WAITING_MAX).await?;
    let (agents, nodes) = (members.agents(), members.nodes());
    let point = open_loop(readers, per_s, options.times, [&agents, &nodes]).await?;
    eprintln!("{per_s} a second: {point:?}");
    Ok(Some(Row { what: "exchange, at a rate", callers: WAITING_MAX, point }))
}

/// What one caller gets of a ledger that nobody else uses.
async fn append(options: &Options, dir: &Path) -> Result<Point<2>, Trouble> {
    let file = dir.join("mesh.toml");
    fs::write(&file, members::mesh_file(1))?;
    let args = ["--ledger-only".as_ref(), "--mesh".as_ref(), file.as_os_str()];
    let mesh = tally::Mesh::start(&options.tally, dir, args)?;
    let agents = mesh.agents(1).await?;
    let agent = agents.first().ok_or("a mesh has a member")?;
    let nodes = mesh.pids();
    let point = closed_loop(vec![agent.caller(0)], options.times, [&[], &nodes]).await?;
    if point.batch > 1.0 {
        return Err("a lone append was not alone in its batch".into());
    }
    Ok(point)
}
