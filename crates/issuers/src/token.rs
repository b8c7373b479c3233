//! Reading a token: three parts, a header and claims (RFC 7515, section 7.1). Says nothing of whether it is good. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::json;
use crate::limits::TOKEN_BYTES_MAX;
use crate::refusal::Refusal;

/// What a header begins with: `{"` in base64url.
const BEGINNING: &str = "eyJ";
/// Fewer bytes are no token, whatever they begin with.
const TOKEN_BYTES_MIN: usize = 64;
/// Longest key id, in bytes.
const KEY_ID_BYTES_MAX: usize = 512;

/// Whether a text is meant as a token, and not as a stream key. A token that a client cut is one, too.
pub fn looks_like_a_token(text: &str) -> bool {
    text.len() >= TOKEN_BYTES_MIN && text.starts_with(BEGINNING)
}

/// What a token says to be its issuer, which nobody has checked.
pub fn issuer_of(text: &str) -> Option<String> {
    Token::parse(text).ok().map(|token| token.claims.issuer)
}

/// A token that was read, and not checked.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    /// The key that it says it is signed with.
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Claims,
    /// Header and claims as they were signed.
    pub(crate) message: &'a [u8],
    /// In base64url.
    pub(crate) signature: &'a str,
    pub(crate) signature_bytes: usize,
    /// Length of the whole, in bytes.
    pub(crate) bytes: usize,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let bytes = text.len();
        if bytes > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong(bytes));
        }
        let is_text = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !text.chars().all(is_text) {
            return Err(Refusal::Malformed("it has characters that no token has"));
        }
        let mut parts = text.split('.');
        let header = decode(parts.next().unwrap_or_default());
        let cut = Refusal::Cut(bytes);
        let (Some(claims), Some(signature)) = (parts.next(), parts.next()) else { return Err(cut) };
        if parts.next().is_some() {
            return Err(Refusal::Malformed("it has more than three parts"));
        }
        let header = header.and_then(|header| json::object(&header));
        let header = header.ok_or(Refusal::Malformed("its header is no JSON object, or has a member twice"))?;
        let message_bytes = bytes.saturating_sub(signature.len().saturating_add(1));
        let message = text.as_bytes().get(..message_bytes).unwrap_or_default();
        let name = header.get("alg").and_then(Value::as_str).ok_or(Refusal::Malformed("its header has no alg"))?;
        let algorithm = Algorithm::from_name(name).ok_or_else(|| Refusal::algorithm(name, &Algorithm::ALL))?;
        if header.contains_key("crit") || header.get("b64").is_some() {
            return Err(Refusal::Malformed("its header wants an extension (crit), and none is known here"));
        }
        match header.get("typ").map(|kind| kind.as_str().map(str::to_ascii_lowercase)) {
            None => {}
            Some(Some(kind)) if matches!(kind.trim_start_matches("application/"), "jwt" | "at+jwt") => {}
            Some(_) => return Err(Refusal::Malformed("its header has another typ than JWT or at+jwt")),
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) if key_id.len() <= KEY_ID_BYTES_MAX => Some(key_id.clone()),
            Some(_) => return Err(Refusal::Malformed("its header has a kid that is no text")),
        };
        let claims = decode(claims).ok_or(Refusal::Malformed("its claims are not base64url"))?;
        // The end of a cut signature may be half a letter.
        let signature_bytes = decode(signature).ok_or(cut)?.len();
        Ok(Self { algorithm, key_id, claims: Claims::parse(&claims)?, message, signature, signature_bytes, bytes })
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str, signature: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode(claims), encode(signature))
    }

    const CLAIMS: &str = r#"{"iss": "a", "exp": 1}"#;

    /// Case B1.
    #[test]
    fn unsigned_and_symmetric_algorithms_are_unknown_here() {
        for name in ["none", "None", "HS256", "HS384", "HS512", "rs256", "ES512", "RSA1_5", ""] {
            let said = Token::parse(&token(&format!(r#"{{"alg": "{name}"}}"#), CLAIMS, "")).unwrap_err();
            assert!(matches!(said, Refusal::Algorithm { .. }), "{name}: {said:?}");
        }
        for wrong in
            [r#"{}"#, r#"{"alg": 1}"#, r#"{"alg": ["RS256"]}"#, r#"{"alg": "RS256", "alg": "ES256"}"#, "[]", "x"]
        {
            let said = Token::parse(&token(wrong, CLAIMS, "s")).unwrap_err();
            assert!(matches!(said, Refusal::Malformed(_)), "{wrong}: {said:?}");
        }
        let good = token(r#"{"alg": "Ed25519", "kid": "k", "typ": "at+JWT"}"#, CLAIMS, "s");
        let good = Token::parse(&good).unwrap();
        assert_eq!((good.algorithm, good.key_id.as_deref(), good.signature_bytes), (Algorithm::EdDSA, Some("k"), 1));
    }

    #[test]
    fn extensions_other_types_and_strange_key_ids_are_refused() {
        for more in [r#""crit": ["exp"]"#, r#""b64": false"#, r#""typ": "dpop+jwt""#, r#""typ": 1"#, r#""kid": 7"#] {
            let text = token(&format!(r#"{{"alg": "RS256", {more}}}"#), CLAIMS, "s");
            let said = Token::parse(&text);
            assert!(matches!(said, Err(Refusal::Malformed(_))), "{more}: {said:?}");
        }
    }

    /// Case B11: where a client cuts a token, the message says so, and how much came.
    #[test]
    fn cut_token_is_called_cut_and_long_one_too_long() {
        let whole = token(r#"{"alg": "RS256"}"#, CLAIMS, "signature of some length");
        let first_dot = whole.find('.').unwrap();
        let last_dot = whole.rfind('.').unwrap();
        for length in first_dot..last_dot {
            assert_eq!(Token::parse(&whole[..length]).unwrap_err(), Refusal::Cut(length));
        }
        assert!(looks_like_a_token(&whole) && !looks_like_a_token("eyJ") && !looks_like_a_token(&"a".repeat(100)));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(Token::parse(&long).unwrap_err(), Refusal::TooLong(TOKEN_BYTES_MAX + 1));
        let said = Refusal::TooLong(5_000).to_string();
        assert!(said.contains("5000") && said.contains("4096"), "{said}");
    }

    proptest! {
        /// Whatever comes, there is an answer.
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}", header in ".{0,50}", claims in ".{0,50}") {
            let _ = Token::parse(&text);
            let _ = Token::parse(&token(&header, &claims, "s"));
            let _ = Token::parse(&token(r#"{"alg": "RS256"}"#, &claims, "s"));
        }
    }
}
