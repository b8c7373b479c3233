//! What a viewer's path is about: the one place where a path is brought into its normal form, and where a token is taken off it. The
//! router, the decision, metrics and logs see what comes out of here. Pure.

use std::borrow::Cow;

use media::StreamId;

use crate::Class;
use crate::token::{JWS_CHARS_MAX, JWS_PREFIX, PREFIX, TOKEN_CHARS_MAX};

/// What precedes a token in a path.
const UNDER_TOKEN: &str = "/t/";

/// A path, without the token that it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'p> {
    /// The text of the token; `None` without one. Whatever stands in a token's place is one, also when it cannot be.
    pub token: Option<&'p str>,
    /// The rest, which begins with a slash.
    pub rest: &'p str,
}

impl<'p> RequestPath<'p> {
    /// Splits a path as the client sent it.
    pub fn of(path: &'p str) -> Self {
        let Some(after) = path.strip_prefix(UNDER_TOKEN) else { return Self { token: None, rest: path } };
        let (token, rest) = match after.find('/') {
            Some(at) => after.split_at(at),
            None => (after, "/"),
        };
        Self { token: Some(token), rest }
    }

    /// Bytes that the token and what precedes it take; 0 without a token.
    pub fn prefix_bytes(&self) -> usize {
        self.token.map_or(0, |token| UNDER_TOKEN.len().saturating_add(token.len()))
    }

    /// Whether a text may be a viewer token: what is not is passed on to nobody.
    pub fn is_like_a_token(text: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if Self::is_jws(text) {
            return text.len() <= JWS_CHARS_MAX && text.bytes().all(|byte| is_plain(byte) || byte == b'.');
        }
        text.len() <= TOKEN_CHARS_MAX && text.starts_with(PREFIX) && text.bytes().all(is_plain)
    }

    /// Whether a token is one of an issuer or of a registered key, and not one that control made.
    pub fn is_jws(text: &str) -> bool {
        text.starts_with(JWS_PREFIX)
    }

    /// The path of a token's holder to something.
    pub fn path_of(token: &str, rest: &str) -> String {
        format!("{UNDER_TOKEN}{token}{rest}")
    }
}

/// The normal form of a path: unreserved characters that were percent-encoded are decoded (RFC 3986, 6.2.2.2). `None` for whatever else
/// is encoded, for `.`, `..` and empty segments, and for backslashes: no URL of ours has any, so that no two spellings lead to one thing.
pub fn normalised(path: &str) -> Option<Cow<'_, str>> {
    let path = if path.contains('%') { Cow::Owned(decoded(path)?) } else { Cow::Borrowed(path) };
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == "." || segment == ".." || segment.contains('\\') || (segment.is_empty() && !is_last) {
            return None;
        }
    }
    Some(path)
}

fn decoded(path: &str) -> Option<String> {
    let mut pieces = path.split('%');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        if !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            return None;
        }
        plain.push(char::from(byte));
        plain.push_str(rest);
    }
    Some(plain)
}

/// What a path in its normal form is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub class: Class,
    /// The stream; `None` also when the name cannot be one.
    pub stream: Option<StreamId>,
}

/// Folders whose next segment names a stream. What is below them is the stream's, whether a route leads there or not.
const OF_STREAMS: [&str; 3] = ["/live/", "/api/v1/streams/", "/api/v1/trust/"];
/// The same of recordings, which there are none of yet: nothing below it is anybody's.
const OF_RECORDINGS: &str = "/vod/";
/// Multivariant playlists, with which a viewer begins.
const ADMITS: [&str; 2] = ["index.m3u8", "dvr.m3u8"];

impl Place {
    /// The folder of a path, up to the name of its stream; `None` when the path is of none.
    pub fn folder_of(path: &str) -> Option<&'static str> {
        OF_STREAMS.into_iter().find(|folder| path.starts_with(folder))
    }

    /// The place of a path in its normal form.
    pub fn of(path: &str) -> Self {
        if path.starts_with(OF_RECORDINGS) {
            return Self { class: Class::Stream, stream: None };
        }
        let Some(rest) = Self::folder_of(path).and_then(|folder| path.strip_prefix(folder)) else {
            return Self { class: Class::Open, stream: None };
        };
        let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
        let is_admission = path.starts_with("/live/") && ADMITS.contains(&below);
        let class = if is_admission { Class::Admission } else { Class::Stream };
        Self { class, stream: StreamId::new(name).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_taken_off_and_nothing_else() {
        let of = |path| {
            let RequestPath { token, rest } = RequestPath::of(path);
            (token, rest)
        };
        assert_eq!(of("/live/hall/index.m3u8"), (None, "/live/hall/index.m3u8"));
        assert_eq!(of("/t/scv_a/live/hall/index.m3u8"), (Some("scv_a"), "/live/hall/index.m3u8"));
        assert_eq!(of("/t/scv_a"), (Some("scv_a"), "/"));
        assert_eq!(of("/t//live/hall"), (Some(""), "/live/hall"));
        assert_eq!(of("/t/a/t/b/live"), (Some("a"), "/t/b/live"));
        assert_eq!(of("/T/scv_a/live"), (None, "/T/scv_a/live"));
    }

    #[test]
    fn path_has_one_form() {
        assert_eq!(normalised("/live/hall/seals").as_deref(), Some("/live/hall/seals"));
        assert_eq!(normalised("/live/%68all/%73eals").as_deref(), Some("/live/hall/seals"));
        assert_eq!(normalised("/").as_deref(), Some("/"));
        assert_eq!(normalised("/live/hall/").as_deref(), Some("/live/hall/"));
        for bad in [
            "",
            "live",
            "//live/hall",
            "/live//hall",
            "/live/../live/hall",
            "/live/%2e%2e/hall",
            "/live/%2E/hall",
            "/live/hall%2fseals",
            "/live/hall%5cseals",
            "/live/hall%00",
            "/live/hall%",
            "/live/hall%2",
            "/live/hall%+1",
            "/live/hall%é",
            "/live/ha\\ll",
            "/live/hall/..",
            "/live/%252e",
        ] {
            assert_eq!(normalised(bad), None, "{bad}");
        }
    }

    #[test]
    fn everything_below_a_stream_is_the_streams() {
        let of = |path| {
            let Place { class, stream } = Place::of(path);
            (class, stream.map(|stream| stream.to_string()))
        };
        let hall = || Some("hall".to_owned());
        for entrance in ["/live/hall/index.m3u8", "/live/hall/dvr.m3u8"] {
            assert_eq!(of(entrance), (Class::Admission, hall()), "{entrance}");
        }
        for below in [
            "/live/hall/720p/index.m3u8",
            "/live/hall/720p/dvr.m3u8",
            "/live/hall/nothing/that/is/there",
            "/live/hall",
            "/live/hall/",
            "/api/v1/streams/hall",
            "/api/v1/trust/hall",
        ] {
            assert_eq!(of(below), (Class::Stream, hall()), "{below}");
        }
        for nobodys in ["/live/", "/live/.hall/seals", "/vod/x/index.m3u8"] {
            assert_eq!(of(nobodys), (Class::Stream, None), "{nobodys}");
        }
        for open in
            ["/", "/watch/hall", "/api/v1/streams", "/api/v1/grants", "/LIVE/hall/seals", "/t/b/live/hall/seals"]
        {
            assert_eq!(of(open), (Class::Open, None), "{open}");
        }
    }
}
