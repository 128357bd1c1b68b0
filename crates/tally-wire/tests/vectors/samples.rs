//! Fixed values, one at least of every object that stands on the ledger.

mod officers;

use tally_core::Encoded;
use tally_core::agreement::{
    Agreement, AllowList, Article6, Article9, Basis, CommonLaw, Condition, DataKind, Elements,
    Party, Share,
};
use tally_core::entry::{
    Action, AgreementRef, Algorithm, Close, Entry, Environment, Flags, Genesis, How, Lane, OptOut,
    OptOutCheck, OptOutChecks, OptOutExemption, Outcome, ProviderHalf, RefusalCount, RequesterHalf,
    Seal, SessionStart, UserKnown, batch_preimage, session_preimage,
};
use tally_core::id::{ExchangeId, KeyId, LeafIndex, MemberId, MeshId, NodeId, Salt16, SessionId};
use tally_core::record::Confidentiality;
use tally_core::refusal::Refusal;
use tally_core::register::{
    AgreementRecord, Approval, Assessment, AssessmentStatus, GroupRecord, LedgerNode, MemberRecord,
    MemberStatus, Officer, OrganisationCode, RegisterBody, RegisterRef, RegisterWrite, Witness,
    agreement_preimage, register_preimage,
};
use tally_core::time::Timestamp;
use tally_log::{Hash, SigningKey, leaf_hash, root_of, sha256};
use tally_wire::{encode_checked, encode_entry};

pub(crate) use officers::{disposal, recovery, review};

/// 2026-11-23T10:15:02.113Z.
pub(crate) const TIME: Timestamp = Timestamp(1_795_428_902_113);

/// A key for each use: the seed is a text, padded with zeros.
pub(crate) fn key(of: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed[..of.len()].copy_from_slice(of.as_bytes());
    SigningKey::from_seed(&seed)
}

pub(crate) fn salt(number: u8) -> Salt16 {
    Salt16([number; 16])
}

pub(crate) fn hash(of: &str) -> Hash {
    sha256(&[of.as_bytes()])
}

fn exchange() -> ExchangeId {
    ExchangeId(*b"one exchange id!")
}

fn member(id: &str, node: u64) -> MemberRecord {
    MemberRecord {
        id: id.parse().unwrap(),
        name: format!("{id} (fictional)"),
        codes: vec![OrganisationCode {
            system: "ods".to_owned(),
            value: id.to_owned(),
            from: None,
            until: None,
        }],
        ca: b"not really DER".to_vec(),
        agent_key: key(&format!("agent of {id}")).verifying_key(),
        officers: ["caldicott", "ig-lead"]
            .map(|role| Officer {
                role: role.parse().unwrap(),
                key: key(&format!("{role} of {id}")).verifying_key(),
            })
            .to_vec(),
        nodes: vec![LedgerNode {
            id: NodeId(node),
            log_key: key(&format!("log {node}")).verifying_key(),
            quic: format!("ledger.{}.example:7610", id.to_lowercase()).parse().unwrap(),
            https: "[2001:db8::1]:7611".parse().unwrap(),
        }],
        address: (node == 1).then(|| "127.0.0.1:7600".parse().unwrap()),
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        salt: salt(1),
        mesh: "dev.example".parse().unwrap(),
        environment: Environment::Test,
        protocol: 1,
        members: vec![member("LZ9", 1), member("RZ9", 2)],
        voters: vec![NodeId(1), NodeId(2)],
    }
}

pub(crate) fn mesh_id() -> MeshId {
    MeshId(leaf_hash(&encode_entry(&Entry::Genesis(Box::new(genesis())))))
}

fn provider() -> MemberId {
    "RZ9".parse().unwrap()
}

fn requester() -> MemberId {
    "LZ9".parse().unwrap()
}

pub(crate) fn session_start() -> SessionStart {
    let key = key("agent of RZ9");
    let id = KeyId::of(&key.verifying_key());
    let previous = Some(SessionId(LeafIndex(1)));
    let preimage = session_preimage(&salt(2), &mesh_id(), 0, &provider(), &id, previous);
    SessionStart {
        salt: salt(2),
        mesh_id: mesh_id(),
        epoch: 0,
        member: provider(),
        key: id,
        previous,
        algorithm: Algorithm::EdDsa,
        signature: key.sign(&preimage),
    }
}

