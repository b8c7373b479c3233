//! `sealcast issuer`: whose tokens (JWT) count for a tenant. Asks the API itself, with the certificate of the control node.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::access::{all, lines, path, time};
use super::{Admin, field, items, table};
use crate::cli::issuer::{IssuerChange, IssuerCommand, IssuerFlags, MoreSettings, NewIssuerFlags};

/// Longest token that is read, in bytes; control takes shorter ones.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// `sealcast issuer …`
///
/// # Errors
/// When control does not answer, or refuses; when an issuer does not answer, and when a token that is tried is refused.
pub(crate) async fn run(command: IssuerCommand) -> anyhow::Result<()> {
    match command {
        IssuerCommand::List { of, admin } => {
            let admin = Admin::connect(&admin)?;
            let issuers = all(&admin, "/issuers", Some(&of.tenant)).await?;
            admin.print(&issuers, |issuers| {
                let row = |one: &Value| {
                    let [id, url] = ["id", "url"].map(|name| field(one, name).to_owned());
                    vec![id, words(&one["uses"]), time(&one["fetched_at"]), time(&one["stale_since_at"]), url]
                };
                let heading = ["ISSUER", "USES", "KEYS FETCHED", "STALE SINCE", "URL"];
                table(&heading, &items(issuers).iter().map(row).collect::<Vec<_>>())
            })
        }
        IssuerCommand::Show(which) => ask(&which, Method::GET, "", None, shown).await.map(drop),
        IssuerCommand::Create(flags) => create(&flags).await,
        IssuerCommand::Set(change) => set(&change).await,
        IssuerCommand::Refresh(which) => {
            let issuer = ask(&which, Method::POST, "/refresh", Some(json!({})), shown).await?;
            ensure!(issuer["failure"].is_null(), "the keys stay as they are: {}", field(&issuer, "failure"));
            Ok(())
        }
        IssuerCommand::Test { token_file, which } => {
            let body = json!({ "token": token(&token_file)? });
            let tried = ask(&which, Method::POST, "/test", Some(body), told).await?;
            ensure!(items(&tried["uses"]).iter().any(|one| one["is_taken"] == true), "the token is refused");
            Ok(())
        }
        IssuerCommand::Delete(which) => {
            let said = |_: &Value| format!("issuer {} is deleted\n", which.issuer);
            ask(&which, Method::DELETE, "", None, said).await.map(drop)
        }
    }
}

/// Asks about one issuer, and prints the answer.
async fn ask(
    which: &IssuerFlags,
    method: Method,
    rest: &str,
    body: Option<Value>,
    human: impl FnOnce(&Value) -> String,
) -> anyhow::Result<Value> {
    let admin = Admin::connect(&which.admin)?;
    let place = format!("{}{rest}", path("/issuers", &which.issuer)?);
    let answer = admin.api(method, &place, Some(&which.of.tenant), body).await?;
    admin.print(&answer, human)?;
    Ok(answer)
}

async fn create(flags: &NewIssuerFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let mut body = json!({
        "url": flags.url,
        "jwks_url": flags.jwks_url,
        "audiences": flags.audiences,
        "uses": flags.uses,
        "rules": flags.rules,
    });
    add(&mut body, &flags.more);
    let issuer = admin.api(Method::POST, "/issuers", Some(&flags.of.tenant), Some(body)).await?;
    admin.print(&issuer, shown)
}

async fn set(change: &IssuerChange) -> anyhow::Result<()> {
    let mut patch = json!({});
    for (name, text) in [("url", &change.url), ("jwks_url", &change.jwks_url)] {
        if let Some(text) = text {
            patch[name] = text.as_str().into();
        }
    }
    for (name, texts) in [("audiences", &change.audiences), ("uses", &change.uses)] {
        if !texts.is_empty() {
            patch[name] = json!(texts);
        }
    }
    if !change.rules.is_empty() {
        patch["rules"] = json!(change.rules);
    }
    add(&mut patch, &change.more);
    ensure!(patch != json!({}), "say what to change: --url, --jwks-url, --audience, --use, --rule …");
    ask(&change.which, Method::PATCH, "", Some(patch), shown).await.map(drop)
}

fn add(body: &mut Value, more: &MoreSettings) {
    if !more.algorithms.is_empty() {
        body["algorithms"] = json!(more.algorithms);
    }
    if let Some(leeway) = more.leeway {
        body["leeway_s"] = leeway.as_secs().into();
    }
    if let Some(claim) = &more.streams_claim {
        body["streams_claim"] = claim.as_str().into();
    }
}

fn token(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("the token in {} cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}

fn words(list: &Value) -> String {
    items(list).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

fn shown(issuer: &Value) -> String {
    let rule = |rule: &Value| format!("{}={}:{}", field(rule, "claim"), field(rule, "equals"), field(rule, "role"));
    let rules = items(&issuer["rules"]).iter().map(rule).collect::<Vec<_>>().join(" ");
    let id = match issuer["is_from_file"].as_bool() {
        Some(true) => format!("{}   from the configuration: change it there", field(issuer, "id")),
        _ => field(issuer, "id").to_owned(),
    };
    let mut rows = vec![
        ("issuer", id),
        ("url", field(issuer, "url").to_owned()),
        ("jwks url", field(issuer, "jwks_url").to_owned()),
        ("audiences", words(&issuer["audiences"])),
        ("algorithms", words(&issuer["algorithms"])),
        ("uses", words(&issuer["uses"])),
        ("rules", rules),
        ("keys fetched", time(&issuer["fetched_at"])),
        ("stale since", time(&issuer["stale_since_at"])),
    ];
    if let Some(why) = issuer["failure"].as_str() {
        rows.push(("failure", why.to_owned()));
    }
    lines(&rows)
}

/// What a token gives, a line for each use.
fn told(tried: &Value) -> String {
    let line = |one: &Value| match one["is_taken"] == true {
        true => {
            let (streams, until) = (words(&one["streams"]), time(&one["ends_at"]));
            format!("{}: {} for {streams}, until {until}\n", field(one, "use"), field(one, "role"))
        }
        false => format!("{}: refused: {}\n", field(one, "use"), field(one, "detail")),
    };
    items(&tried["uses"]).iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_is_shown_with_why_its_keys_are_old() {
        let issuer = json!({ "id": "iss_1", "url": "https://idp.example", "uses": ["view"], "audiences": ["a", "b"],
            "rules": [{ "claim": "groups", "equals": "staff", "role": "owner" }], "failure": "no answer", "is_from_file": true });
        let text = shown(&issuer);
        for part in ["iss_1   from the configuration", "a b", "groups=staff:owner", "no answer"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let tried = json!({ "uses": [
            { "use": "view", "is_taken": true, "role": "viewer", "streams": ["hall"], "ends_at": 1_700_000_000_000_i64 },
            { "use": "api", "is_taken": false, "detail": "it has ended" },
        ] });
        let text = told(&tried);
        assert!(
            text.starts_with("view: viewer for hall, until 20") && text.ends_with("api: refused: it has ended\n"),
            "{text}"
        );
    }
}
