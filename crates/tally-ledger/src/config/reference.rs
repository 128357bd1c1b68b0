//! Every key of a ledger node's configuration: for `docs/configuration.md`, and for `tally config show`.

use tally_core::file::{Setting, Unsaid};

use Unsaid::{Is, Nothing, Required};

/// All of them, in the order in which they are told.
pub const REFERENCE: &[Setting] = &[
    Setting::row("tally", Required, "The form of the file: 1."),
    Setting::row(
        "data_dir",
        Required,
        "The node's directory: log, applied state, tiles. It is the node's alone.",
    ),
    Setting::row(
        "log_format",
        Is("\"human\""),
        "How it writes what happens to standard error: `human` or `json`, one object in each line.",
    ),
    Setting::row(
        "log_level",
        Is("\"warn\""),
        "What it writes, and all that is graver: `error`, `warn`, `info` or `debug`. Changes of role, leader and cluster are always written.",
    ),
    Setting::row("member", Required, "The member that runs it."),
    Setting::row("node_id", Required, "Its number, never used twice."),
    Setting::row(
        "epoch",
        Nothing,
        "The epoch in which an empty directory begins, for a node that joins after a forced recovery; the first where nothing is said.",
    ),
    Setting::row("mesh.id", Required, "The mesh: 64 hexadecimal digits, the hash of its genesis."),
    Setting::row("mesh.genesis", Required, "The file with the genesis."),
    Setting::row(
        "identity.cert",
        Required,
        "The certificate chain, in PEM. Followed: another one is presented from the next handshake on.",
    ),
    Setting::row("identity.key", Required, "The certificate's key, in PEM. Followed with it."),
    Setting::row(
        "identity.ca",
        Nothing,
        "The member's own CA, in PEM: a certificate that it does not vouch for is told at the start.",
    ),
    Setting::row(
        "log.key",
        Required,
        "Signs checkpoints; its public half is in the register of the member. Never replaced.",
    ),
    Setting::row(
        "witnesses.ca",
        Nothing,
        "Who vouches for witnesses that are reached over https, in PEM.",
    ),
    Setting::row("raft.listen", Is("\"0.0.0.0:7613\""), "Where its peers reach it, over UDP."),
    Setting::row(
        "raft.address",
        Nothing,
        "Where nodes that join later reach the node that founded the mesh.",
    ),
    Setting::row("raft.peer[].node_id", Required, "Another node that founded the mesh."),
    Setting::row("raft.peer[].address", Required, "Where that one is reached by this."),
    Setting::row("agents.listen", Is("\"0.0.0.0:7610\""), "Where agents reach it, over UDP."),
    Setting::row(
        "https.listen",
        Is("\"0.0.0.0:7611\""),
        "Where it is read and administered, over TCP.",
    ),
    Setting::row(
        "health.listen",
        Is("\"0.0.0.0:7612\""),
        "Where `/live`, `/ready` and `/metrics` are, over TCP.",
    ),
    Setting::row("limits.agents_connections_max", Is("1024"), "Connections of agents."),
    Setting::row("limits.agents_member_connections_max", Is("128"), "Those of one member."),
    Setting::row(
        "limits.https_connections_max",
        Is("256"),
        "HTTPS connections with a certificate, and again as many without.",
    ),
    Setting::row("limits.https_member_connections_max", Is("64"), "Those of one member."),
    Setting::row(
        "limits.log_cache_bytes_max",
        Is("16777216"),
        "Bytes of the log that are kept in memory.",
    ),
];