/// The seal of a batch of the provider's half alone.
pub(crate) fn seal() -> Seal {
    let half = encode_entry(&Entry::ProviderHalf(Box::new(provider_half())));
    let root = root_of(&[leaf_hash(&half)]);
    let session = SessionId(LeafIndex(4));
    let preimage = batch_preimage(&mesh_id(), 0, session, 7, Lane::Conditional, 1, &root);
    Seal {
        session,
        number: 7,
        lane: Lane::Conditional,
        count: 1,
        root,
        algorithm: Algorithm::EdDsa,
        signature: key("agent of RZ9").sign(&preimage),
        time: TIME,
        last_register_leaf: LeafIndex(300),
    }
}

fn agreement_ref() -> AgreementRef {
    AgreementRef { id: "DSA-1".parse().unwrap(), version: 1 }
}

fn register_ref(name: &str, version: u64) -> RegisterRef {
    RegisterRef { name: name.parse().unwrap(), version }
}

/// A permit with everything that is optional.
pub(crate) fn provider_half() -> ProviderHalf {
    ProviderHalf {
        salt: salt(3),
        exchange: exchange(),
        counter: 24,
        provider: provider(),
        requester: requester(),
        operator: Some("OPS-1".parse().unwrap()),
        agreement: Some(agreement_ref()),
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Search,
        outcome: Outcome::Permit,
        user_known: UserKnown::Verified,
        people: 1,
        people_withheld: 2,
        records: 256,
        bytes: 65_536,
        digest: Some(hash("digest")),
        tags_root: hash("tags"),
        commitment: hash("commitment"),
        flags: Flags::BREAK_GLASS,
        read_set: vec![
            register_ref("member/LZ9", 1),
            register_ref("member/RZ9", 3),
            register_ref("agreement/DSA-1", 2),
            register_ref("consent/RZ9/2", 40),
            register_ref("consent/RZ9/10", 41),
        ],
        resumes: Some(ExchangeId(*b"the one before !")),
        rectifies: Some(LeafIndex(5)),
        opt_out: Some(opt_out()),
    }
}

/// Two checks of the opt-out service, one of so few people that the ledger counts none.
fn opt_out() -> OptOut {
    let check = |reference: &str, asked, answered, age_s| OptOutCheck {
        reference: reference.parse().unwrap(),
        asked,
        answered,
        reply: hash("reply"),
        age_s,
    };
    let checks = vec![
        check("886OT002-231126-1", 0, 0, 3_600),
        check("X26OT001-221126-12", 540, 520, 90_000),
    ];
    OptOut::Checked(OptOutChecks::new(checks).unwrap())
}

/// A permit whose data the opt-out does not reach, as its provider says.
fn provider_exempt() -> ProviderHalf {
    ProviderHalf {
        purpose: "HRESCH".parse().unwrap(),
        opt_out: Some(OptOut::Exempt(OptOutExemption::OtherNation)),
        ..provider_half()
    }
}

/// A refusal about a person, with nothing that is optional.
pub(crate) fn provider_refusal() -> ProviderHalf {
    ProviderHalf {
        operator: None,
        agreement: None,
        purpose: "local:SAFEGUARDING".parse().unwrap(),
        outcome: Outcome::Refuse(Refusal::PersonLevel),
        user_known: UserKnown::Service,
        people: 0,
        people_withheld: 0,
        records: 0,
        bytes: 0,
        digest: None,
        tags_root: root_of(&[]),
        flags: Flags::NONE,
        read_set: vec![],
        resumes: None,
        rectifies: None,
        opt_out: None,
        ..provider_half()
    }
}

pub(crate) fn requester_half() -> RequesterHalf {
    RequesterHalf {
        salt: salt(4),
        exchange: exchange(),
        counter: 23,
        requester: requester(),
        provider_leaf: Some(LeafIndex(4_294_967_296)),
        provider: provider(),
        agreement: Some(agreement_ref()),
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        bytes_arrived: 65_536,
        digest: Some(hash("digest")),
        commitment: Some(hash("commitment")),
        flags: Flags::LATE.with(Flags::STREAMED),
        rectifies: None,
    }
}

/// Nobody answered.
pub(crate) fn requester_refusal() -> RequesterHalf {
    RequesterHalf {
        provider_leaf: None,
        agreement: None,
        outcome: Outcome::Refuse(Refusal::Unreachable),
        bytes_arrived: 0,
        digest: None,
        commitment: None,
        flags: Flags::NONE,
        rectifies: Some(LeafIndex(9)),
        ..requester_half()
    }
}

