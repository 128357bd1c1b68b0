//! What is done for a member through its agent: `tally get`, `catalogue`, `consent`, `agreement`.

use std::path::PathBuf;

use clap::Subcommand;

use super::data::ShownArgs;

/// Read a record or a dataset of another member, through the own member's agent, as an application
/// would.
///
/// The body goes to standard output as it came. A refusal is told on standard error with what would
/// make it lawful and whom to ask; exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally get /fhir/RZ9/Patient/p1\n  \
tally get '/fhir/RZ9/Observation?patient=p1' --purpose TREAT --user 'staff|kim'\n  \
tally get /data/LZ9/spend > spend.csv --receipt spend.receipt.json\n  \
tally get /fhir/RZ9/Patient/p1 --cert ward.pem --key ward.key")]
pub(crate) struct GetArgs {
    /// The path at the agent's ingress: /fhir/MEMBER/…, /data/MEMBER/DATASET, or /catalogue; or the URL of
    /// a link in a searchset.
    #[arg(value_name = "URL-PATH")]
    pub(crate) path: String,
    /// Why: a v3-ActReason code such as TREAT. Without it the ingress's default.
    #[arg(long, value_name = "CODE")]
    pub(crate) purpose: Option<String>,
    /// Who asks, as system|value.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A file with the user's token, for an ingress that takes tokens.
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
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
    /// With a receipt whose checkpoint a quorum of the ledger's witnesses has cosigned.
    #[arg(long, requires = "receipt")]
    pub(crate) witnessed: bool,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
}

/// Show who is in the mesh, what each member shares with this one, and whether that may be asked for today.
///
/// Where it may not, the codes say what is in the way: tally explain CODE. What nothing is in the way of
/// may still be refused, for the person, the user or the relationship.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally catalogue\n  \
tally catalogue RZ9 --output json\n  \
tally catalogue --output csv > catalogue.csv")]
pub(crate) struct CatalogueArgs {
    /// One member: its id, or a code that it has today.
    #[arg(value_name = "MEMBER")]
    pub(crate) member: Option<String>,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
}

