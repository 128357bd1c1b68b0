//! Registers that the members change together: members, witnesses, the rules.

use serde::{Deserialize, Serialize};

use super::ApprovalText;

/// Which registers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegisterKind {
    /// Members of the mesh.
    Member,
    /// Who cosigns checkpoints.
    Witnesses,
    /// The version of the rules.
    Protocol,
}

/// `/registers/list`: how registers stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRegisters {
    /// Those of this kind.
    pub kind: RegisterKind,
}

/// `/registers/list` answers with all of a kind, and how a next version comes about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRows {
    /// By name.
    pub rows: Vec<RegisterRow>,
    /// How many members must approve a write.
    pub approvals_needed: usize,
}

/// A register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRow {
    /// Its name, such as `member/RZ9`.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Where that is on the ledger.
    pub leaf: u64,
    /// What it holds, as it is signed.
    pub body: String,
}

/// `/registers/check`: whether a register may hold something, as the registers stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRegister {
    /// Its name.
    pub name: String,
    /// What it is to hold.
    pub body: String,
}

/// `/registers/check` answers with nothing if it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterFits {}

/// `/registers/write`: a register's next version, with all approvals that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteRegister {
    /// Its name.
    pub name: String,
    /// The version, as the approvals have it.
    pub version: u64,
    /// The leaf of the version before, as the approvals have it.
    pub previous: Option<u64>,
    /// What it is to hold.
    pub body: String,
    /// Officers' signatures.
    pub approvals: Vec<ApprovalText>,
}

/// A register that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDone {
    /// Where it is on the ledger.
    pub leaf: u64,
    /// Its version.
    pub version: u64,
}

/// `/rules`: which rules are in force, and which the ledger nodes know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesShown {
    /// The version in force.
    pub in_force: u64,
    /// Every ledger node that the members name, by number.
    pub nodes: Vec<NodeRules>,
}

/// What a ledger node says of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRules {
    /// Its number.
    pub node: u64,
    /// Who runs it.
    pub member: String,
    /// The newest version that it knows; none if it could not be asked.
    pub known: Option<u64>,
}
