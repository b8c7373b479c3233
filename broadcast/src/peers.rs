//! Pulls from other broadcast nodes: objects and logs, each bounded in size and in time as a whole.
//!
//! A peer may be hostile: whatever it answers is only bytes until the gate has compared their digest, or verified each seal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use media::{Digest, LogSequence, NodeId, ObjectName, StreamId};
use messages::AlertReason;
use node::tls::{Clients, WrongServer};
use seal::limits::TAIL_MAX;
use sha2::{Digest as _, Sha256};

use gate::Pulled;

/// Longest that a pull of an object may take as a whole: a peer at one byte a second is left after this.
pub(crate) const OBJECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest that a pull of a log may take as a whole.
pub(crate) const LOG_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest log in bytes: a window of 12 segments of a ladder of 20 is 2 MB; eight times that for longer windows.
pub(crate) const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Largest first allocation of a pull, in bytes: a peer that announces much and sends little costs no more than this.
const RESERVE_BYTES_FIRST: usize = 1024 * 1024;

/// Where the other broadcast nodes are reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses(Arc<ArcSwap<BTreeMap<NodeId, String>>>);

impl Addresses {
    pub(crate) fn set(&self, addresses: BTreeMap<NodeId, String>) {
        self.0.store(Arc::new(addresses));
    }

    fn get(&self, node: &NodeId) -> Option<String> {
        self.0.load().get(node).cloned()
    }
}

/// The client side of the data plane.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    pub(crate) clients: Clients,
    pub(crate) addresses: Addresses,
}

/// Why a pull brought nothing.
enum Failure {
    /// Not there, or not reachable: no fault.
    Absent,
    /// Against the rules.
    Fault(AlertReason, String),
}

impl Peers {
    pub(crate) async fn object(&self, peer: &NodeId, name: &ObjectName, length: u64) -> Pulled {
        let pull = self.fetch(peer, name.to_string(), length);
        match bounded(OBJECT_TIMEOUT, pull).await {
            Ok(bytes) if u64::try_from(bytes.len()) != Ok(length) => {
                let detail = format!("{name}: {} bytes instead of {length}", bytes.len());
                Pulled::Failed(Some((AlertReason::Digest, detail)))
            }
            Ok(bytes) => {
                let hashed = tokio::task::spawn_blocking(move || (Digest(Sha256::digest(&bytes).into()), bytes)).await;
                hashed.map_or(Pulled::Failed(None), |(digest, bytes)| Pulled::Object { digest, bytes })
            }
            Err(failure) => failed(failure),
        }
    }

    pub(crate) async fn log(&self, peer: &NodeId, stream: &StreamId, from: LogSequence) -> Pulled {
        let path = format!("/live/{stream}/seals?from={from}");
        match bounded(LOG_TIMEOUT, self.fetch(peer, path, LOG_BYTES_MAX)).await {
            Ok(bytes) => match seal::sequence::split(&bytes).take(TAIL_MAX).collect() {
                Ok(seals) => Pulled::Log(seals),
                Err(refusal) => Pulled::Failed(Some((AlertReason::Malformed, format!("log is {}", refusal.detail)))),
            },
            Err(failure) => failed(failure),
        }
    }

    async fn fetch(&self, peer: &NodeId, path: String, bytes_max: u64) -> Result<Bytes, Failure> {
        let base = self.addresses.get(peer).ok_or(Failure::Absent)?;
        let client = self.clients.to(peer).map_err(|_| Failure::Absent)?;
        let sent = client.get(format!("{base}{path}")).send().await;
        let mut response = sent.map_err(|error| match WrongServer::in_causes(&error) {
            Some(wrong) => Failure::Fault(AlertReason::Identity, wrong.to_string()),
            None => Failure::Absent,
        })?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Absent);
        }
        let too_long = || Failure::Fault(AlertReason::Digest, format!("{path}: more than {bytes_max} bytes"));
        let announced = response.content_length();
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(too_long());
        }
        let capacity = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut bytes = BytesMut::with_capacity(capacity.min(RESERVE_BYTES_FIRST));
        while let Some(piece) = response.chunk().await.map_err(|_| Failure::Absent)? {
            bytes.extend_from_slice(&piece);
            if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
                return Err(too_long());
            }
        }
        Ok(bytes.freeze())
    }
}

fn failed(failure: Failure) -> Pulled {
    match failure {
        Failure::Absent => Pulled::Failed(None),
        Failure::Fault(reason, detail) => Pulled::Failed(Some((reason, detail))),
    }
}

async fn bounded<T>(timeout: Duration, pull: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::Fault(AlertReason::Deadline, format!("no whole answer within {} s", timeout.as_secs()));
    tokio::time::timeout(timeout, pull).await.unwrap_or_else(|_| Err(late()))
}
