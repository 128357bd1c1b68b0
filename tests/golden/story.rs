//! What happens in the golden log: every lane, and every rejection that bytes can lead to. Each step
//! says what it must come to, so that the log covers what it claims.

mod counted;
mod opt_out;

use tally_core::agreement::{
    Agreement, AllowList, Article6, Article9, Basis, CommonLaw, Condition, DataKind, Elements,
    Party, Share,
};
use tally_core::entry::{
    Action, AgreementRef, Entry, Flags, Genesis, Lane, Outcome, ProviderHalf, RequesterHalf,
    UserKnown,
};
use tally_core::id::{ExchangeId, LeafIndex, Salt16};
use tally_core::ledger::{Rejection, Submission, Verdict};
use tally_core::record::Confidentiality;
use tally_core::refusal::Refusal;
use tally_core::register::{
    AgreementRecord, GroupRecord, MemberRecord, MemberStatus, RegisterBody, RegisterRef, Witness,
};
use tally_log::{Cosigner, Hash, KeyName, Signature, SigningKey};
use tally_wire::encode_checked;

use self::counted::{close, refusal_count};
use super::reviews;
use super::world::{AHEAD, World, genesis, id, member, no, sign};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const COUNCIL: &str = "E08000037";
const READS: [&str; 4] = ["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/RZ9/0"];

/// The whole story, in order.
pub(crate) fn tell() -> World {
    let mut world = World::new();
    found(&mut world);
    open_sessions(&mut world);
    write_registers(&mut world);
    reject_writes(&mut world);
    permit(&mut world);
    reject_permits(&mut world);
    let broken = record(&mut world);
    opt_out::ask(&mut world);
    reviews::review(&mut world, broken);
    super::disposals::tell(&mut world);
    narrow(&mut world);
    suspend_agreement(&mut world);
    suspend_member(&mut world);
    end(&mut world);
    world
}

pub(crate) fn accepted(verdict: &Verdict) -> LeafIndex {
    match verdict {
        Verdict::Accepted(accepted) => accepted.first_leaf,
        other => panic!("not accepted: {other:?}"),
    }
}

fn found(world: &mut World) {
    assert_eq!(world.start("RZ9", |_| {}), no(Rejection::NotFounded));
    let other = Genesis { salt: Salt16([0xbb; 16]), ..genesis() };
    let submit = |genesis| Submission::Genesis(encode_checked(genesis).unwrap());
    assert_eq!(world.submit(submit(other.clone())), no(Rejection::WrongMesh));
    assert_eq!(world.submit(submit(genesis())), Verdict::Founded);
    assert_eq!(world.submit(submit(genesis())), Verdict::Founded);
    assert_eq!(world.submit(submit(other)), no(Rejection::AlreadyFounded));
    world.later(100);
}

fn open_sessions(world: &mut World) {
    let rejected = |world: &mut World, change: fn(&mut _), why| {
        assert_eq!(world.start("RZ9", change), no(why));
    };
    rejected(world, |start| start.mesh_id.0 = Hash::default(), Rejection::WrongMesh);
    rejected(world, |start| start.epoch = 1, Rejection::WrongEpoch);
    rejected(world, |start| start.member = id("XX9"), Rejection::UnknownMember);
    rejected(world, |start| start.key.0 = [0; 8], Rejection::WrongKey);
    rejected(
        world,
        |start| start.previous = Some(tally_core::id::SessionId(LeafIndex(0))),
        Rejection::PreviousSessionMoved,
    );
    world.later(0);
    for member in ["RZ9", "LZ9", COUNCIL] {
        assert!(matches!(world.start(member, |_| {}), Verdict::SessionStarted(_)));
    }
    // A second session ends the first.
    let old = world.session("RZ9");
    assert!(matches!(world.start("RZ9", |_| {}), Verdict::SessionStarted(_)));
    let half = encode_checked(refusal(Salt16([1; 16]), 0)).unwrap();
    let late = sign("RZ9", old, 0, Lane::Unconditional, vec![half]);
    assert_eq!(world.file("RZ9", late), no(Rejection::SessionNotOpen));
    world.later(1);
}

