//! The claims of a token (RFC 7519, section 4), with the types that they must have. Pure.

use media::UnixMillis;
use serde_json::{Map, Value};

use crate::json;
use crate::refusal::Refusal;

/// Latest time that a claim may name: the end of the year 9999, in seconds.
const TIME_S_MAX: u64 = 253_402_300_799;
/// Most audiences of a token.
const AUDIENCES_MAX: usize = 100;
/// Members that ID tokens have and access tokens do not (OpenID Connect Core, section 3.1.3.6).
const OF_ID_TOKENS: [&str; 2] = ["at_hash", "c_hash"];
/// What Keycloak writes into the claim `typ` of tokens that are not for APIs.
const OTHER_KINDS: [&str; 4] = ["ID", "Refresh", "Offline", "Logout"];

/// What a token says. Nothing of it is true before its signature is checked.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    /// Empty where a token names none, as those of registered keys may: see [`Claims::issuer`].
    pub(crate) issuer: String,
    pub(crate) audiences: Vec<String>,
    /// The client that the token was issued to.
    pub(crate) authorized_party: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) expires_at: UnixMillis,
    pub(crate) not_before: Option<UnixMillis>,
    pub(crate) issued_at: Option<UnixMillis>,
    all: Map<String, Value>,
}

impl Claims {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let all =
            json::object(json).ok_or(Refusal::Malformed("its claims are no JSON object, or have a member twice"))?;
        let expires_at = time(&all, "exp")?.ok_or(Refusal::Claim { name: "exp", problem: "is missing" })?;
        Ok(Self {
            issuer: text(&all, "iss")?.unwrap_or_default(),
            audiences: audiences(&all)?,
            authorized_party: text(&all, "azp")?,
            subject: text(&all, "sub")?,
            expires_at,
            not_before: time(&all, "nbf")?,
            issued_at: time(&all, "iat")?,
            all,
        })
    }

    /// The issuer, where a token has to name one.
    pub(crate) fn issuer(&self) -> Result<&str, Refusal> {
        if self.issuer.is_empty() {
            return Err(Refusal::Claim { name: "iss", problem: "is missing" });
        }
        Ok(&self.issuer)
    }

    /// A time by its name.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<UnixMillis>, Refusal> {
        time(&self.all, name)
    }

    /// A text by its name.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        text(&self.all, name)
    }

    /// A claim by its name, or by dots that lead into objects.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        json::member(&self.all, name)
    }

    /// Whether this says that it is another kind of token than one for an API.
    pub(crate) fn is_of_another_kind(&self) -> bool {
        let kind = self.all.get("typ").and_then(Value::as_str);
        kind.is_some_and(|kind| OTHER_KINDS.contains(&kind))
            || OF_ID_TOKENS.iter().any(|name| self.all.contains_key(*name))
    }
}

/// A time in whole seconds since 1970. RFC 7519 allows fractions, too; no known issuer writes them, and rounding is one more thing that
/// two readers could do differently.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<UnixMillis>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let wrong = Refusal::Claim { name, problem: "is no whole number of seconds between 1970 and 9999" };
    let seconds = value.as_u64().filter(|seconds| *seconds <= TIME_S_MAX).ok_or(wrong)?;
    Ok(Some(UnixMillis(i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX))))
}

fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Claim { name, problem: "is no text" }),
    }
}

/// `aud` is a text or a list of texts (RFC 7519, section 4.1.3).
fn audiences(claims: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::Claim { name: "aud", problem: "is no text and no list of texts" };
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(several)) if several.len() <= AUDIENCES_MAX => {
            several.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Claims, Refusal> {
        Claims::parse(text.as_bytes())
    }

    /// Case B3.
    #[test]
    fn times_of_another_type_are_refused_and_exp_has_to_be_there() {
        let good = parse(r#"{"iss": "a", "exp": 1700000000, "iat": 0}"#).unwrap();
        assert_eq!(
            (good.expires_at, good.issued_at, good.not_before),
            (UnixMillis(1_700_000_000_000), Some(UnixMillis(0)), None)
        );
        let wrong = [
            "\"1700000000\"",
            "1700000000.5",
            "1.7e9",
            "-1",
            "9223372036854775808",
            "18446744073709551616",
            "253402300800",
            "[1]",
            "null",
            "true",
            "{}",
        ];
        for name in ["exp", "nbf", "iat"] {
            for value in wrong {
                let others = if name == "exp" { "" } else { "\"exp\": 1700000000, " };
                let said = parse(&format!(r#"{{"iss": "a", {others}"{name}": {value}}}"#));
                assert!(matches!(said, Err(Refusal::Claim { name: at, .. }) if at == name), "{name} {value}: {said:?}");
            }
        }
        let missing = parse(r#"{"iss": "a", "iat": 1}"#);
        assert!(matches!(missing, Err(Refusal::Claim { name: "exp", problem: "is missing" })), "{missing:?}");
        let twice = parse(r#"{"iss": "a", "exp": 1700000000, "exp": 1}"#);
        assert!(matches!(twice, Err(Refusal::Malformed(_))), "{twice:?}");
    }

    #[test]
    fn texts_of_another_type_are_refused() {
        for wrong in [
            r#""iss": 1"#,
            r#""iss": "a", "sub": 1"#,
            r#""iss": "a", "azp": ["b"]"#,
            r#""iss": "a", "aud": [1]"#,
            r#""iss": "a", "aud": {}"#,
        ] {
            let said = parse(&format!(r#"{{"exp": 1, {wrong}}}"#));
            assert!(matches!(said, Err(Refusal::Claim { .. })), "{wrong}: {said:?}");
        }
        let nobodys = parse(r#"{"sub": "a", "exp": 1}"#).unwrap();
        assert!(matches!(nobodys.issuer(), Err(Refusal::Claim { name: "iss", .. })));
        assert_eq!(parse(r#"{"iss": "a", "exp": 1, "aud": "b"}"#).unwrap().audiences, ["b"]);
        assert_eq!(parse(r#"{"iss": "a", "exp": 1, "aud": ["b", "c"]}"#).unwrap().audiences, ["b", "c"]);
    }
}
