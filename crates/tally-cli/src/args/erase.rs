//! `tally erase`: the end of what openings tell.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct EraseArgs {
    #[command(subcommand)]
    pub(crate) command: EraseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EraseCommand {
    Plan(ErasePlanArgs),
    Run(EraseRunArgs),
    Subject(EraseSubjectArgs),
    Hold(EraseHoldArgs),
    Release(EraseReleaseArgs),
    /// Count the names that are on hold, by reason; none is named.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally erase holds")]
    Holds,
}

/// Count what a disposal would destroy, by retention year; nobody is named and nothing is destroyed.
///
/// What is kept of an exchange in 2026 has the retention year 2026 + the `[retention] years` of the
/// agent's configuration, and can be disposed of once that year is over.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally erase plan --before 2035")]
pub(crate) struct ErasePlanArgs {
    /// The first retention year that stays.
    #[arg(long, value_name = "YEAR")]
    pub(crate) before: u16,
}

/// Destroy the keys of all openings of the retention years before one, and say so on the ledger.
///
/// The entries stay, and the ledger verifies as before; but whom they are about can't be told any more,
/// by anybody. The officer's key signs for exactly what is counted, and the ledger holds the counts, the
/// office and the hash of the certificate. Who is on hold loses nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally erase run --before 2035 --authorised-by caldicott --key officers/caldicott.key\n  \
tally erase run --before 2035 --authorised-by ig-lead --yes --certificate disposal-2035.json")]
pub(crate) struct EraseRunArgs {
    /// The first retention year that stays.
    #[arg(long, value_name = "YEAR")]
    pub(crate) before: u16,
    #[command(flatten)]
    pub(crate) authority: Authority,
}

/// Destroy the keys of one person's access history before the end of its retention.
///
/// A request to be erased is no ground for it: access history is kept for those it is about, so that they
/// can learn who saw their record. Only an order of a court or a statute is, and its code is on the
/// ledger.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
tally erase subject --subject - --reason-code court-order --authorised-by ig-lead < person.txt")]
pub(crate) struct EraseSubjectArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
    /// Why: court-order, or legal-obligation.
    #[arg(long, value_name = "CODE", value_parser = ["court-order", "legal-obligation"])]
    pub(crate) reason_code: String,
    #[command(flatten)]
    pub(crate) authority: Authority,
}

/// By whose authority.
#[derive(Debug, clap::Args)]
pub(crate) struct Authority {
    /// The office that authorises it: caldicott, or ig-lead.
    #[arg(long, value_name = "ROLE", value_parser = ["caldicott", "ig-lead"])]
    pub(crate) authorised_by: String,
    /// The officer's key file. Without it, the one under `[officer]` in the configuration, if it is of
    /// this office.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The file for the certificate. Without it, disposal-….json in the present directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Keep a person's access history whatever year ends and whoever orders otherwise, until it is released.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
tally erase hold --subject 'nhs-number|9990000018' --reason-code public-inquiry")]
pub(crate) struct EraseHoldArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
    /// Why: a code of your own, 1 to 32 of a-z, 0-9 and '-'; never anything that names the person.
    #[arg(long, value_name = "CODE")]
    pub(crate) reason_code: String,
}

/// End a person's legal hold.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
tally erase release --subject 'nhs-number|9990000018'")]
pub(crate) struct EraseReleaseArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
}
