//! A member's register: its codes, the keys that act for it, where it is reached.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tally_log::VerifyingKey;

use super::organisation::{Assessment, ODS, OrganisationCode};
use crate::id::{MemberId, NodeId, OdsCode, OfficerRole};
use crate::time::Date;

/// An organisation in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Never changes.
    pub id: MemberId,
    /// The organisation's name today, 1 to 200 bytes.
    pub name: String,
    /// Its codes, each with its days, at most 16: closed ones too.
    pub codes: Vec<OrganisationCode>,
    /// Its certificate authority, X.509 in DER, at most 4 KiB.
    pub ca: Vec<u8>,
    /// Signs its sessions and batches.
    pub agent_key: VerifyingKey,
    /// The keys of its officers, by role, ascending, at most 16.
    pub officers: Vec<Officer>,
    /// Its ledger nodes, ascending, at most 8.
    pub nodes: Vec<LedgerNode>,
    /// Where its agent is reached over QUIC. None for a member that only dials out.
    pub address: Option<Address>,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// In whose place it came, ascending, at most 16. What they did stays theirs.
    pub supersedes: Vec<MemberId>,
    /// How its data security was assessed. None: nobody has said.
    pub assessment: Option<Assessment>,
}

/// The office of whoever audits the whole mesh for its members.
pub const AUDITOR_ROLE: &str = "auditor";

impl MemberRecord {
    /// Whether the members let it audit the mesh: its register has the office, which a majority of them
    /// has approved, as everything in it. Only its auditors read all entries.
    #[must_use]
    pub fn audits(&self) -> bool {
        self.officers.iter().any(|officer| officer.role.as_str() == AUDITOR_ROLE)
    }

    /// Whether a text is one of its codes on a day. A closed code leads nowhere.
    #[must_use]
    pub fn has_code(&self, text: &str, today: Date) -> bool {
        self.codes.iter().any(|code| code.is(text) && code.is_current(today))
    }

    /// Its ODS codes on a day.
    pub fn ods_codes(&self, today: Date) -> impl Iterator<Item = OdsCode> {
        let own = self.codes.iter().filter(move |it| it.system == ODS && it.is_current(today));
        own.filter_map(|code| code.value.parse().ok())
    }
}

/// An officer: a role and its key, never a person's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Officer {
    /// The role.
    pub role: OfficerRole,
    /// Its key.
    pub key: VerifyingKey,
}

/// One replica of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerNode {
    /// Its number, never used twice.
    pub id: NodeId,
    /// Signs its checkpoints; the key's name is the log's origin.
    pub log_key: VerifyingKey,
    /// Where agents and other nodes reach it over QUIC.
    pub quic: Address,
    /// Where its checkpoints and tiles are read over HTTPS.
    pub https: Address,
}

/// Whether a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberStatus {
    /// It does.
    Active,
    /// Not now: for 24 hours it may still record what was owed.
    Suspended,
    /// Not any more.
    Removed,
}

/// Where something is reached: `host:port`, 1 to 260 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(Arc<str>);

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address: expected HOST:PORT, or [IPv6]:PORT")]
pub struct BadAddress;

impl Address {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(BadAddress)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_fits = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
            }
        };
        let port_fits = port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
        if host_fits && port_fits && text.len() <= 260 {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadAddress)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:4000", "agent.rz9.nhs.uk:7600", "[::1]:7600"] {
            assert_eq!(good.parse::<Address>().unwrap().as_str(), good);
        }
        for bad in ["", "host", ":1", "a b:1", "host:65536", "host:+1", "::1:7600", "[x]:1"] {
            assert_eq!(bad.parse::<Address>(), Err(BadAddress), "{bad:?}");
        }
    }
}
