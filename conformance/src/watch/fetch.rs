//! HTTP requests with a limit on everything, timed.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, LOCATION, RANGE};
use reqwest::{Client, Response, Url};

use super::clock::Stopwatch;
use crate::observation::Answer;
use crate::playlist::text::PLAYLIST_BYTES_MAX;

/// An object larger than this is not read to its end: ten seconds at 40 Mbit/s.
pub(crate) const OBJECT_BYTES_MAX: usize = 64 << 20;
/// Redirects that are followed before giving up.
const REDIRECTS_MAX: usize = 5;
/// More header fields than this are not kept.
const HEADERS_MAX: usize = 64;
/// Where Debian and its relatives keep the authorities that the machine trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A connection that takes longer is not made.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The machine's authorities.
    #[default]
    System,
    /// Those, and the ones in this PEM file.
    Authority(std::path::PathBuf),
    /// Any certificate: the server's name is not checked.
    Anyone,
}

/// What to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// First byte and length.
    pub range: Option<(u64, u64)>,
    /// It is a text: gzip is asked for and undone.
    pub text: bool,
    /// An answer that takes longer is given up.
    pub wait_max: Duration,
}

/// An answer with its body.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub answer: Answer,
    /// With gzip undone.
    pub body: Bytes,
    /// The URL after redirects, which relative URIs are relative to.
    pub url: String,
}

/// Asks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: Client,
    pub clock: Stopwatch,
}

/// Certificates of the machine and of `trust`.
pub(crate) fn authorities(trust: &Trust) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut pems = Vec::new();
    if Path::new(SYSTEM_AUTHORITIES).exists() {
        pems.push(std::fs::read(SYSTEM_AUTHORITIES).with_context(|| format!("cannot read {SYSTEM_AUTHORITIES}"))?);
    }
    if let Trust::Authority(path) = trust {
        pems.push(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(pems)
}

impl Fetcher {
    pub(crate) fn new(trust: &Trust, clock: Stopwatch) -> anyhow::Result<Self> {
        // The provider is the process's: a second call finds it set, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = Client::builder()
            .use_rustls_tls()
            .user_agent(concat!("sealcast-conformance/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WAIT_MAX)
            .http2_adaptive_window(true);
        for pem in authorities(trust)? {
            let bundle = reqwest::Certificate::from_pem_bundle(&pem).context("a CA file holds no certificates")?;
            for certificate in bundle {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if matches!(trust, Trust::Anyone) {
            builder = builder.danger_accept_invalid_certs(true);
        }
        Ok(Self { client: builder.build().context("cannot make an HTTP client")?, clock })
    }

    /// Asks for a URL. What goes wrong stands in the answer.
    pub(crate) async fn get(&self, url: &str, wish: Wish) -> Got {
        let mut answer = Answer { url: url.to_owned(), asked: self.clock.now(), ..Answer::default() };
        let mut body = BytesMut::new();
        let mut last_url = url.to_owned();
        let work = self.follow(&mut answer, &mut body, &mut last_url, wish);
        match tokio::time::timeout(wish.wait_max, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => answer.problem = Some(format!("{error:#}")),
            Err(_) => answer.problem = Some(format!("no whole answer in {:.1} s", wish.wait_max.as_secs_f64())),
        }
        answer.done = self.clock.now();
        if body.is_empty() {
            answer.first_byte = answer.done;
        }
        let body = self.decoded(&mut answer, body.freeze(), wish);
        Got { answer, body, url: last_url }
    }

    async fn follow(
        &self,
        answer: &mut Answer,
        body: &mut BytesMut,
        last_url: &mut String,
        wish: Wish,
    ) -> anyhow::Result<()> {
        loop {
            let mut request = self.client.get(last_url.as_str());
            if let Some((start, length)) = wish.range {
                let last = start.saturating_add(length).saturating_sub(1);
                request = request.header(RANGE, format!("bytes={start}-{last}"));
            }
            let encodings = if wish.text { "gzip" } else { "identity" };
            let response = request.header(ACCEPT_ENCODING, encodings).send().await.context("no answer")?;
            let status = response.status().as_u16();
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
            if let (300..=399, Some(to)) = (status, to) {
                let next = Url::parse(last_url).and_then(|base| base.join(&to)).context("redirected to no URL")?;
                answer.redirects.push((status, next.to_string()));
                if answer.redirects.len() > REDIRECTS_MAX {
                    bail!("more than {REDIRECTS_MAX} redirects");
                }
                *last_url = next.to_string();
                continue;
            }
            note(answer, &response);
            return self.read(answer, response, body, wish).await;
        }
    }

    async fn read(
        &self,
        answer: &mut Answer,
        mut response: Response,
        body: &mut BytesMut,
        wish: Wish,
    ) -> anyhow::Result<()> {
        let bytes_max = if wish.text { PLAYLIST_BYTES_MAX } else { OBJECT_BYTES_MAX };
        while let Some(piece) = response.chunk().await.context("broken off")? {
            if body.is_empty() {
                answer.first_byte = self.clock.now();
            }
            if body.len() + piece.len() > bytes_max {
                bail!("longer than {bytes_max} bytes");
            }
            body.extend_from_slice(&piece);
            answer.length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    fn decoded(&self, answer: &mut Answer, body: Bytes, wish: Wish) -> Bytes {
        if !wish.text || answer.header("content-encoding") != Some("gzip") {
            return body;
        }
        let limit = u64::try_from(PLAYLIST_BYTES_MAX).unwrap_or(u64::MAX);
        let mut text = Vec::new();
        if let Err(error) = flate2::read::MultiGzDecoder::new(body.as_ref()).take(limit).read_to_end(&mut text) {
            answer.problem.get_or_insert_with(|| format!("bad gzip: {error}"));
        }
        text.into()
    }
}

fn note(answer: &mut Answer, response: &Response) {
    answer.status = response.status().as_u16();
    answer.http = format!("{:?}", response.version());
    answer.headers = response
        .headers()
        .iter()
        .take(HEADERS_MAX)
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
}

/// An absolute URL of a URI in a playlist (RFC 3986, 5.2).
pub(crate) fn resolve(base: &str, uri: &str) -> String {
    Url::parse(base).and_then(|base| base.join(uri)).map_or_else(|_| uri.to_owned(), |url| url.to_string())
}

/// A playlist URL with delivery directives behind its own query, in order.
pub(crate) fn with_directives(url: &str, directives: &[(&str, String)]) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
    let mut query = parsed.query().unwrap_or("").to_owned();
    for (name, value) in directives {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&format!("{name}={value}"));
    }
    parsed.set_query(Some(&query));
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_follow_the_query_that_is_there() {
        let msn = [("_HLS_msn", "5".to_owned()), ("_HLS_part", "0".to_owned())];
        assert_eq!(with_directives("https://a/b.m3u8", &msn), "https://a/b.m3u8?_HLS_msn=5&_HLS_part=0");
        assert_eq!(with_directives("https://a/b.m3u8?t=1", &msn), "https://a/b.m3u8?t=1&_HLS_msn=5&_HLS_part=0");
    }

    #[test]
    fn uris_are_relative_to_their_playlist() {
        assert_eq!(resolve("https://a/live/x/index.m3u8?t=1", "../y/1.m4s"), "https://a/live/y/1.m4s");
        assert_eq!(resolve("https://a/live/x/index.m3u8", "https://b/1.m4s"), "https://b/1.m4s");
    }
}
