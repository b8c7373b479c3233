//! Refusals of the API on all planes (RFC 9457): their types, statuses and form. `/api/v1/problems/{type}` says of each what it means.
//! Pure.

use serde_json::{Value, json};

/// Content type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// What the types begin with; each resolves.
pub const TYPE_PREFIX: &str = "/api/v1/problems/";

macro_rules! types {
    ($($variant:ident $name:literal $status:literal $meaning:literal;)*) => {
        /// Types of problems. Names and statuses are part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Type {
            $(#[doc = $meaning] $variant,)*
        }

        impl Type {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name: the last part of its URL.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of answers of this type.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, and what a client can do.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

types! {
    Malformed "malformed" 400 "The request cannot be read: it is no JSON, or a header or parameter has no valid form.";
    UnknownParameter "unknown-parameter" 400 "The request has a parameter that this route does not have, or has it twice.";
    CursorInvalid "cursor-invalid" 400 "The cursor is none of this list. Begin without one.";
    Unauthenticated "unauthenticated" 401 "The request needs a valid credential, such as an API key in x-api-key.";
    Expired "expired" 401 "The time of the credential is over. Make or rotate a key.";
    WrongKind "wrong-kind" 401 "The secret is of a kind that this door does not take.";
    ScopeMissing "scope-missing" 403 "The credential may not do this.";
    Csrf "csrf" 403 "A change by cookie needs its x-sealcast-csrf.";
    OriginRefused "origin-refused" 403 "The page may not use this.";
    Banned "banned" 403 "A moderator has banned the writer from this chat for a time.";
    Quota "quota" 403 "The tenant has used up what its quota allows. Delete something, or ask the operator.";
    TokenInvalid "token-invalid" 403 "The viewer token is not valid here.";
    TokenExpired "token-expired" 403 "The time of the viewer token is over.";
    TokenRevoked "token-revoked" 403 "The viewer token was revoked.";
    TokenElsewhere "token-elsewhere" 403 "The viewer token is for something else.";
    NotFound "not-found" 404 "There is no such thing, or it is another tenant's.";
    MethodNotAllowed "method-not-allowed" 405 "The route does not have this method.";
    NameTaken "name-taken" 409 "Something has this name already. Use another.";
    State "state" 409 "The thing is in a state in which this is not possible.";
    FromFile "from-file" 409 "The configuration file says this. Change it there.";
    Confirm "confirm" 409 "This deletes more than one thing. Repeat it with the parameter confirm.";
    Running "running" 409 "A request with this idempotency key is being answered. Ask again in a moment.";
    LastOwner "last-owner" 409 "The tenant would have no owner.";
    Gone "gone" 410 "It was there, and is gone for good.";
    VersionMismatch "version-mismatch" 412 "It has changed since you read it. Read it again.";
    TooLarge "too-large" 413 "The body is longer than any that this route reads.";
    WrongNode "wrong-node" 421 "Only control answers this. Ask the load balancer, or control.";
    Invalid "invalid" 422 "The request can be read, and says something that is not possible. `errors` says where.";
    KeyReused "key-reused" 422 "This idempotency key was used with another request. Use a new one.";
    TargetRefused "target-refused" 422 "The server will not connect to this address.";
    IfMatchMissing "if-match-missing" 428 "Say with If-Match which version you replace.";
    RateLimited "rate-limited" 429 "Too many requests. Retry-After says when there is room.";
    Internal "internal" 500 "The server failed. Its log has the request id.";
    ControlAway "control-away" 503 "No control node can answer this now. Try again.";
    ReplicaBehind "replica-behind" 503 "The node does not know yet what you have changed. Try again.";
    NotSetUp "not-set-up" 503 "Nobody has set up this server yet.";
    StorageFull "storage-full" 507 "There is no room for more.";
}

impl Type {
    /// The type with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }

    /// What `type` says; it resolves.
    pub fn url(self) -> String {
        format!("{TYPE_PREFIX}{}", self.name())
    }

    /// A problem of this type.
    pub fn said(self, detail: &str, request_id: Option<&str>) -> Value {
        let mut problem = json!({
            "type": self.url(),
            "status": self.status(),
            "title": self.meaning(),
            "detail": detail,
        });
        if let Some(request_id) = request_id {
            problem["request_id"] = request_id.into();
        }
        problem
    }
}

/// Whether a text can be a request id of a client: short, and nothing that a log or a terminal would obey.
pub fn is_request_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_found_by_its_name_and_says_its_own_status() {
        for known in Type::ALL {
            assert_eq!(Type::named(known.name()), Some(*known));
            let said = known.said("why", Some("req_1"));
            assert_eq!(said["status"], known.status());
            assert_eq!(said["type"], format!("/api/v1/problems/{}", known.name()));
        }
        assert_eq!(Type::named("none"), None);
    }

    #[test]
    fn request_id_that_would_forge_a_line_of_the_log_is_none() {
        assert!(is_request_id("req_01-a.B"));
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert!(!is_request_id(bad), "{bad:?}");
        }
    }
}
