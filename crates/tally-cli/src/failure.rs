//! Why a command did not do what was asked: what, whose fault it is, and what to do.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use tally_core::file::Problem;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and all is well.
    Done,
    /// Refused, or not verified.
    Refused,
    /// What was typed or configured makes no sense.
    Usage,
    /// Somebody who is needed could not be reached.
    Unreachable,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Whoever typed it.
    Caller,
    /// A file of ours: configuration, key, certificate.
    Configuration,
    /// The other side.
    Peer,
    /// Network, disk, system.
    Environment,
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    fault: Fault,
    what: String,
    remedy: String,
}

impl Failure {
    /// What was typed makes no sense.
    pub(crate) fn usage(what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Fault::Caller, what, remedy)
    }

    /// A file is not as it must be.
    pub(crate) fn configuration(what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Fault::Configuration, what, remedy)
    }

    /// A file has these faults.
    pub(crate) fn problems(path: &Path, problems: &[Problem]) -> Self {
        let lines = problems.iter().map(|it| format!("{}: {it}", path.display()));
        let what = lines.collect::<Vec<_>>().join("\n       ");
        Self::configuration(what, "mend the file: each line above says where and what")
    }

    /// The system said no.
    pub(crate) fn environment(what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Fault::Environment, what, remedy)
    }

    /// Somebody is not there.
    pub(crate) fn unreachable(what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, Fault::Environment, what, remedy)
    }

    /// The other side said no, or said something that is not true.
    pub(crate) fn refused(what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Refused, Fault::Peer, what, remedy)
    }

    /// Our own agent, or the ledger, said no to what was asked.
    pub(crate) fn refused_as(what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Refused, Fault::Caller, what, remedy)
    }

    fn new(exit: Exit, fault: Fault, what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self { exit, fault, what: what.to_string(), remedy: remedy.into() }
    }

    /// How the command ends.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Caller => "what was typed",
            Fault::Configuration => "a file of this installation",
            Fault::Peer => "the other side",
            Fault::Environment => "the surroundings: network, disk or system",
        };
        write!(f, "error: {}\n  whose fault: {fault}\n  what to do:  {}", self.what, self.remedy)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
        })
    }
}
