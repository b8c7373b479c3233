//! Signing people in at an issuer (OpenID Connect Core 1.0, code flow, with PKCE): the settings, the URL to which a browser goes, and the
//! exchange of its code. Pure.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::ensure;
use outbound::{Policy, Target};
use schemars::JsonSchema;
use serde::Deserialize;

/// Longest text of a setting, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// How the challenge follows from the verifier (RFC 7636, 4.2): by SHA-256.
const CHALLENGE_METHOD: &str = "S256";
/// Most scopes that are asked for.
const SCOPES_MAX: usize = 20;

/// How people sign in at an issuer (`[issuers.sign_in]`). The issuer has to know `https://HOST/api/v1/auth/callback` as redirect URI.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// What people read, such as the name of the school.
    pub name: String,
    /// What the issuer calls Sealcast; the ID tokens have it as `aud`.
    pub client_id: String,
    /// File with the client's secret. Default: none, for a public client; PKCE is used in any case.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Where browsers are sent: `authorization_endpoint` of the issuer's discovery document.
    pub authorization_url: String,
    /// Where codes are exchanged: `token_endpoint` of the same.
    pub token_url: String,
    /// What is asked for. Default: `openid`, `profile` and `email`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Slug of the tenant whose members these people are. Default: `default`.
    #[serde(default = "default_tenant")]
    pub tenant: String,
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

fn default_tenant() -> String {
    "default".to_owned()
}

/// What a browser takes to the issuer, and brings back.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub redirect_url: &'a str,
    /// Comes back with the code.
    pub state: &'a str,
    /// Stands in the ID token.
    pub nonce: &'a str,
    /// SHA-256 of what the exchange has to show, in base64url (RFC 7636, 4.2).
    pub challenge: &'a str,
}

impl SignIn {
    /// Checks it as a whole; returns where codes are exchanged.
    ///
    /// # Errors
    /// When a field is not valid; names it.
    pub fn check(&self, policy: &Policy) -> anyhow::Result<Target> {
        let texts = [("name", &self.name), ("client_id", &self.client_id), ("tenant", &self.tenant)];
        for (field, text) in texts.into_iter().chain(self.scopes.iter().map(|scope| ("scopes", scope))) {
            let is_plain = (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
            ensure!(is_plain, "sign_in.{field}: 1 to {TEXT_BYTES_MAX} bytes without control characters");
        }
        ensure!(self.scopes.len() <= SCOPES_MAX, "sign_in.scopes: more than {SCOPES_MAX}");
        ensure!(self.scopes.iter().any(|scope| scope == "openid"), "sign_in.scopes: openid is missing");
        let is_url = self.authorization_url.starts_with("https://")
            && self.authorization_url.len() <= TEXT_BYTES_MAX
            && self.authorization_url.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte));
        ensure!(is_url, "sign_in.authorization_url: use https://…, without a fragment");
        Target::parse(&self.token_url, policy).map_err(|refused| anyhow::anyhow!("sign_in.token_url: {refused}"))
    }

    /// The URL to which a browser goes (OpenID Connect Core, 3.1.2.1).
    pub fn url(&self, question: &Question<'_>) -> String {
        let scopes = self.scopes.join(" ");
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", question.redirect_url),
            ("scope", &scopes),
            ("state", question.state),
            ("nonce", question.nonce),
            ("code_challenge", question.challenge),
            ("code_challenge_method", CHALLENGE_METHOD),
        ];
        let separator = if self.authorization_url.contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", self.authorization_url, form(&parameters))
    }

    /// The body by which a code is exchanged (RFC 6749, 4.1.3). A client with a secret shows it in a header, and its name there, too.
    pub fn exchange(&self, code: &str, redirect_url: &str, verifier: &str) -> String {
        let mut parameters = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_url),
            ("code_verifier", verifier),
        ];
        if self.client_secret_file.is_none() {
            parameters.push(("client_id", &self.client_id));
        }
        form(&parameters)
    }

    /// Name and secret of the client, for `Authorization: Basic` (RFC 6749, 2.3.1), before base64.
    pub fn basic(&self, secret: &str) -> String {
        format!("{}:{}", encoded(&self.client_id), encoded(secret))
    }
}

/// `application/x-www-form-urlencoded`.
fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// Everything is encoded but what is unreserved everywhere (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in() -> SignIn {
        SignIn {
            name: "School".to_owned(),
            client_id: "seal cast".to_owned(),
            client_secret_file: None,
            authorization_url: "https://id.example/auth?realm=a".to_owned(),
            token_url: "https://id.example/token".to_owned(),
            scopes: default_scopes(),
            tenant: default_tenant(),
        }
    }

    #[test]
    fn urls_and_bodies_carry_what_they_say_and_nothing_else() {
        let question = Question { redirect_url: "https://h/c?a=b&c", state: "s&t", nonce: "n", challenge: "c-_" };
        assert_eq!(
            sign_in().url(&question),
            "https://id.example/auth?realm=a&response_type=code&client_id=seal%20cast&redirect_uri=https%3A%2F%2Fh%2Fc%3Fa%3Db%26c\
             &scope=openid%20profile%20email&state=s%26t&nonce=n&code_challenge=c-_&code_challenge_method=S256"
        );
        let body = sign_in().exchange("a&client_id=x", "https://h/c", "v");
        assert_eq!(
            body,
            "grant_type=authorization_code&code=a%26client_id%3Dx&redirect_uri=https%3A%2F%2Fh%2Fc&code_verifier=v&client_id=seal%20cast"
        );
        let secret = SignIn { client_secret_file: Some("file".into()), ..sign_in() };
        assert!(!secret.exchange("a", "b", "c").contains("client_id"));
        assert_eq!(secret.basic("a:b ü"), "seal%20cast:a%3Ab%20%C3%BC");
    }

    #[test]
    fn settings_that_lead_nowhere_or_inside_do_not_start() {
        sign_in().check(&Policy::default()).unwrap();
        let error = |change: fn(&mut SignIn)| {
            let mut settings = sign_in();
            change(&mut settings);
            settings.check(&Policy::default()).unwrap_err().to_string()
        };
        assert!(error(|s| s.authorization_url = "http://id.example/".to_owned()).contains("authorization_url"));
        assert!(error(|s| s.authorization_url = "javascript:alert(1)".to_owned()).contains("authorization_url"));
        assert!(error(|s| s.authorization_url.push_str("#x")).contains("authorization_url"));
        assert!(error(|s| s.token_url = "https://169.254.169.254/".to_owned()).contains("token_url"));
        assert!(error(|s| s.scopes = vec!["profile".to_owned()]).contains("openid is missing"));
        assert!(error(|s| s.client_id.clear()).contains("client_id"));
    }
}
