//! Video: reordered frames, uneven rates, changing formats.

use super::{Case, LENGTH_MS, MIDDLE_MS, Studio};
use crate::rtmp::chunk::kind;
use crate::rtmp::clip::{Clip, Name};
use crate::rtmp::flv::{self, Packet, Pictures};
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Options, Script};
use crate::rtmp::take::{Take, Timed};

/// Shift that makes composition times negative: more than a reordered frame is ahead, in milliseconds.
const BACK_MS: i32 = 100;

pub(super) const CASES: [Case; 11] = [
    Case::new("video", "video-b-frames", "B-frames with composition times", |studio| clip(studio, Name::BFrames)),
    Case::new("video", "video-negative-composition", "composition times below zero: PTS before DTS", |studio| {
        let mut moved = Clip::clone(&*studio.clips.get(Name::BFrames)?);
        moved.pictures.iter_mut().for_each(|picture| picture.composition_ms -= BACK_MS);
        let take = Take::avc(&moved, 0, LENGTH_MS).and(studio.sound(LENGTH_MS)?);
        studio.script(Options::default(), take)
    }),
    Case::new("video", "video-open-gop", "keyframes that are no IDR", |studio| clip(studio, Name::OpenGop)),
    Case::new("video", "video-variable-rate", "17 to 60 ms from picture to picture, as phones send", |studio| {
        let uneven = |message: &Timed| {
            const STEPS_MS: [i64; 6] = [0, -10, 6, 14, -12, 8];
            let index = usize::try_from(message.at_ms / 33).unwrap_or(0);
            let step = STEPS_MS.get(index % STEPS_MS.len()).copied().unwrap_or(0);
            if message.kind == kind::VIDEO && message.at_ms > 33 { message.stamp_ms + step } else { message.stamp_ms }
        };
        studio.script(Options::default(), studio.both(LENGTH_MS)?.stamped(uneven))
    }),
    Case::new("video", "video-29-97", "30000/1001 pictures a second", |studio| clip(studio, Name::Rate2997)),
    Case::new("video", "video-59-94", "60000/1001 pictures a second", |studio| clip(studio, Name::Rate5994)),
    Case::new("video", "video-resolution-change", "320x180 becomes 256x144", |studio| switch(studio, Name::Small))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("video", "video-rotation", "320x180 becomes 180x320", |studio| switch(studio, Name::Portrait))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("video", "video-parameter-sets-changed", "other parameter sets of the same size", |studio| {
        switch(studio, Name::OtherSets)
    })
    .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("video", "video-sequence-header-repeated", "the same sequence header each second", |studio| {
        let config =
            flv::video(Pictures::Number(7), Packet::Config, true, 0, &studio.clips.get(Name::Normal)?.picture_config);
        let repeated = (1..8).map(|second| Take::one(second * 1_000 - 1, kind::VIDEO, config.clone()));
        studio.script(Options::default(), repeated.fold(studio.both(LENGTH_MS)?, Take::and))
    }),
    Case::new("video", "video-parameter-sets-in-band", "parameter sets in front of each keyframe too", |studio| {
        let mut clip = Clip::clone(&*studio.clips.get(Name::Normal)?);
        let sets = parameter_sets(&clip.picture_config).unwrap_or_default();
        for picture in clip.pictures.iter_mut().filter(|picture| picture.key) {
            picture.data = [&sets[..], &picture.data].concat().into();
        }
        studio.script(Options::default(), Take::both(&clip, 0, LENGTH_MS))
    }),
];

fn clip(studio: &Studio<'_>, name: Name) -> anyhow::Result<Script> {
    studio.script(Options::default(), studio.pictures(name, LENGTH_MS)?)
}

/// The normal video, and from the middle on that of another clip.
fn switch(studio: &Studio<'_>, to: Name) -> anyhow::Result<Script> {
    let before = Take::avc(&*studio.clips.get(Name::Normal)?, 0, MIDDLE_MS);
    let after = Take::avc(&*studio.clips.get(to)?, MIDDLE_MS, LENGTH_MS);
    studio.script(Options::default(), before.and(after).and(studio.sound(LENGTH_MS)?))
}

/// The parameter sets of a decoder configuration record (ISO/IEC 14496-15, 5.3.3.1), each after its length in four bytes.
fn parameter_sets(record: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 5;
    for mask in [0x1F, 0xFF] {
        let count = record.get(at)? & mask;
        at += 1;
        for _ in 0..count {
            let length = u16::from_be_bytes(*record.get(at..)?.first_chunk()?);
            let set = record.get(at + 2..at + 2 + usize::from(length))?;
            out.extend_from_slice(&u32::from(length).to_be_bytes());
            out.extend_from_slice(set);
            at += 2 + set.len();
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_are_taken_out_of_their_record() {
        let record = [1, 66, 0, 12, 0xFF, 0xE1, 0, 2, 0x67, 7, 1, 0, 1, 0x68];
        assert_eq!(parameter_sets(&record).unwrap(), [0, 0, 0, 2, 0x67, 7, 0, 0, 0, 1, 0x68]);
        assert_eq!(parameter_sets(&record[..8]), None);
    }
}
