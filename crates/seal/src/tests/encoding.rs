//! decode(encode(x)) = x, and no other bytes decode.

use bytes::Bytes;
use media::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, PartIndex,
    RenditionId, SessionId, Slot, StreamId, Timescale, Timestamp, Track, UnixMillis,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::author::{Author, KEY, keyring, now, stream};
use crate::limits::SEAL_BYTES_MAX;
use crate::{
    Freshness, Head, Object, RefusalReason, Rendition, SealBody, SealKind, Signer, cose, decode_body, encode_body,
};

fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 1..u32::MAX).prop_map(|(ticks, scale)| Timestamp::new(ticks, Timescale::new(scale).unwrap()))
}

fn rendition_id() -> impl Strategy<Value = RenditionId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|name| RenditionId::new(&name).unwrap())
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        Just(Slot::Init),
        (any::<u64>(), any::<u32>())
            .prop_map(|(msn, part)| Slot::Part { msn: MediaSequence(msn), part: PartIndex(part) }),
        any::<u64>().prop_map(|msn| Slot::Segment { msn: MediaSequence(msn) }),
        any::<u64>().prop_map(|msn| Slot::Image { msn: MediaSequence(msn) }),
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let what = (rendition_id(), slot(), any::<bool>(), any::<bool>(), any::<u64>(), any::<Option<u64>>());
    (what, time(), time(), time(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |((rendition, slot, independent, gap, length, sync_length), start, decode_time, duration, digest, init)| {
            Object {
                rendition,
                slot,
                start,
                decode_time,
                duration,
                independent,
                gap,
                length,
                digest: Digest(digest),
                init: Digest(init),
                sync_length,
            }
        },
    )
}

fn rendition() -> impl Strategy<Value = Rendition> {
    let format = prop_oneof![
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(width, height, frame_rate_millihertz)| Format::Video {
            width,
            height,
            frame_rate_millihertz
        }),
        (any::<u32>(), any::<u8>()).prop_map(|(sample_rate_hz, channels)| Format::Audio { sample_rate_hz, channels }),
    ];
    let rates = (any::<u64>(), any::<u64>(), any::<u64>());
    (rendition_id(), ".{0,20}", 1..u32::MAX, format, rates, any::<[u8; 32]>()).prop_map(
        |(rendition, codec, scale, format, (peak, mean, init_length), init)| Rendition {
            track: Track {
                rendition,
                codec,
                timescale: Timescale::new(scale).unwrap(),
                format,
                bandwidth_peak: BitsPerSecond(peak),
                bandwidth_mean: BitsPerSecond(mean),
            },
            init: Digest(init),
            init_length,
        },
    )
}

