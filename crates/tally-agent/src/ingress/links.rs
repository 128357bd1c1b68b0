//! Where links in an answer lead: to this ingress, as its application sees it.
//!
//! Invariant: a link leads to what is configured, or to this very socket. A request can't make it lead
//! anywhere else: `Host` counts only where it is another name of the socket, or under mutual TLS, where
//! the application has found it in the certificate; what proxies add (`Forwarded`, `X-Forwarded-Host`,
//! …) never does.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};

use super::guard::{Scheme, is_loopback};
use crate::base_url::BaseUrl;

/// The port of HTTP, where a host has none.
const HTTP: u16 = 80;

pub(super) fn base_url(
    configured: Option<&BaseUrl>,
    listening: Option<SocketAddr>,
    scheme: Scheme,
    headers: &HeaderMap,
) -> Option<BaseUrl> {
    if let Some(base_url) = configured {
        return Some(base_url.clone());
    }
    let listening = listening?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_own = |host: &&str| is_loopback(host) && port(host) == Some(listening.port());
    let host = host.filter(|host| scheme == Scheme::Tls || is_own(host));
    // As its application spells it: some take a link of another spelling for one to another server.
    let scheme = scheme.as_str();
    let named = host.and_then(|host| format!("{scheme}://{host}").parse().ok());
    named.or_else(|| format!("{scheme}://{listening}").parse().ok())
}

/// The port of a host: what follows the last colon that is not in an address of IPv6.
fn port(host: &str) -> Option<u16> {
    match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().ok(),
        _ => Some(HTTP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(configured: Option<&str>, lines: &[(&'static str, &str)]) -> String {
        let configured = configured.map(|it| it.parse().unwrap());
        let lines = lines.iter();
        let headers = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let listening = "127.0.0.1:7601".parse().unwrap();
        let headers = headers.collect();
        let base = base_url(configured.as_ref(), Some(listening), Scheme::Plain, &headers);
        base.unwrap().to_string()
    }

    #[test]
    fn links_lead_to_the_socket_by_the_name_that_the_application_has_for_it() {
        for host in ["localhost:7601", "127.0.0.1:7601", "[::1]:7601"] {
            assert_eq!(base(None, &[("host", host)]), format!("http://{host}"));
        }
        assert_eq!(base(None, &[]), "http://127.0.0.1:7601");
    }

    #[test]
    fn no_request_makes_a_link_lead_elsewhere() {
        for line in [
            ("host", "evil.example:7601"),
            ("host", "evil.example"),
            ("host", "localhost:7602"),
            ("host", "localhost"),
            ("host", "user@localhost:7601"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "host=evil.example;proto=https"),
        ] {
            assert_eq!(base(None, &[line]), "http://127.0.0.1:7601", "{line:?}");
        }
    }

    #[test]
    fn under_mutual_tls_links_lead_to_the_host_of_the_certificate() {
        let headers = HeaderMap::from_iter([(header::HOST, "tally.rz9.example".parse().unwrap())]);
        let listening = "10.0.0.1:7601".parse().ok();
        let base = |headers| base_url(None, listening, Scheme::Tls, headers).unwrap().to_string();
        assert_eq!(base(&headers), "https://tally.rz9.example");
        assert_eq!(base(&HeaderMap::new()), "https://10.0.0.1:7601");
    }

    #[test]
    fn what_is_configured_goes_before_what_is_asked() {
        let proxy = "https://records.rz9.example/tally";
        let asked = [("host", "localhost:7601"), ("x-forwarded-host", "evil.example")];
        assert_eq!(base(Some(proxy), &asked), proxy);
    }
}
