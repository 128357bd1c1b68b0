//! `tally audit`: what is asked of a ledger, and what anybody checks offline.

use std::path::PathBuf;

use clap::Subcommand;
use tally_core::id::MeshId;

#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Log(LogArgs),
    Show(ShowArgs),
    Stats(StatsArgs),
    Subject(SubjectArgs),
    Export(ExportArgs),
    Receipt(ReceiptArgs),
    Verify(VerifyArgs),
    Missing(MissingArgs),
    Check(CheckArgs),
    Watch(WatchArgs),
}

/// Watch that the ledger has one history: every node's checkpoints, each second, until Ctrl-C.
///
/// As an auditor or as a member, by --config. Each checkpoint must be signed by the ledger's nodes and
/// be consistent with all that were seen before, which is proved from the public hash tiles; nodes must
/// agree with one another; and the witnesses in force must cosign. What was seen last is kept in a file,
/// so that the next watch goes on from there. Acting for a member, what the member's own witness keeps
/// as evidence is shown too.
///
/// A line for each change. A fork or a rollback is told loudly, with both signed checkpoints saved
/// beside the state; the exit code is then 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit watch\n  \
TALLY_CONFIG=RZ9/tally.toml tally audit watch --once --output json")]
pub(crate) struct WatchArgs {
    /// Where to keep what was seen last. Without it, beside the configuration or, where nothing can be
    /// written, in a new directory that is named.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// One round: exit 0 if all is well, 1 after a fork or a rollback, 3 if no node answers.
    #[arg(long)]
    pub(crate) once: bool,
    /// For how long a checkpoint may lack the cosignatures of a quorum before that is told.
    #[arg(long, default_value = "60s", value_parser = crate::system::parse_seconds, value_name = "TIME")]
    pub(crate) quorum_age: i64,
}

/// Check a whole ledger: every leaf, the tree, the signatures, and the rules.
///
/// Reads every leaf from the first on: is it in the tree that the ledger's nodes have signed, was its
/// batch signed by its member's agent, was every permit given on facts that were current at that
/// place? What is judged is exactly what a ledger node judges when it takes an entry.
///
/// The tree is held against every checkpoint that was kept: an export's earlier ones, those in the
/// receipts that are named, those that were seen when the nodes were verified before (in `checkpoints`
/// beside the auditor's configuration). Ledger nodes that have signed two histories are found that way,
/// and so is what a forced recovery has lost: leaves that an epoch had signed beyond its end. Then the
/// exit code is 1, although all that is there is good.
///
/// The first leaf that is not as it must be is named, and the exit code is 1. Reads what the nodes have
/// over up to eight connections, or an export with as many threads as there are cores.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit verify\n  \
tally audit verify --dir export\n  \
tally audit verify --dir export --mesh-id 3f0c… --policy my-policy.txt --output json\n  \
tally audit verify --dir export --receipt mine.json --receipt theirs.json --missing\n  \
TALLY_CONFIG=auditor.toml tally audit verify --require-witnesses")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) whole: WholeLedgerArgs,
    /// A receipt whose checkpoint must be of the same ledger, or a checkpoint that somebody has kept. May
    /// be given several times.
    #[arg(long = "receipt", value_name = "FILE")]
    pub(crate) receipts: Vec<PathBuf>,
    /// Verify only what enough of the mesh's registered witnesses have cosigned: ⌊(n + f) / 2⌋ + 1 of n,
    /// where f = ⌊(n − 1) / 3⌋.
    #[arg(long)]
    pub(crate) require_witnesses: bool,
    /// List the halves that are missing, one by one: exchange, who owes it, and since when.
    #[arg(long)]
    pub(crate) missing: bool,
}

/// A whole ledger, to be read and verified.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WholeLedgerArgs {
    /// An export to check instead of what the nodes have: a directory as `tally audit export` writes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The mesh that it must be: 64 hexadecimal digits. Without it the export's own is believed.
    #[arg(long, value_name = "ID")]
    pub(crate) mesh_id: Option<MeshId>,
    /// A policy of your own (C2SP tlog-policy) instead of the one in the export.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Threads that read and check. Without it, as many as there are cores.
    #[arg(long, value_parser = threads, value_name = "COUNT")]
    pub(crate) threads: Option<usize>,
}

/// Name the halves that should be on the ledger by now and are not: exchange, who owes it, since when.
///
/// Each exchange has two halves, and a requester's is missing a minute after its provider's close. Read
/// is the whole ledger, and it is verified meanwhile: that nothing is missing is said of no other.
/// Exit code 0 if nothing is missing, 1 if something is, or if the ledger is not as it must be.
///
/// Each ledger node says how many are missing as the metric tally_ledger_halves_missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit missing\n  \
tally audit missing --dir export --output json")]
pub(crate) struct MissingArgs {
    #[command(flatten)]
    pub(crate) whole: WholeLedgerArgs,
}

