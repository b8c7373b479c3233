//! The policy in force: the newest one received, until no control node repeats it any more. Pure.

use std::time::Duration;

use media::{NodeId, Now};
use messages::Policy;

/// How often a control node sends the policy.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How long a policy is in force after it was last received: five intervals. After that the control node is gone and its policy may be
/// out of date; a drained node still reports its own state.
pub const EXPIRY: Duration = Duration::from_secs(10);

/// The newest policy, and when it was last received. Which nodes are drained comes from the metadata log as soon as that has said
/// anything; a message says it only before.
#[derive(Debug, Clone, Default)]
pub struct PolicyInForce {
    policy: Policy,
    /// The policy without any message.
    standing: Policy,
    is_logged: bool,
    heard_at: Option<Duration>,
}

impl PolicyInForce {
    /// Takes the drained nodes from the metadata log. No message drains a node from now on, or undrains one.
    pub fn drained(&mut self, drained: Vec<NodeId>) {
        self.is_logged = true;
        self.policy.drained.clone_from(&drained);
        self.standing.drained = drained;
    }

    /// Takes a policy, and returns whether it is in force now. A lower version is an old copy, unless the policy in force has expired: a
    /// control node that was set up again counts from the beginning.
    pub fn heard(&mut self, policy: Policy, now: Now) -> bool {
        if self.is_in_force(now) && policy.version < self.policy.version {
            return false;
        }
        (self.policy, self.heard_at) = (policy, Some(now.elapsed));
        if self.is_logged {
            self.policy.drained.clone_from(&self.standing.drained);
        }
        true
    }

    /// The policy in force at `now`; the default one when there is none.
    pub fn policy(&self, now: Now) -> &Policy {
        if self.is_in_force(now) { &self.policy } else { &self.standing }
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
    fn drained_nodes_of_the_log_are_undrained_by_no_message_and_no_silence() {
        let node = |name: &str| NodeId::new(name).unwrap();
        let drained = |standing: &PolicyInForce, ms| standing.policy(at(ms)).drained.clone();
        let forged = |version, name: &str| Policy { version, drained: vec![node(name)], ..Policy::default() };
        let mut standing = PolicyInForce::default();
        standing.heard(forged(1, "b1"), at(0));
        assert_eq!(drained(&standing, 0), [node("b1")], "before the log has said anything");
        standing.drained(vec![node("b2")]);
        assert_eq!(drained(&standing, 0), [node("b2")]);
        standing.heard(forged(2, "b3"), at(1_000));
        assert_eq!(drained(&standing, 1_000), [node("b2")]);
        assert_eq!(drained(&standing, 60_000), [node("b2")], "control is away");
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
