//! Data sharing agreements: who may give what to whom, why, on which legal basis.
//!
//! Invariant: what a reader is shown is what runs. Nothing in an agreement widens what its
//! allow-lists name.

mod check;
pub mod condition;
pub mod file;
mod opt_out;
mod plain;
mod words;

pub use check::{LIFTABLE, check, warnings};
pub use condition::Condition;
pub use plain::plain;
pub use words::user_known_word;

use crate::entry::UserKnown;
use crate::id::{AgreementId, GroupId, MemberId, Purpose, SourceId};
use crate::record::Confidentiality;
use crate::refusal::Refusal;
use crate::register::AssessmentStatus;
use crate::time::Date;

/// A version of an agreement's document, as its parties sign it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Which agreement.
    pub id: AgreementId,
    /// The document's version, from 1.
    pub version: u64,
    /// What it is about, 1 to 200 bytes.
    pub title: String,
    /// The first day on which it holds, in Europe/London.
    pub start: Date,
    /// From the day after this one it warns.
    pub review: Date,
    /// The last day on which it holds.
    pub end: Date,
    /// The reference of its data protection impact assessment, 0 to 200 bytes.
    pub dpia: String,
    /// Who may sign it, ascending, 2 to 64.
    pub parties: Vec<Party>,
    /// What it shares, 1 to 64.
    pub shares: Vec<Share>,
}

/// How an agreement's dates stand to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its first day is still ahead.
    NotStarted,
    /// It holds.
    InForce,
    /// It holds, and should have been reviewed.
    PastReview,
    /// Its last day has passed.
    Ended,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "not-started",
            Self::InForce => "in-force",
            Self::PastReview => "past-review",
            Self::Ended => "ended",
        })
    }
}

impl Agreement {
    /// How its dates stand to a day in Europe/London. `end` is a day on which it still holds.
    #[must_use]
    pub fn standing_on(&self, day: Date) -> Standing {
        if day < self.start {
            Standing::NotStarted
        } else if day > self.end {
            Standing::Ended
        } else if day > self.review {
            Standing::PastReview
        } else {
            Standing::InForce
        }
    }
}

/// A member, or a group of members by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// One member.
    Member(MemberId),
    /// All members of a group, as its register has them.
    Group(GroupId),
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member(id) => std::fmt::Display::fmt(id, f),
            Self::Group(id) => std::fmt::Display::fmt(id, f),
        }
    }
}

/// One source of one provider, for some requesters and purposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Whose source it is.
    pub provider: MemberId,
    /// Who may ask, ascending, 1 to 64.
    pub requesters: Vec<Party>,
    /// Which source.
    pub source: SourceId,
    /// For which purposes, ascending, 1 to 64.
    pub purposes: Vec<Purpose>,
    /// What kind of data it is: decides which legal tests apply.
    pub data: DataKind,
    /// Whether a duty of confidence is owed: then a common-law basis is needed.
    pub confidential: bool,
    /// The legal bases.
    pub basis: Basis,
    /// What may be released: an allow-list.
    pub fields: AllowList,
    /// How far the user must be known, at least.
    pub user_known: UserKnown,
    /// Whether a relationship to the person must be stated.
    pub relationship_required: bool,
    /// Refusals that break-glass may lift, ascending.
    pub overrides: Vec<Refusal>,
    /// Whether emergency access may go on while the ledger has no quorum.
    pub offline_emergency: bool,
    /// Whether refusals about a person may show their reason to the requester.
    pub show_reasons: bool,
    /// A Cedar condition that narrows, 0 to 4,096 bytes; none is an empty text.
    pub condition: Condition,
    /// How confidential a record may be, by its labels, at most.
    pub confidentiality: Confidentiality,
    /// How well the data security of who asks must be assessed (DSPT), at least. None: it is not asked.
    pub assessment_min: Option<AssessmentStatus>,
}

