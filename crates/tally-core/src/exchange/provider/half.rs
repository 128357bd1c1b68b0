//! The provider's half, from what was asked and what was decided.

use crate::encoded::Encoded;
use crate::entry::{Entry, Flags, Outcome, ProviderHalf};
use crate::exchange::provider::{Body, Permitted, Provider, Refused};
use crate::exchange::{Draft, NO_SALT, Question};
use crate::id::ExchangeId;
use crate::opening::{Opening, commitment};

impl Provider {
    pub(super) fn permit_half(
        &self,
        exchange: ExchangeId,
        question: &Question,
        permitted: &Permitted,
    ) -> Draft {
        let permit = &permitted.permit;
        let (bytes, digest, streamed) = match permitted.body {
            Body::Whole { bytes, digest } => (bytes, Some(digest), Flags::NONE),
            Body::Stream => (0, None, Flags::STREAMED),
        };
        let glass = match (permit.breaks_glass(), permitted.same_episode) {
            (false, _) => Flags::NONE,
            (true, false) => Flags::BREAK_GLASS,
            (true, true) => Flags::BREAK_GLASS.with(Flags::SAME_EPISODE),
        };
        let claimed = if permit.self_claimed() { Flags::SELF_CLAIMED } else { Flags::NONE };
        let opened = permitted.opening.value().people.len();
        let people = u64::try_from(opened).unwrap_or(u64::MAX);
        // Minimisation may have withheld more than the policy did. The requester gets this half with
        // its receipt, so it must not tell what the answer itself leaves out without a trace.
        let withheld = permit.people().saturating_sub(people);
        let withheld = permit.people_withheld().saturating_add(withheld);
        let withheld = if permit.shows_reasons() { withheld } else { 0 };
        Draft(Entry::ProviderHalf(Box::new(ProviderHalf {
            agreement: Some(permit.agreement().clone()),
            people,
            people_withheld: withheld,
            records: permitted.records,
            bytes,
            digest,
            flags: streamed.with(glass).with(claimed),
            read_set: permit.read_set().to_vec(),
            opt_out: permit.opt_out().cloned(),
            ..self.bare_half(exchange, question, &permitted.opening, Outcome::Permit)
        })))
    }

    /// The same half, marked late.
    pub(super) fn late_half(half: &Draft) -> Option<Draft> {
        let Entry::ProviderHalf(half) = half.entry() else { return None };
        let flags = half.flags.with(Flags::LATE);
        Some(Draft(Entry::ProviderHalf(Box::new(ProviderHalf { flags, ..(**half).clone() }))))
    }

    /// A refusal's half holds no number of people: one more or less would tell who is known.
    pub(super) fn refusal_half(
        &self,
        exchange: ExchangeId,
        question: &Question,
        refused: &Refused,
    ) -> Draft {
        let outcome = Outcome::Refuse(refused.refusal.on_ledger());
        Draft(Entry::ProviderHalf(Box::new(ProviderHalf {
            agreement: refused.agreement.clone(),
            ..self.bare_half(exchange, question, &refused.opening, outcome)
        })))
    }

    fn bare_half(
        &self,
        exchange: ExchangeId,
        question: &Question,
        opening: &Encoded<Opening>,
        outcome: Outcome,
    ) -> ProviderHalf {
        ProviderHalf {
            salt: NO_SALT,
            exchange,
            counter: 0,
            provider: self.member.clone(),
            requester: question.requester.clone(),
            operator: self.operator.clone(),
            agreement: None,
            purpose: question.purpose.clone(),
            source: question.source.clone(),
            action: question.action,
            outcome,
            user_known: question.user_known,
            people: 0,
            people_withheld: 0,
            records: 0,
            bytes: 0,
            digest: None,
            tags_root: opening.value().tags_root(&self.mesh_id),
            commitment: commitment(&self.mesh_id, opening.bytes()),
            flags: Flags::NONE,
            read_set: Vec::new(),
            resumes: question.resumes,
            rectifies: None,
            opt_out: None,
        }
    }
}
