//! Receipts as files: an entry with its proof, and the leaves that say whose keys to check it with.

mod body;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tally_core::entry::{Entry, Genesis};
use tally_core::id::{LeafIndex, MemberId, MeshId, MeshName};
use tally_core::ledger::{Registers, is_lawful_now};
use tally_core::receipt::{Checked, Receipt, ReceiptError, Trust, author};
use tally_core::register::{MemberRecord, RegisterBody, Witness};
use tally_core::time::Timestamp;
use tally_log::{KeyName, NoteKey, SignedCheckpoint, TlogProof, VerifyingKey, leaf_hash};

use crate::failure::Failure;
use crate::history::{RegisterHistory, cosigned};
use crate::leaves::{Leaves, NoLeaf, kind};
use crate::output::pairs;
use crate::verify::{Rules, Source};

/// Longest file that is read, in bytes: 4 MiB.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;
/// Registers in a file at most.
const REGISTERS_MAX: usize = 256;

/// A receipt in a file. All are in base64: a receipt object, the genesis leaf, and receipts of the
/// member registers that changed keys since; where the checkpoint is witnessed, of the register of
/// witnesses, too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptFile {
    tally: u64,
    receipt: String,
    genesis: String,
    registers: Vec<String>,
    /// What the entry of a release commits to, in base64: it came with the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opening: Option<String>,
    /// What the provider's agent signed at the end of a stream, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream_end: Option<String>,
}

/// What a receipt has shown.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Shown {
    pub(crate) verified: bool,
    leaf: Option<u64>,
    size: Option<u64>,
    /// The epoch of its checkpoint.
    epoch: Option<u64>,
    at: Option<String>,
    kind: Option<&'static str>,
    member: Option<String>,
    session: Option<u64>,
    mesh: Option<String>,
    mesh_id: Option<String>,
    mesh_id_given: bool,
    /// Whether the body is the one that the entry speaks of; none if none was given.
    body: Option<bool>,
    /// The application's own ids of the request, where the opening came with the receipt.
    request_ids: Vec<String>,
    /// Witnesses that have cosigned the checkpoint, of those that the receipt names.
    pub(crate) cosignatures: usize,
    /// Witnesses that the receipt names: those in force, if it leaves no later register out.
    witnesses: usize,
    /// How many of them are enough; none if it names no witnesses.
    quorum: Option<usize>,
    /// Whether enough have.
    pub(crate) witnessed: bool,
    why: Option<String>,
}

/// The keys that a mesh's leaves name.
struct Keys {
    mesh_id: MeshId,
    mesh: MeshName,
    /// The members as they are: they approve what comes next.
    registers: Registers,
    /// Those of ledger nodes.
    log: Vec<VerifyingKey>,
    agents: BTreeMap<MemberId, Vec<VerifyingKey>>,
    /// The witnesses, as the receipt names them, with the leaf that does.
    witnesses: Vec<(LeafIndex, Vec<Witness>)>,
}

/// Longest checkpoint that is read, in bytes: 64 KiB.
const NOTE_LEN_MAX: u64 = 64 * 1024;
/// Epochs of a batch that are tried at most, from that of the checkpoint down.
const EPOCHS_MAX: usize = 64;

/// Reads a receipt's file.
///
/// # Errors
/// [`Failure`] if it is none.
pub(crate) fn read(path: &Path) -> Result<ReceiptFile, Failure> {
    let remedy = "give a file that tally audit receipt has written";
    let bad = |why: String| Failure::usage(format!("{}: {why}", path.display()), remedy);
    let length = fs::metadata(path).map_err(|why| bad(why.to_string()))?.len();
    if length > FILE_LEN_MAX {
        return Err(bad(format!("{length} bytes are too long for a receipt")));
    }
    let bytes = fs::read(path).map_err(|why| bad(why.to_string()))?;
    let file: ReceiptFile = serde_json::from_slice(&bytes).map_err(|why| bad(why.to_string()))?;
    if file.tally == 1 && file.registers.len() <= REGISTERS_MAX {
        Ok(file)
    } else {
        Err(bad("not a receipt of version 1".to_owned()))
    }
}

/// A checkpoint as it is, or that in a receipt's file, whatever it is worth.
///
/// # Errors
/// [`Failure`] if the file is neither.
pub(crate) fn read_checkpoint(path: &Path) -> Result<Vec<u8>, Failure> {
    let short = fs::metadata(path).is_ok_and(|it| it.len() <= NOTE_LEN_MAX);
    if short
        && let Ok(note) = fs::read(path)
        && SignedCheckpoint::parse(&note).is_ok()
    {
        return Ok(note);
    }
    let file = read(path)?;
    let receipt = STANDARD.decode(&file.receipt).map_err(|why| why.to_string()).and_then(|bytes| {
        tally_wire::decode_value::<Receipt>(&bytes).map_err(|why| why.to_string())
    });
    let remedy = "give a file that tally audit receipt has written";
    receipt
        .map(|it| it.checkpoint)
        .map_err(|why| Failure::usage(format!("{}: {why}", path.display()), remedy))
}

