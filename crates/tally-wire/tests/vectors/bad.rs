//! Bytes that must be refused, each for one reason.

use tally_core::agreement::Agreement;
use tally_core::entry::Entry;
use tally_core::ledger::Submission;
use tally_core::opening::Opening;
use tally_wire::encode_entry;
use tally_wire::message::agent::{Answer, Request};
use tally_wire::message::hello::HelloAnswer;
use tally_wire::message::ledger::{QueryAnswer, SubmitAnswer};
use tally_wire::message::sidecar::{SidecarAnswer, SidecarHello};
use tally_wire::message::witness::{ToWitness, WitnessAnswer, WitnessStart};
use tally_wire::registers::RegisterLeaves;

use super::cbor::Cbor;
use super::vector::{Vector, bad};
use super::{ledger, messages, samples};

const ENTRY: (&str, &str) = ("entries", "entry");

pub(crate) fn vectors() -> Vec<Vector> {
    [
        lengths(),
        numbers(),
        types(),
        lists(),
        texts(),
        nested(),
        requests(),
        messages(),
        submissions(),
        witnesses(),
        sidecars(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Places in a close: kind, version, salt, counter, provider's leaf, how, bytes, root.
const VERSION: usize = 1;
const SALT: usize = 2;
const COUNTER: usize = 3;
const HOW: usize = 5;
const ROOT: usize = 7;

fn close() -> Vec<u8> {
    encode_entry(&Entry::Close(samples::close()))
}

/// A leaf with one item replaced.
fn replaced(bytes: &[u8], path: &[usize], with: Cbor) -> Vec<u8> {
    edited(bytes, path, |item| *item = with)
}

fn edited(bytes: &[u8], path: &[usize], with: impl FnOnce(&mut Cbor)) -> Vec<u8> {
    let mut item = Cbor::whole(bytes).unwrap();
    item.edit(path, with);
    item.to_bytes()
}

fn raw(bytes: &[u8]) -> Cbor {
    Cbor::Raw(bytes.to_vec())
}

fn entry(name: &str, bytes: Vec<u8>, code: &'static str) -> Vector {
    bad::<Entry>(name, ENTRY, bytes, code)
}

/// A close with one item replaced.
fn close_with(name: &str, place: usize, with: Cbor, code: &'static str) -> Vector {
    entry(name, replaced(&close(), &[place], with), code)
}

fn lengths() -> Vec<Vector> {
    let whole = close();
    let longer = edited(&whole, &[], |item| {
        if let Cbor::Array(items) = item {
            items.push(Cbor::Number(0));
        }
    });
    let shorter = edited(&whole, &[], |item| {
        if let Cbor::Array(items) = item {
            items.pop();
        }
    });
    let huge_array = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let huge_bytes = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    vec![
        entry("empty", Vec::new(), "truncated"),
        entry("empty-array", vec![0x80], "wrong-length"),
        entry("truncated", whole[..whole.len() - 1].to_vec(), "truncated"),
        entry("trailing-byte", [&whole, [0].as_slice()].concat(), "trailing-bytes"),
        entry("item-too-many", longer, "wrong-length"),
        entry("item-too-few", shorter, "wrong-length"),
        entry("array-of-huge-length", huge_array.to_vec(), "truncated"),
        close_with("bytes-of-huge-length", SALT, raw(&huge_bytes), "truncated"),
        close_with("short-salt", SALT, Cbor::Bytes(vec![5; 15]), "wrong-length"),
        close_with("short-hash", ROOT, Cbor::Array(vec![Cbor::Bytes(vec![5; 31])]), "wrong-length"),
        close_with(
            "optional-with-two-items",
            ROOT,
            Cbor::Array(vec![Cbor::Bytes(vec![5; 32]), Cbor::Bytes(vec![6; 32])]),
            "wrong-length",
        ),
        close_with("entry-too-large", SALT, Cbor::Bytes(vec![5; 16 * 1024]), "too-large"),
        entry("genesis-too-large", vec![0; 48 * 1024 + 1], "too-large"),
    ]
}

fn numbers() -> Vec<Vector> {
    let half = encode_entry(&Entry::ProviderHalf(Box::new(samples::provider_half())));
    let seal = encode_entry(&Entry::Seal(samples::seal()));
    let review = encode_entry(&Entry::Review(samples::review()));
    let disposal = encode_entry(&Entry::Disposal(Box::new(samples::disposal())));
    let long_array = [[0x98, 8].as_slice(), &close()[1..]].concat();
    let long_bytes = [[0x58, 16].as_slice(), &[5; 16]].concat();
    vec![
        close_with("long-integer", VERSION, raw(&[0x18, 1]), "not-canonical"),
        close_with(
            "longest-integer",
            COUNTER,
            raw(&[0x1b, 0, 0, 0, 0, 0, 0, 0, 25]),
            "not-canonical",
        ),
        close_with("long-length-of-bytes", SALT, raw(&long_bytes), "not-canonical"),
        entry("long-length-of-array", long_array, "not-canonical"),
        close_with("unknown-kind", 0, Cbor::Number(9), "unknown-kind"),
        close_with("version-0", VERSION, Cbor::Number(0), "unknown-version"),
        close_with("version-2", VERSION, Cbor::Number(2), "unknown-version"),
        close_with("unknown-how", HOW, Cbor::Number(6), "unknown-number"),
        entry("reserved-flag", replaced(&half, &[21], Cbor::Number(16)), "reserved-flag"),
        entry("unknown-review-state", replaced(&review, &[7], Cbor::Number(5)), "unknown-number"),
        entry("unknown-refusal", replaced(&half, &[12], raw(&[0x81, 0])), "unknown-number"),
        entry("unknown-lane", replaced(&seal, &[4], Cbor::Number(4)), "unknown-number"),
        entry("seal-of-too-many", replaced(&seal, &[5], Cbor::Number(65_536)), "unknown-number"),
        entry("unknown-basis", replaced(&disposal, &[5, 0], Cbor::Number(4)), "unknown-number"),
        entry("unknown-algorithm", replaced(&seal, &[7], Cbor::Negative(18)), "unknown-number"),
    ]
}

fn types() -> Vec<Vector> {
    let items = &close()[1..];
    let indefinite = [[0x9f].as_slice(), items, &[0xff]].concat();
    let chunked = [[0x5f, 0x50].as_slice(), &[5; 16], &[0xff]].concat();
    vec![
        entry("map", vec![0xa1, 0x0c, 0x01], "wrong-type"),
        close_with("map-inside", HOW, raw(&[0xa0]), "wrong-type"),
        close_with("float", COUNTER, raw(&[0xf9, 0x4e, 0x40]), "wrong-type"),
        close_with("null", ROOT, raw(&[0xf6]), "wrong-type"),
        close_with("undefined", ROOT, raw(&[0xf7]), "wrong-type"),
        close_with("tag", COUNTER, raw(&[0xc1, 0x18, 25]), "wrong-type"),
        close_with("negative", COUNTER, Cbor::Negative(0), "wrong-type"),
        close_with("text-for-bytes", SALT, Cbor::Text("sixteen letters!".to_owned()), "wrong-type"),
        close_with("reserved-length", COUNTER, raw(&[0x1c]), "wrong-type"),
        close_with("break", ROOT, raw(&[0xff]), "wrong-type"),
        close_with("indefinite-bytes", SALT, raw(&chunked), "indefinite"),
        entry("indefinite-array", indefinite, "indefinite"),
        close_with("indefinite-optional", ROOT, raw(&[0x9f, 0xff]), "indefinite"),
    ]
}

fn lists() -> Vec<Vector> {
    const READ_SET: usize = 22;
    const OPT_OUT: usize = 25;
    let half = encode_entry(&Entry::ProviderHalf(Box::new(samples::provider_half())));
    let genesis = encode_entry(&Entry::Genesis(Box::new(samples::genesis())));
    let with_list = |bytes: &[u8], path: &[usize], change: fn(&mut Vec<Cbor>)| {
        edited(bytes, path, |item| {
            if let Cbor::Array(items) = item {
                change(items);
            }
        })
    };
    let swapped = |items: &mut Vec<Cbor>| items.swap(0, 1);
    let twice = |items: &mut Vec<Cbor>| items.insert(0, items[0].clone());
    let long = |items: &mut Vec<Cbor>| *items = vec![Cbor::Number(0); 321];
    let none = |items: &mut Vec<Cbor>| items.clear();
    let superseded = |items: &mut Vec<Cbor>| {
        *items = ["LZ8", "LZ7"].map(|id| Cbor::Text(id.to_owned())).to_vec();
    };
    let assessed = |items: &mut Vec<Cbor>| {
        let day = Cbor::Text("2026-06-30".to_owned());
        *items = vec![Cbor::Array(vec![Cbor::Number(6), day])];
    };
    let one = |items: &mut Vec<Cbor>| *items = vec![Cbor::Number(1)];
    let recovery = encode_entry(&Entry::Recovery(Box::new(samples::recovery())));
    let checks = [OPT_OUT, 0, 1];
    vec![
        entry("read-set-swapped", with_list(&half, &[READ_SET], swapped), "not-ascending"),
        entry("read-set-with-one-twice", with_list(&half, &[READ_SET], twice), "not-ascending"),
        entry("read-set-too-long", with_list(&half, &[READ_SET], long), "too-large"),
        entry("opt-out-swapped", with_list(&half, &checks, swapped), "not-ascending"),
        entry("opt-out-of-nothing", with_list(&half, &checks, none), "wrong-length"),
        entry("opt-out-of-both", with_list(&half, &[OPT_OUT, 0, 0], one), "wrong-length"),
        entry(
            "opt-out-too-long",
            with_list(&half, &checks, |it| {
                *it = vec![Cbor::Number(0); 17];
            }),
            "too-large",
        ),
        entry(
            "opt-out-answers-too-many",
            replaced(&half, &[OPT_OUT, 0, 1, 1, 2], Cbor::Number(541)),
            "unknown-number",
        ),
        entry("founders-swapped", with_list(&genesis, &[6], swapped), "not-ascending"),
        entry("superseded-swapped", with_list(&genesis, &[6, 0, 9], superseded), "not-ascending"),
        entry("unknown-assessment", with_list(&genesis, &[6, 0, 10], assessed), "unknown-number"),
        entry("no-founders", with_list(&genesis, &[6], none), "wrong-length"),
        entry("voter-twice", with_list(&genesis, &[7], twice), "not-ascending"),
        entry("recovery-unapproved", with_list(&recovery, &[8], none), "wrong-length"),
        entry("recovery-approvals-swapped", with_list(&recovery, &[8], swapped), "not-ascending"),
    ]
}

fn texts() -> Vec<Vector> {
    const PROVIDER: usize = 5;
    let half = encode_entry(&Entry::ProviderHalf(Box::new(samples::provider_half())));
    let genesis = encode_entry(&Entry::Genesis(Box::new(samples::genesis())));
    let text = |text: &str| Cbor::Text(text.to_owned());
    let mut identity = vec![0; 32];
    identity[0] = 1;
    vec![
        entry("member-id", replaced(&half, &[PROVIDER], text("rz9")), "bad-text"),
        entry("member-id-empty", replaced(&half, &[PROVIDER], text("")), "bad-text"),
        entry("not-utf-8", replaced(&half, &[PROVIDER], raw(&[0x61, 0xff])), "bad-text"),
        entry("register-name", replaced(&half, &[22, 3, 0], text("consent/RZ9/07")), "bad-text"),
        entry(
            "opt-out-reference",
            replaced(&half, &[25, 0, 1, 0, 0], text("9990000018-231126-1")),
            "bad-text",
        ),
        entry("text-too-long", replaced(&genesis, &[6, 0, 1], text(&"x".repeat(201))), "too-large"),
        entry("text-too-short", replaced(&genesis, &[6, 0, 1], text("")), "wrong-length"),
        entry("weak-key", replaced(&genesis, &[6, 0, 4], Cbor::Bytes(identity)), "bad-key"),
    ]
}

fn nested() -> Vec<Vector> {
    const BODY: usize = 7;
    let write = encode_entry(&Entry::Register(Box::new(samples::agreement_write())));
    let trailing = edited(&write, &[BODY], |item| {
        if let Cbor::Bytes(bytes) = item {
            bytes.push(0);
        }
    });
    let document = tally_wire::encode(&samples::agreement());
    let day = Cbor::Text("2026-02-30".to_owned());
    let agreement = ("registers", "agreement");
    vec![
        entry("trailing-byte-inside", trailing, "trailing-bytes"),
        entry(
            "body-not-an-object",
            replaced(&write, &[BODY], Cbor::Bytes(vec![0x80])),
            "wrong-length",
        ),
        entry(
            "body-of-another-kind",
            replaced(&write, &[BODY, 0], Cbor::Number(1)),
            "unknown-kind",
        ),
        entry(
            "document-version-2",
            replaced(&write, &[BODY, 2, 1], Cbor::Number(2)),
            "unknown-version",
        ),
        entry(
            "long-integer-inside",
            replaced(&write, &[BODY, 2, 3], raw(&[0x18, 1])),
            "not-canonical",
        ),
        bad::<Agreement>("no-such-day", agreement, replaced(&document, &[5], day), "bad-text"),
    ]
}

/// The place of what is wanted of a dataset in a request.
const WANTED: usize = 9;

fn requests() -> Vec<Vector> {
    let request = tally_wire::encode(&messages::request());
    let text = |len| Cbor::Text("x".repeat(len));
    vec![
        bad::<Request>(
            "request-with-long-path",
            ("agents", "request"),
            replaced(&request, &[7], text(2049)),
            "too-large",
        ),
        bad::<Request>(
            "request-with-empty-user",
            ("agents", "request"),
            replaced(&request, &[11, 0], text(0)),
            "wrong-length",
        ),
        bad::<Request>(
            "request-with-long-trace",
            ("agents", "request"),
            replaced(&request, &[18, 1], text(513)),
            "too-large",
        ),
        bad::<Request>(
            "range-of-nothing",
            ("agents", "request"),
            replaced(&request, &[WANTED, 0, 0], Cbor::Array(vec![Cbor::Array(Vec::new()); 2])),
            "wrong-length",
        ),
        bad::<Request>(
            "range-backwards",
            ("agents", "request"),
            replaced(&request, &[WANTED, 0, 0, 0, 0], Cbor::Number(131_072)),
            "not-ascending",
        ),
    ]
}

fn messages() -> Vec<Vector> {
    let opening = tally_wire::encode(&messages::opening());
    let data = tally_wire::encode(&messages::data());
    let end = tally_wire::encode(&messages::stream_end(None));
    vec![
        bad::<Answer>(
            "empty-data",
            ("agents", "answer"),
            replaced(&data, &[2], Cbor::Bytes(Vec::new())),
            "wrong-length",
        ),
        bad::<Answer>(
            "stream-end-how",
            ("agents", "answer"),
            replaced(&end, &[2, 1], Cbor::Number(6)),
            "unknown-number",
        ),
        bad::<Answer>(
            "stream-end-without-a-root",
            ("agents", "answer"),
            replaced(&end, &[2, 3], Cbor::Bytes(Vec::new())),
            "wrong-length",
        ),
        bad::<Answer>(
            "stream-end-of-another-algorithm",
            ("agents", "answer"),
            replaced(&end, &[3], Cbor::Negative(18)),
            "unknown-number",
        ),
        bad::<Answer>(
            "reserved-frame",
            ("agents", "answer"),
            replaced(&data, &[0], Cbor::Number(110)),
            "unknown-kind",
        ),
        bad::<HelloAnswer>(
            "unknown-unwelcome",
            ("agents", "hello-answer"),
            vec![0x83, 0x18, 62, 1, 0],
            "unknown-number",
        ),
        bad::<Opening>(
            "nobody",
            ("openings", "opening"),
            replaced(&opening, &[4, 0, 0], Cbor::Text(String::new())),
            "bad-text",
        ),
    ]
}

fn sidecars() -> Vec<Vector> {
    let hello = tally_wire::encode(&messages::sidecar_hello());
    let from = ("agents", "sidecar-hello");
    let text = |len| Cbor::Text("x".repeat(len));
    vec![
        bad::<SidecarHello>(
            "sidecar-listening-nowhere",
            from,
            replaced(&hello, &[5, 0], text(0)),
            "wrong-length",
        ),
        bad::<SidecarHello>(
            "sidecar-service-too-long",
            from,
            replaced(&hello, &[8, 0], text(129)),
            "too-large",
        ),
        bad::<SidecarHello>(
            "sidecar-tls-by-number",
            from,
            replaced(&hello, &[4], Cbor::Number(1)),
            "wrong-type",
        ),
        bad::<SidecarAnswer>(
            "sidecar-welcomed-as-an-agent",
            ("agents", "sidecar-answer"),
            replaced(&hello, &[0], Cbor::Number(61)),
            "unknown-kind",
        ),
    ]
}

fn submissions() -> Vec<Vector> {
    const LEAVES: usize = 5;
    let submission = ("ledger", "submission");
    let batch = tally_wire::encode(&Submission::Batch(ledger::batch()));
    let leaf = Cbor::Bytes(close());
    let list = |leaf: &Cbor, count| Cbor::Array(vec![leaf.clone(); count]);
    let close_outside = [[0x83, 0x18, 52, 1].as_slice(), &leaf.to_bytes()].concat();
    let broken = edited(&batch, &[LEAVES, 0], |item| {
        if let Cbor::Bytes(bytes) = item {
            bytes.push(0);
        }
    });
    vec![
        bad::<Submission>(
            "batch-without-leaves",
            submission,
            replaced(&batch, &[LEAVES], list(&leaf, 0)),
            "wrong-length",
        ),
        bad::<Submission>(
            "batch-of-513-leaves",
            submission,
            replaced(&batch, &[LEAVES], list(&leaf, 513)),
            "too-large",
        ),
        bad::<Submission>("leaf-in-batch", submission, broken, "trailing-bytes"),
        bad::<Submission>("leaf-outside-a-batch", submission, close_outside, "unknown-kind"),
        bad::<SubmitAnswer>(
            "stale-swapped",
            ("ledger", "submit-answer"),
            tally_wire::encode(&ledger::stale_swapped()),
            "not-ascending",
        ),
        bad::<QueryAnswer>(
            "own-entries-swapped",
            ("ledger", "query-answer"),
            tally_wire::encode(&ledger::own_entries_swapped()),
            "not-ascending",
        ),
        bad::<RegisterLeaves>(
            "register-leaves-swapped",
            ("ledger", "register-leaves"),
            edited(&tally_wire::encode(&ledger::register_leaves()), &[3], |leaves| {
                if let Cbor::Array(leaves) = leaves {
                    leaves.swap(0, 1);
                }
            }),
            "not-ascending",
        ),
    ]
}

fn witnesses() -> Vec<Vector> {
    let start = tally_wire::encode(&ledger::witness_start());
    let ask = tally_wire::encode(&ledger::witness_ask());
    let answer = |status: u64, body: usize| {
        let (status, body) = (Cbor::Number(status), Cbor::Bytes(vec![b'x'; body]));
        Cbor::Array(vec![Cbor::Number(86), Cbor::Number(1), Cbor::Number(3), status, body])
            .to_bytes()
    };
    let from = ("ledger", "witness-answer");
    vec![
        bad::<WitnessStart>(
            "witness-without-a-key",
            ("ledger", "witness-start"),
            replaced(&start, &[2], Cbor::Text(String::new())),
            "wrong-length",
        ),
        bad::<ToWitness>(
            "witness-asked-nothing",
            ("ledger", "to-witness"),
            replaced(&ask, &[3], Cbor::Bytes(Vec::new())),
            "wrong-length",
        ),
        bad::<ToWitness>(
            "witness-asked-too-much",
            ("ledger", "to-witness"),
            replaced(&ask, &[3], Cbor::Bytes(vec![b'x'; 16 * 1024 + 1])),
            "too-large",
        ),
        bad::<WitnessAnswer>("witness-status", from, answer(65_536, 1), "unknown-number"),
        bad::<WitnessAnswer>("witness-body-too-long", from, answer(200, 8 * 1024 + 1), "too-large"),
    ]
}
