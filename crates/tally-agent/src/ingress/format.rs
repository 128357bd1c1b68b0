//! The format of an answer, as a FHIR client asks for it (R4 §3.1.0.1.9 and §3.1.0.1.11): JSON of FHIR
//! R4 is what there is. `_format` goes before `Accept`, and is the ingress's own matter: no provider
//! hears of it.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use tally_core::refusal::Refusal;

use super::request::Unfit;

/// What `_format` may be, beside media types.
const SHORT: &str = "json";
/// Media types of what is answered, and the ranges that they are in.
const TYPES: [&str; 3] = ["application/fhir+json", "application/json", "text/json"];
const RANGES: [&str; 2] = ["*/*", "application/*"];
/// FHIR R4, as `fhirVersion` names it.
const VERSIONS: [&str; 2] = ["4.0", "4.0.1"];

/// The query without its `_format`, if the client takes what is answered.
///
/// # Errors
/// `not-acceptable` if it does not; `bad-query` if it says so twice.
pub(super) fn agreed(headers: &HeaderMap, query: &str) -> Result<String, Unfit> {
    let mut format = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(name) != "_format" {
            rest.push(pair);
        } else if format.replace(decoded(value)).is_some() {
            return Err(Unfit::new(Refusal::BadQuery, "_format stands twice"));
        }
    }
    let takes = match format {
        Some(format) => format == SHORT || is_taken(&format, &TYPES),
        None => accepts(headers),
    };
    if takes { Ok(rest.join("&")) } else { Err(Unfit::new(Refusal::NotAcceptable, "")) }
}

/// Whether any of what `Accept` says is what there is; without one, everything is.
fn accepts(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::ACCEPT).iter().peekable();
    let known = [&TYPES[..], &RANGES[..]].concat();
    let takes = |line: &header::HeaderValue| {
        let ranges = line.to_str().unwrap_or_default().split(',');
        ranges.into_iter().any(|range| is_taken(range, &known))
    };
    lines.peek().is_none() || lines.any(takes)
}

/// Whether a media range is one of these, with parameters that do not exclude what there is.
fn is_taken(range: &str, known: &[&str]) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let fits = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "fhirversion" => VERSIONS.contains(&value),
            "charset" => value.eq_ignore_ascii_case("utf-8"),
            // A weight of nothing means: anything but this.
            "q" => value.parse::<f32>().is_ok_and(|weight| weight > 0.0),
            _ => true,
        }
    };
    known.contains(&kind.as_str()) && parts.all(fits)
}

/// A part of a query. A `+` that was not escaped stands for itself: the names of FHIR's types have one,
/// and neither they nor `_format` have blanks.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(accept: &[&str], query: &str) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(header::ACCEPT, line.parse().unwrap());
        }
        agreed(&headers, query).map_err(|unfit| unfit.refusal)
    }

    #[test]
    fn a_client_that_takes_json_is_answered() {
        for accept in [
            "application/fhir+json",
            "Application/FHIR+JSON; charset=UTF-8",
            "application/fhir+json;fhirVersion=4.0",
            "application/fhir+json; fhirVersion=\"4.0\"; q=0.5",
            "application/json",
            "text/html, */*;q=0.1",
            "application/*",
            "application/fhir+xml, application/json;q=0.9",
        ] {
            assert_eq!(taken(&[accept], ""), Ok(String::new()), "{accept}");
        }
        assert!(taken(&["text/html", "application/json"], "").is_ok());
        assert!(taken(&[], "").is_ok());
    }

    #[test]
    fn a_client_that_takes_something_else_is_told_so() {
        for accept in [
            "application/fhir+xml",
            "text/html",
            "application/fhir+json;fhirVersion=3.0",
            "application/fhir+json; fhirVersion=5.0, text/html",
            "application/json; charset=utf-16",
            "application/json;q=0, */*;q=0.0",
            "",
        ] {
            assert_eq!(taken(&[accept], ""), Err(Refusal::NotAcceptable), "{accept}");
        }
    }

    #[test]
    fn the_format_of_the_query_goes_first_and_goes_no_further() {
        for format in [
            "json",
            "application/json",
            "application/fhir+json",
            "application/fhir%2Bjson",
            "application/fhir%2Bjson%3B%20fhirVersion%3D4.0",
        ] {
            let query = format!("_id=a&_format={format}&_count=1");
            assert_eq!(taken(&["text/html"], &query), Ok("_id=a&_count=1".to_owned()), "{format}");
        }
        for format in ["xml", "application/fhir%2Bxml", "ttl", "html", "*/*", ""] {
            let query = format!("_format={format}");
            assert_eq!(taken(&["*/*"], &query), Err(Refusal::NotAcceptable), "{format}");
        }
        assert_eq!(taken(&[], "_format=json&%5Fformat=json"), Err(Refusal::BadQuery));
        assert_eq!(taken(&[], "x_format=xml&_id=%ff"), Ok("x_format=xml&_id=%ff".to_owned()));
    }
}
