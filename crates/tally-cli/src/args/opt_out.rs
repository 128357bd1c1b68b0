//! The national data opt-out: `tally opt-out`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct OptOutArgs {
    #[command(subcommand)]
    pub(crate) command: OptOutCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OptOutCommand {
    Request(OptOutRequestArgs),
    Import(OptOutImportArgs),
    /// List the checks that were made, the newest first: which wait for a reply, and until when answers
    /// may be used.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally opt-out status")]
    Status,
}

/// Write the file that asks the check service about people, to be sent over MESH: recipient X26HC036,
/// workflow SPINE_NTT_UPHOLDING.
///
/// One number a line, each followed by a comma, ended by LF; the file's name is the check's reference.
/// People whom no reply names are left out of planning and research.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("whom").required(true),
    after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally opt-out request --source fhir --out outbox\n  \
tally opt-out request --list - --mailbox X26OT001 --out outbox < numbers.txt"
)]
pub(crate) struct OptOutRequestArgs {
    /// Everybody whom this source of the member has records of.
    #[arg(long, group = "whom", value_name = "ID")]
    pub(crate) source: Option<String>,
    /// The NHS numbers in this file, one a line; `-` reads them from standard input.
    #[arg(long, group = "whom", value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// The directory that the files are written to, each readable by its owner alone.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The MESH mailbox that the request is sent from. Without it the configured one.
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) mailbox: Option<String>,
    /// Take numbers of the list whose check digits are wrong: published test data, in a test mesh.
    #[arg(long)]
    pub(crate) synthetic: bool,
}

/// Take the reply of the check service: those whom it names may be used, everybody else who was asked
/// about is left out.
///
/// The whole file has to be right, and about people of that request only. Taking the same reply again
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally opt-out import inbox/X26OT001-251126-1.dat\n  \
tally opt-out import reply.dat --reference X26OT001-251126-1")]
pub(crate) struct OptOutImportArgs {
    /// The reply.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The check that it answers. Without it the file has to be called like the request.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,
}
