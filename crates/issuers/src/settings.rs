//! The settings of an issuer. Pure.

use anyhow::ensure;
use outbound::{Policy, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algorithm::Algorithm;
use crate::sign_in::SignIn;

/// Most issuers of a cluster: each has its keys in memory.
pub const ISSUERS_MAX: usize = 32;
/// Most audiences, and most rules, of an issuer.
const LIST_MAX: usize = 50;
/// Longest leeway in seconds: a longer one would hide a wrong clock.
const LEEWAY_S_MAX: u64 = 60;
/// Longest text of a setting, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// An issuer of tokens (`[[issuers]]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What its tokens have as `iss`, exactly: with or without the slash at the end.
    pub url: String,
    /// A token has one of these in `aud`, or as `azp`. At least one: otherwise tokens for other programs would count here.
    pub audiences: Vec<String>,
    /// Algorithms that it may sign with; all of them are asymmetric. Default: `RS256`, `ES256` and `EdDSA`.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Where its public keys are (JWKS, RFC 7517); https, and on a public address unless `outbound_allow` lists it.
    pub jwks_url: String,
    /// By how much clocks may differ, in seconds, at most 60. Default: 30.
    #[serde(default = "default_leeway_s")]
    pub leeway_s: u64,
    /// What its tokens are good for; nothing, where it only signs people in.
    pub uses: Vec<Use>,
    /// Which role a token gives. The first rule that matches counts; a token that none matches is refused.
    pub rules: Vec<Rule>,
    /// The claim that names the streams which a token may publish: a text or a list of texts. `["*"]` means all. Default: `streams`.
    #[serde(default = "default_streams_claim")]
    pub streams_claim: String,
    /// How people sign in with it. Default: not at all. Only control's configuration has it, so no document says it.
    #[serde(default, skip_serializing)]
    pub sign_in: Option<SignIn>,
}

/// What a token can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Requests to the API.
    Api,
    /// RTMP, in place of a stream key.
    Publish,
    /// Watching what is not public.
    View,
}

/// Who somebody is to a tenant. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    /// May publish.
    Producer,
    Owner,
    Operator,
}

impl Role {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Producer => "producer",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }
}

/// A claim that gives a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the claim; dots lead into objects, as in `realm_access.roles`.
    pub claim: String,
    /// The claim's text, one of its list, or one of the words of `scope`.
    pub equals: String,
    /// The role that a token with it has.
    pub role: Role,
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
}

const fn default_leeway_s() -> u64 {
    30
}

fn default_streams_claim() -> String {
    "streams".to_owned()
}

impl Settings {
    /// Checks it as a whole. `policy` says where keys may be fetched from.
    ///
    /// # Errors
    /// When a field is not valid; names issuer and field.
    pub fn check(&self, policy: &Policy) -> anyhow::Result<Target> {
        let issuer = format!("issuer {:?}", self.url.chars().take(100).collect::<String>());
        ensure!(!self.url.is_empty(), "an issuer has no url: it is what its tokens have as iss");
        ensure!(
            !self.audiences.is_empty(),
            "{issuer}: audiences is empty, so that tokens for other programs would count here"
        );
        ensure!(!self.algorithms.is_empty(), "{issuer}: algorithms is empty");
        let has_use = !self.uses.is_empty() || self.sign_in.is_some();
        ensure!(has_use, "{issuer}: uses is empty: give api, publish or view, or say how people sign in");
        ensure!(!self.rules.is_empty(), "{issuer}: rules is empty, so that every token would be refused");
        ensure!(self.leeway_s <= LEEWAY_S_MAX, "{issuer}: leeway_s = {} is more than {LEEWAY_S_MAX}", self.leeway_s);
        ensure!(
            self.audiences.len() <= LIST_MAX && self.rules.len() <= LIST_MAX,
            "{issuer}: more than {LIST_MAX} audiences or rules"
        );
        let texts = self.audiences.iter().map(|text| ("audiences", text));
        let texts = texts.chain([("url", &self.url), ("streams_claim", &self.streams_claim)]);
        let rules = self.rules.iter().flat_map(|rule| [("rules.claim", &rule.claim), ("rules.equals", &rule.equals)]);
        for (field, text) in texts.chain(rules) {
            ensure!((1..=TEXT_BYTES_MAX).contains(&text.len()), "{issuer}: {field}: 1 to {TEXT_BYTES_MAX} bytes");
        }
        if let Some(sign_in) = &self.sign_in {
            sign_in.check(policy).map_err(|error| anyhow::anyhow!("{issuer}: {error}"))?;
        }
        Target::parse(&self.jwks_url, policy).map_err(|refused| anyhow::anyhow!("{issuer}: jwks_url: {refused}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An issuer whose tokens publish.
    pub(crate) fn settings() -> Settings {
        Settings {
            url: "https://idp.example/".to_owned(),
            audiences: vec!["sealcast".to_owned()],
            algorithms: default_algorithms(),
            jwks_url: "https://idp.example/jwks".to_owned(),
            leeway_s: default_leeway_s(),
            uses: vec![Use::Publish],
            rules: vec![Rule { claim: "role".to_owned(), equals: "streamer".to_owned(), role: Role::Producer }],
            streams_claim: default_streams_claim(),
            sign_in: None,
        }
    }

    fn error(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        settings.check(&Policy::default()).unwrap_err().to_string()
    }

    #[test]
    fn issuer_without_audience_or_with_a_key_url_inside_does_not_start() {
        settings().check(&Policy::default()).unwrap();
        let audience = error(|s| s.audiences.clear());
        assert!(audience.starts_with("issuer \"https://idp.example/\": audiences is empty"), "{audience}");
        assert!(error(|s| s.audiences.push(String::new())).contains("audiences: 1 to 512 bytes"));
        assert!(error(|s| s.algorithms.clear()).contains("algorithms is empty"));
        assert!(error(|s| s.uses.clear()).contains("uses is empty"));
        assert!(error(|s| s.rules.clear()).contains("rules is empty"));
        assert!(error(|s| s.leeway_s = 61).contains("leeway_s = 61 is more than 60"));
        let inside = error(|s| s.jwks_url = "https://169.254.169.254/".to_owned());
        assert!(inside.contains("jwks_url: 169.254.169.254 leads to"), "{inside}");
        assert!(error(|s| s.jwks_url = "http://idp.example/jwks".to_owned()).contains("not encrypted"));
    }

    #[test]
    fn symmetric_algorithms_cannot_be_configured() {
        let of = |algorithms: &str| {
            serde_json::from_str::<Settings>(&format!(
                r#"{{"url": "a", "audiences": ["b"], "jwks_url": "c", "uses": ["publish"], "rules": [], "algorithms": {algorithms}}}"#
            ))
        };
        assert_eq!(of(r#"["ES384"]"#).unwrap().algorithms, [Algorithm::ES384]);
        for wrong in ["HS256", "none", "ES512", "rs256"] {
            let said = of(&format!("[{wrong:?}]")).unwrap_err().to_string();
            assert!(said.contains("unknown variant") && said.contains("`RS256`"), "{said}");
        }
    }
}
