//! `tally witness`: the member's own watch over the ledger.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct WitnessArgs {
    #[command(subcommand)]
    pub(crate) command: WitnessCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    New(WitnessNewArgs),
    Status,
    Evidence(WitnessEvidenceArgs),
    Trust(WitnessTrustArgs),
}

/// Make the key of the member's witness, and the state that belongs to it.
///
/// Writes witness.key and witness.vkey to a directory, and an empty state into the data directory of
/// the agent of --config. A key is tied to its state: one whose state was lost or damaged cosigns
/// nothing any more, and a new key is the safe way out. Say `[witness] key` in the agent's
/// configuration, start the agent again, and have the members approve the new verifier key in the
/// register of witnesses.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally witness new --to RZ9")]
pub(crate) struct WitnessNewArgs {
    /// The directory for witness.key and witness.vkey. No key is overwritten.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// List what the witness keeps of a ledger that contradicts itself, or write it to a directory.
///
/// Of each contradiction there are two signed checkpoints: the one that was known before and the one
/// that was offered. Whoever has both and the keys of the ledger's nodes can check what the log has
/// signed: two roots of one size need nothing else; for two sizes the log has to show a proof of
/// consistency, and did not. Exit code 1 if there is any.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally witness evidence\n  \
TALLY_CONFIG=RZ9/tally.toml tally witness evidence --to evidence")]
pub(crate) struct WitnessEvidenceArgs {
    /// A directory to write NAME.json, NAME.known and NAME.offered to.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

/// Vouch for the checkpoint from which a witness goes on whose state was lost or damaged.
///
/// A witness that does not know what it has cosigned can cosign two histories, and then its word is
/// worth nothing to anybody. If the checkpoint is older than the last one that this key cosigned, that
/// can happen. A new key has no past: tally witness new is the safe way. The agent must be stopped.
/// Exit code 1 without --yes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally witness trust --checkpoint checkpoint.note --yes")]
pub(crate) struct WitnessTrustArgs {
    /// A signed checkpoint of the ledger, the newest that this key has cosigned.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: PathBuf,
    /// Vouch for it. Without this, what it risks is told and nothing is changed.
    #[arg(long)]
    pub(crate) yes: bool,
}
