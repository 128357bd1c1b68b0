//! `tally dev`: a mesh on this machine that stays up, each part a process of its own.
//!
//! Invariant: `ready` is printed once dev.json is in place, and dev.json is in place once everything
//! answers. All processes end with this one, however it ends. One that dies stays dead until somebody
//! says `tally dev start`.

mod children;
mod control;
mod directory;
mod founding;
mod ports;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tally_core::id::NodeId;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::args::{DevArgs, DevCommand, DevStartArgs};
use crate::failure::{Exit, Failure};
use crate::mesh::layout::{member_dir, node_dir, note_key};
use crate::online::{Online, read_genesis};
use crate::output::write;
use crate::process::parent_ended;
use crate::system::write_file;

use children::{Children, Died, Part};
use control::{Control, Request};
use directory::{Directory, Fresh};

/// Everything must answer within this time.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(50);
/// How often a fresh mesh is laid out again because a port was taken meanwhile.
const LAYOUTS_MAX: u32 = 5;

/// `tally dev`, and `tally dev start`.
///
/// # Errors
/// [`Failure`] if the mesh does not come up, or can't be asked.
pub(crate) fn dev(args: &DevArgs) -> Result<Exit, Failure> {
    if let Some(DevCommand::Start(start)) = &args.command {
        return start_again(start);
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
    runtime.block_on(run(args))?;
    Ok(Exit::Done)
}

async fn run(args: &DevArgs) -> Result<(), Failure> {
    let dir = directory::absolute(&args.dir)?;
    let _lock = lock(&dir)?;
    let mut signals = Signals::new(args.end_with_stdin)?;
    let mut layouts = 0;
    let (directory, mut children) = loop {
        layouts += 1;
        let (directory, fresh) = Directory::open(&dir, args.mesh.as_deref())?;
        let mut children = Children::default();
        let started = tokio::select! {
            started = start_all(&directory, &mut children, args.ledger_only) => started,
            () = signals.next() => {
                children.stop().await;
                return Ok(());
            }
        };
        match started {
            Ok(()) => break (directory, children),
            Err(failure) => {
                children.stop().await;
                // Somebody took a port between the choice and the start.
                if fresh == Fresh::Yes && children.port_taken() && layouts < LAYOUTS_MAX {
                    directory.discard()?;
                    continue;
                }
                return Err(failure);
            }
        }
    };
    let served = serve(&directory, &mut children, &mut signals).await;
    children.stop().await;
    // What it said holds no more.
    drop(std::fs::remove_file(directory.dev_json()));
    served
}

/// Starts all ledger nodes and waits until they answer; then all agents, which sign what they agreed.
async fn start_all(
    directory: &Directory,
    children: &mut Children,
    ledger_only: bool,
) -> Result<(), Failure> {
    for node in directory.nodes() {
        children.start(Part::Ledger, &name(node.id), &node_dir(directory.dir(), node.id))?;
    }
    for node in directory.nodes() {
        children.bound(&name(node.id), READY_WAIT_MAX).await?;
    }
    published(directory, children).await?;
    if ledger_only {
        return Ok(());
    }
    for (member, _) in directory.agents() {
        let dir = member_dir(directory.dir(), member);
        children.start(Part::Agent, member.as_str(), &dir)?;
    }
    for (member, _) in directory.agents() {
        children.bound(member.as_str(), READY_WAIT_MAX).await?;
    }
    founding::name_witnesses(directory).await?;
    founding::sign_all(directory).await
}

/// Waits until the ledger has its genesis and says so.
async fn published(directory: &Directory, children: &mut Children) -> Result<(), Failure> {
    let config = directory.dir().join("auditor.toml");
    let deadline = Instant::now() + READY_WAIT_MAX;
    loop {
        let path = config.clone();
        let looked = tokio::task::spawn_blocking(move || {
            Online::open(Some(&path))?.checkpoint().map(|it| it.checkpoint().size)
        });
        match looked.await {
            Ok(Ok(1..)) => return Ok(()),
            Ok(Err(failure)) if Instant::now() > deadline => return Err(failure),
            _ if Instant::now() > deadline => {
                let what = "the ledger has no genesis after 60 s";
                let remedy = "see log.txt of each ledger node in the directory";
                return Err(Failure::environment(what, remedy));
            }
            _ => {}
        }
        if let Some(died) = children.died() {
            return Err(died.failure());
        }
        sleep(LOOK).await;
    }
}

async fn serve(
    directory: &Directory,
    children: &mut Children,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut control = Control::listen(directory.dir())?;
    write_json(directory, children, &control)?;
    write("ready")?;
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            died = children.next_death() => {
                report(&died);
                write_json(directory, children, &control)?;
            }
            request = control.next() => {
                let answer = start_one(directory, children, &request).await;
                if answer.is_ok() {
                    write_json(directory, children, &control)?;
                }
                request.answer(answer.map_err(|failure| failure.to_string())).await;
            }
        }
    }
}

