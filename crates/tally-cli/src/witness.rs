//! `tally witness`: the key of the member's witness, how it is, and what it keeps.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tally_agent::admin::api::{EvidenceFiles, EvidenceRow, WitnessStatus};
use tally_agent::config::AgentConfig;
use tally_agent::witness::cosigner;
use tally_agent::witness::state::{StateError, WitnessState, directory};
use tally_core::id::{MemberId, MeshName};
use tally_log::{NoteKey, SignedCheckpoint};
use tally_net::keyfile::{self, KeyUse};

use crate::acting::Acting;
use crate::args::{WitnessEvidenceArgs, WitnessNewArgs, WitnessTrustArgs};
use crate::failure::{Exit, Failure};
use crate::mesh::layout::note_key;
use crate::online::read_genesis;
use crate::output::{Output, columns, pairs, print};
use crate::system::{create_dir, new_key, read_text, write_file};

/// Bytes of a checkpoint at most.
const CHECKPOINT_LEN_MAX: u64 = 64 * 1024;

/// What whoever vouches takes upon them.
const WARNING: &str = "If this key has cosigned anything later, it can now cosign another history, and \
    a ledger that lies would have the witness's word for both. Nobody could mend that. A new key has \
    no past: tally witness new --to DIR, then have the members approve it.";

/// A key that was made.
#[derive(Debug, Serialize)]
struct Made {
    key: String,
    vkey: String,
}

/// `tally witness new`.
///
/// # Errors
/// [`Failure`] if there is a key already, or something can't be written.
pub(crate) fn new(
    args: &WitnessNewArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let genesis = read_genesis(&acting.config.genesis, acting.config.mesh_id)?;
    let AgentConfig { member, data_dir, .. } = &acting.config;
    create_dir(&args.to)?;
    let vkey = make(&args.to, data_dir, &genesis.value().mesh, member)?;
    let key = args.to.join("witness.key").display().to_string();
    let made = Made { key, vkey: vkey.to_string() };
    print(output, &made, || {
        pairs(&[
            ("key", made.key.clone()),
            ("vkey", made.vkey.clone()),
            (
                "next",
                "say it in the agent's [witness] key, and have the members approve the vkey"
                    .to_owned(),
            ),
        ])
    })?;
    Ok(Exit::Done)
}

/// Makes the key of a member's witness in a directory, and its state in the agent's data directory.
///
/// # Errors
/// [`Failure`] if there is a key already, or something can't be written.
pub(crate) fn make(
    to: &Path,
    data_dir: &Path,
    mesh: &MeshName,
    member: &MemberId,
) -> Result<NoteKey, Failure> {
    let secret = new_key()?;
    let named = cosigner(mesh.as_str(), member, secret.clone());
    let named =
        named.map_err(|why| Failure::usage(format!("{mesh}: {why}"), "shorten the name"))?;
    let vkey = named.key().clone();
    // The state first: a key without one cosigns nothing, and a state without a key harms nobody.
    WitnessState::create(&directory(data_dir), &vkey).map_err(|why| failed(&why))?;
    keyfile::create(&to.join("witness.key"), KeyUse::Witness, &secret)
        .map_err(|why| Failure::environment(why, "no key is overwritten: give another --to"))?;
    write_file(&to.join("witness.vkey"), format!("{vkey}\n").as_bytes())?;
    Ok(vkey)
}

/// `tally witness status`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn status(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let status: WitnessStatus = acting.ask("/witness/status", &json!({}))?;
    print(output, &status, || table(&status))?;
    Ok(Exit::Done)
}

/// `tally witness evidence`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or a file can't be written.
pub(crate) fn evidence(
    args: &WitnessEvidenceArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let status: WitnessStatus = acting.ask("/witness/status", &json!({}))?;
    if let Some(to) = &args.to {
        let kept: EvidenceFiles = acting.ask("/witness/evidence", &json!({}))?;
        create_dir(to)?;
        for (name, evidence) in &kept.files {
            let text = serde_json::to_string_pretty(evidence)
                .map_err(|why| Failure::environment(why, "report this"))?;
            let write = |end: &str, text: &str| {
                write_file(&to.join(format!("{name}.{end}")), text.as_bytes())
            };
            write("json", &text)?;
            write("known", &evidence.known)?;
            write("offered", &evidence.offered)?;
        }
    }
    let rows = &status.evidence;
    print(output, rows, || match rows.is_empty() {
        true => "none: the ledger has not contradicted itself before this witness\n".to_owned(),
        false => evidence_table(rows),
    })?;
    Ok(if rows.is_empty() { Exit::Done } else { Exit::Refused })
}

