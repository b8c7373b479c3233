//! Other codecs, and other ways to name them (Enhanced RTMP v2).

use std::time::Duration;

use super::{Case, LENGTH_MS, Studio};
use crate::rtmp::clip::Name;
use crate::rtmp::flv::{Pictures, Sounds};
use crate::rtmp::judge::{Outcome, Shows};
use crate::rtmp::script::{Act, Answer, Awaited, Options, Script, Wire};
use crate::rtmp::take::Take;

pub(super) const CASES: [Case; 7] = [
    Case::new("codec", "codec-avc-four-cc", "H.264 by FourCC", |studio| {
        pictures(studio, Name::Normal, Pictures::FourCc(*b"avc1"))
    }),
    Case::new("codec", "codec-hevc-number", "HEVC under the number 12, which nobody specified", |studio| {
        pictures(studio, Name::Hevc, Pictures::Number(12))
    })
    .expecting(Outcome::PlaysOrRefused)
    .showing(Shows::Pictures),
    Case::new("codec", "codec-hevc-four-cc", "HEVC by FourCC", |studio| {
        pictures(studio, Name::Hevc, Pictures::FourCc(*b"hvc1"))
    }),
    Case::new("codec", "codec-av1-four-cc", "AV1 by FourCC", |studio| {
        pictures(studio, Name::Av1, Pictures::FourCc(*b"av01"))
    }),
    Case::new("codec", "codec-multitrack-pictures", "pictures as a track of a multitrack packet", |studio| {
        pictures(studio, Name::Normal, Pictures::Track(*b"avc1", 0))
    })
    .expecting(Outcome::PlaysOrRefused),
    Case::new("codec", "codec-multitrack-sound", "sound as a track of a multitrack packet", |studio| {
        let normal = studio.clips.get(Name::Normal)?;
        let sound = Take::sound(&normal, Sounds::Track(*b"mp4a", 0), 0, LENGTH_MS);
        studio.script(Options::default(), Take::avc(&normal, 0, LENGTH_MS).and(sound))
    })
    .expecting(Outcome::PlaysOrRefused),
    Case::new("codec", "codec-unknown-four-cc", "pictures of a codec that does not exist", |studio| {
        let normal = studio.clips.get(Name::Normal)?;
        let mut wire = Wire::publishing(Options::default(), studio.target);
        wire.media(&Take::pictures(&normal, Pictures::FourCc(*b"zzzz"), 0, 2_000));
        wire.act(Act::Await(Awaited::End(Duration::from_secs(5))));
        Ok(Script::of(wire.connection().answered(Answer::Refused)))
    })
    .expecting(Outcome::Refused)
    .showing(Shows::Pictures),
];

fn pictures(studio: &Studio<'_>, name: Name, codec: Pictures) -> anyhow::Result<Script> {
    let take = Take::pictures(&*studio.clips.get(name)?, codec, 0, LENGTH_MS).and(studio.sound(LENGTH_MS)?);
    studio.script(Options::default(), take)
}