fn write_registers(world: &mut World) {
    accepted(&world.write("RZ9", "consent/RZ9/0", RegisterBody::Consent, &[]));
    accepted(&world.write("RZ9", "agreement/DSA-1", agreement(1, &[]), &["RZ9"]));
    accepted(&world.write("LZ9", "agreement/DSA-1", agreement(1, &[]), &["LZ9", "RZ9"]));
    world.later(10);
    let councils = GroupRecord { id: "councils".parse().unwrap(), members: vec![id(COUNCIL)] };
    let councils = RegisterBody::Group(councils);
    accepted(&world.write("LZ9", "group/councils", councils, &[COUNCIL, "LZ9"]));
    let witness = Witness { member: Some(id("RZ9")), vkey: vkey(9), url: String::new() };
    let witnesses = RegisterBody::Witnesses(vec![witness]);
    accepted(&world.write("LZ9", "witnesses", witnesses, &["LZ9", "RZ9"]));
    let renamed = MemberRecord { name: "Renamed (fictional)".to_owned(), ..member("RZ9") };
    accepted(&world.write("RZ9", "member/RZ9", member_body(renamed), &["LZ9", "RZ9"]));
    world.later(10);
}

fn reject_writes(world: &mut World) {
    const CONSENT: &str = "consent/RZ9/0";
    let consent = || RegisterBody::Consent;
    let changed = |world: &mut World, change: fn(&mut _), why| {
        let verdict = world.write_changed("RZ9", CONSENT, consent(), &[], change);
        assert_eq!(verdict, no(why));
    };
    changed(world, |write| write.previous = None, Rejection::RegisterMoved);
    changed(world, |write| write.version += 1, Rejection::VersionWrong);
    let rejected = |world: &mut World, by, name: &str, body, approving: &[&str], why| {
        assert_eq!(world.write(by, name, body, approving), no(why), "{name}");
    };
    rejected(world, "LZ9", CONSENT, consent(), &[], Rejection::NotOwnRegister);
    rejected(world, "RZ9", CONSENT, consent(), &["RZ9"], Rejection::ApprovalInvalid);
    rejected(world, "RZ9", CONSENT, RegisterBody::Protocol(2), &[], Rejection::BodyMismatch);
    let protocol = RegisterBody::Protocol(1);
    rejected(world, "RZ9", "protocol", protocol, &["LZ9", "RZ9"], Rejection::ProtocolNotRaised);
    let verdict = world.write_changed("RZ9", "witnesses", witnesses(0), &["LZ9", "RZ9"], |write| {
        write.narrows = false;
    });
    assert_eq!(verdict, no(Rejection::NarrowsUnsaid));
    rejected(world, "RZ9", "witnesses", witnesses(0), &["RZ9"], Rejection::ApprovalsMissing);
    let both = &["LZ9", "RZ9"];
    rejected(world, "RZ9", "witnesses", witnesses(2), both, Rejection::WitnessesMalformed);
    let strangers = GroupRecord { id: "x".parse().unwrap(), members: vec![id("XX9")] };
    let strangers = RegisterBody::Group(strangers);
    rejected(world, "RZ9", "group/x", strangers, both, Rejection::GroupMalformed);
    world.later(0);
    let mut record = member("XX9");
    record.nodes[0].id.0 = 0;
    let why = Rejection::MemberMalformed;
    rejected(world, "RZ9", "member/XX9", member_body(record.clone()), both, why);
    record.nodes[0].id.0 = 1;
    rejected(world, "RZ9", "member/XX9", member_body(record.clone()), both, Rejection::NodeReused);
    record.nodes.clear();
    record.agent_key = member("RZ9").agent_key;
    rejected(world, "RZ9", "member/XX9", member_body(record), both, Rejection::KeyReused);
    let witness = |n: u8| Witness { member: None, vkey: vkey(n), url: "https://w".to_owned() };
    let sixteen = RegisterBody::Witnesses((0..16).map(witness).collect());
    rejected(world, "RZ9", "witnesses", sixteen, both, Rejection::CosignersTooMany);
    let keyless = Witness { member: Some(id("RZ9")), vkey: "w".to_owned(), url: String::new() };
    let keyless = RegisterBody::Witnesses(vec![keyless]);
    rejected(world, "RZ9", "witnesses", keyless, both, Rejection::WitnessKeyMalformed);
    reject_agreements(world);
    world.later(5);
}

