//! A no to a request that nobody here has read: of a sidecar that can't carry it to its agent.

use std::fmt::Write as _;

use axum::body::to_bytes;

use super::answer::refused_here;
use super::guard::HARMLESS;
use super::request::Unfit;

/// Bytes of a no at most.
const LEN_MAX: usize = 16 * 1024;

/// The answer as it goes over the wire, in HTTP/1.1; the connection ends after it. To HEAD it has no body.
pub(crate) async fn unserved(refusal: tally_core::refusal::Refusal, head_only: bool) -> Vec<u8> {
    let (mut parts, body) = refused_here(&Unfit::new(refusal, ""), None).into_parts();
    for (name, value) in HARMLESS {
        parts.headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    let body = to_bytes(body, LEN_MAX).await.unwrap_or_default();
    let mut head = format!("HTTP/1.1 {}\r\n", parts.status);
    for (name, value) in &parts.headers {
        // What a refusal says in headers is ASCII. Writing to a text can't fail.
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let mut answer = head.into_bytes();
    if !head_only {
        answer.extend_from_slice(&body);
    }
    answer
}

#[cfg(test)]
mod tests {
    use tally_core::refusal::Refusal;

    use super::*;

    #[tokio::test]
    async fn a_no_that_nobody_asked_the_agent_for_reads_as_any_other() {
        let answer = String::from_utf8(unserved(Refusal::AgentUnreachable, false).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        for line in ["connection: close", "retry-after: 1", "x-content-type-options: nosniff"] {
            assert!(head.contains(line), "{line} is not in {head}");
        }
        let outcome: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], "agent-unreachable");
        let head_only = String::from_utf8(unserved(Refusal::AgentLost, true).await).unwrap();
        assert!(head_only.ends_with("\r\n\r\n"), "{head_only}");
    }
}
