//! Addresses of servers: where the agent's own requests go, and which links it follows.
//!
//! Invariant: a link of the server leads below the base URL or nowhere: the agent carries credentials
//! that are for that server alone.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Bytes of a link below the base URL, at most: it has to fit into a paging token.
const LINK_LEN_MAX: usize = 2048;

/// An `https` address, or an `http` one on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is reached by TLS.
    pub(super) secure: bool,
    /// Name or address, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path, without a slash at its end.
    pub(super) path: String,
}

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Its form.
    #[error("expected https://HOST[:PORT]/PATH, or http:// on this machine")]
    Form,
    /// In the clear to another machine.
    #[error("http is for 127.0.0.1, ::1 and localhost only: elsewhere records go over https")]
    Clear,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let uri: Uri = text.parse().map_err(|_| BadAddress::Form)?;
        let (secure, host, port) = origin_of(&uri).ok_or(BadAddress::Form)?;
        if uri.query().is_some() {
            return Err(BadAddress::Form);
        }
        if !secure && !is_this_machine(&host) {
            return Err(BadAddress::Clear);
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { secure, host, port, path })
    }
}

impl Address {
    /// Whether it leads to this machine.
    #[cfg(test)]
    pub(super) fn is_local(&self) -> bool {
        is_this_machine(&self.host)
    }

    /// For the header `Host`.
    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// As references of records may begin.
    #[must_use]
    pub fn base(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let default = if self.secure { 443 } else { 80 };
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = if self.port == default { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}://{host}{port}{}", self.path)
    }

    /// Path and query of a link that the server gave, if it leads below this address. A path that
    /// climbs, in whatever spelling, leads nowhere.
    pub(super) fn below(&self, link: &str) -> Option<String> {
        if link.is_empty() || link.len() > LINK_LEN_MAX || link.starts_with("//") {
            return None;
        }
        let target = if link.starts_with('?') {
            format!("{}{link}", self.path)
        } else if link.starts_with('/') {
            link.to_owned()
        } else if link.contains("://") {
            let uri: Uri = link.parse().ok()?;
            let (secure, host, port) = origin_of(&uri)?;
            if (secure, port) != (self.secure, self.port) || !host.eq_ignore_ascii_case(&self.host)
            {
                return None;
            }
            uri.path_and_query()?.as_str().to_owned()
        } else {
            format!("{}/{link}", self.path)
        };
        let uri: Uri = target.parse().ok()?;
        let below = uri.path().strip_prefix(&self.path)?;
        let is_whole_step = below.is_empty() || below.starts_with('/');
        let path = uri.path().to_ascii_lowercase().replace("%2e", ".");
        let climbs = path.split(['/', '\\']).any(|step| step == "..") || path.contains("%2f");
        (is_whole_step && !climbs).then_some(target)
    }
}

/// Scheme, host and port; `None` for what is no address of a server, or names a user.
fn origin_of(uri: &Uri) -> Option<(bool, String, u16)> {
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    Some((secure, host, authority.port_u16().unwrap_or(if secure { 443 } else { 80 })))
}

fn is_this_machine(host: &str) -> bool {
    ["127.0.0.1", "::1", "localhost"].contains(&host)
}

/// Without its path, which may hold a key.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_stays_on_this_machine() {
        let read = |text: &str| text.parse::<Address>();
        assert_eq!(
            read("https://fhir.rz9.example/r4/").unwrap().base(),
            "https://fhir.rz9.example/r4"
        );
        assert_eq!(read("http://[::1]:8080").unwrap().authority(), "[::1]:8080");
        assert!(read("http://localhost/fhir").unwrap().is_local());
        assert_eq!(read("http://fhir.rz9.example/r4"), Err(BadAddress::Clear));
        for bad in
            ["fhir.rz9.example", "ftp://x/y", "https://u:p@x/y", "https:///y", "https://x/?a=b", ""]
        {
            assert_eq!(read(bad), Err(BadAddress::Form), "{bad}");
        }
    }

    #[test]
    fn a_link_leads_below_the_base_or_nowhere() {
        let base: Address = "https://fhir.rz9.example/r4".parse().unwrap();
        for (link, target) in [
            ("https://fhir.rz9.example/r4?_getpages=1", "/r4?_getpages=1"),
            ("https://FHIR.rz9.example:443/r4/Patient?page=2", "/r4/Patient?page=2"),
            ("/r4/Patient?page=2", "/r4/Patient?page=2"),
            ("Patient?page=2", "/r4/Patient?page=2"),
            ("?page=2", "/r4?page=2"),
        ] {
            assert_eq!(base.below(link).as_deref(), Some(target), "{link}");
        }
        for foreign in [
            "https://evil.example/r4?page=2",
            "https://fhir.rz9.example.evil.example/r4?page=2",
            "https://fhir.rz9.example:8443/r4?page=2",
            "http://fhir.rz9.example/r4?page=2",
            "https://fhir.rz9.example@evil.example/r4",
            "https://fhir.rz9.example/r4-admin?page=2",
            "https://fhir.rz9.example/r4/../admin",
            "https://fhir.rz9.example/r4/%2E%2e/admin",
            "https://fhir.rz9.example/r4/x%2f..%2fadmin",
            "https://fhir.rz9.example/admin",
            "//evil.example/r4",
            "/admin",
            "../admin",
            "file:///etc/passwd",
            "ftp://fhir.rz9.example/r4",
            "Patient?a b",
            "",
        ] {
            assert_eq!(base.below(foreign), None, "{foreign}");
        }
        assert_eq!(base.below(&format!("?{}", "x".repeat(LINK_LEN_MAX))), None);
    }
}