/// Look what is in the way: names, UDP, the size of datagrams, certificates, the clock, the ledger, the
/// store.
///
/// Without MEMBER all members that have an address are dialled, and all ledger nodes; from this machine, as
/// the agent would. Each check says what was found; one that failed, whose fault it is and what to do, and
/// where UDP does not get through, the request to send to whoever keeps the firewall. Exit code 0 if all is
/// well, 1 if something is wrong, 2 if the configuration is, 3 if somebody is not reached.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally doctor\n  \
tally doctor RZ9 --output json")]
pub(crate) struct DoctorArgs {
    /// The member that is not reached: its id.
    #[arg(value_name = "MEMBER")]
    pub(crate) member: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConsentArgs {
    #[command(subcommand)]
    pub(crate) command: ConsentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    Record(ConsentRecordArgs),
    Import(ConsentImportArgs),
    Withdraw(ConsentWithdrawArgs),
    List(ConsentListArgs),
    Explain(Box<ConsentExplainArgs>),
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

/// Import a FHIR Consent (R4 JSON, as IHE's Privacy Consent on FHIR profiles it).
///
/// It is taken over whole or refused, with the place and the reason. What it denies counts at once,
/// what it permits from when the ledger has it. It stands beside all that its person has said, and a
/// no beats a yes: withdraw a consent that it replaces.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally consent import consent.json\n  \
tally consent import - --actor Group/night-shift=LZ9 < consent.json")]
pub(crate) struct ConsentImportArgs {
    /// The Consent; `-` reads it from standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Which member a recipient stands for, if its code or its id does not say so: REFERENCE=MEMBER;
    /// may be repeated. Of one whom nobody knows, a permit reaches nobody, and a denial everybody.
    #[arg(long, value_name = "REFERENCE=MEMBER")]
    pub(crate) actor: Vec<String>,
    /// What officers should know of it, in words; kept encrypted at the agent, and nowhere else.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Say which directive, and which provision of a Consent, decides about a request for one record of a
/// person, and what each of the others says.
///
/// What is not told of the record counts as not known: a no then reaches it, and a yes does not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally consent explain --subject 'nhs-number|9990000018' --requester LZ9 --purpose TREAT\n  \
tally consent explain --subject - --requester LZ9 --purpose TREAT --type Observation --label R < person.txt")]
pub(crate) struct ConsentExplainArgs {
    /// Who: nhs-number|NUMBER, or MEMBER/Patient|ID; `-` reads it from standard input.
    #[arg(long, value_name = "PERSON")]
    pub(crate) subject: String,
    /// Which member asks.
    #[arg(long, value_name = "MEMBER")]
    pub(crate) requester: String,
    /// Why.
    #[arg(long, value_name = "CODE")]
    pub(crate) purpose: String,
    /// On which day; without it today.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) on: Option<String>,
    /// The record's FHIR type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// The record's id.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// A label of the record, such as N, R or PSY, or SYSTEM|CODE; may be repeated.
    #[arg(long, value_name = "CODE")]
    pub(crate) label: Vec<String>,
    /// The day that the record is about.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) date: Option<String>,
    /// Who wrote the record, as Practitioner/ID; may be repeated.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) author: Vec<String>,
    /// The encounter that the record belongs to, as Encounter/ID; may be repeated.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) encounter: Vec<String>,
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
    Check(AgreementCheckArgs),
    Propose(AgreementFileArgs),
    Sign(AgreementSignArgs),
    Accede(AgreementAccedeArgs),
    Accept(AgreementAcceptArgs),
    Suspend(AgreementSuspendArgs),
    Resume(AgreementResumeArgs),
    /// List the agreements that the ledger has.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally agreement list")]
    List,
    Show(AgreementShowArgs),
}

/// Say what is wrong with an agreement's file, all of it at once, and what its signers should know.
///
/// Whatever is missing or contradicts itself is told with its line; exit code 2 if anything is. What
/// may be signed and is worth a second thought comes as a warning.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally agreement check dsa-1.toml\n  \
tally agreement check --plain dsa-1.toml")]
pub(crate) struct AgreementCheckArgs {
    /// The agreement's file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print what it says as plain English.
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Put an agreement's document on the ledger, signed by nobody yet.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally agreement propose dsa-1.toml"
)]
pub(crate) struct AgreementFileArgs {
    /// The agreement's file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Sign an agreement as the member's officer: the configuration's `[officer]` says with which key.
///
/// It is in force between those who have signed it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  TALLY_CONFIG=LZ9/tally.toml tally agreement sign DSA-1@1")]
pub(crate) struct AgreementSignArgs {
    /// Which document: ID@VERSION, so that nobody signs another one than was read.
    #[arg(value_name = "ID@VERSION")]
    pub(crate) agreement: String,
}

/// Join an agreement as somebody who asks: makes its next version, signs it, and writes it to a file
/// for those who give.
///
/// Once all of them have accepted, it is put on the ledger. Nothing changes for the other parties: what
/// they signed stands.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ8/tally.toml tally agreement accede DSA-1 --to joins.json\n  \
TALLY_CONFIG=RZ8/tally.toml tally agreement accede DSA-1 --share RZ9/fhir --to joins.json\n  \
TALLY_CONFIG=RZ9/tally.toml tally agreement accept joins.json")]
pub(crate) struct AgreementAccedeArgs {
    /// Its id.
    #[arg(value_name = "ID")]
    pub(crate) agreement: String,
    /// What to ask for; may be repeated. Without it all that the agreement shares.
    #[arg(long, value_name = "PROVIDER/SOURCE")]
    pub(crate) share: Vec<String>,
    /// The file for those who give.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Accept that a member joins an agreement, as the officer of somebody who gives.
///
/// The signature is added to the file. Once nobody's is missing, it is put on the ledger.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally agreement accept joins.json"
)]
pub(crate) struct AgreementAcceptArgs {
    /// The file that `tally agreement accede` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Suspend an agreement for the own member: nothing is given to it or by it under that agreement,
/// from the next decision on, until it resumes.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  TALLY_CONFIG=LZ9/tally.toml tally agreement suspend DSA-1"
)]
pub(crate) struct AgreementSuspendArgs {
    /// Its id.
    #[arg(value_name = "ID")]
    pub(crate) agreement: String,
}

/// Resume an agreement that the own member has suspended. What another party has suspended stays so.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  TALLY_CONFIG=LZ9/tally.toml tally agreement resume DSA-1")]
pub(crate) struct AgreementResumeArgs {
    /// Its id.
    #[arg(value_name = "ID")]
    pub(crate) agreement: String,
}

/// Show one agreement: dates, parties, signatures, and what it shares.
///
/// Entries of the ledger name the version that they rest on: an old one is shown as it was then.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally agreement show DSA-1\n  \
tally agreement show DSA-1@1\n  \
tally agreement show --plain DSA-1")]
pub(crate) struct AgreementShowArgs {
    /// Its id, and a version if not the present one is meant.
    #[arg(value_name = "ID[@VERSION]")]
    pub(crate) agreement: String,
    /// Print what it says as plain English.
    #[arg(long)]
    pub(crate) plain: bool,
}
