//! The command line, as clap reads it: every command, with help that shows how it is used.

mod audit;
mod breakglass;
mod data;
mod erase;
mod member;
mod mesh;
mod nodes;
mod opt_out;
mod parts;
mod recovery;
mod registers;
mod witness;

pub(crate) use audit::{
    AuditArgs, AuditCommand, CheckArgs, ExportArgs, LogArgs, MissingArgs, ReceiptArgs,
    ReceiptFormat, ShowArgs, StatsArgs, SubjectArgs, VerifyArgs, WatchArgs,
};
pub(crate) use breakglass::{
    BreakglassArgs, BreakglassCommand, BreakglassListArgs, BreakglassReviewArgs,
    BreakglassShowArgs, ReviewStep,
};
pub(crate) use data::{
    DataArgs, DataAskingArgs, DataCommand, DataGetArgs, DataListArgs, ShownArgs,
};
pub(crate) use erase::{
    Authority, EraseArgs, EraseCommand, EraseHoldArgs, ErasePlanArgs, EraseReleaseArgs,
    EraseRunArgs, EraseSubjectArgs,
};
pub(crate) use member::{
    AgreementAccedeArgs, AgreementAcceptArgs, AgreementArgs, AgreementCheckArgs, AgreementCommand,
    AgreementFileArgs, AgreementShowArgs, AgreementSignArgs, CatalogueArgs, ConsentArgs,
    ConsentCommand, ConsentExplainArgs, ConsentImportArgs, ConsentListArgs, ConsentRecordArgs,
    ConsentWithdrawArgs, DoctorArgs, GetArgs,
};
pub(crate) use mesh::{
    GroupApproveArgs, GroupCommand, GroupProposeArgs, IdentityArgs, IdentityCommand,
    IdentityIssueArgs, IdentityShowArgs, MeshArgs, MeshCommand, MeshInitArgs,
};
pub(crate) use nodes::{
    AddNodeArgs, ExpectedArgs, ExpectedId, JoinArgs, PromoteArgs, RemoveArgs, ReplaceArgs,
    TransferArgs,
};
pub(crate) use opt_out::{OptOutArgs, OptOutCommand, OptOutImportArgs, OptOutRequestArgs};
pub(crate) use parts::{
    AgentArgs, DevArgs, DevCommand, DevStartArgs, FsckArgs, LedgerArgs, LedgerCommand, RecoverArgs,
    SidecarArgs, TrustArgs,
};
pub(crate) use recovery::{RecoveryCommand, RecoveryFileArgs, RecoveryProposeArgs};
pub(crate) use witness::{
    WitnessArgs, WitnessCommand, WitnessEvidenceArgs, WitnessNewArgs, WitnessTrustArgs,
};

pub(crate) use registers::{
    MemberAdmitArgs, MemberArgs, MemberCommand, MemberKeyArgs, MemberNewArgs, MemberProposeArgs,
    MemberStatusArgs, ProtocolCommand, ProtocolProposeArgs, WitnessesCommand, WitnessesProposeArgs,
};

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::output::Output;

/// Records move between organisations; both halves of each event are on a ledger that none controls.
#[derive(Debug, Parser)]
#[command(
    name = "tally",
    version,
    arg_required_else_help = true,
    long_about = "Tally moves records between organisations, and keeps both halves of each event on a \
ledger that none of them controls.\n\n\
Exit codes: 0 done · 1 refused, or not verified · 2 usage or configuration · 3 unreachable.\n\
Each command explains itself: tally help COMMAND."
)]
pub(crate) struct Args {
    /// As whom to act: the configuration of an agent, a sidecar, a ledger node or an auditor.
    #[arg(long, global = true, env = "TALLY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The form of the answer.
    #[arg(long, global = true, value_enum, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Who saw what, when, why and under which agreement; and whether that is the whole truth.
    Audit(AuditArgs),
    Get(GetArgs),
    Catalogue(CatalogueArgs),
    Data(DataArgs),
    Doctor(DoctorArgs),
    /// What people have said about the use of their records, kept by their custodian.
    Consent(ConsentArgs),
    /// The national data opt-out: files to the check service and back.
    OptOut(OptOutArgs),
    /// Who broke the glass, and whether that was right: for privacy officers.
    Breakglass(BreakglassArgs),
    /// Data sharing agreements, from a file to signatures on the ledger.
    Agreement(AgreementArgs),
    /// The end of retention: destroys the keys that tell whom entries are about, and records it.
    Erase(EraseArgs),
    Dev(DevArgs),
    Agent(AgentArgs),
    Sidecar(SidecarArgs),
    Ledger(LedgerArgs),
    /// The member's own watch over the ledger: its key, how it is, and what it has seen.
    Witness(WitnessArgs),
    /// How a mesh begins, and what its members decide together.
    Mesh(MeshArgs),
    /// Members of the mesh: admit one, change its keys or ledger nodes, suspend it.
    Member(MemberArgs),
    /// Certificates of a member's own workloads.
    Identity(IdentityArgs),
    Config(ConfigArgs),
    Explain(ExplainArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Demo(DemoArgs),
}

/// The whole story on this machine, in under a minute: made-up people, real processes.
///
/// Brings up two trusts, a council and a ledger, and acts as their people would: a record is read, is
/// refused, is objected to; a ledger node is killed; an auditor checks it all. Each line says what was
/// seen, on which leaf of the ledger, and how long it took. Nothing is scripted: if anything is not as
/// told, it says so, and the exit code is 1. Everything is gone afterwards.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally demo\n  \
tally demo --json\n  \
tally demo --keep")]
pub(crate) struct DemoArgs {
    /// Print one JSON document at the end, for a machine.
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave the directory behind, and say where it is.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Say what a code means, whose fault it is, and what to do.
///
/// Codes stand in refusals, in answers of the ledger, in logs and as labels of metrics. Without a
/// code, all are listed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally explain consent-absent\n  \
tally explain certificate-expired")]
pub(crate) struct ExplainArgs {
    /// The code, such as `purpose-not-in-agreement`.
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

/// Print the completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example, for bash:\n  \
tally completions bash > ~/.local/share/bash-completion/completions/tally")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write one for each command.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally man | man -l -\n  \
tally man --to share/man/man1")]
pub(crate) struct ManArgs {
    /// A directory to write the pages of all commands to.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(about = "Configuration files: what is wrong with one, and what it says.")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    Check(ConfigFileArgs),
    Show(ConfigFileArgs),
}

/// Read a file as the program would: a mesh file, an agreement, or the configuration of an agent, a
/// sidecar, a ledger node or an auditor. What kind it is shows from its keys.
///
/// All that is wrong is told at once, each with its line; exit code 2 if anything is. `show` tells what
/// holds, and why: the file and its line, a variable, or the default. Secrets are not shown. Without
/// FILE it is that of --config.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally config check ledger-1/tally.toml\n  \
tally config show auditor.toml --output json")]
pub(crate) struct ConfigFileArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Args::command().debug_assert();
    }
}
