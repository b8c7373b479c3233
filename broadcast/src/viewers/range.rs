//! Byte ranges (RFC 9110, section 14): one range at a time. Pure.

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

/// What of an object is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, several, or one that is not understood and therefore ignored (RFC 9110, 14.2).
    Whole,
    /// These bytes; never empty.
    Part(Range<usize>),
    /// Bytes that the object does not have: 416.
    Unsatisfiable,
}

/// Reads the `Range` header for an object of `length` bytes.
pub(super) fn wanted(headers: &HeaderMap, length: usize) -> Wanted {
    if length == 0 {
        // A gap has no bytes to choose from, and a server may ignore ranges (RFC 9110, 14.2). FFmpeg asks for a whole segment as a range.
        return Wanted::Whole;
    }
    let mut given = headers.get_all(RANGE).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Wanted::Whole };
    parse(value.as_bytes(), length).unwrap_or(Wanted::Whole)
}

/// `None` when it is not exactly one well-formed byte range.
fn parse(value: &[u8], length: usize) -> Option<Wanted> {
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let set = set.trim_ascii();
    let dash = set.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (set.get(..dash)?, set.get(dash + 1..)?);
    let range = match (first.is_empty(), last.is_empty()) {
        (true, true) => return None,
        (true, false) => length.saturating_sub(number(last)?)..length,
        (false, true) => number(first)?..length,
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(range) })
}

/// Decimal digits, however many; saturates.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let push = |value: usize, digit: &u8| value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    Some(digits.iter().fold(0, push))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of_ten(value: &str) -> Wanted {
        wanted(&HeaderMap::from_iter([(RANGE, HeaderValue::from_str(value).unwrap())]), 10)
    }

    #[test]
    fn nothing_is_always_whole() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=7-"] {
            assert_eq!(wanted(&HeaderMap::from_iter([(RANGE, HeaderValue::from_static(value))]), 0), Wanted::Whole);
        }
    }

    #[test]
    fn one_range_is_cut_to_the_length() {
        assert_eq!(of_ten("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(of_ten("bytes=2-5"), Wanted::Part(2..6));
        assert_eq!(of_ten("Bytes=2-5"), Wanted::Part(2..6));
        assert_eq!(of_ten("bytes=5-"), Wanted::Part(5..10));
        assert_eq!(of_ten("bytes=5-99999999999999999999999999"), Wanted::Part(5..10));
        assert_eq!(of_ten("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(of_ten("bytes=-99999999999999999999999999"), Wanted::Part(0..10));
    }

    #[test]
    fn range_outside_is_unsatisfiable() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999999-"] {
            assert_eq!(of_ten(value), Wanted::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn several_ranges_and_nonsense_mean_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=a-b",
            "bytes=0x1-2",
            "lines=0-1",
            "bytes=--1",
            "bytes= 1 - 2",
            "bytes=+1-2",
        ] {
            assert_eq!(of_ten(value), Wanted::Whole, "{value}");
        }
        let mut twice = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-1"))]);
        twice.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(wanted(&twice, 10), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(value in "(bytes=)?[0-9]{0,25}[-,a ]{0,2}[0-9]{0,25}", length in 0_usize..1000) {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_str(&value).unwrap())]);
            if let Wanted::Part(range) = wanted(&headers, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