/// `tally witness trust`.
///
/// # Errors
/// [`Failure`] if the checkpoint is not the ledger's, nobody vouched, or the state is whole.
pub(crate) fn trust(
    args: &WitnessTrustArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let AgentConfig { member, data_dir, witness_key, .. } = &acting.config;
    let Some(path) = witness_key else {
        let remedy = "make a key: tally witness new";
        return Err(Failure::configuration(
            "the agent is no witness: it has no [witness] key",
            remedy,
        ));
    };
    let secret = keyfile::load(path, KeyUse::Witness)
        .map_err(|why| Failure::configuration(why, "make a key: tally witness new"))?;
    let genesis = read_genesis(&acting.config.genesis, acting.config.mesh_id)?;
    let genesis = genesis.value();
    let named = cosigner(genesis.mesh.as_str(), member, secret);
    let named = named.map_err(|why| Failure::usage(why, "shorten the mesh's name"))?;
    let text = read_text(&args.checkpoint, CHECKPOINT_LEN_MAX)?;
    let bad = |why: String| {
        let what = format!("{}: {why}", args.checkpoint.display());
        Failure::refused(what, "give a checkpoint that this ledger's nodes have signed")
    };
    let signed = SignedCheckpoint::parse(text.as_bytes()).map_err(|why| bad(why.to_string()))?;
    let nodes = genesis.members.iter().flat_map(|member| &member.nodes);
    let keys = nodes.map(|node| note_key(&genesis.mesh, node)).collect::<Result<Vec<_>, _>>()?;
    signed.verify_log(&keys).map_err(|why| bad(why.to_string()))?;
    if !args.yes {
        let size = signed.checkpoint().size;
        let what = format!("the witness would go on from size {size}. {WARNING}");
        return Err(Failure::refused_as(
            what,
            "if you vouch for it all the same, say so with --yes",
        ));
    }
    WitnessState::vouch(&directory(data_dir), named.key(), &signed).map_err(|why| failed(&why))?;
    let size = signed.checkpoint().size;
    print(output, &json!({ "trusted": true, "size": size }), || {
        format!("trusted by hand: the witness goes on from size {size}\n")
    })?;
    Ok(Exit::Done)
}

fn failed(why: &StateError) -> Failure {
    let remedy = match why {
        StateError::InUse { .. } => "stop the agent first",
        StateError::Exists { .. } => "nothing needs to be done",
        _ => "give a place that can be written, with room on its disk",
    };
    Failure::environment(why, remedy)
}

fn table(status: &WitnessStatus) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let number = |number: Option<u64>| or_none(&number.map(|it| it.to_string()));
    let standing = match status.standing.as_deref() {
        None => "this agent is no witness: tally witness new makes a key".to_owned(),
        Some("unregistered") => {
            "unregistered: the register of witnesses does not name this key".to_owned()
        }
        Some("searching") => "searching for the node that leads".to_owned(),
        Some("broken") => format!("BROKEN: {}", or_none(&status.broken)),
        Some(other) => format!("{other} ledger node {}", number(status.node)),
    };
    let refused = status.refused.iter().map(|it| format!("{} {}", it.count, it.why));
    let refused = refused.collect::<Vec<_>>();
    let lines = pairs(&[
        ("standing", standing),
        ("vkey", or_none(&status.vkey)),
        ("cosigned last", format!("size {}", number(status.size))),
        ("at", or_none(&status.cosigned_at)),
        ("refused", if refused.is_empty() { "-".to_owned() } else { refused.join(", ") }),
        ("witnesses in force", status.witnesses.len().to_string()),
        ("evidence", status.evidence.len().to_string()),
        ("evidence beyond", status.evidence_beyond.to_string()),
    ]);
    if status.evidence.is_empty() {
        return lines;
    }
    format!("{lines}\n{}", evidence_table(&status.evidence))
}

fn evidence_table(rows: &[EvidenceRow]) -> String {
    let head = ["evidence", "what", "at", "known size", "offered size"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(|row| {
        let sizes = [row.known_size.to_string(), row.offered_size.to_string()];
        let [known, offered] = sizes;
        vec![row.name.clone(), row.why.clone(), row.at.clone(), known, offered]
    }));
    columns(&table)
}

/// The verifier key that a member's witness has by its file, if there is one.
///
/// # Errors
/// [`Failure`] if the file holds no verifier key.
pub(crate) fn read_vkey(path: &Path) -> Result<Option<NoteKey>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(path, CHECKPOINT_LEN_MAX)?;
    let key = text.trim().parse::<NoteKey>();
    key.map(Some).map_err(|why| {
        Failure::configuration(format!("{}: {why}", path.display()), "tally witness new writes one")
    })
}