/// Makes the receipt of a leaf, with what else is needed to check it.
///
/// # Errors
/// [`NoLeaf`] if there is none.
pub(crate) fn make(
    source: &mut impl Source,
    checkpoint: &SignedCheckpoint,
    leaf: u64,
) -> Result<ReceiptFile, NoLeaf> {
    let note = checkpoint.to_string();
    let mut leaves = Leaves::new(source, checkpoint.checkpoint());
    let receipt = leaves.receipt(leaf, note.as_bytes())?;
    let mut file = ReceiptFile {
        tally: 1,
        receipt: STANDARD.encode(tally_wire::encode(&receipt)),
        genesis: STANDARD.encode(leaves.leaf(0)?.bytes()),
        registers: Vec::new(),
        opening: None,
        stream_end: None,
    };
    if !check(&file, None, None).verified {
        let last = receipt.seal.value().last_register_leaf;
        file.registers = changes(&mut leaves, last, note.as_bytes())?;
    }
    Ok(file)
}

/// Makes the receipt of a leaf under a checkpoint that witnesses have cosigned, with all that says who
/// they are.
///
/// # Errors
/// [`NoLeaf`] if there is none.
pub(crate) fn make_witnessed(
    source: &mut impl Source,
    checkpoint: &SignedCheckpoint,
    leaf: u64,
    registers: &RegisterHistory,
) -> Result<ReceiptFile, NoLeaf> {
    let note = checkpoint.to_string();
    let mut leaves = Leaves::new(source, checkpoint.checkpoint());
    let receipt = leaves.receipt(leaf, note.as_bytes())?;
    let mut file = ReceiptFile {
        tally: 1,
        receipt: STANDARD.encode(tally_wire::encode(&receipt)),
        genesis: STANDARD.encode(leaves.leaf(0)?.bytes()),
        registers: Vec::new(),
        opening: None,
        stream_end: None,
    };
    for register in registers.keyed_at(checkpoint.checkpoint().size).take(REGISTERS_MAX) {
        let receipt = leaves.receipt(register.0, note.as_bytes())?;
        file.registers.push(STANDARD.encode(tally_wire::encode(&receipt)));
    }
    Ok(file)
}

/// The path of a leaf to a checkpoint, in a form that tools of others read (C2SP tlog-proof).
///
/// # Errors
/// [`NoLeaf`] if there is no such leaf.
pub(crate) fn proof(
    source: &mut impl Source,
    checkpoint: &SignedCheckpoint,
    leaf: u64,
) -> Result<TlogProof, NoLeaf> {
    let mut leaves = Leaves::new(source, checkpoint.checkpoint());
    // That the leaf can be read shows that there is one.
    leaves.leaf(leaf)?;
    let path = leaves.path(leaf)?;
    Ok(TlogProof { extra: None, index: leaf, path, checkpoint: checkpoint.clone() })
}

/// Receipts of all writes to member registers up to this register leaf, in their order: each is
/// approved by the members as those before it left them.
fn changes<S: Source>(
    leaves: &mut Leaves<'_, S>,
    last: LeafIndex,
    checkpoint: &[u8],
) -> Result<Vec<String>, NoLeaf> {
    let mut changes = Vec::new();
    let mut register = last.0;
    while register > 0 && changes.len() < REGISTERS_MAX {
        let entry = leaves.leaf(register)?;
        let is_member = matches!(entry.value(), Entry::Register(write)
            if matches!(write.body.value(), RegisterBody::Member(_)));
        if is_member {
            let receipt = leaves.receipt(register, checkpoint)?;
            changes.push(STANDARD.encode(tally_wire::encode(&receipt)));
        }
        let before = leaves.seal_after(register)?.1.value().last_register_leaf.0;
        if before >= register {
            let why = format!("the seal after leaf {register} names a later register leaf");
            return Err(NoLeaf::Damaged(why));
        }
        register = before;
    }
    changes.reverse();
    Ok(changes)
}

