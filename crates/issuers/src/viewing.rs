//! What a viewer's token says besides who signed it: the claims of viewer tokens, in a JWT. Pure.

use media::UnixMillis;
use serde_json::Value;

use crate::claims::Claims;
use crate::decide::{self, Streams};
use crate::fingerprint::Signer;
use crate::refusal::Refusal;
use crate::settings::{Role, Settings};

/// Longest life of a viewer token in seconds, as of one that control makes: revocations are forgotten after it.
const LIFE_S_MAX: u64 = 86_400;
/// Longest `sub` and `jti` in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// Most origins.
const ORIGINS_MAX: usize = 8;

/// What a token lets its holder watch. Times are in seconds since 1970, and include the issuer's leeway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewing {
    pub subject: Option<String>,
    /// What people call it (`name`), if the token says so.
    pub name: Option<String>,
    /// What the issuer's rules make of it; of a registered key's token, a viewer.
    pub role: Role,
    /// Its `jti`.
    pub id: Option<String>,
    pub begins_s: u64,
    pub ends_s: u64,
    /// At least one.
    pub streams: Streams,
    pub admit_by_s: Option<u64>,
    pub ver: u64,
    pub origins: Vec<String>,
    pub strict: bool,
    pub max_viewers: Option<u64>,
    pub chat: bool,
    pub signer: Signer,
}

/// Reads the claims of a token whose signature is right.
pub(crate) fn read(claims: &Claims, settings: &Settings, (signer, role): (Signer, Role)) -> Result<Viewing, Refusal> {
    let begins = claims.not_before.or(claims.issued_at);
    let begins_s = seconds(begins.ok_or(Refusal::Claim { name: "iat", problem: "is missing, and so is nbf" })?);
    let exp_s = seconds(claims.expires_at);
    if exp_s <= begins_s || exp_s - begins_s > LIFE_S_MAX {
        return Err(Refusal::Claim { name: "exp", problem: "is not within a day after nbf or iat" });
    }
    let streams = decide::streams(claims.get(&settings.streams_claim));
    if streams == Streams::These(Vec::new()) {
        return Err(Refusal::NoStreams(settings.streams_claim.clone()));
    }
    let admit_by_s = claims.time("admit_by")?.map(seconds);
    if admit_by_s.is_some_and(|by| !(begins_s..=exp_s).contains(&by)) {
        return Err(Refusal::Claim { name: "admit_by", problem: "is not between the token's begin and exp" });
    }
    let (origins, strict) = (origins(claims)?, flag(claims, "strict")?);
    if strict && origins.is_empty() {
        return Err(Refusal::Claim { name: "origins", problem: "names none, and the token is strict" });
    }
    let max_viewers = number(claims, "max_viewers")?;
    if max_viewers == Some(0) {
        return Err(Refusal::Claim { name: "max_viewers", problem: "is 0" });
    }
    Ok(Viewing {
        subject: short(claims, "sub")?,
        // It decides nothing, so one that is no text is none.
        name: claims.get("name").and_then(Value::as_str).map(str::to_owned),
        role,
        id: short(claims, "jti")?,
        begins_s,
        ends_s: exp_s.saturating_add(settings.leeway_s),
        streams,
        admit_by_s,
        ver: number(claims, "ver")?.unwrap_or(0),
        origins,
        strict,
        max_viewers,
        chat: flag(claims, "chat")?,
        signer,
    })
}

fn seconds(at: UnixMillis) -> u64 {
    u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0)
}

fn short(claims: &Claims, name: &'static str) -> Result<Option<String>, Refusal> {
    let text = claims.text(name)?;
    let is_short = |text: &String| (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if text.as_ref().is_some_and(|text| !is_short(text)) {
        return Err(Refusal::Claim { name, problem: "has not 1 to 64 bytes without control characters" });
    }
    Ok(text)
}

fn number(claims: &Claims, name: &'static str) -> Result<Option<u64>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    value.as_u64().map(Some).ok_or(Refusal::Claim { name, problem: "is no whole number" })
}

fn flag(claims: &Claims, name: &'static str) -> Result<bool, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(false) };
    value.as_bool().ok_or(Refusal::Claim { name, problem: "is neither true nor false" })
}

fn origins(claims: &Claims) -> Result<Vec<String>, Refusal> {
    let wrong = Refusal::Claim { name: "origins", problem: "is no list of at most 8 texts" };
    let Some(value) = claims.get("origins") else { return Ok(Vec::new()) };
    let list = value.as_array().filter(|list| list.len() <= ORIGINS_MAX).ok_or_else(|| wrong.clone())?;
    list.iter().map(|one: &Value| one.as_str().map(str::to_owned).ok_or_else(|| wrong.clone())).collect()
}
