//! Every key of an agent's configuration: for `docs/configuration.md`, and for `tally config show`.

use tally_core::file::{Setting, Unsaid};

use super::shared;
use Unsaid::{Is, Nothing, Required};

/// All of them, in the order in which they are told.
pub const REFERENCE: &[Setting] = &[
    shared::TALLY,
    Setting::row(
        "data_dir",
        Required,
        "The agent's directory: its store, its admin socket, what it says of itself. It is the agent's alone.",
    ),
    shared::LOG_FORMAT,
    shared::LOG_LEVEL,
    Setting::row("member", Required, "Whose agent it is."),
    Setting::row(
        "operator",
        Nothing,
        "The member's processor, if one runs its agent: its id stands in the entries, and the certificate has to name it.",
    ),
    Setting::row("mesh.id", Required, "The mesh: 64 hexadecimal digits, the hash of its genesis."),
    Setting::row("mesh.genesis", Required, "The file with the genesis."),
    Setting::row(
        "mesh.ledger",
        Nothing,
        "Where ledger nodes are reached, HOST:PORT each; where nothing is said, as the genesis says. Those that registers name beside them are found too.",
    ),
    Setting::row(
        "identity.cert",
        Required,
        "The certificate chain, in PEM. Followed: another one is presented from the next handshake on.",
    ),
    shared::IDENTITY_KEY,
    Setting::row(
        "identity.ca",
        Nothing,
        "The member's own CA, in PEM: a certificate that it does not vouch for is told at the start.",
    ),
    Setting::row(
        "agent.key",
        Required,
        "Signs sessions and batches; its public half is in the register of the member.",
    ),
    Setting::row(
        "witness.key",
        Nothing,
        "Signs the cosignatures of the member's witness; without it the agent is none.",
    ),
    Setting::row("quic.listen", Is("\"0.0.0.0:7600\""), "Where other agents reach it, over UDP."),
    shared::INGRESS_LISTEN,
    shared::INGRESS_CERT,
    shared::INGRESS_KEY,
    shared::INGRESS_CLIENT_CA,
    Setting::row("ingress.purpose", Nothing, "The purpose of requests that state none."),
    Setting::row(
        "ingress.base_url",
        Nothing,
        "Where applications see the ingress, if not where it listens: links in answers begin with it. What a request says of proxies is never believed.",
    ),
    Setting::row(
        "ingress.user",
        Is("\"header\""),
        "How the user is known: `header`, `jwt` or `service:NAME`.",
    ),
    Setting::row(
        "ingress.jwks",
        Nothing,
        "For `jwt`: the issuer's public keys. Read again when the file changes.",
    ),
    Setting::row("ingress.issuer", Nothing, "For `jwt`: the only `iss` that is taken."),
    Setting::row("ingress.audience", Nothing, "For `jwt`: what `aud` has to name."),
    Setting::row(
        "ingress.unsigned_tokens",
        Is("false"),
        "For `jwt`: whether tokens without a signature are taken too; their users are asserted.",
    ),
    shared::HEALTH_LISTEN,
    Setting::row(
        "source[].id",
        Required,
        "The id by which others ask for it: `fhir` for records, anything else for a dataset.",
    ),
    Setting::row("source[].kind", Required, "`fhir`, `fhir-directory`, `files` or `postgres`."),
    Setting::row(
        "source[].path",
        Nothing,
        "For `fhir-directory` and `files`, which need it: the directory with records, or the file or directory of the dataset.",
    ),
    Setting::row("source[].title", Nothing, "What it is called in the catalogue."),
    Setting::row("source[].licence", Nothing, "Under which licence it is."),
    Setting::row(
        "source[].identifiers",
        Is("\"checked\""),
        "Whether NHS numbers must have a right check digit: `checked` or `synthetic`.",
    ),
    Setting::row(
        "source[].opt_out",
        Is("\"health\""),
        "What the national data opt-out says of it: `health`, `social-care` or `not-care`.",
    ),
    Setting::row(
        "source[].subjects",
        Nothing,
        "For `fhir` and `fhir-directory`: a file that says which NHS number each Patient has.",
    ),
    Setting::row(
        "source[].person",
        Nothing,
        "For `files` and `postgres`, which need it: `\"none\"`, or the column that says whom a row is about: `{ column = \"…\", system = \"nhs-number\" }`.",
    ),
    Setting::row(
        "source[].url",
        Nothing,
        "For `fhir`, which needs it: the base URL of the server, `https`, or `http` on this machine.",
    ),
    Setting::row(
        "source[].auth",
        Nothing,
        "For `fhir`: how the agent says who it is there, a table with `kind`, or `\"none\"`, the default.",
    ),
    Setting::row(
        "source[].ca",
        Nothing,
        "For `fhir` and `postgres`: who vouches for the server, in PEM; needed unless it is on this machine without TLS.",
    ),
    Setting::row(
        "source[].cert",
        Nothing,
        "For `fhir` and `postgres`: the agent's own certificate there, in PEM. Followed.",
    ),
    Setting::row("source[].key", Nothing, "Its key, in PEM. Followed with it."),
    Setting::row(
        "source[].socket",
        Nothing,
        "For `postgres`: the directory of the server's Unix socket; this or `host` is needed.",
    ),
    Setting::row("source[].host", Nothing, "For `postgres`: the server's name or address, by TLS."),
    Setting::row("source[].port", Nothing, "For `postgres`: 5432 where it is not said."),
    Setting::row(
        "source[].tls",
        Nothing,
        "For `postgres`: `\"verify\"`, or `\"off\"` on this machine.",
    ),
    Setting::row("source[].database", Nothing, "For `postgres`, which needs it: the database."),
    Setting::row(
        "source[].user",
        Nothing,
        "For `postgres`, which needs it: as whom it is asked; a role that may read and nothing else.",
    ),
    Setting::row(
        "source[].password_file",
        Nothing,
        "For `postgres`: the file with the password, read for each connection.",
    ),
    Setting::row(
        "source[].password_env",
        Nothing,
        "For `postgres`: the variable with the password, instead.",
    ),
    Setting::row(
        "source[].query",
        Nothing,
        "For `postgres`, which needs it: what is asked; `:name` is a parameter.",
    ),
    Setting::row(
        "source[].parameters",
        Nothing,
        "For `postgres`: the types of its parameters, by name.",
    ),
    Setting::row(
        "source[].connections_max",
        Nothing,
        "For `postgres`: connections at once, 4 where it is not said.",
    ),
    Setting::row(
        "source[].connect_timeout_ms",
        Nothing,
        "For `fhir` and `postgres`: until a connection is there, 2000 where it is not said.",
    ),
    Setting::row(
        "source[].answer_timeout_ms",
        Nothing,
        "For `fhir`: until the first byte of an answer, 5000 where it is not said.",
    ),
    Setting::row(
        "source[].whole_timeout_ms",
        Nothing,
        "For `fhir`: for all that one read needs, 9000 where it is not said.",
    ),
    Setting::row(
        "source[].statement_timeout_ms",
        Nothing,
        "For `postgres`: how long the server may work, 8000 where it is not said.",
    ),
    Setting::row(
        "source[].attempts_max",
        Nothing,
        "For `fhir`: how often a read is tried, 3 where it is not said.",
    ),
    Setting::row(
        "source[].answer_bytes_max",
        Nothing,
        "For `fhir`: of one answer, 4 MiB where it is not said.",
    ),
    Setting::row(
        "alerts.webhook",
        Nothing,
        "Where privacy officers' alerts go beside `alerts.jsonl`; https, or http on this machine. Hidden by `tally config show`.",
    ),
    Setting::row("alerts.ca", Nothing, "Who vouches for it, in PEM."),
    Setting::row(
        "opt_out.nation",
        Is("\"england\""),
        "Whose opt-out reaches its records: `england`, `wales`, `scotland` or `northern-ireland`.",
    ),
    Setting::row("opt_out.mailbox", Nothing, "The MESH mailbox that requests are sent from."),
    Setting::row(
        "opt_out.answer_age_max_s",
        Is("604800"),
        "How old an answer may be, in seconds from its request.",
    ),
    Setting::row(
        "policy.when",
        Nothing,
        "The member's own policy: a condition as in agreements, which can only forbid.",
    ),
    Setting::row(
        "retention.years",
        Is("8"),
        "For how many years it can be told whom an entry is about.",
    ),
    Setting::row(
        "officer.role",
        Nothing,
        "With `officer.key`: in which office `tally agreement sign` signs; the agent ignores it.",
    ),
    Setting::row("officer.key", Nothing, "The officer's key."),
    Setting::row(
        "limits.exchanges_max",
        Is("1024"),
        "Exchanges in flight as provider; then `too-busy`.",
    ),
    Setting::row(
        "limits.exchanges_per_member_max",
        Is("768"),
        "Those of them that one requester may have, three quarters of all where nothing is said; then `quota-exceeded`.",
    ),
    Setting::row(
        "limits.exchanges_per_source_max",
        Is("512"),
        "Those of them that wait for one source to say what it has, half of all where nothing is said; then `too-busy`. A source that answers slowly leaves the others their places.",
    ),
    Setting::row(
        "limits.requests_max",
        Is("1024"),
        "Exchanges in flight as requester; then `too-busy`.",
    ),
    Setting::row(
        "limits.requests_per_user_max",
        Is("256"),
        "Those of them that one user may have, a quarter of all where nothing is said; then `user-quota-exceeded`. Applications that ask for themselves are not counted.",
    ),
    Setting::row(
        "limits.care_reserve_percent",
        Is("25"),
        "Of a hundred places, as provider and as requester, those that direct care, safeguarding and emergencies alone may take; then `kept-for-care`.",
    ),
    Setting::row(
        "limits.ingress_connections_max",
        Is("1024"),
        "Connections of applications. Beyond them, whoever has asked nothing for longest gives way; if all are being answered, who comes is told `too-busy`.",
    ),
    Setting::row(
        "limits.outbox_entries_max",
        Is("65536"),
        "Entries that may wait for the ledger before nothing new begins.",
    ),
    Setting::row(
        "limits.refusals_max",
        Is("20"),
        "Refusals per requester, code and minute that become entries of their own; the rest is counted.",
    ),
    Setting::row("limits.break_glass_seconds", Is("3600"), "How long a break-glass episode lasts."),
    Setting::row(
        "limits.break_glass_reason_chars_min",
        Is("10"),
        "How long its reason must be, in characters.",
    ),
    Setting::row("limits.review_wait_seconds", Is("432000"), "When its review is overdue."),
    Setting::row(
        "limits.offline_feed_age_seconds",
        Is("86400"),
        "How old the registers may be for an emergency without the ledger.",
    ),
    Setting::row(
        "limits.drain_wait_seconds",
        Is("30"),
        "How long what has begun may go on once the agent is told to end.",
    ),
    Setting::row(
        "limits.spool_bytes_max",
        Is("268435456"),
        "Bytes of one body about people that is read before the decision and does not fit into memory (1 MiB): it lies encrypted in `data_dir/spool`; then `too-large`.",
    ),
    Setting::row(
        "limits.spool_total_bytes_max",
        Is("1073741824"),
        "Bytes of all such bodies together, each as it was read and as it leaves; then `spool-full`.",
    ),
];