/// What kind of data a source holds, in the words of the UK GDPR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKind {
    /// Nobody can be identified.
    None,
    /// Personal data (Art. 4(1)): an Art. 6 basis is needed.
    Personal,
    /// A special category (Art. 9(1)): an Art. 9 condition is needed too.
    Special,
}

/// Legal bases, each where it applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Basis {
    /// UK GDPR Art. 6(1).
    pub article_6: Option<Article6>,
    /// UK GDPR Art. 9(2).
    pub article_9: Option<Article9>,
    /// How the common-law duty of confidentiality is met.
    pub common_law: Option<CommonLaw>,
    /// The statutory power (gateway), 0 to 200 bytes.
    pub power: String,
}

/// UK GDPR Art. 6(1)(a) to (f).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Article6 {
    /// (a)
    Consent,
    /// (b)
    Contract,
    /// (c)
    LegalObligation,
    /// (d)
    VitalInterests,
    /// (e)
    PublicTask,
    /// (f), not for a public body's tasks.
    LegitimateInterests,
}

/// UK GDPR Art. 9(2)(a) to (j).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Article9 {
    /// (a)
    ExplicitConsent,
    /// (b)
    EmploymentAndSocialProtection,
    /// (c)
    VitalInterests,
    /// (d)
    NotForProfitBodies,
    /// (e)
    MadePublic,
    /// (f)
    LegalClaims,
    /// (g)
    SubstantialPublicInterest,
    /// (h)
    HealthOrSocialCare,
    /// (i)
    PublicHealth,
    /// (j)
    ArchivingResearchStatistics,
}

/// How the common-law duty of confidentiality is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommonLaw {
    /// Direct care by those whom the person would expect.
    ImpliedConsent,
    /// The person said yes.
    ExplicitConsent,
    /// A statute requires or permits it.
    Statute,
    /// A court ordered it.
    CourtOrder,
    /// Support under s.251 NHS Act 2006.
    Section251,
    /// Regulation 3 of the COPI Regulations 2002: communicable disease.
    CopiRegulation3,
    /// An overriding public interest.
    PublicInterest,
    /// Someone's life is at stake.
    VitalInterests,
}

impl CommonLaw {
    /// Whether a law sets the duty of confidence aside, so that a person who has said nothing need not
    /// be asked: a statute; an order of a court; support under section 251 of the NHS Act 2006, whose
    /// regulations make the processing lawful "notwithstanding any obligation of confidence"; and
    /// regulation 3 of the same regulations (SI 2002/1438, regulation 4). An objection holds all the
    /// same. Explicit consent is a word of the person's, and what is weighed in the single case (the
    /// public interest, somebody's life) weighs nothing in advance.
    #[must_use]
    pub const fn sets_confidence_aside(self) -> bool {
        matches!(self, Self::Statute | Self::CourtOrder | Self::Section251 | Self::CopiRegulation3)
    }
}

/// What may be released. What is not named stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowList {
    /// FHIR: resource types ascending, each with its elements ascending, or all of them.
    Elements(Vec<(String, Elements)>),
    /// CSV and queries: columns, ascending.
    Columns(Vec<String>),
    /// A dataset without persons, as it is.
    Everything,
}

/// Elements of a resource type that may be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elements {
    /// `["*"]`: all of them.
    All,
    /// These elements, ascending: by their paths from the resource on, such as `birthDate` or
    /// `address.postalCode`. Of what stands above a path only what leads there is released.
    These(Vec<String>),
}

impl Elements {
    /// Whether the element of a path is released with all that is in it.
    #[must_use]
    pub fn lists(&self, path: &str) -> bool {
        let covers = |listed: &String| {
            path.strip_prefix(listed.as_str())
                .is_some_and(|below| below.is_empty() || below.starts_with('.'))
        };
        match self {
            Self::All => true,
            Self::These(these) => these.iter().any(covers),
        }
    }
}
