//! The leaves of the ledger.

use tally_core::entry::{
    Action, AgreementRef, Close, Disposal, DisposalBasis, Disposed, ENTRY_LEN_MAX, Entry,
    Environment, Flags, Genesis, How, OPT_OUT_CHECKS_MAX, OptOut, OptOutCheck, OptOutChecks,
    OptOutExemption, Outcome, ProviderHalf, REGISTER_LEN_MAX, Recovery, RefusalCount,
    RequesterHalf, Review, ReviewState, Seal, SessionStart, UserKnown,
};
use tally_core::refusal::Refusal;
use tally_core::register::{RegisterRef, RegisterWrite};

use crate::codec::{Ascending, Codec, Item, array, ascends, choice, numbers, object};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::register::{APPROVALS_MAX, MEMBERS_MAX};
use crate::writer::Writer;

/// Registers in a read set at most: all consent registers of a custodian, and what else a permit
/// stands on.
pub(crate) const READ_SET_MAX: usize = 320;
/// First voters of a mesh at most.
pub(crate) const VOTERS_MAX: usize = 16;

choice! { Entry, REGISTER_LEN_MAX => {
    Genesis(Genesis),
    Recovery(Recovery),
    SessionStart(SessionStart),
    Seal(Seal),
    Register(RegisterWrite),
    ProviderHalf(ProviderHalf),
    RequesterHalf(RequesterHalf),
    Close(Close),
    RefusalCount(RefusalCount),
    Review(Review),
    Disposal(Disposal),
} }

object! { Genesis = 1, 1, REGISTER_LEN_MAX => {
    salt, mesh, environment, protocol,
    members: Ascending<1, MEMBERS_MAX>,
    voters: Ascending<1, VOTERS_MAX>,
} }

object! { SessionStart = 2, 1, ENTRY_LEN_MAX => {
    salt, mesh_id, epoch, member, key, previous, algorithm, signature,
} }

object! { Seal = 3, 1, ENTRY_LEN_MAX => {
    session, number, lane, count, root, algorithm, signature, time, last_register_leaf,
} }

object! { Recovery = 5, 1, REGISTER_LEN_MAX => {
    salt, mesh_id, epoch, size, root, node,
    approvals: Ascending<1, APPROVALS_MAX>,
} }

object! { ProviderHalf = 10, 1, ENTRY_LEN_MAX => {
    salt, exchange, counter, provider, requester, operator, agreement, purpose, source, action,
    outcome, user_known, people, people_withheld, records, bytes, digest, tags_root, commitment,
    flags,
    read_set: Ascending<0, READ_SET_MAX>,
    resumes, rectifies, opt_out,
} }

object! { RequesterHalf = 11, 1, ENTRY_LEN_MAX => {
    salt, exchange, counter, requester, provider_leaf, provider, agreement, purpose, source,
    action, outcome, bytes_arrived, digest, commitment, flags, rectifies,
} }

object! { Close = 12, 1, ENTRY_LEN_MAX => { salt, counter, provider_leaf, how, bytes, root } }

object! { RefusalCount = 13, 1, ENTRY_LEN_MAX => {
    salt, counter, provider, requester, refusal, count, from, to,
} }

object! { Review = 14, 1, ENTRY_LEN_MAX => {
    salt, counter, member, role, provider_leaf, state,
} }

object! { Disposal = 15, 1, ENTRY_LEN_MAX => {
    salt, counter, member, what, role, key, algorithm, signature,
} }

array! { Disposed { basis, before, keys, openings, held, certificate } }
array! { AgreementRef { id, version } }
array! { RegisterRef { name, version } }

numbers! { Environment, "environment" => { Test = 1, Live = 2 } }
numbers! { Action, "action" => {
    Read = 1, VersionRead = 2, Search = 3, Everything = 4, Dataset = 5,
} }
numbers! { UserKnown, "way to know a user" => { Service = 1, Asserted = 2, Verified = 3 } }
numbers! { DisposalBasis, "basis of a disposal" => {
    RetentionEnded = 1, CourtOrder = 2, LegalObligation = 3,
} }
numbers! { How, "end of a release" => {
    Sent = 1, Withdrawn = 2, Abandoned = 3, NothingSent = 4, OpeningLost = 5, Late = 7,
} }

numbers! { OptOutExemption, "exemption from the opt-out" => { OtherNation = 1, NotCare = 2 } }

array! { OptOutCheck { reference, asked, answered, reply, age_s } }

ascends! { OptOutCheck: |check, next| check.reference < next.reference; }
numbers! { ReviewState, "state of a review" => {
    Open = 1, UnderReview = 2, Justified = 3, Inappropriate = 4,
} }

ascends! { RegisterRef: |register, next| register.name < next.name; }

/// `[]` where it is a permit, `[refusal]` where it is none.
impl Item for Outcome {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Option::<Refusal>::read(from)?.map_or(Self::Permit, Self::Refuse))
    }

    fn write(&self, to: &mut Writer<'_>) {
        let refusal = match self {
            Self::Permit => None,
            Self::Refuse(refusal) => Some(*refusal),
        };
        refusal.write(to);
    }
}

/// `[[exemption], []]` or `[[], [check…]]`.
impl Item for OptOut {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array_of("an opt-out", 2)?;
        let exemption = Option::<OptOutExemption>::read(from)?;
        let checks: Vec<OptOutCheck> = Ascending::<0, OPT_OUT_CHECKS_MAX>::read(from)?;
        match exemption {
            Some(why) if checks.is_empty() => Ok(Self::Exempt(why)),
            None if !checks.is_empty() => {
                let checks = OptOutChecks::new(checks);
                checks.map(Self::Checked).ok_or(DecodeError::UnknownNumber("count of answers"))
            }
            _ => Err(DecodeError::WrongLength("an opt-out")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let (exemption, checks) = match self {
            Self::Exempt(why) => (Some(*why), Vec::new()),
            Self::Checked(checks) => (None, checks.as_slice().to_vec()),
        };
        to.array(2);
        exemption.write(to);
        Ascending::<0, OPT_OUT_CHECKS_MAX>::write(&checks, to);
    }
}

impl Item for Flags {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bits(from.number()?).ok_or(DecodeError::ReservedFlag)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(self.bits());
    }
}
