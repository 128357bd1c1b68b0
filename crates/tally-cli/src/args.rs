//! The command line, as clap reads it: every command, with help that shows how it is used.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tally_core::id::MeshId;

use crate::output::Output;
use crate::system::parse_seconds;

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
    Get(GetArgs),
    /// What people have said about the use of their records, kept by their custodian.
    Consent(ConsentArgs),
    /// Data sharing agreements, from a file to signatures on the ledger.
    Agreement(AgreementArgs),
    Dev(DevArgs),
    Agent(AgentArgs),
    Ledger(LedgerArgs),
    /// How a mesh begins.
    Mesh(MeshArgs),
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
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Log(LogArgs),
    Show(ShowArgs),
    Subject(SubjectArgs),
    Export(ExportArgs),
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
TALLY_CONFIG=auditor.toml tally audit verify\n  \
tally audit verify --dir export\n  \
tally audit verify --dir export --mesh-id 3f0c… --policy my-policy.txt --output json")]
pub(crate) struct VerifyArgs {
    /// An export to check instead of what the nodes have: a directory as `tally audit export` writes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The mesh that it must be: 64 hexadecimal digits. Without it the export's own is believed.
    #[arg(long, value_name = "ID")]
    pub(crate) mesh_id: Option<MeshId>,
    /// A policy of your own (C2SP tlog-policy) instead of the one in the export.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
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
/// policy.txt and registers.cbor. An export that was broken off goes on where it was; a later one adds
/// to it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=auditor.toml tally audit export --to export\n  \
tally audit verify --dir export")]
pub(crate) struct ExportArgs {
    /// The directory to write to.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
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
    /// An export to take it from: a directory as `tally audit export` writes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
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
}

#[derive(Debug, clap::Args)]
pub(crate) struct MeshArgs {
    #[command(subcommand)]
    pub(crate) command: MeshCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MeshCommand {
    Init(MeshInitArgs),
}

/// Make the keys, certificates, configurations and the genesis of a mesh, in one directory.
///
/// Each member gets a directory with its CA, its agent key and its officers' keys; each ledger node
/// one with its configuration. The mesh's id is the hash of genesis.cbor, for ever: note it down, as
/// everything that is checked later is checked against it.
///
/// All founders' secrets are made in one place. That is right for tests and demonstrations; before a
/// live mesh, move each directory to its owner and nowhere else.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally mesh init --mesh mesh.toml --to mesh\n  \
tally mesh init --mesh mesh.toml --to mesh --node 1=ledger.rz9.example --node 2=ledger.rz8.example")]
pub(crate) struct MeshInitArgs {
    /// Who founds it: a mesh.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh: PathBuf,
    /// The directory to make it in.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Where a ledger node will be reached, with the default ports 7610 to 7613. Nodes without a host
    /// are on 127.0.0.1, each with ports of its own.
    #[arg(long, value_name = "NUMBER=HOST", value_parser = parse_node)]
    pub(crate) node: Vec<(u64, String)>,
    /// Where a member's agent will be reached, with the default ports 7600 to 7602. Agents without a
    /// host are on 127.0.0.1, each with ports of its own.
    #[arg(long, value_name = "MEMBER=HOST", value_parser = parse_agent)]
    pub(crate) agent: Vec<(String, String)>,
    /// For how long the workloads' certificates hold.
    #[arg(long, default_value = "24h", value_parser = parse_seconds, value_name = "TIME")]
    pub(crate) valid_for: i64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct IdentityArgs {
    #[command(subcommand)]
    pub(crate) command: IdentityCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    Issue(IdentityIssueArgs),
    Show(IdentityShowArgs),
}

/// Issue a certificate for a workload: an agent, a sidecar, a ledger node, an auditor.
///
/// The certificate names spiffe://MESH/MEMBER/ROLE/NAME and is signed by the member's own CA. It is
/// written to NAME.pem, its fresh key to NAME.key. Certificates are short-lived: issue a new one
/// before the old one ends, from cron or by the operator.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally identity issue --ca mesh/RZ9 --mesh dev.example --member RZ9 --role auditor --name kim --to .\n  \
tally identity issue --ca mesh/RZ9 --mesh dev.example --member RZ9 --role ledger --name 1 \
--ip 127.0.0.1 --to ledger-1")]
pub(crate) struct IdentityIssueArgs {
    /// The member's directory, with ca.pem and ca.key in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The mesh's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) mesh: String,
    /// The member.
    #[arg(long, value_name = "ID")]
    pub(crate) member: String,
    /// What the workload does: agent, sidecar, ledger, operator, officer or auditor.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: String,
    /// Which one; a ledger node's is its number.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// An address that plain HTTPS clients reach it by.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Vec<std::net::IpAddr>,
    /// For how long it holds.
    #[arg(long, default_value = "24h", value_parser = parse_seconds, value_name = "TIME")]
    pub(crate) valid_for: i64,
    /// The directory to write to.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Say whose certificate it is, who issued it, and whether it holds now; exit code 1 if not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally identity show ledger-1/node.pem")]
pub(crate) struct IdentityShowArgs {
    /// A file with certificates in PEM.
    #[arg(value_name = "FILE")]
    pub(crate) certificate: PathBuf,
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

/// Read a file as the program would: a mesh file, an agreement, or the configuration of an auditor or
/// a ledger node. What kind it is shows from its keys.
///
/// All that is wrong is told at once, each with its line; exit code 2 if anything is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally config check ledger-1/tally.toml\n  \
tally config show auditor.toml --output json")]
pub(crate) struct ConfigFileArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// A ledger node: run it, or ask how the nodes are.
///
/// Without a subcommand it runs the node of --config until SIGTERM or Ctrl-C, and then hands over,
/// saves and ends. Once it serves, bound.json in its data directory says where.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:\n  \
tally ledger --config ledger-1/tally.toml\n  \
TALLY_CONFIG=auditor.toml tally ledger status"
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
}

/// Read a record or a dataset of another member, through the own member's agent, as an application
/// would.
///
/// The body goes to standard output as it came. A refusal is told on standard error with what would
/// make it lawful and whom to ask; exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally get /fhir/RZ9/Patient/p1\n  \
tally get '/fhir/RZ9/Observation?patient=p1' --purpose TREAT --user 'staff|kim'\n  \
tally get /data/LZ9/spend > spend.csv --receipt spend.receipt.json")]
pub(crate) struct GetArgs {
    /// The path at the agent's ingress: /fhir/MEMBER/…, /data/MEMBER/DATASET, or /catalogue.
    #[arg(value_name = "URL-PATH")]
    pub(crate) path: String,
    /// Why: a v3-ActReason code such as TREAT. Without it the ingress's default.
    #[arg(long, value_name = "CODE")]
    pub(crate) purpose: Option<String>,
    /// Who asks, as system|value.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Why, in words.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Under which agreement.
    #[arg(long, value_name = "ID")]
    pub(crate) agreement: Option<String>,
    /// How the user is related to the person: referral|…, caseload|…, encounter|…, self-claimed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) relationship: Option<String>,
    /// A file for the receipt: with it, `tally audit check` shows offline that the release is on the
    /// ledger, and that the body is the one that was released.
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConsentArgs {
    #[command(subcommand)]
    pub(crate) command: ConsentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    Record(ConsentRecordArgs),
    Withdraw(ConsentWithdrawArgs),
    List(ConsentListArgs),
}

/// Record what a person has said. A no counts at once; a yes from when the ledger has it.
///
/// Of two that say different things about one purpose the later one holds; a no for a purpose covers
/// all below it.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("effect").required(true),
    after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally consent record --subject 'nhs-number|9990000018' --purpose TREAT --deny\n  \
tally consent record --subject - --object --requester LZ9 < person.txt"
)]
pub(crate) struct ConsentRecordArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
    /// For which purpose; without it for all.
    #[arg(long, value_name = "CODE")]
    pub(crate) purpose: Option<String>,
    /// For which member; may be repeated. Without it for all.
    #[arg(long, value_name = "MEMBER")]
    pub(crate) requester: Vec<String>,
    /// The person says yes.
    #[arg(long, group = "effect")]
    pub(crate) permit: bool,
    /// The person says no.
    #[arg(long, group = "effect")]
    pub(crate) deny: bool,
    /// The person objects: a no until the controller has ruled.
    #[arg(long, group = "effect")]
    pub(crate) object: bool,
    /// Why, in words; kept encrypted at the agent, and nowhere else.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Withdraw what a person has said before.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
tally consent withdraw --subject 'nhs-number|9990000018' --id 3")]
pub(crate) struct ConsentWithdrawArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
    /// Which directive: its id in `tally consent list`.
    #[arg(long, value_name = "ID")]
    pub(crate) id: u64,
}

/// List what a person has said, in the order in which it was recorded.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally consent list --subject 'nhs-number|9990000018'")]
pub(crate) struct ConsentListArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AgreementArgs {
    #[command(subcommand)]
    pub(crate) command: AgreementCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgreementCommand {
    Check(AgreementFileArgs),
    Propose(AgreementFileArgs),
    Sign(AgreementSignArgs),
    /// List the agreements that the ledger has.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally agreement list")]
    List,
    Show(AgreementShowArgs),
}

/// `check` says what is wrong with an agreement's file, and what its signers may not expect; `propose`
/// puts its document on the ledger, signed by nobody yet.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally agreement check dsa-1.toml\n  \
TALLY_CONFIG=RZ9/tally.toml tally agreement propose dsa-1.toml")]
pub(crate) struct AgreementFileArgs {
    /// The agreement's file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Sign an agreement as the member's officer: the configuration's [officer] says with which key.
///
/// It is in force between those who have signed it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  TALLY_CONFIG=LZ9/tally.toml tally agreement sign DSA-1@1")]
pub(crate) struct AgreementSignArgs {
    /// Which document: ID@VERSION, so that nobody signs another one than was read.
    #[arg(value_name = "ID@VERSION")]
    pub(crate) agreement: String,
}

/// Show one agreement: dates, parties, signatures, and what it shares.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally agreement show DSA-1")]
pub(crate) struct AgreementShowArgs {
    /// Its id.
    #[arg(value_name = "ID")]
    pub(crate) agreement: String,
}

/// A member's agent: runs until SIGTERM or Ctrl-C, then lets what is in flight end, and ends.
///
/// Once it serves, bound.json in its data directory says where.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally agent --config RZ9/tally.toml")]
pub(crate) struct AgentArgs {
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

fn rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows @ 1..=10_000) => Ok(rows),
        _ => Err("expected 1 to 10000".to_owned()),
    }
}

fn parse_agent(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((member, host)) if !member.is_empty() && !host.is_empty() => {
            Ok((member.to_owned(), host.to_owned()))
        }
        _ => Err("expected MEMBER=HOST".to_owned()),
    }
}

fn parse_node(text: &str) -> Result<(u64, String), String> {
    let (number, host) = text.split_once('=').ok_or("expected NUMBER=HOST")?;
    let number = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    if host.is_empty() {
        Err("expected NUMBER=HOST".to_owned())
    } else {
        Ok((number, host.to_owned()))
    }
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
