//! A fragment: `moof` and `mdat`, built in one buffer of the right size. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples};

use super::{FLAGS_NON_SYNC, FLAGS_SYNC, TRACK_ID, cannot_write};
use crate::{Error, Sample, Timestamp};

/// Bytes of a `moof` with one `traf`, without the entries of its `trun`: moof 8, mfhd 16, traf 8, tfhd 16, tfdt 20, trun 20.
const MOOF_BYTES: usize = 88;

/// Bytes of an entry of a `trun`: duration, size, flags, composition offset. The flags of a lone entry precede it; the sum is the same.
const TRUN_ENTRY_BYTES: usize = 16;

/// Bytes of the `mdat` header: length and type.
pub(crate) const MDAT_HEADER_BYTES: usize = 8;

/// Bytes before the first sample of a fragment of `samples` samples: all of `moof`, and the header of `mdat`.
pub const fn header_bytes(samples: usize) -> usize {
    moof_bytes(samples) + MDAT_HEADER_BYTES
}

const fn moof_bytes(samples: usize) -> usize {
    MOOF_BYTES + TRUN_ENTRY_BYTES * samples
}

/// One fragment of a track (ISO/IEC 23000-19, 7.3.2).
///
/// `sequence` is the `mfhd` number. `base_decode_time` is the `tfdt`; its timescale is the track's, and the durations are in its ticks.
/// Decode times follow from it and the durations. Each composition offset makes the presentation time exactly the sample's.
///
/// Errors when there is no sample, the decode time is negative, a duration is not 1 to 2^32 - 1 ticks, a composition offset
/// does not fit 32 bits, or the fragment is larger than 2^31 - 1 bytes.
pub fn fragment(sequence: u32, base_decode_time: Timestamp, samples: &[Sample]) -> Result<Bytes, Error> {
    let timescale = base_decode_time.timescale;
    let moof_bytes = moof_bytes(samples.len());
    let media_bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let total_bytes = header_bytes(samples.len()) + media_bytes;
    if samples.is_empty() || i32::try_from(total_bytes).is_err() {
        return Err(Error::Cmaf(format!("fragment of {} samples and {total_bytes} bytes", samples.len())));
    }
    let mut decode_time = base_decode_time.ticks;
    let mut entries = Vec::with_capacity(samples.len());
    for sample in samples {
        let duration = sample.duration.rescale(timescale).ticks;
        let offset = sample.pts.rescale(timescale).ticks.saturating_sub(decode_time);
        entries.push(TrunEntry {
            duration: Some(
                u32::try_from(duration).ok().filter(|ticks| *ticks > 0).ok_or_else(|| {
                    Error::Cmaf(format!("sample at {decode_time} has a duration of {duration} ticks"))
                })?,
            ),
            size: Some(u32::try_from(sample.data.len()).map_err(|_| Error::Cmaf("sample too large".to_owned()))?),
            flags: Some(if sample.sync { FLAGS_SYNC } else { FLAGS_NON_SYNC }),
            cts: Some(i64::from(i32::try_from(offset).map_err(|_| {
                Error::Cmaf(format!("sample at {decode_time} has a composition offset of {offset} ticks"))
            })?)),
        });
        decode_time = decode_time.saturating_add(duration);
    }
    let mut out = BytesMut::with_capacity(total_bytes);
    movie_fragment(sequence, base_decode_time, entries, moof_bytes)?.encode(&mut out).map_err(cannot_write)?;
    if out.len() != moof_bytes {
        return Err(Error::Cmaf(format!("moof has {} bytes instead of {moof_bytes}", out.len())));
    }
    let mdat_bytes = u32::try_from(MDAT_HEADER_BYTES + media_bytes).expect("total fits an i32");
    out.put_u32(mdat_bytes);
    out.put_slice(b"mdat");
    for sample in samples {
        out.put_slice(&sample.data);
    }
    Ok(out.freeze())
}

fn movie_fragment(
    sequence: u32,
    base_decode_time: Timestamp,
    entries: Vec<TrunEntry>,
    moof_bytes: usize,
) -> Result<Moof, Error> {
    let base_media_decode_time = u64::try_from(base_decode_time.ticks)
        .map_err(|_| Error::Cmaf(format!("decode time of {} ticks is negative", base_decode_time.ticks)))?;
    let data_offset =
        i32::try_from(moof_bytes + MDAT_HEADER_BYTES).map_err(|_| Error::Cmaf("moof too large".to_owned()))?;
    Ok(Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: TRACK_ID, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time }),
            trun: vec![Trun { data_offset: Some(data_offset), samples: TrunSamples::Explicit(entries) }],
            ..Traf::default()
        }],
    })
}
