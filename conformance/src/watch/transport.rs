//! Carries requests to a server. It is a trait, so that tests can run in virtual time against an origin in the same process.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::Client;

use super::secure;
use super::trust::{Trust, authorities};
use crate::observation::Tls;

/// Most header fields that are kept.
const HEADERS_MAX: usize = 64;
/// Longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// A GET request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Absolute URL.
    pub url: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(&'static str, String)>,
}

/// An answer whose head has arrived.
pub struct Reply {
    pub status: u16,
    /// `HTTP/1.1`, `HTTP/2.0`, …
    pub http: String,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, piece by piece.
    pub body: BoxStream<'static, anyhow::Result<Bytes>>,
}

/// Carries requests. Does not follow redirects.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request, and waits for the head of the answer.
    async fn send(&self, ask: Ask) -> anyhow::Result<Reply>;

    /// The TLS that the server of an https URL agrees to.
    async fn tls(&self, url: &str) -> Option<Tls>;
}

/// HTTP over the network.
#[derive(Debug)]
pub struct Network {
    client: Client,
    trust: Trust,
}

impl Network {
    /// A client that accepts these certificates.
    pub fn new(trust: &Trust) -> anyhow::Result<Self> {
        // The provider is set once per process; an error means that it is set already.
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
        let client = builder.build().context("cannot make an HTTP client")?;
        Ok(Self { client, trust: trust.clone() })
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, ask: Ask) -> anyhow::Result<Reply> {
        let mut request = self.client.get(&ask.url);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let headers =
            response.headers().iter().take(HEADERS_MAX).map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
        Ok(Reply {
            status: response.status().as_u16(),
            http: format!("{:?}", response.version()),
            headers: headers.collect(),
            body: response.bytes_stream().map(|piece| Ok(piece?)).boxed(),
        })
    }

    async fn tls(&self, url: &str) -> Option<Tls> {
        secure::look(url, &self.trust).await.ok()
    }
}
