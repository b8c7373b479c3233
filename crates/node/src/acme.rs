//! Certificates that browsers trust, from an ACME server (RFC 8555), for the names under which viewers reach this node.
//!
//! The ACME server checks that the names are ours on the node's own listener for viewers (TLS-ALPN-01, RFC 8737): port 443 of each name
//! has to lead there. Account, answers and certificate are files in one directory. Nodes with the same names, such as two load balancers,
//! share that directory: the one that holds its lock orders it, all of them can answer, and all read the certificate when it changes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use instant_acme::{
    Account, AuthorizationStatus, BytesResponse, ChallengeType, HttpClient, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rand::Rng;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Clock;
use crate::files::{self, MODE_PUBLIC, MODE_SECRET};
use crate::tls::{self, Identity, PublicPaths};

/// Most names of one certificate: what public authorities accept.
pub const NAMES_MAX: usize = 100;
/// How often a node checks whether the certificate has to be renewed.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);
/// First pause after a failure. Public authorities count failures by the hour.
const RETRY_DELAY_MIN: Duration = Duration::from_secs(5 * 60);
/// Longest pause after failures.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(6 * 3600);
/// Longest wait for one answer of the server.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(20);
/// Longest wait for the server to check the names, and again for it to make the certificate.
const CHECK_WAIT_MAX: Duration = Duration::from_secs(120);
/// Longest time for all of it; ends whatever hangs.
const OBTAIN_WAIT_MAX: Duration = Duration::from_secs(300);
/// Most orders in one go while the server refuses nonces (RFC 8555, section 6.5): it asks to be asked again, and counts no failure.
const ORDERS_MAX: usize = 4;
/// Problem type of such a refusal.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// Longest answer of the server, in bytes: a chain of certificates.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What to check when a server does not accept that a name is ours.
const LOOK_AT: &str = "each name has to lead, on port 443, to this node's listener for viewers";
/// The certificate and its key, in the state directory: one file, so that no crash leaves one of them without the other.
const CERTIFICATE_FILE: &str = "certificate.pem";
/// Authorities that the system trusts (Debian's `ca-certificates`).
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the ACME server's directory object.
    pub directory: String,
    /// Host names of the certificate, 1 to 100; each has to lead to this node's listener for viewers on port 443.
    pub names: Vec<String>,
    /// Address that the ACME server may write to. Default: none.
    #[serde(default)]
    pub email: Option<String>,
    /// PEM file of the authority that signed the ACME server's own certificate, if the system does not trust it. Default: none.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Directory of account, answers and certificate; nodes with the same names share it. Default: `acme` in the node's own directory.
    #[serde(default)]
    pub state: Option<PathBuf>,
}

impl Config {
    /// Checks it as a whole.
    ///
    /// # Errors
    /// When a field is not valid; names it.
    pub fn check(&self) -> Result<()> {
        ensure!(self.directory.starts_with("https://"), "acme.directory = {:?}: use https://…", self.directory);
        ensure!((1..=NAMES_MAX).contains(&self.names.len()), "acme.names: give 1 to {NAMES_MAX} names");
        for name in &self.names {
            let is_name = tls::challenge_paths(Path::new(""), name).is_some() && name.contains('.');
            ensure!(is_name, "acme.names: {name:?} is no full host name (wildcards need DNS, and are not supported)");
        }
        ensure!(self.email.as_ref().is_none_or(|email| email.contains('@')), "acme.email is no address");
        Ok(())
    }

    /// Where account, answers and certificate are kept; `data` is the directory of the node that obtains it.
    fn state_in(&self, data: &Path) -> PathBuf {
        self.state.clone().unwrap_or_else(|| data.join("acme"))
    }

    /// The certificate's file, for a node that shows it and does not obtain it. `data` is the directory of the node that obtains it.
    pub fn obtained(&self, data: &Path) -> PublicPaths {
        let file = self.state_in(data).join(CERTIFICATE_FILE);
        PublicPaths { certificate: file.clone(), key: file, is_made_later: true, challenges: None }
    }

