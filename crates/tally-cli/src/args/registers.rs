//! `tally member`, and what of `tally mesh` the members decide together: registers that go round among
//! their officers.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    pub(crate) command: MemberCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// List the members of the mesh: codes, offices, ledger nodes, how each was assessed.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally member list")]
    List,
    New(MemberNewArgs),
    Key(MemberKeyArgs),
    Admit(MemberAdmitArgs),
    Propose(MemberProposeArgs),
    /// Propose that a member is suspended: for 24 hours it may still record what it owes.
    #[command(
        after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally member suspend QX1 --to paper.json"
    )]
    Suspend(MemberStatusArgs),
    /// Propose that a suspended member takes part again.
    #[command(
        after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally member resume QX1 --to paper.json"
    )]
    Resume(MemberStatusArgs),
    /// Propose that a member leaves the mesh. Its connections end, and what it did stays its own.
    #[command(
        after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally member remove QX1 --to paper.json"
    )]
    Remove(MemberStatusArgs),
    Approve(MemberApproveArgs),
}

/// Make the keys of a new member, and the file with which others admit it.
///
/// Makes its certificate authority, its agent's key and its officers' keys in a directory, and
/// member.toml beside them, which holds public halves only. Run it where the member's secrets are to
/// stay; add address and ledger nodes to the file, and send it to a member of the mesh.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
tally member new QX1 --name \"Otherton ICB\" --to QX1")]
pub(crate) struct MemberNewArgs {
    /// Its id, for ever.
    #[arg(value_name = "MEMBER")]
    pub(crate) member: String,
    /// The organisation's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Show the public half of a key, as it stands in a member's file. Makes the key if there is none.
///
/// To replace a key: make the next one here, propose its public half, and put the file in the old
/// one's place once the ledger has the change. An agent's session ends with its old key: start the
/// agent again with the new one then.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally member key agent RZ9/agent-2.key")]
pub(crate) struct MemberKeyArgs {
    /// What it is for: agent or officer.
    #[arg(value_name = "USE")]
    pub(crate) used_for: String,
    /// The key file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Propose that a new member is admitted. Writes a file for the officers of the members.
///
/// The member's own file says what it is called, its certificate authority and its public keys.
/// All that is wrong with it is told at once, each with its line.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally member admit QX1/member.toml --to admit-QX1.json")]
pub(crate) struct MemberAdmitArgs {
    /// The member's file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The file for the officers.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Propose a change of a member: its name, codes, keys, address, assessment or ledger nodes. Writes a
/// file for the officers of the members.
///
/// The file that says the change names the member, and what is to be other than it is; everything
/// else stays. Keys: name, codes, supersedes, dspt, address (or "none"), ca (a file), agent_key,
/// officers, remove_officers, a table node with number, vkey, quic and https, remove_nodes. Nothing
/// changes before a majority of the members has approved.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=RZ9/tally.toml tally member propose change.toml --to change.json\n  \
TALLY_CONFIG=RZ9/tally.toml tally member propose --member RZ9 --set \"name=Anytown Trust\" --to change.json\n\n\
A change that adds a ledger node:\n  \
tally = 1\n  \
id = \"RZ9\"\n  \
[[node]]\n  \
number = 4\n  \
vkey = \"dev.example/ledger/0+1a2b3c4d+AX…\"\n  \
quic = \"ledger4.rz9.example:7610\"\n  \
https = \"ledger4.rz9.example:7611\"")]
pub(crate) struct MemberProposeArgs {
    /// The file that says the change.
    #[arg(value_name = "FILE", required_unless_present = "member", conflicts_with = "member")]
    pub(crate) file: Option<PathBuf>,
    /// The member, where the change is said here.
    #[arg(long, value_name = "MEMBER", requires = "set")]
    pub(crate) member: Option<String>,
    /// One key of such a file, and its text.
    #[arg(long, value_name = "KEY=TEXT", value_parser = parse_set, conflicts_with = "file")]
    pub(crate) set: Vec<(String, String)>,
    /// The file for the officers.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Propose how a member takes part.
#[derive(Debug, clap::Args)]
pub(crate) struct MemberStatusArgs {
    /// The member.
    #[arg(value_name = "MEMBER")]
    pub(crate) member: String,
    /// The file for the officers.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Approve a change of a member, as the own member's officer.
///
/// What would change, from what to what, is shown on standard error first. The signature is added to
/// the file. Once more than half of the members have approved, it is put on the ledger.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=LZ9/tally.toml tally member approve admit-QX1.json")]
pub(crate) struct MemberApproveArgs {
    /// The file that was made to be signed.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WitnessesArgs {
    #[command(subcommand)]
    pub(crate) command: WitnessesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WitnessesCommand {
    /// List who cosigns the ledger's checkpoints.
    #[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally mesh witnesses list")]
    List,
    Propose(WitnessesProposeArgs),
    Approve(RegisterApproveArgs),
}

/// Propose who cosigns the ledger's checkpoints: all of them, whoever does now. Writes a file for the
/// officers of the members.
///
/// A member's witness is its agent, which dials out; a third party's is a tlog-witness server with a
/// URL. Keys are C2SP verifier keys of cosignatures, as witnesses publish them. At most 16 sign a
/// checkpoint, ledger nodes and witnesses together.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally mesh witnesses propose witnesses.toml --to witnesses.json\n\n\
The file:\n  \
tally = 1\n  \
[[witness]]\n  \
member = \"RZ9\"\n  \
vkey = \"dev.example/witness/RZ9+1a2b3c4d+BG…\"\n  \
[[witness]]\n  \
url = \"https://witness.example/\"\n  \
vkey = \"witness.example+5e6f7a8b+BH…\"")]
pub(crate) struct WitnessesProposeArgs {
    /// The file that says who.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The file for the officers.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Approve, as the member's officer.
///
/// What would change, from what to what, is shown on standard error first. The signature is added to
/// the file. Once more than half of the members have approved, it is put on the ledger.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
TALLY_CONFIG=LZ9/tally.toml tally mesh witnesses approve witnesses.json\n  \
TALLY_CONFIG=LZ9/tally.toml tally mesh protocol approve rules.json")]
pub(crate) struct RegisterApproveArgs {
    /// The file that was made to be signed.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProtocolArgs {
    #[command(subcommand)]
    pub(crate) command: ProtocolCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProtocolCommand {
    /// Show the version of the ledger's rules, and which versions its nodes know.
    #[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally mesh protocol show")]
    Show,
    Propose(ProtocolProposeArgs),
    Approve(RegisterApproveArgs),
}

/// Propose that the ledger's rules are raised to a version. Writes a file for the officers of the
/// members.
///
/// Refused until a majority of the ledger nodes know the version: a node that does not know it stops
/// when the rules are raised, and goes on once it is upgraded. Rules only go up.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=RZ9/tally.toml tally mesh protocol propose 2 --to rules.json")]
pub(crate) struct ProtocolProposeArgs {
    /// The version.
    #[arg(value_name = "VERSION")]
    pub(crate) version: u64,
    /// The file for the officers.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, text)) if !key.is_empty() => Ok((key.to_owned(), text.to_owned())),
        _ => Err("expected KEY=TEXT".to_owned()),
    }
}
