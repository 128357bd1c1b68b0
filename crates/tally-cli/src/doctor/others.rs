//! Other members' agents and the ledger nodes: names, UDP, the size of datagrams, certificates.

use std::net::SocketAddr;
use std::time::Duration;

use tally_core::register::{Address, MemberRecord, MemberStatus};
use tally_net::probe::{Probe, Reached, source_of};
use tally_net::{ConnectError, Expect, IdentityError, Role, alpn};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Patient;
use super::own::ends;
use super::report::{Fault, Finding, Firewall};
use crate::explain::identity_remedy;

/// A name is found within this time.
const NAME_WAIT_MAX: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// A way with smaller datagrams than this carries bulk slowly, and is seldom meant: IPv6 asks for more.
const MTU_MIN: u16 = 1232;

/// Whom the doctor dials.
struct Target<'a> {
    of: String,
    address: &'a Address,
    expect: Expect,
    alpn: &'static [u8],
}

impl Patient {
    /// The ledger nodes that the agent would ask.
    pub(super) fn ledger(&self) -> Vec<Finding> {
        let nodes = self.trust.ledger_nodes();
        let named = &self.acting.config.ledger;
        let asked = nodes.iter().filter(|node| named.is_empty() || named.contains(&node.quic));
        let targets = asked.map(|node| Target {
            of: format!("ledger node {}", node.id),
            address: &node.quic,
            expect: Expect { member: None, role: Role::Ledger, name: Some(node.id.to_string()) },
            alpn: alpn::LEDGER,
        });
        targets.flat_map(|target| self.dial(&target)).collect()
    }

    /// A member's agent, the own one by its address too: that is what others dial.
    pub(super) fn reach(&self, record: &MemberRecord) -> Vec<Finding> {
        let of = format!("agent of {}", record.id);
        let mut findings = Vec::new();
        if record.status != MemberStatus::Active {
            let found = "the registers say that it takes no part now";
            let remedy = "ask the members of the mesh why: tally member list";
            findings.push(Finding::failed("member", &of, found, Fault::Theirs, remedy));
        }
        let Some(address) = &record.address else {
            findings.push(self.dials_out(record, &of));
            return findings;
        };
        let expect = Expect { member: Some(record.id.clone()), role: Role::Agent, name: None };
        findings.extend(self.dial(&Target { of, address, expect, alpn: alpn::AGENT }));
        findings
    }

    /// A member without an address reaches those that have one, and no others.
    fn dials_out(&self, record: &MemberRecord, of: &str) -> Finding {
        let is_own = record.id == self.acting.config.member;
        let own = self.own().and_then(|own| own.address.as_ref());
        match own {
            _ if is_own => Finding::good("address", of, "none: it dials all members that have one"),
            Some(own) => {
                let found = format!("none: it dials this member's agent at {own}");
                Finding::good("address", of, found)
            }
            None => {
                let found = "none, and this member has none either: neither can dial the other";
                let remedy = "have one of the two reached from outside, and put its address into the \
                              register: tally member propose --set address=HOST:PORT";
                Finding::failed("address", of, found, Fault::Either, remedy).unreachable()
            }
        }
    }

    fn dial(&self, target: &Target<'_>) -> Vec<Finding> {
        self.acting.wait(self.look(target))
    }

    async fn look(&self, target: &Target<'_>) -> Vec<Finding> {
        let Target { of, address, .. } = target;
        let found = timeout(NAME_WAIT_MAX, lookup_host(address.as_str())).await;
        let found: Vec<SocketAddr> = match found {
            Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if found.is_empty() {
            let what = format!("{address} leads nowhere");
            let remedy = "see that this machine resolves the name, or have the address in the \
                          register corrected";
            let finding = Finding::failed("dns", of, what, Fault::Network, remedy);
            return vec![finding.unreachable()];
        }
        let listed = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut findings = vec![Finding::good("dns", of, listed)];
        let probe = Probe {
            identity: self.identity.clone(),
            trust: self.trust.clone(),
            expect: target.expect.clone(),
            alpn: target.alpn,
        };
        let mut last = Vec::new();
        for address in found {
            match probe.reach(address).await {
                Ok(reached) => {
                    findings.extend(reached_there(of, address, &reached));
                    return findings;
                }
                Err(why) => last = not_reached(of, address, &why),
            }
        }
        findings.extend(last);
        findings
    }
}

fn reached_there(of: &str, address: SocketAddr, reached: &Reached) -> Vec<Finding> {
    let Reached { peer, until_s, round_trip, mtu } = reached;
    let ms = round_trip.as_secs_f64() * 1000.0;
    let mut findings = vec![Finding::good("udp", of, format!("{address} in {ms:.1} ms"))];
    let size = format!("{mtu} bytes of UDP get through");
    findings.push(if *mtu >= MTU_MIN {
        Finding::good("mtu", of, size)
    } else {
        let remedy = "have the way carry datagrams of 1,280 bytes, and let ICMP through that says \
                      that one is too big";
        Finding::failed("mtu", of, size, Fault::Network, remedy)
    });
    let until = until_s.map(|until_s| format!("; {}", ends(until_s))).unwrap_or_default();
    findings.push(Finding::good("identity", of, format!("{peer}{until}")));
    findings
}

fn not_reached(of: &str, address: SocketAddr, why: &ConnectError) -> Vec<Finding> {
    let through = || Finding::good("udp", of, format!("{address} answers"));
    match why {
        ConnectError::TimedOut => {
            let firewall = Firewall {
                protocol: "UDP",
                source: source_of(address).map_or_else(|| "?".to_owned(), |it| it.to_string()),
                destination: address.ip().to_string(),
                port: address.port(),
            };
            let remedy = "ask whoever runs it whether it runs and listens there; if it does, send the \
                          request below to whoever keeps the firewalls between";
            let found = format!("{address} does not answer");
            let finding = Finding::failed("udp", of, found, Fault::Network, remedy);
            vec![finding.unreachable().asking(Some(firewall))]
        }
        ConnectError::Identity(why) => {
            let fault = match why {
                IdentityError::OtherWorkload => Fault::Network,
                _ => Fault::Either,
            };
            let remedy = identity_remedy(*why);
            vec![through(), Finding::failed("identity", of, why, fault, remedy)]
        }
        ConnectError::Protocol => {
            let remedy =
                "another program listens there, or one of another version: see the address";
            vec![through(), Finding::failed("protocol", of, why, Fault::Theirs, remedy)]
        }
        ConnectError::Refused => {
            let remedy = "it is at its limit: try again later";
            vec![through(), Finding::failed("protocol", of, why, Fault::Theirs, remedy)]
        }
        ConnectError::Failed(_) | ConnectError::Unusable(_) => {
            let remedy = "see the addresses and routes of this machine: ip route get ADDRESS";
            vec![Finding::failed("udp", of, why, Fault::Own, remedy).unreachable()]
        }
    }
}
