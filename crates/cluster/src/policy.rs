//! The policy in force: the newest that was heard, until nobody says it any more. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{Now, UnixMillis};
use messages::Policy;

/// How often the policy is said.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How long a policy is in force after it was last heard: five presences. Whoever says it is gone then, and what it says may be
/// of another day; a node that was drained still says so itself.
pub const EXPIRY: Duration = Duration::from_secs(10);

/// What holds without a policy: all nodes alike.
static NONE: Policy = Policy { version: 0, at: UnixMillis(0), weights: BTreeMap::new(), drained: Vec::new() };

/// What stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    policy: Policy,
    heard_at: Option<Duration>,
}

impl Standing {
    /// Takes in a policy. One with a lower version is an old copy, unless what stood has expired: a control node that was
    /// set up anew counts from the beginning. Returns whether it stands now.
    pub fn heard(&mut self, policy: Policy, now: Now) -> bool {
        if self.is_in_force(now) && policy.version < self.policy.version {
            return false;
        }
        (self.policy, self.heard_at) = (policy, Some(now.elapsed));
        true
    }

    /// The policy at `now`; the default one when none is in force.
    pub fn policy(&self, now: Now) -> &Policy {
        if self.is_in_force(now) { &self.policy } else { &NONE }
    }

    fn is_in_force(&self, now: Now) -> bool {
        self.heard_at.is_some_and(|at| now.elapsed.saturating_sub(at) <= EXPIRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::at;

    fn policy(version: u64) -> Policy {
        Policy { version, ..Policy::default() }
    }

    #[test]
    fn old_copy_does_not_replace_a_newer_policy() {
        let mut standing = Standing::default();
        assert!(standing.heard(policy(5), at(0)));
        assert!(!standing.heard(policy(4), at(1_000)));
        assert!(standing.heard(policy(5), at(2_000)), "it is said again and again");
        assert_eq!(standing.policy(at(2_000)).version, 5);
    }

    #[test]
    fn policy_that_nobody_says_any_more_expires() {
        let mut standing = Standing::default();
        standing.heard(policy(5), at(0));
        assert_eq!(standing.policy(at(10_000)).version, 5);
        assert_eq!(standing.policy(at(10_001)), &Policy::default());
        assert!(standing.heard(policy(1), at(11_000)), "a control node that counts anew");
    }
}
