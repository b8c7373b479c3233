//! Requests by which people get a credential, and where the page stands that a request comes from. Pure, except for taking the request.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;
use node::http::Peer;
use node::problem::Type;

use super::problem::Problem;

/// Header that a page repeats the session's secret in. Another site can make a browser send the cookie, and not this.
pub(super) const CSRF: &str = "x-sealcast-csrf";

/// A request without a credential, on a route that gives one.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) request_id: String,
    /// What the audit calls it.
    pub(crate) action: String,
    pub(crate) address: Option<IpAddr>,
    /// `https://HOST` as the client spells it.
    pub(crate) base_url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Visitor {
    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What requests of one network are counted by.
    pub(crate) fn network(&self) -> String {
        self.address.map_or_else(String::new, |address| acceptor::network(address).to_string())
    }
}

/// The visitor, for handlers.
#[derive(Debug, Clone)]
pub(crate) struct Visit(pub(crate) Arc<Visitor>);

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unguarded = || Problem::new(Type::Internal, "this route is no entrance");
        parts.extensions.get::<Self>().cloned().ok_or_else(unguarded)
    }
}

impl std::ops::Deref for Visit {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.0
    }
}

/// The origin that a page of this server has, as the client spells the host. Clients come by TLS only.
pub(crate) fn own_origin(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST)?.to_str().ok()?,
    };
    let host = host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
    let is_plain =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
    is_plain.then(|| format!("https://{host}"))
}

/// What URLs for the client begin with: its own origin behind a load balancer, else nothing, because nobody visits control itself.
pub(crate) fn base_url(uri: &Uri, headers: &HeaderMap, peer: Option<&Peer>) -> String {
    let is_visited = peer.is_some_and(Peer::is_balancer);
    own_origin(uri, headers).filter(|_| is_visited).unwrap_or_default()
}

/// Refuses a change by cookie that no own page has made.
pub(crate) fn ensure_own_page(uri: &Uri, headers: &HeaderMap, csrf: &str) -> Result<(), Problem> {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_own = origin.is_some() && origin.map(str::to_owned) == own_origin(uri, headers);
    let given = headers.get(CSRF).map_or(&[][..], |given| given.as_bytes());
    let has_secret = constant_time::verify_slices_are_equal(given, csrf.as_bytes()).is_ok();
    if is_own && has_secret {
        return Ok(());
    }
    let detail =
        "a change by cookie needs the origin of this server, and x-sealcast-csrf with the value of GET /api/v1/session";
    Err(Problem::new(Type::Csrf, detail))
}

/// Refuses a page of another site, which could sign a visitor in as somebody else. Programs name no origin.
pub(crate) fn ensure_no_foreign_page(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if origin.to_str().ok().map(str::to_owned) == own_origin(uri, headers) {
        return Ok(());
    }
    Err(Problem::new(Type::Csrf, "pages of other sites sign nobody in here"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn own_origin_is_the_host_that_the_client_names() {
        for (uri, host, expected) in [
            ("/api/v1/session", "Live.example:8443", Some("https://live.example:8443")),
            ("/api/v1/session", "live.example:443", Some("https://live.example")),
            ("https://live.example/api/v1/session", "other.example", Some("https://live.example")),
            ("/api/v1/session", "[::1]:8443", Some("https://[::1]:8443")),
            ("/api/v1/session", "a b", None),
            ("/api/v1/session", "", None),
        ] {
            let own = own_origin(&uri.parse().unwrap(), &headers(&[("host", host)]));
            assert_eq!(own.as_deref(), expected, "{uri} {host}");
        }
    }

    #[test]
    fn change_by_cookie_needs_the_own_origin_and_the_secret() {
        let (uri, host, own) = ("/x".parse().unwrap(), ("host", "live.example"), ("origin", "https://live.example"));
        let is_taken = |pairs: &[_]| ensure_own_page(&uri, &headers(pairs), "secret").is_ok();
        assert!(is_taken(&[host, own, (CSRF, "secret")]));
        for refused in [
            &[host, own][..],
            &[host, own, (CSRF, "Secret")],
            &[host, own, (CSRF, "")],
            &[host, (CSRF, "secret")],
            &[host, ("origin", "https://live.example.evil"), (CSRF, "secret")],
            &[host, ("origin", "http://live.example"), (CSRF, "secret")],
            &[host, ("origin", "https://live.example:8443"), (CSRF, "secret")],
            &[host, ("origin", "null"), (CSRF, "secret")],
            &[own, (CSRF, "secret")],
        ] {
            assert!(!is_taken(refused), "{refused:?}");
        }
        assert!(ensure_no_foreign_page(&uri, &headers(&[host])).is_ok());
        assert!(ensure_no_foreign_page(&uri, &headers(&[host, own])).is_ok());
        assert!(ensure_no_foreign_page(&uri, &headers(&[host, ("origin", "https://evil.example")])).is_err());
        assert!(ensure_no_foreign_page(&uri, &headers(&[("origin", "https://evil.example")])).is_err());
    }
}
