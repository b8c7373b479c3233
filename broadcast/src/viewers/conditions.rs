//! Conditional requests (RFC 9110, section 13): entity tags against `If-Match`, `If-None-Match` and `If-Range`. Pure.

use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};

/// Result of the preconditions of a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has it: 304.
    NotModified,
    /// The state that the client requires is not the current one: 412.
    Failed,
}

/// Evaluates `If-Match`, then `If-None-Match` (RFC 9110, 13.2.2), against a strong entity tag, given without its quotes.
/// Conditions on dates are ignored: nothing here has a time of modification.
pub(super) fn evaluate(headers: &HeaderMap, tag: &str) -> Verdict {
    if headers.contains_key(IF_MATCH) && !any(headers, IF_MATCH, |given| given.is_strongly(tag)) {
        return Verdict::Failed;
    }
    if any(headers, IF_NONE_MATCH, |given| given.is_weakly(tag)) {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` is to be honoured: there is no `If-Range`, or it names the strong tag (RFC 9110, 13.1.5). A date
/// never does.
pub(super) fn range_applies(headers: &HeaderMap, tag: &str) -> bool {
    let mut given = headers.get_all(IF_RANGE).iter();
    match (given.next(), given.next()) {
        (None, _) => true,
        (Some(one), None) => {
            let mut tags = Tags(one.as_bytes());
            tags.next() == Some(Given::Tag { weak: false, opaque: tag.as_bytes() }) && tags.0.is_empty()
        }
        (Some(_), Some(_)) => false,
    }
}

fn any(headers: &HeaderMap, name: http::HeaderName, matches: impl Fn(&Given<'_>) -> bool) -> bool {
    headers.get_all(name).iter().any(|value| Tags(value.as_bytes()).any(|given| matches(&given)))
}

/// One member of a list of entity tags.
#[derive(Debug, PartialEq, Eq)]
enum Given<'a> {
    /// `*`: whatever there is.
    Any,
    Tag {
        weak: bool,
        opaque: &'a [u8],
    },
}

impl Given<'_> {
    /// Strong comparison (RFC 9110, 8.8.3.2); our tag is strong.
    fn is_strongly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tag { weak, opaque } => !weak && *opaque == tag.as_bytes(),
        }
    }

    /// Weak comparison: a proxy that compresses may have weakened our tag.
    fn is_weakly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tag { opaque, .. } => *opaque == tag.as_bytes(),
        }
    }
}

/// Reads a list of entity tags; ends at the first thing that is none. An opaque tag may hold commas, so the list is not
/// split at them.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Given<'a>;

    fn next(&mut self) -> Option<Given<'a>> {
        let rest = skip_separators(self.0);
        // Whatever is not understood ends the list.
        self.0 = &[];
        let (given, rest) = if let Some(rest) = rest.strip_prefix(b"*") {
            (Given::Any, rest)
        } else {
            let (weak, quoted) = rest.strip_prefix(b"W/").map_or((false, rest), |quoted| (true, quoted));
            let inner = quoted.strip_prefix(b"\"")?;
            let end = inner.iter().position(|byte| *byte == b'"')?;
            let (opaque, rest) = inner.split_at_checked(end)?;
            (Given::Tag { weak, opaque }, rest.strip_prefix(b"\"")?)
        };
        self.0 = skip_separators(rest);
        Some(given)
    }
}

fn skip_separators(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b',')).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn with(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn if_none_match_compares_weakly_and_reads_lists() {
        for value in ["\"a\"", "W/\"a\"", "*", "\"x\", \"a\"", "\"x\",W/\"a\"", ",, \"x\" ,\"a\",", "\"x,y\", \"a\""] {
            assert_eq!(evaluate(&with(&[(IF_NONE_MATCH, value)]), "a"), Verdict::NotModified, "{value}");
        }
        for value in ["", "\"b\"", "a", "\"a", "a\"", "\"x\" junk \"a\"", "w/\"a\"", "\"A\"", "\"x,a\""] {
            assert_eq!(evaluate(&with(&[(IF_NONE_MATCH, value)]), "a"), Verdict::Proceed, "{value}");
        }
    }

    #[test]
    fn if_none_match_may_come_in_several_lines() {
        let mut headers = with(&[(IF_NONE_MATCH, "\"x\"")]);
        headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        assert_eq!(evaluate(&headers, "a"), Verdict::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_goes_first() {
        assert_eq!(evaluate(&with(&[(IF_MATCH, "\"a\"")]), "a"), Verdict::Proceed);
        assert_eq!(evaluate(&with(&[(IF_MATCH, "*")]), "a"), Verdict::Proceed);
        assert_eq!(evaluate(&with(&[(IF_MATCH, "W/\"a\"")]), "a"), Verdict::Failed);
        assert_eq!(evaluate(&with(&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")]), "a"), Verdict::Failed);
        assert_eq!(evaluate(&with(&[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")]), "a"), Verdict::NotModified);
    }

    #[test]
    fn if_range_takes_one_strong_tag_and_no_date() {
        assert!(range_applies(&HeaderMap::new(), "a"));
        assert!(range_applies(&with(&[(IF_RANGE, "\"a\"")]), "a"));
        for value in ["\"b\"", "W/\"a\"", "Wed, 21 Oct 2026 07:28:00 GMT", "", "*", "\"a\", \"b\""] {
            assert!(!range_applies(&with(&[(IF_RANGE, value)]), "a"), "{value}");
        }
    }
}
