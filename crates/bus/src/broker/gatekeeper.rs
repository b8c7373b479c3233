//! Logs users in and checks what they publish and subscribe against [`super::Access`]. Pure.

use std::collections::HashMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use messages::Prefix;
use zeroize::Zeroizing;

use super::User;

struct Entry {
    password: Zeroizing<Vec<u8>>,
    /// Full filters, with the prefix.
    publishes: Vec<String>,
}

/// The embedded broker's users.
pub(super) struct Gatekeeper {
    users: HashMap<String, Entry>,
}

impl Gatekeeper {
    pub(super) fn new(users: &[User], prefix: &Prefix) -> Self {
        let entry = |user: &User| Entry {
            password: Zeroizing::new(user.password.clone().into_bytes()),
            publishes: user.access.publishes(&user.name).iter().map(|filter| prefix.filter(filter)).collect(),
        };
        Self { users: users.iter().map(|user| (user.name.clone(), entry(user))).collect() }
    }

    /// Whether name and password are those of a user; passwords are compared in constant time.
    pub(super) fn knows(&self, name: &str, password: &[u8]) -> bool {
        self.users.get(name).is_some_and(|entry| verify_slices_are_equal(&entry.password, password).is_ok())
    }

    pub(super) fn may_publish(&self, name: &str, topic: &str) -> bool {
        let entry = self.users.get(name);
        entry.is_some_and(|entry| {
            entry.publishes.iter().any(|filter| mqtt5_protocol::topic_matches_filter(topic, filter))
        })
    }

    /// Only topics under the prefix can be published, so a wide filter shows no more than a narrow one. Shared subscriptions (`$share`)
    /// would take messages away from a node, and there is no `$SYS` tree.
    pub(super) fn may_subscribe(filter: &str) -> bool {
        !filter.starts_with('$')
    }
}
