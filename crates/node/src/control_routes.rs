//! Which requests of the API control answers: balancers send these there, and broadcast nodes refuse them. Nodes answer what they know from
//! their replica; control answers what only it knows, changes, and whoever shows a credential. Pure.

use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, Method, Uri};

/// Resources below `/api/v1/` that any node answers.
const ANSWERED_BY_NODES: [&str; 4] = ["streams", "trust", "grants", "openapi.json"];
/// The cookie of somebody who is signed in, with its `=` (`access::session::COOKIE`).
const SESSION: &str = "__Host-sealcast=";

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// Any node, to anybody.
    Node,
    /// Control alone.
    Control,
    /// Control, and a node while control is away: somebody who is signed in reads what nodes know, too.
    ControlElseNode,
}

/// Who answers a request. Whoever has a credential, and wants what everybody gets, says `view=public`.
pub fn answerer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Answerer {
    let Some(rest) = uri.path().strip_prefix("/api/v1/") else {
        return if *method == Method::POST && is_chat(uri.path()) { Answerer::Control } else { Answerer::Node };
    };
    let resource = rest.split('/').next().unwrap_or_default();
    if !ANSWERED_BY_NODES.contains(&resource) {
        return Answerer::Control;
    }
    let is_public = uri.query().unwrap_or_default().split('&').any(|pair| pair == "view=public");
    match *method {
        Method::GET | Method::HEAD if resource != "streams" || is_public => Answerer::Node,
        Method::GET | Method::HEAD if headers.contains_key("x-api-key") || headers.contains_key(AUTHORIZATION) => {
            Answerer::Control
        }
        Method::GET | Method::HEAD if session_of(headers).is_some() => Answerer::ControlElseNode,
        Method::GET | Method::HEAD => Answerer::Node,
        // A browser asks before it sends a change, or a credential.
        Method::OPTIONS if !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) => Answerer::Node,
        _ => Answerer::Control,
    }
}

/// What shows who is signed in, not yet checked.
pub fn session_of(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).find_map(|pair| pair.trim().strip_prefix(SESSION))
}

/// Whether a path is where viewers of a stream write, with a viewer's token before it or without.
fn is_chat(path: &str) -> bool {
    let mut parts = path.split('/').skip(1).peekable();
    if parts.next_if_eq(&"t").is_some() {
        parts.next();
    }
    parts.next() == Some("live") && parts.next().is_some() && parts.next() == Some("chat") && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn control_gets_changes_credentials_and_what_only_it_knows() {
        use Answerer::{Control, ControlElseNode, Node};
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
        };
        let (none, key) = (HeaderMap::new(), headers("x-api-key", "sc_x"));
        let preflight = headers("access-control-request-method", "POST");
        let cookie = headers("cookie", "sealcast_node=x; __Host-sealcast=scs_x");
        let other = headers("cookie", "sealcast_node=x; x__Host-sealcast=scs_x; __Host-sealcast-auth=y");
        for (method, path, headers, wanted) in [
            (Method::GET, "/api/v1/streams", &none, Node),
            (Method::GET, "/api/v1/streams/hall", &none, Node),
            (Method::GET, "/api/v1/streams", &key, Control),
            (Method::GET, "/api/v1/streams?view=public", &key, Node),
            (Method::GET, "/api/v1/streams?limit=5", &cookie, ControlElseNode),
            (Method::GET, "/api/v1/streams/hall", &cookie, ControlElseNode),
            (Method::GET, "/api/v1/streams?limit=5&view=public", &cookie, Node),
            (Method::GET, "/api/v1/streams", &other, Node),
            (Method::GET, "/api/v1/grants", &cookie, Node),
            (Method::GET, "/api/v1/session", &cookie, Control),
            (Method::DELETE, "/api/v1/streams/hall", &cookie, Control),
            (Method::GET, "/api/v1/grants", &key, Node),
            (Method::GET, "/api/v1/openapi.json", &none, Node),
            (Method::POST, "/api/v1/streams", &none, Control),
            (Method::POST, "/api/v1/streams?view=public", &none, Control),
            (Method::PATCH, "/api/v1/streams/hall", &key, Control),
            (Method::GET, "/api/v1/tenants", &none, Control),
            (Method::GET, "/api/v1/problems/quota", &none, Control),
            (Method::OPTIONS, "/api/v1/streams", &none, Node),
            (Method::OPTIONS, "/api/v1/streams", &preflight, Control),
            (Method::POST, "/live/hall/index.m3u8", &cookie, Node),
            (Method::POST, "/live/hall/chat", &none, Control),
            (Method::POST, "/t/scv_x/live/hall/chat", &none, Control),
            (Method::GET, "/live/hall/chat", &none, Node),
            (Method::POST, "/live/hall/chat/x", &none, Node),
            (Method::POST, "/live/chat", &none, Node),
            (Method::POST, "/t/live/hall/chat", &none, Node),
            (Method::GET, "/api/v12/tenants", &none, Node),
        ] {
            assert_eq!(answerer(&method, &path.parse().unwrap(), headers), wanted, "{method} {path}");
        }
    }
}
