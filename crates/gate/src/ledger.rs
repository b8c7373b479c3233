//! Bytes in memory, counted for as long as anything holds them: a store, a view, or a response that a viewer does not read. Pure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Counts bytes. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<AtomicU64>);

impl Ledger {
    /// The same bytes, counted until the last slice of them is gone.
    #[must_use]
    pub fn hold(&self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.0.fetch_add(length(&bytes), Ordering::Relaxed);
        Bytes::from_owner(Held { bytes, ledger: self.clone() })
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Held {
    bytes: Bytes,
    ledger: Ledger,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(length(&self.bytes), Ordering::Relaxed);
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_slice_is_gone() {
        let ledger = Ledger::default();
        let whole = ledger.hold(Bytes::from_static(b"a segment"));
        let slice = whole.slice(..1);
        assert_eq!(ledger.bytes(), 9);
        drop(whole);
        assert_eq!((&slice[..], ledger.bytes()), (&b"a"[..], 9), "a slice keeps all of them");
        drop(slice);
        assert_eq!(ledger.bytes(), 0);
    }
}
