//! Which requests of the API control answers: balancers send these there, and broadcast nodes refuse them. Nodes answer what they know from
//! their replica, to anybody; control answers what only it knows, changes, and whoever shows a credential. Pure.

use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION};
use axum::http::{HeaderMap, Method};

/// Resources below `/api/v1/` that any node answers.
const ANSWERED_BY_NODES: [&str; 4] = ["streams", "trust", "grants", "openapi.json"];

/// Whether control answers a request, and no node does.
pub fn is_for_control(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let Some(rest) = path.strip_prefix("/api/v1/") else { return false };
    let resource = rest.split('/').next().unwrap_or_default();
    if !ANSWERED_BY_NODES.contains(&resource) {
        return true;
    }
    match *method {
        Method::GET | Method::HEAD => {
            resource == "streams" && (headers.contains_key("x-api-key") || headers.contains_key(AUTHORIZATION))
        }
        // A browser asks before it sends a change, or a credential.
        Method::OPTIONS => headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn control_gets_changes_credentials_and_what_only_it_knows() {
        let (none, mut key, mut preflight) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
        key.insert("x-api-key", HeaderValue::from_static("sc_x"));
        preflight.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        for (method, path, headers, wanted) in [
            (Method::GET, "/api/v1/streams", &none, false),
            (Method::GET, "/api/v1/streams/hall", &none, false),
            (Method::GET, "/api/v1/streams", &key, true),
            (Method::GET, "/api/v1/grants", &key, false),
            (Method::GET, "/api/v1/openapi.json", &none, false),
            (Method::POST, "/api/v1/streams", &none, true),
            (Method::PATCH, "/api/v1/streams/hall", &key, true),
            (Method::GET, "/api/v1/tenants", &none, true),
            (Method::GET, "/api/v1/problems/quota", &none, true),
            (Method::OPTIONS, "/api/v1/streams", &none, false),
            (Method::OPTIONS, "/api/v1/streams", &preflight, true),
            (Method::POST, "/live/hall/index.m3u8", &key, false),
            (Method::GET, "/api/v12/tenants", &none, false),
        ] {
            assert_eq!(is_for_control(&method, path, headers), wanted, "{method} {path}");
        }
    }
}