/// Starts a child that had died.
async fn start_one(
    directory: &Directory,
    children: &mut Children,
    request: &Request,
) -> Result<u32, Failure> {
    let nodes = directory
        .nodes()
        .iter()
        .map(|node| (name(node.id), Part::Ledger, node_dir(directory.dir(), node.id)));
    let agents = directory
        .agents()
        .map(|(member, _)| (member.to_string(), Part::Agent, member_dir(directory.dir(), member)));
    let parts = nodes.chain(agents).collect::<Vec<_>>();
    let found = parts.iter().find(|(name, ..)| name == request.name());
    let Some((name, part, dir)) = found else {
        let names = parts.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>();
        let what = format!("there is no {:?} here", request.name());
        return Err(Failure::usage(what, format!("name one of {}", names.join(", "))));
    };
    if let Some(pid) = children.pid(name) {
        let what = format!("{name} runs already, as process {pid}");
        return Err(Failure::usage(what, "nothing needs to be done"));
    }
    children.start(*part, name, dir)?;
    children.bound(name, READY_WAIT_MAX).await
}

/// `tally dev start NAME`: asks the running `tally dev` to start a child again.
fn start_again(args: &DevStartArgs) -> Result<Exit, Failure> {
    let dir = directory::absolute(&args.dir)?;
    let pid = control::ask(&dir, &args.name)?;
    write(&format!("{} runs again, as process {pid}", args.name))?;
    Ok(Exit::Done)
}

fn write_json(
    directory: &Directory,
    children: &Children,
    control: &Control,
) -> Result<(), Failure> {
    let document = document(directory, children, control.path())?;
    write_file(&directory.dev_json(), document.to_string().as_bytes())
}

/// What dev.json says.
fn document(directory: &Directory, children: &Children, control: &Path) -> Result<Value, Failure> {
    let dir = directory.dir();
    let path = |path: PathBuf| path.display().to_string();
    let layout = directory.layout();
    let genesis = read_genesis(&dir.join("genesis.cbor"), directory.mesh_id()?)?;
    let genesis = genesis.value();
    let members = directory.agents().map(|(member, agent)| {
        let pid = children.pid(member.as_str());
        let own = member_dir(dir, member);
        json!({
            "id": member.to_string(),
            "pid": pid,
            "dir": path(own.clone()),
            "config": path(own.join("tally.toml")),
            "http": format!("http://{}:{}", agent.host, agent.ingress),
            "metrics": format!("http://{}:{}", agent.host, agent.health),
            "quic": format!("{}:{}", agent.host, agent.quic),
        })
    });
    let mut ledger = Vec::new();
    for (place, node) in directory.nodes().iter().enumerate() {
        let records = genesis.members.iter().flat_map(|member| &member.nodes);
        let record = records.into_iter().find(|record| record.id == node.id);
        let vkey = record.map(|record| note_key(&genesis.mesh, record)).transpose()?;
        ledger.push(json!({
            "id": node.id.0,
            "member": layout.member_of(place)?.to_string(),
            "pid": children.pid(&name(node.id)),
            "dir": path(node_dir(dir, node.id)),
            "config": path(node_dir(dir, node.id).join("tally.toml")),
            "https": format!("https://{}:{}", node.host, node.ports.https),
            "metrics": format!("http://{}:{}", node.host, node.ports.health),
            "quic": format!("{}:{}", node.host, node.ports.agents),
            "vkey": vkey.map(|vkey| vkey.to_string()),
        }));
    }
    Ok(json!({
        "tally": 1,
        "mesh": genesis.mesh.to_string(),
        "mesh_id": directory.mesh_id()?.to_string(),
        "pid": std::process::id(),
        "ca": path(dir.join("ca.pem")),
        "policy": path(dir.join("policy.txt")),
        "auditor": { "config": path(dir.join("auditor.toml")) },
        "control": path(control.to_owned()),
        "members": members.collect::<Vec<_>>(),
        "ledger": ledger,
    }))
}

/// A ledger node's name, as `tally dev start` takes it.
fn name(node: NodeId) -> String {
    format!("ledger-{node}")
}

fn report(died: &Died) {
    use std::io::Write as _;
    // If standard error is closed, nobody reads it.
    drop(writeln!(std::io::stderr().lock(), "tally dev: {died}"));
}

/// One `tally dev` for each directory.
fn lock(dir: &Path) -> Result<File, Failure> {
    crate::system::create_dir(dir)?;
    let path = dir.join("dev.lock");
    let file = File::create(&path).map_err(|why| {
        Failure::environment(format!("{}: {why}", path.display()), "give another --dir")
    })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let what = format!("{}: another tally dev runs there", dir.display());
        Failure::usage(what, "end it first, or give another --dir")
    })?;
    Ok(file)
}

/// SIGTERM, Ctrl-C and, where so asked, the end of whoever started this.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    parent: JoinHandle<()>,
}

impl Signals {
    fn new(end_with_stdin: bool) -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|why| Failure::environment(why, "see what the system lacks"))
        };
        let (terminate, interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let parent = tokio::spawn(parent_ended(end_with_stdin));
        Ok(Self { terminate, interrupt, parent })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = &mut self.parent => {}
        }
    }
}
