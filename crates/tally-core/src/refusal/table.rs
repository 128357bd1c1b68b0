//! The table itself.

use super::{Ask, Fault, Scope};

/// A column that may be empty.
macro_rules! first {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

macro_rules! refusals {
    ($($variant:ident = $number:literal, $code:literal, $fault:ident, $status:literal, $issue:literal, $scope:ident, $ask:ident $(, $spine:literal)?;
        $meaning:literal
        $remedy:literal)*) => {
        /// Why an exchange was refused, or ended otherwise than as told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $(#[doc = $meaning] $variant,)*
        }

        impl Refusal {
            /// All of them, in order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number on the ledger. Never used again for something else.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The refusal of a number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The code: on the wire, in OperationOutcome, as metric label, for `tally explain`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }

            /// The HTTP status at the ingress.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The code of `OperationOutcome.issue.code`, from FHIR R4's issue-type.
            #[must_use]
            pub const fn fhir_issue(self) -> &'static str {
                match self { $(Self::$variant => $issue,)* }
            }

            /// What of it is recorded, and what leaves.
            #[must_use]
            pub const fn scope(self) -> Scope {
                match self { $(Self::$variant => Scope::$scope,)* }
            }

            /// The code that a client of the NHS's own FHIR services knows for it, where one fits: of
            /// Spine's code system for R4, as the Personal Demographics Service and the National Record
            /// Locator use it. It says less than ours.
            #[must_use]
            pub const fn spine_code(self) -> Option<&'static str> {
                match self { $(Self::$variant => first!($($spine)?),)* }
            }

            /// Whom to ask.
            #[must_use]
            pub const fn ask(self) -> Ask {
                match self { $(Self::$variant => Ask::$ask,)* }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What would make it lawful, or work, in a sentence.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

refusals! {
    // who asks
    NotAMember = 1, "not-a-member", Caller, 403, "forbidden", Organisation, OwnOperator, "ACCESS_DENIED";
        "The caller's certificate names no member of this mesh."
        "Have the organisation admitted to the mesh."
    MemberSuspended = 2, "member-suspended", Caller, 403, "suppressed", Organisation, OwnIgLead, "ACCESS_DENIED";
        "One of the two organisations is suspended from the mesh."
        "Have the suspension lifted by the members."
    AssuranceTooLow = 3, "assurance-too-low", Caller, 403, "forbidden", Organisation, OwnIgLead, "ACCESS_DENIED";
        "The requester's data security (DSPT) was assessed as less than the agreement asks for, or its register does not say."
        "Publish an assessment that is good enough, and have the members enter it into the register; or amend the agreement."
    IdentifierNotForMesh = 4, "identifier-not-for-mesh", Caller, 403, "business-rule", Person, ProviderOperator;
        "The record belongs to a real person in a test mesh, or to a made-up one in a live mesh."
        "Use test identifiers in test meshes only."
    // agreement
    NoAgreement = 10, "no-agreement", Caller, 403, "forbidden", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "No agreement between the two organisations covers this source."
        "Propose an agreement that shares this source, and have both sides sign it."
    AgreementNotSigned = 11, "agreement-not-signed", Caller, 403, "forbidden", Organisation, OwnIgLead, "ACCESS_DENIED";
        "The agreement lacks the signature of one of the two organisations."
        "Have the missing officer sign it."
    AgreementNotStarted = 12, "agreement-not-started", Caller, 403, "forbidden", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The agreement's first day is still ahead."
        "Wait for its start, or amend it."
    AgreementEnded = 13, "agreement-ended", Caller, 403, "expired", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The agreement's last day has passed."
        "Sign a new version with a later end."
    AgreementSuspended = 14, "agreement-suspended", Caller, 403, "suppressed", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "A party has suspended the agreement."
        "Have that party resume it."
    PurposeUnclassified = 15, "purpose-unclassified", Caller, 403, "code-invalid", Organisation, OwnIgLead, "ACCESS_DENIED";
        "The purpose has no class, so no rule says what it may be used for."
        "Ask for one of the purposes that have a class."
    PurposeForbidden = 16, "purpose-forbidden", Caller, 403, "forbidden", Organisation, OwnIgLead, "ACCESS_DENIED";
        "No agreement can permit this purpose."
        "Nothing makes this lawful here: marketing is never a purpose."
    PurposeNotInAgreement = 17, "purpose-not-in-agreement", Caller, 403, "forbidden", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The agreement does not cover this purpose."
        "Amend the agreement to cover the purpose, if its legal bases allow that."
    Article6Missing = 18, "article-6-missing", Caller, 403, "business-rule", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The data is personal and the agreement names no basis under UK GDPR Article 6."
        "Amend the agreement with the basis that applies."
    Article9Missing = 19, "article-9-missing", Caller, 403, "business-rule", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The data is of a special category and the agreement names no condition under UK GDPR Article 9."
        "Amend the agreement with the condition that applies."
    CommonLawMissing = 20, "common-law-missing", Caller, 403, "business-rule", Organisation, ProviderCaldicott, "ACCESS_DENIED";
        "The data is confidential and the agreement names no common-law basis that allows this purpose."
        "Amend the agreement with the basis that applies."
    PowerMissing = 21, "power-missing", Caller, 403, "business-rule", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The agreement names no statutory power for sharing personal data."
        "Amend the agreement with the power that applies."
    TypeNotInAgreement = 22, "type-not-in-agreement", Caller, 403, "forbidden", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The agreement does not release this type of record, or any column of this dataset."
        "Amend the agreement's allow-list."
    QueryNotPermitted = 23, "query-not-permitted", Caller, 403, "forbidden", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The search uses an element that the agreement does not release: its answer would tell what is withheld."
        "Search by released elements only, or amend the allow-list."
    ConditionNotMet = 24, "condition-not-met", Caller, 403, "forbidden", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "The agreement's condition is not met by this request."
        "Keep within the condition, as the agreement states it."
    // role and relationship
    UserNotKnownEnough = 30, "user-not-known-enough", Caller, 403, "security", Organisation, OwnOperator, "ACCESS_DENIED";
        "The agreement asks for a user who is better known than this one."
        "Send the user's verified token."
    RelationshipMissing = 31, "relationship-missing", Caller, 403, "business-rule", Organisation, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The agreement asks how the user is related to the person, and the request does not say."
        "State the relationship in Tally-Relationship."
    ReasonMissing = 32, "reason-missing", Caller, 403, "required", Organisation, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "Emergency access needs a reason in words."
        "State the reason in Tally-Reason."
    // break-glass
    UserNotNamed = 33, "user-not-named", Caller, 403, "security", Organisation, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "Only a person can break the glass, and the request names none: a service has nobody whom an officer could ask."
        "Name the user in Tally-User, or send their token."
    ReasonTooShort = 34, "reason-too-short", Caller, 403, "required", Organisation, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The reason for breaking the glass has too few characters to say anything."
        "Say in Tally-Reason what happened, so that a privacy officer can judge it."
    NotOnePerson = 35, "not-one-person", Caller, 404, "not-found", Person, ApplicationVendor;
        "The glass is broken for one person, and what was found is about several people or about nobody."
        "Ask for one person's records: by id, by patient=, or by $everything."
    ReviewsFull = 36, "reviews-full", Environment, 503, "throttled", Operation, ProviderOperator;
        "So many of the provider's break-glass accesses wait for their review that the ledger takes no more."
        "Have the provider's and the requester's privacy officers review them: tally breakglass list."
    // opt-out
    OptOutUnavailable = 40, "opt-out-unavailable", Environment, 503, "transient", Organisation, ProviderOperator;
        "The answer of the national data opt-out service is missing or too old."
        "Ask the check service: tally opt-out request; then take its reply: tally opt-out import."
    OptedOut = 41, "opted-out", Caller, 404, "not-found", Person, ProviderCaldicott;
        "The person has opted out of planning and research."
        "Nothing but the person's own change of mind."
    // consent
    ConsentAbsent = 50, "consent-absent", Caller, 404, "not-found", Person, ProviderCaldicott;
        "There is no directive of the person, and the agreement's common-law basis needs one."
        "Record the person's consent at the custodian."
    ConsentDenied = 51, "consent-denied", Caller, 404, "not-found", Person, ProviderCaldicott;
        "The person has denied or withdrawn consent for this purpose."
        "Nothing but the person's own change of mind."
    ConsentUnreadable = 52, "consent-unreadable", Us, 404, "not-found", Person, ProviderOperator;
        "The person's directive can't be read, so it can't be kept to."
        "Have the custodian mend the directive."
    UnknownRecord = 53, "unknown-record", Caller, 404, "not-found", Person, ApplicationVendor, "RESOURCE_NOT_FOUND";
        "There is no such record, or nobody may know that there is."
        "Check the id that was asked for."
    WithheldWhole = 54, "withheld-whole", Caller, 404, "not-found", Person, ProviderIgLead;
        "An element that changes the record's meaning may not be released, so the record is not released at all."
        "Amend the agreement's allow-list."
    PolicyForbids = 55, "policy-forbids", Caller, 403, "forbidden", Person, ProviderIgLead;
        "The provider's own policy forbids it."
        "Ask the provider what its policy is."
    PersonLevel = 56, "person-level", Caller, 404, "not-found", Person, ProviderCaldicott;
        "A refusal about a person: the ledger does not say which."
        "Ask the custodian."
    NotAvailable = 57, "not-available", Caller, 404, "not-found", Organisation, ProviderCaldicott, "RESOURCE_NOT_FOUND";
        "There is nothing here that you may see."
        "Check the id; if the person is in your care, ask the custodian."
    // what became of a permit
    RegistersChanging = 60, "registers-changing", Environment, 503, "conflict", Operation, ProviderOperator;
        "Consents or agreements changed each time that the request was decided."
        "Try again."
    BasisWithdrawn = 61, "basis-withdrawn", Caller, 403, "suppressed", Organisation, ProviderIgLead, "ACCESS_DENIED";
        "What permitted this was withdrawn before or while it was released."
        "Ask again to see what is still permitted."
    // labels
    LabelNotReleased = 62, "label-not-released", Caller, 404, "not-found", Person, ProviderCaldicott;
        "The record is labelled more confidential than the agreement lets out."
        "Amend the agreement's confidentiality, if its purpose needs such records."
    // operation
    LedgerUnavailable = 70, "ledger-unavailable", Environment, 503, "transient", Operation, LedgerOperators;
        "The ledger did not answer in time, and nothing leaves without its entry."
        "Try again; if it lasts, look at the ledger nodes."
    TooBusy = 71, "too-busy", Environment, 503, "throttled", Operation, ProviderOperator;
        "A limit of the provider's agent is reached."
        "Try again later."
    QuotaExceeded = 72, "quota-exceeded", Caller, 429, "throttled", Operation, ProviderOperator;
        "This requester has asked for more than its share."
        "Ask more slowly, or have the quota raised."
    TooLarge = 73, "too-large", Caller, 403, "too-costly", Operation, ProviderOperator;
        "The answer is larger than a limit of the provider's agent."
        "Ask for less at once."
    UnsupportedParameter = 74, "unsupported-parameter", Caller, 400, "not-supported", Operation, ApplicationVendor, "INVALID_SEARCH_DATA";
        "The provider does not know a parameter of the search, and does not guess."
        "Leave the parameter out."
    UnknownType = 75, "unknown-type", Caller, 404, "not-supported", Operation, ApplicationVendor, "UNSUPPORTED_SERVICE";
        "The provider's source has no records of this type."
        "Ask for a type that its CapabilityStatement lists."
    BadQuery = 76, "bad-query", Caller, 400, "invalid", Operation, ApplicationVendor, "INVALID_SEARCH_DATA";
        "The request can't be understood."
        "Mend the request as the text says."
    SourceMalformed = 77, "source-malformed", Us, 502, "exception", Operation, ProviderOperator;
        "The provider's source gave something that is no record."
        "Mend the source."
    SourceUnavailable = 78, "source-unavailable", Environment, 502, "transient", Operation, ProviderOperator;
        "The provider's source did not answer."
        "Try again; if it lasts, look at the source."
    SourceChanged = 79, "source-changed", Environment, 502, "conflict", Operation, ProviderOperator;
        "The source changed while it was read."
        "Ask again from the start."
    StoreBehind = 80, "store-behind", Us, 503, "exception", Operation, ProviderOperator;
        "The provider's store is older than the ledger: it may permit what has been withdrawn."
        "Restore a newer store, or import the directives again."
    StoreUnavailable = 81, "store-unavailable", Us, 503, "exception", Operation, ProviderOperator;
        "The provider's store can't be read or written."
        "Look at the agent's disk."
    FeedStale = 82, "feed-stale", Environment, 503, "transient", Operation, ProviderOperator;
        "The provider has not heard of register changes for too long."
        "Try again; if it lasts, look at the way to the ledger."
    ClockSkew = 83, "clock-skew", Us, 503, "exception", Operation, OwnOperator;
        "The agent's clock is more than 30 seconds from the ledger's."
        "Set the clock."
    Unreachable = 84, "unreachable", Environment, 502, "transient", Operation, OwnOperator;
        "The provider's agent can't be reached, or stalled before it answered."
        "Try again; tally doctor says what is in the way."
    TimedOut = 85, "timed-out", Environment, 504, "timeout", Operation, ProviderOperator;
        "The exchange took longer than its limit."
        "Try again; ask for less at once."
    DrainInProgress = 86, "drain-in-progress", Environment, 503, "transient", Operation, OwnOperator;
        "The agent is shutting down and takes no new requests."
        "Try again."
    // the peer's faults
    ReceiptInvalid = 90, "receipt-invalid", Peer, 502, "security", Operation, ProviderOperator;
        "The provider's receipt does not verify."
        "Tell the provider; keep the receipt."
    AnswerMismatch = 91, "answer-mismatch", Peer, 502, "security", Operation, ProviderOperator;
        "The provider's entry is not about what was asked."
        "Tell the provider; keep the receipt."
    CommitmentMismatch = 92, "commitment-mismatch", Peer, 502, "security", Operation, ProviderOperator;
        "The opening is not the one that the provider's entry commits to."
        "Tell the provider; keep the receipt."
    DigestMismatch = 93, "digest-mismatch", Peer, 502, "security", Operation, ProviderOperator;
        "What arrived is not what the provider's entry says."
        "Ask again; if it recurs, tell the provider."
    ProtocolViolated = 94, "protocol-violated", Peer, 502, "exception", Operation, OwnOperator;
        "The other agent broke the protocol."
        "Check the versions of both agents."
    VersionUnknown = 95, "version-unknown", Peer, 502, "not-supported", Operation, OwnOperator;
        "The other agent speaks a version that this one does not know."
        "Upgrade the older of the two agents."
    BrokenOff = 96, "broken-off", Peer, 502, "incomplete", Operation, ProviderOperator;
        "The release broke off before its end."
        "Resume, or ask again."
    // at the requester's own ingress
    UnknownMember = 100, "unknown-member", Caller, 404, "not-found", Ingress, ApplicationVendor, "UNSUPPORTED_SERVICE";
        "No member of the mesh has this id or code."
        "Look at /catalogue."
    UnknownSource = 101, "unknown-source", Caller, 404, "not-found", Ingress, ApplicationVendor, "UNSUPPORTED_SERVICE";
        "The member has no such source that you may use."
        "Look at /catalogue."
    PurposeMissing = 102, "purpose-missing", Caller, 400, "required", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The request does not say why, and the ingress has no default."
        "State the purpose in Tally-Purpose."
    UserMissing = 103, "user-missing", Caller, 401, "login", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The ingress asks who the user is, and the request does not say."
        "State the user in Tally-User, or send a token."
    TokenInvalid = 104, "token-invalid", Caller, 401, "security", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "The user's token does not verify."
        "Get a new token."
    HeaderInvalid = 105, "header-invalid", Caller, 400, "invalid", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "A Tally header can't be read."
        "Mend the header as the text says."
    MethodNotAllowed = 106, "method-not-allowed", Caller, 405, "not-supported", Ingress, ApplicationVendor, "INVALID_METHOD";
        "Records are read here, never written."
        "Use GET."
    NotAcceptable = 107, "not-acceptable", Caller, 406, "not-supported", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The answer can't be given in the format that was asked for."
        "Accept application/fhir+json."
    RangeInvalid = 108, "range-invalid", Caller, 416, "invalid", Ingress, ApplicationVendor;
        "The range lies outside the dataset."
        "Ask for a range within it."
    // the user's token
    TokenMalformed = 110, "token-malformed", Caller, 400, "invalid", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The user's token is no JWT that can be read: three parts in base64url, JSON within limits, no extension that must be understood."
        "Send a token as RFC 7519 and Spine have it, in Authorization: Bearer."
    TokenUnsigned = 111, "token-unsigned", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The user's token has no signature, and this ingress takes none of these."
        "Send a signed token; or set unsigned_tokens, and its users are asserted, not verified."
    TokenAlgorithmRefused = 112, "token-algorithm-refused", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The user's token is signed with an algorithm that is not its key's, or none of RS256, RS512, ES256, ES384 and EdDSA."
        "Have the token signed with the algorithm of the key that it names."
    TokenKeyUnknown = 113, "token-key-unknown", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The ingress has no key by the name in the user's token, or several keys and the token names none."
        "Put the issuer's current keys into the file that jwks names."
    TokenKeysUnreadable = 114, "token-keys-unreadable", Us, 503, "exception", Ingress, OwnOperator;
        "The file with the issuer's keys can't be read now, so no signature can be checked."
        "Mend the file that jwks names; it is read again within a second."
    TokenLifeTooLong = 115, "token-life-too-long", Caller, 401, "security", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "The user's token is valid for more than 300 seconds from its issue, or ends before it begins."
        "Issue tokens whose exp is iat and at most 300 seconds."
    TokenExpired = 116, "token-expired", Caller, 401, "expired", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "The user's token has expired."
        "Get a new token for each request; if it recurs, set the clocks."
    TokenNotYetValid = 117, "token-not-yet-valid", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The user's token was issued, or begins, more than 30 seconds in the future."
        "Set the clocks of the issuer and of this machine."
    TokenIssuerUnknown = 118, "token-issuer-unknown", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The user's token is not of the issuer that this ingress trusts."
        "Get the token from that issuer, or mend issuer in the configuration."
    TokenAudienceWrong = 119, "token-audience-wrong", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The user's token was made for somebody else."
        "Get a token for the audience in the configuration of the ingress."
    TokenClaimMissing = 120, "token-claim-missing", Caller, 400, "required", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The user's token lacks iat, exp, sub, the scope, or a user with an identifier."
        "Send all claims of Spine: requesting_user or requesting_practitioner, requested_scope or scope."
    TokenOrganisationMissing = 121, "token-organisation-missing", Caller, 400, "required", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The user's token does not say for which organisation the user acts."
        "State the ODS code in requesting_organization."
    TokenOrganisationWrong = 122, "token-organisation-wrong", Caller, 401, "security", Ingress, OwnOperator, "ACCESS_DENIED";
        "The organisation in the user's token has no code that is this member's today."
        "Ask through that organisation's own agent, or have the code added to the member's register."
    TokenSubjectWrong = 123, "token-subject-wrong", Caller, 401, "security", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "The subject of the user's token is not the user in it."
        "Make sub the requesting_practitioner's id, or the same as requesting_user."
    TokenReasonWrong = 124, "token-reason-wrong", Caller, 401, "security", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "The reason in the user's token does not cover this purpose: directcare is direct care, and break-glass for it."
        "Get a token for what is done, or state the purpose that it is for."
    TokenScopeWrong = 125, "token-scope-wrong", Caller, 403, "security", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "The user's token is not for reading."
        "Ask for a token with the scope patient/*.read."
    TokenUsedBefore = 126, "token-used-before", Caller, 401, "security", Ingress, ApplicationVendor, "ACCESS_DENIED";
        "This very token came with an earlier request, and each request has its own."
        "Get a new token for each request, for each page and when trying again too."
    TokensTooMany = 127, "tokens-too-many", Environment, 503, "throttled", Ingress, OwnOperator;
        "So many tokens came within five minutes that this agent can't tell new ones from used ones."
        "Try again in some minutes; if it recurs, find out which application asks so much."
    // what an application sends with its question
    MediaTypeUnsupported = 140, "media-type-unsupported", Caller, 415, "not-supported", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "A search by POST has its parameters in a form, and this body is none."
        "Send Content-Type: application/x-www-form-urlencoded, in UTF-8 and without a Content-Encoding; or search by GET."
    // streams
    RootUnsigned = 150, "root-unsigned", Peer, 502, "security", Operation, ProviderOperator;
        "The end of the stream is not signed by the provider's agent, or is not about what arrived."
        "Ask again; if it recurs, tell the provider."
    DatasetChanged = 151, "dataset-changed", Caller, 412, "conflict", Ingress, ApplicationVendor;
        "The dataset is not the version that the request names, or goes on with."
        "Ask for all of it again."
    ResumeUnknown = 152, "resume-unknown", Caller, 409, "conflict", Ingress, ApplicationVendor;
        "The provider knows of no exchange of this requester about this dataset that could be resumed under this name."
        "Leave out Tally-Resumes, and ask for all of it, or for a range with If-Range."
    // servers that a source is read from
    UpstreamUnreachable = 160, "upstream-unreachable", Environment, 502, "transient", Operation, ProviderOperator;
        "The server that the provider's source is read from can't be reached, or did not answer in time."
        "Try again; if it lasts, look at that server and at the agent's log."
    UpstreamRefused = 161, "upstream-refused", Us, 502, "exception", Operation, ProviderOperator;
        "The server that the provider's source is read from does not let the provider's agent read this."
        "Mend the agent's credentials, or what they may read at that server."
    UpstreamMalformed = 162, "upstream-malformed", Us, 502, "exception", Operation, ProviderOperator;
        "The server that the provider's source is read from gave something that is no answer to what was asked."
        "Mend that server; the agent's log says what was wrong with its answer."
    QueryTooSlow = 163, "query-too-slow", Environment, 504, "timeout", Operation, ProviderOperator;
        "The query behind the provider's dataset took longer than its database is given."
        "Ask for less, if the dataset takes parameters; else have the query made faster, or given more time."
    // between a sidecar and its agent
    AgentUnreachable = 170, "agent-unreachable", Environment, 503, "transient", Ingress, OwnOperator;
        "The sidecar does not reach its member's agent, so nothing was asked."
        "Try again; if it lasts, see that the agent runs: the sidecar's /ready says what is in the way."
    AgentLost = 171, "agent-lost", Environment, 503, "transient", Ingress, OwnOperator;
        "The sidecar lost its member's agent before an answer came. What was asked may be on the ledger."
        "Ask again: that is another exchange."
    SidecarRefused = 172, "sidecar-refused", Us, 503, "security", Ingress, OwnOperator;
        "The member's agent does not let the sidecar in, or is not who the sidecar's CA says."
        "Issue the sidecar a certificate from the member's CA: tally identity issue --role sidecar; its log says what is wrong."
    // an agent that its member's register no longer names
    KeyReplaced = 195, "key-replaced", Us, 503, "security", Ingress, OwnOperator;
        "The register of your organisation names the key of another agent: nothing that this one signs is taken."
        "Give the agent the key that the register names, or have the register changed: tally member propose."
    // load
    UserQuotaExceeded = 175, "user-quota-exceeded", Caller, 429, "throttled", Ingress, OwnOperator;
        "This user has more requests in flight than one user may have."
        "Ask for less at once, or have requests_per_user_max raised."
    KeptForCare = 176, "kept-for-care", Environment, 503, "throttled", Operation, ProviderOperator;
        "The agent is busy, and the places that are left are kept for care."
        "Try again later; bulk work is best done when nobody is treated."
    HeadTooLarge = 177, "head-too-large", Caller, 431, "too-long", Ingress, ApplicationVendor, "MISSING_OR_INVALID_HEADER";
        "The headers of the request are too many or too long."
        "Send fewer and shorter headers: 64 at most, and 16 KiB together."
    AddressTooLong = 178, "address-too-long", Caller, 414, "too-long", Ingress, ApplicationVendor, "INVALID_SEARCH_DATA";
        "The path and query of the request are too long."
        "Search by POST, or ask for less at once: 12 KiB at most, and 8 KiB of query."
    // where large bodies are kept until they leave
    SpoolFull = 185, "spool-full", Environment, 503, "throttled", Operation, ProviderOperator;
        "The provider's agent holds as many large answers as it may."
        "Try again later; if it recurs, have spool_total_bytes_max raised."
    DiskFull = 186, "disk-full", Us, 503, "no-store", Operation, ProviderOperator;
        "The disk of the provider's agent has no room for the answer."
        "Make room on the disk with the agent's data directory; then ask again."
}
