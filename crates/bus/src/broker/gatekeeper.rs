//! Logs users in and checks what they publish and subscribe against [`super::Access`]. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use media::NodeId;
use messages::Prefix;
use zeroize::Zeroizing;

use super::{Streamer, User};

struct Entry {
    password: Zeroizing<Vec<u8>>,
    /// Full filters, with the prefix.
    publishes: Vec<String>,
    /// The same of what it may read; `None` for everything.
    reads: Option<Vec<String>>,
}

/// What changes while the broker runs.
#[derive(Default)]
struct Changing {
    streamers: HashMap<String, Entry>,
    /// Users that may not log in, whatever their password.
    revoked: BTreeSet<String>,
}

/// The embedded broker's users.
pub(super) struct Gatekeeper {
    prefix: Prefix,
    users: HashMap<String, Entry>,
    changing: RwLock<Changing>,
}

fn password(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

impl Gatekeeper {
    pub(super) fn new(users: &[User], prefix: &Prefix) -> Self {
        let entry = |user: &User| Entry {
            password: password(&user.password),
            publishes: user.access.publishes(&user.name).iter().map(|filter| prefix.filter(filter)).collect(),
            reads: None,
        };
        Self {
            prefix: prefix.clone(),
            users: users.iter().map(|user| (user.name.clone(), entry(user))).collect(),
            changing: RwLock::default(),
        }
    }

    fn changing(&self) -> RwLockReadGuard<'_, Changing> {
        self.changing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets these streamers in, and no others. A user of the same name stays what it is.
    pub(super) fn set_streamers(&self, streamers: &[Streamer]) {
        let full = |filters: Vec<String>| filters.iter().map(|filter| self.prefix.filter(filter)).collect();
        let entry = |streamer: &Streamer| Entry {
            password: password(&streamer.password),
            publishes: full(streamer.publishes()),
            reads: Some(full(streamer.reads())),
        };
        let streamers = streamers.iter().filter(|streamer| !streamer.password.is_empty());
        let streamers = streamers.map(|streamer| (streamer.name.clone(), entry(streamer))).collect();
        self.changing.write().unwrap_or_else(PoisonError::into_inner).streamers = streamers;
    }

    /// Lets none of these nodes in.
    pub(super) fn set_revoked(&self, revoked: &BTreeSet<NodeId>) {
        let revoked = revoked.iter().map(ToString::to_string).collect();
        self.changing.write().unwrap_or_else(PoisonError::into_inner).revoked = revoked;
    }

    /// What `look` says of a user; `None` for one that is not known.
    fn of<T>(&self, name: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        match self.users.get(name) {
            Some(entry) => Some(look(entry)),
            None => self.changing().streamers.get(name).map(look),
        }
    }

    /// Whether a user may not be connected: it is revoked, or not known any more.
    pub(super) fn is_shut_out(&self, name: &str) -> bool {
        let changing = self.changing();
        let is_known = self.users.contains_key(name) || changing.streamers.contains_key(name);
        changing.revoked.contains(name) || !is_known
    }

    /// Whether name and password are those of a user who may log in; passwords are compared in constant time.
    pub(super) fn knows(&self, name: &str, password: &[u8]) -> bool {
        let is_right = |entry: &Entry| verify_slices_are_equal(&entry.password, password).is_ok();
        self.of(name, is_right) == Some(true) && !self.is_shut_out(name)
    }

    pub(super) fn may_publish(&self, name: &str, topic: &str) -> bool {
        let is_one = |filter: &String| mqtt5_protocol::topic_matches_filter(topic, filter);
        self.of(name, |entry| entry.publishes.iter().any(is_one)) == Some(true)
    }

    /// Whether a user may subscribe to a filter. One that may read everything may use any; one that may not, only those that it was
    /// given, or a topic among them.
    pub(super) fn may_read(&self, name: &str, filter: &str) -> bool {
        let is_topic = !filter.contains(['+', '#']);
        let is_within =
            |allowed: &String| allowed == filter || (is_topic && mqtt5_protocol::topic_matches_filter(filter, allowed));
        self.of(name, |entry| entry.reads.as_ref().is_none_or(|reads| reads.iter().any(is_within))) == Some(true)
    }

    /// Only topics under the prefix can be published, so a wide filter shows no more than a narrow one. Shared subscriptions (`$share`)
    /// would take messages away from a node, and there is no `$SYS` tree.
    pub(super) fn may_subscribe(filter: &str) -> bool {
        !filter.starts_with('$')
    }
}
