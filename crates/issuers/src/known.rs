//! An issuer as the metadata log has it, with its keys, or a key that a tenant has registered: whoever has it decides tokens and asks nobody.
//! Control fetches the keys and writes them. Pure.

use aws_lc_rs::digest::{Context, SHA256};
use media::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::decide::{self, KeyProblem, Verified};
use crate::fingerprint::{Fingerprint, Signer};
use crate::jwks::{Key, KeySet};
use crate::refusal::Refusal;
use crate::settings::{Role, Rule, Settings, Use};
use crate::token::Token;
use crate::viewing::{self, Viewing};

/// Most keys of an issuer that the metadata log has: issuers have two or three, and a row has room for some twenty RSA keys.
pub const KEYS_MAX: usize = 16;

/// What the metadata log says of an issuer or a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub kind: DocumentKind,
    pub settings: Settings,
    /// Public keys (RFC 7517).
    pub keys: Vec<Value>,
}

/// What a document is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    Issuer,
    /// One key: its tokens need no `iss` and no rule, and let people watch.
    Key,
}

impl Document {
    /// The document of a registered key, whose tokens name this audience.
    pub fn of_key((name, audience): (&str, String), algorithm: Algorithm, jwk: Value, leeway_s: u64) -> Self {
        let settings = Settings {
            url: name.to_owned(),
            audiences: vec![audience],
            algorithms: vec![algorithm],
            jwks_url: String::new(),
            leeway_s,
            uses: vec![Use::View],
            rules: Vec::<Rule>::new(),
            streams_claim: "streams".to_owned(),
            sign_in: None,
        };
        Self { kind: DocumentKind::Key, settings, keys: vec![jwk] }
    }
}

/// Checks a public key (JWK) that somebody wants to register: for which algorithm it is, and which key.
///
/// # Errors
/// When it is none, is for several algorithms, or is not public.
pub fn registered(jwk: &Value) -> Result<(Algorithm, Fingerprint), &'static str> {
    Key::registered(jwk).map(|(key, algorithm)| (algorithm, key.fingerprint))
}

/// An issuer or a key, ready to decide.
#[derive(Debug)]
pub struct Known {
    /// Slug of the tenant whose streams its tokens concern; `None` for the tenant `default`.
    pub tenant: Option<String>,
    kind: DocumentKind,
    settings: Settings,
    keys: KeySet,
    /// Digest of tenant, identity and settings.
    context: [u8; 32],
}