/// Checks a receipt. `mesh_id` is the mesh that it must be from, if whoever asks has said so.
///
/// `body` is what was released: it must be what the entry commits to.
pub(crate) fn check(
    file: &ReceiptFile,
    mesh_id: Option<MeshId>,
    body: Option<&mut dyn Read>,
) -> Shown {
    let mut shown = Shown {
        mesh_id_given: mesh_id.is_some(),
        body: body.is_some().then_some(false),
        ..Shown::default()
    };
    match show(file, mesh_id, body, &mut shown) {
        Ok(()) => shown.verified = true,
        Err(why) => shown.why = Some(why),
    }
    shown
}

fn show(
    file: &ReceiptFile,
    mesh_id: Option<MeshId>,
    body: Option<&mut dyn Read>,
    shown: &mut Shown,
) -> Result<(), String> {
    let mut keys = Keys::of_genesis(&bytes(&file.genesis, "genesis")?, shown)?;
    if mesh_id.is_some_and(|it| it != keys.mesh_id) {
        return Err("it is from another mesh".to_owned());
    }
    for register in &file.registers {
        let register = receipt(&bytes(register, "register")?)?;
        keys.take(&register).map_err(|why| format!("a register: {why}"))?;
    }
    let receipt = receipt(&bytes(&file.receipt, "receipt")?)?;
    let (shown_leaf, kind) = (receipt.leaf.0, kind(receipt.entry.value()));
    (shown.leaf, shown.kind) = (Some(shown_leaf), Some(kind));
    let (member, checked) = keys.check(&receipt).map_err(|why| why.to_string())?;
    shown.member = Some(member.to_string());
    shown.size = Some(checked.size);
    shown.epoch =
        SignedCheckpoint::parse(&receipt.checkpoint).ok().and_then(|it| keys.epoch_of(&it));
    shown.at = Some(checked.time.rfc3339());
    shown.session = Some(checked.session.0.0);
    keys.show_witnesses(&receipt, shown);
    if file.opening.is_some() || body.is_some() {
        let opening = body::opening(file, &keys, receipt.entry.value())?;
        if let Some(body) = body {
            let held = body::Held { file, keys: &keys, newest: shown.epoch.unwrap_or_default() };
            held.check(&opening, receipt.entry.value(), body)?;
            shown.body = Some(true);
        }
        shown.request_ids = opening.request_ids;
    }
    Ok(())
}

impl Keys {
    fn of_genesis(leaf: &[u8], shown: &mut Shown) -> Result<Self, String> {
        let genesis = tally_wire::decode_value::<Genesis>(leaf);
        let genesis = genesis.map_err(|why| format!("the genesis: {why}"))?;
        let mesh_id = MeshId(leaf_hash(leaf));
        shown.mesh = Some(genesis.mesh.to_string());
        shown.mesh_id = Some(mesh_id.to_string());
        let mut registers = Registers::default();
        registers.found(&genesis, Timestamp::default());
        let (mesh, log, agents) = (genesis.mesh.clone(), Vec::new(), BTreeMap::new());
        let mut keys = Self { mesh_id, mesh, registers, log, agents, witnesses: Vec::new() };
        genesis.members.iter().for_each(|member| keys.take_member(member));
        Ok(keys)
    }

    /// Takes a member's register as it was written since, if the members have approved it. That it
    /// stands in a tree is not enough: whoever runs a ledger node can sign a tree of its own making.
    fn take(&mut self, receipt: &Receipt) -> Result<(), String> {
        let (_, checked) = self.check(receipt).map_err(|why| why.to_string())?;
        let Entry::Register(write) = receipt.entry.value() else {
            return Err("it is none".to_owned());
        };
        if !matches!(write.body.value(), RegisterBody::Member(_) | RegisterBody::Witnesses(_)) {
            return Err("it is neither a member's nor that of the witnesses".to_owned());
        }
        if !is_lawful_now(&self.registers, &self.mesh_id, write, &Rules) {
            return Err("the members have not approved it, or one before it is missing".to_owned());
        }
        self.registers.follow(checked.leaf, write, checked.time);
        match write.body.value() {
            RegisterBody::Member(member) => self.take_member(member),
            RegisterBody::Witnesses(named) => self.witnesses.push((checked.leaf, named.clone())),
            _ => {}
        }
        Ok(())
    }

    /// Who of the witnesses that the registers name at its size has cosigned the checkpoint.
    fn show_witnesses(&self, receipt: &Receipt, shown: &mut Shown) {
        let Ok(signed) = SignedCheckpoint::parse(&receipt.checkpoint) else { return };
        let size = signed.checkpoint().size;
        let in_force = self.witnesses.iter().rev().find(|(leaf, _)| leaf.0 < size);
        let Some((_, named)) = in_force else { return };
        let by = cosigned(&signed, named);
        (shown.cosignatures, shown.witnesses) = (by.cosignatures, by.witnesses);
        shown.quorum = (by.witnesses > 0).then_some(by.quorum);
        shown.witnessed = by.is_enough();
    }

