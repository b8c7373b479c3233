//! The ops plane: health, readiness, metrics and status of a process, on a listener of its own.
//!
//! Owns `/healthz`, `/readyz`, `/metrics` and `/status`. Several roles of one process share one [`Ops`] and register what
//! they have to say under their node's name. Deliberately has no authentication: it listens on loopback by default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::http;

/// How often the recorder folds samples of histograms together; in between they take memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Boundaries of all `_seconds` histograms: from a signature check to a stall.
const SECONDS_BUCKETS: [f64; 15] =
    [0.000_05, 0.000_2, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Boundaries of all `_bytes` histograms: from a playlist to a segment of 4K video.
const BYTES_BUCKETS: [f64; 8] = [1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6];
/// Connections to the ops plane at once: a scraper, a probe and some people.
const CONNECTIONS_MAX: usize = 64;

/// Help texts of this crate's metrics, shown in `/metrics`.
const HELP: &[(&str, &str)] = &[
    ("http_connections", "Open connections, by listener."),
    ("http_connections_refused_total", "Connections ended early, by reason."),
    ("machine_cpu_ratio", "CPU in use on this machine, 0 to 1."),
    ("process_resident_memory_bytes", "Memory of this process."),
    (
        "tls_certificate_end_seconds",
        "When the certificates of a node end, its own and the public ones, in seconds since 1970.",
    ),
    (
        "tls_wrong_servers_total",
        "Servers refused because they are not the node that was meant, by the role that was meant.",
    ),
];

type StatusFn = Arc<dyn Fn() -> Value + Send + Sync>;

#[derive(Default)]
struct Parts {
    ready: BTreeMap<String, bool>,
    status: BTreeMap<String, StatusFn>,
}

/// What a process says of its health. Shared as `Arc<Ops>` by all its roles.
pub struct Ops {
    parts: Mutex<Parts>,
    changed: tokio::sync::Notify,
    metrics: PrometheusHandle,
    clock: Clock,
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ops").finish_non_exhaustive()
    }
}

impl Ops {
    /// Makes one, and installs the process's metrics recorder the first time. Uptime counts from here.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            parts: Mutex::default(),
            changed: tokio::sync::Notify::new(),
            metrics: recorder().clone(),
            clock: Clock::new(),
        })
    }

    /// Registers a part that must be ready before the process is, such as a node's name. It starts as not ready; a
    /// second registration under the same name replaces the first.
    pub fn ready(self: &Arc<Self>, name: &str) -> ReadyFlag {
        self.lock().ready.insert(name.to_owned(), false);
        ReadyFlag { ops: self.clone(), name: name.to_owned() }
    }

    /// Registers what `/status` shows under `name`. `status` is called for each request and must not block.
    pub fn status(&self, name: &str, status: impl Fn() -> Value + Send + Sync + 'static) {
        self.lock().status.insert(name.to_owned(), Arc::new(status));
    }

    /// Whether every registered part is ready; false while there is none.
    pub fn is_ready(&self) -> bool {
        let parts = self.lock();
        !parts.ready.is_empty() && parts.ready.values().all(|ready| *ready)
    }

    /// Resolves once [`Ops::is_ready`] is true. Register all parts first: it does not wait for later ones.
    pub async fn became_ready(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_ready() {
                return;
            }
            changed.await;
        }
    }

    /// Binds the listener; port 0 asks for a free port.
    ///
    /// # Errors
    /// When the address is taken; names it.
    pub async fn load(self: &Arc<Self>, listen: SocketAddr) -> Result<OpsServer> {
        let listener = acceptor::bind(listen, "ops_listen").await?;
        Ok(OpsServer { address: listener.local_addr()?, listener, ops: self.clone() })
    }

    /// The four routes, for a caller that serves them elsewhere.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_text))
            .route("/status", get(status))
            .with_state(self.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Parts> {
        // A status function that panicked left the maps as they were.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part's handle to report whether it is ready. Dropping it makes the part not ready.
#[derive(Debug)]
pub struct ReadyFlag {
    ops: Arc<Ops>,
    name: String,
}

impl ReadyFlag {
    /// Records whether the part is ready, and wakes [`Ops::became_ready`].
    pub fn set(&self, ready: bool) {
        self.ops.lock().ready.insert(self.name.clone(), ready);
        self.ops.changed.notify_waiters();
    }
}

impl Drop for ReadyFlag {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// The ops listener, bound.
#[derive(Debug)]
pub struct OpsServer {
    address: SocketAddr,
    listener: TcpListener,
    ops: Arc<Ops>,
}

impl OpsServer {
    /// Where it listens; for port 0, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let limits = http::Limits { name: "ops", connections_max: CONNECTIONS_MAX, ..http::Limits::default() };
        http::serve_plain(self.listener, self.ops.router(), limits, shutdown).await
    }
}

async fn readyz(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    let ready = ops.is_ready();
    let parts = ops.lock().ready.clone();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "parts": parts })))
}

