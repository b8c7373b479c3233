//! The policy in force: the newest one received, until no control node repeats it any more. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{Now, UnixMillis};
use messages::Policy;

/// How often a control node sends the policy.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How long a policy is in force after it was last received: five intervals. After that the control node is gone and its policy may be
/// out of date; a drained node still reports its own state.
pub const EXPIRY: Duration = Duration::from_secs(10);

/// The policy without any other: all nodes alike.
static NONE: Policy = Policy { version: 0, at: UnixMillis(0), weights: BTreeMap::new(), drained: Vec::new() };

/// The newest policy, and when it was last received.
#[derive(Debug, Clone, Default)]
pub struct PolicyInForce {
    policy: Policy,
    heard_at: Option<Duration>,
}

impl PolicyInForce {
    /// Takes a policy, and returns whether it is in force now. A lower version is an old copy, unless the policy in force has expired: a
    /// control node that was set up again counts from the beginning.
    pub fn heard(&mut self, policy: Policy, now: Now) -> bool {
        if self.is_in_force(now) && policy.version < self.policy.version {
            return false;
        }
        (self.policy, self.heard_at) = (policy, Some(now.elapsed));
        true
    }

    /// The policy in force at `now`; the default one when there is none.
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
        let mut standing = PolicyInForce::default();
        assert!(standing.heard(policy(5), at(0)));
        assert!(!standing.heard(policy(4), at(1_000)));
        assert!(standing.heard(policy(5), at(2_000)), "it is said again and again");
        assert_eq!(standing.policy(at(2_000)).version, 5);
    }

    #[test]
    fn policy_that_nobody_says_any_more_expires() {
        let mut standing = PolicyInForce::default();
        standing.heard(policy(5), at(0));
        assert_eq!(standing.policy(at(10_000)).version, 5);
        assert_eq!(standing.policy(at(10_001)), &Policy::default());
        assert!(standing.heard(policy(1), at(11_000)), "a control node that counts anew");
    }
}