    fn take_member(&mut self, member: &MemberRecord) {
        self.agents.entry(member.id.clone()).or_default().push(member.agent_key);
        self.log.extend(member.nodes.iter().map(|it| it.log_key));
    }

    /// Checks a receipt as that of the entry's author, or of any member where it does not say. A
    /// checkpoint is the log's in the epoch that its origin names; the batch may be of an earlier one,
    /// as the leaves before a recovery stay where they are.
    fn check(&self, receipt: &Receipt) -> Result<(MemberId, Checked), ReceiptError> {
        let signed = SignedCheckpoint::parse(&receipt.checkpoint)?;
        let newest = self.epoch_of(&signed).unwrap_or_default();
        let mut last = ReceiptError::OtherMember;
        for epoch in (0..=newest).rev().take(EPOCHS_MAX) {
            match self.check_in(receipt, newest, epoch) {
                // Signed for another epoch, it is signed for none that was tried so far.
                Err(why @ ReceiptError::BatchSignature) => last = why,
                other => return other,
            }
        }
        Err(last)
    }

    /// The epoch that a checkpoint is of; none if its origin is not this mesh's.
    fn epoch_of(&self, signed: &SignedCheckpoint) -> Option<u64> {
        self.mesh.epoch_of(signed.checkpoint().origin.as_str())
    }

    /// The same for a checkpoint of one epoch over a batch of another.
    fn check_in(
        &self,
        receipt: &Receipt,
        newest: u64,
        epoch: u64,
    ) -> Result<(MemberId, Checked), ReceiptError> {
        let name = KeyName::new(&self.mesh.log(newest));
        let key = |name: &KeyName| {
            let log = self.log.iter();
            log.map(|key| NoteKey::ed25519(name.clone(), *key)).collect::<Vec<_>>()
        };
        // A name that is none for a log has no keys: then nobody vouches.
        let log_keys = name.as_ref().map(key).unwrap_or_default();
        let author = author(receipt.entry.value());
        let members =
            self.agents.iter().filter(|(member, _)| author.is_none_or(|it| it == *member));
        let mut last = ReceiptError::OtherMember;
        for (member, agent_keys) in members {
            let (mesh_id, log_keys) = (&self.mesh_id, log_keys.as_slice());
            match receipt.check(&Trust { mesh_id, epoch, log_keys, member, agent_keys }) {
                Ok(checked) => return Ok((member.clone(), checked)),
                Err(why) => last = why,
            }
        }
        Err(last)
    }
}

impl Shown {
    pub(crate) fn table(&self) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let number = |number: Option<u64>| or_none(&number.map(|it| it.to_string()));
        let verdict = match &self.why {
            None => "yes".to_owned(),
            Some(why) => format!("NO: {why}"),
        };
        let mesh_id = match &self.mesh_id {
            Some(id) if !self.mesh_id_given => {
                format!("{id} (its own word: compare it with the id that you know)")
            }
            other => or_none(other),
        };
        let witnessed = match self.quorum {
            None => "-".to_owned(),
            Some(quorum) => {
                let enough = if self.witnessed { "a quorum" } else { "NO QUORUM" };
                format!(
                    "by {} of {} witnesses: {enough}, which is {quorum}",
                    self.cosignatures, self.witnesses
                )
            }
        };
        let body = match self.body {
            Some(true) => "is the one that was released",
            Some(false) => "is not shown to be the one that was released",
            None => "-",
        };
        let request_ids = match self.request_ids.as_slice() {
            [] => "-".to_owned(),
            ids => ids.join(" "),
        };
        pairs(&[
            ("verified", verdict),
            ("body", body.to_owned()),
            ("requested as", request_ids),
            ("leaf", number(self.leaf)),
            ("kind", self.kind.unwrap_or("-").to_owned()),
            ("filed by", or_none(&self.member)),
            ("at", or_none(&self.at)),
            ("mesh", or_none(&self.mesh)),
            ("mesh id", mesh_id),
            ("in a ledger of size", number(self.size)),
            ("in its epoch", number(self.epoch)),
            ("cosigned", witnessed),
        ])
    }
}

fn receipt(bytes: &[u8]) -> Result<Receipt, String> {
    tally_wire::decode_value(bytes).map_err(|why| format!("not a receipt: {why}"))
}

fn bytes(text: &str, what: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|why| format!("the {what} is not base64: {why}"))
}

#[cfg(test)]
mod tests;
