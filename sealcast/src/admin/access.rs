//! `sealcast tenant|api-key|audit`: who may do what, and who did what. Asks the API itself, with the certificate of the control node.

use ::node::clock::Clock;
use anyhow::{bail, ensure};
use media::UnixMillis;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Admin, field, items, table};
use crate::cli::access::{ApiKeyCommand, AuditCommand, KeyRole, NewApiKeyFlags, QuotaFlags, StateName, TenantCommand};

/// `sealcast tenant …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn tenant(command: TenantCommand) -> anyhow::Result<()> {
    match command {
        TenantCommand::List { admin } => {
            let admin = Admin::connect(&admin)?;
            let tenants = all(&admin, "/tenants", None).await?;
            admin.print(&tenants, |tenants| {
                let row = |one: &Value| {
                    let quota = one["quota"]["streams"].as_i64().map_or("-".to_owned(), |most| most.to_string());
                    let texts = ["slug", "name", "state", "id"].map(|name| field(one, name).to_owned());
                    let [slug, name, state, id] = texts;
                    vec![slug, name, state, quota, id]
                };
                let heading = ["TENANT", "NAME", "STATE", "STREAMS AT MOST", "ID"];
                table(&heading, &items(tenants).iter().map(row).collect::<Vec<_>>())
            })
        }
        TenantCommand::Show { tenant, admin } => {
            let admin = Admin::connect(&admin)?;
            let row = admin.api(Method::GET, &path("/tenants", &tenant)?, None, None).await?;
            let usage = admin.api(Method::GET, "/usage", Some(&tenant), None).await?;
            let mut shown = row;
            shown["used"] = usage["used"].clone();
            admin.print(&shown, shown_tenant)
        }
        TenantCommand::Create(flags) => {
            let admin = Admin::connect(&flags.admin)?;
            let body = json!({ "slug": flags.slug, "name": flags.name, "quota": quota(&flags.quota) });
            let tenant = admin.api(Method::POST, "/tenants", None, Some(body)).await?;
            admin.print(&tenant, |tenant| {
                let slug = field(tenant, "slug");
                format!(
                    "tenant {slug} is made; its streams are called {slug}.…\n\
                     a key for it: sealcast api-key create --tenant {slug} --role owner --name NAME\n"
                )
            })
        }
        TenantCommand::Set(flags) => {
            let admin = Admin::connect(&flags.admin)?;
            let mut patch = json!({});
            if let Some(name) = &flags.name {
                patch["name"] = name.as_str().into();
            }
            let quota = quota(&flags.quota);
            if quota != json!({}) {
                patch["quota"] = quota;
            }
            if let Some(state) = flags.state {
                patch["state"] = if state == StateName::Active { "active" } else { "suspended" }.into();
            }
            ensure!(patch != json!({}), "say what to change: --name, --state, or a quota such as --streams");
            let tenant = admin.api(Method::PATCH, &path("/tenants", &flags.tenant)?, None, Some(patch)).await?;
            admin.print(&tenant, shown_tenant)
        }
        TenantCommand::Delete { tenant, confirm, admin } => {
            let admin = Admin::connect(&admin)?;
            let own = path("/tenants", &tenant)?;
            let Some(confirm) = confirm else {
                let row = admin.api(Method::GET, &own, None, None).await?;
                let usage = admin.api(Method::GET, "/usage", Some(&tenant), None).await?;
                let (used, slug) = (&usage["used"], field(&row, "slug"));
                bail!(
                    "{slug} has {} streams and {} API keys, which go with it: to delete them, \
                     sealcast tenant delete {slug} --confirm {slug}",
                    used["streams"],
                    used["api_keys"]
                );
            };
            let confirmed = format!("{own}?confirm={}", name(&confirm)?);
            let gone = admin.api(Method::DELETE, &confirmed, None, None).await?;
            admin.print(&gone, |gone| {
                let deleted = &gone["deleted"];
                format!(
                    "tenant {} is deleted, with {} streams and {} API keys\n",
                    field(gone, "slug"),
                    deleted["streams"],
                    deleted["api_keys"]
                )
            })
        }
    }
}