fn reject_agreements(world: &mut World) {
    let rejected = |world: &mut World, by, body, approving: &[&str], why| {
        assert_eq!(world.write(by, "agreement/DSA-1", body, approving), no(why));
    };
    rejected(world, COUNCIL, agreement(1, &[]), &["LZ9", "RZ9"], Rejection::NotAParty);
    rejected(world, "RZ9", agreement(1, &[]), &["RZ9"], Rejection::ApprovalsLost);
    rejected(world, "RZ9", agreement(1, &["LZ9"]), &["LZ9", "RZ9"], Rejection::SuspensionNotOwn);
    let reworded = agreement_with(|it| it.title = "Something else".to_owned());
    rejected(world, "RZ9", reworded, &["RZ9"], Rejection::AgreementVersionWrong);
    let backwards = agreement_with(|it| it.end = "2025-12-31".parse().unwrap());
    rejected(world, "RZ9", backwards, &["RZ9"], Rejection::AgreementMalformed);
}

fn permit(world: &mut World) {
    let reads = world.read_set(&READS);
    let make = |salt, counter| permitted(salt, counter, &reads);
    let verdict = world.record("RZ9", Lane::Conditional, &[&make, &make]);
    let provider_leaf = accepted(&verdict);
    let half = move |salt, counter| requester_half(salt, counter, Some(provider_leaf));
    accepted(&world.record("LZ9", Lane::Unconditional, &[&half]));

    // The same bytes are answered again, without new leaves; other bytes under the number are not.
    let batch = world.batch("RZ9", Lane::Conditional, &[&make]);
    let first = accepted(&world.file("RZ9", batch.clone()));
    assert_eq!(accepted(&world.file("RZ9", batch.clone())), first);
    let other = world.batch("RZ9", Lane::Conditional, &[&make]);
    let other = sign("RZ9", batch.session, batch.number, Lane::Conditional, other.entries);
    assert_eq!(world.file("RZ9", other), no(Rejection::Conflict));
    let ahead = world.batch("RZ9", Lane::Conditional, &[&make]);
    let ahead = sign("RZ9", ahead.session, ahead.number + 1, ahead.lane, ahead.entries);
    assert_eq!(world.file("RZ9", ahead), no(Rejection::Gap));
    let mut forged = world.batch("RZ9", Lane::Conditional, &[&make]);
    forged.signature = Signature::from_bytes([7; 64]);
    assert_eq!(world.file("RZ9", forged), no(Rejection::BadSignature));
    world.later(20);
}

fn reject_permits(world: &mut World) {
    let reads = world.read_set(&READS);
    let rejected = |world: &mut World, by, change: &dyn Fn(&mut ProviderHalf), why| {
        let make = |salt, counter| permitted_with(salt, counter, &reads, change);
        assert_eq!(world.record(by, Lane::Conditional, &[&make]), no(why));
    };
    let unread = |half: &mut ProviderHalf| half.read_set.truncate(3);
    rejected(world, "RZ9", &unread, Rejection::ReadSetIncomplete);
    let unknown = |half: &mut ProviderHalf| half.agreement = Some(reference("DSA-2", 1));
    rejected(world, "RZ9", &unknown, Rejection::AgreementUnknown);
    let newer = |half: &mut ProviderHalf| half.agreement = Some(reference("DSA-1", 2));
    rejected(world, "RZ9", &newer, Rejection::AgreementUnknown);
    let elsewhere = |half: &mut ProviderHalf| half.source = "beds".parse().unwrap();
    rejected(world, "RZ9", &elsewhere, Rejection::NotShared);
    let foreign = |half: &mut ProviderHalf| half.provider = id("LZ9");
    rejected(world, "RZ9", &foreign, Rejection::NotOwnEntry);
    let unordered = |half: &mut ProviderHalf| half.counter = 0;
    rejected(world, "RZ9", &unordered, Rejection::CounterNotAscending);
    let refused = |half: &mut ProviderHalf| half.outcome = Outcome::Refuse(Refusal::NoAgreement);
    rejected(world, "RZ9", &refused, Rejection::WrongLane);
    let streamed = |half: &mut ProviderHalf| half.flags = Flags::STREAMED;
    rejected(world, "RZ9", &streamed, Rejection::Contradictory);
    let council_reads =
        world.read_set(&["member/E08000037", "member/RZ9", "agreement/DSA-1", "consent/RZ9/0"]);
    let unsigned = |half: &mut ProviderHalf| {
        half.requester = id(COUNCIL);
        half.read_set.clone_from(&council_reads);
    };
    rejected(world, "RZ9", &unsigned, Rejection::AgreementNotSigned);
    // One stale permit takes the whole batch with it, and the registers are named.
    let good = |salt, counter| permitted(salt, counter, &reads);
    let stale =
        |salt, counter| permitted_with(salt, counter, &reads, &|half| half.read_set[1].version = 9);
    let verdict = world.record("RZ9", Lane::Conditional, &[&good, &stale]);
    assert_eq!(verdict, no(Rejection::Stale(vec!["member/RZ9".parse().unwrap()])));
    world.later(20);
}

