//! Tokens that came before. Spine has a new token for each request, so one that comes again was copied,
//! or is used for what its user did not do.
//!
//! What is remembered is a hash of what was signed, not of the signature: whoever has an ECDSA signature
//! can make another one of it. It is forgotten at the token's end, and at the agent's: a token that
//! came before a restart is as new as any within its five minutes.

use std::collections::HashMap;

use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::{Hash, sha256};

/// Tokens at a time at most: 800 requests in each second of their five minutes, and 20 MB.
const TOKENS_MAX: usize = 262_144;
/// How often what has expired is looked for, in seconds.
const SWEEP_EVERY_S: u64 = 30;

/// The tokens that still hold, and when they end.
#[derive(Default)]
pub(super) struct Used {
    until_s: HashMap<Hash, u64>,
    swept_at_s: u64,
}

impl Used {
    /// Takes note of a token.
    ///
    /// # Errors
    /// `token-used-before`, or `tokens-too-many`: what can't be told apart is refused.
    pub(super) fn take(
        &mut self,
        signed: &str,
        until_s: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let now_s = now.0 / 1000;
        let full = self.until_s.len() >= TOKENS_MAX;
        if now_s.abs_diff(self.swept_at_s) >= SWEEP_EVERY_S || (full && now_s != self.swept_at_s) {
            self.until_s.retain(|_, until_s| *until_s > now_s);
            self.swept_at_s = now_s;
        }
        let token = sha256(&[signed.as_bytes()]);
        if self.until_s.contains_key(&token) {
            return Err(Refusal::TokenUsedBefore);
        }
        if self.until_s.len() >= TOKENS_MAX {
            return Err(Refusal::TokensTooMany);
        }
        self.until_s.insert(token, until_s);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now_s: u64) -> Timestamp {
        Timestamp(now_s * 1000)
    }

    #[test]
    fn a_token_is_used_once_until_its_end() {
        let mut used = Used::default();
        assert_eq!(used.take("a.b", 400, at(100)), Ok(()));
        assert_eq!(used.take("a.c", 400, at(100)), Ok(()));
        assert_eq!(used.take("a.b", 400, at(399)), Err(Refusal::TokenUsedBefore));
        assert_eq!(used.until_s.len(), 2);
        assert_eq!(used.take("a.d", 800, at(500)), Ok(()));
        assert_eq!(used.until_s.len(), 1);
    }

    #[test]
    fn what_can_not_be_remembered_is_refused() {
        let mut used = Used::default();
        let several = (0..TOKENS_MAX).map(|place| sha256(&[&place.to_le_bytes()]));
        used.until_s = several.map(|token| (token, 400)).collect();
        used.swept_at_s = 100;
        assert_eq!(used.take("a.b", 400, at(100)), Err(Refusal::TokensTooMany));
        assert_eq!(used.take("a.b", 400, at(101)), Err(Refusal::TokensTooMany));
        assert_eq!(used.take("a.b", 900, at(400)), Ok(()));
    }
}
