//! Limits of the connections to one node.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that are being made to one node at once. Requests that find none wait for these instead of making one each:
/// after a start, thousands of blocked viewers come at the same moment.
const CONNECTS_MAX: usize = 4;
/// Requests at once to one node over HTTP/1.1, each on a connection of its own: 1/32 of what a node takes by default. More
/// go over HTTP/2.
const HTTP1_REQUESTS_MAX: usize = 128;

/// Limits the requests that connect to one node at once, and those over HTTP/1.1. Clones share the limits.
#[derive(Debug, Clone)]
pub(crate) struct ConnectLimits {
    connects: Arc<Semaphore>,
    http1: Arc<Semaphore>,
}

impl Default for ConnectLimits {
    fn default() -> Self {
        Self { connects: Arc::new(Semaphore::new(CONNECTS_MAX)), http1: Arc::new(Semaphore::new(HTTP1_REQUESTS_MAX)) }
    }
}

impl ConnectLimits {
    /// A place to connect, if one is free. The caller keeps the permit until the request has its connection.
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.connects.clone().try_acquire_owned().ok()
    }

    /// A place on an HTTP/1.1 connection, if one is free. The caller keeps the permit until the request has ended.
    pub(crate) fn try_http1(&self) -> Option<OwnedSemaphorePermit> {
        self.http1.clone().try_acquire_owned().ok()
    }

    /// Waits for a place to connect. Requests that wait at the same time get theirs one by one.
    pub(crate) async fn enter(&self) -> OwnedSemaphorePermit {
        self.connects.clone().acquire_owned().await.expect("it is never closed")
    }
}
