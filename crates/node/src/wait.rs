//! Reading what one has just written, on any node: whoever has seen an entry of the metadata log says so, and the node waits for it. Pure.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

/// Header of an answer: the entry that it reflects.
pub const METADATA: HeaderName = HeaderName::from_static("x-sealcast-metadata");
/// Header of a request: the entry that its answer has to reflect.
pub const WAIT: &str = "x-sealcast-wait";
/// Longest wait. An entry is on all nodes within half a second, unless one is cut off.
pub const MAX: Duration = Duration::from_secs(2);
/// When whoever was refused may try again, in seconds.
pub const RETRY_AFTER_S: u64 = 1;

/// The entry that a request wants to be reflected; `None` when it says nothing.
///
/// # Errors
/// With a sentence, when it says no number.
pub fn wanted(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let Some(value) = headers.get(WAIT) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // An entry has a number that SQL can keep.
    let number = number.and_then(|text| text.parse().ok()).filter(|number| i64::try_from(*number).is_ok());
    number.map(Some).ok_or("x-sealcast-wait has to be the number of an entry of the metadata log")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_number_is_waited_for() {
        let said = |text: &'static str| {
            wanted(&HeaderMap::from_iter([(WAIT.parse().unwrap(), HeaderValue::from_static(text))]))
        };
        assert_eq!(wanted(&HeaderMap::new()), Ok(None));
        assert_eq!(said("4812"), Ok(Some(4812)));
        for bad in ["", "-1", "+1", "1.0", "9223372036854775808", "99999999999999999999", "x"] {
            assert!(said(bad).is_err(), "{bad}");
        }
    }
}
