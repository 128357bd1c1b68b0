//! The ledger's registers, as policy reads them.

use super::facts::{AgreementFact, MemberFact, Registers};
use crate::id::{AgreementId, GroupId, MemberId};
use crate::ledger::{self, RegisterState, RegisterValue};
use crate::register::RegisterName;

impl Registers for ledger::Registers {
    fn member(&self, id: &MemberId) -> Option<MemberFact> {
        let register = self.get(&RegisterName::Member(id.clone()))?;
        let RegisterValue::Member { record, .. } = &register.value else { return None };
        let assessment = record.assessment.map(|assessment| assessment.status);
        Some(MemberFact { version: register.version, status: record.status, assessment })
    }

    fn before(&self, id: &MemberId) -> Vec<MemberId> {
        let mut before: Vec<MemberId> = Vec::new();
        let mut ahead = vec![id];
        while let Some(next) = ahead.pop() {
            let record = Self::member(self, next);
            let supersedes = record.map(|record| record.supersedes.as_slice()).unwrap_or_default();
            for member in supersedes.iter().filter(|it| *it != id) {
                if !before.contains(member) {
                    before.push(member.clone());
                    ahead.push(member);
                }
            }
        }
        before
    }

    fn group(&self, id: &GroupId) -> Option<(u64, &[MemberId])> {
        let register = self.get(&RegisterName::Group(id.clone()))?;
        let RegisterValue::Group(group) = &register.value else { return None };
        Some((register.version, &group.members))
    }

    fn consent_register(&self, custodian: &MemberId, number: u8) -> Option<u64> {
        self.get(&RegisterName::Consent(custodian.clone(), number)).map(|known| known.version)
    }

    fn agreement(&self, id: &AgreementId) -> Option<AgreementFact<'_>> {
        self.get(&RegisterName::Agreement(id.clone())).and_then(agreement)
    }

    fn agreements(&self) -> impl Iterator<Item = AgreementFact<'_>> {
        self.iter().filter_map(|(_, register)| agreement(register))
    }

    fn has_signed(&self, member: &MemberId, id: &AgreementId) -> bool {
        let approvals = Self::agreement(self, id).map_or(&[][..], |(_, approvals)| approvals);
        approvals.iter().any(|approval| approval.member == *member)
    }
}

fn agreement(register: &RegisterState) -> Option<AgreementFact<'_>> {
    let RegisterValue::Agreement { record, .. } = &register.value else { return None };
    Some(AgreementFact {
        version: register.version,
        document: record.document.value(),
        suspended_by: &record.suspended_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoded::Encoded;
    use crate::entry::Algorithm;
    use crate::id::{KeyId, LeafIndex, Salt16};
    use crate::policy::samples::{agreement as document, scenario};
    use crate::policy::{Decision, Facts};
    use crate::register::{
        AgreementRecord, Approval, GroupRecord, MemberRecord, MemberStatus, RegisterBody,
        RegisterWrite,
    };
    use crate::time::Timestamp;
    use tally_log::{Signature, SigningKey};

    /// The registers of a mesh as its feed brings them, at these leaves in this order.
    fn follow(bodies: &[(&str, RegisterBody, &[&str])]) -> ledger::Registers {
        let mut registers = ledger::Registers::default();
        for (place, (name, body, signers)) in (0..).zip(bodies) {
            let write = RegisterWrite {
                salt: Salt16([0; 16]),
                name: name.parse().unwrap(),
                version: place + 1,
                previous: None,
                narrows: true,
                body: Encoded::new(body.clone(), Vec::new()),
                approvals: signers.iter().map(|member| approval(member)).collect(),
            };
            registers.follow(LeafIndex(place), &write, Timestamp(0));
        }
        registers
    }

    fn approval(member: &str) -> Approval {
        Approval {
            member: member.parse().unwrap(),
            role: "ig-lead".parse().unwrap(),
            key: KeyId([0; 8]),
            algorithm: Algorithm::EdDsa,
            signature: Signature::from_bytes([0; 64]),
        }
    }

    fn member(id: &str, status: MemberStatus) -> RegisterBody {
        RegisterBody::Member(Box::new(MemberRecord {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            codes: Vec::new(),
            ca: Vec::new(),
            agent_key: SigningKey::from_seed(&[1; 32]).verifying_key(),
            officers: Vec::new(),
            nodes: Vec::new(),
            address: None,
            status,
            supersedes: Vec::new(),
            assessment: None,
        }))
    }

    fn mesh(signers: &'static [&'static str]) -> ledger::Registers {
        let record = AgreementRecord {
            document: Encoded::new(document(), Vec::new()),
            suspended_by: Vec::new(),
        };
        let group =
            GroupRecord { id: "councils".parse().unwrap(), members: vec!["LZ9".parse().unwrap()] };
        follow(&[
            ("member/LZ9", member("LZ9", MemberStatus::Active), &[]),
            ("member/RZ9", member("RZ9", MemberStatus::Active), &[]),
            ("agreement/DSA-1", RegisterBody::Agreement(Box::new(record)), signers),
            ("consent/RZ9/0", RegisterBody::Consent, &[]),
            ("group/councils", RegisterBody::Group(group), &[]),
        ])
    }

    #[test]
    fn a_decision_rests_on_the_registers_as_the_ledger_has_them() {
        let decide = |registers: &ledger::Registers| {
            let scenario = scenario();
            let facts = Facts {
                environment: scenario.environment,
                today: scenario.today,
                hour: scenario.hour,
                opt_out: scenario.opt_out,
                registers,
                people: &scenario.people,
                own_policy: &scenario.own_policy,
            };
            crate::policy::decide(&scenario.request, &scenario.items, &facts)
        };
        let Decision::Permit(permit) = decide(&mesh(&["LZ9", "RZ9"])) else { panic!("refused") };
        let versions: Vec<_> = permit.read_set().iter().map(|read| read.version).collect();
        assert_eq!(versions, [1, 2, 3, 4]);
        assert!(permit.read_set().iter().all(|read| mesh(&["LZ9", "RZ9"]).is_current(read)));
        let Decision::Refuse(refused) = decide(&mesh(&["RZ9"])) else { panic!("permitted") };
        assert_eq!(refused.refusal(), crate::refusal::Refusal::AgreementNotSigned);
    }

    #[test]
    fn who_came_in_whose_place_is_followed_to_the_first() {
        let came = |id: &str, supersedes: &[&str]| {
            let RegisterBody::Member(mut record) = member(id, MemberStatus::Active) else {
                panic!("no member")
            };
            record.supersedes = supersedes.iter().map(|it| it.parse().unwrap()).collect();
            RegisterBody::Member(record)
        };
        // LZ5 was never here; two that claim each other's place end, all the same.
        let registers = follow(&[
            ("member/LZ7", came("LZ7", &["LZ5", "LZ9"]), &[]),
            ("member/LZ9", came("LZ9", &["LZ7", "LZ8"]), &[]),
        ]);
        let mut before = Registers::before(&registers, &"LZ9".parse().unwrap());
        before.sort();
        let ids: Vec<_> = before.iter().map(MemberId::as_str).collect();
        assert_eq!(ids, ["LZ5", "LZ7", "LZ8"]);
    }

    #[test]
    fn a_group_is_read_at_its_version() {
        let registers = mesh(&[]);
        let members = ["LZ9".parse().unwrap()];
        let group = Registers::group(&registers, &"councils".parse().unwrap());
        assert_eq!(group, Some((5, &members[..])));
        assert_eq!(registers.agreements().count(), 1);
        assert_eq!(registers.consent_register(&"RZ9".parse().unwrap(), 1), None);
    }
}
