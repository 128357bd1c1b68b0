//! The ledger as agents may meet it: the real `apply`, behind everything that a replicated service
//! does to its callers. It gathers, delays, refuses while it has no leader, commits without
//! answering, and answers twice.

use tally_core::entry::{Entry, Lane, Seal};
use tally_core::id::{LeafIndex, MemberId, MeshId, Salt16};
use tally_core::ledger::{Proposal, Registers, State, Submission, Verdict};
use tally_core::register::{AgreementRecord, RegisterBody, RegisterName, RegisterWrite};
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::mesh::{
    AGREEMENTS, Cheap, MEMBERS, START, approvals, batch, document, genesis, member, session_start,
};
use crate::truth::Fact;
use crate::world::{Answer, Context, Happening, Request, index};

/// A leaf, and what it says.
pub(crate) struct Leaf {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: Hash,
    pub(crate) entry: Entry,
    /// Ledger time when it was committed.
    pub(crate) time: Timestamp,
}

pub(crate) struct Ledger {
    pub(crate) state: State,
    /// A replica that applies the same submissions, cut into other proposals.
    pub(crate) follower: State,
    pub(crate) leaves: Vec<Leaf>,
    pending: Vec<(usize, u64, Submission)>,
    proposing: bool,
    no_leader_until: Timestamp,
    feed_broken_until: [Timestamp; MEMBERS.len()],
}

impl Ledger {
    /// The ledger after the founding: members, agreements that all have signed, and two consent
    /// registers for each custodian.
    pub(crate) fn founded(context: &mut Context) -> Self {
        let genesis = genesis();
        let mesh_id = MeshId(genesis.leaf_hash());
        let state = State::new(mesh_id);
        let mut ledger = Self {
            follower: state.clone(),
            state,
            leaves: Vec::new(),
            pending: Vec::new(),
            proposing: false,
            no_leader_until: START,
            feed_broken_until: [START; MEMBERS.len()],
        };
        ledger.must(context, Submission::Genesis(genesis));
        for agent in 0..MEMBERS.len() {
            let salt = Salt16(context.random.bytes());
            let start = session_start(&mesh_id, agent, salt, None);
            ledger.must(context, Submission::SessionStart(start));
            let session = ledger.state.current_session(&member(agent)).unwrap();
            let mut number = 0;
            let mut write = |context: &mut Context, ledger: &mut Self, name, body, approvals| {
                let body = tally_wire::encode_checked(body).unwrap();
                let salt = Salt16(context.random.bytes());
                let narrows = true;
                let (version, previous) = (1, None);
                let write =
                    RegisterWrite { salt, name, version, previous, narrows, body, approvals };
                let entry = Entry::Register(Box::new(write));
                let entries = vec![tally_wire::encode_checked(entry).unwrap()];
                let batch = batch(&mesh_id, agent, session, number, Lane::Register, entries);
                ledger.must(context, Submission::Batch(batch));
                number += 1;
            };
            for register in 0..2 {
                let name = RegisterName::Consent(member(agent), register);
                write(context, &mut ledger, name, RegisterBody::Consent, Vec::new());
            }
            for (place, (id, ..)) in AGREEMENTS.iter().enumerate().filter(|_| agent == 0) {
                let document = document(place);
                let approvals = approvals(&mesh_id, &document);
                let record = AgreementRecord { document, suspended_by: Vec::new() };
                let name = RegisterName::Agreement(id.parse().unwrap());
                let body = RegisterBody::Agreement(Box::new(record));
                write(context, &mut ledger, name, body, approvals);
            }
        }
        ledger
    }

    /// Whatever the founding does is accepted.
    fn must(&mut self, context: &mut Context, submission: Submission) {
        self.pending.push((0, 0, submission));
        let verdicts = self.apply(context);
        let accepted = !matches!(verdicts[0].2, Verdict::Rejected(_) | Verdict::Halted);
        assert!(accepted, "the founding is rejected: {:?}", verdicts[0].2);
    }

