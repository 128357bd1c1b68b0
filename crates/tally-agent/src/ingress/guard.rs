//! Who may speak to the ingress at all: the member's own applications, and not a page from elsewhere
//! that runs in a browser on the same machine.
//!
//! Invariant: loopback keeps other machines out, but a browser carries other people's pages in. A page
//! whose name was made to lead here ("DNS rebinding") still says its own name as the host, and a page
//! that asks across origins is marked as such by the browser (W3C Fetch Metadata): neither gets so far
//! that an exchange begins. What is answered is never run or guessed at as a page of this origin.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tally_core::refusal::Refusal;

use super::Ingress;
use super::head;
use super::request::{Unfit, header as one};
use super::request_ids::RequestIds;

/// A browser neither guesses at what an answer is, nor runs any of it.
pub(super) const HARMLESS: [(header::HeaderName, &str); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
];

pub(super) async fn guard(
    State(ingress): State<Ingress>,
    request: Request,
    next: Next,
) -> Response {
    let fits = head::fits(request.uri(), request.headers());
    let from_here =
        fits.and_then(|()| from_here(ingress.scheme(), request.uri(), request.headers()));
    let ids = from_here.and_then(|()| RequestIds::read(request.headers()));
    let mut response = match ids {
        Ok(ids) => {
            let mut response = next.run(request).await;
            ids.echo(response.headers_mut());
            response
        }
        Err(unfit) => ingress.refuse(&unfit),
    };
    for (name, value) in HARMLESS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// How a request came. Under mutual TLS every caller has shown its certificate, and the host is what
/// that says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Plain,
    Tls,
}

impl Scheme {
    /// As it stands in a URL.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

/// Whether a request was meant for this ingress, by an application of this machine.
///
/// # Errors
/// [`Unfit`] for another host's name, and for what a page of another origin asks.
fn from_here(scheme: Scheme, uri: &Uri, headers: &HeaderMap) -> Result<(), Unfit> {
    let unfit = |what: &str| Unfit::new(Refusal::HeaderInvalid, what);
    let host = one(headers, "host")?;
    let named = uri.authority().map(axum::http::uri::Authority::as_str);
    if scheme == Scheme::Plain && !host.into_iter().chain(named).all(is_loopback) {
        return Err(unfit("Host is not this machine's: ask for localhost or 127.0.0.1"));
    }
    let elsewhere = "a page of another origin may not ask";
    if let Some(origin) = one(headers, "origin")? {
        let own = host.map(|host| format!("{}://{host}", scheme.as_str()));
        if !own.is_some_and(|own| own.eq_ignore_ascii_case(origin)) {
            return Err(unfit(elsewhere));
        }
    }
    match one(headers, "sec-fetch-site")? {
        None | Some("none" | "same-origin") => Ok(()),
        Some(_) => Err(unfit(elsewhere)),
    }
}

/// Whether a host, with its port or without, can be nobody else's name.
pub(super) fn is_loopback(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => authority,
    };
    let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    let address = bare.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(lines: &[(&'static str, &str)]) -> bool {
        let headers = lines.iter();
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        from_here(Scheme::Plain, &Uri::from_static("/catalogue"), &headers.collect()).is_ok()
    }

    #[test]
    fn applications_of_this_machine_may_ask() {
        for host in ["127.0.0.1:7601", "127.0.0.1", "localhost:7601", "LocalHost", "[::1]:7601"] {
            assert!(asks(&[("host", host)]), "{host}");
        }
        assert!(asks(&[]));
        let own = [("host", "localhost:7601"), ("origin", "http://localhost:7601")];
        assert!(asks(&own));
        assert!(asks(&[("host", "localhost"), ("sec-fetch-site", "none")]));
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_nobodys_of_this_machine() {
        for host in [
            "evil.example",
            "evil.example:7601",
            "127.0.0.1.evil.example",
            "localhost.evil.example:7601",
            "10.0.0.1:7601",
            "[::2]:7601",
            "user@127.0.0.1",
            "",
        ] {
            assert!(!asks(&[("host", host)]), "{host}");
        }
        let absolute = Uri::from_static("http://evil.example/catalogue");
        assert!(from_here(Scheme::Plain, &absolute, &HeaderMap::new()).is_err());
        let mut two = HeaderMap::new();
        two.append("host", HeaderValue::from_static("localhost"));
        two.append("host", HeaderValue::from_static("evil.example"));
        assert!(from_here(Scheme::Plain, &Uri::from_static("/"), &two).is_err());
    }

    #[test]
    fn under_mutual_tls_any_host_may_be_meant_and_a_page_of_another_origin_still_may_not_ask() {
        let under_tls = |lines: &[(&'static str, &str)]| {
            let headers = lines.iter();
            let headers =
                headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            from_here(Scheme::Tls, &Uri::from_static("/"), &headers.collect()).is_ok()
        };
        let host = ("host", "tally.rz9.example");
        assert!(under_tls(&[host]));
        assert!(under_tls(&[host, ("origin", "https://tally.rz9.example")]));
        assert!(!under_tls(&[host, ("origin", "https://evil.example")]));
        assert!(!under_tls(&[host, ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_page_of_another_origin_may_not_ask() {
        for line in [
            ("origin", "https://evil.example"),
            ("origin", "http://localhost:3000"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!asks(&[("host", "localhost:7601"), line]), "{line:?}");
        }
    }
}
