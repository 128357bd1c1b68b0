//! How many requests each user has in flight: one user's flood leaves room for the others.
//!
//! Invariant: users are counted, never told: who they are stands in no log, metric or error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tally_core::entry::UserKnown;
use tally_core::refusal::Refusal;

use super::request::Unfit;

/// Counts them. Cheap to clone.
#[derive(Clone)]
pub struct Users(Arc<Counts>);

struct Counts {
    each_max: AtomicUsize,
    /// As many as there are requests in flight at most.
    of: Mutex<BTreeMap<String, usize>>,
}

/// A request of a user, in flight for as long as this lives.
pub(super) struct UserPlace {
    users: Users,
    user: String,
}

impl Users {
    /// Each may have so many.
    #[must_use]
    pub fn new(each_max: usize) -> Self {
        Self(Arc::new(Counts { each_max: AtomicUsize::new(each_max), of: Mutex::default() }))
    }

    /// Another number, from the next request on.
    pub fn set_max(&self, each_max: usize) {
        self.0.each_max.store(each_max, Ordering::Relaxed);
    }

    /// A place for one more request; none is needed where an application asks for itself.
    ///
    /// # Errors
    /// `user-quota-exceeded`.
    pub(super) fn enter(
        &self,
        known: UserKnown,
        user: Option<&str>,
    ) -> Result<Option<UserPlace>, Unfit> {
        let Some(user) = user.filter(|_| known != UserKnown::Service) else { return Ok(None) };
        let mut of = self.0.of.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of.get(user).copied().unwrap_or_default();
        if count >= self.0.each_max.load(Ordering::Relaxed) {
            return Err(Unfit::new(Refusal::UserQuotaExceeded, ""));
        }
        of.insert(user.to_owned(), count + 1);
        Ok(Some(UserPlace { users: self.clone(), user: user.to_owned() }))
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut of = self.users.0.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                of.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_has_its_share_leaves_the_rest_to_others() {
        let users = Users::new(2);
        let enter = |known, user| users.enter(known, user).map_err(|unfit| unfit.refusal);
        let wren = || enter(UserKnown::Asserted, Some("staff|wren"));
        let (first, second) = (wren().unwrap(), wren().unwrap());
        assert_eq!(wren().err(), Some(Refusal::UserQuotaExceeded));
        assert!(enter(UserKnown::Verified, Some("staff|lark")).unwrap().is_some());
        // Who asks for itself is no user.
        assert!(enter(UserKnown::Service, Some("service|pas")).unwrap().is_none());
        assert!(enter(UserKnown::Service, None).unwrap().is_none());
        drop(first);
        let third = wren().unwrap();
        users.set_max(3);
        assert!(wren().is_ok());
        drop((second, third));
        assert!(users.0.of.lock().unwrap().is_empty());
    }
}
