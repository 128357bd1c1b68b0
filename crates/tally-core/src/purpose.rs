//! What purposes mean: the class of each code, and where each stands in its tree.
//!
//! Invariant: a code without a class permits nothing, and a permit never crosses from one class
//! into another on its way down the tree. HL7's tree puts break-glass and population health below
//! treatment, and legal and government use below healthcare operations: whoever inherits permits
//! there permits what nobody agreed to. Denials do inherit, whatever the class.

mod table;

use crate::agreement::CommonLaw;
use crate::id::{Purpose, PurposeSystem};
use table::ROWS;

/// What a purpose may be used for, and which legal tests it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The care of the person whose record it is.
    DirectCare,
    /// Break-glass: a provision of its own, never part of care.
    Override,
    /// Planning and improving services: a secondary use.
    Planning,
    /// Research: a secondary use.
    Research,
    /// Protection of the public's health.
    PublicHealth,
    /// A statute or an order requires it.
    RequiredByLaw,
    /// Protecting a child or an adult at risk.
    Safeguarding,
    /// Paying for care, and deciding who is entitled to what.
    Payment,
    /// The person, or who acts for them, asks for their own record.
    SubjectAccess,
    /// Tests and training, on made-up people only.
    Test,
    /// What is published anyway: data about nobody.
    OpenData,
    /// Never, whatever an agreement says.
    Forbidden,
}

impl Class {
    /// All of them, in the order of the papers.
    pub const ALL: &[Self] = &[
        Self::DirectCare,
        Self::Override,
        Self::Safeguarding,
        Self::Planning,
        Self::Research,
        Self::PublicHealth,
        Self::RequiredByLaw,
        Self::Payment,
        Self::SubjectAccess,
        Self::Test,
        Self::OpenData,
        Self::Forbidden,
    ];

    /// The word for it, in metrics, statistics and papers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DirectCare => "direct-care",
            Self::Override => "override",
            Self::Planning => "planning",
            Self::Research => "research",
            Self::PublicHealth => "public-health",
            Self::RequiredByLaw => "required-by-law",
            Self::Safeguarding => "safeguarding",
            Self::Payment => "payment",
            Self::SubjectAccess => "subject-access",
            Self::Test => "test",
            Self::OpenData => "open-data",
            Self::Forbidden => "forbidden",
        }
    }

    /// Whether somebody is cared for, or protected, while it is asked: it goes before everything else.
    #[must_use]
    pub const fn is_care(self) -> bool {
        matches!(self, Self::DirectCare | Self::Override | Self::Safeguarding)
    }

    /// Whether the national data opt-out is asked for this class. Policy for payment is local;
    /// until a mesh says otherwise it counts as a secondary use.
    #[must_use]
    pub const fn asks_opt_out(self) -> bool {
        matches!(self, Self::Planning | Self::Research | Self::Payment)
    }

    /// Whether a common-law basis can carry this class.
    ///
    /// A statute, a court's order and the person's own explicit consent carry everything lawful.
    /// Implied consent reaches no further than the care that a person would expect.
    #[must_use]
    pub const fn allows(self, basis: CommonLaw) -> bool {
        match basis {
            CommonLaw::ExplicitConsent | CommonLaw::Statute | CommonLaw::CourtOrder => {
                !matches!(self, Self::Forbidden)
            }
            CommonLaw::ImpliedConsent => matches!(self, Self::DirectCare),
            CommonLaw::Section251 => {
                matches!(self, Self::Planning | Self::Research | Self::Payment)
            }
            CommonLaw::CopiRegulation3 => matches!(self, Self::PublicHealth),
            CommonLaw::PublicInterest => matches!(self, Self::Override | Self::Safeguarding),
            CommonLaw::VitalInterests => {
                matches!(self, Self::DirectCare | Self::Override | Self::Safeguarding)
            }
        }
    }
}

/// A code of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its code system.
    pub system: PurposeSystem,
    /// Its code.
    pub code: &'static str,
    /// The v3-ActReason code above it. For a local code: the one whose denial denies it too.
    pub parent: Option<&'static str>,
    /// Its class; none if no rule says what it may be used for.
    pub class: Option<Class>,
    /// What it is, in a few words.
    pub display: &'static str,
}

/// Every code that has a meaning here: all of PurposeOfUse, then our local list.
#[must_use]
pub const fn rows() -> &'static [Row] {
    ROWS
}

/// Whether the code has a meaning here. One that has none may be anything, a person's number too: it
/// must not come onto a ledger.
#[must_use]
pub fn is_known(purpose: &Purpose) -> bool {
    row_of(purpose).is_some()
}

/// The class of a purpose; none for an unknown code and for one without a class.
#[must_use]
pub fn class_of(purpose: &Purpose) -> Option<Class> {
    row_of(purpose).and_then(|row| row.class)
}

/// Whether a permit for `granted` also permits `asked`: itself, or a descendant in the same code
/// system and class. Nothing without a class, and nothing forbidden, is ever covered.
#[must_use]
pub fn covers(granted: &Purpose, asked: &Purpose) -> bool {
    let class = match class_of(asked) {
        None | Some(Class::Forbidden) => return false,
        Some(class) => class,
    };
    // The common case, and on the ledger's path for every permit.
    granted == asked
        || (granted.system() == asked.system()
            && class_of(granted) == Some(class)
            && Lineage::of(asked).includes(granted))
}

/// Whether the purpose is an emergency, for which a reason in words is owed.
#[must_use]
pub fn needs_reason(purpose: &Purpose) -> bool {
    purpose.system() == PurposeSystem::ActReason && ["ETREAT", "BTG"].contains(&purpose.code())
}

/// Whether the purpose is an emergency: emergency treatment, whatever is below it, or break-glass.
#[must_use]
pub fn is_emergency(purpose: &Purpose) -> bool {
    let lineage = Lineage::of(purpose);
    let below = lineage.above.iter().any(|row| row.code == "ETREAT");
    needs_reason(purpose) || (purpose.system() == PurposeSystem::ActReason && below)
}

/// A purpose and everything above it: what a denial may name so that it denies the purpose.
#[derive(Debug, Clone)]
pub struct Lineage {
    asked: Purpose,
    above: Vec<&'static Row>,
}

impl Lineage {
    /// The line from a purpose up to the root. An unknown code has nothing above it.
    #[must_use]
    pub fn of(purpose: &Purpose) -> Self {
        let mut above = Vec::with_capacity(4);
        let mut parent = row_of(purpose).and_then(|row| row.parent);
        // No tree is as deep as the table is long: a loop in it would end here.
        while let Some(row) = parent.and_then(|code| find(PurposeSystem::ActReason, code)) {
            if above.len() >= ROWS.len() {
                break;
            }
            above.push(row);
            parent = row.parent;
        }
        Self { asked: purpose.clone(), above }
    }

    /// Whether `purpose` is the one asked for, or stands above it.
    #[must_use]
    pub fn includes(&self, purpose: &Purpose) -> bool {
        self.asked == *purpose
            || self
                .above
                .iter()
                .any(|row| row.system == purpose.system() && row.code == purpose.code())
    }

    /// The purpose asked for.
    #[must_use]
    pub const fn asked(&self) -> &Purpose {
        &self.asked
    }
}

fn row_of(purpose: &Purpose) -> Option<&'static Row> {
    find(purpose.system(), purpose.code())
}

fn find(system: PurposeSystem, code: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.code == code && row.system == system)
}

#[cfg(test)]
mod tests;