impl Known {
    /// Reads what the metadata log has; `None` when this version does not understand it, or it has no key.
    pub fn read(id: &str, tenant: Option<&str>, document: &str) -> Option<Self> {
        let Document { kind, settings, keys } = serde_json::from_str(document).ok()?;
        let keys = KeySet::parse(serde_json::json!({ "keys": keys }).to_string().as_bytes()).ok()?;
        let mut context = Context::new(&SHA256);
        let settings_text = serde_json::to_string(&settings).ok()?;
        for text in [id, tenant.unwrap_or_default(), &settings_text] {
            context.update(&text.len().to_be_bytes());
            context.update(text.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Some(Self { tenant: tenant.map(str::to_owned), kind, settings, keys, context: digest })
    }

    /// Whether its tokens are for this.
    pub fn is_for(&self, wanted: Use) -> bool {
        self.settings.uses.contains(&wanted)
    }

    /// All keys whose tokens count.
    pub fn signers(&self) -> impl Iterator<Item = Signer> {
        self.keys.fingerprints().map(|key| self.signer(key))
    }

    fn signer(&self, key: &Fingerprint) -> Signer {
        let mut context = Context::new(&SHA256);
        context.update(&self.context);
        context.update(key.bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Signer(digest)
    }

    /// Decides a token that is to publish.
    ///
    /// # Errors
    /// When the token is not good, or not good for this.
    pub fn publishing(&self, text: &str, now: UnixMillis) -> Result<Verified, Refusal> {
        let token = Token::parse(text)?;
        let key = self.signed(&token, now)?;
        let verified = decide::rights(&self.settings, &token.claims, Use::Publish, key)?;
        Ok(Verified { signer: Some(self.signer(&key)), ..verified })
    }

    /// Decides a token that is to let somebody watch. Says what it allows; whether that is so now, and for a request, is decided elsewhere.
    ///
    /// # Errors
    /// When the token is not good, or not good for this.
    pub fn viewing(&self, text: &str, now: UnixMillis) -> Result<Viewing, Refusal> {
        let token = Token::parse(text)?;
        let key = self.signed(&token, now)?;
        let role = match self.kind {
            DocumentKind::Issuer => decide::rights(&self.settings, &token.claims, Use::View, key)?.role,
            DocumentKind::Key => Role::Viewer,
        };
        viewing::read(&token.claims, &self.settings, (self.signer(&key), role))
    }

    fn signed(&self, token: &Token<'_>, now: UnixMillis) -> Result<Fingerprint, Refusal> {
        if self.kind == DocumentKind::Issuer && token.claims.issuer()? != self.settings.url {
            return Err(Refusal::issuer(&token.claims.issuer, [self.settings.url.as_str()]));
        }
        decide::claims(&self.settings, token, now, None)?;
        decide::signature(&self.keys, token).map_err(|problem| match problem {
            KeyProblem::Ask(refusal) | KeyProblem::Refuse(refusal) => refusal,
        })
    }
}

/// The decision of the first that knows a token: an issuer that is not its own, or a key that did not sign it, leaves it to the next.
///
/// # Errors
/// With what the one said that knows the token's issuer and audience.
pub(crate) fn first<'k, T>(
    all: impl Iterator<Item = &'k Known>,
    mut decide: impl FnMut(&'k Known) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut refused = Refusal::NoIssuer;
    for known in all {
        match decide(known) {
            Ok(done) => return Ok(done),
            Err(refusal) if refused.is_vague() || !refusal.is_vague() => refused = refusal,
            Err(_) => {}
        }
    }
    Err(refused)
}

impl Viewing {
    /// What a token lets its holder watch, by the first of these that knows it.
    ///
    /// # Errors
    /// When none does.
    pub fn of<'k>(text: &str, all: impl Iterator<Item = &'k Known>, now: UnixMillis) -> Result<Self, Refusal> {
        first(all.filter(|known| known.is_for(Use::View)), |known| known.viewing(text, now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::jwt::SigningKey;

    use super::*;
    use crate::decide::Streams;
    use crate::settings::tests::settings;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
    const NOW_S: u64 = 1_700_000_000;

    fn known(document: &Document) -> Known {
        Known::read("iss_1", Some("acme"), &serde_json::to_string(document).unwrap()).unwrap()
    }

    fn document(key: &SigningKey) -> Document {
        let rules = vec![Rule { claim: "role".to_owned(), equals: "fan".to_owned(), role: Role::Viewer }];
        let settings = Settings { uses: vec![Use::View, Use::Publish], rules, ..settings() };
        Document { kind: DocumentKind::Issuer, settings, keys: vec![key.jwk()] }
    }

    fn claims() -> Value {
        json!({ "iss": "https://idp.example/", "aud": "sealcast", "sub": "u1", "role": "fan", "iat": NOW_S, "exp": NOW_S + 300,
                "streams": ["acme.hall"], "jti": "a", "ver": 2, "origins": ["https://a.example"], "strict": true, "max_viewers": 2,
                "admit_by": NOW_S + 60, "chat": true })
    }

    #[test]
    fn issuer_of_the_log_decides_by_itself_and_a_viewer_does_not_publish() {
        let key = SigningKey::p256("a");
        let known = known(&document(&key));
        let text = key.token(&claims());
        let viewing = known.viewing(&text, NOW).unwrap();
        assert_eq!((viewing.begins_s, viewing.ends_s), (NOW_S, NOW_S + 330), "with the leeway");
        assert!(matches!(&viewing.streams, Streams::These(names) if names.len() == 1));
        assert_eq!((viewing.ver, viewing.strict, viewing.max_viewers, viewing.chat), (2, true, Some(2), true));
        assert_eq!(known.signers().collect::<Vec<_>>(), [viewing.signer]);
        assert!(matches!(known.publishing(&text, NOW), Err(Refusal::Role { .. })));
        let other = SigningKey::p256("b").token(&claims());
        assert_eq!(known.viewing(&other, NOW), Err(Refusal::NoKey));
        // Other settings make another signer: what was verified before them counts no more.
        let mut changed = document(&key);
        changed.settings.audiences.push("more".to_owned());
        assert_ne!(
            super::Known::read("iss_1", Some("acme"), &serde_json::to_string(&changed).unwrap())
                .unwrap()
                .signers()
                .next(),
            known.signers().next()
        );
    }

    #[test]
    fn claims_that_a_viewer_must_not_have_are_refused() {
        let key = SigningKey::ed25519("a");
        let known = known(&document(&key));
        for (name, value, expected) in [
            ("iss", json!("https://other.example/"), "token_issuer"),
            ("aud", json!("another"), "token_audience"),
            ("role", json!("none"), "token_role"),
            ("streams", json!([]), "token_streams"),
            ("streams", json!(null), "token_streams"),
            ("exp", json!(NOW_S + 86_401), "token_claim"),
            ("exp", json!(NOW_S - 31), "token_expired"),
            ("iat", json!(null), "token_claim"),
            ("jti", json!("j".repeat(65)), "token_claim"),
            ("sub", json!("s\n"), "token_claim"),
            ("ver", json!(-1), "token_claim"),
            ("max_viewers", json!(0), "token_claim"),
            ("origins", json!("https://a.example"), "token_claim"),
            ("origins", json!([]), "token_claim"),
            ("strict", json!(1), "token_claim"),
            ("admit_by", json!(NOW_S + 301), "token_claim"),
        ] {
            let mut wrong = claims();
            match &value {
                Value::Null if name == "iat" => _ = wrong.as_object_mut().unwrap().remove(name),
                _ => wrong[name] = value.clone(),
            }
            let said = known.viewing(&key.token(&wrong), NOW);
            assert_eq!(said.as_ref().err().map(Refusal::label), Some(expected), "{name} {value}: {said:?}");
        }
    }

    #[test]
    fn registered_key_needs_no_issuer_and_private_or_ambiguous_keys_are_refused() {
        let key = SigningKey::ed25519("mine");
        let (algorithm, _) = registered(&key.jwk()).unwrap();
        let known = known(&Document::of_key(("sgk_1", "town".to_owned()), algorithm, key.jwk(), 30));
        let mut bare = json!({ "aud": "town", "iat": NOW_S, "exp": NOW_S + 60, "streams": ["*"] });
        let viewing = known.viewing(&key.token(&bare), NOW).unwrap();
        assert_eq!((viewing.streams, viewing.subject, viewing.strict), (Streams::All, None, false));
        bare["aud"] = "village".into();
        assert!(matches!(known.viewing(&key.token(&bare), NOW), Err(Refusal::Audience { .. })));
        let mut private = key.jwk();
        private["d"] = "AA".into();
        assert!(registered(&private).unwrap_err().contains("private"));
        let mut any = SigningKey::rsa("r").jwk();
        any.as_object_mut().unwrap().remove("alg");
        assert!(registered(&any).unwrap_err().contains("alg"));
        assert!(registered(&json!({ "kty": "oct", "x": "AA" })).is_err() && registered(&json!(7)).is_err());
    }
}
