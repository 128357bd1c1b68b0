//! What is asked of the member's witness.

use serde::{Deserialize, Serialize};

use crate::witness::evidence::Evidence;

/// `/witness/status`: how the member's witness is, and who the witnesses are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// Its verifier key; none if the agent is no witness.
    pub vkey: Option<String>,
    /// How it stands: broken, unregistered, searching or attending.
    pub standing: Option<String>,
    /// Why it can't cosign.
    pub broken: Option<String>,
    /// The ledger node whose questions it answers.
    pub node: Option<u64>,
    /// The size that it cosigned last.
    pub size: Option<u64>,
    /// When that was.
    pub cosigned_at: Option<String>,
    /// How often it has refused since the agent's start, and why.
    pub refused: Vec<RefusedCount>,
    /// The evidence that it keeps.
    pub evidence: Vec<EvidenceRow>,
    /// How much there was no more room for since the agent's start.
    pub evidence_beyond: u64,
    /// The verifier keys in the register of witnesses.
    pub witnesses: Vec<String>,
    /// The keys of the ledger's nodes in the registers.
    pub log_keys: Vec<String>,
}

/// How often a witness has refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCount {
    /// Why.
    pub why: String,
    /// How often.
    pub count: u64,
}

/// One contradiction of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRow {
    /// The name of its file.
    pub name: String,
    /// fork or rollback.
    pub why: String,
    /// When it was offered.
    pub at: String,
    /// The size that was known before.
    pub known_size: u64,
    /// The size that was offered.
    pub offered_size: u64,
}

/// `/witness/evidence`: all that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceFiles {
    /// Each with the name of its file.
    pub files: Vec<(String, Evidence)>,
}
