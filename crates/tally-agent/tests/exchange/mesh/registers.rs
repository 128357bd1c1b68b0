//! What the members change in their registers while agents run.

use super::*;

impl Mesh {
    /// The members give one of them another standing: two of three are a majority.
    pub(crate) async fn set_status(&self, place: usize, status: MemberStatus) {
        self.set_member(place, |record| record.status = status).await;
        // Who is removed hears nothing of it any more.
        if status != MemberStatus::Removed {
            let size = self.agent(PROVIDES).exchange.replica().known().size;
            timeout(LONG, self.agent(ASKS).exchange.replica().reach(size)).await.unwrap();
        }
    }

    /// They change something else of its register.
    pub(crate) async fn set_member(&self, place: usize, change: impl FnOnce(&mut MemberRecord)) {
        let provider = self.agent(PROVIDES);
        let known = provider.exchange.replica().known();
        let id: MemberId = MEMBERS[place].parse().unwrap();
        let name = RegisterName::Member(id.clone());
        let state = known.registers.get(&name).unwrap();
        let mut record = known.registers.member(&id).unwrap().clone();
        change(&mut record);
        let body = encode_checked(RegisterBody::Member(Box::new(record))).unwrap();
        let (version, previous) = (state.version + 1, Some(state.leaf));
        let preimage =
            register_preimage(&self.mesh_id(), &name, version, previous, true, body.bytes());
        let others = MEMBERS.iter().filter(|member| **member != MEMBERS[place]);
        let approvals = others.map(|member| approval(member, &preimage)).collect();
        let recorder = provider.exchange.recorder();
        let written = recorder.write_register(&name, true, body, approvals);
        let written = timeout(LONG, written).await.unwrap().unwrap();
        let reached = provider.exchange.replica().reach(written.leaf.0 + 1);
        timeout(LONG, reached).await.unwrap();
    }

    /// The provider suspends an agreement.
    pub(crate) async fn suspend(&self, id: &str) {
        let provider = self.agent(PROVIDES);
        let known = provider.exchange.replica().known();
        let (record, approvals) = known.registers.agreement(&id.parse().unwrap()).unwrap();
        let record = AgreementRecord {
            suspended_by: vec![MEMBERS[PROVIDES].parse().unwrap()],
            ..record.clone()
        };
        let body = encode_checked(RegisterBody::Agreement(Box::new(record))).unwrap();
        let name = format!("agreement/{id}").parse().unwrap();
        let approvals = approvals.to_vec();
        let written = provider.exchange.recorder().write_register(&name, true, body, approvals);
        timeout(LONG, written).await.unwrap().unwrap();
    }
}
