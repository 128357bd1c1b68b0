//! Ids, hashes, keys and numbers: what stands in many objects.

use std::str::FromStr;

use tally_core::entry::{Algorithm, Lane};
use tally_core::id::{
    AgreementId, ExchangeId, GroupId, KeyId, LeafIndex, MemberId, MeshId, MeshName, NodeId,
    OfficerRole, OptOutReference, Purpose, PurposeSystem, Salt16, SessionId, SourceId,
};
use tally_core::refusal::Refusal;
use tally_core::register::{Address, RegisterName};
use tally_core::time::{Date, Timestamp};
use tally_log::{Hash, Signature, VerifyingKey};

use crate::codec::{Item, ascends, numbers};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::writer::Writer;

/// No name, id or address is longer.
const TEXT_LEN_MAX: usize = 300;

/// Types that are one text each, and how to write it.
macro_rules! texts {
    ($($type:ty, $what:literal: $write:ident(|$item:ident| $text:expr);)*) => {
        $(impl Item for $type {
            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                parsed(from.text($what, TEXT_LEN_MAX)?, $what)
            }

            fn write(&self, to: &mut Writer<'_>) {
                let $item = self;
                to.$write($text);
            }
        })*
    };
}

/// Types that are one number each.
macro_rules! counts {
    ($($type:ty: |$item:ident| $number:expr, $make:expr;)*) => {
        $(impl Item for $type {
            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.number().map($make)
            }

            fn write(&self, to: &mut Writer<'_>) {
                let $item = self;
                to.number($number);
            }
        })*
    };
}

/// Types that are byte strings of one length each.
macro_rules! fixed {
    ($($type:ty, $what:literal: |$item:ident| $bytes:expr, $make:expr;)*) => {
        $(impl Item for $type {
            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.fixed($what).map($make)
            }

            fn write(&self, to: &mut Writer<'_>) {
                let $item = self;
                to.bytes($bytes);
            }
        })*
    };
}

texts! {
    MemberId, "a member's id": text(|id| id.as_str());
    MeshName, "a mesh's name": text(|name| name.as_str());
    AgreementId, "an agreement's id": text(|id| id.as_str());
    SourceId, "a source's id": text(|id| id.as_str());
    GroupId, "a group's id": text(|id| id.as_str());
    OfficerRole, "an officer's role": text(|role| role.as_str());
    Address, "an address": text(|address| address.as_str());
    OptOutReference, "a reference of an opt-out check": text(|reference| reference.as_str());
    RegisterName, "a register's name": formatted(|name| name);
    Date, "a day": formatted(|day| day);
}

counts! {
    u64: |number| *number, |number| number;
    LeafIndex: |leaf| leaf.0, LeafIndex;
    SessionId: |session| session.0.0, |number| SessionId(LeafIndex(number));
    NodeId: |node| node.0, NodeId;
    Timestamp: |time| time.0, Timestamp;
}

fixed! {
    Hash, "a hash": |hash| hash.as_bytes(), Hash::from_bytes;
    MeshId, "a mesh id": |mesh| mesh.0.as_bytes(), |bytes| MeshId(Hash::from_bytes(bytes));
    KeyId, "a key id": |key| &key.0, KeyId;
    ExchangeId, "an exchange id": |exchange| &exchange.0, ExchangeId;
    Salt16, "a salt": |salt| &salt.0, Salt16;
    Signature, "a signature": |signature| signature.as_bytes(), Signature::from_bytes;
}

numbers! { PurposeSystem, "code system of purposes" => { ActReason = 1, Local = 2 } }

ascends! {
    MemberId: |id, next| id < next;
    Purpose: |purpose, next| purpose < next;
    Refusal: |refusal, next| refusal.number() < next.number();
    NodeId: |node, next| node < next;
    RegisterName: |name, next| name < next;
    String: |text, next| text < next;
}

fn parsed<T: FromStr>(text: &str, what: &'static str) -> Result<T, DecodeError> {
    text.parse().map_err(|_| DecodeError::BadText(what))
}

impl Item for bool {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.boolean()
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.boolean(*self);
    }
}

impl Item for u16 {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.number()?.try_into().map_err(|_| DecodeError::UnknownNumber("16-bit count"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(u64::from(*self));
    }
}

impl Item for VerifyingKey {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(&from.fixed("a public key")?).map_err(|_| DecodeError::BadKey)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(self.as_bytes());
    }
}

/// `[system, code]`.
impl Item for Purpose {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array_of("a purpose", 2)?;
        let system = PurposeSystem::read(from)?;
        let code = from.text("a purpose", TEXT_LEN_MAX)?;
        Self::new(system, code).map_err(|_| DecodeError::BadText("a purpose"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.array(2);
        self.system().write(to);
        to.text(self.code());
    }
}

impl Item for Refusal {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = u16::try_from(from.number()?).ok();
        number.and_then(Self::from_number).ok_or(DecodeError::UnknownNumber("refusal"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(u64::from(self.number()));
    }
}

impl Item for Lane {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = u8::try_from(from.number()?).ok();
        number.and_then(Self::from_number).ok_or(DecodeError::UnknownNumber("lane"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(u64::from(self.number()));
    }
}

/// COSE's number of EdDSA (RFC 9053 §2.2).
const EDDSA: i64 = -8;

impl Item for Algorithm {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.signed()? {
            EDDSA => Ok(Self::EdDsa),
            _ => Err(DecodeError::UnknownNumber("signature algorithm")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.signed(match self {
            Self::EdDsa => EDDSA,
        });
    }
}
