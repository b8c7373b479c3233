//! Origins that a token is bound to (RFC 6454), by their digests: a token has no room for names. Pure.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Bytes of a digest. A site that wants to be taken for another has to find 2^64 names; it could as well proxy the stream.
pub(crate) const DIGEST_BYTES: usize = 8;

/// An origin, or all that differ in their first label only, which a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowedOrigin(pub [u8; DIGEST_BYTES]);

/// Why something is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: use https://HOST, https://HOST:PORT or https://*.DOMAIN, in lower case and without a path; http:// is for \
     development"
)]
pub struct InvalidOrigin(String);

impl AllowedOrigin {
    /// Reads an origin as an operator writes it. `*` stands for the first label, and for that alone.
    ///
    /// # Errors
    /// When it is none, or is not spelled as browsers send it.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.chars().take(128).collect());
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(invalid)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
        let default = if text.starts_with("https://") { "443" } else { "80" };
        let domain = host.strip_prefix("*.").unwrap_or(host);
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(is_plain)
        };
        let is_wide = host.len() != domain.len() && !domain.contains('.');
        let is_host = host.len() <= 253 && domain.split('.').all(is_label) && !is_wide;
        if !is_host || port.is_some_and(|port| !is_port(port) || port == default) {
            return Err(invalid());
        }
        Ok(Self::of(text))
    }

    fn of(text: &str) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update("sealcast/origin/").chain_update(text).finalize().into();
        let mut short = [0; DIGEST_BYTES];
        short.copy_from_slice(digest.split_at(DIGEST_BYTES).0);
        Self(short)
    }

    /// Whether an `Origin` header, as a browser sends it, is one of `allowed`. Whole names are compared, and never a part of one.
    pub(crate) fn is_one_of(allowed: &[Self], header: &str) -> bool {
        // It stands for labels in what is allowed, and is no letter of any name.
        if header.contains('*') {
            return false;
        }
        if allowed.contains(&Self::of(header)) {
            return true;
        }
        let Some((scheme, authority)) = header.split_once("://") else { return false };
        let Some((label, rest)) = authority.split_once('.') else { return false };
        !label.is_empty() && allowed.contains(&Self::of(&format!("{scheme}://*.{rest}")))
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_compared_and_a_star_is_one_label() {
        let allowed = ["https://hall.example.org", "https://*.town.example", "http://localhost:3000"]
            .map(|text| AllowedOrigin::parse(text).unwrap());
        for yes in ["https://hall.example.org", "https://a.town.example", "http://localhost:3000"] {
            assert!(AllowedOrigin::is_one_of(&allowed, yes), "{yes}");
        }
        for no in [
            "null",
            "",
            "http://hall.example.org",
            "https://hall.example.org:8443",
            "https://hall.example.org.evil.net",
            "https://evilhall.example.org",
            "https://town.example",
            "https://.town.example",
            "https://*.town.example",
            "https://a.b.town.example",
            "https://a.town.example.evil.net",
            "HTTPS://hall.example.org",
        ] {
            assert!(!AllowedOrigin::is_one_of(&allowed, no), "{no}");
        }
    }

    #[test]
    fn only_what_browsers_send_is_an_origin() {
        for bad in [
            "hall.example.org",
            "https://",
            "https://Hall.example.org",
            "https://hall.example.org/",
            "https://hall.example.org:443",
            "https://hall.example.org:08443",
            "https://hall.example.org:x",
            "https://*",
            "https://*.org",
            "https://a.*.org",
            "https://a..org",
            "ftp://hall.example.org",
            "null",
        ] {
            assert!(
                AllowedOrigin::parse(bad).unwrap_err().to_string().contains("is no origin: use https://HOST"),
                "{bad}"
            );
        }
    }
}
