//! What viewers want of a node, in one form for all who want the same; and for whom an answer is. Pure.
//!
//! Cookies are no part of it: the bytes of a playlist depend on its path, on the delivery directives and on the encoding.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use playlist::reload::{Directives, Extent};

/// Longest path in bytes: the longest of ours has some 200.
const PATH_BYTES_MAX: usize = 256;
/// How long a blocking reload is kept: viewers who fall behind by more get the newest playlist instead.
const BLOCKING_KEPT_MAX: Duration = Duration::from_secs(1);
/// How long a playlist that does not block is kept, from the moment when the node was asked. A viewer begins with it, and begins that
/// much later.
const PLAIN_KEPT_MAX: Duration = Duration::from_millis(100);

/// Headers with which a request is about more than the playlist as it is.
const PERSONAL: [HeaderName; 11] = [
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::UPGRADE,
];

/// A playlist that viewers may share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// Path, and the delivery directives in one order.
    target: String,
    coding: Coding,
    is_blocking: bool,
}

/// The encoding in which the node is asked to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Coding {
    Identity,
    Gzip,
}

/// Whether a path may lead to a playlist that viewers share. What a viewer's token opens is for this viewer alone: the node decides on each
/// of its requests, because the right may end between two of them.
pub(crate) fn is_playlist(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
    path.starts_with("/live/")
        && path.ends_with(".m3u8")
        && path.len() <= PATH_BYTES_MAX
        // What is spelled in another way has no part in it: a path has one form only.
        && path.bytes().all(is_plain)
}

impl Question {
    /// `None` if the request is not for a playlist, or asks for more than others would.
    pub(crate) fn of(request: &RequestHeader) -> Option<Self> {
        let path = request.uri.path();
        if request.method != Method::GET || !is_playlist(path) {
            return None;
        }
        if PERSONAL.iter().any(|name| request.headers.contains_key(name)) {
            return None;
        }
        let mut target = path.to_owned();
        let is_blocking = match request.uri.query() {
            None => false,
            Some(query) => directives(query, &mut target)?,
        };
        Some(Self { target, coding: Coding::of(&request.headers)?, is_blocking })
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// What the node is told to accept.
    pub(super) const fn accept_encoding(&self) -> &'static str {
        match self.coding {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
        }
    }

    /// How long an answer may be kept that the node was asked for at `began`.
    pub(super) fn kept_until(&self, (began, now): (Duration, Duration), max_age: Duration) -> Duration {
        let own = if self.is_blocking { now + BLOCKING_KEPT_MAX } else { began + PLAIN_KEPT_MAX };
        own.min(began + max_age)
    }
}

/// Appends the delivery directives of a query in one order. Returns whether the request blocks; `None` when the query says anything else,
/// or nothing that makes sense.
fn directives(query: &str, target: &mut String) -> Option<bool> {
    let is_known = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        matches!(name, "_HLS_msn" | "_HLS_part" | "_HLS_skip")
    };
    if !query.split('&').all(is_known) {
        return None;
    }
    let Directives { msn, part, extent } = Directives::parse(query).ok()?;
    let mut separator = '?';
    let mut append = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = write!(target, "{separator}{name}={value}");
        separator = '&';
    };
    if let Some(msn) = msn {
        append("_HLS_msn", &msn.0);
    }
    if let Some(part) = part {
        append("_HLS_part", &part.0);
    }
    if extent == Extent::Delta {
        append("_HLS_skip", &"YES");
    }
    Some(msn.is_some())
}

impl Coding {
    /// `None` when the viewer weighs encodings, which is for the node to judge.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut coding = Self::Identity;
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            let value = value.to_str().ok().filter(|value| !value.contains([';', '*']))?;
            if value.split(',').any(|name| name.trim().eq_ignore_ascii_case("gzip")) {
                coding = Self::Gzip;
            }
        }
        Some(coding)
    }
}

/// For whom an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// For everybody, for as long as this since the node was asked.
    Everybody(Duration),
    /// For those who waited for it: a refusal.
    Waiting,
    /// For one viewer.
    One,
}

impl Audience {
    pub(super) fn of(head: &ResponseHeader) -> Self {
        let headers = &head.headers;
        let varies =
            headers.get_all(header::VARY).iter().any(|by| !by.as_bytes().eq_ignore_ascii_case(b"accept-encoding"));
        if headers.contains_key(header::SET_COOKIE) || varies {
            return Self::One;
        }
        match head.status {
            StatusCode::OK => max_age(headers).map_or(Self::One, Self::Everybody),
            status if status.is_client_error() || status.is_server_error() => Self::Waiting,
            _ => Self::One,
        }
    }
}

