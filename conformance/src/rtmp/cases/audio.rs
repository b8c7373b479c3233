//! Audio: absent, alone, late, and of changing formats.

use bytes::Bytes;

use super::{Case, LENGTH_MS, MIDDLE_MS, Studio};
use crate::rtmp::chunk::kind;
use crate::rtmp::clip::{Clip, Name};
use crate::rtmp::flv::{self, Packet, Sounds};
use crate::rtmp::judge::{Outcome, Shows};
use crate::rtmp::script::{Options, Script};
use crate::rtmp::take::Take;

/// When late audio begins.
const LATE_MS: i64 = 10_000;
/// How long the case with late audio sends.
const LATE_LENGTH_MS: i64 = 16_000;
/// AAC-LC, 48 kHz, stereo in two bytes, and in four, which add the marker of an absent extension (ISO/IEC 14496-3, 1.6.6.1).
const LC_2_BYTES: &[u8] = &[0x11, 0x90];
const LC_4_BYTES: &[u8] = &[0x11, 0x90, 0x56, 0xE5];
/// HE-AAC: SBR to 48 kHz on a core of AAC-LC at 24 kHz in stereo, signalled hierarchically and backward compatibly (1.6.5.2).
const HE_AAC: &[u8] = &[0x2B, 0x11, 0x88, 0x00];
const HE_AAC_COMPATIBLE: &[u8] = &[0x13, 0x10, 0x56, 0xE5, 0x98];
/// HE-AAC v2: as HE-AAC, with parametric stereo on a core of one channel.
const HE_AAC_V2: &[u8] = &[0xEB, 0x09, 0x88, 0x00];

pub(super) const CASES: [Case; 13] = [
    Case::new("audio", "audio-none", "no sound", |studio| {
        let take = Take::avc(&*studio.clips.get(Name::Normal)?, 0, LENGTH_MS);
        studio.script(Options::default(), take)
    })
    .showing(Shows::Pictures),
    Case::new("audio", "audio-only", "sound alone", |studio| {
        studio.script(Options::default(), studio.sound(LENGTH_MS)?)
    })
    .showing(Shows::Sound),
    Case::new("audio", "audio-after-10-s", "sound comes 10 s after the pictures", |studio| {
        let normal = studio.clips.get(Name::Normal)?;
        let take = Take::avc(&normal, 0, LATE_LENGTH_MS).and(Take::aac(&normal, LATE_MS, LATE_LENGTH_MS));
        studio.script(Options::default(), take)
    })
    .expecting(Outcome::PlaysWithAtMostOneDiscontinuity)
    .showing(Shows::SoundLater)
    .lasting(16),
    Case::new("audio", "audio-header-2-then-4-bytes", "the same AAC header in two bytes, then in four", |studio| {
        let header = |at_ms, config| Take::one(at_ms, kind::AUDIO, flv::audio(Sounds::Aac, Packet::Config, config));
        let frames = studio.both(LENGTH_MS)?.only(|message| message.frame || message.kind != kind::AUDIO);
        studio.script(Options::default(), header(0, LC_2_BYTES).and(frames).and(header(MIDDLE_MS, LC_4_BYTES)))
    }),
    Case::new("audio", "audio-raw-before-header", "a second of AAC before its header", |studio| {
        let take = studio.both(LENGTH_MS)?.each(|mut message| {
            if message.kind == kind::AUDIO && !message.frame {
                (message.at_ms, message.stamp_ms) = (1_000, 1_000);
            }
            message
        });
        studio.script(Options::default(), take.and(Take::default()))
    }),
    Case::new("audio", "audio-44-to-48-khz", "44.1 kHz becomes 48 kHz", |studio| switch(studio, Name::Sound44100))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("audio", "audio-mono-to-stereo", "one channel becomes two", |studio| switch(studio, Name::Mono))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("audio", "audio-he-aac", "HE-AAC, signalled in its header", |studio| {
        he_aac(studio, Name::HeAac, Some(HE_AAC))
    }),
    Case::new("audio", "audio-he-aac-compatible", "HE-AAC, signalled behind a header of AAC-LC", |studio| {
        he_aac(studio, Name::HeAac, Some(HE_AAC_COMPATIBLE))
    }),
    Case::new("audio", "audio-he-aac-implicit", "HE-AAC, signalled by its frames alone", |studio| {
        he_aac(studio, Name::HeAac, None)
    }),
    Case::new("audio", "audio-he-aac-v2", "HE-AAC v2 (parametric stereo), signalled in its header", |studio| {
        he_aac(studio, Name::HeAacV2, Some(HE_AAC_V2))
    }),
    Case::new("audio", "audio-he-aac-v2-implicit", "HE-AAC v2, signalled by its frames alone", |studio| {
        he_aac(studio, Name::HeAacV2, None)
    }),
    Case::new("audio", "audio-mp3", "MP3", |studio| {
        let pictures = Take::avc(&*studio.clips.get(Name::Normal)?, 0, LENGTH_MS);
        let sound = Take::sound(&*studio.clips.get(Name::Mp3)?, Sounds::Mp3, 0, LENGTH_MS);
        studio.script(Options::default(), pictures.and(sound))
    }),
];

/// Audio of another clip, and from the middle on of the normal one.
fn switch(studio: &Studio<'_>, from: Name) -> anyhow::Result<Script> {
    let normal = studio.clips.get(Name::Normal)?;
    let before = Take::aac(&*studio.clips.get(from)?, 0, MIDDLE_MS);
    let take = Take::avc(&normal, 0, LENGTH_MS).and(before).and(Take::aac(&normal, MIDDLE_MS, LENGTH_MS));
    studio.script(Options::default(), take)
}

/// Video with the audio of this clip, with another sequence header if one is given.
fn he_aac(studio: &Studio<'_>, name: Name, header: Option<&'static [u8]>) -> anyhow::Result<Script> {
    let mut clip = Clip::clone(&*studio.clips.get(name)?);
    clip.sound_config = header.map_or(clip.sound_config, Bytes::from_static);
    let pictures = Take::avc(&*studio.clips.get(Name::Normal)?, 0, LENGTH_MS);
    studio.script(Options::default(), pictures.and(Take::aac(&clip, 0, LENGTH_MS)))
}
