//! Responses under way, and what they keep in memory: media that have left the playlists and the store live on for as long as a viewer
//! takes to read them.
//!
//! Owns which response ends when memory is short: of those that hold what nothing else does, the one that has been open longest, which
//! is the slowest, with all that hold the same. Deliberately does not know how much memory there is.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use media::ObjectName;
use node::http::UnderWay;

/// What a response holds. Responses that hold the same share its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Held {
    /// A media object.
    Object(ObjectName),
    /// A playlist, which the next row replaces; with the address of its text.
    Playlist(usize),
}

/// The responses under way that hold more than themselves. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// In the order in which they began.
    open: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    held: Held,
    bytes: u64,
    under_way: UnderWay,
    is_cut: bool,
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response begins that holds `bytes`.
    pub(super) fn begin(&self, held: Held, bytes: u64, under_way: UnderWay) -> Arc<Place> {
        let mut state = self.lock();
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        state.open.insert(number, Reader { held, bytes, under_way, is_cut: false });
        Arc::new(Place { readers: self.clone(), number })
    }

    /// Ends responses that hold what is not stored any more, until `wanted` bytes are free; returns how many. What several hold is free
    /// once all of them have ended, and only once.
    pub(crate) fn relieve(&self, wanted: u64, is_stored: impl Fn(&ObjectName) -> bool) -> usize {
        let mut state = self.lock();
        let (mut looked_at, mut freed) = (HashMap::new(), 0_u64);
        for reader in state.open.values() {
            if freed >= wanted {
                break;
            }
            if let Entry::Vacant(entry) = looked_at.entry(reader.held.clone()) {
                let is_freed = !matches!(&reader.held, Held::Object(name) if is_stored(name));
                entry.insert(is_freed);
                freed = freed.saturating_add(if is_freed { reader.bytes } else { 0 });
            }
        }
        let mut cut = Vec::new();
        for reader in state.open.values_mut() {
            if !reader.is_cut && looked_at.get(&reader.held) == Some(&true) {
                reader.is_cut = true;
                cut.push(reader.under_way.clone());
            }
        }
        drop(state);
        cut.iter().for_each(UnderWay::cut);
        cut.len()
    }
}

/// A response's place among the readers, until the last piece of it is sent.
#[derive(Debug)]
pub(super) struct Place {
    readers: Readers,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.readers.lock().open.remove(&self.number);
    }
}

/// A piece of a response, which counts as under way until the connection has let go of it.
pub(super) fn piece(bytes: Bytes, place: &Arc<Place>) -> Bytes {
    Bytes::from_owner(Piece { bytes, _place: Arc::clone(place) })
}

struct Piece {
    bytes: Bytes,
    _place: Arc<Place>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use media::{Epoch, MediaSequence, RenditionId, Slot, StreamId};
    use node::CancellationToken;
    use node::http::Peer;

    use super::*;

    fn object(msn: u64) -> ObjectName {
        let (stream, rendition) = (StreamId::new("demo").unwrap(), RenditionId::new("720p").unwrap());
        ObjectName { stream, rendition, epoch: Epoch(1), slot: Slot::Segment { msn: MediaSequence(msn) } }
    }

    #[test]
    fn slowest_that_holds_what_nothing_else_does_goes_first() {
        let readers = Readers::default();
        let begin = |msn| {
            let address = std::net::SocketAddr::from(([192, 0, 2, 1], 1)).into();
            let peer = Peer {
                address,
                node: None,
                certificate: None,
                cut: CancellationToken::new(),
                long_lived: Default::default(),
            };
            let place = readers.begin(Held::Object(object(msn)), 100, UnderWay::of(&peer));
            (place, peer.cut)
        };
        let mut all: Vec<_> = [1, 9, 2, 3].map(begin).into();
        let is_stored = |name: &ObjectName| *name == object(9);
        assert_eq!(readers.relieve(150, is_stored), 2);
        let cut =
            |all: &[(Arc<Place>, CancellationToken)]| all.iter().map(|(_, cut)| cut.is_cancelled()).collect::<Vec<_>>();
        assert_eq!(cut(&all), [true, false, true, false]);
        assert_eq!(readers.relieve(150, is_stored), 0, "they are about to end");
        let (place, _) = all.remove(0);
        let last = piece(Bytes::from_static(b"x"), &place);
        drop(place);
        assert_eq!(readers.lock().open.len(), 4, "the connection still holds a piece");
        drop(last);
        assert_eq!((readers.relieve(150, is_stored), cut(&all)), (1, vec![false, true, true]));
        drop(all);
        assert!(readers.lock().open.is_empty());
        // Two that read the same hold it once, and one of them ends for nothing.
        let all: Vec<_> = [4, 4, 4, 5, 6].map(begin).into();
        assert_eq!((readers.relieve(200, is_stored), cut(&all)), (4, vec![true, true, true, true, false]));
    }
}
