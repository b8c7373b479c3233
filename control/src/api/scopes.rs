//! What credentials may do: scopes, the roles that stand for several, and the one place that says which scope a route needs. Pure.

use std::fmt;

use axum::http::Method;

/// Names of all scopes. Their order is that of the bits of [`Scopes`], and lives no longer than the process.
const NAMES: [&str; 31] = [
    "tenant:read",
    "tenant:write",
    "members:read",
    "members:write",
    "api-keys:read",
    "api-keys:write",
    "streams:read",
    "streams:write",
    "streams:keys",
    "tokens:read",
    "tokens:write",
    "issuers:read",
    "issuers:write",
    "webhooks:read",
    "webhooks:write",
    "audit:read",
    "audit:write",
    "chat:read",
    "chat:write",
    "usage:read",
    "usage:write",
    "recordings:read",
    "recordings:write",
    "telemetry:read",
    "telemetry:write",
    "rules:read",
    "rules:write",
    "tenants:read",
    "tenants:write",
    "cluster:read",
    "cluster:write",
];
/// Scopes that only operators have come after these.
const TENANTS_OWN: usize = 27;

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u32);

impl Scopes {
    pub(crate) const NONE: Self = Self(0);

    /// All scopes: an operator's.
    pub(crate) const fn operator() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// All scopes that concern one tenant.
    pub(crate) const fn owner() -> Self {
        Self((1 << TENANTS_OWN) - 1)
    }

    /// The scope of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|at| Self(1 << at))
    }

    /// The scopes that a role stands for.
    pub(crate) fn of_role(role: &str) -> Option<Self> {
        let some = |names: &[&str]| names.iter().filter_map(|name| Self::named(name)).fold(Self::NONE, Self::with);
        let viewer = some(&["streams:read", "recordings:read", "usage:read", "telemetry:read"]);
        match role {
            "viewer" => Some(viewer),
            "producer" => Some(viewer.with(some(&[
                "streams:write",
                "streams:keys",
                "tokens:read",
                "tokens:write",
                "chat:read",
                "chat:write",
                "recordings:write",
            ]))),
            "owner" => Some(Self::owner()),
            "operator" => Some(Self::operator()),
            _ => None,
        }
    }

    /// Reads names that are separated by spaces. What another version has written and this one does not know allows nothing.
    pub(crate) fn read(text: &str) -> Self {
        text.split_whitespace().filter_map(Self::named).fold(Self::NONE, Self::with)
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it has a scope that only operators have.
    pub(crate) const fn has_operators(self) -> bool {
        self.0 >> TENANTS_OWN != 0
    }

    /// Whether it may act for any tenant, in what reads or in what changes something.
    pub(crate) fn acts_for_all(self, is_change: bool) -> bool {
        let needed = if is_change { "tenants:write" } else { "tenants:read" };
        Self::named(needed).is_some_and(|needed| self.contains(needed))
    }

    pub(crate) fn names(self) -> Vec<&'static str> {
        NAMES.iter().enumerate().filter(|(at, _)| self.0 & (1 << at) != 0).map(|(_, name)| *name).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing: everybody may read it.
    Open,
    /// No credential: the route is how somebody gets one. It is limited and recorded all the same.
    Entrance,
    /// A valid credential, whatever it may do.
    Authenticated,
    /// A credential with this scope.
    Scope(Scopes),
}

