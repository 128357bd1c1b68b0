//! The application's own ids of a request: said back with every answer, and recorded in the openings of
//! both sides, so that an auditor finds the request again in the application's own log.
//!
//! Invariant: an application may have put anything in there, a person's number too. So they stand in no
//! log, metric or error, and what is refused is not repeated.

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use tally_core::refusal::Refusal;

use super::request::{Unfit, header};

/// The id of one request, and the one that all requests of one errand share: both as NHS England's APIs
/// have them.
const NAMES: [&str; 2] = ["x-request-id", "x-correlation-id"];
/// Bytes of one at most.
const LEN_MAX: usize = 128;
/// What stands in them beside letters and digits: no blank, so that a line of a log stays one.
const SIGNS: &[u8] = b"-._~:/+=|@,";

/// The ids of a request, as they are.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct RequestIds(Vec<(&'static str, String)>);

impl RequestIds {
    /// # Errors
    /// [`Unfit`] if one is something else.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Unfit> {
        let mut ids = Vec::new();
        for name in NAMES {
            let Some(id) = header(headers, name)? else { continue };
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || SIGNS.contains(&byte);
            if !(1..=LEN_MAX).contains(&id.len()) || !id.bytes().all(fits) {
                let detail = format!(
                    "{name} is 1 to {LEN_MAX} letters, digits and signs of {}",
                    String::from_utf8_lossy(SIGNS)
                );
                return Err(Unfit::new(Refusal::HeaderInvalid, detail));
            }
            ids.push((name, id.to_owned()));
        }
        Ok(Self(ids))
    }

    /// Says them back.
    pub(super) fn echo(self, headers: &mut HeaderMap) {
        for (name, id) in self.0 {
            if let Ok(value) = HeaderValue::from_str(&id) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }

    /// As an opening has them: the request's own first.
    pub(super) fn into_opening(self) -> Vec<String> {
        self.0.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<RequestIds, Unfit> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        RequestIds::read(&headers)
    }

    #[test]
    fn ids_are_said_back_and_recorded_as_they_are() {
        let lines = [
            ("x-correlation-id", "11C46F5F-CDEF-4865-94B2-0EE0EDCC26DA"),
            ("x-request-id", "60E0B220-8136-4CA5-AE46-1D97EF59D068"),
        ];
        let ids = read(&lines).unwrap();
        let mut headers = HeaderMap::new();
        ids.clone().echo(&mut headers);
        for (name, value) in lines {
            assert_eq!(headers[name], value);
        }
        assert_eq!(ids.into_opening(), [lines[1].1, lines[0].1]);
        assert!(read(&[]).unwrap().into_opening().is_empty());
        assert!(read(&[("x-request-id", "ward|7:a.b_c~d/e+f=g@h,i")]).is_ok());
    }

    #[test]
    fn what_is_no_id_is_refused_and_not_repeated() {
        let long = "x".repeat(LEN_MAX + 1);
        for id in ["", "two words", "a\tb", "<b>", "\"q\"", "%0a", "ünder", long.as_str()] {
            for name in NAMES {
                let Err(unfit) = read(&[(name, id)]) else { panic!("{id}") };
                assert_eq!(unfit.refusal, Refusal::HeaderInvalid, "{id}");
                assert!(id.is_empty() || !unfit.detail.contains(id), "{id}");
            }
        }
        let twice = [("x-request-id", "one"), ("x-request-id", "two")];
        assert_eq!(read(&twice).err().unwrap().refusal, Refusal::HeaderInvalid);
    }
}
