//! The table itself.

use super::STALE_NAMES_MAX;
use crate::refusal::Fault;
use crate::register::RegisterName;

/// The number of [`Rejection::Stale`], the one that carries something.
const STALE: u16 = 40;

macro_rules! rejections {
    ($($variant:ident = $number:literal, $code:literal, $fault:ident;
        $meaning:literal
        $remedy:literal)*) => {
        /// Why the ledger did not accept a submission.
        ///
        /// Whose fault is told from the submitting agent's side: it is the caller.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Rejection {
            $(#[doc = $meaning] $variant,)*
            /// These registers, ascending and at most [`STALE_NAMES_MAX`], are not at the versions
            /// that the batch names.
            Stale(Vec<RegisterName>),
        }

        impl Rejection {
            /// Number and code of each, in order of the table; the one that carries names last.
            pub const CODES: &[(u16, &'static str)] = &[$(($number, $code),)* (STALE, "stale")];

            /// The number on the wire. Never used again for something else.
            #[must_use]
            pub const fn number(&self) -> u16 {
                match self { $(Self::$variant => $number,)* Self::Stale(_) => STALE }
            }

            /// The rejection of a number and the registers that came with it; none if there is no
            /// such number, or one that does not go with these registers.
            #[must_use]
            pub fn from_parts(number: u16, stale: Vec<RegisterName>) -> Option<Self> {
                match number {
                    STALE if (1..=STALE_NAMES_MAX).contains(&stale.len()) => {
                        Some(Self::Stale(stale))
                    }
                    _ if !stale.is_empty() => None,
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The code: in answers, as metric label, for `tally explain`.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$variant => $code,)* Self::Stale(_) => "stale" }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(&self) -> Fault {
                match self {
                    $(Self::$variant => Fault::$fault,)*
                    Self::Stale(_) => Fault::Environment,
                }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub const fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Stale(_) => "Registers that the batch relies on have changed.",
                }
            }

            /// What to do, in a sentence.
            #[must_use]
            pub const fn remedy(&self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                    Self::Stale(_) => "Decide again with the registers as they are now.",
                }
            }
        }
    };
}

