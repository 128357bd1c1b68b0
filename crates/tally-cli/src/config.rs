//! `tally config`: reads a configuration file as the program would, and says what is wrong or what it
//! says. And the auditor's own configuration.

mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value as Json, json};
use tally_agent::config::AgentConfig;
use tally_agent::config::sidecar::SidecarConfig;
use tally_core::file::{self, Keys, Problem, Reader, Section, Value};
use tally_core::id::MeshId;
use tally_ledger::config::LedgerConfig;

use crate::args::ConfigFileArgs;
use crate::failure::{Exit, Failure};
use crate::mesh;
use crate::output::{Output, pairs, print};
use crate::system::read_text;
use settings::{Held, Known};

/// Bytes of a configuration file at most.
const FILE_LEN_MAX: usize = 256 * 1024;
/// Ledger nodes that an auditor names at most.
const NODES_MAX: usize = 16;

/// What a file is, by its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Ledger,
    Agent,
    Sidecar,
    Mesh,
    Agreement,
    Auditor,
}

/// Who reads the ledger, and where. Paths are absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditorConfig {
    /// The mesh.
    pub(crate) mesh_id: MeshId,
    /// The file with the genesis.
    pub(crate) genesis: PathBuf,
    /// The file with the certificate chain, in PEM.
    pub(crate) identity_cert: PathBuf,
    /// The file with the certificate's key, in PEM.
    pub(crate) identity_key: PathBuf,
    /// The ledger nodes: `https://HOST:PORT`.
    pub(crate) https: Vec<String>,
    /// Which checkpoints to believe.
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    kind: Kind,
    says: Json,
    /// Of an agent or a ledger node: each value with its origin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<Held>,
}

/// `tally config check`.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn check(
    args: &ConfigFileArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let shown = read(file_of(args, config)?)?;
    let answer = json!({ "file": shown.file, "kind": shown.kind, "good": true });
    print(output, &answer, || {
        format!("{}: a good configuration of {}", shown.file, shown.kind.text())
    })?;
    Ok(Exit::Done)
}