pub(crate) fn close() -> Close {
    Close {
        salt: salt(5),
        counter: 25,
        provider_leaf: LeafIndex(301),
        how: How::Withdrawn,
        bytes: 131_072,
        root: Some(hash("chunks")),
    }
}

pub(crate) fn refusal_count() -> RefusalCount {
    RefusalCount {
        salt: salt(6),
        counter: 26,
        provider: provider(),
        requester: requester(),
        refusal: Refusal::NoAgreement,
        count: 1000,
        from: TIME,
        to: Timestamp(TIME.0 + 60_000),
    }
}

/// A permit that goes on with a break-glass episode.
fn provider_episode() -> ProviderHalf {
    let flags = Flags::BREAK_GLASS.with(Flags::SAME_EPISODE);
    ProviderHalf { purpose: "BTG".parse().unwrap(), flags, ..provider_half() }
}

/// A permit on nobody's word but the user's that they are related to the person.
fn provider_self_claimed() -> ProviderHalf {
    ProviderHalf { flags: Flags::SELF_CLAIMED, ..provider_half() }
}

fn fields() -> AllowList {
    let these = Elements::These(["birthDate", "identifier", "name"].map(str::to_owned).to_vec());
    AllowList::Elements(vec![
        ("Observation".to_owned(), Elements::All),
        ("Patient".to_owned(), these),
    ])
}

fn share() -> Share {
    Share {
        provider: provider(),
        requesters: vec![Party::Member(requester()), Party::Group("councils".parse().unwrap())],
        source: "fhir".parse().unwrap(),
        purposes: vec!["TREAT".parse().unwrap(), "local:SAFEGUARDING".parse().unwrap()],
        data: DataKind::Special,
        confidential: true,
        basis: Basis {
            article_6: Some(Article6::PublicTask),
            article_9: Some(Article9::HealthOrSocialCare),
            common_law: Some(CommonLaw::ImpliedConsent),
            power: "HSCA2012-s251B".to_owned(),
        },
        fields: fields(),
        user_known: UserKnown::Asserted,
        relationship_required: false,
        overrides: vec![Refusal::ConsentDenied],
        offline_emergency: false,
        show_reasons: false,
        condition: "context.records <= 1000".into(),
        confidentiality: Confidentiality::Normal,
        assessment_min: Some(AssessmentStatus::Approaching),
    }
}

pub(crate) fn agreement() -> Agreement {
    let open = Share {
        source: "beds".parse().unwrap(),
        data: DataKind::None,
        confidential: false,
        basis: Basis::default(),
        fields: AllowList::Everything,
        overrides: vec![],
        condition: Condition::default(),
        confidentiality: Confidentiality::Normal,
        assessment_min: None,
        ..share()
    };
    let columns = Share {
        source: "waits".parse().unwrap(),
        fields: AllowList::Columns(vec!["month".to_owned(), "ward".to_owned()]),
        ..open.clone()
    };
    Agreement {
        id: "DSA-1".parse().unwrap(),
        version: 1,
        title: "Discharge support".to_owned(),
        start: "2026-01-01".parse().unwrap(),
        review: "2026-10-01".parse().unwrap(),
        end: "2026-12-31".parse().unwrap(),
        dpia: "DPIA-77".to_owned(),
        parties: vec![
            Party::Member(requester()),
            Party::Member(provider()),
            Party::Group("councils".parse().unwrap()),
        ],
        shares: vec![share(), open, columns],
    }
}

fn approval(member: &str, preimage: &[u8]) -> Approval {
    let key = key(&format!("ig-lead of {member}"));
    Approval {
        member: member.parse().unwrap(),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: key.sign(preimage),
    }
}

fn write(name: &str, version: u64, body: RegisterBody) -> RegisterWrite {
    RegisterWrite {
        salt: salt(7),
        name: name.parse().unwrap(),
        version,
        previous: (version > 1).then_some(LeafIndex(2)),
        narrows: version > 1,
        body: encode_checked(body).unwrap(),
        approvals: vec![],
    }
}

