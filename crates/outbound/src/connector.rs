//! One request: resolve, check, connect to what was checked, ask, and read within the limits.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, Refused};
use crate::policy::Policy;
use crate::resolver::{Resolve, SystemResolver};
use crate::target::Target;
use crate::trust::{self, Trust};

/// Most addresses of a name that are tried. All of them are checked.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Longest wait for one address to accept a connection, so that a dead one leaves time for the next.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// Most bytes of an answer's head, and of what is read ahead.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Most header fields of an answer.
const HEADERS_MAX: usize = 100;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    /// Fields besides `host`, `user-agent` and `content-length`.
    pub headers: HeaderMap,
    /// Empty for GET.
    pub body: Bytes,
}

impl Request {
    /// A GET for JSON.
    pub fn get_json() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Self { method: Method::GET, headers, body: Bytes::new() }
    }
}

/// What an exchange may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the question for the name's addresses to the last byte of the answer.
    pub time: Duration,
    /// Length of the answer's body, in bytes.
    pub body_bytes: usize,
}

/// What the server said. `Debug` does not print the body: it belongs to whoever may read that server.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The body, for our own code to parse. Never show it, or a part of it, to the one who chose the URL.
    pub const fn body_for_parsing(&self) -> &Bytes {
        &self.body
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The connector. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Outbound {
    /// With the operating system's resolver.
    pub fn new(policy: Policy, trust: &Trust) -> Self {
        Self::with_resolver(policy, trust, Arc::new(SystemResolver))
    }

    /// With another resolver.
    pub fn with_resolver(policy: Policy, trust: &Trust, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy: Arc::new(policy), resolver, tls: TlsConnector::from(Arc::clone(&trust.tls)) }
    }

    /// What the operator allows, to check a URL before it is stored.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Asks once. Every address of the host is checked before the first connection; a name with one address that is refused is refused
    /// as a whole, because its owner can choose which one answers.
    ///
    /// # Errors
    /// When the target is refused, does not answer within the limits, or redirects. Other statuses are answers.
    pub async fn send(&self, target: &Target, request: Request, limits: Limits) -> Result<Answer, Error> {
        let late = |_| Error::TooSlow { origin: target.to_string(), limit_ms: limits.time.as_millis() };
        tokio::time::timeout(limits.time, self.exchange(target, request, limits.body_bytes)).await.map_err(late)?
    }

    async fn exchange(&self, target: &Target, request: Request, body_bytes: usize) -> Result<Answer, Error> {
        let addresses = self.addresses(target).await?;
        let socket = connect(target, &addresses).await?;
        if !target.is_encrypted() {
            return ask(target, socket, request, body_bytes).await;
        }
        let untrusted = |reason: String| Error::Tls { origin: target.to_string(), reason };
        let name = ServerName::try_from(target.host().to_owned()).map_err(|error| untrusted(error.to_string()))?;
        let socket = self.tls.connect(name, socket).await.map_err(|error| untrusted(trust::objection(&error)))?;
        // Boxed: the state of a TLS session is large.
        Box::pin(ask(target, socket, request, body_bytes)).await
    }

    /// The checked addresses of the target, at least one.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Error> {
        let (host, port) = (target.host(), target.port());
        let unknown = |reason: String| Error::Resolve { origin: target.to_string(), reason };
        let addresses = match target.address() {
            Some(address) => vec![address],
            None => {
                // Absolute, so that no search list turns it into a name of the local network; a listed host is what the operator calls it.
                let name = if self.policy.lists(host, port) { host.to_owned() } else { format!("{host}.") };
                self.resolver.resolve(&name).await.map_err(|error| unknown(error.to_string()))?
            }
        };
        for address in &addresses {
            // Checked for literals, too: the target may have been parsed under another policy.
            if let Some(class) = self.policy.objection(host, port, *address) {
                return Err(Refused::Address { host: host.to_owned(), address: *address, class }.into());
            }
        }
        if !target.is_encrypted() && !self.policy.allows_plain(host, port) {
            return Err(Refused::Plain { host: host.to_owned() }.into());
        }
        if addresses.is_empty() {
            return Err(unknown("the resolver knows none".to_owned()));
        }
        Ok(addresses)
    }
}

/// Connects to the first of the checked addresses that accepts.
async fn connect(target: &Target, addresses: &[IpAddr]) -> Result<TcpStream, Error> {
    let mut reason = String::new();
    for address in addresses.iter().take(ADDRESSES_TRIED_MAX) {
        let connecting = TcpStream::connect(SocketAddr::new(*address, target.port()));
        match tokio::time::timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => reason = error.to_string(),
            Err(_) => reason = format!("nothing within {} s", CONNECT_TIME.as_secs()),
        }
    }
    Err(Error::Connect { origin: target.to_string(), reason })
}

/// One exchange over a connection of its own, which ends with it.
async fn ask<S>(target: &Target, socket: S, request: Request, body_bytes: usize) -> Result<Answer, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let broken = |error: hyper::Error| Error::Http { origin: target.to_string(), reason: error.to_string() };
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(head(target, request)?).await.map_err(broken)?;
        let (parts, mut incoming) = answer.into_parts();
        if parts.status.is_redirection() {
            return Err(Error::Redirected { origin: target.to_string(), status: parts.status.as_u16() });
        }
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if body.len().saturating_add(data.len()) > body_bytes {
                return Err(Error::TooLarge { origin: target.to_string(), limit_bytes: body_bytes });
            }
            body.extend_from_slice(&data);
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.freeze() })
    };
    let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    let mut is_open = true;
    loop {
        tokio::select! {
            done = &mut exchange => return done,
            // What was read before the end is still delivered to the exchange.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

fn head(target: &Target, request: Request) -> Result<http::Request<Full<Bytes>>, Error> {
    let invalid = |reason: String| Error::Http { origin: target.to_string(), reason };
    let mut head = http::Request::builder()
        .method(request.method)
        .uri(target.path())
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, concat!("sealcast/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close")
        .body(Full::new(request.body))
        .map_err(|error| invalid(error.to_string()))?;
    head.headers_mut().extend(request.headers);
    Ok(head)
}