prop_compose! {
    fn body()(
        session in any::<[u8; 16]>(), previous in any::<[u8; 32]>(), counters in any::<[u64; 4]>(),
        times in any::<[i64; 2]>(), end in any::<bool>(),
        checkpoint in vec(rendition(), 0..6), objects in vec(object(), 0..8),
    ) -> SealBody {
        let [epoch, sequence, next_msn, discontinuity] = counters;
        SealBody {
            cluster: ClusterId::new("c").unwrap(),
            stream: StreamId::new("s").unwrap(),
            session: SessionId(session),
            epoch: Epoch(epoch),
            sequence: LogSequence(sequence),
            previous: Digest(previous),
            issued_at: UnixMillis(times[0]),
            origin: UnixMillis(times[1]),
            next_msn: MediaSequence(next_msn),
            discontinuity: DiscontinuitySequence(discontinuity),
            kind: if end { SealKind::End } else { SealKind::Media },
            checkpoint,
            objects,
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(body in body()) {
        let bytes = encode_body(&body);
        prop_assert_eq!(decode_body(&bytes).unwrap(), body);
    }

    /// A changed body either does not decode or decodes to another body: no body has two encodings.
    #[test]
    fn one_statement_has_one_encoding(body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode_body(&body);
        let original = bytes.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = decode_body(&bytes) {
            prop_assert_eq!(&encode_body(&other), &bytes);
            prop_assert!(bytes == original || encode_body(&other) != original);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..600), tail in any::<bool>()) {
        let _ = decode_body(&bytes);
        let _ = Head::from_bytes(&bytes);
        let keyring = keyring();
        let mut whole = bytes.clone();
        if tail {
            // A valid header first, so that the reader gets to the bytes after it.
            whole = Author::new().row().raw()[..26].to_vec();
            whole.extend_from_slice(&bytes);
        }
        prop_assert!(keyring.verify(&whole.into(), &stream(), now(0).wall, Freshness::Live).is_err());
    }
}

#[test]
fn any_flipped_bit_of_a_seal_is_refused() {
    let (sealed, keyring) = (Author::new().row(), keyring());
    let verify = |bytes: Vec<u8>| keyring.verify(&bytes.into(), &stream(), now(0).wall, Freshness::Live);
    assert_eq!(verify(sealed.raw().to_vec()).unwrap(), sealed);
    for at in 0..sealed.raw().len() {
        // All bits of the header and the heads of payload and signature, one bit of each other byte.
        let bits = if at < 64 || (at % 16 == 0) { 0..8 } else { (at % 8)..(at % 8 + 1) };
        for bit in bits {
            let mut bytes = sealed.raw().to_vec();
            bytes[at] ^= 1 << bit;
            let reason = verify(bytes).unwrap_err().reason;
            let expected = [RefusalReason::Malformed, RefusalReason::Key, RefusalReason::Signature];
            assert!(expected.contains(&reason), "byte {at}, bit {bit}: {reason}");
        }
    }
}

fn reason(bytes: Vec<u8>) -> RefusalReason {
    keyring().verify(&bytes.into(), &stream(), now(0).wall, Freshness::Live).unwrap_err().reason
}

#[test]
fn another_envelope_around_the_same_seal_is_malformed() {
    let sealed = Author::new().row();
    let raw = sealed.raw().to_vec();
    let payload_at = 26;
    assert_eq!(raw[payload_at], 0x59, "a byte string with two bytes of length");
    let with = |at: usize, remove: usize, insert: &[u8]| {
        let mut bytes = raw.clone();
        bytes.splice(at..at + remove, insert.iter().copied());
        bytes
    };
    let length = [0x5a, 0, 0, raw[payload_at + 1], raw[payload_at + 2]];
    let signature_at = raw.len() - 2423;
    for (what, bytes) in [
        ("trailing byte", with(raw.len(), 0, &[0])),
        ("truncated", raw[..raw.len() - 1].to_vec()),
        ("no tag", with(0, 1, &[])),
        ("tag in two bytes", with(0, 1, &[0xd8, 18])),
        ("another tag", with(0, 1, &[0xd1])),
        ("array of indefinite length", {
            let mut bytes = with(1, 1, &[0x9f]);
            bytes.push(0xff);
            bytes
        }),
        ("protected header with a long length", with(2, 1, &[0x58, 22])),
        ("payload with a long length", with(payload_at, 3, &length)),
        ("signature with a long length", with(signature_at, 3, &[0x5a, 0, 0, 0x09, 0x74])),
        ("an unprotected header", with(payload_at - 1, 1, &[0xa1, 0x04, 0x41, 0x00])),
        ("payload of indefinite length", with(payload_at, 3, &[0x5f])),
        ("claimed length of 4 GB", with(payload_at, 3, &[0x5a, 0xff, 0xff, 0xff, 0xff])),
        ("claimed length of 2^64", with(payload_at, 3, &[0x5b, 255, 255, 255, 255, 255, 255, 255, 255])),
        ("empty", Vec::new()),
        ("10 MB", vec![0xd2; 10_000_000]),
    ] {
        assert_eq!(reason(bytes), RefusalReason::Malformed, "{what}");
    }
}

/// A valid signature does not help: the key's owner must use the canonical encoding too.
#[test]
fn signed_but_not_canonical_body_is_malformed() {
    let body = Author::new().next_body();
    let canonical = encode_body(&body);
    let sign = |payload: &[u8]| cose::seal(payload, &*KEY, SEAL_BYTES_MAX).unwrap();
    let verify = |bytes: Vec<u8>| keyring().verify(&Bytes::from(bytes), &stream(), now(0).wall, Freshness::Live);
    assert!(verify(sign(&canonical)).is_ok());
    let with = |at: usize, remove: usize, insert: &[u8]| {
        let mut bytes = canonical.clone();
        bytes.splice(at..at + remove, insert.iter().copied());
        sign(&bytes)
    };
    let label_at = 2;
    let version_at = label_at + 1 + "sealcast/seal".len() + 1;
    assert_eq!(canonical[label_at], 0x60 + 13, "the label");
    assert_eq!(canonical[version_at], 1, "the version");
    for (what, bytes) in [
        ("trailing byte", with(canonical.len(), 0, &[0])),
        ("map of indefinite length", {
            let mut bytes = canonical.clone();
            bytes[0] = 0xbf;
            bytes.push(0xff);
            sign(&bytes)
        }),
        ("map of 2^32 pairs", with(0, 1, &[0xba, 0xff, 0xff, 0xff, 0xff])),
        ("a pair more", {
            let mut bytes = canonical.clone();
            bytes[0] = 0xb0;
            bytes.extend([15, 0]);
            sign(&bytes)
        }),
        ("duplicate key", with(version_at - 1, 1, &[0x00])),
        ("key in two bytes", with(version_at - 1, 1, &[0x18, 0x01])),
        ("version in two bytes", with(version_at, 1, &[0x18, 0x01])),
        ("version 2", with(version_at, 1, &[2])),
        ("another label", with(label_at + 1, 1, b"S")),
        ("label of indefinite length", with(label_at, 1, &[0x7f, 0x6d])),
        ("label with a long length", with(label_at, 1, &[0x78, 13])),
        ("a grant's label", with(label_at, 14, b"\x6esealcast/grant")),
    ] {
        assert_eq!(verify(bytes).unwrap_err().reason, RefusalReason::Malformed, "{what}");
    }
}

/// The only optional key: its presence does not give a body a second encoding.
#[test]
fn optional_length_of_a_sync_sample_has_one_spelling() {
    let mut body = Author::new().next_body();
    body.objects.truncate(2);
    let without = |body: &SealBody| {
        let mut body = body.clone();
        body.objects.iter_mut().for_each(|object| object.sync_length = None);
        encode_body(&body)
    };
    body.objects[1].sync_length = Some(7);
    let (with, without) = (encode_body(&body), without(&body));
    assert_eq!(with.len(), without.len() + 2, "a key and a small number");
    let at = with.iter().zip(&without).position(|(one, other)| one != other).unwrap();
    assert_eq!((without[at], with[at]), (0xaa, 0xab), "maps of 10 and of 11 pairs");
    assert_eq!(with[with.len() - 2..], [10, 7]);
    let splice = |mut bytes: Vec<u8>, at: usize, remove: usize, insert: &[u8]| {
        bytes.splice(at..at + remove, insert.iter().copied());
        bytes
    };
    let end = with.len();
    for (what, bytes) in [
        ("null", splice(with.clone(), end - 1, 1, &[0xf6])),
        ("a number in two bytes", splice(with.clone(), end - 1, 1, &[0x18, 7])),
        ("a key in two bytes", splice(with.clone(), end - 2, 1, &[0x18, 10])),
        ("another key", splice(with.clone(), end - 2, 1, &[11])),
        ("negative", splice(with.clone(), end - 1, 1, &[0x26])),
        ("announced and not there", splice(without.clone(), at, 1, &[0xab])),
        ("there and not announced", splice(with.clone(), at, 1, &[0xaa])),
        ("twice", splice([with.clone(), vec![10, 7]].concat(), at, 1, &[0xac])),
        ("9 pairs", splice(without, at, 1, &[0xa9])),
    ] {
        assert_eq!(decode_body(&bytes).unwrap_err().reason, RefusalReason::Malformed, "{what}");
    }
    assert_eq!(decode_body(&with).unwrap(), body);
}

#[test]
fn lists_over_the_limit_are_refused_before_they_are_read() {
    let mut body = Author::new().next_body();
    body.objects.clear();
    let mut bytes = encode_body(&body);
    assert_eq!(bytes.last(), Some(&0x80), "an array of no objects");
    bytes.pop();
    bytes.extend([0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(decode_body(&bytes).unwrap_err().reason, RefusalReason::Malformed);
}

#[test]
fn too_large_to_be_taken_is_not_signed() {
    let payload = vec![0; SEAL_BYTES_MAX];
    assert!(matches!(cose::seal(&payload, &*KEY, SEAL_BYTES_MAX), Err(crate::Error::TooLarge { .. })));
    assert_eq!(Author::new().row().key(), KEY.key_id());
}

#[test]
fn head_reads_back_and_nothing_else_does() {
    let mut author = Author::new();
    author.rows(3);
    let open = author.head.clone().unwrap();
    author.end();
    for head in [open, author.head.clone().unwrap()] {
        let bytes = head.to_bytes();
        assert_eq!(Head::from_bytes(&bytes).unwrap(), head);
        for length in 0..bytes.len() {
            assert!(Head::from_bytes(&bytes[..length]).is_err(), "torn at {length}");
        }
    }
}
