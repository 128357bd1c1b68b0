//! Datasets: a file, or a directory of files.

use super::*;
use tally_core::dataset::{ContentDigest, Selection};
use tally_core::opening::CHUNK_LEN;
use tally_log::{Hash, leaf_hash};

const BEDS: &str = "ward,beds,note\nA,12,\"one, two\"\nB,7,\n";

fn columns(names: &[&str]) -> AllowList {
    AllowList::Columns(names.iter().map(|it| (*it).to_owned()).collect())
}

fn about_nobody(fields: AllowList) -> Desk {
    Desk { fields, data: DataKind::None, ..Desk::new() }
}

/// What arrives of a dataset, and its ETag.
fn stream(desk: &Desk, source: &Source, ask: &Ask) -> Result<(Vec<u8>, String), Refusal> {
    let reading = source.read(ask).map_err(|unread| unread.refusal)?;
    let permit = desk.permit(source, &reading);
    let Reading::Stream(stream) = reading else { panic!("read as a whole") };
    let Opened { etag, selected, chunks, .. } = stream.open(&permit)?;
    let (mut pieces, content_root) = pieces(chunks)?;
    let last = pieces.pop();
    assert!(pieces.iter().all(|piece| piece.len() == CHUNK_LEN));
    assert!(last.as_ref().is_none_or(|last| (1..=CHUNK_LEN).contains(&last.len())));
    pieces.extend(last);
    let bytes = pieces.concat();
    assert!(selected.bytes().is_none_or(|said| said == bytes.len() as u64));
    if selected.selection == Selection::All {
        assert_eq!(content_root, Some(root_of(&bytes)));
    }
    assert_eq!(etag, stream.etag(&permit));
    Ok((bytes, etag))
}

/// The data of all pieces, and what is said at the end.
pub(super) fn pieces(chunks: Chunks) -> Result<(Vec<Vec<u8>>, Option<Hash>), Refusal> {
    let mut data = Vec::new();
    for piece in chunks {
        match piece? {
            Piece::Data { chunks, .. } => {
                assert!(chunks.iter().all(|chunk| chunk.hash == leaf_hash(&chunk.bytes)));
                data.extend(chunks.into_iter().map(|chunk| chunk.bytes.to_vec()));
            }
            Piece::End { content_root } => return Ok((data, content_root)),
        }
    }
    panic!("no end");
}

fn root_of(bytes: &[u8]) -> Hash {
    let mut digest = ContentDigest::default();
    digest.push(bytes);
    digest.root()
}