    pub(crate) const fn mesh_id(&self) -> &MeshId {
        self.state.mesh_id()
    }

    pub(crate) fn time_of(&self, leaf: usize) -> Timestamp {
        self.leaves[leaf].time
    }

    /// Something arrives at whoever is the leader, if anybody is.
    pub(crate) fn asked(&mut self, context: &mut Context, agent: usize, life: u64, what: Request) {
        if context.now < self.no_leader_until {
            return;
        }
        match what {
            Request::Standing => {
                let session = self.state.current_session(&member(agent));
                let registers = Box::new(self.state.registers().clone());
                let size = self.state.size();
                let what = Answer::Standing { session, registers, size };
                self.answer(context, agent, life, what);
            }
            Request::Submit(submission) => {
                self.pending.push((agent, life, submission));
                self.propose_soon(context);
            }
        }
    }

    /// While one Raft entry is in flight, submissions gather.
    fn propose_soon(&mut self, context: &mut Context) {
        if !self.proposing {
            self.proposing = true;
            let slow = context.goes_wrong(25);
            let wait_ms = if slow { context.between(500, 3_500) } else { context.between(1, 25) };
            context.later(wait_ms, Happening::Propose);
        }
    }

    pub(crate) fn propose(&mut self, context: &mut Context) {
        self.proposing = false;
        for (agent, life, what) in self.judge(context) {
            self.answer(context, agent, life, what);
        }
    }

    /// Applies what is pending: the answers, and whose they are.
    fn judge(&mut self, context: &mut Context) -> Vec<(usize, u64, Answer)> {
        let key = |submission: &Submission| match submission {
            Submission::Batch(batch) => Some((batch.session, batch.number)),
            Submission::Genesis(_) | Submission::Recovery(_) | Submission::SessionStart(_) => None,
        };
        let keys: Vec<_> = self.pending.iter().map(|(_, _, it)| key(it)).collect();
        let keyed = self.apply(context).into_iter().zip(keys);
        let answer = |((agent, life, verdict), key): ((usize, u64, Verdict), _)| {
            let what = match key {
                None => Answer::Started { verdict },
                Some((session, number)) => Answer::Judged { session, number, verdict },
            };
            (agent, life, what)
        };
        keyed.map(answer).collect()
    }

    /// The leader is gone: some of what it held is committed all the same, and nobody is told.
    pub(crate) fn change_leader(&mut self, context: &mut Context) {
        if !context.faults {
            return;
        }
        if context.random.chance(500) {
            self.judge(context);
        }
        self.pending.clear();
        let wait_ms = context.between(100, 3_000);
        self.no_leader_until = Timestamp(context.now.0 + wait_ms);
    }

    /// Answers get lost, come late, and come twice.
    fn answer(&self, context: &mut Context, agent: usize, life: u64, what: Answer) {
        if context.goes_wrong(30) {
            return;
        }
        if context.goes_wrong(40) {
            let wait_ms = context.between(1, 2_500);
            let what = what.clone();
            context.later(wait_ms, Happening::Answered { agent, life, what });
        }
        let slow = context.goes_wrong(25);
        let wait_ms = if slow { context.between(300, 3_000) } else { context.between(1, 20) };
        context.later(wait_ms, Happening::Answered { agent, life, what });
    }

    /// Applies what is pending, and shows each new leaf to whoever looks on.
    fn apply(&mut self, context: &mut Context) -> Vec<(usize, u64, Verdict)> {
        let (whose, submissions): (Vec<_>, Vec<_>) =
            self.pending.drain(..).map(|(agent, life, it)| ((agent, life), it)).unzip();
        for submission in &submissions {
            let alone = Proposal { time: context.now, submissions: vec![submission.clone()] };
            self.follower.apply(&alone, &Cheap);
        }
        let proposal = Proposal { time: context.now, submissions };
        let applied = self.state.apply(&proposal, &Cheap);
        let time = self.state.time();
        for leaf in applied.leaves(&proposal) {
            // What is stored is read back: no value is believed that its bytes do not say.
            let entry = tally_wire::decode_entry(leaf.bytes).unwrap().into_parts().0;
            let bytes = leaf.bytes.to_vec();
            self.leaves.push(Leaf { bytes, hash: leaf.hash, entry, time });
            context.note(Fact::Committed { leaf: leaf.index });
        }
        let verdicts = whose.into_iter().zip(applied.verdicts.iter().cloned());
        verdicts.map(|((agent, life), verdict)| (agent, life, verdict)).collect()
    }

