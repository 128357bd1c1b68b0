//! Fixed openings and messages.

use tally_core::dataset::{ByteRange, Selected, Selection, Wanted};
use tally_core::entry::{Action, Algorithm, Entry, Flags, How, ProviderHalf, UserKnown};
use tally_core::exchange::{Promise, StreamEnd, StreamSum, promise_preimage, stream_end_preimage};
use tally_core::id::{ExchangeId, NodeId};
use tally_core::opening::{Opened, Opening, Salt32, TagKey};
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::{Hash, SigningKey};
use tally_wire::message::agent::{
    Answer, Data, Description, OpeningPart, PromiseFrame, ReceiptFrame, Refused, Request, Trailer,
};
use tally_wire::message::dataset::About;
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome, Unwelcome, Welcome};
use tally_wire::message::sidecar::{SidecarAnswer, SidecarHello, SidecarWelcome};
use tally_wire::message::{AGENT_FRAME_LEN_MAX, LEDGER_FRAME_LEN_MAX};

use super::samples::{hash, mesh_id, provider_half};
use super::vector::{Vector, good};

pub(crate) fn vectors() -> Vec<Vector> {
    let mut vectors = vec![
        good("opening", ("openings", "opening"), opening()),
        good("opening-of-nobody", ("openings", "opening"), opening_of_nobody()),
        good("hello", ("agents", "hello"), hello()),
        good("sidecar-hello", ("agents", "sidecar-hello"), sidecar_hello()),
        good("sidecar-hello-plain", ("agents", "sidecar-hello"), plain_sidecar_hello()),
        good(
            "sidecar-welcome",
            ("agents", "sidecar-answer"),
            SidecarAnswer::Welcome(SidecarWelcome { version: 1, mesh_id: mesh_id() }),
        ),
        good("request", ("agents", "request"), request()),
        good("request-plain", ("agents", "request"), plain_request()),
        good("request-of-the-last-bytes", ("agents", "request"), last_bytes()),
    ];
    vectors.extend(
        hello_answers().map(|(name, answer)| good(name, ("agents", "hello-answer"), answer)),
    );
    vectors.extend(answers().map(|(name, answer)| good(name, ("agents", "answer"), answer)));
    vectors
}

fn exchange() -> ExchangeId {
    ExchangeId(*b"one exchange id!")
}

/// Everything that an opening may hold.
pub(crate) fn opening() -> Opening {
    let opened = |person: &str, ids: &[&str], key| Opened {
        person: Person::new(person).unwrap(),
        record_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        tag: TagKey([key; 32]).tag(&mesh_id(), exchange()),
    };
    Opening {
        exchange: exchange(),
        salt: Salt32([8; 32]),
        people: vec![
            opened("nhs-number|9990000018", &["Patient/p1", "Observation/o1"], 1),
            opened("RZ9/Patient|p2", &[], 2),
        ],
        user: Some("https://idp.example|u1".to_owned()),
        role: Some("nurse".to_owned()),
        relationship: Some("caseload|c1".to_owned()),
        reason: Some("Überweisung".to_owned()),
        request_ids: vec!["req-1".to_owned()],
    }
}

fn opening_of_nobody() -> Opening {
    Opening {
        people: vec![],
        user: None,
        role: None,
        relationship: None,
        reason: None,
        request_ids: vec![],
        ..opening()
    }
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        mesh_id: mesh_id(),
        epoch: 0,
        member: "LZ9".parse().unwrap(),
        node: None,
        protocol: 1,
        frame_len_max: AGENT_FRAME_LEN_MAX as u64,
    }
}

fn hello_answers() -> impl Iterator<Item = (&'static str, HelloAnswer)> {
    let welcome = Welcome {
        version: 1,
        epoch: 0,
        member: "RZ9".parse().unwrap(),
        node: Some(NodeId(2)),
        protocol: 1,
        frame_len_max: LEDGER_FRAME_LEN_MAX as u64,
    };
    [
        ("welcome", HelloAnswer::Welcome(welcome)),
        ("unwelcome", HelloAnswer::Unwelcome(Unwelcome { why: NotWelcome::WrongMesh })),
    ]
    .into_iter()
}

/// Everything that a sidecar may say.
pub(crate) fn sidecar_hello() -> SidecarHello {
    SidecarHello {
        version_min: 1,
        version_max: 1,
        tls: true,
        listening: Some("10.0.0.7:7601".to_owned()),
        base_url: Some("https://records.lz9.example/tally".to_owned()),
        purpose: Some("TREAT".parse().unwrap()),
        service: Some("pas".to_owned()),
    }
}

fn plain_sidecar_hello() -> SidecarHello {
    SidecarHello {
        tls: false,
        listening: None,
        base_url: None,
        purpose: None,
        service: None,
        ..sidecar_hello()
    }
}

