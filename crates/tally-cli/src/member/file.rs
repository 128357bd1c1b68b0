//! A member's file: a new member as it describes itself, or what of a member is to be other than it is.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::file::{self, Keys, Problem, Reader, Value};
use tally_core::id::{MemberId, NodeId, OfficerRole};
use tally_core::register::{
    Address, Assessment, LedgerNode, MemberRecord, MemberStatus, Officer, OrganisationCode,
};
use tally_log::note::KeyKind;
use tally_log::{NoteKey, VerifyingKey};

use crate::mesh::file::{read_assessment, read_codes, read_name, read_supersedes};

/// Bytes of such a file at most.
pub(crate) const FILE_LEN_MAX: usize = 64 * 1024;
/// Bytes of a certificate in PEM at most.
const PEM_LEN_MAX: u64 = 16 * 1024;
const OFFICERS_MAX: usize = 16;
const NODES_MAX: usize = 8;

/// What is said of a member; what is not said stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberFile {
    /// Which member.
    pub(crate) id: MemberId,
    name: Option<String>,
    codes: Option<Vec<OrganisationCode>>,
    supersedes: Option<Vec<MemberId>>,
    assessment: Option<Assessment>,
    address: Option<Option<Address>>,
    ca: Option<Vec<u8>>,
    agent_key: Option<VerifyingKey>,
    officers: Vec<Officer>,
    remove_officers: Vec<OfficerRole>,
    nodes: Vec<LedgerNode>,
    remove_nodes: Vec<NodeId>,
}

/// Why a file says no member's record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRecord {
    /// A new member has to say all of this.
    #[error("a new member also says: {}", .0.join(", "))]
    Lacks(Vec<&'static str>),
    /// What is to go is not there.
    #[error("there is no {0} to take away")]
    NotThere(String),
}

impl MemberFile {
    /// Reads a file that stands in `folder`. `origin` is what the keys of ledger nodes are named.
    ///
    /// # Errors
    /// All that is wrong, in the order of the lines.
    pub(crate) fn read(text: &str, folder: &Path, origin: &str) -> Result<Self, Vec<Problem>> {
        file::read(text, FILE_LEN_MAX, &[], |reader, keys| {
            read_member(reader, keys, folder, origin)
        })
    }

    /// The record that a member would have; `old` is the one that it has.
    ///
    /// # Errors
    /// [`NoRecord`] if a new member does not say enough, or something is taken away that is not there.
    pub(crate) fn apply(self, old: Option<MemberRecord>) -> Result<MemberRecord, NoRecord> {
        let mut record = match old {
            Some(old) => old,
            None => self.fresh()?,
        };
        if let Some(name) = self.name {
            record.name = name;
        }
        if let Some(codes) = self.codes {
            record.codes = codes;
        }
        if let Some(supersedes) = self.supersedes {
            record.supersedes = supersedes;
        }
        if let Some(address) = self.address {
            record.address = address;
        }
        if let Some(ca) = self.ca {
            record.ca = ca;
        }
        if let Some(agent_key) = self.agent_key {
            record.agent_key = agent_key;
        }
        record.assessment = self.assessment.or(record.assessment);
        for role in self.remove_officers {
            let place = record.officers.iter().position(|it| it.role == role);
            let place = place.ok_or_else(|| NoRecord::NotThere(format!("officer {role}")))?;
            record.officers.remove(place);
        }
        for number in self.remove_nodes {
            let place = record.nodes.iter().position(|it| it.id == number);
            let place = place.ok_or_else(|| NoRecord::NotThere(format!("ledger node {number}")))?;
            record.nodes.remove(place);
        }
        for officer in self.officers {
            match record.officers.binary_search_by(|it| it.role.cmp(&officer.role)) {
                Ok(place) => record.officers.splice(place..=place, [officer]).for_each(drop),
                Err(place) => record.officers.insert(place, officer),
            }
        }
        for node in self.nodes {
            match record.nodes.binary_search_by(|it| it.id.cmp(&node.id)) {
                Ok(place) => record.nodes.splice(place..=place, [node]).for_each(drop),
                Err(place) => record.nodes.insert(place, node),
            }
        }
        Ok(record)
    }

