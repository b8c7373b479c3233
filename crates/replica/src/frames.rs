//! Several byte strings in one body: a CBOR sequence (RFC 8742) of byte strings. Pure.

use bytes::Bytes;
use seal::Refusal;
use seal::wire::{Reader, Writer};

/// Most bytes that a frame takes beside its content.
const OVERHEAD_BYTES: usize = 9;

/// The frames of some byte strings.
pub(crate) fn join<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> Bytes {
    let mut w = Writer::with_capacity(4096);
    for part in parts {
        w.bytes(part);
    }
    w.finish().into()
}

/// The byte strings of a sequence of frames.
pub(crate) fn split(frames: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let mut r = Reader::new(frames);
    let mut parts = Vec::new();
    while !r.is_done() {
        parts.push(frames.slice_ref(r.bytes()?));
    }
    Ok(parts)
}

/// The byte strings of a sequence of frames, two by two: entries with their rows.
pub(crate) fn split_pairs(frames: &Bytes) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
    let parts = split(frames)?;
    let (pairs, rest) = parts.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Refusal::malformed("an entry without its rows"));
    }
    Ok(pairs.iter().map(|[entry, rows]| (entry.clone(), rows.clone())).collect())
}

/// Longest sequence of two frames with so many bytes in all.
pub(crate) const fn pair_bytes_max(bytes: usize) -> usize {
    bytes.saturating_add(2 * OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_and_broken_ones_are_refused() {
        let long = vec![7; 70_000];
        let frames = join([&b"one"[..], &[], &long, b"four"]);
        assert_eq!(split(&frames).unwrap(), [&b"one"[..], &[], &long, b"four"]);
        let pairs = split_pairs(&frames).unwrap();
        assert_eq!(pairs, [(Bytes::from("one"), Bytes::new()), (Bytes::from(long), Bytes::from("four"))]);
        assert!(split_pairs(&join([&b"one"[..]])).is_err());
        for cut in [1, 2, 3] {
            assert!(split(&frames.slice(..cut)).is_err(), "{cut} bytes");
        }
        assert!(split(&Bytes::from_static(b"\x01")).is_err(), "a number");
    }
}
