//! Where publishers reach an ingest: `rtmp://HOST[:PORT]/APPLICATION`, or `rtmps` over TLS. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::Uri;

/// Longest URL in bytes.
const BYTES_MAX: usize = 255;

/// Where publishers reach an ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishUrl {
    scheme: &'static str,
    /// An IPv6 address has its brackets.
    host: String,
    port: Option<u16>,
    application: String,
}

/// A text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use rtmp://HOST:PORT/APPLICATION or rtmps://HOST:PORT/APPLICATION, of letters, digits and -._~ besides")]
pub struct NoPublishUrl;

impl PublishUrl {
    /// An ingest that listens on all addresses of its machine, whatever that is called: whoever shows the URL knows a host, and puts it in
    /// with [`Self::at`].
    ///
    /// # Errors
    /// When the application has characters that a URL would have to escape.
    pub fn anywhere(is_secure: bool, port: u16, application: &str) -> Result<Self, NoPublishUrl> {
        format!("{}://0.0.0.0:{port}/{application}", if is_secure { "rtmps" } else { "rtmp" }).parse()
    }

    /// With `host` in the place of one that stands for all addresses; `None` where that is not known either.
    pub fn at(&self, host: Option<&str>) -> Option<Self> {
        let is_anywhere =
            self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        if is_anywhere { Some(Self { host: host?.to_owned(), ..self.clone() }) } else { Some(self.clone()) }
    }
}

impl FromStr for PublishUrl {
    type Err = NoPublishUrl;

    fn from_str(text: &str) -> Result<Self, NoPublishUrl> {
        let uri: Uri = text.parse().map_err(|_| NoPublishUrl)?;
        let scheme = match uri.scheme_str() {
            Some("rtmp") => "rtmp",
            Some("rtmps") => "rtmps",
            _ => return Err(NoPublishUrl),
        };
        let authority = uri.authority().ok_or(NoPublishUrl)?;
        let host = authority.host();
        let is_plain = |text: &str, besides: &[u8]| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || besides.contains(&byte))
        };
        let has_host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<IpAddr>().is_ok()),
            None => is_plain(host, b"-."),
        };
        // It stands in command lines of people, so nothing that a shell knows.
        let application = uri.path().trim_matches('/');
        let port = authority.port_u16();
        let url = Self { scheme, host: host.to_owned(), port, application: application.to_owned() };
        let is_whole = url.to_string() == text.trim_end_matches('/');
        if has_host && is_whole && text.len() <= BYTES_MAX && is_plain(application, b"-._~/") {
            Ok(url)
        } else {
            Err(NoPublishUrl)
        }
    }
}

impl fmt::Display for PublishUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.application)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_url_of_rtmp_is_one() {
        for url in [
            "rtmp://live.example.org/live",
            "rtmps://live.example.org:443/live",
            "rtmp://[::1]:1935/live",
            "rtmp://127.0.0.1:1935/a/b_c-d",
        ] {
            assert_eq!(url.parse::<PublishUrl>().unwrap().to_string(), url);
        }
        assert_eq!("rtmp://h/live/".parse::<PublishUrl>().unwrap().to_string(), "rtmp://h/live");
        let long = format!("rtmp://h/{}", "a".repeat(BYTES_MAX));
        for bad in [
            "",
            "live",
            "http://h/live",
            "rtmp:///live",
            "rtmp://h",
            "rtmp://h/",
            "rtmp://h/live?x=1",
            "rtmp://u:p@h/live",
            "rtmp://h/$(id)",
            "rtmp://h/`id`",
            "rtmp://h/\"",
            "rtmp://[x]/live",
            "rtmp://h:99999/live",
            "rtmp://h/li ve",
            &long,
        ] {
            assert!(bad.parse::<PublishUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn host_takes_the_place_of_all_addresses_and_of_no_other() {
        let at = |url: &str, host| {
            url.parse::<PublishUrl>().unwrap().at(host).map_or_else(|| "none".to_owned(), |url| url.to_string())
        };
        let anywhere = PublishUrl::anywhere(false, 1935, "live").unwrap().to_string();
        assert_eq!(at(&anywhere, Some("town.example")), "rtmp://town.example:1935/live");
        assert_eq!(at("rtmps://[::]:1936/live", Some("[::1]")), "rtmps://[::1]:1936/live");
        assert_eq!(at(&anywhere, None), "none");
        assert_eq!(at("rtmp://i1.town.example/live", Some("town.example")), "rtmp://i1.town.example/live");
        assert!(PublishUrl::anywhere(true, 1, "a b").is_err());
    }
}
