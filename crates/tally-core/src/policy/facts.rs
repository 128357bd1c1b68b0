//! What a decision rests on, given in from outside: registers, people, the day.

use std::collections::BTreeMap;

use crate::agreement::{Agreement, Condition};
use crate::consent::Directives;
use crate::entry::{Environment, OptOutChecks, OptOutExemption};
use crate::id::{AgreementId, GroupId, MemberId};
use crate::record::Person;
use crate::register::{AssessmentStatus, MemberStatus};
use crate::time::Date;

/// Everything that a decision may look at, of one moment.
#[derive(Debug)]
pub struct Facts<'a, R> {
    /// What the mesh is for.
    pub environment: Environment,
    /// The day in Europe/London, by the ledger's time.
    pub today: Date,
    /// The hour of that day in Europe/London, 0 to 23.
    pub hour: u8,
    /// Whether answers of the national data opt-out service are at hand and fresh.
    pub opt_out: OptOutAnswers,
    /// The registers, as the agent's replica has them.
    pub registers: &'a R,
    /// What the custodian's store knows of the people of the items. About someone who is not in
    /// here nothing is known, and nothing is released.
    pub people: &'a BTreeMap<Person, PersonFact>,
    /// The provider's own policy: what must be true as well. It can only forbid; mostly it is empty.
    pub own_policy: &'a Condition,
}

/// The registers, as far as policy reads them.
pub trait Registers {
    /// A member.
    fn member(&self, id: &MemberId) -> Option<MemberFact>;
    /// In whose place a member came, however often that has happened.
    fn before(&self, id: &MemberId) -> Vec<MemberId>;
    /// A group's version and members, ascending.
    fn group(&self, id: &GroupId) -> Option<(u64, &[MemberId])>;
    /// The version of one of a custodian's consent registers.
    fn consent_register(&self, custodian: &MemberId, number: u8) -> Option<u64>;
    /// An agreement.
    fn agreement(&self, id: &AgreementId) -> Option<AgreementFact<'_>>;
    /// All agreements, ascending by id.
    fn agreements(&self) -> impl Iterator<Item = AgreementFact<'_>>;
    /// Whether an officer of the member has signed the agreement's document.
    fn has_signed(&self, member: &MemberId, agreement: &AgreementId) -> bool;
}

/// A member, as policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberFact {
    /// The register's version.
    pub version: u64,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// How its data security was assessed (DSPT), as its register says. None: nobody has said.
    pub assessment: Option<AssessmentStatus>,
}

/// An agreement's document and state.
#[derive(Debug, Clone, Copy)]
pub struct AgreementFact<'a> {
    /// The register's version.
    pub version: u64,
    /// The document.
    pub document: &'a Agreement,
    /// Parties that have suspended it.
    pub suspended_by: &'a [MemberId],
}

/// Whether answers of the national data opt-out service are at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptOutAnswers {
    /// They are, no older than they may be, from these checks.
    Fresh(OptOutChecks),
    /// The source's data is none that the service is about.
    Exempt(OptOutExemption),
    /// They are missing or too old: nothing is released where they are needed.
    Unavailable,
}

/// What the custodian knows of one person, in one snapshot of its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonFact {
    /// Which of the custodian's consent registers the person is in.
    pub consent_register: u8,
    /// What the person wants.
    pub directives: Directives,
    /// Whether the opt-out service's answer leaves the person out. Someone whom it does not
    /// mention counts as opted out.
    pub opted_out: bool,
}

/// Registers as plain data: a replica in small.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Members.
    pub members: BTreeMap<MemberId, MemberFact>,
    /// Groups: version and members, ascending.
    pub groups: BTreeMap<GroupId, (u64, Vec<MemberId>)>,
    /// In whose place members came.
    pub before: BTreeMap<MemberId, Vec<MemberId>>,
    /// Versions of consent registers.
    pub consent_registers: BTreeMap<(MemberId, u8), u64>,
    /// Agreements.
    pub agreements: BTreeMap<AgreementId, SnapshotAgreement>,
}

/// An agreement as plain data.
#[derive(Debug, Clone)]
pub struct SnapshotAgreement {
    /// The register's version.
    pub version: u64,
    /// The document.
    pub document: Agreement,
    /// Members whose officers have signed it.
    pub signed_by: Vec<MemberId>,
    /// Members that have suspended it.
    pub suspended_by: Vec<MemberId>,
}

impl SnapshotAgreement {
    fn fact(&self) -> AgreementFact<'_> {
        let Self { version, document, suspended_by, .. } = self;
        AgreementFact { version: *version, document, suspended_by }
    }
}

impl Registers for Snapshot {
    fn member(&self, id: &MemberId) -> Option<MemberFact> {
        self.members.get(id).copied()
    }

    fn before(&self, id: &MemberId) -> Vec<MemberId> {
        self.before.get(id).cloned().unwrap_or_default()
    }

    fn group(&self, id: &GroupId) -> Option<(u64, &[MemberId])> {
        self.groups.get(id).map(|(version, members)| (*version, members.as_slice()))
    }

    fn consent_register(&self, custodian: &MemberId, number: u8) -> Option<u64> {
        self.consent_registers.get(&(custodian.clone(), number)).copied()
    }

    fn agreement(&self, id: &AgreementId) -> Option<AgreementFact<'_>> {
        self.agreements.get(id).map(SnapshotAgreement::fact)
    }

    fn agreements(&self) -> impl Iterator<Item = AgreementFact<'_>> {
        self.agreements.values().map(SnapshotAgreement::fact)
    }

    fn has_signed(&self, member: &MemberId, agreement: &AgreementId) -> bool {
        self.agreements.get(agreement).is_some_and(|known| known.signed_by.contains(member))
    }
}
