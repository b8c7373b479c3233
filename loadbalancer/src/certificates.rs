//! The certificates that a node has shown in a handshake that is bound to the node.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{self, SHA256};

/// Certificates remembered for a node: connections outlast a renewal, and keep the certificate that they began with.
const REMEMBERED_MAX: usize = 4;

/// The certificates that a node has shown, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// SHA-256 of each.
    shown: Mutex<VecDeque<Vec<u8>>>,
    /// Held during a handshake: requests that see a new certificate at the same time cause only one.
    learning: tokio::sync::Mutex<()>,
}

impl Certificates {
    pub(crate) fn contain(&self, digest: &[u8]) -> bool {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|shown| shown == digest)
    }

    /// Waits until no other request learns a certificate of this node.
    pub(crate) async fn one_at_a_time(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.learning.lock().await
    }

    pub(crate) fn learn(&self, certificate: &[u8]) {
        let digest = digest::digest(&SHA256, certificate);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|shown| shown != digest.as_ref());
        if shown.len() >= REMEMBERED_MAX {
            shown.pop_front();
        }
        shown.push_back(digest.as_ref().to_vec());
    }
}
