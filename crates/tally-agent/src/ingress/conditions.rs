//! Which bytes of a dataset an application asks for, and on what condition (RFC 9110 §13 and §14), and
//! which exchange it goes on with. What the dataset is now, only its provider knows: it decides there.

use axum::http::{HeaderMap, Method};
use tally_core::dataset::{ByteRange, Wanted, is_strong_tag};
use tally_core::id::ExchangeId;
use tally_core::refusal::Refusal;

use super::request::{Unfit, header};

/// Entity tags that one condition names at most.
const TAGS_MAX: usize = 16;
/// Bytes of an entity tag at most.
const TAG_LEN_MAX: usize = 128;

/// What of a dataset.
///
/// # Errors
/// [`Unfit`] if a condition can't be read, or a range is none.
pub(super) fn wanted(method: &Method, headers: &HeaderMap) -> Result<Wanted, Unfit> {
    let head_only = *method == Method::HEAD;
    let mut wanted = Wanted {
        range: None,
        if_range: None,
        expected: tags(headers, "if-match")?,
        known: tags(headers, "if-none-match")?,
        head_only,
    };
    // A range is of what GET sends.
    let range = header(headers, "range")?.filter(|_| !head_only);
    let Some(range) = range.map(range_of).transpose()?.flatten() else { return Ok(wanted) };
    match header(headers, "if-range")?.map(str::trim) {
        None => wanted.range = Some(range),
        Some(tag) if is_strong_tag(tag) => {
            (wanted.range, wanted.if_range) = (Some(range), Some(tag.to_owned()));
        }
        // A date, or a weak tag, names no bytes for certain: all is sent.
        Some(_) => {}
    }
    Ok(wanted)
}

/// The exchange that this one goes on with.
///
/// # Errors
/// [`Unfit`] if it is no exchange's id.
pub(super) fn resumes(headers: &HeaderMap) -> Result<Option<ExchangeId>, Unfit> {
    let Some(text) = header(headers, "tally-resumes")? else { return Ok(None) };
    let bad = || {
        let detail = "Tally-Resumes is an exchange's id, as Tally-Exchange said it";
        Unfit::new(Refusal::HeaderInvalid, detail)
    };
    text.trim().parse().map(Some).map_err(|_| bad())
}

/// One range of bytes; none of what may be left unheeded: another unit, or several ranges at once.
fn range_of(text: &str) -> Result<Option<ByteRange>, Unfit> {
    let bad = || {
        let detail = "a range is bytes=FIRST-, bytes=FIRST-LAST or bytes=-COUNT, one at a time";
        Unfit::new(Refusal::RangeInvalid, detail)
    };
    let (unit, set) = text.trim().split_once('=').ok_or_else(bad)?;
    if !unit.eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Ok(None);
    }
    let (first, last) = set.trim().split_once('-').ok_or_else(bad)?;
    // More digits than fit lie beyond any dataset.
    let number = |digits: &str| match digits.bytes().all(|it| it.is_ascii_digit()) {
        true => Ok(digits.parse().unwrap_or(u64::MAX)),
        false => Err(bad()),
    };
    match (first, last) {
        ("", "") => Err(bad()),
        ("", count) => Ok(Some(ByteRange::Last(number(count)?))),
        (first, "") => Ok(Some(ByteRange::From { first: number(first)?, last: None })),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let range = ByteRange::From { first, last: Some(last) };
            if first <= last { Ok(Some(range)) } else { Err(bad()) }
        }
    }
}

/// The entity tags of a condition, on all its lines.
fn tags(headers: &HeaderMap, name: &'static str) -> Result<Vec<String>, Unfit> {
    let bad = || {
        let detail = format!(
            "{name} is * or at most {TAGS_MAX} entity tags in quotes, each of at most {TAG_LEN_MAX} bytes"
        );
        Unfit::new(Refusal::HeaderInvalid, detail)
    };
    let mut tags = Vec::new();
    for line in headers.get_all(name) {
        let mut rest = line.to_str().map_err(|_| bad())?.trim();
        while !rest.is_empty() {
            let (tag, after) = first_tag(rest).ok_or_else(bad)?;
            tags.push(tag.to_owned());
            rest = match after.trim_start().strip_prefix(',') {
                Some(more) => more.trim_start(),
                None if after.trim().is_empty() => "",
                None => return Err(bad()),
            };
        }
    }
    let fits = tags.len() <= TAGS_MAX && tags.iter().all(|it| it.len() <= TAG_LEN_MAX);
    if fits { Ok(tags) } else { Err(bad()) }
}

