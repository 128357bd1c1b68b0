//! The form of a search by POST (FHIR R4 §3.1.1): parameters that stand in no URL, and so in no log on
//! the way. What it asks is what the same parameters ask by GET.
//!
//! Invariant: no more is read than a query may have, and for no longer than headers may take.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use tally_core::refusal::Refusal;
use tokio::time::timeout;

use super::request::{QUERY_LEN_MAX, Unfit, header as one};

/// A form takes no longer than this to come.
const FORM_WAIT_MAX: Duration = Duration::from_secs(10);

/// The path whose parameters stand in a form: `Type` of `Type/_search`.
pub(super) fn searched(path: &str) -> Option<&str> {
    path.strip_suffix("/_search").filter(|kind| !kind.is_empty() && !kind.contains('/'))
}

/// The query of the URL, and then that of the form.
///
/// # Errors
/// [`Unfit`] if the body is no form, too long, or does not come.
pub(super) async fn joined(query: &str, headers: &HeaderMap, body: Body) -> Result<String, Unfit> {
    let is_form = is_form(headers)?;
    let bad = |detail: &str| Unfit::new(Refusal::BadQuery, detail);
    let read = timeout(FORM_WAIT_MAX, to_bytes(body, QUERY_LEN_MAX)).await;
    let read = read.map_err(|_| bad("the form did not come within 10 seconds"))?;
    let read = read.map_err(|_| bad("a form has at most 8,192 bytes"))?;
    if !is_form && !read.is_empty() {
        return Err(Unfit::new(Refusal::MediaTypeUnsupported, ""));
    }
    let form = std::str::from_utf8(&read).map_err(|_| bad("the form is not ASCII"))?;
    if !form.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the form is not percent-encoded"));
    }
    let parts = [query, form].into_iter().filter(|part| !part.is_empty());
    Ok(parts.collect::<Vec<_>>().join("&"))
}

/// Whether the body says that it is a form; false where it says nothing.
fn is_form(headers: &HeaderMap) -> Result<bool, Unfit> {
    let other = || Unfit::new(Refusal::MediaTypeUnsupported, "");
    let encoding = one(headers, header::CONTENT_ENCODING.as_str())?;
    if encoding.is_some_and(|it| !it.trim().eq_ignore_ascii_case("identity")) {
        return Err(other());
    }
    let Some(text) = one(headers, header::CONTENT_TYPE.as_str())? else { return Ok(false) };
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let fits = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim_matches('"');
        !name.eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
    };
    let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if is_form && parts.all(fits) { Ok(true) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn form(lines: &[(&'static str, &str)], body: &str) -> Result<String, Refusal> {
        let lines = lines.iter();
        let headers = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let joined = joined("_count=2", &headers.collect(), Body::from(body.to_owned())).await;
        joined.map_err(|unfit| unfit.refusal)
    }

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    #[test]
    fn one_type_is_searched_by_a_form() {
        assert_eq!(searched("Observation/_search"), Some("Observation"));
        for path in ["_search", "/_search", "Patient/p1/_search", "Patient/p1", "Patient/_searches"]
        {
            assert_eq!(searched(path), None, "{path}");
        }
    }

    #[tokio::test]
    async fn the_parameters_of_url_and_form_are_one_query() {
        let both = Ok("_count=2&patient=p1".to_owned());
        assert_eq!(form(&[FORM], "patient=p1").await, both);
        let spelt = ("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8");
        assert_eq!(form(&[spelt, ("content-encoding", "identity")], "patient=p1").await, both);
        let url = Ok("_count=2".to_owned());
        assert_eq!((form(&[FORM], "").await, form(&[], "").await), (url.clone(), url));
    }

    #[tokio::test]
    async fn what_is_no_form_is_not_read_as_one() {
        let other = Err(Refusal::MediaTypeUnsupported);
        assert_eq!(form(&[], "patient=p1").await, other);
        assert_eq!(form(&[FORM, ("content-encoding", "gzip")], "patient=p1").await, other);
        for kind in [
            "application/json",
            "application/fhir+json",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded; charset=latin1",
            "text/plain",
        ] {
            assert_eq!(form(&[("content-type", kind)], "patient=p1").await, other, "{kind}");
        }
        let long = "a".repeat(QUERY_LEN_MAX + 1);
        for body in [long.as_str(), "patient=p1\r\n", "patient= p1", "patient=é"] {
            assert_eq!(form(&[FORM], body).await, Err(Refusal::BadQuery));
        }
    }
}