/// Gives the leaf of an access that broke the glass.
fn record(world: &mut World) -> LeafIndex {
    let counted = |salt, counter| refusal_count(salt, counter, 12);
    let close = |salt, counter| close(salt, counter, LeafIndex(5), 4096);
    let reads = world.read_set(&["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/RZ9/0"]);
    let late = |salt, counter| {
        let flags = Flags::LATE.with(Flags::BREAK_GLASS);
        permitted_with(salt, counter, &reads, &|half| {
            (half.purpose, half.flags) = ("BTG".parse().unwrap(), flags);
            half.user_known = UserKnown::Verified;
        })
    };
    let all = world.record("RZ9", Lane::Unconditional, &[&refusal, &counted, &close, &late]);
    let broken = LeafIndex(accepted(&all).0 + 3);
    let rejected = |world: &mut World, make: &dyn Fn(Salt16, u64) -> Entry, why| {
        assert_eq!(world.record("RZ9", Lane::Unconditional, &[make]), no(why));
    };
    let ahead = |salt, counter| self::close(salt, counter, AHEAD, 1);
    rejected(world, &ahead, Rejection::LeafAhead);
    let care =
        |salt, counter| permitted_with(salt, counter, &reads, &|half| half.flags = Flags::LATE);
    rejected(world, &care, Rejection::LateNotAllowed);
    let none = |salt, counter| refusal_count(salt, counter, 0);
    rejected(world, &none, Rejection::Contradictory);
    let personal = |salt, counter| match refusal(salt, counter) {
        Entry::ProviderHalf(mut half) => {
            half.outcome = Outcome::Refuse(Refusal::ConsentDenied);
            Entry::ProviderHalf(half)
        }
        other => other,
    };
    rejected(world, &personal, Rejection::RefusalNotRecordable);
    // Time as a leader has it may go back; the ledger's does not.
    world.later(-5_000);
    accepted(&world.record("RZ9", Lane::Unconditional, &[&refusal]));
    world.later(6_000);
    broken
}

/// A withdrawal beats every permit after it; what only widens stales nothing.
fn narrow(world: &mut World) {
    let before = world.read_set(&READS);
    let make = |salt, counter| permitted(salt, counter, &before);
    let widen = |world: &mut World| {
        world.write_changed("RZ9", "consent/RZ9/0", RegisterBody::Consent, &[], |write| {
            write.narrows = false;
        })
    };
    accepted(&widen(world));
    accepted(&world.record("RZ9", Lane::Conditional, &[&make]));
    accepted(&world.write("RZ9", "consent/RZ9/0", RegisterBody::Consent, &[]));
    let stale = no(Rejection::Stale(vec!["consent/RZ9/0".parse().unwrap()]));
    assert_eq!(world.record("RZ9", Lane::Conditional, &[&make]), stale);
    world.later(10);
}