    fn names_text(&self) -> String {
        self.names.join(", ")
    }
}

/// Obtains and renews the certificate of one node.
pub struct Acme {
    config: Config,
    state: PathBuf,
    identity: Arc<Identity>,
    clock: Clock,
    http: reqwest::Client,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("names", &self.config.names).finish_non_exhaustive()
    }
}

impl Acme {
    /// Checks the configuration, and has `identity` show the certificate as soon as there is one. `data` is the node's directory.
    ///
    /// # Errors
    /// When a field of the configuration is not valid, or a file cannot be used; names it.
    pub fn load(config: Config, identity: Arc<Identity>, clock: Clock, data: &Path) -> Result<Self> {
        config.check()?;
        let state = config.state_in(data);
        files::create_private_directory(&state)?;
        let challenges = state.join("challenges");
        files::create_private_directory(&challenges)?;
        let http = http_client(config.ca.as_deref())?;
        let this = Self { config, state, identity, clock, http };
        this.identity.add_public(PublicPaths {
            certificate: this.certificate(),
            key: this.certificate(),
            is_made_later: true,
            challenges: Some(challenges),
        })?;
        Ok(this)
    }

    fn certificate(&self) -> PathBuf {
        self.state.join(CERTIFICATE_FILE)
    }

    /// Obtains and renews until `shutdown`. Never fails: it logs an error, and tries again later.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let wait = match self.step().await {
                Ok(()) => {
                    delay = RETRY_DELAY_MIN;
                    LOOK_INTERVAL
                }
                Err(error) => {
                    tracing::warn!(names = %self.config.names_text(), error = %format!("{error:#}"), again_in = ?delay, "no certificate");
                    let wait = delay.mul_f64(rand::rng().random_range(0.8..1.2));
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                    wait
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Obtains a certificate if one is due and no other node is obtaining it.
    ///
    /// # Errors
    /// When no certificate is obtained; names the host name, what the server said, and what to look at.
    pub async fn step(&self) -> Result<()> {
        if !self.is_due() {
            return Ok(());
        }
        let Some(_lock) = self.lock()? else { return Ok(()) };
        let obtained = tokio::time::timeout(OBTAIN_WAIT_MAX, self.obtain_despite_nonces()).await;
        // Nobody asks for these answers any more. They reveal nothing, but need not stay.
        for name in &self.config.names {
            self.remove_answer(name);
        }
        let (chain, key) = obtained.with_context(|| format!("the server took longer than {OBTAIN_WAIT_MAX:?}"))??;
        let both = zeroize::Zeroizing::new(format!("{}\n{}", chain.trim_end(), *key));
        files::atomic_write(&self.certificate(), both.as_bytes(), MODE_SECRET)?;
        self.identity.reread()?;
        tracing::info!(names = %self.config.names_text(), "certificate obtained");
        Ok(())
    }

    /// Whether there is no certificate, it lacks a name, or less than a third of its life is left.
    fn is_due(&self) -> bool {
        let path = self.certificate();
        let leaf = files::read_bounded(&path).and_then(|pem| tls::parse_certificates(&pem, &path));
        let Some(leaf) = leaf.ok().and_then(|chain| chain.into_iter().next()) else { return true };
        let names = tls::names_of(&leaf);
        let has_all = self.config.names.iter().all(|name| names.iter().any(|there| there.eq_ignore_ascii_case(name)));
        !has_all || ends_soon(&leaf, self.clock.wall().0 / 1_000)
    }

    /// One node at a time orders; the others with the same directory look again later.
    fn lock(&self) -> Result<Option<File>> {
        let path = self.state.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Orders again at once when the server refuses a nonce more often than the library asks again.
    async fn obtain_despite_nonces(&self) -> Result<(String, zeroize::Zeroizing<String>)> {
        let mut orders = 1;
        loop {
            match self.obtain().await {
                Err(error) if orders < ORDERS_MAX && is_bad_nonce(&error) => orders += 1,
                obtained => return obtained,
            }
        }
    }

    /// The chain and its key, as PEM.
    async fn obtain(&self) -> Result<(String, zeroize::Zeroizing<String>)> {
        let account = self.account().await?;
        let identifiers: Vec<Identifier> = self.config.names.iter().cloned().map(Identifier::Dns).collect();
        let names = self.config.names_text();
        let order = account.new_order(&NewOrder::new(&identifiers)).await;
        let mut order = order.with_context(|| format!("the server refused an order for {names}"))?;
        self.answer(&mut order).await?;
        let retries = RetryPolicy::new().timeout(CHECK_WAIT_MAX);
        match order.poll_ready(&retries).await {
            Ok(OrderStatus::Ready) => {}
            Ok(status) => bail!("the order for {names} is {status:?}; {LOOK_AT}"),
            Err(error) => {
                let refused = self.refused(&mut order).await;
                let refused = if refused.is_empty() { names } else { refused };
                return Err(error).with_context(|| format!("the server's check of {refused} failed; {LOOK_AT}"));
            }
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(self.config.names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        order
            .finalize_csr(request.der())
            .await
            .with_context(|| format!("the server refused to sign a certificate for {names}"))?;
        let chain = order.poll_certificate(&retries).await;
        let chain = chain.with_context(|| format!("the server did not deliver the certificate of {names}"))?;
        Ok((chain, zeroize::Zeroizing::new(key.serialize_pem())))
    }

    /// The account at this server, made when there is none.
    async fn account(&self) -> Result<Account> {
        // An account belongs to one server.
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.config.directory.as_bytes());
        let tag: String = hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let path = self.state.join(format!("account-{tag}.json"));
        let builder = Account::builder_with_http(Box::new(Http(self.http.clone())));
        let server = &self.config.directory;
        if path.exists() {
            let text = zeroize::Zeroizing::new(files::read_bounded(&path)?);
            let credentials = serde_json::from_slice(&text);
            let credentials = credentials.with_context(|| format!("{} is not an account", path.display()))?;
            return builder.from_credentials(credentials).await.with_context(|| format!("the account at {server}"));
        }
        let contact = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) =
            builder.create(&new, server.clone(), None).await.with_context(|| format!("no account at {server}"))?;
        files::atomic_write(&path, &serde_json::to_vec(&credentials)?, MODE_SECRET)?;
        tracing::info!(server, "ACME account made");
        Ok(account)
    }

    /// Puts an answer for each name where the viewers' listeners find it, and tells the server.
    async fn answer(&self, order: &mut Order) -> Result<()> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.context("the server does not say what it wants to check")?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => bail!("{name}: the server's answer to an earlier check still stands: {status:?}"),
            }
            let mut challenge = authorization
                .challenge(ChallengeType::TlsAlpn01)
                .with_context(|| format!("{name}: the server does not check by TLS-ALPN-01"))?;
            let digest = challenge.key_authorization();
            self.write_answer(&name, digest.digest().as_ref())?;
            challenge.set_ready().await.with_context(|| format!("{name}: the server does not begin its check"))?;
        }
        Ok(())
    }

    /// RFC 8737, section 3: a self-signed certificate for the name, with the digest in it.
    fn write_answer(&self, name: &str, digest: &[u8]) -> Result<()> {
        let (certificate_path, key_path) = self.answer_paths(name)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?;
        files::atomic_write(&key_path, key.serialize_pem().as_bytes(), MODE_SECRET)?;
        files::atomic_write(&certificate_path, certificate.pem().as_bytes(), MODE_PUBLIC)
    }

    fn answer_paths(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let paths = tls::challenge_paths(&self.state.join("challenges"), name);
        paths.with_context(|| format!("the server asks for {name:?}, which is no host name"))
    }

    fn remove_answer(&self, name: &str) {
        if let Ok((certificate, key)) = self.answer_paths(name) {
            // They may never have been written.
            let _ = std::fs::remove_file(certificate);
            let _ = std::fs::remove_file(key);
        }
    }

    /// The names that the server does not accept as ours.
    async fn refused(&self, order: &mut Order) -> String {
        let mut refused = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(authorization)) = authorizations.next().await {
            if authorization.status == AuthorizationStatus::Invalid {
                refused.push(authorization.identifier().to_string());
            }
        }
        refused.join(", ")
    }
}

