//! A process that ends when it is let go.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Trouble;

/// How long a process may take to end by itself.
const STOP_WAIT_MAX: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(20);

/// A process of ours.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it. What it complains of goes to `log`; what it says otherwise too, unless it is
    /// piped.
    ///
    /// # Errors
    /// [`Trouble`] if it does not start.
    pub(crate) fn start(command: &mut Command, log: &Path, piped: bool) -> Result<Self, Trouble> {
        let log = File::create(log)?;
        let out = if piped { Stdio::piped() } else { log.try_clone()?.into() };
        let child = command.stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        let program = command.get_program().display();
        Ok(Self(child.map_err(|why| format!("{program} does not start: {why}"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) const fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_WAIT_MAX;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
