//! The command line, as clap reads it: every command, with help that shows how it is used.

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
    /// As whom to act: the configuration of an agent, a ledger node or an auditor.
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
    Explain(ExplainArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
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
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Receipt(ReceiptArgs),
    Verify(VerifyArgs),
    Check(CheckArgs),
}

/// Check a whole ledger: every leaf, the tree, the signatures, and the rules.
///
/// Reads every leaf from the first on: is it in the tree that the ledger's nodes have signed, was its
/// batch signed by its member's agent, was every permit given on facts that were current at that
/// place? What is judged is exactly what a ledger node judges when it takes an entry.
///
/// The first leaf that is not as it must be is named, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally audit verify --dir export\n  \
tally audit verify --dir export --mesh-id 3f0c… --policy my-policy.txt --output json")]
pub(crate) struct VerifyArgs {
    /// The export to check: a directory as `tally audit export` writes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The mesh that it must be: 64 hexadecimal digits. Without it the export's own is believed.
    #[arg(long, value_name = "ID")]
    pub(crate) mesh_id: Option<String>,
    /// A policy of your own (C2SP tlog-policy) instead of the one in the export.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// Take the receipt of a leaf: a file that anyone can check, offline and years later.
///
/// The receipt holds the entry, the seal of its batch, their paths in the tree, a checkpoint, and the
/// leaves that name the keys to check it with.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally audit receipt 41 --dir export --to receipt.json\n  \
tally audit check receipt.json")]
pub(crate) struct ReceiptArgs {
    /// Which leaf, from 0.
    #[arg(value_name = "LEAF")]
    pub(crate) leaf: u64,
    /// The export to take it from: a directory as `tally audit export` writes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The file to write. Without it the receipt is printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

/// Check a receipt offline: that its entry is on the ledger, and who vouches for it.
///
/// A receipt holds an entry, the seal of its batch and a checkpoint. It is checked against the keys
/// in the mesh's genesis, which stands in the receipt too: say --mesh-id, or compare the id that is
/// printed with the one you know.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally audit check receipt.json\n  \
tally audit check receipt.json --mesh-id 3f0c…")]
pub(crate) struct CheckArgs {
    /// The receipt, as `tally audit receipt` writes it.
    #[arg(value_name = "RECEIPT")]
    pub(crate) receipt: PathBuf,
    /// The mesh that it must be from: 64 hexadecimal digits. Without it the receipt's own is believed.
    #[arg(long, value_name = "ID")]
    pub(crate) mesh_id: Option<String>,
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
