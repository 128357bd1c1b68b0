//! Where links in an answer lead: to this ingress, as its application sees it.
//!
//! Invariant: a link leads to what is configured, or to this very socket. A request can't make it lead
//! anywhere else: `Host` counts only where it is another name of the socket, and what proxies add
//! (`Forwarded`, `X-Forwarded-Host`, …) never does.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};

use super::guard::is_loopback;
use crate::base_url::BaseUrl;

/// The port of HTTP, where a host has none.
const HTTP: u16 = 80;

pub(super) fn base_url(
    configured: Option<&BaseUrl>,
    listening: Option<SocketAddr>,
    headers: &HeaderMap,
) -> Option<BaseUrl> {
    if let Some(base_url) = configured {
        return Some(base_url.clone());
    }
    let listening = listening?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| is_loopback(host) && port(host) == Some(listening.port()));
    // As its application spells it: some take a link of another spelling for one to another server.
    let named = host.and_then(|host| format!("http://{host}").parse().ok());
    named.or_else(|| format!("http://{listening}").parse().ok())
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
        let base = base_url(configured.as_ref(), Some(listening), &headers.collect());
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
    fn what_is_configured_goes_before_what_is_asked() {
        let proxy = "https://records.rz9.example/tally";
        let asked = [("host", "localhost:7601"), ("x-forwarded-host", "evil.example")];
        assert_eq!(base(Some(proxy), &asked), proxy);
    }
}
