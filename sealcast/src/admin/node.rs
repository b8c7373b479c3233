//! `sealcast node …`: lists and shows nodes, takes broadcast nodes out of service and back, and revokes nodes.

use std::io::Write as _;
use std::time::Duration;

use ::node::clock::Clock;
use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::Value;

use super::{Admin, field, items, table};
use crate::cli::NodeCommand;

/// How often `drain --wait` asks control.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a drained node to become quiet. Its viewers leave with their next request, or, with content steering, within
/// the TTL of the steering manifest.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(120);
/// Requests per second below which a node counts as quiet. Three low-latency viewers make more; the rest is left for monitoring.
const QUIET_REQUESTS: f64 = 10.0;
/// Bits per second below which a node counts as quiet.
const QUIET_EGRESS: f64 = 200_000.0;

/// `sealcast node …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn run(command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::List { admin } => {
            let admin = Admin::connect(&admin)?;
            let nodes = admin.ask(Method::GET, "/nodes", None).await?;
            admin.print(&nodes, |nodes| {
                let heading =
                    ["NODE", "ROLE", "HEALTH", "CPU", "MEMORY", "EGRESS", "HEADROOM", "OWNS", "EDGE OF", "ADDRESS"];
                table(&heading, &items(nodes).iter().map(row).collect::<Vec<_>>())
            })
        }
        NodeCommand::Show { name, admin } => {
            let admin = Admin::connect(&admin)?;
            let node = admin.ask(Method::GET, &path(&name, "")?, None).await?;
            admin.print(&node, shown)
        }
        NodeCommand::Drain { name, wait, admin } => {
            let admin = Admin::connect(&admin)?;
            let node = admin.ask(Method::POST, &path(&name, "/drain")?, None).await?;
            if wait {
                return quiet(&admin, &name).await;
            }
            admin.print(&node, |_| {
                format!("node {name} is drained: it takes no new viewers, and its streams go to other nodes\n")
            })
        }
        NodeCommand::Revoke { name, misused_for, admin } => {
            let admin = Admin::connect(&admin)?;
            let revoked = admin.ask(Method::POST, &path(&name, "/revoke")?, misused(misused_for)).await?;
            admin.print(&revoked, |revoked| {
                let keys = items(&revoked["keys"]).len();
                let spread = acknowledged(revoked);
                let unknown = if revoked["known"] == false {
                    format!(
                        "no node {name} was known: if the name is mistyped, the one that you meant is still in (sealcast node list)\n"
                    )
                } else {
                    String::new()
                };
                format!(
                    "{unknown}node {name} is revoked, with {keys} keys; a machine that takes over needs another name\n{spread}\
                     its login at Mosquitto stays, with which it can say things that nobody believes: take it away there, too \
                     (mosquitto_passwd -D passwords {name}, and SIGHUP to mosquitto)\n"
                )
            })
        }
        NodeCommand::Add { name, certificate, admin } => {
            let admin = Admin::connect(&admin)?;
            let text = ::node::files::read_bounded(&certificate)?;
            let pem = String::from_utf8(text).with_context(|| format!("{} is not text", certificate.display()))?;
            let body = serde_json::json!({ "certificate": pem });
            let added = admin.ask(Method::POST, &path(&name, "/add")?, Some(body)).await?;
            admin.print(&added, |added| format!("node {name} is a member\n{}", acknowledged(added)))
        }
        NodeCommand::Undrain { name, admin } => {
            let admin = Admin::connect(&admin)?;
            let node = admin.ask(Method::POST, &path(&name, "/undrain")?, None).await?;
            admin.print(&node, |_| format!("node {name} takes viewers and streams again\n"))
        }
    }
}

/// What a revocation says of the time before it.
pub(super) fn misused(misused_for: Option<Duration>) -> Option<Value> {
    misused_for.map(|time| serde_json::json!({ "misused_for_s": time.as_secs() }))
}