fn suspend_agreement(world: &mut World) {
    let both = &["LZ9", "RZ9"];
    accepted(&world.write("LZ9", "agreement/DSA-1", agreement(1, &["LZ9"]), both));
    let reads = world.read_set(&READS);
    let make = |salt, counter| permitted(salt, counter, &reads);
    let suspended = no(Rejection::AgreementSuspended);
    assert_eq!(world.record("RZ9", Lane::Conditional, &[&make]), suspended);
    accepted(&world.write("LZ9", "agreement/DSA-1", agreement(1, &[]), both));
    let later = agreement_with(|it| {
        it.version = 2;
        it.start = "2026-12-24".parse().unwrap();
    });
    accepted(&world.write("RZ9", "agreement/DSA-1", later, both));
    let reads = world.read_set(&READS);
    let make = |salt, counter| {
        permitted_with(salt, counter, &reads, &|half| {
            half.agreement = Some(reference("DSA-1", 2));
        })
    };
    let early = no(Rejection::AgreementNotStarted);
    assert_eq!(world.record("RZ9", Lane::Conditional, &[&make]), early);
    world.later(10);
}

fn suspend_member(world: &mut World) {
    let with_status = |status| member_body(MemberRecord { status, ..member("LZ9") });
    let write = |world: &mut World, status| {
        world.write("RZ9", "member/LZ9", with_status(status), &[COUNCIL, "RZ9"])
    };
    accepted(&write(world, MemberStatus::Suspended));
    let owed = |salt, counter| requester_half(salt, counter, None);
    accepted(&world.record("LZ9", Lane::Unconditional, &[&owed]));
    let verdict = world.write("LZ9", "consent/LZ9/0", RegisterBody::Consent, &[]);
    assert_eq!(verdict, no(Rejection::MemberSuspended));
    let reads = world.read_set(&READS);
    let make = |salt, counter| permitted(salt, counter, &reads);
    let inactive = no(Rejection::MemberNotActive);
    assert_eq!(world.record("RZ9", Lane::Conditional, &[&make]), inactive);
    world.later(DAY_MS + 1);
    let over = no(Rejection::MemberSuspended);
    assert_eq!(world.record("LZ9", Lane::Unconditional, &[&owed]), over);
    accepted(&write(world, MemberStatus::Removed));
    let closed = no(Rejection::SessionNotOpen);
    assert_eq!(world.record("LZ9", Lane::Unconditional, &[&owed]), closed);
    assert_eq!(world.start("LZ9", |_| {}), no(Rejection::MemberRemoved));
    accepted(&world.write(
        "RZ9",
        "member/LZ9",
        with_status(MemberStatus::Active),
        &[COUNCIL, "RZ9"],
    ));
    world.later(10);
}

/// The agreement's last day passes.
fn end(world: &mut World) {
    world.later(45 * DAY_MS);
    let reads = world.read_set(&READS);
    let make = |salt, counter| {
        permitted_with(salt, counter, &reads, &|half| {
            half.agreement = Some(reference("DSA-1", 2));
        })
    };
    let ended = no(Rejection::AgreementEnded);
    assert_eq!(world.record("RZ9", Lane::Conditional, &[&make]), ended);
    accepted(&world.record("RZ9", Lane::Unconditional, &[&refusal]));
}

fn member_body(record: MemberRecord) -> RegisterBody {
    RegisterBody::Member(Box::new(record))
}

/// So many witnesses with one key.
fn witnesses(count: usize) -> RegisterBody {
    let witness = Witness { member: None, vkey: vkey(1), url: "https://w".to_owned() };
    RegisterBody::Witnesses(vec![witness; count])
}

/// The key of a witness.
fn vkey(seed: u8) -> String {
    let name = KeyName::new(&format!("witness.example/{seed}")).unwrap();
    Cosigner::new(name, SigningKey::from_seed(&[seed; 32])).key().to_string()
}

fn reference(id: &str, version: u64) -> AgreementRef {
    AgreementRef { id: id.parse().unwrap(), version }
}

fn agreement(version: u64, suspended_by: &[&str]) -> RegisterBody {
    let document = encode_checked(document(version)).unwrap();
    let suspended_by = suspended_by.iter().map(|member| id(member)).collect();
    RegisterBody::Agreement(Box::new(AgreementRecord { document, suspended_by }))
}

