//! Bytes that an edge has fetched: the newest that fit, each checked before it is stored. Pure.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use media::{Digest, ObjectName, StreamId};

/// Fetched objects. The oldest leave first, because a live window slides.
#[derive(Debug)]
pub(crate) struct Cache {
    objects: HashMap<ObjectName, (Digest, Bytes)>,
    order: VecDeque<ObjectName>,
    bytes: u64,
    bytes_max: u64,
}

impl Cache {
    /// An empty cache of at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { objects: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The bytes of an object, if they have this SHA-256.
    pub(crate) fn get(&self, name: &ObjectName, digest: Digest) -> Option<Bytes> {
        self.objects.get(name).filter(|(held, _)| *held == digest).map(|(_, bytes)| bytes.clone())
    }

    /// Whether an object of this name is kept.
    pub(crate) fn has(&self, name: &ObjectName) -> bool {
        self.objects.contains_key(name)
    }

    /// Keeps an object, whose SHA-256 the caller has compared; older ones leave until it fits. One that never fits is not kept.
    pub(crate) fn insert(&mut self, name: ObjectName, digest: Digest, bytes: Bytes) {
        let length = length(&bytes);
        if length > self.bytes_max {
            return;
        }
        match self.objects.insert(name.clone(), (digest, bytes)) {
            Some((_, old)) => self.bytes -= self::length(&old),
            None => self.order.push_back(name),
        }
        self.bytes += length;
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.objects.remove(&oldest).map_or(0, |(_, bytes)| self::length(&bytes));
        }
    }

    /// Drops the objects for which `keep` is false.
    pub(crate) fn retain(&mut self, keep: impl Fn(&ObjectName) -> bool) {
        self.order.retain(&keep);
        self.objects.retain(|name, _| keep(name));
        self.bytes = self.objects.values().map(|(_, bytes)| length(bytes)).sum();
    }

    /// Drops all objects of a stream.
    pub(crate) fn forget(&mut self, stream: &StreamId) {
        self.retain(|name| name.stream != *stream);
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use media::{Epoch, MediaSequence, RenditionId, Slot};
    use proptest::prelude::*;

    use super::*;

    const D: Digest = Digest([7; 32]);

    fn name(stream: &str, msn: u64) -> ObjectName {
        let slot = Slot::Segment { msn: MediaSequence(msn) };
        let (stream, rendition) = (StreamId::new(stream).unwrap(), RenditionId::new("360p").unwrap());
        ObjectName { stream, rendition, epoch: Epoch(1), slot }
    }

    #[test]
    fn oldest_leave_when_it_is_full_and_a_stream_leaves_as_a_whole() {
        let mut cache = Cache::new(10);
        for msn in 0..3 {
            cache.insert(name("a", msn), D, Bytes::from_static(b"1234"));
        }
        assert_eq!((cache.get(&name("a", 0), D), cache.bytes()), (None, 8));
        cache.insert(name("b", 0), D, Bytes::from_static(b"12"));
        cache.insert(name("b", 1), D, Bytes::from_static(b"12345678901"));
        assert_eq!((cache.get(&name("b", 1), D), cache.bytes()), (None, 10));
        assert_eq!(cache.get(&name("b", 0), Digest::NONE), None, "other bytes than are wanted");
        cache.forget(&name("a", 0).stream);
        assert_eq!((cache.get(&name("a", 2), D), cache.bytes()), (None, 2));
    }

    proptest! {
        #[test]
        fn bytes_are_counted_and_bounded(steps in prop::collection::vec((0u8..3, 0u64..6, 0usize..8), 0..60)) {
            let mut cache = Cache::new(16);
            for (stream, msn, length) in steps {
                let stream = ["a", "b", "c"][usize::from(stream)];
                match length {
                    7 => cache.forget(&name(stream, msn).stream),
                    length => cache.insert(name(stream, msn), D, Bytes::from(vec![0; length])),
                }
                let held: usize = cache.objects.values().map(|(_, bytes)| bytes.len()).sum();
                prop_assert_eq!(cache.bytes(), held as u64);
                prop_assert!(held <= 16 && cache.order.len() == cache.objects.len());
            }
        }
    }
}