    /// A record of what a new member must say.
    fn fresh(&self) -> Result<MemberRecord, NoRecord> {
        let mut lacks = Vec::new();
        if self.name.is_none() {
            lacks.push("name");
        }
        if self.ca.is_none() {
            lacks.push("ca");
        }
        if self.agent_key.is_none() {
            lacks.push("agent_key");
        }
        if !self.officers.iter().any(|it| it.role.as_str() == "ig-lead") {
            lacks.push("officers.ig-lead");
        }
        let (Some(name), Some(ca), Some(agent_key), []) =
            (self.name.clone(), self.ca.clone(), self.agent_key, lacks.as_slice())
        else {
            return Err(NoRecord::Lacks(lacks));
        };
        Ok(MemberRecord {
            id: self.id.clone(),
            name,
            codes: Vec::new(),
            ca,
            agent_key,
            officers: Vec::new(),
            nodes: Vec::new(),
            address: None,
            status: MemberStatus::Active,
            supersedes: Vec::new(),
            assessment: None,
        })
    }
}

fn read_member(
    reader: &mut Reader,
    mut keys: Keys<'_>,
    folder: &Path,
    origin: &str,
) -> Option<MemberFile> {
    let before = reader.problems_found();
    let format = reader.required(&mut keys, "tally");
    if let Some(format) = format
        && reader.number(&format).is_some_and(|number| number != 1)
    {
        reader.complain(&format, "this version reads format 1 only");
    }
    let id: Option<MemberId> = reader.required(&mut keys, "id").and_then(|it| reader.parsed(&it));
    let name = reader.optional(&mut keys, "name").and_then(|it| read_name(reader, &it));
    let codes = reader.optional(&mut keys, "codes").and_then(|it| read_codes(reader, &it));
    let supersedes = reader
        .optional(&mut keys, "supersedes")
        .and_then(|it| read_supersedes(reader, &it, id.as_ref()));
    let assessment = reader.optional(&mut keys, "dspt").and_then(|it| read_assessment(reader, &it));
    let address = reader.optional(&mut keys, "address").and_then(|it| read_address(reader, &it));
    let ca = reader.optional(&mut keys, "ca").and_then(|it| read_ca(reader, &it, folder));
    let agent_key = reader.optional(&mut keys, "agent_key").and_then(|it| read_key(reader, &it));
    let officers = reader.optional(&mut keys, "officers");
    let officers = officers.map(|it| read_officers(reader, &it)).unwrap_or_default();
    let remove_officers = reader
        .optional(&mut keys, "remove_officers")
        .and_then(|it| reader.set(&it, OFFICERS_MAX, |reader, it| reader.parsed(it)));
    let nodes = reader.optional(&mut keys, "node");
    let nodes = nodes.map(|it| read_nodes(reader, &it, origin)).unwrap_or_default();
    let remove_nodes = reader
        .optional(&mut keys, "remove_nodes")
        .and_then(|it| reader.set(&it, NODES_MAX, |reader, it| reader.number(it).map(NodeId)));
    reader.close(keys);
    (reader.problems_found() == before).then_some(())?;
    Some(MemberFile {
        id: id?,
        name,
        codes,
        supersedes,
        assessment,
        address,
        ca,
        agent_key,
        officers,
        remove_officers: remove_officers.unwrap_or_default(),
        nodes,
        remove_nodes: remove_nodes.unwrap_or_default(),
    })
}

/// `HOST:PORT`, or `none` for a member that only dials out.
fn read_address(reader: &mut Reader, value: &Value<'_>) -> Option<Option<Address>> {
    match reader.text(value, 260)? {
        "none" => Some(None),
        _ => reader.parsed(value).map(Some),
    }
}

