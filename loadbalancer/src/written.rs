//! Which entry of the metadata log each client has written last, so that what it reads next reflects it on any node. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use node::control_routes::session_of;
use node::wait::METADATA;

/// How long a client is known to have written. An entry is on all nodes within half a second, unless one is cut off.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// Most clients at a time. Those beyond say `x-sealcast-wait` themselves.
const CLIENTS_MAX: usize = 10_000;

/// What clients have written lately. Times are readings of one monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// By the digest of the client's credential: the entry, and until when it counts.
    entries: Mutex<HashMap<u64, (u64, Duration)>>,
    digests: RandomState,
}

impl Written {
    /// Remembers a change, by what was asked and what was answered to it.
    pub(crate) fn answered(&self, method: &Method, asked: &HeaderMap, answered: &HeaderMap, now: Duration) {
        let entry = || answered.get(METADATA)?.to_str().ok()?.parse().ok();
        let Some((client, entry)) = self.client(asked).filter(|_| !method.is_safe()).zip(entry()) else { return };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CLIENTS_MAX && !entries.contains_key(&client) {
            entries.retain(|_, (_, until)| *until > now);
            if entries.len() >= CLIENTS_MAX {
                return;
            }
        }
        entries.insert(client, (entry, now + REMEMBERED_FOR));
    }

    /// The entry that an answer to this client has to reflect.
    pub(crate) fn wanted(&self, asked: &HeaderMap, now: Duration) -> Option<u64> {
        let client = self.client(asked)?;
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&client).filter(|(_, until)| *until > now).map(|(entry, _)| *entry)
    }

    /// A client is whoever has the credential: one with none changes nothing that others read.
    fn client(&self, asked: &HeaderMap) -> Option<u64> {
        let key = asked.get("x-api-key").or_else(|| asked.get(AUTHORIZATION)).map(http::HeaderValue::as_bytes);
        let credential = key.or_else(|| session_of(asked).map(str::as_bytes))?;
        Some(self.digests.hash_one(credential))
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn entry(number: &'static str) -> HeaderMap {
        headers(&[(METADATA, number)])
    }

    #[test]
    fn client_reads_what_it_has_written_last_for_ten_seconds() {
        let (written, now) = (Written::default(), Duration::from_secs(100));
        let key = headers(&[(HeaderName::from_static("x-api-key"), "sc_a")]);
        let bearer = headers(&[(AUTHORIZATION, "Bearer sc_b")]);
        let session = headers(&[(COOKIE, "sealcast_node=x; __Host-sealcast=scs_c")]);
        for (client, number) in [(&key, "7"), (&bearer, "8"), (&session, "9")] {
            written.answered(&Method::POST, client, &entry(number), now);
        }
        let read = |client: &HeaderMap, seconds| written.wanted(client, now + Duration::from_secs(seconds));
        assert_eq!([read(&key, 9), read(&bearer, 9), read(&session, 9)], [Some(7), Some(8), Some(9)]);
        let moved = headers(&[(COOKIE, "__Host-sealcast=scs_c; sealcast_node=y")]);
        assert_eq!(read(&moved, 9), Some(9), "other cookies change");
        assert_eq!(read(&key, 10), None);
        written.answered(&Method::DELETE, &key, &entry("12"), now + Duration::from_secs(9));
        assert_eq!(read(&key, 18), Some(12));
    }

    #[test]
    fn nothing_is_remembered_of_reads_of_refusals_and_of_those_without_a_credential() {
        let (written, now) = (Written::default(), Duration::from_secs(100));
        let key = headers(&[(HeaderName::from_static("x-api-key"), "sc_a")]);
        written.answered(&Method::GET, &key, &entry("7"), now);
        written.answered(&Method::POST, &key, &HeaderMap::new(), now);
        written.answered(&Method::POST, &key, &entry("x"), now);
        written.answered(&Method::POST, &HeaderMap::new(), &entry("7"), now);
        assert_eq!((written.wanted(&key, now), written.wanted(&HeaderMap::new(), now)), (None, None));
    }

    #[test]
    fn clients_are_bounded_and_whoever_is_gone_makes_room() {
        let (written, now) = (Written::default(), Duration::from_secs(100));
        let client = |number: usize| {
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&number.to_string()).unwrap())])
        };
        for number in 0..=CLIENTS_MAX {
            written.answered(&Method::POST, &client(number), &entry("1"), now);
        }
        assert_eq!(written.wanted(&client(CLIENTS_MAX - 1), now), Some(1));
        assert_eq!(written.wanted(&client(CLIENTS_MAX), now), None);
        written.answered(&Method::POST, &client(0), &entry("2"), now);
        assert_eq!(written.wanted(&client(0), now), Some(2), "whoever is known stays");
        let later = now + REMEMBERED_FOR;
        written.answered(&Method::POST, &client(CLIENTS_MAX), &entry("3"), later);
        assert_eq!(written.wanted(&client(CLIENTS_MAX), later), Some(3));
        assert_eq!(written.entries.lock().unwrap().len(), 1);
    }
}
