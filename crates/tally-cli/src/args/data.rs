//! What is typed to see and to fetch datasets of other members.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
#[command(about = "Datasets of other members: which there are, and fetching one.")]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    List(DataListArgs),
    Get(DataGetArgs),
}

/// The datasets that agreements share with this member: description, columns, size, licence, agreement.
///
/// What is about nobody is looked at: each look is an exchange on the ledger, and nothing of the dataset
/// crosses. What is about people is only named.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally data list\n  \
tally data list RZ9 --purpose local:PLANNING --output csv")]
pub(crate) struct DataListArgs {
    /// Of this member alone.
    #[arg(value_name = "MEMBER")]
    pub(crate) member: Option<String>,
    #[command(flatten)]
    pub(crate) asking: DataAskingArgs,
}

/// Fetch a dataset of another member into a file.
///
/// What has come lies in FILE.part until all has, and its digest is the one that the provider's agent
/// signed. A break is waited out and gone on from; a later run goes on too, if the dataset is still the
/// same, and from the start if it is not. Each going on is an exchange of its own that names the first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally data get RZ9/beds --to beds.csv\n  \
tally data get /data/RZ9/flow/2026/may.csv --to may.csv --purpose local:PLANNING")]
pub(crate) struct DataGetArgs {
    /// MEMBER/DATASET, with the path of a file below it if it is a folder; or the path at the ingress.
    #[arg(value_name = "DATASET")]
    pub(crate) dataset: String,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Put it in the place of a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// How often to try again where nothing more comes, with growing pauses.
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    pub(crate) retries: u32,
    #[command(flatten)]
    pub(crate) asking: DataAskingArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataAskingArgs {
    /// Why: a code such as local:PLANNING. Without it the ingress's default.
    #[arg(long, value_name = "CODE")]
    pub(crate) purpose: Option<String>,
    /// Who asks, as system|value.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A file with the user's token, for an ingress that takes tokens. It is read again for each request.
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// Under which agreement.
    #[arg(long, value_name = "ID")]
    pub(crate) agreement: Option<String>,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
}

/// What an application shows of itself to an ingress under mutual TLS.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ShownArgs {
    /// The certificate of an application, in PEM, where the ingress asks for one (its ingress.client_ca).
    /// The ingress has to answer with the certificate that its configuration names.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}