fn agreement_with(change: impl FnOnce(&mut Agreement)) -> RegisterBody {
    let mut document = document(1);
    change(&mut document);
    let document = encode_checked(document).unwrap();
    RegisterBody::Agreement(Box::new(AgreementRecord { document, suspended_by: vec![] }))
}

fn document(version: u64) -> Agreement {
    let share = Share {
        provider: id("RZ9"),
        requesters: vec![Party::Member(id("LZ9")), Party::Member(id("RZ9"))],
        source: "fhir".parse().unwrap(),
        purposes: vec!["BTG".parse().unwrap(), "TREAT".parse().unwrap()],
        data: DataKind::Special,
        confidential: true,
        basis: Basis {
            article_6: Some(Article6::PublicTask),
            article_9: Some(Article9::HealthOrSocialCare),
            common_law: Some(CommonLaw::ImpliedConsent),
            power: "HSCA2012-s251B".to_owned(),
        },
        fields: AllowList::Elements(vec![("Patient".to_owned(), Elements::All)]),
        user_known: UserKnown::Asserted,
        relationship_required: false,
        overrides: vec![],
        offline_emergency: true,
        show_reasons: false,
        condition: Condition::default(),
        confidentiality: Confidentiality::Normal,
        assessment_min: None,
    };
    Agreement {
        id: "DSA-1".parse().unwrap(),
        version,
        title: "Discharge support".to_owned(),
        start: "2026-01-01".parse().unwrap(),
        review: "2026-10-01".parse().unwrap(),
        end: "2026-12-31".parse().unwrap(),
        dpia: "DPIA-77".to_owned(),
        parties: vec![Party::Member(id("LZ9")), Party::Member(id("RZ9"))],
        shares: vec![share],
    }
}

fn permitted(salt: Salt16, counter: u64, reads: &[RegisterRef]) -> Entry {
    permitted_with(salt, counter, reads, &|_| {})
}

fn permitted_with(
    salt: Salt16,
    counter: u64,
    reads: &[RegisterRef],
    change: &dyn Fn(&mut ProviderHalf),
) -> Entry {
    let mut half = ProviderHalf {
        salt,
        exchange: ExchangeId(salt.0),
        counter,
        provider: id("RZ9"),
        requester: id("LZ9"),
        operator: None,
        agreement: Some(reference("DSA-1", 1)),
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        user_known: UserKnown::Asserted,
        people: 1,
        people_withheld: 0,
        records: 1,
        bytes: 4096,
        digest: Some(Hash::from_bytes([1; 32])),
        tags_root: Hash::from_bytes([2; 32]),
        commitment: Hash::from_bytes([3; 32]),
        flags: Flags::NONE,
        read_set: reads.to_vec(),
        resumes: None,
        rectifies: None,
        opt_out: None,
    };
    change(&mut half);
    Entry::ProviderHalf(Box::new(half))
}

fn refusal(salt: Salt16, counter: u64) -> Entry {
    permitted_with(salt, counter, &[], &|half| {
        half.outcome = Outcome::Refuse(Refusal::PersonLevel);
        (half.people, half.records, half.bytes, half.digest) = (0, 0, 0, None);
    })
}

fn requester_half(salt: Salt16, counter: u64, provider_leaf: Option<LeafIndex>) -> Entry {
    let arrived = provider_leaf.is_some();
    Entry::RequesterHalf(Box::new(RequesterHalf {
        salt,
        exchange: ExchangeId(salt.0),
        counter,
        requester: id("LZ9"),
        provider_leaf,
        provider: id("RZ9"),
        agreement: arrived.then(|| reference("DSA-1", 1)),
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: if arrived { Outcome::Permit } else { Outcome::Refuse(Refusal::Unreachable) },
        bytes_arrived: if arrived { 4096 } else { 0 },
        digest: arrived.then(|| Hash::from_bytes([1; 32])),
        commitment: arrived.then(|| Hash::from_bytes([3; 32])),
        flags: Flags::NONE,
        rectifies: None,
    }))
}