/// The entity tag that a text begins with, and the rest: a comma may stand in a tag too.
fn first_tag(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('*') {
        return text.split_at_checked(1);
    }
    let quote = if text.starts_with("W/") { 2 } else { 0 };
    let opaque = text.get(quote..)?.strip_prefix('"')?;
    let end = quote + 1 + opaque.find('"')? + 1;
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn get(lines: &[(&'static str, &str)]) -> Result<Wanted, Refusal> {
        wanted(&Method::GET, &headers(lines)).map_err(|unfit| unfit.refusal)
    }

    fn range(text: &str) -> Result<Option<ByteRange>, Refusal> {
        get(&[("range", text)]).map(|wanted| wanted.range)
    }

    #[test]
    fn one_range_of_bytes_is_heeded() {
        let from = |first, last| Ok(Some(ByteRange::From { first, last }));
        assert_eq!(range("bytes=10-"), from(10, None));
        assert_eq!(range("Bytes= 10-20 "), from(10, Some(20)));
        assert_eq!(range("bytes=-5"), Ok(Some(ByteRange::Last(5))));
        assert_eq!(range("bytes=99999999999999999999-"), from(u64::MAX, None));
        for whole in ["rows=1-2", "bytes=0-1,4-5"] {
            assert_eq!(range(whole), Ok(None), "{whole}");
        }
        for bad in ["bytes", "bytes=", "bytes=-", "bytes=5", "bytes=5-4", "bytes=a-", "bytes=-+5"] {
            assert_eq!(range(bad), Err(Refusal::RangeInvalid), "{bad}");
        }
        let head = wanted(&Method::HEAD, &headers(&[("range", "bytes=1-2")])).ok().unwrap();
        assert_eq!((head.range, head.head_only), (None, true));
    }

    #[test]
    fn a_range_counts_for_the_version_that_a_strong_tag_names() {
        let strong = get(&[("range", "bytes=10-"), ("if-range", "\"a,b\"")]).unwrap();
        assert_eq!((strong.range.is_some(), strong.if_range.as_deref()), (true, Some("\"a,b\"")));
        for weak in ["W/\"a\"", "Sat, 28 Feb 2026 23:30:00 GMT", "a"] {
            let wanted = get(&[("range", "bytes=10-"), ("if-range", weak)]).unwrap();
            assert_eq!(wanted, Wanted::default(), "{weak}");
        }
    }

    #[test]
    fn conditions_name_tags() {
        let wanted = get(&[
            ("if-match", "\"a,b\" , W/\"c\""),
            ("if-match", "*"),
            ("if-none-match", "\"d\""),
        ]);
        let wanted = wanted.unwrap();
        assert_eq!(wanted.expected, ["\"a,b\"", "W/\"c\"", "*"]);
        assert_eq!(wanted.known, ["\"d\""]);
        let many = vec!["\"a\""; TAGS_MAX + 1].join(",");
        let long = format!("\"{}\"", "x".repeat(TAG_LEN_MAX));
        for bad in ["a", "\"a", "\"a\" \"b\"", "W/", many.as_str(), long.as_str()] {
            assert_eq!(get(&[("if-none-match", bad)]), Err(Refusal::HeaderInvalid), "{bad}");
        }
    }

    #[test]
    fn a_resume_names_an_exchange() {
        let id = ExchangeId([7; 16]);
        let named = resumes(&headers(&[("tally-resumes", &id.to_string())]));
        assert_eq!(named.ok().unwrap(), Some(id));
        assert_eq!(resumes(&HeaderMap::new()).ok().unwrap(), None);
        let bad = resumes(&headers(&[("tally-resumes", "the last one")])).err().unwrap();
        assert_eq!(bad.refusal, Refusal::HeaderInvalid);
        assert!(!bad.detail.contains("the last one"));
    }
}
