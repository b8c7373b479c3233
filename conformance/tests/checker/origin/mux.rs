//! Writes movie fragments with a library, so that the checker's own code does not prove itself.

use bytes::BytesMut;
use mp4_atom::{Encode as _, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::clip::Clip;

/// Faults of a fragment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrong {
    /// Leave the last sample out.
    pub lacks_last: bool,
    /// The first picture is marked as not IDR.
    pub not_idr: bool,
    /// Ticks added to the decode time.
    pub late_ticks: u64,
    /// Ticks from decode time to presentation time of samples.
    pub reordered_ticks: u64,
    /// Ticks by which the last two samples are shown too early.
    pub last_early_ticks: u64,
}

/// A fragment, and its length through the end of its first sample.
pub struct Fragment {
    pub bytes: Vec<u8>,
    pub first_sample_end: usize,
}

/// A fragment with the samples `from..to` of a clip; decode times begin at `base` ticks.
pub fn fragment(clip: &Clip, from: u64, to: u64, base: u64, wrong: Wrong) -> Fragment {
    const SYNC: u32 = 0x0200_0000;
    const NOT_SYNC: u32 = 0x0101_0000;
    let to = if wrong.lacks_last { to - 1 } else { to };
    let mut samples: Vec<Vec<u8>> = (from..to).map(|index| clip.sample(index).to_vec()).collect();
    if wrong.not_idr
        && let Some(first) = samples.first_mut()
    {
        disguise(first);
    }
    let offset = |index: u64| {
        let early = if index + 2 >= to { wrong.last_early_ticks } else { 0 };
        let offset = i64::try_from(wrong.reordered_ticks).unwrap() - i64::try_from(early).unwrap();
        (wrong.reordered_ticks > 0 || wrong.last_early_ticks > 0).then_some(offset)
    };
    let entries: Vec<TrunEntry> = (from..to)
        .zip(&samples)
        .map(|(index, sample)| TrunEntry {
            duration: Some(u32::try_from(clip.frame_ticks).unwrap()),
            size: Some(u32::try_from(sample.len()).unwrap()),
            flags: Some(if index % clip.sync_every == 0 { SYNC } else { NOT_SYNC }),
            cts: offset(index),
        })
        .collect();
    let moof = |offset: i32| Moof {
        mfhd: Mfhd { sequence_number: u32::try_from(from + 1).unwrap() },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: 1, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt {
                base_media_decode_time: (base + from * clip.frame_ticks + wrong.late_ticks)
                    .saturating_sub(wrong.reordered_ticks),
            }),
            trun: vec![Trun { data_offset: Some(offset), samples: entries.clone().into() }],
            ..Traf::default()
        }],
    };
    let mut bytes = BytesMut::new();
    moof(0).encode(&mut bytes).unwrap();
    let data = bytes.len() + 8;
    bytes.clear();
    moof(i32::try_from(data).unwrap()).encode(&mut bytes).unwrap();
    let payload: usize = samples.iter().map(Vec::len).sum();
    bytes.extend_from_slice(&u32::try_from(payload + 8).unwrap().to_be_bytes());
    bytes.extend_from_slice(b"mdat");
    for sample in &samples {
        bytes.extend_from_slice(sample);
    }
    Fragment { bytes: bytes.to_vec(), first_sample_end: data + samples.first().map_or(0, Vec::len) }
}

/// Turns every IDR slice of a sample into a non-IDR slice.
fn disguise(sample: &mut [u8]) {
    let mut at = 0;
    while at + 5 <= sample.len() {
        let length = usize::try_from(u32::from_be_bytes(sample[at..at + 4].try_into().unwrap())).unwrap();
        if sample[at + 4] & 0x1f == 5 {
            sample[at + 4] = sample[at + 4] & 0xe0 | 1;
        }
        at += 4 + length;
    }
}

/// Writes a duration into the movie header of a media initialization section.
pub fn with_duration(init: &[u8]) -> Vec<u8> {
    let mut init = init.to_vec();
    let at = init.windows(4).position(|kind| kind == b"mvhd").unwrap();
    // Kind, version and flags, two times and the timescale come before it.
    init[at + 20..at + 24].copy_from_slice(&1_000_u32.to_be_bytes());
    init
}
