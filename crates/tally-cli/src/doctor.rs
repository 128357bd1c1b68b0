//! `tally doctor`: what is in the way between this member and another, or the ledger. It looks from this
//! machine, as its agent would, and changes nothing.

mod others;
mod own;
mod report;

use std::path::Path;

use tally_agent::admin::api::RegisterKind;
use tally_core::id::MemberId;
use tally_core::register::{MemberRecord, MemberStatus, RegisterBody};
use tally_net::{Identity, TrustStore};

use crate::acting::Acting;
use crate::args::DoctorArgs;
use crate::failure::{Exit, Failure};
use crate::online::read_genesis;
use crate::output::Output;
use crate::registers::{ask, body_of};
use report::{Fault, Finding, Report};

/// Members that are dialled where none is named.
const MEMBERS_MAX: usize = 256;

/// What the doctor goes by.
struct Patient {
    acting: Acting,
    identity: Identity,
    /// The members, as the registers have them; where the agent does not say, as the mesh was founded.
    members: Vec<MemberRecord>,
    trust: TrustStore,
}

/// `tally doctor`.
///
/// # Errors
/// [`Failure`] if the configuration is wrong, or there is no such member.
pub(crate) fn doctor(
    args: &DoctorArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let config = &acting.config;
    let mut report = Report::new(config.member.to_string());
    let genesis = read_genesis(&config.genesis, config.mesh_id)?;
    let identity = match Identity::load(&config.identity_cert, &config.identity_key) {
        Ok(identity) => identity,
        Err(why) => {
            let remedy = "issue certificate and key anew: tally identity issue --role agent";
            report.add(Finding::failed("certificate", "own", why, Fault::Own, remedy));
            return report.end(output);
        }
    };
    report.extend(own::certificate(config, &identity));
    let rows = ask(&acting, RegisterKind::Member);
    let running = rows.is_ok();
    let members = match rows {
        Ok(rows) => rows.rows.iter().filter_map(record).collect(),
        // What has changed since then, only the agent or the ledger knows.
        Err(_) => genesis.value().members.clone(),
    };
    let trust = TrustStore::new(genesis.value().mesh.clone());
    members.iter().for_each(|member| trust.update(member));
    report.extend(own::agent(&acting, running));
    let patient = Patient { acting, identity, members, trust };
    report.extend(patient.ledger());
    match &args.member {
        Some(member) => report.extend(patient.member(member)?),
        None => {
            let others = patient.members.iter().filter(|it| it.status != MemberStatus::Removed);
            for record in others.take(MEMBERS_MAX) {
                report.extend(patient.reach(record));
            }
        }
    }
    report.end(output)
}

fn record(row: &tally_agent::admin::api::RegisterRow) -> Option<MemberRecord> {
    match body_of(row).ok()? {
        RegisterBody::Member(record) => Some(*record),
        _ => None,
    }
}

impl Patient {
    fn own(&self) -> Option<&MemberRecord> {
        self.find(&self.acting.config.member)
    }

    fn find(&self, member: &MemberId) -> Option<&MemberRecord> {
        self.members.iter().find(|record| record.id == *member)
    }

    /// The member that was named.
    fn member(&self, text: &str) -> Result<Vec<Finding>, Failure> {
        let unknown = || {
            let what = format!("no member of the mesh has the id {text:?}");
            Failure::usage(what, "see all of them: tally member list")
        };
        let member = text.parse().map_err(|_| unknown())?;
        let record = self.find(&member).ok_or_else(unknown)?;
        Ok(self.reach(record))
    }
}
