//! An issuer of tokens with faults that a test switches on: HTTPS on loopback, its keys at `/jwks`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::jwt::SigningKey;

/// How the issuer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// 503.
    Down,
    /// It takes the request, and answers when the fault is over.
    Slow,
    /// 302 to the same place without TLS.
    RedirectToHttp,
    /// 200, with a page for people.
    Html,
    /// 20 MB of JSON.
    Huge,
    /// 200 and `{"keys":[]}`.
    NoKeys,
    /// It ends the connection without an answer.
    Reset,
}

/// The issuer.
pub struct Issuer {
    address: SocketAddr,
    directory: TempDir,
    state: Arc<State>,
}

struct State {
    keys: Mutex<Vec<Value>>,
    fault: watch::Sender<Fault>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    /// By how much its clock is ahead of this machine's, in seconds.
    clock_ahead_s: AtomicI64,
}

impl Issuer {
    /// Serves these keys until the test ends.
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        std::fs::write(directory.path().join("ca.pem"), own.cert.pem()).unwrap();
        let certificate = CertificateDer::from(own.cert.der().to_vec());
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            keys: Mutex::default(),
            fault: watch::Sender::new(Fault::None),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            clock_ahead_s: AtomicI64::new(0),
        });
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), address, Arc::clone(&state)));
        let issuer = Self { address, directory, state };
        issuer.publish(keys.iter().map(|key| key.jwk()));
        issuer
    }

    /// `iss` of its tokens.
    pub fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("https://{}/jwks", self.address)
    }

    /// The authority of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Serves these keys from now on.
    pub fn publish(&self, keys: impl IntoIterator<Item = Value>) {
        *self.state.keys.lock().unwrap() = keys.into_iter().collect();
    }

    /// Answers so from now on. [`Fault::Slow`] ends with the next one.
    pub fn set(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
    }

    /// Sets its clock.
    pub fn set_clock_ahead_s(&self, seconds: i64) {
        self.state.clock_ahead_s.store(seconds, Ordering::SeqCst);
    }

    /// Requests for keys so far.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Connections so far, with TLS or without.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, address: SocketAddr, state: Arc<State>) {
    while let Ok((socket, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(socket) = tls.accept(socket).await else { return };
            let answer = service_fn(|request: Request<Incoming>| {
                let (state, path) = (Arc::clone(&state), request.uri().path().to_owned());
                async move { state.answer(&path, address).await }
            });
            // Clients hang up, and faults end connections.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// Ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("reset by the test")]
struct ResetByTest;

impl State {
    async fn answer(&self, path: &str, address: SocketAddr) -> Result<Response<Body>, ResetByTest> {
        let mut answer = Response::builder().header("cache-control", "no-cache, max-age=0").header("date", self.date());
        if path != "/jwks" {
            return Ok(answer.status(404).body(Body::empty()).unwrap());
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut faults = self.fault.subscribe();
        let mut fault = *faults.borrow_and_update();
        while fault == Fault::Slow {
            faults.changed().await.map_err(|_| ResetByTest)?;
            fault = *faults.borrow_and_update();
        }
        let body = match fault {
            Fault::Down => {
                answer = answer.status(503);
                Body::from("secret of the server")
            }
            Fault::RedirectToHttp => {
                answer = answer.status(302).header("location", format!("http://{address}/jwks"));
                Body::empty()
            }
            Fault::Html => Body::from("<!doctype html><title>Sign in</title>"),
            Fault::Huge => Body::from(Bytes::from(vec![b' '; 20_000_000])),
            Fault::NoKeys => Body::from(json!({"keys": []}).to_string()),
            Fault::Reset => return Err(ResetByTest),
            Fault::None | Fault::Slow => Body::from(json!({"keys": *self.keys.lock().unwrap()}).to_string()),
        };
        Ok(answer.body(body).unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "an outside server has a clock of its own")]
    fn date(&self) -> String {
        let ahead = self.clock_ahead_s.load(Ordering::SeqCst);
        let span = std::time::Duration::from_secs(ahead.unsigned_abs());
        let now = std::time::SystemTime::now();
        httpdate::fmt_http_date(if ahead < 0 { now - span } else { now + span })
    }
}
