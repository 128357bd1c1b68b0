//! What officers sign before a ledger goes on without its majority: `tally ledger recovery`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct RecoveryArgs {
    #[command(subcommand)]
    pub(crate) command: RecoveryCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryCommand {
    Propose(RecoveryProposeArgs),
    /// Show what a file says is kept and lost, and who has signed; nothing is signed.
    #[command(
        after_long_help = "Example:\n  tally ledger recovery show recovery.json --config RZ9/tally.toml"
    )]
    Show(RecoveryFileArgs),
    /// Approve a recovery, as the member's officer: the signature is added to the file.
    ///
    /// What is kept, and what is lost as far as this machine knows, is shown on standard error first.
    /// No ledger is asked, as there is none that runs. A checkpoint kept beside the configuration that
    /// has the same size and another root is a reason not to sign, and refused. Once more than half of
    /// the members have signed, `tally ledger recover --approved FILE` makes it so, on the node.
    #[command(
        after_long_help = "Example:\n  tally ledger recovery approve recovery.json --config RZ9/tally.toml"
    )]
    Approve(RecoveryFileArgs),
}

/// Write the file that officers sign, from what a ledger node has.
///
/// `tally ledger recover --plan` says what that is, and writes the same file itself: this is for
/// numbers that were read out. Every node that is left is asked first: the one with the most goes on.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "new",
    after_long_help = "Example:\n  \
tally ledger recovery propose --size 1200 --root 9f86…0a08 --node 2 --to recovery.json \\\n    \
--config RZ9/tally.toml"
)]
pub(crate) struct RecoveryProposeArgs {
    /// Leaves that the node has.
    #[arg(long, value_name = "LEAVES")]
    pub(crate) size: u64,
    /// The root over them: 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub(crate) root: String,
    /// The number of the ledger node that goes on.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: u64,
    /// The epoch that begins: one more than the present one.
    #[arg(long, default_value_t = 1, value_name = "EPOCH")]
    pub(crate) epoch: u64,
    /// The file to write.
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    pub(crate) to: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecoveryFileArgs {
    /// The file that was written for the officers.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// A checkpoint, or a receipt, that may show what is lost. May be given several times.
    #[arg(long = "seen", value_name = "FILE")]
    pub(crate) seen: Vec<PathBuf>,
}
