//! The halves of an exchange, the close of a release, and counted refusals.

use tally_log::Hash;

use super::opt_out::OptOut;
use crate::id::{AgreementId, ExchangeId, LeafIndex, MemberId, Purpose, Salt16, SourceId};
use crate::refusal::Refusal;
use crate::register::RegisterRef;
use crate::time::Timestamp;

/// The provider's half: what was asked, under which agreement, what was decided on which facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderHalf {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The exchange, as the requester named it.
    pub exchange: ExchangeId,
    /// The entry's number in its session, ascending.
    pub counter: u64,
    /// Who keeps the record: the member of the session.
    pub provider: MemberId,
    /// Who asked.
    pub requester: MemberId,
    /// The provider's processor, if one runs its agent.
    pub operator: Option<MemberId>,
    /// The agreement that permits, or came nearest to it. None if there is none.
    pub agreement: Option<AgreementRef>,
    /// Why.
    pub purpose: Purpose,
    /// Which source of the provider.
    pub source: SourceId,
    /// What was asked of it.
    pub action: Action,
    /// Yes or no.
    pub outcome: Outcome,
    /// How far the user is known.
    pub user_known: UserKnown,
    /// People whose data is released.
    pub people: u64,
    /// People whose data is withheld, where the agreement shows reasons; 0 where it does not, for the
    /// requester reads this.
    pub people_withheld: u64,
    /// Records released.
    pub records: u64,
    /// Bytes released, after minimisation; 0 where [`Flags::STREAMED`] says that a close follows.
    pub bytes: u64,
    /// HMAC-SHA256 of the body under the opening's salt; none if the body was not read before.
    pub digest: Option<Hash>,
    /// RFC 6962 root over the one-time tags of the people, shuffled.
    pub tags_root: Hash,
    /// SHA-256 of the opening.
    pub commitment: Hash,
    /// What is special.
    pub flags: Flags,
    /// The read set: registers and their versions, ascending by name.
    pub read_set: Vec<RegisterRef>,
    /// The exchange that this one resumes.
    pub resumes: Option<ExchangeId>,
    /// The leaf that this one corrects.
    pub rectifies: Option<LeafIndex>,
    /// What a permit rests on where the national data opt-out is asked.
    pub opt_out: Option<OptOut>,
}

/// The requester's half: what arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequesterHalf {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The exchange.
    pub exchange: ExchangeId,
    /// The entry's number in its session, ascending.
    pub counter: u64,
    /// Who asked: the member of the session.
    pub requester: MemberId,
    /// The provider's half that was answered with, if a receipt arrived.
    pub provider_leaf: Option<LeafIndex>,
    /// Who was asked.
    pub provider: MemberId,
    /// The agreement that the provider's half names.
    pub agreement: Option<AgreementRef>,
    /// Why.
    pub purpose: Purpose,
    /// Which source of the provider.
    pub source: SourceId,
    /// What was asked of it.
    pub action: Action,
    /// Yes or no.
    pub outcome: Outcome,
    /// Bytes that arrived.
    pub bytes_arrived: u64,
    /// Keyed digest of what arrived.
    pub digest: Option<Hash>,
    /// The commitment that the opening was checked against.
    pub commitment: Option<Hash>,
    /// What is special.
    pub flags: Flags,
    /// The leaf that this one corrects.
    pub rectifies: Option<LeafIndex>,
}

/// How a release ended: owed by the provider where its half could not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The entry's number in its session, ascending.
    pub counter: u64,
    /// The provider's half that is closed.
    pub provider_leaf: LeafIndex,
    /// How it ended.
    pub how: How,
    /// Bytes that left.
    pub bytes: u64,
    /// Keyed root over the chunks that left, for a stream.
    pub root: Option<Hash>,
}

/// Refusals above the rate limit per requester and code: one entry with their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalCount {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The entry's number in its session, ascending.
    pub counter: u64,
    /// Who refused: the member of the session.
    pub provider: MemberId,
    /// Who asked.
    pub requester: MemberId,
    /// Why not, as the ledger may know it.
    pub refusal: Refusal,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub to: Timestamp,
}

/// An agreement at a version of its document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgreementRef {
    /// Which agreement.
    pub id: AgreementId,
    /// Which version of its document, from 1.
    pub version: u64,
}

/// What was asked of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// One record by its id.
    Read,
    /// One version of a record.
    VersionRead,
    /// Records that match.
    Search,
    /// A person's whole compartment.
    Everything,
    /// A dataset, whole or in part.
    Dataset,
}

/// Yes, or no and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Released, as far as the half says.
    Permit,
    /// Nothing released.
    Refuse(Refusal),
}

/// How far the user behind a request is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserKnown {
    /// No person: a service asks.
    Service,
    /// The application says who; nobody else vouches.
    Asserted,
    /// A token that the ingress verified.
    Verified,
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// All of it left.
    Sent,
    /// Its basis was withdrawn on the way.
    Withdrawn,
    /// It broke off.
    Abandoned,
    /// Nothing left.
    NothingSent,
    /// The provider's store is older than the ledger: what left can't be said any more.
    OpeningLost,
    /// It left, all or some of it, before the half was on the ledger, although the half is not marked
    /// late: emergency access, whose permit the ledger took after all.
    Late,
}

/// What is special about an entry. Reserved bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Flags(u64);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// Permitted by break-glass.
    pub const BREAK_GLASS: Self = Self(1);
    /// Recorded after the fact: emergency access while the ledger had no quorum.
    pub const LATE: Self = Self(2);
    /// Released as a stream: bytes and digest were unknown, a close follows.
    pub const STREAMED: Self = Self(4);
    /// The ledger's answer came too late for the requester, which had been told so.
    pub const ANSWERED_LATE: Self = Self(8);

    /// Goes on with a break-glass episode that an earlier half of the same two members began: the same
    /// user, the same person, within the hour. It has no alert and no review of its own. That it is so
    /// is the provider's attributable claim, checkable with the openings.
    pub const SAME_EPISODE: Self = Self(32);

    /// Permitted although nobody but the user says how they are related to the person: both members'
    /// privacy officers are alerted, as by break-glass.
    pub const SELF_CLAIMED: Self = Self(64);

    const KNOWN: u64 = 111;

    /// The stored bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The flags of stored bits; none if a reserved bit is set.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// What the requester's half repeats of the provider's.
    pub const OF_BOTH_HALVES: Self = Self(
        Self::BREAK_GLASS.0
            | Self::LATE.0
            | Self::STREAMED.0
            | Self::SAME_EPISODE.0
            | Self::SELF_CLAIMED.0,
    );

    /// Whether privacy officers may have to hear of it at once.
    #[must_use]
    pub const fn alert_officers(self) -> bool {
        self.has(Self::BREAK_GLASS) || self.has(Self::SELF_CLAIMED)
    }

    /// Those of them that are among these.
    #[must_use]
    pub const fn only(self, these: Self) -> Self {
        Self(self.0 & these.0)
    }

    /// These, but none of those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
