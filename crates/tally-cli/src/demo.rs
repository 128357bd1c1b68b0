//! `tally demo`: the whole story on this machine, on made-up people, told by acting as a user would.
//!
//! Invariant: nothing is told that was not seen. Every step asks the running mesh over the same
//! sockets and commands as anybody else, checks what comes, and tells that; what is not as it must
//! be ends the story with exit code 1. However it ends, no process and no file is left.

mod files;
mod mesh;
mod offline;
mod online;
mod place;
mod search;
mod source;
mod step;
mod story;

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, print, write};

use mesh::Mesh;
use place::Place;
use step::Report;
use story::Story;

pub(crate) use files::{files, lay_down};

/// `tally demo`.
///
/// # Errors
/// [`Failure`] if the mesh does not come up. What is not as told is the answer.
pub(crate) fn demo(args: &DemoArgs, output: Output) -> Result<Exit, Failure> {
    let output = if args.json { Output::Json } else { output };
    let place = Place::new(args.keep)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::environment(why, "see what the system lacks"))?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut mesh = None;
        // Boxed, as it holds all that a story needs from its first step to its last.
        let told = tokio::select! {
            told = Box::pin(tell(&place, &mut mesh, output)) => Some(told),
            () = signals.next() => None,
        };
        if let Some(mesh) = &mut mesh {
            mesh.stop().await;
        }
        match told {
            Some(told) => told,
            None => {
                say("ended before its end; nothing of it runs any more");
                Ok(Exit::Refused)
            }
        }
    });
    if args.keep {
        say(&format!("everything is left in {}", place.dir().display()));
    }
    exit
}

/// Tells the story, one step after another, until one is not as told.
async fn tell(place: &Place, mesh: &mut Option<Mesh>, output: Output) -> Result<Exit, Failure> {
    let begun = Instant::now();
    say("bringing up two trusts, a council and three ledger nodes; nothing leaves this machine …");
    let running = mesh.insert(Mesh::start(place).await?);
    let ready = begun.elapsed();
    say(&format!("they are up after {}", step::seconds(ready)));
    if output == Output::Table {
        write(INTRODUCTION)?;
    }
    let mut report = Report::new(ready);
    let mut story = Story::new(place, running)?;
    for number in 1.. {
        let Some(step) = story.next(number).await else { break };
        if output == Output::Table {
            write(&step.text())?;
        }
        let ok = step.ok;
        report.steps.push(step);
        if !ok {
            break;
        }
    }
    report.end(begun.elapsed());
    match output {
        Output::Json => print(output, &report, String::new)?,
        Output::Table | Output::Csv => write(&report.last_line())?,
    }
    if !report.ok {
        let said = story.last_words();
        if !said.is_empty() {
            say(&format!("what the mesh said last:\n{said}"));
        }
    }
    Ok(if report.ok { Exit::Done } else { Exit::Refused })
}

/// Says how far it is, beside what is told.
fn say(text: &str) {
    // If standard error is closed, nobody reads it.
    drop(writeln!(std::io::stderr().lock(), "tally demo: {text}"));
}

/// SIGTERM, Ctrl-C, and a terminal that is closed.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|why| Failure::environment(why, "see what the system lacks"))
        };
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hangup] = kinds.map(listen);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Who is who.
const INTRODUCTION: &str = "\
Anytown Hospitals and Otherton Community are NHS trusts, Anytown City Council is a council. None of
them exists, and neither does anybody who is named here. All that follows was done on this machine
just now, and checked. A leaf is the place of an entry on the ledger.

";

/// How often it is looked whether something has come.
const LOOK: Duration = Duration::from_millis(100);
