//! Registers: what stands in their leaves.

use tally_core::entry::REGISTER_LEN_MAX;
use tally_core::register::{
    AgreementRecord, Approval, Assessment, AssessmentStatus, GroupRecord, LedgerNode, MemberRecord,
    MemberStatus, Officer, OrganisationCode, RegisterBody, RegisterWrite, Witness,
};

use crate::codec::{
    Ascending, Blob, Codec, Head, Item, List, Text, array, ascends, numbers, object,
};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Object, sealed};

/// Members in one list at most.
pub(crate) const MEMBERS_MAX: usize = 1024;
/// Approvals under one register write at most.
pub(crate) const APPROVALS_MAX: usize = 256;
/// Witnesses at most.
pub(crate) const WITNESSES_MAX: usize = 16;

object! { RegisterWrite = 4, 1, REGISTER_LEN_MAX => {
    salt, name, version, previous, narrows, body,
    approvals: Ascending<0, APPROVALS_MAX>,
} }

array! { Approval { member, role, key, algorithm, signature } }

array! { MemberRecord {
    id,
    name: Text<1, 200>,
    codes: List<0, 16>,
    ca: Blob<1, 4096>,
    agent_key,
    officers: Ascending<0, 16>,
    nodes: Ascending<0, 8>,
    address,
    status,
    supersedes: Ascending<0, 16>,
    assessment,
} }

array! { OrganisationCode { system: Text<1, 16>, value: Text<1, 32>, from, until } }
array! { Assessment { status, published_on } }
array! { Officer { role, key } }
array! { LedgerNode { id, log_key, quic, https } }
array! { Witness { member, vkey: Text<1, 300>, url: Text<0, 300> } }

object! { AgreementRecord = 31, 1, REGISTER_LEN_MAX => {
    document,
    suspended_by: Ascending<0, MEMBERS_MAX>,
} }

object! { GroupRecord = 33, 1, REGISTER_LEN_MAX => { id, members: Ascending<0, MEMBERS_MAX> } }

numbers! { MemberStatus, "member's status" => { Active = 1, Suspended = 2, Removed = 3 } }
numbers! { AssessmentStatus, "result of an assessment" => {
    NotPublished = 1, NotMet = 2, Approaching = 3, Met = 4, Exceeded = 5,
} }

ascends! {
    MemberRecord: |member, next| member.id < next.id;
    Officer: |officer, next| officer.role < next.role;
    LedgerNode: |node, next| node.id < next.id;
    Approval: |approval, next| (&approval.member, &approval.role) < (&next.member, &next.role);
}

const MEMBER: u64 = 30;
const AGREEMENT: u64 = 31;
const CONSENT: u64 = 32;
const GROUP: u64 = 33;
const PROTOCOL: u64 = 34;
const WITNESSES: u64 = 35;

impl Object for RegisterBody {
    const LEN_MAX: usize = REGISTER_LEN_MAX;
}

/// Told apart by their kinds; those that are no structs have their one field after it.
impl sealed::Sealed for RegisterBody {
    fn read_object(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = Head::read(from)?;
        match head.kind {
            AGREEMENT => {
                head.check::<AgreementRecord>(from)?;
                let record = crate::codec::Fields::read_fields(from)?;
                Ok(Self::Agreement(Box::new(record)))
            }
            GROUP => {
                head.check::<GroupRecord>(from)?;
                crate::codec::Fields::read_fields(from).map(Self::Group)
            }
            CONSENT => head.fits(CONSENT, 1, 0).map(|()| Self::Consent),
            MEMBER => {
                head.fits(MEMBER, 1, 1)?;
                Item::read(from).map(|member| Self::Member(Box::new(member)))
            }
            PROTOCOL => {
                head.fits(PROTOCOL, 1, 1)?;
                Item::read(from).map(Self::Protocol)
            }
            WITNESSES => {
                head.fits(WITNESSES, 1, 1)?;
                List::<0, WITNESSES_MAX>::read(from).map(Self::Witnesses)
            }
            unknown => Err(DecodeError::UnknownKind(unknown)),
        }
    }

    fn write_object(&self, to: &mut Writer<'_>) {
        match self {
            Self::Agreement(record) => crate::codec::write_object(&**record, to),
            Self::Group(record) => crate::codec::write_object(record, to),
            Self::Consent => Head::write(CONSENT, 1, 0, to),
            Self::Member(member) => {
                Head::write(MEMBER, 1, 1, to);
                member.write(to);
            }
            Self::Protocol(version) => {
                Head::write(PROTOCOL, 1, 1, to);
                version.write(to);
            }
            Self::Witnesses(witnesses) => {
                Head::write(WITNESSES, 1, 1, to);
                List::<0, WITNESSES_MAX>::write(witnesses, to);
            }
        }
    }
}