rejections! {
    // the genesis
    NotFounded = 1, "not-founded", Environment;
        "The ledger has no genesis yet."
        "Wait until the first leader has proposed it."
    AlreadyFounded = 2, "already-founded", Caller;
        "The ledger begins with another genesis."
        "Use the genesis file of this mesh."
    WrongMesh = 3, "wrong-mesh", Caller;
        "It is for another mesh."
        "Check which mesh the agent or ledger node is configured for."
    GenesisMalformed = 4, "genesis-malformed", Caller;
        "The founders are out of order, share a key or a node id, or are not all active, or a voter is none of their nodes."
        "Make the genesis with tally mesh init."
    // sessions
    WrongEpoch = 10, "wrong-epoch", Caller;
        "It is for another epoch of the ledger."
        "Open a session in the present epoch."
    UnknownMember = 11, "unknown-member", Caller;
        "The ledger knows no such member."
        "Have the organisation admitted to the mesh."
    WrongKey = 12, "wrong-key", Caller;
        "The key is not the member's current agent key."
        "Use the key that the member's register names."
    PreviousSessionMoved = 13, "previous-session-moved", Caller;
        "The member's last session is another one than the start says."
        "Ask for the member's last session; if another agent opened it, stop one of the two."
    MemberSuspended = 14, "member-suspended", Caller;
        "The member is suspended: it may record what it owes for 24 hours, and nothing else."
        "Have the suspension lifted by the members."
    MemberRemoved = 15, "member-removed", Caller;
        "The member has left the mesh."
        "Have the organisation admitted again."
    SessionNotOpen = 16, "session-not-open", Caller;
        "There is no such open session: a newer one, a new agent key or a removal ended it, and its outcomes are final."
        "Open a session, see what the ledger holds of the old one, and file the rest anew."
    BadSignature = 17, "bad-signature", Caller;
        "The signature does not verify."
        "Sign with the session's key over the mesh, epoch, session, number, lane, count and root."
    // numbers
    Gap = 20, "gap", Caller;
        "A batch before this one has not been judged."
        "Send the batches of a session in the order of their numbers."
    TooOld = 21, "too-old", Caller;
        "The batch's number was used so long ago that its answer is forgotten."
        "See what the ledger holds of the session."
    Conflict = 22, "conflict", Caller;
        "The batch's number was used for other content."
        "Resend the same bytes, or use the next number."
    // shape
    EmptyBatch = 30, "empty-batch", Caller;
        "The batch has no entries."
        "Send at least one entry."
    TooManyEntries = 31, "too-many-entries", Caller;
        "The batch has more than 512 entries."
        "Send several batches."
    TooLarge = 32, "too-large", Caller;
        "A leaf or the batch is larger than its limit."
        "Keep entries to 16 KiB, register leaves to 48 KiB and batches to 256 KiB."
    WrongLane = 33, "wrong-lane", Caller;
        "An entry does not belong in the batch's lane."
        "File permits, other entries and register writes in batches of their own."
    NotOwnEntry = 34, "not-own-entry", Caller;
        "An entry speaks for another member than the session's."
        "Write entries for the own organisation only."
    CounterNotAscending = 35, "counter-not-ascending", Caller;
        "An entry's counter is not above the one before it in the session."
        "Count the entries of a session upwards."
    LeafAhead = 36, "leaf-ahead", Caller;
        "An entry refers to a leaf that the ledger does not have yet."
        "Refer to earlier leaves only."
    RefusalNotRecordable = 37, "refusal-not-recordable", Caller;
        "This code may not stand in such an entry: a refusal about a person is recorded as person-level."
        "Record the code as the ledger may know it."
    Contradictory = 38, "contradictory", Caller;
        "An entry's fields or flags contradict each other."
        "Mend the agent that wrote it."
    NotReviewable = 39, "not-reviewable", Caller;
        "The leaf is no break-glass access of this member's that still waits for its review."
        "Name the leaf of the episode's first half: tally breakglass list."
    // permits
    ReadSetDisordered = 41, "read-set-disordered", Caller;
        "The read set is not ascending, or names a register twice."
        "Sort the read set by register."
    ReadSetIncomplete = 42, "read-set-incomplete", Caller;
        "The read set lacks a membership, the agreement, a group that decides, or the provider's consent register."
        "Name every register that the permit relies on."
    MemberNotActive = 43, "member-not-active", Caller;
        "One of the two organisations does not take part in the mesh now."
        "Refuse with member-suspended."
    AgreementUnknown = 44, "agreement-unknown", Caller;
        "The permit names no agreement, or one at another version than the ledger holds."
        "Decide again under the agreement as it is."
    AgreementNotSigned = 45, "agreement-not-signed", Caller;
        "One of the two organisations is no party to the agreement, or has not signed it."
        "Have the missing officer sign it."
    AgreementSuspended = 46, "agreement-suspended", Caller;
        "One of the two organisations has suspended the agreement."
        "Have that party resume it."
    AgreementNotStarted = 47, "agreement-not-started", Caller;
        "The agreement's first day is still ahead at ledger time."
        "Wait for its start, or amend it."
    AgreementEnded = 48, "agreement-ended", Caller;
        "The agreement's last day has passed at ledger time."
        "Sign a new version with a later end."
    NotShared = 49, "not-shared", Caller;
        "The agreement shares no such source with this requester for this purpose."
        "Amend the agreement, or refuse."
    OptOutUnsaid = 55, "opt-out-unsaid", Caller;
        "The agreement asks the national data opt-out for this purpose, and the permit names neither a check nor why none applies."
        "Rest the permit on an answer of the service, or refuse with opt-out-unavailable."
    ReviewsFull = 50, "reviews-full", Caller;
        "4,096 break-glass accesses of the provider wait for their review."
        "Have the privacy officers review them."
    ReviewOutOfOrder = 51, "review-out-of-order", Caller;
        "A review goes from open to under-review, and from there to justified or inappropriate, never back."
        "Take it under review first; what is concluded stays so."
    // register writes
    LateNotAllowed = 52, "late-not-allowed", Caller;
        "A half is marked late that is no break-glass permit for one person under a share that allows emergency access without the ledger."
        "Record it when it happens; only an agreement with offline_emergency lets it be recorded later."
    RegisterMoved = 60, "register-moved", Environment;
        "The register has changed since the write was made."
        "Read the register and make the write anew."
    VersionWrong = 61, "version-wrong", Caller;
        "The version is not the one after the register's."
        "Count a register's versions upwards, from 1."
    BodyMismatch = 62, "body-mismatch", Caller;
        "The body is not what the register's name says."
        "Write to each register what it is for."
    NarrowsUnsaid = 63, "narrows-unsaid", Caller;
        "Only a consent register can change without narrowing anything."
        "Say that the write narrows."
    NotOwnRegister = 64, "not-own-register", Caller;
        "Only the custodian writes to its consent registers."
        "Write to the own organisation's registers only."
    ApprovalsDisordered = 65, "approvals-disordered", Caller;
        "The approvals are not ascending by member and role, or an approval stands there twice."
        "Sort the approvals."
    ApprovalInvalid = 66, "approval-invalid", Caller;
        "An approval is not by the current ig-lead key of an active member that may give it."
        "Leave it out, or have it signed again."
    ApprovalsMissing = 67, "approvals-missing", Caller;
        "The write lacks the approval of a majority of the active members."
        "Collect more approvals."
    ApprovalsLost = 68, "approvals-lost", Caller;
        "The write leaves out an approval that this version of the agreement already has."
        "Keep the approvals there are, and suspend the agreement to leave it."
    NotAParty = 69, "not-a-party", Caller;
        "Who files, signs, suspends, provides or asks is no party to the agreement."
        "Have a party file it, and list all parties in the document."
    AgreementVersionWrong = 70, "agreement-version-wrong", Caller;
        "The document's version goes back, or the document changed without a new version."
        "Give a changed document a higher version."
    AgreementMalformed = 71, "agreement-malformed", Caller;
        "The document has too few or too many parties or shares, has them out of order, or ends before it starts."
        "Check the document with tally agreement check."
    SuspensionNotOwn = 72, "suspension-not-own", Caller;
        "The write suspends or resumes an agreement for another party."
        "Suspend and resume for the own organisation only."
    MemberMalformed = 73, "member-malformed", Caller;
        "The member's nodes, officers or lists are out of order or too long."
        "Sort them, and name each once."
    NodeReused = 74, "node-reused", Caller;
        "A ledger node's number was used before."
        "Give a new node a number that was never used."
    KeyReused = 75, "key-reused", Caller;
        "A key already has another use in the mesh."
        "Make a key for each use."
    ProtocolNotRaised = 76, "protocol-not-raised", Caller;
        "The version of the rules can only go up."
        "Raise it above the present one."
    GroupMalformed = 77, "group-malformed", Caller;
        "The group's members are out of order, named twice, or unknown."
        "Name members of the mesh, ascending."
    WitnessesMalformed = 78, "witnesses-malformed", Caller;
        "There are more than 16 witnesses, one is named twice, or one's member is unknown."
        "Name at most 16 witnesses, each once."
    CosignersTooMany = 79, "cosigners-too-many", Caller;
        "There would be more than 16 ledger nodes and witnesses, who all sign checkpoints."
        "Take a witness or a ledger node away first."
    ProtocolUnsupported = 80, "protocol-unsupported", Environment;
        "Most of the ledger nodes that vote have not said that they know this version of the rules."
        "Upgrade a majority of them first: tally mesh protocol show says which know it."
    WitnessKeyMalformed = 85, "witness-key-malformed", Caller;
        "A witness's key is no verifier key of cosignatures (C2SP tlog-cosignature, Ed25519)."
        "Name the key as its witness publishes it: tally witness new shows a member's."
    VotersCutOff = 86, "voters-cut-off", Environment;
        "The write takes ledger nodes that vote out of their member's register, and no majority of the voters that are there would be left."
        "Take the nodes out of the cluster first, or bring the silent ones back: tally ledger nodes, tally ledger remove."
    // forced recovery
    RecoveryOutOfTurn = 81, "recovery-out-of-turn", Caller;
        "The recovery does not begin the epoch that comes after the present one."
        "Plan it anew on the node that is to continue: tally ledger recover --plan."
    RecoveryOfOtherLeaves = 82, "recovery-of-other-leaves", Caller;
        "The recovery was approved for another size or another root than the ledger has here."
        "Have what this node has approved, or continue with the node whose leaves were."
    RecoveryNodeUnknown = 83, "recovery-node-unknown", Caller;
        "The node that is to continue is none of a member that takes part."
        "Name a node that the registers know: tally member list."
    RecoveryNotSubmitted = 84, "recovery-not-submitted", Caller;
        "A recovery is written by the node that continues while it is stopped; a ledger that runs takes none."
        "Run tally ledger recover on that node."
    // disposals
    DisposalUnauthorised = 87, "disposal-unauthorised", Caller;
        "The disposal is not signed by the member's present Caldicott Guardian or IG lead."
        "Have one of the two authorise it: tally erase run --authorised-by ROLE."
    DisposalEarly = 88, "disposal-early", Caller;
        "The disposal covers a retention year that has not ended at ledger time."
        "Wait until the year is over, or name an earlier one."
}
