//! CMAF packaging (ISO/IEC 23000-19) of one track: the init segment, and fragments of `moof` and `mdat`.
//!
//! Owns the boxes. Deliberately does not decide where to cut: that is [`crate::segmenter`]. A part is one fragment, and a
//! segment is the concatenation of its parts, without `styp` between them. Pure.

mod fragment;
mod init;

pub(crate) use fragment::MDAT_HEADER_BYTES;
pub use fragment::{fragment, header_bytes};
pub use init::init_segment;

use crate::Error;

/// Track id of every track: a rendition has one track, in an init segment of its own.
pub const TRACK_ID: u32 = 1;

/// sample_depends_on = 2 (does not depend on others), sample_is_non_sync_sample = 0 (ISO/IEC 14496-12, 8.8.3.1).
const FLAGS_SYNC: u32 = 0x0200_0000;

/// sample_depends_on = 1 (depends on others), sample_is_non_sync_sample = 1.
const FLAGS_NON_SYNC: u32 = 0x0101_0000;

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn cannot_write(error: mp4_atom::Error) -> Error {
    Error::Cmaf(error.to_string())
}

#[cfg(test)]
mod tests;
