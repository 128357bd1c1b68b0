//! What privacy officers type.

use clap::{Subcommand, ValueEnum};

#[derive(Debug, clap::Args)]
pub(crate) struct BreakglassArgs {
    #[command(subcommand)]
    pub(crate) command: BreakglassCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BreakglassCommand {
    List(BreakglassListArgs),
    Show(BreakglassShowArgs),
    Review(BreakglassReviewArgs),
}

/// List the break-glass accesses of this member, as provider and as requester. The list names nobody.
///
/// Each stands for an episode: the reads of one person by one user within the hour. Each of the two
/// members has a review of its own.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally breakglass list --open\n  \
tally breakglass list --overdue --output json")]
pub(crate) struct BreakglassListArgs {
    /// Only those whose review this member has not concluded.
    #[arg(long)]
    pub(crate) open: bool,
    /// Only those whose review is overdue.
    #[arg(long)]
    pub(crate) overdue: bool,
}

/// Show who broke the glass, for whose records and why, as the opening at this member has it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally breakglass show 01JD8QTZ0RX4T6W9C2B5N7M3KE")]
pub(crate) struct BreakglassShowArgs {
    /// The exchange, as the alert and the list name it.
    #[arg(value_name = "EXCHANGE")]
    pub(crate) exchange: String,
}

/// Take the next step in this member's review of an access. Each step is an entry on the ledger.
///
/// A review goes from open to under-review, and from there to justified or inappropriate; never back.
/// The note stays in this member's own store, encrypted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally breakglass review 01JD8QTZ0RX4T6W9C2B5N7M3KE --state under-review\n  \
tally breakglass review 01JD8QTZ0RX4T6W9C2B5N7M3KE --state justified --note 'seen with the ward'")]
pub(crate) struct BreakglassReviewArgs {
    /// The exchange, as the alert and the list name it.
    #[arg(value_name = "EXCHANGE")]
    pub(crate) exchange: String,
    /// What the review comes to.
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: ReviewStep,
    /// What was found, in words; kept encrypted at the agent, and nowhere else.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// The office that reviews. Without it that of `[officer]` in the configuration, else
    /// privacy-officer.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
}

/// A step of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReviewStep {
    /// An officer looks at it.
    UnderReview,
    /// It was right.
    Justified,
    /// It was not.
    Inappropriate,
}