/// List who saw what, when, why and under which agreement: a page of halves and closes.
///
/// Each exchange has a half of its provider and one of its requester; `matched` says whether the other
/// one is there. Pages follow the order of the ledger; the last has no `next`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit log\n  \
tally audit log --dir export --output json --cursor 1200")]
pub(crate) struct LogArgs {
    /// Where to go on: the `next` of the page before.
    #[arg(long, value_name = "NEXT")]
    pub(crate) cursor: Option<u64>,
    /// Rows on a page.
    #[arg(long, default_value = "100", value_parser = rows, value_name = "ROWS")]
    pub(crate) limit: usize,
    /// An export to read instead of the ledger's nodes.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Show all that the ledger has of one exchange.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  tally audit show 01JD0000000000000000000000 --output json"
)]
pub(crate) struct ShowArgs {
    /// The exchange, as its answer's Tally-Exchange header says.
    #[arg(value_name = "EXCHANGE")]
    pub(crate) exchange: String,
    /// An export to read instead of the ledger's nodes.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Count what was asked, permitted and refused: by class of purpose, code, provider and requester.
///
/// Refused direct care comes first. Each exchange has a half at its provider and one at its requester;
/// a question that never reached its provider has only the latter. Refusals about people have the one
/// code person-level. Refusals above a rate are counted together and have no class.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit stats\n  \
tally audit stats --dir export --output json")]
pub(crate) struct StatsArgs {
    /// An export to read instead of the ledger's nodes.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Say who asked for a person's records at this member, and whether that list is complete.
///
/// The agent tests every entry of its own on the ledger for the person's tag: `tested` says how many of
/// how many, and up to which size of the ledger. Exit code 1 if one could not be tested.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally audit subject --subject 'nhs-number|9990000018'\n  \
echo 'nhs-number|9990000018' | tally audit subject --subject -")]
pub(crate) struct SubjectArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
}

/// Take a copy of the whole ledger that anyone can verify, with tools that nobody here wrote too.
///
/// Writes the C2SP tlog-tiles layout (checkpoint, tile/…, tile/entries/…) and beside it log.vkey,
/// policy.txt and registers.cbor. An export that was broken off, at any point, goes on where it was when
/// the same command is given again. A later one adds to it, and keeps the earlier checkpoint in
/// checkpoints/: verifying holds the ledger against it. Two at once in one directory are refused.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit export --to export\n  \
tally audit verify --dir export")]
pub(crate) struct ExportArgs {
    /// The directory to write to.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Take the newest state that enough of the mesh's registered witnesses have cosigned.
    #[arg(long)]
    pub(crate) require_witnesses: bool,
    /// Connections to read over at once.
    #[arg(long, default_value = "4", value_parser = connections, value_name = "COUNT")]
    pub(crate) connections: usize,
}

/// Take the receipt of a leaf: a file that anyone can check, offline and years later.
///
/// The receipt holds the entry, the seal of its batch, their paths in the tree, a checkpoint, and the
/// leaves that name the keys to check it with. With --witnessed the checkpoint is one that a quorum of
/// the witnesses in force has cosigned: then nobody can be shown another history of that size.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally audit receipt 41 --dir export --to receipt.json\n  \
tally audit check receipt.json\n  \
tally audit receipt 41 --witnessed --format tlog-proof --to entry.tlog-proof")]
pub(crate) struct ReceiptArgs {
    /// Which leaf, from 0.
    #[arg(value_name = "LEAF")]
    pub(crate) leaf: u64,
    /// An export to take it from: a directory as `tally audit export` writes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The file to write. Without it the receipt is printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// With a checkpoint that a quorum of witnesses has cosigned.
    #[arg(long)]
    pub(crate) witnessed: bool,
    /// How long to wait for such a checkpoint.
    #[arg(long, default_value = "10s", value_parser = crate::system::parse_seconds, value_name = "TIME")]
    pub(crate) wait: i64,
    /// The form of the receipt.
    #[arg(long, value_enum, default_value = "receipt", value_name = "FORM")]
    pub(crate) format: ReceiptFormat,
}

/// In which form a receipt is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReceiptFormat {
    /// All that `tally audit check` needs.
    Receipt,
    /// C2SP tlog-proof: the path of the leaf and the checkpoint, for tools that others wrote.
    TlogProof,
}

/// Check a receipt offline: that its entry is on the ledger, and who vouches for it.
///
/// A receipt holds an entry, the seal of its batch and a checkpoint. It is checked against the keys
/// in the mesh's genesis, which stands in the receipt too: say --mesh-id, or compare the id that is
/// printed with the one you know.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally audit check receipt.json\n  \
tally audit check receipt.json --mesh-id 3f0c…\n  \
tally get /fhir/RZ9/Patient/p1 --receipt receipt.json > body.json && \
tally audit check receipt.json body.json")]
pub(crate) struct CheckArgs {
    /// The receipt, as `tally audit receipt` or `tally get --receipt` writes it.
    #[arg(value_name = "RECEIPT")]
    pub(crate) receipt: PathBuf,
    /// What was released, to be held against what the entry says of it.
    #[arg(value_name = "BODY")]
    pub(crate) body: Option<PathBuf>,
    /// The mesh that it must be from: 64 hexadecimal digits. Without it the receipt's own is believed.
    #[arg(long, value_name = "ID")]
    pub(crate) mesh_id: Option<MeshId>,
    /// Exit code 1 unless a quorum of the witnesses that the receipt names has cosigned.
    #[arg(long)]
    pub(crate) witness_quorum: bool,
}

fn rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows @ 1..=10_000) => Ok(rows),
        _ => Err("expected 1 to 10000".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=64) => Ok(threads),
        _ => Err("expected 1 to 64".to_owned()),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections @ 1..=16) => Ok(connections),
        _ => Err("expected 1 to 16".to_owned()),
    }
}
