//! `sealcast token …`: tokens for viewers of streams that not everybody may watch.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::access::{all, path, time};
use super::{Admin, field, items, node, table};
use crate::cli::{TokenCommand, TokenFlags};

/// Longest file with a public key, in bytes; an RSA key has some 500.
const KEY_BYTES_MAX: u64 = 16 * 1024;

/// `sealcast token …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(flags) => {
            let admin = Admin::connect(&flags.admin)?;
            let (tenant, streams) = (&flags.of.tenant, flags.streams.join(", "));
            let made = admin.api(Method::POST, "/viewer-tokens", Some(tenant), Some(wanted(&flags))).await;
            let made = made.with_context(|| {
                format!("no token for {streams} of tenant {tenant} (streams of another tenant need --tenant)")
            })?;
            admin.print(&made, shown)
        }
        TokenCommand::Revoke { id, sub, up_to_ver, stream, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let body = without_null(json!({ "jti": id, "sub": sub, "up_to_ver": up_to_ver, "stream": stream }));
            let revoked = admin.api(Method::POST, "/viewer-tokens/revoke", Some(&of.tenant), Some(body)).await?;
            admin.print(&revoked, |revoked| {
                let next = revoked["up_to_ver"].as_u64().map_or_else(String::new, |ver| {
                    format!("new tokens of this viewer have version {} or later\n", ver.saturating_add(1))
                });
                format!("taken back\n{next}{}", node::acknowledged(revoked))
            })
        }
        TokenCommand::Keys { of, admin } => {
            let admin = Admin::connect(&admin)?;
            let keys = all(&admin, "/signing-keys", Some(&of.tenant)).await?;
            admin.print(&keys, |keys| {
                let row = |key: &Value| {
                    let texts = ["id", "name", "origin", "algorithm", "kid"].map(|name| field(key, name).to_owned());
                    texts.into_iter().chain([time(&key["created_at"]), time(&key["expires_at"])]).collect()
                };
                let heading = ["KEY", "NAME", "HELD BY", "ALGORITHM", "KID", "MADE", "EXPIRES"];
                table(&heading, &items(keys).iter().map(row).collect::<Vec<Vec<String>>>())
            })
        }
        TokenCommand::RegisterKey { file, name, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let body = without_null(json!({ "name": name, "public_key": public_key(&file)? }));
            let key = admin.api(Method::POST, "/signing-keys", Some(&of.tenant), Some(body)).await?;
            admin.print(&key, |key| format!("key {} is registered: tokens that it signs count\n", field(key, "id")))
        }
        TokenCommand::NewKey { name, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let key = admin.api(Method::POST, "/signing-keys", Some(&of.tenant), Some(json!({ "name": name }))).await?;
            admin.print(&key, |key| format!("key {} signs the next tokens\n", field(key, "id")))
        }
        TokenCommand::RetireKey { key, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let gone = admin.api(Method::DELETE, &path("/signing-keys", &key)?, Some(&of.tenant), None).await?;
            admin.print(&gone, |_| format!("key {key} is retired: no token that it has signed counts any more\n"))
        }
    }
}

fn public_key(file: &Path) -> anyhow::Result<Value> {
    let read = || -> anyhow::Result<Value> {
        let mut text = String::new();
        std::fs::File::open(file)?.take(KEY_BYTES_MAX).read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    };
    read().with_context(|| format!("{} is no public key as a JWK", file.display()))
}

fn wanted(flags: &TokenFlags) -> Value {
    without_null(json!({
        "streams": flags.streams,
        "sub": flags.sub,
        "ttl_s": flags.lifetime.map(|time| time.as_secs()),
        "admit_for_s": flags.admit_for.map(|time| time.as_secs()),
        "ver": flags.ver,
        "origins": flags.origins,
        "strict": flags.strict,
        "max_viewers": flags.max_viewers,
        "chat": flags.chat.then_some(true),
        "base_url": flags.base_url,
    }))
}

/// An object without the members that say nothing.
fn without_null(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

fn shown(made: &Value) -> String {
    let until = media::UnixMillis(made["expires_at"].as_i64().unwrap_or(0));
    let mut text = format!("token    {}   keep it: it is not shown again\n", field(made, "token"));
    text +=
        &format!("id       {}   sealcast token revoke --id ID takes it back\nuntil    {until}\n", field(made, "jti"));
    for name in ["hls", "page", "embed"] {
        if let Some(url) = made["urls"][name].as_str() {
            text += &format!("{name:<9}{url}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_shown_with_its_urls() {
        let made = json!({ "token": "scv_abc", "jti": "0102030405060708", "expires_at": 1_700_000_000_000_i64,
            "urls": { "hls": "https://x/t/scv_abc/live/hall/index.m3u8", "page": "https://x/watch/hall#t=scv_abc" } });
        let text = shown(&made);
        for part in
            ["token    scv_abc", "id       0102030405060708", "hls      https://x/t/", "page     https://x/watch/"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("embed"), "{text}");
    }
}
