//! Responses under way, and what they keep in memory: media that have left the playlists and the store live on for as long as a viewer
//! takes to read them.
//!
//! Owns which response ends when memory is short: of those that hold what nothing else does, the one that has been open longest, which
//! is the slowest. Deliberately does not know how much memory there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use media::ObjectName;
use node::http::UnderWay;

/// What a response holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// A media object.
    Object(ObjectName),
    /// A playlist, which the next row replaces.
    Playlist,
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

    /// Ends responses that hold what is not stored any more, until they held `wanted` bytes; returns how many.
    pub(crate) fn relieve(&self, wanted: u64, is_stored: impl Fn(&ObjectName) -> bool) -> usize {
        let mut cut = Vec::new();
        let mut freed = 0_u64;
        for reader in self.lock().open.values_mut() {
            if freed >= wanted {
                break;
            }
            let is_stored = || matches!(&reader.held, Held::Object(name) if is_stored(name));
            if !reader.is_cut {
                if is_stored() {
                    continue;
                }
                reader.is_cut = true;
                cut.push(reader.under_way.clone());
            }
            freed = freed.saturating_add(reader.bytes);
        }
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
            let peer = Peer { address, node: None, certificate: None, cut: CancellationToken::new() };
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
    }
}
