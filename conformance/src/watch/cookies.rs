//! Cookies, as players keep them, because a load balancer may identify its viewers by a cookie (RFC 8216bis, section 12).
//!
//! Only as much as a check needs: cookies by host, without paths and lifetimes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;

/// Most cookies that are kept.
const COOKIES_MAX: usize = 32;
/// Longest cookie that is kept.
const COOKIE_BYTES_MAX: usize = 4_096;

/// Cookies by host and name.
#[derive(Debug, Default)]
pub(super) struct Jar(Mutex<BTreeMap<(String, String), String>>);

impl Jar {
    /// Keeps the cookies that an answer sets.
    pub(super) fn keep(&self, url: &str, headers: &[(String, String)]) {
        let Some(host) = host(url) else { return };
        let mut cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, line) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = line.split(';').next().and_then(|pair| pair.split_once('='));
            let Some((name, value)) = pair.filter(|_| line.len() <= COOKIE_BYTES_MAX) else { continue };
            let key = (host.clone(), name.trim().to_owned());
            if cookies.len() < COOKIES_MAX || cookies.contains_key(&key) {
                cookies.insert(key, value.trim().to_owned());
            }
        }
    }

    /// The Cookie field for a request to this URL, if any.
    pub(super) fn header(&self, url: &str) -> Option<String> {
        let host = host(url)?;
        let cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs =
            cookies.iter().filter(|((of, _), _)| *of == host).map(|((_, name), value)| format!("{name}={value}"));
        let all = pairs.collect::<Vec<_>>().join("; ");
        (!all.is_empty()).then_some(all)
    }
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_back_to_their_host_only() {
        let jar = Jar::default();
        let headers =
            ["node=b1.x; Path=/; Secure; HttpOnly", "a=1"].map(|line| ("set-cookie".to_owned(), line.to_owned()));
        jar.keep("https://one.example/live/index.m3u8", &headers);
        assert_eq!(jar.header("https://one.example:8443/x"), Some("a=1; node=b1.x".to_owned()));
        assert_eq!(jar.header("https://two.example/x"), None);
    }
}
