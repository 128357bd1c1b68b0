//! A provider's half that is known to be on the ledger.
//!
//! Invariant: nobody makes one but out of what the ledger has answered. That is why nothing leaves
//! without one.

use crate::entry::{Entry, ProviderHalf};
use crate::id::LeafIndex;
use crate::receipt::{Memory, Receipt, ReceiptError, Trust};

/// What is left of a receipt once it is checked. The receipt itself stays with whoever passes it
/// on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedHalf {
    leaf: LeafIndex,
    half: ProviderHalf,
}

/// The receipt does not show a provider's half: whoever sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAHalf {
    /// It shows nothing.
    #[error("the receipt does not verify: {0}")]
    Receipt(#[from] ReceiptError),
    /// It shows an entry of another kind.
    #[error("the receipt is not of a provider's half")]
    OtherKind,
}

impl RecordedHalf {
    /// Checks the receipt that a provider has sent.
    ///
    /// # Errors
    /// [`NotAHalf`] if the receipt does not verify, or is of another entry.
    pub fn check(receipt: &Receipt, trust: &Trust<'_>) -> Result<Self, NotAHalf> {
        Self::check_with(receipt, trust, &())
    }

    /// As [`check`](Self::check), with what was verified before.
    ///
    /// # Errors
    /// [`NotAHalf`] if the receipt does not verify, or is of another entry.
    pub fn check_with(
        receipt: &Receipt,
        trust: &Trust<'_>,
        memory: &impl Memory,
    ) -> Result<Self, NotAHalf> {
        let checked = receipt.check_with(trust, memory)?;
        match receipt.entry.value() {
            Entry::ProviderHalf(half) => Ok(Self::answered(checked.leaf, (**half).clone())),
            _ => Err(NotAHalf::OtherKind),
        }
    }

    /// Of an own half that the ledger's answer to its batch is about. Whoever calls has checked
    /// that answer as a whole: [`BatchAnswer::expand`](crate::receipt::BatchAnswer::expand) and
    /// the checkpoint's signature.
    #[must_use]
    pub const fn answered(leaf: LeafIndex, half: ProviderHalf) -> Self {
        Self { leaf, half }
    }

    /// Where the half is.
    #[must_use]
    pub const fn leaf(&self) -> LeafIndex {
        self.leaf
    }

    /// What it says.
    #[must_use]
    pub const fn half(&self) -> &ProviderHalf {
        &self.half
    }
}
