//! Where an application sees an ingress: links in a searchset begin with it (FHIR R4 §3.1.1.5).

use std::fmt;
use std::str::FromStr;

/// Bytes at most.
const LEN_MAX: usize = 256;

/// `http://127.0.0.1:7601`, or a proxy's `https://records.example/tally`: a scheme of HTTP, a host, and
/// a path without its last slash. No user, no query: it is written into what others read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

/// It is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http:// or https://, a host, and perhaps a path without a slash at its end")]
pub struct BadBaseUrl;

impl BaseUrl {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = BadBaseUrl;

    fn from_str(text: &str) -> Result<Self, BadBaseUrl> {
        let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.filter(|_| text.len() <= LEN_MAX).ok_or(BadBaseUrl)?;
        let (host, path) = rest.split_once('/').map_or((rest, None), |(host, it)| (host, Some(it)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let in_host = |byte: u8| plain(byte) || b":[]".contains(&byte);
        let is_host = host.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '[')
            && host.bytes().all(in_host);
        let mut steps = path.into_iter().flat_map(|path| path.split('/'));
        let is_step = |step: &str| {
            !["", ".", ".."].contains(&step) && step.bytes().all(|it| plain(it) || it == b'~')
        };
        if is_host && steps.all(is_step) { Ok(Self(text.to_owned())) } else { Err(BadBaseUrl) }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_host_and_a_path() {
        for text in [
            "http://127.0.0.1:7601",
            "http://localhost",
            "http://[::1]:7601",
            "https://records.rz9.example/tally/one",
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_none() {
        let long = format!("http://{}", "a".repeat(LEN_MAX));
        for text in [
            "",
            "127.0.0.1:7601",
            "http://",
            "http:///x",
            "http://a/",
            "http://a//b",
            "http://a/../b",
            "http://a/b/",
            "http://user@a",
            "http://a?b",
            "http://a#b",
            "http://a b",
            "http://a\\b",
            "http://a/%2e",
            "javascript:alert(1)",
            "ftp://a",
            long.as_str(),
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(BadBaseUrl), "{text}");
        }
    }
}
