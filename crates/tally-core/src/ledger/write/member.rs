//! What a member's record must be, beside the records that there are.

use super::super::founding::ensure;
use super::super::registers::Registers;
use super::super::rejection::Rejection;
use super::{check_cosigners, nodes_of};
use crate::register::{MemberRecord, OrganisationCode, may_supersede};
use tally_log::VerifyingKey;

/// A member's ledger nodes at most.
const NODES_MAX: usize = 8;
/// A member's officers, its codes, and members in whose place it came, at most.
const LIST_LEN_MAX: usize = 16;

/// What a key is for: a key has one use in the whole mesh.
#[derive(PartialEq, Eq)]
enum Use {
    Agent,
    Officer,
    Log,
}

pub(in super::super) fn check_record(
    registers: &Registers,
    record: &MemberRecord,
) -> Result<(), Rejection> {
    let nodes = record.nodes.len() <= NODES_MAX
        && record.nodes.is_sorted_by(|one, next| one.id < next.id)
        && record.nodes.iter().all(|node| node.id.0 >= 1);
    let officers = record.officers.len() <= LIST_LEN_MAX
        && record.officers.is_sorted_by(|one, next| one.role < next.role);
    let codes = record.codes.len() <= LIST_LEN_MAX && record.codes.iter().all(is_code);
    let supersedes =
        record.supersedes.len() <= LIST_LEN_MAX && may_supersede(&record.id, &record.supersedes);
    let whole = nodes && officers && codes && supersedes;
    ensure(whole, Rejection::MemberMalformed)?;
    check_nodes(registers, record)?;
    check_keys(registers, record)?;
    let old = registers.member(&record.id).map_or(0, nodes_of);
    let others = registers.members().filter(|other| other.id != record.id).map(nodes_of);
    let others = others.sum::<usize>().saturating_add(registers.witnesses().len());
    check_cosigners(old, nodes_of(record), others)
}

/// A code of the shape that its system has, written as it is compared, that does not end before it
/// begins.
fn is_code(code: &OrganisationCode) -> bool {
    let written = OrganisationCode::new(&code.system, &code.value);
    written.is_ok_and(|written| written.value == code.value)
        && code.from.zip(code.until).is_none_or(|(from, until)| from <= until)
}

/// A number that left this member's list, or was ever on another's, is never used again: a replica
/// that comes back with it could vote twice.
fn check_nodes(registers: &Registers, record: &MemberRecord) -> Result<(), Rejection> {
    let old = registers.member(&record.id).map_or([].as_slice(), |old| &old.nodes);
    let is_old = |node| old.iter().any(|old| old.id == node);
    let mut nodes = record.nodes.iter().map(|node| node.id);
    let fresh = nodes.all(|node| is_old(node) || !registers.was_used(node));
    ensure(fresh, Rejection::NodeReused)
}

/// An officer may hold several roles of one member with one key; everything else has its own.
fn check_keys(registers: &Registers, record: &MemberRecord) -> Result<(), Rejection> {
    let own = keys(record).collect::<Vec<_>>();
    let distinct = own.iter().enumerate().all(|(place, (one, use_of_one))| {
        own.iter().skip(place + 1).all(|(other, use_of_other)| {
            one != other || (*use_of_one == Use::Officer && *use_of_other == Use::Officer)
        })
    });
    let others = registers.members().filter(|other| other.id != record.id);
    let mut theirs = others.flat_map(keys);
    let shared = theirs.any(|(their, _)| own.iter().any(|(key, _)| *key == their));
    ensure(distinct && !shared, Rejection::KeyReused)
}

fn keys(record: &MemberRecord) -> impl Iterator<Item = (VerifyingKey, Use)> {
    let agent = std::iter::once((record.agent_key, Use::Agent));
    let officers = record.officers.iter().map(|officer| (officer.key, Use::Officer));
    agent.chain(officers).chain(record.nodes.iter().map(|node| (node.log_key, Use::Log)))
}