async fn metrics_text(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    // Prometheus text exposition format 0.0.4.
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render())
}

async fn status(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    // Called without the lock: a status function may ask about readiness itself.
    let functions = ops.lock().status.clone();
    let nodes: BTreeMap<String, Value> = functions.into_iter().map(|(name, status)| (name, status())).collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": ops.is_ready(),
        "uptime_seconds": ops.clock.elapsed().as_secs(),
        "nodes": nodes,
    }))
}

/// Describes metrics, each by name and text. The end of the name gives the kind: `_total` is a counter, `_seconds` a histogram, all else
/// a gauge. A role calls this when it loads, after its [`Ops`] was made.
pub fn describe(help: &[(&'static str, &'static str)]) {
    for (name, text) in help {
        if name.ends_with("_total") {
            metrics::describe_counter!(*name, *text);
        } else if name.ends_with("_seconds") {
            metrics::describe_histogram!(*name, *text);
        } else {
            metrics::describe_gauge!(*name, *text);
        }
    }
}

/// The process's recorder, installed the first time.
fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS))
            .expect("the buckets are not empty")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder was there before; /metrics stays empty");
        }
        describe(HELP);
        describe(bus::METRICS);
        let upkeep = handle.clone();
        // A thread, not a task: the recorder outlives every runtime of the process.
        let started = std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(UPKEEP_INTERVAL);
                upkeep.run_upkeep();
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "histograms are only folded when they are read");
        }
        handle
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let response = reqwest::Client::builder().no_proxy().use_preconfigured_tls(no_tls()).build().unwrap();
        let response = response.get(format!("http://{address}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn no_tls() -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    }

    #[tokio::test]
    async fn process_is_ready_when_all_its_parts_are() {
        let ops = Ops::new();
        let server = ops.load((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = server.address();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));

        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(get(address, "/readyz").await.0, 503, "nothing registered yet");
        let (b1, b2) = (ops.ready("b1"), ops.ready("b2"));
        b1.set(true);
        let (code, body) = get(address, "/readyz").await;
        assert_eq!((code, serde_json::from_str::<Value>(&body).unwrap()["parts"]["b2"].clone()), (503, json!(false)));
        let waiting = tokio::spawn({
            let ops = ops.clone();
            async move { ops.became_ready().await }
        });
        b2.set(true);
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
        assert_eq!(get(address, "/readyz").await.0, 200);
        drop(b2);
        assert_eq!(get(address, "/readyz").await.0, 503, "a part that ended is not ready");

        ops.status("b1", || json!({ "streams": 3 }));
        let status: Value = serde_json::from_str(&get(address, "/status").await.1).unwrap();
        assert_eq!(status["nodes"]["b1"]["streams"], 3);
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));

        let _second = Ops::new();
        metrics::counter!("ops_test_total").increment(2);
        metrics::histogram!("ops_test_seconds").record(0.003);
        let (code, text) = get(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(text.contains("ops_test_total 2"), "{text}");
        assert!(text.contains("# HELP http_connections Open connections, by listener.\n"), "{text}");
        assert!(text.contains("http_connections{listener=\"ops\"} "), "{text}");
        assert!(text.contains("ops_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");

        assert_eq!(get(address, "/nothing").await.0, 404);
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }
}