/// The rule of a route. A route without one is refused to everybody, and a test says so.
pub(crate) fn rule(method: &Method, path: &str) -> Option<Rule> {
    let rest = path.strip_prefix("/api/v1/")?;
    let resource = rest.split('/').next()?;
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let name = match resource {
        "problems" | "openapi.json" if is_read => return Some(Rule::Open),
        "session" if *method == Method::POST => return Some(Rule::Entrance),
        "session" => return Some(Rule::Authenticated),
        "setup" | "auth" => return Some(Rule::Entrance),
        "streams" if matches!(rest.split('/').nth(2), Some("messages" | "bans")) => {
            format!("chat:{}", if is_read { "read" } else { "write" })
        }
        // Each event is shown to whoever may read what it is about.
        "events" if is_read => return Some(Rule::Authenticated),
        "streams" if rest.ends_with("/rotate-key") => "streams:keys".to_owned(),
        "streams" if rest.ends_with("/watch") => "streams:read".to_owned(),
        "audit" if rest.ends_with("/check") => "cluster:read".to_owned(),
        "nodes" | "policy" => format!("cluster:{}", if is_read { "read" } else { "write" }),
        "signing-keys" | "viewer-tokens" => format!("tokens:{}", if is_read { "read" } else { "write" }),
        _ => format!("{resource}:{}", if is_read { "read" } else { "write" }),
    };
    Scopes::named(&name).map(Rule::Scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_what_the_one_below_has() {
        let role = |name| Scopes::of_role(name).unwrap();
        for (below, above) in [("viewer", "producer"), ("producer", "owner"), ("owner", "operator")] {
            assert!(role(above).contains(role(below)) && !role(below).contains(role(above)), "{below}, {above}");
        }
        assert!(!role("owner").has_operators() && role("operator").has_operators());
        assert_eq!(Scopes::of_role("root"), None);
        assert_eq!(Scopes::read(&role("owner").to_string()), role("owner"));
        assert_eq!(role("viewer").names(), ["streams:read", "usage:read", "recordings:read", "telemetry:read"]);
        assert_eq!(Scopes::read("streams:read streams:fly"), Scopes::named("streams:read").unwrap());
    }

    #[test]
    fn route_needs_the_scope_of_its_resource_and_one_without_a_rule_is_nobodys() {
        let scope = |name| Some(Rule::Scope(Scopes::named(name).unwrap()));
        for (method, path, wanted) in [
            (Method::GET, "/api/v1/streams", scope("streams:read")),
            (Method::PATCH, "/api/v1/streams/{stream}", scope("streams:write")),
            (Method::POST, "/api/v1/streams/{stream}/rotate-key", scope("streams:keys")),
            (Method::GET, "/api/v1/streams/{stream}/messages", scope("chat:read")),
            (Method::DELETE, "/api/v1/streams/{stream}/bans/{ban}", scope("chat:write")),
            (Method::POST, "/api/v1/streams/{stream}/watch", scope("streams:read")),
            (Method::POST, "/api/v1/api-keys/{key}/rotate", scope("api-keys:write")),
            (Method::GET, "/api/v1/signing-keys", scope("tokens:read")),
            (Method::POST, "/api/v1/viewer-tokens/revoke", scope("tokens:write")),
            (Method::POST, "/api/v1/issuers/{issuer}/test", scope("issuers:write")),
            (Method::GET, "/api/v1/audit", scope("audit:read")),
            (Method::GET, "/api/v1/audit/check", scope("cluster:read")),
            (Method::GET, "/api/v1/nodes/{node}", scope("cluster:read")),
            (Method::POST, "/api/v1/nodes/{node}/drain", scope("cluster:write")),
            (Method::GET, "/api/v1/policy", scope("cluster:read")),
            (Method::DELETE, "/api/v1/tenants/{tenant}", scope("tenants:write")),
            (Method::GET, "/api/v1/session", Some(Rule::Authenticated)),
            (Method::POST, "/api/v1/session", Some(Rule::Entrance)),
            (Method::POST, "/api/v1/setup", Some(Rule::Entrance)),
            (Method::POST, "/api/v1/members/{member}/invite", scope("members:write")),
            (Method::GET, "/api/v1/events", Some(Rule::Authenticated)),
            (Method::POST, "/api/v1/webhooks/{webhook}/test", scope("webhooks:write")),
            (Method::GET, "/api/v1/problems/{type}", Some(Rule::Open)),
            (Method::POST, "/api/v1/problems/{type}", None),
            (Method::GET, "/api/v1/unheard-of", None),
            (Method::GET, "/cluster/v1/streams", None),
        ] {
            assert_eq!(rule(&method, path), wanted, "{method} {path}");
        }
    }
}