pub(crate) fn agreement_write() -> RegisterWrite {
    let document: Encoded<Agreement> = encode_checked(agreement()).unwrap();
    let preimage = agreement_preimage(&mesh_id(), document.bytes());
    let record = AgreementRecord { document, suspended_by: vec![requester()] };
    RegisterWrite {
        approvals: ["LZ9", "RZ9"].map(|member| approval(member, &preimage)).to_vec(),
        ..write("agreement/DSA-1", 1, RegisterBody::Agreement(Box::new(record)))
    }
}

/// A council in the place of two, which has got a new area, and was assessed.
fn dated() -> MemberRecord {
    let day = |text: &str| text.parse().ok();
    let code = |system: &str, value: &str, from: &str, until: &str| OrganisationCode {
        system: system.to_owned(),
        value: value.to_owned(),
        from: day(from),
        until: day(until),
    };
    MemberRecord {
        codes: vec![
            code("ods", "00LZ9", "", ""),
            code("gss", "E99000001", "", "2023-03-31"),
            code("gss", "E99000002", "2023-04-01", ""),
        ],
        supersedes: vec!["LZ7".parse().unwrap(), "LZ8".parse().unwrap()],
        assessment: Some(Assessment {
            status: AssessmentStatus::Approaching,
            published_on: "2026-06-30".parse().unwrap(),
        }),
        ..member("LZ9", 1)
    }
}

/// Registers whose approvals are over the whole write.
pub(crate) fn other_writes() -> Vec<(&'static str, RegisterWrite)> {
    let group = GroupRecord {
        id: "councils".parse().unwrap(),
        members: vec!["E08000037".parse().unwrap(), requester()],
    };
    let witnesses = vec![
        Witness { member: Some(provider()), vkey: "witness of RZ9".to_owned(), url: String::new() },
        Witness {
            member: None,
            vkey: "witness.example".to_owned(),
            url: "https://witness.example/".to_owned(),
        },
    ];
    let suspended = MemberRecord { status: MemberStatus::Suspended, ..member("LZ9", 1) };
    let bodies = [
        ("register-member", "member/LZ9", 2, RegisterBody::Member(Box::new(suspended))),
        ("register-member-dated", "member/LZ9", 2, RegisterBody::Member(Box::new(dated()))),
        ("register-consent", "consent/RZ9/255", 41, RegisterBody::Consent),
        ("register-group", "group/councils", 1, RegisterBody::Group(group)),
        ("register-protocol", "protocol", 2, RegisterBody::Protocol(2)),
        ("register-witnesses", "witnesses", 1, RegisterBody::Witnesses(witnesses)),
    ];
    let approved = bodies.map(|(file, name, version, body)| {
        let mut write = write(name, version, body);
        let preimage = register_preimage(
            &mesh_id(),
            &write.name,
            write.version,
            write.previous,
            write.narrows,
            write.body.bytes(),
        );
        if !matches!(write.body.value(), RegisterBody::Consent) {
            write.approvals = vec![approval("LZ9", &preimage), approval("RZ9", &preimage)];
        }
        (file, write)
    });
    approved.into()
}

/// Every leaf, by the name of its vector.
pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let mut entries = vec![
        ("genesis", Entry::Genesis(Box::new(genesis()))),
        ("session-start", Entry::SessionStart(session_start())),
        ("seal", Entry::Seal(seal())),
        ("register-agreement", Entry::Register(Box::new(agreement_write()))),
        ("provider-half", Entry::ProviderHalf(Box::new(provider_half()))),
        ("provider-half-exempt", Entry::ProviderHalf(Box::new(provider_exempt()))),
        ("provider-refusal", Entry::ProviderHalf(Box::new(provider_refusal()))),
        ("requester-half", Entry::RequesterHalf(Box::new(requester_half()))),
        ("requester-refusal", Entry::RequesterHalf(Box::new(requester_refusal()))),
        ("close", Entry::Close(close())),
        ("refusal-count", Entry::RefusalCount(refusal_count())),
        ("review", Entry::Review(review())),
        ("provider-episode", Entry::ProviderHalf(Box::new(provider_episode()))),
        ("provider-self-claimed", Entry::ProviderHalf(Box::new(provider_self_claimed()))),
        ("disposal", Entry::Disposal(Box::new(disposal()))),
        ("recovery", Entry::Recovery(Box::new(recovery()))),
    ];
    let writes = other_writes().into_iter();
    entries.extend(writes.map(|(name, write)| (name, Entry::Register(Box::new(write)))));
    entries
}
