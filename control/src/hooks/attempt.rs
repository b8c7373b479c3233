//! One attempt to deliver: sign, send through the guarded connector, and say how it ended. What the receiver answers is read within bounds,
//! and shown to nobody.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use bytes::Bytes;
use catalogue::Webhook;
use media::UnixMillis;
use outbound::{Limits, Request, Target};
use webhooks::{Outcome, Secret, signature};

use super::Hooks;

/// What an attempt may take. Standard Webhooks: "15-30s". Receivers have nothing to say, so their answers are short.
const LIMITS: Limits = Limits { time: Duration::from_secs(15), body_bytes: 64 * 1024 };

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    /// Why it failed, in words for the tenant.
    pub(crate) error: Option<String>,
    /// The same as a label of metrics.
    pub(crate) label: &'static str,
}

impl Posted {
    fn failed(error: String, label: &'static str) -> Self {
        Self { outcome: Outcome::Failed { retry_after: None }, status: None, error: Some(error), label }
    }
}

/// Sends a body to an endpoint, signed.
pub(crate) async fn post(hooks: &Hooks, webhook: &Webhook, id: &str, body: String) -> Posted {
    let Some(outbound) = &hooks.outbound else {
        let why = "this server trusts no other server: whoever operates it has to install ca-certificates";
        return Posted::failed(why.to_owned(), "tls");
    };
    let target = match Target::parse(&webhook.url, outbound.policy()) {
        Ok(target) => target,
        Err(refused) => return Posted::failed(refused.for_tenant(), "refused"),
    };
    let now = hooks.clock.wall();
    let Some(headers) = headers(hooks, (webhook, now), id, body.as_bytes()) else {
        return Posted::failed("the event cannot be signed".to_owned(), "unsigned");
    };
    let request = Request { method: Method::POST, headers, body: Bytes::from(body) };
    match outbound.send(&target, request, LIMITS).await {
        Ok(answer) => judged(answer.status.as_u16(), retry_after(&answer.headers, now)),
        Err(error) => {
            tracing::debug!(webhook = %webhook.id, error = &error as &dyn std::error::Error, "not delivered");
            Posted::failed(error.for_tenant(), error.label())
        }
    }
}

fn judged(status: u16, retry_after: Option<Duration>) -> Posted {
    let (outcome, label) = match status {
        200..=299 => (Outcome::Delivered, "delivered"),
        410 => (Outcome::Gone, "gone"),
        _ => (Outcome::Failed { retry_after }, "status"),
    };
    let error = (outcome != Outcome::Delivered).then(|| format!("the receiver answered {status}"));
    Posted { outcome, status: Some(status), error, label }
}

fn headers(hooks: &Hooks, (webhook, now): (&Webhook, UnixMillis), id: &str, body: &[u8]) -> Option<HeaderMap> {
    let secret = |salt| Secret::new(hooks.catalogue.webhook_secret(&webhook.id, salt).to_vec()).ok();
    let secrets: Vec<Secret> = webhook.salts(now).filter_map(secret).collect();
    let timestamp_s = u64::try_from(now.0.div_euclid(1_000)).ok()?;
    let signature = signature(&secrets, id, timestamp_s, body);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(WEBHOOK_ID, HeaderValue::from_str(id).ok()?);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp_s));
    headers.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&signature).ok()?);
    Some(headers)
}

/// What a receiver asks for: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixMillis(i64::try_from(at.as_millis()).ok()?).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiver_asks_for_a_pause_in_seconds_or_by_date() {
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, UnixMillis(784_111_717_000))
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:40:37 GMT"), Some(Duration::ZERO));
        assert_eq!((asked("soon"), asked("-5"), retry_after(&HeaderMap::new(), UnixMillis(0))), (None, None, None));
    }

    /// Case E7.
    #[test]
    fn only_2xx_is_delivered_and_410_ends_it() {
        assert_eq!(judged(204, None).outcome, Outcome::Delivered);
        assert_eq!(judged(410, None).outcome, Outcome::Gone);
        let pause = Some(Duration::from_secs(9));
        for status in [304, 400, 404, 429, 500, 503] {
            assert_eq!(judged(status, pause).outcome, Outcome::Failed { retry_after: pause }, "{status}");
        }
    }
}