/// `sealcast api-key …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn api_key(command: ApiKeyCommand) -> anyhow::Result<()> {
    match command {
        ApiKeyCommand::List { of, admin } => {
            let admin = Admin::connect(&admin)?;
            let keys = all(&admin, "/api-keys", Some(&of.tenant)).await?;
            admin.print(&keys, |keys| {
                let row = |key: &Value| {
                    let hint = format!("…{}", field(key, "hint"));
                    let scopes = format!("{} scopes", items(&key["scopes"]).len());
                    let [id, name] = ["id", "name"].map(|name| field(key, name).to_owned());
                    vec![id, name, hint, scopes, time(&key["last_used_at"]), time(&key["expires_at"])]
                };
                let heading = ["KEY", "NAME", "SECRET", "MAY DO", "LAST USED", "EXPIRES"];
                table(&heading, &items(keys).iter().map(row).collect::<Vec<_>>())
            })
        }
        ApiKeyCommand::Show { key, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let key = admin.api(Method::GET, &path("/api-keys", &key)?, Some(&of.tenant), None).await?;
            admin.print(&key, shown_key)
        }
        ApiKeyCommand::Create(flags) => create(&flags).await,
        ApiKeyCommand::Rotate { key, overlap, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let body = json!({ "overlap_s": overlap.map_or(0, |overlap| overlap.as_secs()) });
            let path = format!("{}/rotate", path("/api-keys", &key)?);
            let key = admin.api(Method::POST, &path, Some(&of.tenant), Some(body)).await?;
            admin.print(&key, |key| {
                let until = &key["overlap_until_at"];
                let old = if until.is_null() {
                    "the secret before opens nothing any more".to_owned()
                } else {
                    format!("the secret before is accepted until {}", time(until))
                };
                format!("{}{old}\n", with_secret(key))
            })
        }
        ApiKeyCommand::Delete { key, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let gone = admin.api(Method::DELETE, &path("/api-keys", &key)?, Some(&of.tenant), None).await?;
            admin.print(&gone, |_| format!("API key {key} is deleted, and opens nothing any more\n"))
        }
    }
}

async fn create(flags: &NewApiKeyFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let role = match flags.role {
        _ if flags.operator => Some("operator"),
        Some(KeyRole::Viewer) => Some("viewer"),
        Some(KeyRole::Producer) => Some("producer"),
        Some(KeyRole::Owner) => Some("owner"),
        None => None,
    };
    let expires_at = flags.expires.map(|span| Clock::new().wall().plus(span).0);
    let body = json!({ "name": flags.name, "role": role, "scopes": flags.scopes, "expires_at": expires_at });
    let key = admin.api(Method::POST, "/api-keys", Some(&flags.of.tenant), Some(body)).await?;
    admin.print(&key, with_secret)
}

/// `sealcast audit …`
///
/// # Errors
/// When control does not answer, or refuses; and when the chain does not hold.
pub(crate) async fn audit(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::List { tenant, limit, admin } => {
            let admin = Admin::connect(&admin)?;
            let all = if tenant.is_none() { "&all=true" } else { "" };
            let path = format!("/audit?limit={limit}{all}");
            let records = admin.api(Method::GET, &path, tenant.as_deref(), None).await?;
            admin.print(&records["items"], |records| {
                let row = |one: &Value| {
                    let who = match field(one, "credential") {
                        "" => field(one, "actor").to_owned(),
                        credential => format!("{} {credential}", field(one, "actor")),
                    };
                    let [action, object, result] =
                        ["action", "object", "result"].map(|name| field(one, name).to_owned());
                    vec![one["sequence"].to_string(), time(&one["created_at"]), who, action, object, result]
                };
                let heading = ["RECORD", "AT", "WHO", "ACTION", "OBJECT", "RESULT"];
                table(&heading, &items(records).iter().map(row).collect::<Vec<_>>())
            })
        }
        AuditCommand::Verify { admin } => {
            let admin = Admin::connect(&admin)?;
            let checked = admin.api(Method::GET, "/audit/check", None, None).await?;
            admin.print(&checked, |checked| {
                let breaks = items(&checked["breaks"]).iter();
                let lines = breaks
                    .map(|one| format!("record {} {}: {}\n", one["sequence"], field(one, "id"), field(one, "why")));
                format!("{}{} records\n", lines.collect::<String>(), checked["records"])
            })?;
            let breaks = items(&checked["breaks"]).len();
            ensure!(
                breaks == 0,
                "the chain of the audit does not hold in {breaks} places: somebody has changed the database"
            );
            Ok(())
        }
    }
}

