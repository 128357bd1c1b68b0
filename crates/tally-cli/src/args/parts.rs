//! The long-running parts: `tally ledger`, `agent` and `dev`.

use std::path::PathBuf;

use clap::Subcommand;

/// A ledger node: run it, or ask how the nodes are.
///
/// Without a subcommand it runs the node of --config until SIGTERM or Ctrl-C, and then hands over,
/// saves and ends. Once it serves, bound.json in its data directory says where.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:\n  \
tally ledger --config ledger-1/tally.toml\n  \
TALLY_CONFIG=auditor.toml tally ledger status"
)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LedgerCommand>,
    /// End when standard input ends: for a process that runs this one.
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Ask every node of the configuration how it is; those that do not answer are shown too.
    ///
    /// Exit code 0 if those that answer agree, 1 if two of one size have different roots, 3 if none
    /// answers.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=auditor.toml tally ledger status")]
    Status,
}

/// A member's agent: runs until SIGTERM or Ctrl-C, then lets what is in flight end, and ends.
///
/// Once it serves, bound.json in its data directory says where.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally agent --config RZ9/tally.toml")]
pub(crate) struct AgentArgs {
    /// End when standard input ends: for a process that runs this one.
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

/// A mesh on this machine that stays up: every part a process of its own, made-up organisations.
///
/// Makes everything in a directory the first time, and goes on with it after that. Prints `ready` once
/// all parts answer; dev.json in the directory then says where they are, and stands there as long as
/// the mesh runs. SIGTERM or Ctrl-C ends all. A part that dies stays dead until `tally dev start`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:\n  \
tally dev\n  \
tally dev --dir mesh --mesh mesh.toml\n  \
tally dev --ledger-only --dir mesh\n  \
tally dev start ledger-2 --dir mesh"
)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DevCommand>,
    /// Ledger nodes only, no agents.
    #[arg(long)]
    pub(crate) ledger_only: bool,
    /// The directory of the mesh.
    #[arg(long, default_value = "tally-dev", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Who is in the mesh: a mesh.toml. Without it, two fictional trusts and a fictional council.
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh: Option<PathBuf>,
    /// End when standard input ends: for a process that runs this one.
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    Start(DevStartArgs),
}

/// Start a part that has died.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally dev start ledger-2 --dir mesh")]
pub(crate) struct DevStartArgs {
    /// Which: ledger-1, ledger-2 and so on, or the id of a member, whose agent it is.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The directory of the mesh, whose `tally dev` must run.
    #[arg(long, default_value = "tally-dev", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
