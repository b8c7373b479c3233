//! Exact parsing of numbers, dates and byte ranges in playlists.
//!
//! Pure. Seconds become a [`Duration`], never a float, because rows compare sums of a thousand segments with one frame.

use std::time::Duration;

/// A decimal integer (RFC 8216bis 4.2): 1 to 20 digits, nothing else.
#[must_use]
pub fn integer(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Largest accepted counter: a browser cannot count further either, and sums cannot overflow.
pub const COUNTER_MAX: u64 = 1 << 53;
/// Largest accepted span, about thirty years.
const SECONDS_MAX: u64 = 1_000_000_000;

/// A decimal integer that counts segments, parts or discontinuities.
#[must_use]
pub fn counter(text: &str) -> Option<u64> {
    integer(text).filter(|number| *number <= COUNTER_MAX)
}

/// A decimal number of seconds, with or without a fraction, exact to a nanosecond. Further digits are dropped.
#[must_use]
pub fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = if whole.is_empty() && !fraction.is_empty() { 0 } else { integer(whole)? };
    if whole > SECONDS_MAX {
        return None;
    }
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut nanoseconds = 0_u32;
    for place in 0..9 {
        let digit = fraction.as_bytes().get(place).map_or(0, |byte| u32::from(byte - b'0'));
        nanoseconds = nanoseconds * 10 + digit;
    }
    Some(Duration::new(whole, nanoseconds))
}

/// A rate such as FRAME-RATE, in thousandths.
#[must_use]
pub fn thousandths(text: &str) -> Option<u64> {
    u64::try_from(seconds(text)?.as_millis()).ok()
}

/// `<n>[@<o>]` (4.4.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    /// Length in bytes.
    pub length: u64,
    /// First byte; none when the range follows the one before.
    pub offset: Option<u64>,
}

impl ByteRange {
    /// Reads `<n>[@<o>]`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.split_once('@') {
            Some((length, offset)) => Some(Self { length: integer(length)?, offset: Some(integer(offset)?) }),
            None => Some(Self { length: integer(text)?, offset: None }),
        }
    }
}

/// A date and time, in microseconds since 1970 in UTC. Without a zone, it counts as UTC (4.4.4.6).
#[must_use]
pub fn date_time(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let mut parts = date.splitn(3, '-').map(|part| integer(part).and_then(|n| i64::try_from(n).ok()));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, zone_minutes) = zone(time)?;
    let mut parts = time.splitn(3, ':');
    let (hour, minute) = (integer(parts.next()?)?, integer(parts.next()?)?);
    let second = seconds(parts.next()?)?;
    if hour > 24 || minute > 59 || second.as_secs() > 60 {
        return None;
    }
    let minutes = i64::try_from(hour * 60 + minute).ok()? - zone_minutes;
    let seconds = days_from_civil(year, month, day) * 86_400 + minutes * 60;
    Some(seconds * 1_000_000 + i64::try_from(second.as_micros()).ok()?)
}

/// Splits off the zone, `Z`, `+hh:mm`, `+hhmm` or `+hh`; returns it in minutes east.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(rest) = time.strip_suffix(['Z', 'z']) {
        return Some((rest, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let (rest, zone) = (time.get(..at)?, time.get(at..)?);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = (integer(digits.get(..2)?)?, digits.get(2..).filter(|m| !m.is_empty()));
    let minutes = minutes.map_or(Some(0), integer)?;
    let total = i64::try_from(hours.checked_mul(60)?.checked_add(minutes)?).ok()?;
    (hours <= 23 && minutes <= 59).then_some((rest, sign * total))
}

/// Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        assert_eq!(seconds("4"), Some(Duration::from_secs(4)));
        assert_eq!(seconds("3.99999"), Some(Duration::from_nanos(3_999_990_000)));
        assert_eq!(seconds(".5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("1.1234567899"), Some(Duration::from_nanos(1_123_456_789)));
        for bad in ["", ".", "-1", "1e3", "1,5", "1.2.3", "+1", " 1", "99999999999999999999999", "9999999999"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
        assert_eq!(thousandths("29.970"), Some(29_970));
    }

    #[test]
    fn dates_are_read_with_their_zone() {
        assert_eq!(date_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(date_time("2010-02-19T14:54:23.031+08:00"), date_time("2010-02-19T06:54:23.031Z"));
        assert_eq!(date_time("2000-03-01T00:00:00.000Z"), Some(951_868_800_000_000));
        assert_eq!(date_time("2026-07-01T10:00:00-0130"), date_time("2026-07-01T11:30:00Z"));
        for bad in ["2026-07-01", "2026-13-01T00:00:00Z", "2026-07-01T25:00:00Z", "T", "2026-07-01T10:00:00+99:00"] {
            assert_eq!(date_time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn byte_ranges_may_lack_an_offset() {
        assert_eq!(ByteRange::read("10@5"), Some(ByteRange { length: 10, offset: Some(5) }));
        assert_eq!(ByteRange::read("10"), Some(ByteRange { length: 10, offset: None }));
        assert_eq!(ByteRange::read("@5"), None);
    }
}
