//! What an ID token says of a person, and whether it answers the question that was asked (OpenID Connect Core, 3.1.3). Pure.

use serde_json::Value;

use crate::claims::Claims;
use crate::json;
use crate::refusal::Refusal;
use crate::settings::{Role, Settings};

/// Longest name of a person to its issuer, in bytes (OpenID Connect Core, section 2).
const SUBJECT_BYTES_MAX: usize = 255;
/// Longest ID token in an answer, in bytes.
const ID_TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What an issuer says of somebody who has signed in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    /// What the issuer calls the person.
    pub subject: String,
    /// What people call the person, if the issuer says it.
    pub name: Option<String>,
    /// What the issuer's rules give; `None` where none matches.
    pub role: Option<Role>,
}

/// The ID token in the answer to an exchange.
///
/// # Errors
/// When there is none; says nothing of the rest.
pub fn id_token(answer: &[u8]) -> Result<String, Refusal> {
    let wrong = Refusal::Malformed("the issuer's answer has no ID token");
    let members = json::object(answer).ok_or(wrong.clone())?;
    let token = members.get("id_token").and_then(Value::as_str).ok_or(wrong)?;
    if token.len() > ID_TOKEN_BYTES_MAX { Err(Refusal::TooLong(token.len())) } else { Ok(token.to_owned()) }
}

/// Checks whom an ID token is for, and that it answers this question (OpenID Connect Core, 3.1.3.7).
pub(crate) fn check_id_token(client_id: &str, claims: &Claims, nonce: &str) -> Result<(), Refusal> {
    let is_for_others = claims.authorized_party.as_deref().is_some_and(|party| party != client_id);
    let is_for_several = claims.audiences.len() > 1 && claims.authorized_party.is_none();
    if !claims.audiences.iter().any(|audience| audience == client_id) || is_for_others || is_for_several {
        let expected = [client_id.to_owned()];
        return Err(Refusal::audience(&claims.audiences, claims.authorized_party.as_deref(), &expected));
    }
    match claims.get("nonce").and_then(Value::as_str) {
        Some(said) if said == nonce => Ok(()),
        Some(_) => Err(Refusal::Claim { name: "nonce", problem: "belongs to another sign-in" }),
        None => Err(Refusal::Claim { name: "nonce", problem: "is missing" }),
    }
}

/// What an ID token says of a person, whose signature and claims are good.
pub(crate) fn identity(settings: &Settings, claims: &Claims, role: Option<Role>) -> Result<Identity, Refusal> {
    let subject = claims
        .subject
        .clone()
        .filter(|subject| (1..=SUBJECT_BYTES_MAX).contains(&subject.len()) && !subject.chars().any(char::is_control));
    let names = ["name", "preferred_username", "email"];
    let name = names
        .iter()
        .find_map(|name| claims.get(name).and_then(Value::as_str).map(str::trim))
        .filter(|name| !name.is_empty());
    Ok(Identity {
        issuer: settings.url.clone(),
        subject: subject.ok_or(Refusal::Claim { name: "sub", problem: "is missing, or too long" })?,
        name: name.map(|name| name.chars().filter(|c| !c.is_control()).take(100).collect()),
        role,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn id_token_is_for_this_client_and_this_question() {
        let check = |change: Value| {
            let mut claims = json!({ "iss": "a", "exp": 1, "sub": "u", "aud": "me", "nonce": "n" });
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            check_id_token("me", &Claims::parse(claims.to_string().as_bytes()).unwrap(), "n")
        };
        assert_eq!(check(json!({})), Ok(()));
        assert_eq!(check(json!({ "aud": ["me", "other"], "azp": "me" })), Ok(()));
        for wrong in [
            json!({ "aud": "other" }),
            json!({ "aud": [] }),
            json!({ "aud": ["me", "other"] }),
            json!({ "azp": "other" }),
            json!({ "nonce": "m" }),
            json!({ "nonce": null }),
            json!({ "nonce": ["n"] }),
        ] {
            assert!(check(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answer_without_an_id_token_is_none() {
        assert_eq!(id_token(br#"{"id_token":"a.b.c","access_token":"x"}"#).unwrap(), "a.b.c");
        for answer in [&b"{}"[..], b"[]", b"", br#"{"id_token":1}"#, br#"{"id_token":"a","id_token":"b"}"#] {
            assert!(id_token(answer).is_err(), "{}", String::from_utf8_lossy(answer));
        }
        assert!(id_token(format!(r#"{{"id_token":"{}"}}"#, "a".repeat(20_000)).as_bytes()).is_err());
    }
}