    /// Says how far the registers go, as of now.
    pub(crate) fn feed(&self, context: &mut Context, agent: usize, life: u64) {
        if context.faults && context.now < self.feed_broken_until[agent] {
            return;
        }
        let (size, sent) = (self.state.size(), context.now);
        let slow = context.goes_wrong(50);
        let wait_ms = if slow { context.between(100, 3_000) } else { context.between(1, 30) };
        context.later(wait_ms, Happening::Fed { agent, life, size, sent });
    }

    pub(crate) fn break_feed(&mut self, agent: usize, until: Timestamp) {
        self.feed_broken_until[agent] = until;
    }

    /// The registers of the genesis, for whoever knows nothing else yet.
    pub(crate) fn founders(&self) -> Registers {
        let mut registers = Registers::default();
        if let Entry::Genesis(genesis) = &self.leaves[0].entry {
            registers.found(genesis, self.leaves[0].time);
        }
        registers
    }

    /// The register leaves in a range: everybody may read them.
    pub(crate) fn register_leaves(
        &self,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = (LeafIndex, &RegisterWrite)> {
        let range = self.leaves.iter().enumerate().take(to).skip(from);
        range.filter_map(|(place, leaf)| match &leaf.entry {
            Entry::Register(write) => Some((leaf_index(place), &**write)),
            _ => None,
        })
    }

    /// The entries that an agent may read besides: those that it wrote, and those that name it as
    /// the requester.
    pub(crate) fn own_leaves(&self, agent: usize, size: u64) -> Vec<LeafIndex> {
        let me = member(agent);
        let size = usize::try_from(size).unwrap();
        let mut own = Vec::new();
        for (place, leaf) in self.leaves.iter().enumerate().take(size) {
            let ours = match &leaf.entry {
                Entry::ProviderHalf(half) => half.provider == me || half.requester == me,
                Entry::RequesterHalf(half) => half.requester == me,
                Entry::RefusalCount(count) => count.provider == me,
                Entry::Review(review) => review.member == me,
                Entry::Disposal(disposal) => disposal.member == me,
                Entry::Close(close) => matches!(
                    &self.leaves[index(close.provider_leaf)].entry,
                    Entry::ProviderHalf(half) if half.provider == me
                ),
                Entry::SessionStart(start) => start.member == me,
                Entry::Seal(seal) => self.is_session_of(seal, &me),
                Entry::Genesis(_) | Entry::Recovery(_) | Entry::Register(_) => false,
            };
            if ours {
                own.push(leaf_index(place));
            }
        }
        own
    }

    /// Whether the seal is of a session of this member.
    pub(crate) fn is_session_of(&self, seal: &Seal, member: &MemberId) -> bool {
        let start = &self.leaves[index(seal.session.0)].entry;
        matches!(start, Entry::SessionStart(start) if start.member == *member)
    }

    /// The seal of the leaf's batch.
    pub(crate) fn seal_of(&self, leaf: LeafIndex) -> Option<(LeafIndex, &Seal)> {
        let from = index(leaf);
        let mut later = self.leaves.iter().enumerate().skip(from);
        let seal = later.find_map(|(place, it)| match &it.entry {
            Entry::Seal(seal) => Some((place, seal)),
            _ => None,
        });
        seal.map(|(place, seal)| (leaf_index(place), seal))
    }
}

fn leaf_index(place: usize) -> LeafIndex {
    LeafIndex(u64::try_from(place).unwrap())
}
