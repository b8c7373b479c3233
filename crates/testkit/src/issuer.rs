//! An issuer of tokens with faults that a test switches on: HTTPS on loopback, its keys at `/jwks`. People sign in with it, too: the test
//! agrees in their place, and `/token` exchanges the code.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
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
    /// What each code gives, once.
    codes: Mutex<HashMap<String, (Question, String)>>,
    /// What a client has to show, as `NAME:SECRET`; nothing, where it has no secret.
    client: Mutex<Option<String>>,
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
            codes: Mutex::default(),
            client: Mutex::default(),
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

    /// Where browsers go to sign in. The test reads the URL, and goes nowhere.
    pub fn authorization_url(&self) -> String {
        format!("https://{}/authorize", self.address)
    }

    /// Where codes are exchanged.
    pub fn token_url(&self) -> String {
        format!("https://{}/token", self.address)
    }

    /// From now on, the client has to show this secret.
    pub fn want_secret(&self, client_id: &str, secret: &str) {
        *self.state.client.lock().unwrap() = Some(format!("{client_id}:{secret}"));
    }

    /// A person has agreed: returns the code that gives this ID token, once, to whoever shows the verifier.
    pub fn agree(&self, question: &Question, id_token: String) -> String {
        let code = hex(&rand::random::<[u8; 16]>());
        self.state.codes.lock().unwrap().insert(code.clone(), (question.clone(), id_token));
        code
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

/// What a browser takes to the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: String,
    pub nonce: String,
    pub challenge: String,
}

impl Question {
    /// Reads it from the URL, as an issuer does.
    ///
    /// # Panics
    /// When something is missing, or it is not the code flow with PKCE.
    pub fn of(url: &str) -> Self {
        let url = reqwest::Url::parse(url).unwrap();
        let pairs: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let one = |name: &str| pairs.get(name).unwrap_or_else(|| panic!("{name} is missing in {url}")).clone();
        assert_eq!((one("response_type").as_str(), one("code_challenge_method").as_str()), ("code", "S256"));
        assert!(one("scope").split(' ').any(|scope| scope == "openid"), "{url}");
        Self {
            client_id: one("client_id"),
            redirect_uri: one("redirect_uri"),
            state: one("state"),
            nonce: one("nonce"),
            challenge: one("code_challenge"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, address: SocketAddr, state: Arc<State>) {
    while let Ok((socket, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(socket) = tls.accept(socket).await else { return };
            let answer = service_fn(|request: Request<Incoming>| {
                let (state, path) = (Arc::clone(&state), request.uri().path().to_owned());
                async move {
                    if path == "/token" { state.exchange(request).await } else { state.answer(&path, address).await }
                }
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

    /// Exchanges a code (RFC 6749, 4.1.3; RFC 7636, 4.6). A code that was shown once is gone, whatever came of it.
    async fn exchange(&self, request: Request<Incoming>) -> Result<Response<Body>, ResetByTest> {
        let basic = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = axum::body::to_bytes(Body::new(request.into_body()), 64 * 1024).await.map_err(|_| ResetByTest)?;
        let form = format!("https://form/?{}", String::from_utf8_lossy(&body));
        let form = reqwest::Url::parse(&form).map_err(|_| ResetByTest)?;
        let pairs: HashMap<String, String> = form.query_pairs().into_owned().collect();
        let one = |name: &str| pairs.get(name).cloned().unwrap_or_default();
        let wanted = self.client.lock().unwrap().clone().map(|client| format!("Basic {}", STANDARD.encode(client)));
        let found = self.codes.lock().unwrap().remove(&one("code"));
        let good = found.filter(|(question, _)| {
            let shown = URL_SAFE_NO_PAD.encode(Sha256::digest(one("code_verifier")));
            let is_client = if wanted.is_some() { basic == wanted } else { one("client_id") == question.client_id };
            is_client && shown == question.challenge && one("redirect_uri") == question.redirect_uri
        });
        let (status, body) = match good {
            Some((_, id_token)) if one("grant_type") == "authorization_code" => {
                (200, json!({ "access_token": "for nobody", "token_type": "Bearer", "id_token": id_token }))
            }
            _ => (400, json!({ "error": "invalid_grant" })),
        };
        let answer = Response::builder().status(status).header("content-type", "application/json");
        Ok(answer.body(Body::from(body.to_string())).unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "an outside server has a clock of its own")]
    fn date(&self) -> String {
        let ahead = self.clock_ahead_s.load(Ordering::SeqCst);
        let span = std::time::Duration::from_secs(ahead.unsigned_abs());
        let now = std::time::SystemTime::now();
        httpdate::fmt_http_date(if ahead < 0 { now - span } else { now + span })
    }
}
