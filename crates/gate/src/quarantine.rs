//! The quarantine: bytes that no verified seal names yet. Bounded per sender, per stream and in all; nothing is served from
//! here. Pure.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, NodeId, ObjectName, StreamId};

use super::limits::{
    QUARANTINE_BYTES_PER_PEER, QUARANTINE_BYTES_PER_STREAM, QUARANTINE_BYTES_TOTAL, QUARANTINE_CLAIMS_PER_NAME,
    QUARANTINE_ENTRIES_PER_PEER, QUARANTINE_ENTRIES_PER_STREAM, QUARANTINE_WAIT_MAX,
};

/// Bytes that claim a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The bytes.
    pub bytes: Bytes,
    /// Who sent them.
    pub peer: NodeId,
    /// Its place among the deadlines.
    ticket: (Duration, u64),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Usage {
    bytes: u64,
    entries: usize,
}

impl Usage {
    fn fits(self, bytes: u64, bytes_max: u64, entries_max: usize) -> bool {
        self.entries < entries_max && self.bytes.saturating_add(bytes) <= bytes_max
    }

    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.entries += 1;
    }

    fn take(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.entries -= 1;
    }
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("quarantine is full: {0}")]
pub struct Full(pub &'static str);

type Key = (ObjectName, Digest);

/// Bytes by name and digest. Different bytes for one name wait side by side until a seal tells which are right.
#[derive(Debug, Default)]
pub struct Quarantine {
    claims: BTreeMap<Key, Claim>,
    deadlines: BTreeMap<(Duration, u64), Key>,
    order: u64,
    peers: HashMap<NodeId, Usage>,
    streams: HashMap<StreamId, Usage>,
    total: Usage,
}

impl Quarantine {
    /// Stores bytes until a seal names them. The same bytes under the same name are stored once. Sending them again restarts
    /// their time, because the sender is told that they are here and still waits for their seal.
    ///
    /// # Errors
    /// When a bound is reached; says which.
    pub fn insert(
        &mut self,
        name: &ObjectName,
        digest: Digest,
        bytes: Bytes,
        peer: &NodeId,
        now: Duration,
    ) -> Result<(), Full> {
        let key = (name.clone(), digest);
        self.order += 1;
        let ticket = (now + QUARANTINE_WAIT_MAX, self.order);
        if let Some(claim) = self.claims.get_mut(&key) {
            self.deadlines.remove(&std::mem::replace(&mut claim.ticket, ticket));
            self.deadlines.insert(ticket, key);
            return Ok(());
        }
        let length = length(&bytes);
        let usage = |found: Option<&Usage>| found.copied().unwrap_or_default();
        let (of_peer, of_stream) = (usage(self.peers.get(peer)), usage(self.streams.get(&name.stream)));
        if !of_peer.fits(length, QUARANTINE_BYTES_PER_PEER, QUARANTINE_ENTRIES_PER_PEER) {
            return Err(Full("too much from one node"));
        }
        if !of_stream.fits(length, QUARANTINE_BYTES_PER_STREAM, QUARANTINE_ENTRIES_PER_STREAM) {
            return Err(Full("too much for one stream"));
        }
        if !self.total.fits(length, QUARANTINE_BYTES_TOTAL, usize::MAX) {
            return Err(Full("too much in all"));
        }
        if self.claimants(name).count() >= QUARANTINE_CLAIMS_PER_NAME {
            return Err(Full("too many different bytes for one name"));
        }
        self.peers.entry(peer.clone()).or_default().add(length);
        self.streams.entry(name.stream.clone()).or_default().add(length);
        self.total.add(length);
        self.deadlines.insert(ticket, key.clone());
        self.claims.insert(key, Claim { bytes, peer: peer.clone(), ticket });
        Ok(())
    }

    /// Removes all bytes that claim a name: returns those with `digest`, and the others, which are wrong.
    pub fn settle(&mut self, name: &ObjectName, digest: Digest) -> (Option<Claim>, Vec<Claim>) {
        let keys: Vec<Key> = self.claimants(name).map(|(key, _)| key.clone()).collect();
        let (mut right, mut wrong) = (None, Vec::new());
        for key in keys {
            match self.remove(&key) {
                Some(claim) if key.1 == digest => right = Some(claim),
                Some(claim) => wrong.push(claim),
                None => {}
            }
        }
        (right, wrong)
    }

    /// Drops bytes that waited for [`QUARANTINE_WAIT_MAX`], and returns them.
    pub fn expire(&mut self, now: Duration) -> Vec<(ObjectName, Claim)> {
        let mut expired = Vec::new();
        while let Some((_, key)) = self.deadlines.first_key_value().filter(|((deadline, _), _)| *deadline <= now) {
            let key = key.clone();
            if let Some(claim) = self.remove(&key) {
                expired.push((key.0, claim));
            }
        }
        expired
    }

    /// When [`Quarantine::expire`] may have something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Bytes that wait, of all senders together.
    pub fn bytes(&self) -> u64 {
        self.total.bytes
    }

    /// Panics when the sums are wrong or a bound is broken.
    pub fn check_invariants(&self) {
        let bytes: u64 = self.claims.values().map(|claim| length(&claim.bytes)).sum();
        assert_eq!((self.total.bytes, self.total.entries), (bytes, self.claims.len()));
        assert!(self.total.bytes <= QUARANTINE_BYTES_TOTAL);
        for (usages, bytes_max, entries_max) in [
            (self.peers.values().collect::<Vec<_>>(), QUARANTINE_BYTES_PER_PEER, QUARANTINE_ENTRIES_PER_PEER),
            (self.streams.values().collect(), QUARANTINE_BYTES_PER_STREAM, QUARANTINE_ENTRIES_PER_STREAM),
        ] {
            assert_eq!(usages.iter().map(|usage| usage.entries).sum::<usize>(), self.claims.len());
            assert!(usages.iter().all(|u| u.entries > 0 && u.entries <= entries_max && u.bytes <= bytes_max));
        }
        assert_eq!(self.deadlines.len(), self.claims.len());
    }

    fn claimants(&self, name: &ObjectName) -> impl Iterator<Item = (&Key, &Claim)> {
        let low = Bound::Included((name.clone(), Digest([0; 32])));
        let high = Bound::Included((name.clone(), Digest([255; 32])));
        self.claims.range((low, high))
    }

    fn remove(&mut self, key: &Key) -> Option<Claim> {
        let claim = self.claims.remove(key)?;
        self.deadlines.remove(&claim.ticket);
        let length = length(&claim.bytes);
        self.total.take(length);
        take(&mut self.peers, &claim.peer, length);
        take(&mut self.streams, &key.0.stream, length);
        Some(claim)
    }
}

fn take<K: std::hash::Hash + Eq>(usages: &mut HashMap<K, Usage>, key: &K, length: u64) {
    if let Some(usage) = usages.get_mut(key) {
        usage.take(length);
        if usage.entries == 0 {
            usages.remove(key);
        }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
