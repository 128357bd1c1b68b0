//! What was found, check by check, and how the command ends.

use std::fmt::Display;

use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, csv, print, shown, write};

/// Whose fault something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fault {
    /// This member's: its configuration, certificate, agent or machine.
    Own,
    /// The other member's, or the ledger node's.
    Theirs,
    /// What lies between: names, firewalls, NAT.
    Network,
    /// One of the two sides: which, can't be told from here.
    Either,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    of: String,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firewall: Option<Firewall>,
    /// Whether somebody who is needed is not reached.
    #[serde(skip)]
    unreachable: bool,
}

/// The request to send to whoever keeps the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Firewall {
    pub(super) protocol: &'static str,
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) port: u16,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    member: String,
    well: bool,
    checks: Vec<Finding>,
}

impl Finding {
    /// All is well with it.
    pub(super) fn good(check: &'static str, of: impl Display, found: impl Display) -> Self {
        Self {
            check,
            of: of.to_string(),
            ok: true,
            found: found.to_string(),
            fault: None,
            remedy: None,
            firewall: None,
            unreachable: false,
        }
    }

    /// Something is wrong with it.
    pub(super) fn failed(
        check: &'static str,
        of: impl Display,
        found: impl Display,
        fault: Fault,
        remedy: impl Display,
    ) -> Self {
        let remedy = Some(remedy.to_string());
        Self { ok: false, fault: Some(fault), remedy, ..Self::good(check, of, found) }
    }

    /// And so somebody is not reached.
    pub(super) fn unreachable(self) -> Self {
        Self { unreachable: true, ..self }
    }

    /// What has to be let through.
    pub(super) fn asking(self, firewall: Option<Firewall>) -> Self {
        Self { firewall, ..self }
    }
}

impl Firewall {
    fn text(&self) -> String {
        let Self { protocol, source, destination, port } = self;
        format!(
            "please allow {protocol} from {source} (any port) to {destination} port {port}, and the \
             answers back, for as long as they go on (QUIC; a mapping of 30 s or longer is enough)"
        )
    }
}

impl Report {
    pub(super) const fn new(member: String) -> Self {
        Self { member, well: true, checks: Vec::new() }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.well &= finding.ok;
        self.checks.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Prints it, and says how the command ends.
    pub(super) fn end(self, output: Output) -> Result<Exit, Failure> {
        match output {
            Output::Csv => write(&csv(&self.rows()))?,
            Output::Table | Output::Json => print(output, &self, || self.text())?,
        }
        Ok(self.exit())
    }

    fn exit(&self) -> Exit {
        if self.checks.iter().any(|it| it.unreachable) {
            Exit::Unreachable
        } else if self.well {
            Exit::Done
        } else {
            Exit::Refused
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let head = ["check", "of", "result", "found"].map(str::to_owned).to_vec();
        let rows = self.checks.iter().map(|it| {
            let result = if it.ok { "ok" } else { "FAILED" };
            vec![it.check.to_owned(), it.of.clone(), result.to_owned(), it.found.clone()]
        });
        std::iter::once(head).chain(rows).collect()
    }

    /// For people: all checks, then what to do.
    fn text(&self) -> String {
        let mut text = columns(&self.rows());
        for it in self.checks.iter().filter(|it| !it.ok) {
            let fault = match it.fault {
                Some(Fault::Own) => "our own side",
                Some(Fault::Theirs) => "the other side",
                Some(Fault::Network) => "something between: names, firewalls, NAT",
                Some(Fault::Either) | None => "one of the two sides",
            };
            let remedy = it.remedy.clone().unwrap_or_default();
            text += &format!("\n{} of {}: {}\n", it.check, shown(&it.of), shown(&it.found));
            text += &format!("  whose fault: {fault}\n  what to do:  {}\n", shown(&remedy));
            if let Some(firewall) = &it.firewall {
                text += &format!("  firewall:    {}\n", firewall.text());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_reached_decides_the_exit_code_and_the_firewall_is_asked_in_full() {
        let mut report = Report::new("LZ9".to_owned());
        report.add(Finding::good("dns", "RZ9", "192.0.2.7"));
        assert_eq!(report.exit(), Exit::Done);
        report.add(Finding::failed("clock", "own", "skewed", Fault::Own, "set it"));
        assert_eq!(report.exit(), Exit::Refused);
        let (source, destination) = ("198.51.100.3".to_owned(), "192.0.2.7".to_owned());
        let firewall = Firewall { protocol: "UDP", source, destination, port: 443 };
        let udp = Finding::failed("udp", "RZ9", "no answer", Fault::Network, "send the request");
        report.add(udp.unreachable().asking(Some(firewall)));
        assert_eq!(report.exit(), Exit::Unreachable);
        let text = report.text();
        assert!(text.contains("UDP from 198.51.100.3 (any port) to 192.0.2.7 port 443"), "{text}");
        assert!(text.contains("dns    RZ9  ok      192.0.2.7"), "{text}");
    }
}