fn text(desk: &Desk, source: &Source, path: &str, offset: u64) -> Result<String, Refusal> {
    let (bytes, _) = stream(desk, source, &ask_dataset(path, offset))?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_table_leaves_whole_or_by_its_columns() {
    let desk = about_nobody(AllowList::Everything).with("beds.csv", BEDS);
    let source = desk.dataset("beds.csv", None).unwrap();
    assert_eq!(text(&desk, &source, "", 0).unwrap(), BEDS);
    assert_eq!(source.descriptor().kind, DescriptorKind::Dataset);
    let desk = about_nobody(columns(&["beds", "ward"])).with("beds.csv", BEDS);
    let source = desk.dataset("beds.csv", None).unwrap();
    assert_eq!(text(&desk, &source, "", 0).unwrap(), "ward,beds\nA,12\nB,7\n");
    let desk = about_nobody(columns(&["price"])).with("beds.csv", BEDS);
    let source = desk.dataset("beds.csv", None).unwrap();
    assert_eq!(text(&desk, &source, "", 0), Err(Refusal::TypeNotInAgreement));
}

#[test]
fn a_resume_goes_on_in_what_leaves() {
    let wide: String = (0..20_000).map(|row| format!("{row},secret{row},x\n")).collect();
    let wide = format!("a,b,c\n{wide}");
    for fields in [AllowList::Everything, columns(&["a", "c"])] {
        let desk = about_nobody(fields).with("wide.csv", &wide);
        let source = desk.dataset("wide.csv", None).unwrap();
        let whole = text(&desk, &source, "", 0).unwrap();
        assert!(whole.len() > CHUNK_LEN);
        let len = whole.len() as u64;
        for offset in [1, 7, CHUNK_LEN as u64, CHUNK_LEN as u64 + 3, len - 1] {
            let rest = text(&desk, &source, "", offset).unwrap();
            assert!(rest == whole[usize::try_from(offset).unwrap()..], "{offset}");
        }
        for beyond in [len, len + 1] {
            assert_eq!(text(&desk, &source, "", beyond), Err(Refusal::RangeInvalid));
        }
    }
}

#[test]
fn files_that_come_change_and_go_are_seen_by_the_next_request() {
    let desk = about_nobody(AllowList::Everything).with("set/a.csv", "n\n1\n");
    let source = desk.dataset("set", None).unwrap();
    assert_eq!(text(&desk, &source, "a.csv", 0).unwrap(), "n\n1\n");
    assert_eq!(text(&desk, &source, "b/c.csv", 0), Err(Refusal::NotAvailable));
    // One that comes, in a directory that was not there.
    let desk = desk.with("set/b/c.csv", "n\n2\n");
    assert_eq!(text(&desk, &source, "b/c.csv", 0).unwrap(), "n\n2\n");
    // One that is written anew, and one that another takes the place of.
    let desk = desk.with("set/a.csv", "n\n3\n4\n").with("set/d.csv", "n\n5\n");
    assert_eq!(text(&desk, &source, "a.csv", 0).unwrap(), "n\n3\n4\n");
    fs::rename(desk.path().join("set/d.csv"), desk.path().join("set/b/c.csv")).unwrap();
    assert_eq!(text(&desk, &source, "b/c.csv", 0).unwrap(), "n\n5\n");
    // One that goes, and all of them.
    fs::remove_file(desk.path().join("set/a.csv")).unwrap();
    assert_eq!(text(&desk, &source, "a.csv", 0), Err(Refusal::NotAvailable));
    fs::rename(desk.path().join("set"), desk.path().join("elsewhere")).unwrap();
    assert_eq!(text(&desk, &source, "b/c.csv", 0), Err(Refusal::SourceUnavailable));
    fs::rename(desk.path().join("elsewhere"), desk.path().join("set")).unwrap();
    assert_eq!(text(&desk, &source, "b/c.csv", 0).unwrap(), "n\n5\n");
}

#[test]
fn what_is_no_table_leaves_whole_or_not_at_all() {
    let bytes = "\0\u{1}no table";
    let desk = about_nobody(AllowList::Everything).with("set/map.bin", bytes);
    let source = desk.dataset("set", None).unwrap();
    assert_eq!(text(&desk, &source, "map.bin", 0).unwrap(), bytes);
    let desk = about_nobody(columns(&["a"])).with("set/map.bin", bytes);
    let source = desk.dataset("set", None).unwrap();
    assert_eq!(text(&desk, &source, "map.bin", 0), Err(Refusal::TypeNotInAgreement));
}

#[test]
fn a_table_that_can_be_read_in_two_ways_is_malformed() {
    let desk = about_nobody(columns(&["a"])).with("t.csv", "a,b\n1,2\n3\n");
    let source = desk.dataset("t.csv", None).unwrap();
    assert_eq!(text(&desk, &source, "", 0), Err(Refusal::SourceMalformed));
    // Further on it ends what has begun, and nothing comes after it.
    let long: String = (0..40_000).map(|row| format!("{row},x\n")).collect();
    let desk = desk.with("t.csv", &format!("a,b\n{long}\"open"));
    let source = desk.dataset("t.csv", None).unwrap();
    let reading = source.read(&ask_dataset("", 0)).unwrap();
    let permit = desk.permit(&source, &reading);
    let Reading::Stream(stream) = reading else { panic!("read as a whole") };
    let pieces: Vec<_> = stream.open(&permit).unwrap().chunks.take(100).collect();
    assert_eq!(pieces.last(), Some(&Err(Refusal::SourceMalformed)));
    assert_eq!(pieces.iter().filter(|piece| piece.is_err()).count(), 1);
}

#[test]
fn nothing_outside_the_dataset_is_read() {
    let desk = about_nobody(AllowList::Everything)
        .with("set/a.csv", BEDS)
        .with("set/below/b.csv", BEDS)
        .with("set/.hidden.csv", BEDS)
        .with("secret.csv", "no");
    let set = desk.path().join("set");
    std::os::unix::fs::symlink("../secret.csv", set.join("out.csv")).unwrap();
    std::os::unix::fs::symlink("below/b.csv", set.join("in.csv")).unwrap();
    let source = desk.dataset("set", None).unwrap();
    for path in ["a.csv", "below/b.csv", "below%2Fb.csv", "in.csv"] {
        let expected =
            if path.contains('%') { Err(Refusal::NotAvailable) } else { Ok(BEDS.into()) };
        assert_eq!(text(&desk, &source, path, 0), expected, "{path}");
    }
    for path in [
        "below",
        "out.csv",
        "../secret.csv",
        "%2e%2e/secret.csv",
        "below/../a.csv",
        ".hidden.csv",
        "/secret.csv",
        "a.csv/",
        "no.csv",
        "%00",
    ] {
        assert_eq!(text(&desk, &source, path, 0), Err(Refusal::NotAvailable), "{path}");
    }
    let one = desk.dataset("secret.csv", None).unwrap();
    assert_eq!(text(&desk, &one, "a.csv", 0), Err(Refusal::NotAvailable));
    let wrong = source.read(&Ask { action: Action::Search, ..ask_dataset("a.csv", 0) });
    assert_eq!(wrong.err().unwrap().refusal, Refusal::BadQuery);
    let query = source.read(&ask_dataset("a.csv?x=1", 0));
    assert_eq!(query.err().unwrap().refusal, Refusal::UnsupportedParameter);
}

#[test]
fn an_etag_is_of_one_file_as_it_was_and_of_what_may_leave() {
    let etag = |desk: &Desk, path: &str| {
        let source = desk.dataset("set", None).unwrap();
        stream(desk, &source, &ask_dataset(path, 0)).unwrap().1
    };
    let desk = about_nobody(AllowList::Everything).with("set/a.csv", BEDS).with("set/b.csv", BEDS);
    let first = etag(&desk, "a.csv");
    assert!(first.starts_with('"') && first.len() == 34, "{first}");
    assert_eq!(first, etag(&desk, "a.csv"));
    assert_ne!(first, etag(&desk, "b.csv"));
    let desk = Desk { fields: columns(&["ward"]), ..desk };
    assert_ne!(first, etag(&desk, "a.csv"));
    let desk = Desk { fields: AllowList::Everything, ..desk }.with("set/a.csv", "a\n1\n");
    assert_ne!(first, etag(&desk, "a.csv"));
}

#[test]
fn a_file_that_changes_while_it_leaves_ends_the_stream() {
    let desk = about_nobody(AllowList::Everything).with("a.bin", &"x".repeat(3 * CHUNK_LEN));
    let source = desk.dataset("a.bin", None).unwrap();
    let reading = source.read(&ask_dataset("", 0)).unwrap();
    let permit = desk.permit(&source, &reading);
    let Reading::Stream(stream) = reading else { panic!("read as a whole") };
    let mut chunks = stream.open(&permit).unwrap().chunks;
    let Some(Ok(Piece::Data { chunks: first, .. })) = chunks.next() else { panic!("no data") };
    assert_eq!(first.iter().map(|chunk| chunk.bytes.len()).collect::<Vec<_>>(), [CHUNK_LEN]);
    fs::write(desk.path().join("a.bin"), "short").unwrap();
    assert_eq!(chunks.next(), Some(Err(Refusal::SourceChanged)));
    assert_eq!(chunks.next(), None);
}

#[test]
fn a_file_in_the_place_of_another_ends_the_stream() {
    let desk = about_nobody(AllowList::Everything)
        .with("a.bin", &"x".repeat(3 * CHUNK_LEN))
        .with("b.bin", &"y".repeat(3 * CHUNK_LEN));
    let source = desk.dataset("a.bin", None).unwrap();
    let reading = source.read(&ask_dataset("", 0)).unwrap();
    let permit = desk.permit(&source, &reading);
    let Reading::Stream(stream) = reading else { panic!("read as a whole") };
    let mut chunks = stream.open(&permit).unwrap().chunks;
    assert!(matches!(chunks.next(), Some(Ok(Piece::Data { .. }))));
    fs::rename(desk.path().join("b.bin"), desk.path().join("a.bin")).unwrap();
    assert_eq!(chunks.next(), Some(Err(Refusal::SourceChanged)));
    assert_eq!(chunks.next(), None);
}

#[test]
fn a_part_is_exactly_what_was_asked_for_of_what_leaves() {
    let wide: String = (0..20_000).map(|row| format!("{row},\"s,\n{row}\",x\n")).collect();
    let wide = format!("a,b,c\n{wide}");
    for fields in [AllowList::Everything, columns(&["a", "b"]), columns(&["b"])] {
        let desk = about_nobody(fields).with("wide.csv", &wide);
        let source = desk.dataset("wide.csv", None).unwrap();
        let (whole, etag) = stream(&desk, &source, &ask_dataset("", 0)).unwrap();
        let len = whole.len() as u64;
        let chunk = CHUNK_LEN as u64;
        for (first, last) in
            [(0, 0), (5, 9), (chunk - 1, chunk), (7, 3 * chunk), (len - 1, len - 1)]
        {
            // Another look at the source has counted nothing yet.
            let source = desk.dataset("wide.csv", None).unwrap();
            let wanted = Wanted {
                range: Some(ByteRange::From { first, last: Some(last) }),
                if_range: Some(etag.clone()),
                ..Wanted::default()
            };
            let part = stream(&desk, &source, &Ask { wanted, ..ask_dataset("", 0) }).unwrap().0;
            let (first, last) = (usize::try_from(first).unwrap(), usize::try_from(last).unwrap());
            assert!(part == whole[first..=last], "{first} {last}");
        }
        let last = Wanted { range: Some(ByteRange::Last(9)), ..Wanted::default() };
        let part = stream(&desk, &source, &Ask { wanted: last, ..ask_dataset("", 0) }).unwrap().0;
        assert!(part == whole[whole.len() - 9..]);
    }
}

#[test]
fn what_the_client_has_or_only_looks_at_is_not_read() {
    let desk = about_nobody(columns(&["beds", "ward"])).with("beds.csv", BEDS);
    let source = desk.dataset("beds.csv", None).unwrap();
    let (whole, etag) = stream(&desk, &source, &ask_dataset("", 0)).unwrap();
    let opened = |wanted: Wanted| {
        let reading = source.read(&Ask { wanted, ..ask_dataset("", 0) }).unwrap();
        let permit = desk.permit(&source, &reading);
        let Reading::Stream(stream) = reading else { panic!("read as a whole") };
        stream.open(&permit)
    };
    let known = Wanted { known: vec![etag.clone()], ..Wanted::default() };
    let head = Wanted { head_only: true, ..Wanted::default() };
    for (wanted, selection, names) in
        [(known, Selection::Unchanged, &[][..]), (head, Selection::Head, &["ward", "beds"][..])]
    {
        let opened = opened(wanted).unwrap();
        assert_eq!(opened.selected.selection, selection);
        assert_eq!(opened.columns, names);
        // It was read to its end before.
        assert_eq!(opened.selected.length, Some(whole.len() as u64));
        assert_eq!(pieces(opened.chunks).unwrap(), (vec![], None));
    }
    let expected = Wanted { expected: vec!["\"other\"".to_owned()], ..Wanted::default() };
    assert_eq!(opened(expected).err(), Some(Refusal::DatasetChanged));
}

#[test]
fn the_root_over_all_is_said_of_a_part_that_reaches_to_the_end() {
    let all: String = (0..40_000).map(|row| format!("{row:07}\n")).collect();
    let desk = about_nobody(AllowList::Everything).with("a.txt", &all);
    let source = desk.dataset("a.txt", None).unwrap();
    let open = |first, last| {
        let range = Some(ByteRange::From { first, last });
        let wanted = Wanted { range, ..Wanted::default() };
        let reading = source.read(&Ask { wanted, ..ask_dataset("", 0) }).unwrap();
        let permit = desk.permit(&source, &reading);
        let Reading::Stream(stream) = reading else { panic!("read as a whole") };
        stream.open(&permit).unwrap().chunks
    };
    let expected = Some(root_of(all.as_bytes()));
    let chunk = CHUNK_LEN as u64;
    for first in [1, chunk, 2 * chunk + 9] {
        let chunks = open(first, None);
        assert_eq!(chunks.behind(), Some(first));
        assert_eq!(pieces(chunks).unwrap().1, expected, "{first}");
        // From a mark on, what lies before it is not read again.
        let mut before = ContentDigest::default();
        before.push(&vec![b'?'; CHUNK_LEN]);
        let mut chunks = open(first, None);
        chunks.go_on_from(before.mark().unwrap());
        let root = pieces(chunks).unwrap().1;
        assert_eq!(root == expected, first < chunk, "{first}");
    }
    assert_eq!(pieces(open(1, Some(chunk))).unwrap().1, None);
}

const VISITS: &str =
    "nhs_number,visit,cost\n9990000018,1,5\nnobody,2,6\n999 000 0026,3,7\n9990000018,4,8\n";

#[test]
fn rows_of_people_who_object_stay() {
    let mut desk = Desk { fields: columns(&["visit", "cost"]), ..Desk::new() };
    desk.denied = vec!["nhs-number|9990000018"];
    let desk = desk.with("visits.csv", VISITS);
    let source = desk.dataset("visits.csv", Some("nhs_number")).unwrap();
    assert_eq!(source.descriptor().kind, DescriptorKind::PeopleDataset);
    let reading = source.read(&ask_dataset("", 0)).unwrap();
    assert_eq!(reading.items().len(), 3);
    let permit = desk.permit(&source, &reading);
    let Reading::Whole(whole) = reading else { panic!("a stream") };
    let cut = whole.cut(&permit).unwrap();
    assert_eq!(cut.text(), "visit,cost\n3,7\n");
    assert_eq!((cut.records, cut.people.len(), cut.people_withheld), (1, 1, 1));
    assert_eq!(cut.people.values().next().unwrap(), &["row/4"]);
}

#[test]
fn a_table_about_people_is_read_as_a_whole_or_not_at_all() {
    let mut desk = Desk { fields: columns(&["visit"]), ..Desk::new() }.with("v.csv", VISITS);
    let refused = |desk: &Desk, column: &str, offset: u64| {
        let source = desk.dataset("v.csv", Some(column)).unwrap();
        source.read(&ask_dataset("", offset)).err().map(|unread| unread.refusal)
    };
    desk.limits.spool_bytes_max = VISITS.len() as u64;
    assert_eq!(refused(&desk, "nhs_number", 0), None);
    assert_eq!(refused(&desk, "nhs_number", 1), Some(Refusal::RangeInvalid));
    assert_eq!(refused(&desk, "chi", 0), Some(Refusal::SourceMalformed));
    desk.limits.spool_bytes_max -= 1;
    assert_eq!(refused(&desk, "nhs_number", 0), Some(Refusal::TooLarge));
    let desk = desk.with("v.csv", "nhs_number,visit\n9990000018\n");
    assert_eq!(refused(&desk, "nhs_number", 0), Some(Refusal::SourceMalformed));
}
