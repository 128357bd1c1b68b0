//! Who is in the cluster of ledger nodes: `tally ledger join`, `nodes`, `add` and so on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tally_core::id::MemberId;
use tally_core::register::Address;

/// Make the directory of a new ledger node: its log key, its configuration, and what to do next.
///
/// Run it on the machine of the new node. --config is that of an operator or auditor, whose sections
/// mesh and ledger say which mesh and where its nodes are; the running nodes are asked where their peers
/// reach them. The log key never leaves the directory. Nothing is changed in the mesh: the answer says
/// what the member's register must name, which a majority of the members approves, and how the node is
/// then started and added. A number that any node ever had is refused for ever: take the next free one.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
tally ledger join --config operator.toml --to ledger-4 --member RZ9 --node 4 \\\n    \
--host ledger4.rz9.example")]
pub(crate) struct JoinArgs {
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Whose node it is.
    #[arg(long, value_name = "MEMBER")]
    pub(crate) member: MemberId,
    /// Its number, which no node ever had.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: u64,
    /// The name or address that others reach it by.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: String,
    /// Where it listens.
    #[arg(long, default_value = "0.0.0.0", value_name = "IP")]
    pub(crate) listen: IpAddr,
    /// The first of its four ports: agents, HTTPS, health and peers, one after the other.
    #[arg(long, default_value_t = 7610, value_name = "PORT")]
    pub(crate) port: u16,
    /// Where a node is reached by its peers, if the running nodes do not know or say otherwise.
    #[arg(long = "peer", value_name = "NODE=HOST:PORT")]
    pub(crate) peers: Vec<PeerAddress>,
}

/// Add a ledger node to the cluster: it replicates, and has no vote yet.
///
/// Only an operator of the node's own member may, and only once the member's register names the node.
/// Waits until it has caught up and shows how far it is. Ctrl-C leaves the node in the cluster: the
/// same command goes on waiting. Done twice is done once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
tally ledger add 4 --raft-address ledger4.rz9.example:7613 --config operator.toml\n  \
tally ledger add 4 --raft-address ledger4.rz9.example:7613 --promote --config operator.toml")]
pub(crate) struct AddNodeArgs {
    /// Its number.
    #[arg(value_name = "NODE")]
    pub(crate) node: u64,
    /// Where its peers reach it, over UDP.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) raft_address: Address,
    /// Give it a vote as soon as it has caught up.
    #[arg(long)]
    pub(crate) promote: bool,
    #[command(flatten)]
    pub(crate) expected: ExpectedArgs,
}

/// Give a ledger node that has caught up a vote.
///
/// Waits while it is more than 1,000 entries behind. An odd number of voters is better: a fourth one
/// lets the cluster lose no more machines than three.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally ledger promote 4 --config operator.toml")]
pub(crate) struct PromoteArgs {
    /// Its number.
    #[arg(value_name = "NODE")]
    pub(crate) node: u64,
    #[command(flatten)]
    pub(crate) expected: ExpectedArgs,
}

/// Let a ledger node leave the cluster, whether it votes or not, runs or not.
///
/// A leader hands over first. A member's operator may remove its own nodes; somebody else's only once
/// no register names them any more. Afterwards have the member's register leave the node out: then its
/// number is refused for ever.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "leave",
    after_long_help = "Example:\n  tally ledger remove 2 --config operator.toml"
)]
pub(crate) struct RemoveArgs {
    /// Its number.
    #[arg(value_name = "NODE")]
    pub(crate) node: u64,
    #[command(flatten)]
    pub(crate) expected: ExpectedArgs,
}

/// Give a vote to one ledger node in the place of another, as one change: after the loss of a disk.
///
/// The new node, with a number of its own, is joined and added before. The cluster never has fewer
/// voters in between.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally ledger replace 2 5 --config operator.toml")]
pub(crate) struct ReplaceArgs {
    /// The number of the voter that goes.
    #[arg(value_name = "OLD")]
    pub(crate) old: u64,
    /// The number of the learner that comes.
    #[arg(value_name = "NEW")]
    pub(crate) new: u64,
    #[command(flatten)]
    pub(crate) expected: ExpectedArgs,
}

/// Let another ledger node lead.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  tally ledger transfer 3 --config operator.toml")]
pub(crate) struct TransferArgs {
    /// The voter that is to lead.
    #[arg(value_name = "NODE")]
    pub(crate) node: u64,
}

/// On what a change was decided, and at what price.
#[derive(Debug, clap::Args)]
pub(crate) struct ExpectedArgs {
    /// Only if the cluster is still as `tally ledger nodes` showed it: its entry, TERM-LEADER-INDEX.
    /// Without it, as it is when the command begins.
    #[arg(long, value_name = "ENTRY")]
    pub(crate) expected: Option<ExpectedId>,
    /// Even if then no majority of the voters is known to be reachable and trusted.
    #[arg(long)]
    pub(crate) force: bool,
}

/// The name of an entry in the Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpectedId {
    pub(crate) term: u64,
    pub(crate) leader: u64,
    pub(crate) index: u64,
}

/// Where a node is reached by its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    pub(crate) node: u64,
    pub(crate) address: Address,
}

impl FromStr for ExpectedId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split('-').map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(term)), Some(Ok(leader)), Some(Ok(index)), None) => {
                Ok(Self { term, leader, index })
            }
            _ => Err("expected TERM-LEADER-INDEX, as tally ledger nodes shows it".to_owned()),
        }
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NODE=HOST:PORT".to_owned();
        let (node, address) = text.split_once('=').ok_or_else(expected)?;
        let node = node.parse().map_err(|_| expected())?;
        let address = address.parse().map_err(|_| expected())?;
        Ok(Self { node, address })
    }
}
