//! CMAF: init segments and fragments. Pure.

use bytes::Bytes;

use crate::{Error, Sample, Timestamp, TrackConfig};

/// Track id of every track: a rendition has one track, in an init segment of its own.
pub const TRACK_ID: u32 = 1;

/// The init segment of a track.
pub fn init_segment(_track: &TrackConfig) -> Result<Bytes, Error> {
    todo!()
}

/// One fragment: `moof` and `mdat`. `durations` of the samples and `base_decode_time` must be in ticks of the same timescale.
pub fn fragment(_sequence: u32, _base_decode_time: Timestamp, _samples: &[Sample]) -> Result<Bytes, Error> {
    todo!()
}
