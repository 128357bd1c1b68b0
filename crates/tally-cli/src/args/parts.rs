//! The long-running parts: `tally ledger`, `agent`, `sidecar` and `dev`.

use std::path::PathBuf;

use clap::Subcommand;

use super::nodes::{AddNodeArgs, JoinArgs, PromoteArgs, RemoveArgs, ReplaceArgs, TransferArgs};
use super::recovery::RecoveryArgs;

/// A ledger node: run it, ask how the nodes are, change who is in the cluster, or look after the
/// directory of one that is stopped.
///
/// Without a subcommand it runs the node of --config until SIGTERM or Ctrl-C, and then hands over,
/// saves and ends. Once it serves, bound.json in its data directory says where.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:\n  \
tally ledger --config ledger-1/tally.toml\n  \
TALLY_CONFIG=auditor.toml tally ledger status\n  \
tally ledger fsck ledger-1/data"
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
    Fsck(FsckArgs),
    /// Make bad bytes of a stopped node's log again from the entries that the other nodes have.
    ///
    /// What is made must follow on the good frame before and lead to the good one behind, the whole
    /// directory must then pass fsck, and another node must sign the root of the tree: only then is it
    /// written. What was there stays beside the log as bad-SEGMENT-OFFSET. A vote, a truncation or the
    /// end of a log can't be made again, since no other node has it: then the node is to be replaced.
    /// Exit code 1 if nothing was written.
    #[command(after_long_help = "Example:\n  tally ledger repair --config ledger-1/tally.toml")]
    Repair,
    Trust(TrustArgs),
    Recover(RecoverArgs),
    Join(JoinArgs),
    /// Show who is in the cluster: who votes, who only replicates, how far each is behind, who is
    /// trusted to vote, and where its peers reach it.
    ///
    /// How far nodes are behind only the leader knows. Nodes of the configuration that are not in the
    /// cluster, or do not answer, are shown too.
    #[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=operator.toml tally ledger nodes\n  \
tally ledger nodes --config operator.toml --output json")]
    Nodes,
    Add(AddNodeArgs),
    Promote(PromoteArgs),
    Remove(RemoveArgs),
    Replace(ReplaceArgs),
    Transfer(TransferArgs),
    /// What officers sign when too many ledger nodes are lost for good: the ledger goes on in a new
    /// epoch, with what one of the nodes has.
    Recovery(RecoveryArgs),
}

/// Check the directory of a node that does not run: everything is computed again from its log.
///
/// Reads every frame and its place in the chain, applies every committed entry by the rules from the
/// genesis on (signatures, sessions, seals, registers, tree), and compares with it the saved state,
/// every tile byte for byte, the index of registers and the checkpoint that was published last. Never
/// writes. Exit code 0 if all is well; 1 names the file and the offset of the first fault.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally ledger fsck ledger-1/data\n  \
tally ledger fsck --config ledger-1/tally.toml")]
pub(crate) struct FsckArgs {
    /// The node's data directory. Without it, that of --config is checked, and whose it is.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Vouch for the directory of a node that gives no vote because it may have forgotten something.
///
/// A node whose machine went down while it ran, whose files were copied or restored, or whose log
/// lost its end, neither votes nor campaigns until it has caught up with a leader that was elected
/// without it. After a power cut of all nodes there is no such leader: then a majority has to be
/// vouched for. The node must be stopped. That it was done stays in its log, in the metric
/// tally_ledger_vouched_seconds and in what it says at each start. Exit code 1 without --yes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally ledger trust --config ledger-1/tally.toml --yes")]
pub(crate) struct TrustArgs {
    /// Vouch for it. Without this, what speaks against it is told and nothing is changed.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Continue the ledger from this node's directory after half of the voters or more were lost for good.
///
/// A new epoch begins, in which this node is the only voter until new ones join; whatever only the lost
/// nodes had is lost. The node must be stopped, its directory good by fsck and trusted. With --plan
/// nothing is changed: it shows what would be kept, for officers of a majority of the members to
/// approve. With --approved it is carried out, once the mesh's name is typed: crash and repeat it as
/// often as need be. Exit code 1 if the directory can't be continued from.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally ledger recover --config ledger-1/tally.toml --plan --to recovery-1.json\n  \
tally ledger recover --config ledger-1/tally.toml --approved recovery-1.json")]
pub(crate) struct RecoverArgs {
    /// Show what would be kept, and how to go on.
    #[arg(long, conflicts_with = "approved", required_unless_present = "approved")]
    pub(crate) plan: bool,
    /// Write what officers sign, too.
    #[arg(long, value_name = "FILE", requires = "plan")]
    pub(crate) to: Option<PathBuf>,
    /// The recovery with its approvals.
    #[arg(long, value_name = "FILE")]
    pub(crate) approved: Option<PathBuf>,
    /// Do not ask.
    #[arg(long, requires = "approved")]
    pub(crate) yes: bool,
}

/// A member's agent: runs until SIGTERM or Ctrl-C, then lets what is in flight end, and ends.
///
/// Once it serves, bound.json in its data directory says where. Told to end, it takes nothing new and
/// waits for what it has begun, at most as long as `[limits] drain_wait_seconds` says; exit code 0. A
/// second signal ends it at once, exit code 1. SIGHUP has it read its configuration again, and its
/// certificate, which it looks at once a second anyway.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally agent --config RZ9/tally.toml")]
pub(crate) struct AgentArgs {
    /// End when standard input ends: for a process that runs this one.
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

/// An ingress beside an application: it carries what the application asks to its own member's agent.
///
/// It keeps nothing and decides nothing. It finds its agent again whenever it has lost it; meanwhile
/// applications are answered 503 with the code agent-unreachable. SIGTERM or Ctrl-C: it takes nothing new
/// and waits for what it has begun, at most as long as `[limits] drain_wait_seconds` says; exit code 0. A
/// second signal ends it at once, exit code 1. SIGHUP has it read its configuration again, and its
/// certificate, which it looks at once a second anyway.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally identity issue --ca RZ9 --mesh dev.example --member RZ9 --role sidecar --name pas --to pas\n  \
tally sidecar --config pas/sidecar.toml")]
pub(crate) struct SidecarArgs {
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