/// `tally config show`.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn show(
    args: &ConfigFileArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let shown = read(file_of(args, config)?)?;
    print(output, &shown, || {
        if !shown.settings.is_empty() {
            return settings::table(&shown.settings);
        }
        let says = shown.says.as_object().into_iter().flatten();
        let says = says.map(|(key, value)| match value {
            Json::String(text) => (key.as_str(), text.clone()),
            other => (key.as_str(), other.to_string()),
        });
        pairs(&says.collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}

fn file_of<'p>(args: &'p ConfigFileArgs, config: Option<&'p Path>) -> Result<&'p Path, Failure> {
    args.file.as_deref().or(config).ok_or_else(|| {
        let remedy = "name it: tally config check FILE, or --config FILE";
        Failure::usage("nobody said which file to read", remedy)
    })
}

fn read(path: &Path) -> Result<Shown, Failure> {
    let text = read_text(path, FILE_LEN_MAX as u64)?;
    let failed = |problems: Vec<Problem>| Failure::problems(path, &problems);
    let kind = kind(&text).map_err(failed)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let says = match kind {
        Kind::Ledger => ledger_json(&load_ledger(path)?),
        Kind::Agent => agent_json(&crate::acting::load(path)?),
        Kind::Sidecar => sidecar_json(&crate::sidecar::load(path)?),
        Kind::Mesh => mesh_json(&mesh::read_file(path)?),
        Kind::Agreement => {
            let agreement = tally_core::agreement::file::read(&text).map_err(failed)?;
            json!({
                "id": agreement.id.to_string(),
                "version": agreement.version,
                "title": agreement.title,
                "start": agreement.start.to_string(),
                "review": agreement.review.to_string(),
                "end": agreement.end.to_string(),
                "shares": agreement.shares.len(),
            })
        }
        Kind::Auditor => auditor_json(&AuditorConfig::read(&text, folder).map_err(failed)?),
    };
    let known = match kind {
        Kind::Agent => Some(OF_AGENT),
        Kind::Sidecar => Some(OF_SIDECAR),
        Kind::Ledger => Some(Known {
            reference: tally_ledger::config::REFERENCE,
            prefix: tally_ledger::config::PREFIX,
            keys: tally_ledger::config::KEYS,
        }),
        Kind::Mesh | Kind::Agreement | Kind::Auditor => None,
    };
    let settings = known.map(|known| settings::held(known, &text, variables()));
    let settings = settings.unwrap_or_default();
    Ok(Shown { file: path.display().to_string(), kind, says, settings })
}

/// What a page tells of an agent's keys, and what variables may set.
const OF_AGENT: Known = Known {
    reference: tally_agent::config::REFERENCE,
    prefix: tally_agent::config::PREFIX,
    keys: tally_agent::config::KEYS,
};

/// The same of a sidecar's.
const OF_SIDECAR: Known = Known {
    reference: tally_agent::config::sidecar::REFERENCE,
    prefix: tally_agent::config::sidecar::PREFIX,
    keys: tally_agent::config::sidecar::KEYS,
};

fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}

/// Every value of an agent's configuration, by its key. Secrets too: it is for comparing.
///
/// # Errors
/// [`Failure`] if the file can't be read.
pub(crate) fn values_of_agent(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = read_text(path, FILE_LEN_MAX as u64)?;
    Ok(settings::values(OF_AGENT, &text, variables()))
}

/// The same of a sidecar's.
///
/// # Errors
/// [`Failure`] if the file can't be read.
pub(crate) fn values_of_sidecar(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = read_text(path, FILE_LEN_MAX as u64)?;
    Ok(settings::values(OF_SIDECAR, &text, variables()))
}

/// Certificate, key and CA that a configuration names: of an agent, a sidecar, a ledger node or an
/// auditor.
///
/// # Errors
/// [`Failure`] with all that is wrong, or if it is of something else.
pub(crate) fn identity_files(path: &Path) -> Result<(PathBuf, PathBuf, Option<PathBuf>), Failure> {
    let text = read_text(path, FILE_LEN_MAX as u64)?;
    match kind(&text).map_err(|problems| Failure::problems(path, &problems))? {
        Kind::Ledger => {
            let config = load_ledger(path)?;
            Ok((config.identity_cert, config.identity_key, config.identity_ca))
        }
        Kind::Agent => {
            let config = crate::acting::load(path)?;
            Ok((config.identity_cert, config.identity_key, config.identity_ca))
        }
        Kind::Sidecar => {
            let config = crate::sidecar::load(path)?;
            Ok((config.identity_cert, config.identity_key, Some(config.identity_ca)))
        }
        Kind::Auditor => {
            let config = AuditorConfig::load(path)?;
            Ok((config.identity_cert, config.identity_key, None))
        }
        Kind::Mesh | Kind::Agreement => Err(Failure::usage(
            format!("{} names no certificate", path.display()),
            "give the configuration of an agent, a sidecar, a ledger node or an auditor, or a file in \
             PEM",
        )),
    }
}

/// Whether a file is the configuration of an agent. One that can't be read is of nobody.
pub(crate) fn is_agent(path: &Path) -> bool {
    let text = read_text(path, FILE_LEN_MAX as u64);
    text.is_ok_and(|text| matches!(kind(&text), Ok(Kind::Agent)))
}

/// A ledger node's configuration.
///
/// # Errors
/// [`Failure`] with all that is wrong.
pub(crate) fn load_ledger(path: &Path) -> Result<LedgerConfig, Failure> {
    LedgerConfig::load(path)
        .map_err(|why| Failure::configuration(why, "mend the file: each line says where and what"))
}

fn kind(text: &str) -> Result<Kind, Vec<Problem>> {
    let unknown = || {
        Problem {
        path: String::new(),
        line: None,
        what:
            "no kind of file that is known: a ledger node's has node_id, an agent's [agent], a sidecar's [sidecar], a mesh's has \
             environment, an agreement's has parties, an auditor's has [ledger]"
                .to_owned(),
    }
    };
    let kinds = [
        ("node_id", Kind::Ledger),
        ("agent", Kind::Agent),
        ("sidecar", Kind::Sidecar),
        ("environment", Kind::Mesh),
        ("parties", Kind::Agreement),
        ("ledger", Kind::Auditor),
    ];
    let found = file::read(text, FILE_LEN_MAX, &[], |reader, mut keys| {
        Some(kinds.iter().find(|(key, _)| reader.optional(&mut keys, key).is_some()).map(|it| it.1))
    })?;
    found.ok_or_else(|| vec![unknown()])
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Ledger => "a ledger node",
            Self::Agent => "an agent",
            Self::Sidecar => "a sidecar",
            Self::Mesh => "a mesh",
            Self::Agreement => "an agreement",
            Self::Auditor => "an auditor",
        }
    }
}

impl AuditorConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`Failure`] with all that is wrong.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = read_text(path, FILE_LEN_MAX as u64)?;
        if let Ok(other) = kind(&text)
            && other != Kind::Auditor
        {
            let (path, other) = (path.display(), other.text());
            return Err(Failure::usage(
                format!(
                    "{path} is the configuration of {other}, and the ledger is read as an auditor"
                ),
                "name an auditor's: --config auditor.toml, or TALLY_CONFIG; or an export: --dir",
            ));
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        Self::read(&text, folder).map_err(|problems| Failure::problems(path, &problems))
    }

    fn read(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        file::read(text, FILE_LEN_MAX, &[], |reader, keys| {
            read_auditor(&mut Section { reader, folder }, keys)
        })
    }
}

