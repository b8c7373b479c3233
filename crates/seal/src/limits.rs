//! Limits on all input from outside, each with its reason.

use std::time::Duration;

/// Longest seal in bytes, envelope and signature included; checked before anything is read. A checkpoint row of [`RENDITIONS_MAX`]
/// renditions needs 23 kB.
pub const SEAL_BYTES_MAX: usize = 64 * 1024;
/// Length of an ML-DSA-44 public key (FIPS 204, table 2).
pub const PUBLIC_KEY_BYTES: usize = 1312;
/// Longest persisted [`crate::Head`] in bytes: [`RENDITIONS_MAX`] tracks of at most 110 bytes.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most renditions of a stream: a ladder has 4 to 8; 32 leaves room for audio languages.
pub const RENDITIONS_MAX: usize = 32;
/// Most objects of a seal: init segment, part and segment of each rendition, and an image.
pub const OBJECTS_MAX: usize = 3 * RENDITIONS_MAX + 1;
/// Longest codec string in bytes (RFC 6381); AV1's full form has 38.
pub const CODEC_BYTES_MAX: usize = 64;
/// Most keys of one node that are granted at once: one in use, its successor, and two that were lost with a disk. Control
/// enforces it, so that one certificate cannot take all places of the metadata log.
pub const GRANTS_PER_NODE_MAX: usize = 4;
/// Longest delegation in bytes: names, an identity of a session and one of a key, and a signature.
pub const DELEGATION_BYTES_MAX: usize = 4 * 1024;
/// Longest life of a delegation: a day of a festival. It is below what a grant has left when it is not renewed yet.
pub const DELEGATION_LIFE_MAX: Duration = Duration::from_secs(12 * 3_600);

/// How far another machine's clock may be ahead of ours.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(30);
/// How long after a key was revoked nodes may have admitted what it sealed, because they had not heard of that yet: a node that hears
/// control knows it within 12 s, and one that does not says so after 30 s.
pub const UNHEARD_MAX: Duration = Duration::from_secs(60);
/// Greatest age of a live seal: well above a broker that holds messages back for a minute, well below an hour.
pub const LIVE_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Greatest age of a seal in catch-up: the longest time that a stopped stream stays listed.
pub const CATCH_UP_AGE_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How far a row's wall clock (origin + start) may be from the time of its seal: encoders' clocks drift by less than 0.1 %, and
/// sessions last for weeks.
pub const ORIGIN_DRIFT_MAX: Duration = Duration::from_secs(3_600);
/// Longest part in time. Parts are half a second; without IDRs a source may stretch them.
pub const PART_DURATION_MAX: Duration = Duration::from_secs(30);
/// Longest segment in time. Segments are 4 s; sources with few IDRs stretch them.
pub const SEGMENT_DURATION_MAX: Duration = Duration::from_secs(60);
/// Longest segment in bytes: 60 s at 70 Mbit/s. It bounds the memory that a gate reserves per segment.
pub const OBJECT_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest part in bytes: half a second at 256 Mbit/s. It bounds what a node accepts or pulls in one piece.
pub const PART_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest init segment in bytes: parameter sets and boxes need 1 kB.
pub const INIT_BYTES_MAX: u64 = 256 * 1024;
/// Longest image in bytes: a picture 320 pixels wide has 10 to 40 kB.
pub const IMAGE_BYTES_MAX: u64 = 128 * 1024;
/// Most parts of a segment: 4 s have 40 parts of 0.1 s, which is below the shortest part target.
pub const PARTS_MAX: u32 = 64;
/// Largest picture side in pixels.
pub const PICTURE_SIDE_MAX: u32 = 16_384;
/// Largest sample rate in Hz.
pub const SAMPLE_RATE_HZ_MAX: u32 = 768_000;
/// How far an epoch may be ahead of the one before. Sessions that fail before their first seal take a number too, but one seal must
/// not use up all numbers.
pub const EPOCH_STEP_MAX: u64 = 10_000;
/// Largest counter (epoch, sequence, MSN, discontinuity): exact in a JavaScript number, so that a browser can check it too.
pub const COUNTER_MAX: u64 = (1 << 53) - 1;

/// Most seals that wait for an earlier one: two minutes of half-second rows.
pub const BUFFERED_MAX: usize = 256;
/// How long a seal waits for an earlier one before the chain refuses it: longer than a broker that holds messages back for a minute.
pub const BUFFERED_WAIT_MAX: Duration = Duration::from_secs(90);
/// Newest seals that the chain keeps, to tell repeats from forks and to find the seal that a new epoch builds on: a window of
/// 12 segments of 4 s has 96 rows.
pub const HISTORY_MAX: usize = 128;
/// Most seals of a tail that a chain joins with.
pub const TAIL_MAX: usize = 4096;
/// Most proofs of equivocation that a chain keeps; the first are kept.
pub const EVIDENCE_MAX: usize = 16;
