//! Parts and versions of datasets, as RFC 9110 has them.

use std::fs;

use super::world::{COUNCIL, WARDS, ask, running, source, stays_cut};

const GET: (&str, &str) = ("GET", COUNCIL);
const HEAD: (&str, &str) = ("HEAD", COUNCIL);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_the_part_that_it_asks_for_and_nothing_that_it_has() {
    let dev = running().await;
    let wards = "/data/RZ9/wards";
    let whole = ask(&dev, GET, wards, &[]).await;
    assert_eq!((whole.status, whole.body.as_slice()), (200, WARDS.as_bytes()));
    assert_eq!(
        (whole.header("accept-ranges"), whole.header("content-type")),
        ("bytes", "text/csv")
    );
    let etag = whole.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 16, "{etag}");
    let len = WARDS.len();

    for (range, part) in [
        ("bytes=5-", 5..len),
        ("bytes=5-8", 5..9),
        ("bytes=0-0", 0..1),
        ("bytes=-4", len - 4..len),
        ("bytes=3-999", 3..len),
    ] {
        let answer = ask(&dev, GET, wards, &[("range", range), ("if-range", &etag)]).await;
        let said = format!("bytes {}-{}/{len}", part.start, part.end - 1);
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (206, said.as_str()),
            "{range}"
        );
        assert_eq!(answer.body, WARDS.as_bytes()[part], "{range}");
        assert_eq!(answer.header("etag"), etag);
    }
    // Several parts, another unit and another version: all is sent.
    for headers in [
        &[("range", "bytes=0-1,3-4")][..],
        &[("range", "rows=1-2")],
        &[("range", "bytes=5-"), ("if-range", "\"other\"")],
        &[("range", "bytes=5-"), ("if-range", "Sat, 28 Feb 2026 23:30:00 GMT")],
    ] {
        let answer = ask(&dev, GET, wards, headers).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, WARDS.as_bytes()), "{headers:?}");
    }
    for (headers, status, code) in [
        ([("range", "bytes=99-")], 416, "range-invalid"),
        ([("range", "bytes=-0")], 416, "range-invalid"),
        ([("range", "bytes=9-5")], 416, "range-invalid"),
        ([("if-match", "\"other\"")], 412, "dataset-changed"),
        ([("if-none-match", "other")], 400, "header-invalid"),
    ] {
        let answer = ask(&dev, GET, wards, &headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{headers:?}");
        // RFC 9110 §15.5.17: how long it is, for whoever asked for what lies beyond.
        let beyond = code == "range-invalid" && headers[0].1 != "bytes=9-5";
        let length = if beyond { format!("bytes */{len}") } else { String::new() };
        assert_eq!(answer.header("content-range"), length, "{headers:?}");
    }

    let same = ask(&dev, GET, wards, &[("if-none-match", &format!("\"x\", W/{etag}"))]).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, etag.as_str()));
    let head = ask(&dev, HEAD, wards, &[("range", "bytes=5-")]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), len.to_string());
    assert_eq!((head.header("etag"), head.header("tally-columns")), (etag.as_str(), "ward,beds"));
    assert_eq!(head.header("tally-title"), "Wards%2C%20and%20what%20they%20cost");
    // Both are exchanges like any other: recorded by both sides, and closed.
    for answer in [same, head] {
        let rows = dev.entries_of(answer.header("tally-exchange"), 3).await.unwrap();
        let close = rows.iter().find(|row| row["half"] == "close").unwrap();
        assert_eq!((close["outcome"].as_str(), close["bytes"].as_u64()), (Some("sent"), Some(0)));
    }

    fs::write(source(&dev, "wards.csv"), "ward,beds\nA1,25\n").unwrap();
    let now = ask(&dev, GET, wards, &[("if-none-match", &etag)]).await;
    assert_eq!((now.status, now.body.as_slice()), (200, &b"ward,beds\nA1,25\n"[..]));
    assert_ne!(now.header("etag"), etag);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_table_are_parts_of_what_may_leave_of_it() {
    let dev = running().await;
    let (stays, cut) = ("/data/RZ9/stays", stays_cut());
    let whole = ask(&dev, GET, stays, &[]).await;
    assert_eq!(whole.status, 200);
    assert!(whole.body == cut.as_bytes() && whole.whole);
    let etag = whole.header("etag").to_owned();
    for (first, last) in
        [(0, 9), (65_530, 65_545), (131_072, 400_000), (cut.len() - 3, cut.len() - 1)]
    {
        let range = format!("bytes={first}-{last}");
        let part = ask(&dev, GET, stays, &[("range", &range), ("if-range", &etag)]).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/{}", cut.len()));
        assert!(part.body == cut.as_bytes()[first..=last], "{range}");
    }
    let beyond = ask(&dev, GET, stays, &[("range", "bytes=999999999-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, format!("bytes */{}", cut.len()).as_str())
    );
    let head = ask(&dev, HEAD, stays, &[]).await;
    assert_eq!(head.header("tally-columns"), "ward,note");

    // One that can be read in two ways ends with an error where that shows, and not as if that were all.
    let malformed = format!("{}W1,2,\"open\n", super::world::stays());
    fs::write(source(&dev, "stays.csv"), malformed).unwrap();
    let broken = ask(&dev, GET, stays, &[]).await;
    assert!(broken.status == 200 && !broken.whole && broken.body.len() < cut.len() + 20);
    let rows = dev.entries_of(broken.header("tally-exchange"), 3).await.unwrap();
    let asked = rows.iter().find(|row| row["half"] == "requester").unwrap();
    assert_eq!(asked["code"], "source-malformed");
}