/// How long shared caches may keep an answer (RFC 9111, 5.2.2); `None` when they may not, or nothing says so.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let (mut is_public, mut age_s) = (false, None);
    for line in headers.get_all(header::CACHE_CONTROL) {
        for directive in line.to_str().ok()?.split(',') {
            let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
            match name.to_ascii_lowercase().as_str() {
                "public" => is_public = true,
                "max-age" => age_s = value.parse::<u32>().ok(),
                // No node says anything else of a playlist.
                "private" | "no-store" | "no-cache" | "s-maxage" | "must-revalidate" => return None,
                _ => {}
            }
        }
    }
    age_s.filter(|age_s| is_public && *age_s > 0).map(|age_s| Duration::from_secs(age_s.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, headers: &[(&'static str, &str)]) -> Option<Question> {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        Question::of(&request)
    }

    const PLAYLIST: &str = "/live/demo/v/index.m3u8";

    #[test]
    fn same_wish_in_another_order_is_the_same_question() {
        let one = asked(&format!("{PLAYLIST}?_HLS_msn=7&_HLS_part=1&_HLS_skip=YES"), &[("cookie", "a=b")]).unwrap();
        let other = asked(&format!("{PLAYLIST}?_HLS_skip=v2&_HLS_part=01&_HLS_msn=007"), &[]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.target(), format!("{PLAYLIST}?_HLS_msn=7&_HLS_part=1&_HLS_skip=YES"));
        assert_eq!(asked(&format!("{PLAYLIST}?_HLS_skip=no"), &[]), asked(PLAYLIST, &[]));
    }

    #[test]
    fn what_changes_the_bytes_makes_another_question() {
        let all = [
            asked(PLAYLIST, &[]),
            asked(PLAYLIST, &[("accept-encoding", "br, GZIP")]),
            asked("/live/demo/index.m3u8", &[]),
            asked(&format!("{PLAYLIST}?_HLS_skip=YES"), &[]),
            asked(&format!("{PLAYLIST}?_HLS_msn=7"), &[]),
            asked(&format!("{PLAYLIST}?_HLS_msn=7&_HLS_part=0"), &[]),
            asked(&format!("{PLAYLIST}?_HLS_msn=7&_HLS_part=1"), &[]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(one.is_some() && all.iter().skip(index + 1).all(|other| other != one), "{one:?}");
        }
        assert_eq!(asked(PLAYLIST, &[("accept-encoding", "deflate, br")]), asked(PLAYLIST, &[]));
    }

    #[test]
    fn whatever_asks_for_more_is_not_shared() {
        for target in [
            "/live/demo/v/1/7.m4s",
            "/live/demo/steering.json",
            "/live/demo/v/index.m3u8?token=x",
            "/live/demo/v/index.m3u8?",
            "/live/demo/v/index.m3u8?_HLS_part=1",
            "/live/demo/v/index.m3u8?_HLS_msn=1&_HLS_msn=1",
            "/live/demo/v/index.m3u8?_HLS_msn=x",
            "/live/d%65mo/v/index.m3u8",
            "/watch/demo/index.m3u8",
            "/t/scv_abc/live/demo/v/index.m3u8",
        ] {
            assert_eq!(asked(target, &[]), None, "{target}");
        }
        for header in [("range", "bytes=0-1"), ("if-none-match", "\"a\""), ("accept-encoding", "gzip;q=0.5")] {
            assert_eq!(asked(PLAYLIST, &[header]), None, "{header:?}");
        }
        let head = RequestHeader::build("HEAD", PLAYLIST.as_bytes(), None).unwrap();
        assert_eq!(Question::of(&head), None);
    }

    #[test]
    fn blocking_reload_is_kept_longer_than_a_plain_one_and_neither_longer_than_the_node_allows() {
        let (plain, blocking) = (asked(PLAYLIST, &[]).unwrap(), asked(&format!("{PLAYLIST}?_HLS_msn=7"), &[]).unwrap());
        let at = Duration::from_millis;
        assert_eq!(plain.kept_until((at(1_000), at(1_090)), at(2_000)), at(1_100));
        assert_eq!(blocking.kept_until((at(1_000), at(1_500)), at(24_000)), at(2_500));
        assert_eq!(blocking.kept_until((at(1_000), at(1_500)), at(1_000)), at(2_000));
    }

    fn answered(status: u16, headers: &[(&'static str, &str)]) -> Audience {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        Audience::of(&head)
    }

    #[test]
    fn only_a_plain_answer_that_caches_may_keep_is_for_everybody() {
        let public = ("cache-control", "public, max-age=2");
        let everybody = Audience::Everybody(Duration::from_secs(2));
        assert_eq!(answered(200, &[public]), everybody);
        assert_eq!(answered(200, &[public, ("vary", "Accept-Encoding")]), everybody);
        for headers in [
            &[][..],
            &[("cache-control", "max-age=2")],
            &[("cache-control", "public, max-age=0")],
            &[("cache-control", "public, max-age=x")],
            &[("cache-control", "no-store")],
            &[public, ("cache-control", "private")],
            &[("cache-control", "private, max-age=2")],
            &[public, ("vary", "cookie")],
            &[public, ("set-cookie", "a=b")],
        ] {
            assert_eq!(answered(200, headers), Audience::One, "{headers:?}");
        }
        for status in [400, 404, 503] {
            assert_eq!(answered(status, &[public]), Audience::Waiting, "{status}");
        }
        assert_eq!(answered(404, &[("set-cookie", "a=b")]), Audience::One);
        for status in [206, 302, 304] {
            assert_eq!(answered(status, &[public]), Audience::One, "{status}");
        }
    }
}
