//! The own side: certificate, agent, store, clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use serde_json::Value;
use tally_agent::config::AgentConfig;
use tally_core::time::Timestamp;
use tally_net::rustls::pki_types::CertificateDer;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::tls::check_by_ca;
use tally_net::{Identity, Role};
use tokio::time::timeout;

use super::report::{Fault, Finding};
use crate::acting::Acting;
use crate::agent::bound;
use crate::ingress::reach;
use crate::system::now_s;

/// A certificate that ends sooner should have been replaced.
const SOON_S: i64 = 60 * 60;
/// What an agent says of itself at `/ready` that is about its store, its clock, and the registers.
const STORE: &[&str] = &["store-closed", "store-behind", "outbox-full"];
const CLOCK: &[&str] = &["clock-skew"];
const REGISTERS: &[&str] = &["registers-unknown", "registers-old"];
/// The agent answers on this machine within this time.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes of its answer at most.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Whose the certificate is, whether it holds, and whether key and CA fit.
pub(super) fn certificate(config: &AgentConfig, identity: &Identity) -> Vec<Finding> {
    let (of, issue) = ("own", "issue another: tally identity issue --role agent");
    let failed = |check, found: String| Finding::failed(check, of, found, Fault::Own, issue);
    let mut findings = Vec::new();
    findings.push(match identity.id() {
        Ok(id) if id.member == config.member && id.role == Role::Agent => {
            Finding::good("certificate", of, id)
        }
        Ok(id) => failed("certificate", format!("it is for {id}")),
        Err(why) => failed("certificate", why.to_string()),
    });
    findings.push(match identity.certified() {
        Ok(_) => Finding::good("key", of, "it is the certificate's"),
        Err(why) => failed("key", format!("it is not the certificate's: {why}")),
    });
    let until_s = identity.validity().map(|validity| validity.until_s);
    findings.push(match until_s {
        Some(until_s) if until_s > now_s().saturating_add(SOON_S) => {
            Finding::good("expiry", of, ends(until_s))
        }
        Some(until_s) => failed("expiry", ends(until_s)),
        None => failed("expiry", "it does not say until when it holds".to_owned()),
    });
    if let Some(path) = &config.identity_ca {
        findings.push(match vouches(identity, path) {
            Ok(()) => Finding::good("ca", of, format!("{} vouches for it", path.display())),
            Err(why) => failed("ca", format!("{}: {why}", path.display())),
        });
    }
    findings
}

fn vouches(identity: &Identity, path: &Path) -> Result<(), String> {
    let ca = CertificateDer::from_pem_file(path).map_err(|why| why.to_string())?;
    check_by_ca(identity, &ca).map_err(|why| why.to_string())
}

/// When a certificate ends, in words.
pub(super) fn ends(until_s: i64) -> String {
    let at = Timestamp(u64::try_from(until_s).unwrap_or(0).saturating_mul(1000)).rfc3339();
    let left_s = until_s.saturating_sub(now_s());
    if left_s < 0 {
        format!("ended at {at}")
    } else {
        format!("holds until {at}, {} h", left_s / 3600)
    }
}

/// Whether the agent runs, and what it says of its store, its clock and the registers.
pub(super) fn agent(acting: &Acting, running: bool) -> Vec<Finding> {
    let of = "own";
    if !running {
        let remedy = "start it: tally agent --config FILE; what follows is by the mesh's founding";
        let found = "it does not answer at its admin socket";
        return vec![Finding::failed("agent", of, found, Fault::Own, remedy).unreachable()];
    }
    let answer = acting.wait(ready(&acting.config));
    let Some(answer) = answer else {
        let found = "it does not answer at its health port";
        let remedy = "see [health] listen, and the agent's log";
        return vec![Finding::failed("agent", of, found, Fault::Own, remedy)];
    };
    let reasons = answer.get("reasons").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |reason: &Value, key: &str| {
        reason.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let told = |reason: Option<&Value>, check: &'static str, well: &str| match reason {
        None => Finding::good(check, of, well),
        Some(it) => {
            let found = format!("{}: {}", text(it, "reason"), text(it, "meaning"));
            Finding::failed(check, of, found, Fault::Own, text(it, "remedy"))
        }
    };
    let about = |check: &'static str, codes: &[&str], well: &str| {
        let reason = reasons.iter().find(|it| codes.contains(&text(it, "reason").as_str()));
        told(reason, check, well)
    };
    // Whatever is about nothing else is about the agent itself.
    let elsewhere = |code: &str| [STORE, CLOCK, REGISTERS].iter().any(|it| it.contains(&code));
    let own = reasons.iter().find(|it| !elsewhere(&text(it, "reason")));
    vec![
        told(own, "agent", "it runs, and is whom its member's register names"),
        about("store", STORE, "it keeps what it is given"),
        about("clock", CLOCK, "within 30 s of the ledger's"),
        about("registers", REGISTERS, "heard within 5 s"),
    ]
}

/// What the agent says of itself; none if it says nothing.
async fn ready(config: &AgentConfig) -> Option<Value> {
    let listen = bound(&config.data_dir).and_then(|bound| bound.health.parse().ok());
    let mut address: SocketAddr = listen.unwrap_or(config.health_listen);
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let host = address.to_string();
    let asked = async {
        let mut sender = reach(&host).await.ok()?;
        let request = Request::get("/ready").header("host", &host).body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.ok()?).await.ok()?;
        let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await.ok()?;
        serde_json::from_slice(&body.to_bytes()).ok()
    };
    timeout(ANSWER_WAIT_MAX, asked).await.ok().flatten()
}
