//! The issuers at which people sign in: what the configuration says of them, and the exchange of a code for what an issuer says of a person.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::http::{HeaderValue, Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use issuers::{Bounds, Identity, Issuers, Question, SignIn, id_token};
use node::clock::Clock;
use node::files;
use outbound::{Limits, Outbound, Policy, Request, Target, Trust};
use zeroize::Zeroizing;

use super::flow::Flow;
use crate::Config;

/// What an exchange may take: people wait for it.
const EXCHANGE: Limits = Limits { time: Duration::from_secs(10), body_bytes: 64 * 1024 };
/// Longest code in bytes.
const CODE_BYTES_MAX: usize = 2_048;

/// An issuer at which people sign in.
pub(crate) struct Known {
    /// What its tokens have as `iss`.
    pub(crate) url: String,
    pub(crate) sign_in: SignIn,
    token: Target,
    secret: Option<Zeroizing<String>>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct SignIns {
    /// Nothing where nobody signs in at an issuer.
    at: Option<(Arc<Issuers>, Outbound)>,
    known: Vec<Known>,
}

impl SignIns {
    /// Reads what the configuration says. Fetches nothing yet.
    ///
    /// # Errors
    /// When a setting is not valid, or a secret cannot be read; names it.
    pub(crate) fn load(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let settings: Vec<_> = config.issuers.iter().filter(|issuer| issuer.sign_in.is_some()).cloned().collect();
        if settings.is_empty() {
            return Ok(Self::default());
        }
        let policy = Policy::new(&config.outbound_allow).context("outbound_allow")?;
        let provider = node::tls::provider();
        let trust = Trust::load(config.outbound_ca.as_deref(), provider)?;
        let outbound = Outbound::new(policy, &trust);
        let mut known = Vec::with_capacity(settings.len());
        for issuer in &settings {
            let Some(sign_in) = issuer.sign_in.clone() else { continue };
            let is_taken = known.iter().any(|other: &Known| other.url == issuer.url);
            ensure!(!is_taken, "issuer {:?} signs people in twice", issuer.url);
            let secret = sign_in.client_secret_file.as_deref().map(|path| {
                let text = Zeroizing::new(String::from_utf8(files::read_bounded(path)?)?);
                anyhow::Ok(Zeroizing::new(text.trim().to_owned()))
            });
            let secret =
                secret.transpose().with_context(|| format!("issuer {:?}: sign_in.client_secret_file", issuer.url))?;
            let token = sign_in.check(outbound.policy())?;
            known.push(Known { url: issuer.url.clone(), sign_in, token, secret });
        }
        let issuers = Issuers::load(settings, &outbound, clock, Bounds::default())?;
        Ok(Self { at: Some((issuers, outbound)), known })
    }

    pub(crate) fn all(&self) -> &[Known] {
        &self.known
    }

    /// The issuer with this URL.
    pub(crate) fn find(&self, url: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.url == url)
    }

    /// Where a browser goes.
    pub(crate) fn url(known: &Known, flow: &Flow) -> String {
        let Flow { state, nonce, redirect_url, .. } = flow;
        known.sign_in.url(&Question { redirect_url, state, nonce, challenge: &flow.challenge() })
    }

    /// Exchanges a code for what the issuer says of the person who has brought it.
    ///
    /// # Errors
    /// When the issuer does not answer, or says something else; the text is for the log, and has no secret.
    pub(crate) async fn exchange(&self, flow: &Flow, code: &str) -> anyhow::Result<Identity> {
        let known = self.find(&flow.issuer).context("the issuer is not configured any more")?;
        let (issuers, outbound) = self.at.as_ref().context("there is no issuer")?;
        ensure!((1..=CODE_BYTES_MAX).contains(&code.len()), "the code has {} bytes", code.len());
        let body = known.sign_in.exchange(code, &flow.redirect_url, &flow.verifier);
        let mut request = Request { method: Method::POST, body: Bytes::from(body), ..Request::get_json() };
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, form);
        if let Some(secret) = &known.secret {
            let basic = Zeroizing::new(STANDARD.encode(known.sign_in.basic(secret)));
            let mut value = HeaderValue::try_from(format!("Basic {}", *basic)).context("the secret is no header")?;
            value.set_sensitive(true);
            request.headers.insert(header::AUTHORIZATION, value);
        }
        let answer = outbound.send(&known.token, request, EXCHANGE).await?;
        if answer.status != StatusCode::OK {
            bail!("{} answers {}: it does not take the code", known.token, answer.status);
        }
        let token = id_token(answer.body_for_parsing())?;
        Ok(issuers.check_id_token(&known.url, &token, &flow.nonce).await?)
    }

    /// Keeps the keys of all issuers fresh until `shutdown`.
    pub(crate) async fn run(&self, shutdown: node::CancellationToken) {
        match &self.at {
            Some((issuers, _)) => issuers.run(shutdown).await,
            None => shutdown.cancelled().await,
        }
    }
}