/// Whether the server refused a request for nothing but its nonce.
fn is_bad_nonce(error: &anyhow::Error) -> bool {
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<instant_acme::Error>());
    matches!(refused, Some(instant_acme::Error::Api(problem)) if problem.r#type.as_deref() == Some(BAD_NONCE))
}

/// Whether less than a third of its life is left.
fn ends_soon(leaf: &CertificateDer<'_>, now_s: i64) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return true };
    let (from, to) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    now_s.saturating_mul(3) >= from.saturating_add(to.saturating_mul(2))
}

fn http_client(ca: Option<&Path>) -> Result<reqwest::Client> {
    tls::provider();
    let mut builder = reqwest::Client::builder()
        .use_rustls_tls()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_WAIT_MAX)
        .user_agent(concat!("sealcast/", env!("CARGO_PKG_VERSION")));
    let system = Some(Path::new(SYSTEM_AUTHORITIES)).filter(|path| path.exists());
    ensure!(
        ca.is_some() || system.is_some(),
        "{SYSTEM_AUTHORITIES} is not there: install ca-certificates, or give acme.ca"
    );
    for path in [system, ca].into_iter().flatten() {
        let bundle = reqwest::Certificate::from_pem_bundle(&files::read_bounded(path)?);
        for certificate in bundle.with_context(|| format!("{} holds no certificates", path.display()))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().context("cannot make an HTTPS client")
}