/// Which nodes have taken a change, for a person.
pub(super) fn acknowledged(answer: &Value) -> String {
    let names = |key: &str| items(&answer[key]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let (taken, missing) = (items(&answer["acknowledged"]).len(), names("missing"));
    let all = taken + items(&answer["missing"]).len();
    if missing.is_empty() {
        return format!("{taken} of {all} other nodes have taken it\n");
    }
    format!("{taken} of {all} other nodes have taken it; not yet: {missing} (they do as soon as they hear of it)\n")
}

fn path(name: &str, rest: &str) -> anyhow::Result<String> {
    Ok(format!("/nodes/{}{rest}", media::NodeId::new(name)?))
}

/// Health as `node list` shows it: what the operator decided comes before what the node reports.
fn health(node: &Value) -> &str {
    let is_drained = node["drained"] == true && node["health"] != "offline";
    match () {
        () if node["revoked"] == true => "revoked",
        () if is_drained => "drained",
        () => field(node, "health"),
    }
}

fn megabits(bits: &Value) -> String {
    format!("{:.1} Mbit/s", bits.as_f64().unwrap_or(0.0) / 1e6)
}

fn row(node: &Value) -> Vec<String> {
    let load = &node["load"];
    let count = |list: &Value| items(list).len().to_string();
    if node["health"] == "offline" {
        // The last load of a node that is gone means nothing.
        let known = ["node", "role", "health"].map(|name| field(node, name).to_owned());
        return known.into_iter().chain(std::iter::repeat_n("-".to_owned(), 7)).collect();
    }
    vec![
        field(node, "node").to_owned(),
        field(node, "role").to_owned(),
        health(node).to_owned(),
        percent(&load["cpu"]),
        format!("{} MiB", load["memory_bytes"].as_u64().unwrap_or(0) >> 20),
        megabits(&load["egress"]),
        percent(&node["headroom"]),
        count(&node["streams"]),
        count(&node["edges"]),
        field(node, "https").to_owned(),
    ]
}

fn percent(share: &Value) -> String {
    format!("{:.0} %", 100.0 * share.as_f64().unwrap_or(0.0))
}

fn shown(node: &Value) -> String {
    let load = &node["load"];
    let names = |list: &Value| match items(list) {
        [] => "-".to_owned(),
        names => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
    };
    let capacity = match load["egress_capacity"].as_u64().unwrap_or(0) {
        0 => "not configured (role.broadcast.egress_capacity)".to_owned(),
        _ => megabits(&load["egress_capacity"]),
    };
    let since = |at: &Value| media::UnixMillis(at.as_i64().unwrap_or(0)).to_string();
    let lines = [
        ("node", field(node, "node").to_owned()),
        ("role", field(node, "role").to_owned()),
        ("health", health(node).to_owned()),
        ("started", since(&node["started_at"])),
        ("last heard", since(&node["at"])),
        ("viewers at", field(node, "https").to_owned()),
        ("data plane", field(node, "data").to_owned()),
        ("cpu", percent(&load["cpu"])),
        (
            "memory",
            format!(
                "{} of {} MiB",
                load["memory_bytes"].as_u64().unwrap_or(0) >> 20,
                load["memory_total_bytes"].as_u64().unwrap_or(0) >> 20
            ),
        ),
        ("disk free", format!("{} MiB", load["disk_free_bytes"].as_u64().unwrap_or(0) >> 20)),
        ("egress", megabits(&load["egress"])),
        ("capacity", capacity),
        ("headroom", percent(&node["headroom"])),
        ("owns", names(&node["streams"])),
        ("edge of", names(&node["edges"])),
    ];
    lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect()
}

/// Waits until a drained node is quiet, and reports progress on standard error.
async fn quiet(admin: &Admin, name: &str) -> anyhow::Result<()> {
    let clock = Clock::new();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let node = admin.ask(Method::GET, &path(name, "")?, None).await?;
        let load = &node["load"];
        let number = |name: &str| load[name].as_f64().unwrap_or(0.0);
        let (requests, egress) = (number("requests_per_second"), number("egress"));
        let (owned, took) = (items(&node["streams"]).len(), clock.elapsed());
        let is_quiet = requests < QUIET_REQUESTS && egress < QUIET_EGRESS && owned == 0;
        if node["health"] == "offline" || (is_quiet && node["health"] == "draining") {
            return admin.print(&node, |_| format!("node {name} is drained and quiet after {} s\n", took.as_secs()));
        }
        if took > QUIET_WAIT_MAX {
            bail!(
                "node {name} still serves {requests:.0} requests a second, and owns {owned} streams, after {} s; it stays drained",
                took.as_secs()
            );
        }
        if !admin.json {
            let mut progress = std::io::stderr().lock();
            writeln!(progress, "{name}: {requests:.0} requests/s, {:.1} Mbit/s, owns {owned} streams", egress / 1e6)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_shown_with_what_it_bears_and_the_operators_word() {
        let node = serde_json::json!({
            "node": "b1", "role": "broadcast", "health": "draining", "drained": true, "headroom": 0.25,
            "https": "https://127.0.0.1:9101", "streams": ["hall"], "edges": [], "started_at": 0, "at": 0,
            "load": { "cpu": 0.5, "memory_bytes": 104_857_600, "egress": 2_500_000, "egress_capacity": 0 },
        });
        assert_eq!(
            row(&node),
            ["b1", "broadcast", "drained", "50 %", "100 MiB", "2.5 Mbit/s", "25 %", "1", "0", "https://127.0.0.1:9101"]
        );
        let text = shown(&node);
        assert!(text.contains("health      drained\n") && text.contains("owns        hall\n"), "{text}");
        assert!(text.contains("edge of     -\n") && text.contains("not configured"), "{text}");
        let gone = serde_json::json!({ "node": "b1", "role": "broadcast", "health": "offline", "headroom": 1.0 });
        assert_eq!(row(&gone), ["b1", "broadcast", "offline", "-", "-", "-", "-", "-", "-", "-"]);
    }
}
