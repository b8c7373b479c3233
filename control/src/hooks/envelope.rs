//! What receivers get of an event, and which credentials may hear it. Pure.

use catalogue::Event;
use serde_json::{Value, json};

/// Kinds of events that an endpoint can name. `X.*` names all that begin so, and `*` all there are.
pub(crate) const KINDS: &[&str] = &[
    "stream.created",
    "stream.updated",
    "stream.deleted",
    "stream.key_rotated",
    "stream.connected",
    "stream.live",
    "stream.reconnecting",
    "stream.ended",
    "stream.refused",
    "stream.warning",
    "api_key.created",
    "api_key.updated",
    "api_key.deleted",
    "member.created",
    "member.updated",
    "member.deleted",
    "token.revoked",
    "issuer.stale",
    "quota.warned",
    "quota.reached",
    "webhook.disabled",
    "tenant.deleted",
];

/// The scope that reads what an event is about.
pub(crate) fn needs(kind: &str) -> &'static str {
    match kind.split('.').next().unwrap_or_default() {
        "stream" => "streams:read",
        "api_key" => "api-keys:read",
        "member" => "members:read",
        "token" => "tokens:read",
        "issuer" => "issuers:read",
        "quota" => "usage:read",
        "tenant" => "tenants:read",
        _ => "webhooks:read",
    }
}

/// The envelope: the body of a webhook, and the data of a server-sent event.
pub(crate) fn envelope(event: &Event) -> Value {
    let object: Value = serde_json::from_str(&event.object).unwrap_or_default();
    let (sequence, state) = &event.current;
    let mut data = json!({
        "tenant": event.tenant.as_str(),
        "subject": { "type": event.subject.0, "id": event.subject.1 },
        "sequence": event.sequence,
        "object": object,
        "current": { "sequence": sequence, "state": state },
    });
    if let Some(epoch) = event.epoch {
        data["epoch"] = epoch.into();
    }
    json!({ "type": event.kind, "timestamp": event.created_at.to_string(), "data": data })
}