/// Our HTTP client, as the ACME library takes it.
struct Http(reqwest::Client);

type Answer = std::result::Result<BytesResponse, instant_acme::Error>;

impl HttpClient for Http {
    fn request(
        &self,
        request: axum::http::Request<instant_acme::BodyWrapper<bytes::Bytes>>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Answer> + Send>> {
        let client = self.0.clone();
        Box::pin(async move { ask(client, request).await.map_err(|error| instant_acme::Error::Other(error.into())) })
    }
}

async fn ask(
    client: reqwest::Client,
    request: axum::http::Request<instant_acme::BodyWrapper<bytes::Bytes>>,
) -> Result<BytesResponse> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(axum::body::Body::new(body), ANSWER_BYTES_MAX).await?;
    let sent = client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send();
    let answer = sent.await.map_err(|error| {
        // reqwest's text leaves out the cause.
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        anyhow::anyhow!("{error}{cause}")
    })?;
    let mut builder = axum::http::Response::builder().status(answer.status());
    if let Some(headers) = builder.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let body = crate::answer::body(answer, ANSWER_BYTES_MAX).await?;
    let (parts, ()) = builder.body(())?.into_parts();
    Ok(BytesResponse { parts, body: Box::new(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: &str) -> anyhow::Error {
        let problem = serde_json::json!({ "type": kind, "detail": "no", "status": 400 });
        let problem: instant_acme::Problem = serde_json::from_value(problem).unwrap();
        anyhow::Error::from(instant_acme::Error::Api(problem)).context("the server refused an order for a.test")
    }

    #[test]
    fn only_a_refused_nonce_is_asked_again_at_once() {
        assert!(is_bad_nonce(&refusal(BAD_NONCE)));
        assert!(!is_bad_nonce(&refusal("urn:ietf:params:acme:error:rateLimited")));
        assert!(!is_bad_nonce(&anyhow::anyhow!("{BAD_NONCE}")));
    }
}
