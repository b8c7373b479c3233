//! `sealcast stream|streamer|token|node|key|root|tenant|member|api-key|issuer|webhook|audit`: asks the control node, with a certificate of the role
//! control.

pub(crate) mod access;
mod delegate;
pub(crate) mod issuer;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod root;
pub(crate) mod stream;
pub(crate) mod streamer;
pub(crate) mod token;
pub(crate) mod webhook;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::node::tls::{Identity, IdentityPaths, Server};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use media::ClusterId;
use messages::Role;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::{AdminFlags, KeyCommand};
use crate::settings;

/// Longest wait for an answer of control.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// `admin.json` in the data directory: how to reach the control node that runs there. Readable by its owner only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AdminFile {
    /// Base URL of control's data plane.
    pub control: String,
    /// A certificate of the role control.
    pub identity: IdentityPaths,
    /// Name of the cluster.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Where the root key lies on this machine, if it does.
    #[serde(default)]
    pub root_key: Option<PathBuf>,
    /// Where the brokers are.
    #[serde(default)]
    pub bus: Vec<String>,
}

impl AdminFile {
    fn path(data: &Path) -> PathBuf {
        data.join("admin.json")
    }

    /// Writes the file to the data directory.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn write(&self, data: &Path) -> anyhow::Result<()> {
        ::node::files::atomic_write(&Self::path(data), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    pub(crate) fn read(data: &Path) -> anyhow::Result<Self> {
        let path = Self::path(data);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "no cluster runs with the data directory {}: start `sealcast up`, or give --data DIR",
                data.display()
            )
        })?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not what `sealcast up` writes", path.display()))
    }
}

/// A connection to control's administration API.
struct Admin {
    http: reqwest::Client,
    base: String,
    json: bool,
    data: PathBuf,
    /// Base URL of control's data plane.
    control: String,
    bus: Vec<String>,
    /// Prefix of the topics in this machine's configuration.
    prefix: String,
    root_key: Option<PathBuf>,
    cluster: ClusterId,
    part_target_ms: u64,
}

impl Admin {
    fn connect(flags: &AdminFlags) -> anyhow::Result<Self> {
        let settings = settings::read(flags.config.as_deref())?;
        let (cluster, part_target_ms) = (settings.cluster.clone(), settings.part_target_ms);
        let (data, prefix) = (flags.data.clone().unwrap_or(settings.data), settings.bus.prefix);
        let file = AdminFile::read(&data)?;
        // The process that wrote the file named the identity that its control node serves with.
        let identity = Identity::load(&file.identity)?;
        let http = identity.http_client(Server::Node(Role::Control, identity.node().clone()))?;
        let AdminFile { control, root_key, bus, .. } = file;
        let base = format!("{control}/cluster/v1/admin");
        Ok(Self { http, base, json: flags.json, data, control, bus, prefix, root_key, cluster, part_target_ms })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        self.answer(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    /// Asks the API, in the name of a tenant or of the operators' own.
    async fn api(
        &self,
        method: Method,
        path: &str,
        tenant: Option<&str>,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}/api/v1{path}", self.control));
        let request = if let Some(tenant) = tenant { request.header("x-sealcast-tenant", tenant) } else { request };
        self.answer(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    /// As [`Admin::ask`], with a body that is no JSON.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        self.answer(self.http.request(method, format!("{}{path}", self.base)).body(body)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request
            .timeout(ANSWER_WAIT_MAX)
            .send()
            .await
            .with_context(|| format!("control does not answer at {}: is it running?", self.base))?;
        let status = answer.status();
        let text = answer.text().await.context("the answer of control broke off")?;
        if !status.is_success() {
            let problem = serde_json::from_str::<Value>(&text).unwrap_or_default();
            if let Some(detail) = printable(&problem)["detail"].as_str() {
                bail!("{detail}");
            }
            bail!("{}", if text.trim().is_empty() { status.to_string() } else { text.trim().to_owned() });
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).context("the answer of control is not JSON")
    }

    /// Prints the answer as JSON, or as the text that `human` makes of it.
    fn print(&self, answer: &Value, human: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?;
        } else {
            write!(out, "{}", human(&printable(answer)))?;
        }
        Ok(())
    }
}

/// The answer without control characters: some of its texts come from publishers and from the bus, and a terminal would obey them.
fn printable(answer: &Value) -> Value {
    match answer {
        Value::String(text) => Value::String(text.replace(char::is_control, "\u{fffd}")),
        Value::Array(values) => values.iter().map(printable).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), printable(value))).collect(),
        other => other.clone(),
    }
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

/// Formats rows under a heading, in aligned columns.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column))).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(heading.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `sealcast key …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn key(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::List { admin } => {
            let admin = Admin::connect(&admin)?;
            let keys = admin.ask(Method::GET, "/keys", None).await?;
            admin.print(&keys, |keys| {
                let until = |key: &Value| media::UnixMillis(key["not_after"].as_i64().unwrap_or(0)).to_string();
                let row = |key: &Value| vec![field(key, "key").to_owned(), field(key, "node").to_owned(), until(key)];
                table(&["KEY", "NODE", "VALID UNTIL"], &items(keys).iter().map(row).collect::<Vec<_>>())
            })
        }
        KeyCommand::Revoke { key, misused_for, admin } => {
            let admin = Admin::connect(&admin)?;
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
                bail!("{key:?} is not a key's id: use the 32 hexadecimal digits that `sealcast key list` shows");
            }
            let answer = admin.ask(Method::POST, &format!("/keys/{key}/revoke"), node::misused(misused_for)).await?;
            admin.print(&answer, |answer| format!("key {key} is revoked\n{}", node::acknowledged(answer)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_others_cannot_command_the_terminal() {
        let answer = json!({"encoder": "OBS\u{1b}[2J\u{9b}31m", "bit_rate": 7, "warnings": [{"text": "a\rb"}]});
        let clean =
            json!({"encoder": "OBS\u{fffd}[2J\u{fffd}31m", "bit_rate": 7, "warnings": [{"text": "a\u{fffd}b"}]});
        assert_eq!(printable(&answer), clean);
    }
}
