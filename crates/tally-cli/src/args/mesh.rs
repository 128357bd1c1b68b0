//! `tally mesh` and `tally identity`: how a mesh and its workloads begin.

use std::path::PathBuf;

use clap::Subcommand;

use super::registers::{ProtocolArgs, WitnessesArgs};
use crate::system::parse_seconds;

#[derive(Debug, clap::Args)]
pub(crate) struct MeshArgs {
    #[command(subcommand)]
    pub(crate) command: MeshCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MeshCommand {
    Init(MeshInitArgs),
    /// Show the mesh: its id, its members and ledger nodes, its rules, and who cosigns.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally mesh show")]
    Show,
    /// Groups of members, which agreements may name instead of listing them.
    Group(GroupArgs),
    /// Who cosigns the ledger's checkpoints.
    Witnesses(WitnessesArgs),
    /// The version of the ledger's rules.
    Protocol(ProtocolArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    pub(crate) command: GroupCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    Propose(GroupProposeArgs),
    Approve(GroupApproveArgs),
    /// List the groups that the ledger has, and who is in them.
    #[command(after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally mesh group list")]
    List,
}

/// Propose who is in a group: all of them, whoever is in it now. Writes a file for the officers of the
/// other members.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
TALLY_CONFIG=LZ9/tally.toml tally mesh group propose councils LZ9 LZ8 --to councils.json")]
pub(crate) struct GroupProposeArgs {
    /// Its name: it begins with a small letter.
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,
    /// Its members; none: nobody is in it any more.
    #[arg(value_name = "MEMBER")]
    pub(crate) members: Vec<String>,
    /// The file for the officers.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Approve who is to be in a group, as the member's officer.
///
/// Who would be in it, who is new and who would be no longer, is shown on standard error first. The
/// signature is added to the file. Once more than half of the members have approved, it is put on
/// the ledger.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  TALLY_CONFIG=RZ9/tally.toml tally mesh group approve councils.json"
)]
pub(crate) struct GroupApproveArgs {
    /// The file that `tally mesh group propose` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
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
tally identity issue --ca mesh/RZ9 --mesh dev.example --member RZ9 --role sidecar --name pas --to pas\n  \
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
    /// The member's processor, if one runs the workload: its id, which the certificate then names.
    #[arg(long, value_name = "ID")]
    pub(crate) operator: Option<String>,
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

/// Say whose certificate it is, who issued it, for how long it holds, and whether key and CA fit.
///
/// Without FILE, that of --config: of an agent, a sidecar, a ledger node or an auditor, with the key and the CA
/// that it names. Exit code 1 if it does not hold now, the key is another certificate's, or the CA does
/// not vouch for it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally identity show ledger-1/node.pem\n  \
tally identity show --config RZ9/tally.toml --output json\n  \
tally identity show new.pem --key new.key --ca RZ9/ca.pem")]
pub(crate) struct IdentityShowArgs {
    /// A file with certificates in PEM.
    #[arg(value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// The file with the key that should be its own.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// The file with the member's CA, which should vouch for it.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) ca: Option<PathBuf>,
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