/// A file with the certificate in PEM.
fn read_ca(reader: &mut Reader, value: &Value<'_>, folder: &Path) -> Option<Vec<u8>> {
    let path: PathBuf = folder.join(reader.text(value, 4096)?);
    let fits = fs::metadata(&path).is_ok_and(|it| it.len() <= PEM_LEN_MAX);
    let text = if fits { fs::read_to_string(&path).ok() } else { None };
    let certificate = text.as_deref().and_then(tally_net::authority::certificate_of);
    if certificate.is_none() {
        let what = format!("{} holds no certificate in PEM", path.display());
        reader.complain(value, what);
    }
    certificate
}

/// The 32 bytes of a public key, in base64.
fn read_key(reader: &mut Reader, value: &Value<'_>) -> Option<VerifyingKey> {
    let bytes = STANDARD.decode(reader.text(value, 64)?).ok();
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    if key.is_none() {
        reader.complain(value, "expected a public key in base64, as tally member key prints it");
    }
    key
}

/// `{ ig-lead = "KEY" }`, ascending by role.
fn read_officers(reader: &mut Reader, value: &Value<'_>) -> Vec<Officer> {
    let Some(keys) = reader.table(value) else { return Vec::new() };
    let mut officers = Vec::new();
    for (role, value) in keys.into_values(reader) {
        let key = read_key(reader, &value);
        match role.parse::<OfficerRole>() {
            Ok(role) => officers.extend(key.map(|key| Officer { role, key })),
            Err(why) => reader.complain(&value, why.to_string()),
        }
    }
    officers.sort_by(|one, other| one.role.cmp(&other.role));
    officers
}

fn read_nodes(reader: &mut Reader, value: &Value<'_>, origin: &str) -> Vec<LedgerNode> {
    let mut nodes: Vec<LedgerNode> = Vec::new();
    for element in reader.list(value, NODES_MAX).unwrap_or_default() {
        let Some(node) = read_node(reader, &element, origin) else { continue };
        match nodes.binary_search_by(|it| it.id.cmp(&node.id)) {
            Ok(_) => reader.complain(&element, format!("node {} stands here twice", node.id)),
            Err(place) => nodes.insert(place, node),
        }
    }
    nodes
}

fn read_node(reader: &mut Reader, value: &Value<'_>, origin: &str) -> Option<LedgerNode> {
    let mut keys = reader.table(value)?;
    let number = reader.required(&mut keys, "number").and_then(|it| reader.number(&it));
    let vkey = reader.required(&mut keys, "vkey");
    let log_key = vkey.and_then(|it| read_log_key(reader, &it, origin));
    let quic = reader.required(&mut keys, "quic").and_then(|it| reader.parsed(&it));
    let https = reader.required(&mut keys, "https").and_then(|it| reader.parsed(&it));
    reader.close(keys);
    Some(LedgerNode { id: NodeId(number?), log_key: log_key?, quic: quic?, https: https? })
}

/// A C2SP verifier key that signs notes, named like the log.
fn read_log_key(reader: &mut Reader, value: &Value<'_>, origin: &str) -> Option<VerifyingKey> {
    let text = reader.text(value, 512)?;
    let key = match text.parse::<NoteKey>() {
        Ok(key) => key,
        Err(why) => {
            reader.complain(value, why.to_string());
            return None;
        }
    };
    match key.kind() {
        KeyKind::Ed25519(verifying) if key.name().as_str() == origin => Some(*verifying),
        KeyKind::Ed25519(_) => {
            reader.complain(value, format!("a ledger node's key is named {origin}"));
            None
        }
        KeyKind::CosignatureV1(_) | KeyKind::Unknown { .. } => {
            reader.complain(value, "it is no key of a ledger node: those are of type 0x01");
            None
        }
    }
}

#[cfg(test)]
mod tests;
