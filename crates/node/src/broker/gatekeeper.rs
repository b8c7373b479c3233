//! Logs users in and checks each publish against [`Access`].

use std::collections::HashMap;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use messages::Prefix;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use zeroize::Zeroizing;

use super::User;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

    fn knows(&self, name: Option<&str>, password: Option<&[u8]>) -> bool {
        let (Some(name), Some(password)) = (name, password) else { return false };
        self.users.get(name).is_some_and(|entry| verify_slices_are_equal(&entry.password, password).is_ok())
    }

    fn may_publish(&self, name: Option<&str>, topic: &str) -> bool {
        let entry = name.and_then(|name| self.users.get(name));
        entry.is_some_and(|entry| entry.publishes.iter().any(|filter| mqtt5::topic_matches_filter(topic, filter)))
    }
}

impl AuthProvider for Gatekeeper {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _client: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        let name = connect.username.as_deref();
        let result = match name {
            Some(name) if self.knows(Some(name), connect.password.as_deref()) => AuthResult::success_with_user(name),
            Some(_) => AuthResult::fail(ReasonCode::BadUsernameOrPassword),
            None => AuthResult::fail(ReasonCode::NotAuthorized),
        };
        Box::pin(ready(Ok(result)))
    }

    fn authorize_publish<'a>(&'a self, _client_id: &str, user: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        Box::pin(ready(self.may_publish(user, topic)))
    }

    /// Nothing but topics under the prefix can be published, so a wide filter shows no more than a narrow one. Shared
    /// subscriptions (`$share`) would take messages away from a node, and `$SYS` is not kept.
    fn authorize_subscribe<'a>(&'a self, _client_id: &str, user: Option<&'a str>, filter: &'a str) -> Answer<'a, bool> {
        Box::pin(ready(user.is_some() && !filter.starts_with('$')))
    }
}