/// Everything that a request may hold.
pub(crate) fn request() -> Request {
    Request {
        exchange: exchange(),
        purpose: "TREAT".parse().unwrap(),
        agreement: Some("DSA-1".parse().unwrap()),
        source: "fhir".parse().unwrap(),
        action: Action::Search,
        path: "Observation".to_owned(),
        query: "patient=p1&_count=50".to_owned(),
        wanted: Wanted {
            range: Some(ByteRange::From { first: 65_536, last: Some(131_071) }),
            if_range: Some("\"5eb63bbbe01eeed0\"".to_owned()),
            expected: vec!["*".to_owned()],
            known: vec!["W/\"0\"".to_owned(), "\"1\"".to_owned()],
            head_only: false,
        },
        user_known: UserKnown::Verified,
        user: Some("https://idp.example|u1".to_owned()),
        role: Some("nurse".to_owned()),
        relationship: Some("caseload|c1".to_owned()),
        reason: Some("Überweisung".to_owned()),
        resumes: Some(ExchangeId(*b"the one before !")),
        request_ids: vec!["req-1".to_owned()],
        base_url: Some("http://127.0.0.1:7601".to_owned()),
        trace: vec![
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
            "rojo=00f067aa0ba902b7".to_owned(),
        ],
    }
}

fn plain_request() -> Request {
    Request {
        agreement: None,
        source: "beds".parse().unwrap(),
        action: Action::Dataset,
        path: String::new(),
        query: String::new(),
        wanted: Wanted::default(),
        user_known: UserKnown::Service,
        user: None,
        role: None,
        relationship: None,
        reason: None,
        resumes: None,
        request_ids: vec![],
        base_url: None,
        trace: vec![],
        ..request()
    }
}

fn last_bytes() -> Request {
    let range = Some(ByteRange::Last(9));
    Request { wanted: Wanted { range, head_only: true, ..Wanted::default() }, ..plain_request() }
}

pub(crate) fn data() -> Answer {
    Answer::Data(Data { bytes: b"a,b\n1,2\n".to_vec() })
}

fn answers() -> impl Iterator<Item = (&'static str, Answer)> {
    let refused = Refused {
        refusal: Refusal::PurposeNotInAgreement,
        detail: "DSA-1 does not cover HRESCH.".to_owned(),
        counted: false,
        length: None,
    };
    let beyond = Refused {
        refusal: Refusal::RangeInvalid,
        detail: "The dataset has 8 bytes.".to_owned(),
        counted: false,
        length: Some(8),
    };
    let description = Description {
        media_type: "text/csv".to_owned(),
        etag: Some("\"5eb63bbbe01eeed0\"".to_owned()),
        bytes: Some(8),
        selected: Selected { selection: Selection::All, length: Some(8) },
        about: None,
    };
    let part = Selection::Part { first: 65_536, last: 65_543 };
    let part = Description {
        selected: Selected { selection: part, length: Some(65_544) },
        ..description.clone()
    };
    let unchanged = Selected { selection: Selection::Unchanged, length: None };
    let unchanged = Description { bytes: Some(0), selected: unchanged, ..description.clone() };
    let about = About {
        title: Some("Beds".to_owned()),
        licence: Some("OGL-UK-3.0".to_owned()),
        columns: vec!["ward".to_owned(), "beds".to_owned()],
    };
    let head = Description {
        bytes: Some(0),
        selected: Selected { selection: Selection::Head, length: Some(8) },
        about: Some(about),
        ..description.clone()
    };
    let opening_part = OpeningPart { last: true, bytes: tally_wire::encode(&opening()) };
    let trailer = Trailer { how: How::Sent, bytes: 8, root: None };
    [
        ("refused", Answer::Refused(refused)),
        ("refused-beyond", Answer::Refused(beyond)),
        (
            "receipt-frame",
            Answer::Receipt(Box::new(ReceiptFrame {
                receipt: tally_wire::encode_checked(super::ledger::receipt()).unwrap(),
            })),
        ),
        ("promise-frame", Answer::Promise(Box::new(PromiseFrame { promise: promise() }))),
        ("opening-part", Answer::Opening(opening_part)),
        ("description", Answer::Description(description)),
        ("description-of-a-part", Answer::Description(part)),
        ("description-unchanged", Answer::Description(unchanged)),
        ("description-head", Answer::Description(head)),
        ("data", data()),
        ("trailer", Answer::Trailer(trailer)),
        ("stream-end", stream_end(Some(hash("content")))),
        ("stream-end-of-a-part", stream_end(None)),
    ]
    .into_iter()
}

/// The word of an agent about what left.
pub(crate) fn stream_end(content_root: Option<Hash>) -> Answer {
    let (how, bytes, root) = (How::Sent, 8, hash("chunks"));
    let sum = StreamSum { exchange: exchange(), how, bytes, root, content_root };
    let preimage = stream_end_preimage(&mesh_id(), 0, &provider_half().commitment, &sum);
    let signature = SigningKey::from_seed(&[7; 32]).sign(&preimage);
    Answer::End(Box::new(StreamEnd { sum, algorithm: Algorithm::EdDsa, signature }))
}

/// The word of an agent about the half that is marked late.
fn promise() -> tally_core::Encoded<Promise> {
    let flags = Flags::LATE.with(Flags::BREAK_GLASS);
    let half = ProviderHalf { counter: 0, flags, ..provider_half() };
    let entry = Entry::ProviderHalf(Box::new(half));
    let entry = tally_wire::encode_checked(entry).unwrap();
    let (at, algorithm) = (Timestamp(1_795_428_902_113), Algorithm::EdDsa);
    let preimage = promise_preimage(&mesh_id(), 0, at, &entry.leaf_hash());
    let signature = SigningKey::from_seed(&[7; 32]).sign(&preimage);
    tally_wire::encode_checked(Promise { entry, at, algorithm, signature }).unwrap()
}
