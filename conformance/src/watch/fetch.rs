//! Timed requests, with a limit on everything.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::Url;

use super::clock::Stopwatch;
use super::cookies::Jar;
use super::transport::{Ask, Reply, Transport};
use crate::observation::Answer;
use crate::playlist::text::PLAYLIST_BYTES_MAX;

/// Most bytes that are read of an object: ten seconds at 50 Mbit/s.
const OBJECT_BYTES_MAX: usize = 64 << 20;
/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Whether the server's cookies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// Keep them and send them back, as players do.
    Keep,
    /// Ignore them, as behind a shared cache.
    Ignore,
}

/// What to request besides the URL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// First byte and length.
    pub range: Option<(u64, u64)>,
    /// Whether it is text, which is requested with gzip and decompressed.
    pub text: bool,
    /// Longest wait for the answer.
    pub wait_max: Duration,
}

/// An answer with its body.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub answer: Answer,
    /// The body, decompressed.
    pub body: Bytes,
    /// The URL after redirects, which is the base of relative URIs.
    pub url: String,
}

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub transport: Arc<dyn Transport>,
    /// `None` when cookies are ignored.
    jar: Option<Arc<Jar>>,
    pub clock: Stopwatch,
}

impl Fetcher {
    pub(super) fn new(transport: Arc<dyn Transport>, cookies: Cookies, clock: Stopwatch) -> Self {
        Self { transport, jar: (cookies == Cookies::Keep).then(Arc::default), clock }
    }

    /// Requests a URL. The answer states what goes wrong.
    pub(super) async fn get(&self, url: &str, wish: Wish) -> Got {
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
        let body = decoded(&mut answer, body.freeze(), wish);
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
            let ask = Ask { url: last_url.clone(), headers: self.headers(last_url, wish) };
            let reply = self.transport.send(ask).await.context("no answer")?;
            if let Some(jar) = &self.jar {
                jar.keep(last_url, &reply.headers);
            }
            let to = reply.headers.iter().find(|(name, _)| name == "location").map(|(_, to)| to.clone());
            if let (300..=399, Some(to)) = (reply.status, to) {
                let next = Url::parse(last_url).and_then(|base| base.join(&to)).context("redirected to no URL")?;
                answer.redirects.push((reply.status, next.to_string()));
                if answer.redirects.len() > REDIRECTS_MAX {
                    bail!("more than {REDIRECTS_MAX} redirects");
                }
                *last_url = next.to_string();
                continue;
            }
            return self.read(answer, reply, body, wish).await;
        }
    }

    fn headers(&self, url: &str, wish: Wish) -> Vec<(&'static str, String)> {
        let mut headers = vec![("accept-encoding", if wish.text { "gzip" } else { "identity" }.to_owned())];
        if let Some((start, length)) = wish.range {
            let last = start.saturating_add(length).saturating_sub(1);
            headers.push(("range", format!("bytes={start}-{last}")));
        }
        headers.extend(self.jar.as_ref().and_then(|jar| jar.header(url)).map(|cookies| ("cookie", cookies)));
        headers
    }

    async fn read(&self, answer: &mut Answer, reply: Reply, body: &mut BytesMut, wish: Wish) -> anyhow::Result<()> {
        (answer.status, answer.http, answer.headers) = (reply.status, reply.http, reply.headers);
        let bytes_max = if wish.text { PLAYLIST_BYTES_MAX } else { OBJECT_BYTES_MAX };
        let mut pieces = reply.body;
        while let Some(piece) = pieces.next().await {
            let piece = piece.context("broken off")?;
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
}

fn decoded(answer: &mut Answer, body: Bytes, wish: Wish) -> Bytes {
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

/// Absolute URL of a URI in a playlist (RFC 3986, 5.2).
pub(super) fn resolve(base: &str, uri: &str) -> String {
    Url::parse(base).and_then(|base| base.join(uri)).map_or_else(|_| uri.to_owned(), |url| url.to_string())
}

/// A playlist URL with delivery directives, in order, after its own query.
pub(super) fn with_directives(url: &str, directives: &[(&str, String)]) -> String {
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
