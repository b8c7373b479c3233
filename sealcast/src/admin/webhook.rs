//! `sealcast webhook`: where a tenant's events go. Asks the API itself, with the certificate of the control node.

use ::node::clock::Clock;
use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::access::{all, lines, path, time};
use super::{Admin, field, items, table};
use crate::cli::webhook::{NewWebhookFlags, WebhookChange, WebhookCommand, WebhookFlags};

/// `sealcast webhook …`
///
/// # Errors
/// When control does not answer, or refuses; and when a receiver does not take a test.
pub(crate) async fn run(command: WebhookCommand) -> anyhow::Result<()> {
    match command {
        WebhookCommand::List { of, admin } => {
            let admin = Admin::connect(&admin)?;
            let webhooks = all(&admin, "/webhooks", Some(&of.tenant)).await?;
            admin.print(&webhooks, |webhooks| {
                let row = |one: &Value| {
                    let [id, state, url] = ["id", "state", "url"].map(|name| field(one, name).to_owned());
                    vec![id, state, time(&one["failing_since_at"]), types(one), url]
                };
                let heading = ["WEBHOOK", "STATE", "FAILS SINCE", "TYPES", "URL"];
                table(&heading, &items(webhooks).iter().map(row).collect::<Vec<_>>())
            })
        }
        WebhookCommand::Show(which) => ask(&which, Method::GET, "", None, shown).await.map(drop),
        WebhookCommand::Create(flags) => create(&flags).await,
        WebhookCommand::Set(change) => set(&change).await,
        WebhookCommand::RotateSecret { overlap, force, which } => {
            let mut body = json!({ "force": force });
            if let Some(overlap) = overlap {
                body["overlap_s"] = overlap.as_secs().into();
            }
            ask(&which, Method::POST, "/rotate-secret", Some(body), with_secret).await.map(drop)
        }
        WebhookCommand::Test(which) => {
            let tested = ask(&which, Method::POST, "/test", Some(json!({})), |tested| {
                let why = tested["error"].as_str().unwrap_or("the receiver took it");
                format!("{}: {why}\n", if tested["delivered"] == true { "delivered" } else { "not delivered" })
            });
            ensure!(tested.await?["delivered"] == true, "the receiver did not take the test event");
            Ok(())
        }
        WebhookCommand::Replay { last, which } => {
            let body = json!({ "from_at": Clock::new().wall().minus(last).0 });
            let said = |answer: &Value| {
                let more = &answer["next_from_at"];
                let more =
                    if more.is_null() { String::new() } else { format!("; there are more, from {}", time(more)) };
                format!("{} events are sent once more{more}\n", answer["queued_count"])
            };
            ask(&which, Method::POST, "/replay", Some(body), said).await.map(drop)
        }
        WebhookCommand::Deliveries { state, limit, which } => {
            let state = state.map_or_else(String::new, |state| format!("&state={state}"));
            ask(&which, Method::GET, &format!("/deliveries?limit={limit}{state}"), None, |page| {
                let row = |one: &Value| {
                    let [id, kind, state] = ["id", "type", "state"].map(|name| field(one, name).to_owned());
                    let why = one["error"].as_str().unwrap_or("-").to_owned();
                    vec![
                        id,
                        time(&one["created_at"]),
                        kind,
                        state,
                        one["attempts"].to_string(),
                        time(&one["due_at"]),
                        why,
                    ]
                };
                let heading = ["DELIVERY", "EVENT AT", "TYPE", "STATE", "ATTEMPTS", "NEXT AT", "WHY"];
                table(&heading, &items(&page["items"]).iter().map(row).collect::<Vec<_>>())
            })
            .await
            .map(drop)
        }
        WebhookCommand::Redeliver { which, delivery } => {
            let place = path("/deliveries", &delivery)?;
            let said = |_: &Value| "the event is sent once more\n".to_owned();
            ask(&which, Method::POST, &format!("{place}/redeliver"), Some(json!({})), said).await.map(drop)
        }
        WebhookCommand::Delete(which) => {
            let said = |_: &Value| format!("webhook {} is deleted\n", which.webhook);
            ask(&which, Method::DELETE, "", None, said).await.map(drop)
        }
    }
}

/// Asks about one webhook, and prints the answer.
async fn ask(
    which: &WebhookFlags,
    method: Method,
    rest: &str,
    body: Option<Value>,
    human: impl FnOnce(&Value) -> String,
) -> anyhow::Result<Value> {
    let admin = Admin::connect(&which.admin)?;
    let place = format!("{}{rest}", path("/webhooks", &which.webhook)?);
    let answer = admin.api(method, &place, Some(&which.of.tenant), body).await?;
    admin.print(&answer, human)?;
    Ok(answer)
}

async fn create(flags: &NewWebhookFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let mut body = json!({ "url": flags.url });
    if !flags.types.is_empty() {
        body["types"] = json!(flags.types);
    }
    let webhook = admin.api(Method::POST, "/webhooks", Some(&flags.of.tenant), Some(body)).await?;
    admin.print(&webhook, with_secret)
}

async fn set(change: &WebhookChange) -> anyhow::Result<()> {
    let mut patch = json!({});
    if let Some(url) = &change.url {
        patch["url"] = url.as_str().into();
    }
    if !change.types.is_empty() {
        patch["types"] = json!(change.types);
    }
    if let Some(active) = change.active {
        patch["state"] = if active { "active" } else { "disabled" }.into();
    }
    ensure!(patch != json!({}), "say what to change: --url, --type or --active");
    ask(&change.which, Method::PATCH, "", Some(patch), shown).await.map(drop)
}

fn types(webhook: &Value) -> String {
    items(&webhook["types"]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

fn shown(webhook: &Value) -> String {
    let state = match webhook["disabled_reason"].as_str() {
        Some(why) => format!("{} ({why})", field(webhook, "state")),
        None => field(webhook, "state").to_owned(),
    };
    lines(&[
        ("webhook", field(webhook, "id").to_owned()),
        ("url", field(webhook, "url").to_owned()),
        ("types", types(webhook)),
        ("state", state),
        ("fails since", time(&webhook["failing_since_at"])),
        ("made", time(&webhook["created_at"])),
    ])
}

/// A webhook that has just got its secret.
fn with_secret(webhook: &Value) -> String {
    let secret = format!("{}   keep it: it is not shown again", field(webhook, "secret"));
    format!("{}{}", shown(webhook), lines(&[("secret", secret)]))
}