/// All rows of a list, page by page.
pub(super) async fn all(admin: &Admin, path: &str, tenant: Option<&str>) -> anyhow::Result<Value> {
    let mut rows = Vec::new();
    let mut page = format!("{path}?limit=200");
    loop {
        let mut answer = admin.api(Method::GET, &page, tenant, None).await?;
        if let Value::Array(items) = answer["items"].take() {
            rows.extend(items);
        }
        let Some(cursor) = answer["next_cursor"].as_str() else { return Ok(Value::Array(rows)) };
        page = format!("{path}?limit=200&cursor={cursor}");
    }
}

/// A name that is safe in a URL.
fn name(text: &str) -> anyhow::Result<&str> {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    ensure!(!text.is_empty() && text.bytes().all(is_safe), "{text:?} is neither a slug nor an identity");
    Ok(text)
}

pub(super) fn path(list: &str, row: &str) -> anyhow::Result<String> {
    Ok(format!("{list}/{}", name(row)?))
}

pub(super) fn time(at: &Value) -> String {
    at.as_i64().map_or_else(|| "-".to_owned(), |at| UnixMillis(at).to_string())
}

pub(super) fn lines(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect()
}

/// The quotas that flags name.
fn quota(flags: &QuotaFlags) -> Value {
    let QuotaFlags { streams, publishers, input_bps, egress_bps, storage_bytes } = flags;
    let named = [
        ("streams", streams.map(u64::from)),
        ("publishers", publishers.map(u64::from)),
        ("input_bps", *input_bps),
        ("egress_bps", *egress_bps),
        ("storage_bytes", *storage_bytes),
    ];
    named
        .into_iter()
        .filter_map(|(name, most)| Some((name.to_owned(), Value::from(most?))))
        .collect::<Map<_, _>>()
        .into()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn bit_rate(bits: u64) -> String {
    format!("{:.1} Mbit/s", bits as f64 / 1e6)
}

fn space(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn shown_tenant(tenant: &Value) -> String {
    let used_of = |name: &str, text: fn(u64) -> String| {
        let most = tenant["quota"][name].as_u64();
        let most = most.map_or("no limit".to_owned(), |most| format!("at most {}", text(most)));
        match tenant["used"][name].as_u64() {
            Some(used) => format!("{}, {most}", text(used)),
            None => most,
        }
    };
    let count = |count: u64| count.to_string();
    lines(&[
        ("tenant", field(tenant, "slug").to_owned()),
        ("name", field(tenant, "name").to_owned()),
        ("id", field(tenant, "id").to_owned()),
        ("state", field(tenant, "state").to_owned()),
        ("streams", used_of("streams", count)),
        ("publishers", used_of("publishers", count)),
        ("input", used_of("input_bps", bit_rate)),
        ("egress", used_of("egress_bps", bit_rate)),
        ("recordings", used_of("storage_bytes", space)),
        ("made", time(&tenant["created_at"])),
    ])
}

fn shown_key(key: &Value) -> String {
    let scopes: Vec<&str> = items(&key["scopes"]).iter().filter_map(Value::as_str).collect();
    lines(&[
        ("key", field(key, "id").to_owned()),
        ("name", field(key, "name").to_owned()),
        ("secret", format!("…{}", field(key, "hint"))),
        ("may do", scopes.join(" ")),
        ("made", time(&key["created_at"])),
        ("last used", time(&key["last_used_at"])),
        ("expires", time(&key["expires_at"])),
    ])
}

/// A key that has just got its secret.
fn with_secret(key: &Value) -> String {
    lines(&[
        ("key", field(key, "id").to_owned()),
        ("name", field(key, "name").to_owned()),
        ("secret", format!("{}   keep it: it is not shown again", field(key, "secret"))),
    ])
}