fn read_auditor(section: &mut Section<'_, '_>, mut keys: Keys<'_>) -> Option<AuditorConfig> {
    section.format(&mut keys);
    let mut mesh = section.table(&mut keys, "mesh");
    let mesh_id = section.reader.required(&mut mesh, "id");
    let mesh_id = mesh_id.and_then(|it| section.reader.parsed(&it));
    let genesis = section.path(&mut mesh, "genesis");
    section.reader.close(mesh);
    let mut identity = section.table(&mut keys, "identity");
    let identity_cert = section.path(&mut identity, "cert");
    let identity_key = section.path(&mut identity, "key");
    section.reader.close(identity);
    let mut ledger = section.table(&mut keys, "ledger");
    let https = section.reader.required(&mut ledger, "https");
    let https = https.and_then(|it| read_nodes(section.reader, &it));
    let policy = section.optional_path(&mut ledger, "policy");
    section.reader.close(ledger);
    section.reader.close(keys);
    Some(AuditorConfig {
        mesh_id: mesh_id?,
        genesis: genesis?,
        identity_cert: identity_cert?,
        identity_key: identity_key?,
        https: https?,
        policy: policy?,
    })
}

fn read_nodes(reader: &mut Reader, value: &Value<'_>) -> Option<Vec<String>> {
    let elements = reader.list(value, NODES_MAX)?;
    if elements.is_empty() {
        reader.complain(value, "name at least one ledger node");
    }
    let node = |it: &Value<'_>| {
        let text = reader.text(it, 300)?;
        let fits = text
            .strip_prefix("https://")
            .is_some_and(|rest| rest.parse::<tally_core::register::Address>().is_ok());
        if !fits {
            reader.complain(it, "expected https://HOST:PORT");
            return None;
        }
        Some(text.to_owned())
    };
    elements.iter().map(node).collect()
}

fn ledger_json(config: &LedgerConfig) -> Json {
    json!({
        "data_dir": config.data_dir.display().to_string(),
        "member": config.member.to_string(),
        "node_id": config.node_id.0,
        "epoch": config.epoch,
        "mesh.id": config.mesh_id.to_string(),
        "mesh.genesis": config.genesis.display().to_string(),
        "identity.cert": config.identity_cert.display().to_string(),
        "identity.key": config.identity_key.display().to_string(),
        "log.key": config.log_key.display().to_string(),
        "raft.listen": config.raft_listen.to_string(),
        "raft.address": config.raft_address.as_ref().map(ToString::to_string),
        "agents.listen": config.agents_listen.to_string(),
        "https.listen": config.https_listen.to_string(),
        "health.listen": config.health_listen.to_string(),
    })
}

fn agent_json(config: &AgentConfig) -> Json {
    let sources = config.sources.iter().map(|it| it.id.to_string());
    json!({
        "data_dir": config.data_dir.display().to_string(),
        "member": config.member.to_string(),
        "mesh.id": config.mesh_id.to_string(),
        "mesh.genesis": config.genesis.display().to_string(),
        "identity.cert": config.identity_cert.display().to_string(),
        "identity.key": config.identity_key.display().to_string(),
        "agent.key": config.agent_key.display().to_string(),
        "witness.key": config.witness_key.as_ref().map(|it| it.display().to_string()),
        "quic.listen": config.quic_listen.to_string(),
        "ingress.listen": config.ingress.listen.to_string(),
        "health.listen": config.health_listen.to_string(),
        "sources": sources.collect::<Vec<_>>(),
    })
}

fn sidecar_json(config: &SidecarConfig) -> Json {
    json!({
        "sidecar.agent": config.agent.to_string(),
        "identity.cert": config.identity_cert.display().to_string(),
        "identity.key": config.identity_key.display().to_string(),
        "identity.ca": config.identity_ca.display().to_string(),
        "ingress.listen": config.ingress.listen.to_string(),
        "health.listen": config.health_listen.to_string(),
    })
}

fn mesh_json(file: &mesh::file::MeshFile) -> Json {
    let members = file.members.iter().map(|member| {
        let sources = member.sources.iter().map(|it| it.id.to_string()).collect::<Vec<_>>();
        json!({ "id": member.id.to_string(), "name": member.name, "sources": sources })
    });
    let agreements = file.agreements.iter().map(|it| it.display().to_string());
    json!({
        "mesh": file.mesh.to_string(),
        "ledger_nodes": file.ledger_nodes,
        "agreements": agreements.collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(),
    })
}

fn auditor_json(config: &AuditorConfig) -> Json {
    json!({
        "mesh.id": config.mesh_id.to_string(),
        "mesh.genesis": config.genesis.display().to_string(),
        "identity.cert": config.identity_cert.display().to_string(),
        "identity.key": config.identity_key.display().to_string(),
        "ledger.https": config.https,
        "ledger.policy": config.policy.as_ref().map(|it| it.display().to_string()),
    })
}
