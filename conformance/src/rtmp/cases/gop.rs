//! Keyframe intervals.

use std::time::Duration;

use super::{Case, LENGTH_MS, Studio};
use crate::rtmp::chunk::kind;
use crate::rtmp::clip::{Clip, Name};
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Act, Answer, Awaited, Options, Script, Wire};
use crate::rtmp::take::Take;

pub(super) const CASES: [Case; 5] = [
    Case::new("gop", "gop-250", "a keyframe every 250 pictures (8.3 s), as OBS sends when left to itself", |studio| {
        studio.script(Options::default(), studio.pictures(Name::Keyframes250, 18_000)?)
    })
    .lasting(18),
    Case::new("gop", "gop-one-keyframe", "a keyframe at the start and never again", |studio| {
        studio.script(Options::default(), studio.pictures(Name::OneKeyframe, 10_000)?)
    })
    .lasting(10),
    Case::new("gop", "gop-no-keyframe", "no keyframe at all", |studio| {
        let mut clip = Clip::clone(&*studio.clips.get(Name::Normal)?);
        clip.pictures.retain(|picture| !picture.key);
        let once = Take::both(&clip, 0, 21_000);
        let mut wire = Wire::publishing(Options::default(), studio.target);
        wire.media(&twice(&once, 21_000));
        wire.act(Act::Await(Awaited::End(Duration::from_secs(1))));
        Ok(Script::of(wire.connection().answered(Answer::Refused)))
    })
    .expecting(Outcome::Refused)
    .lasting(30),
    Case::new("gop", "gop-irregular", "keyframes 0.1 to 2.9 s apart", |studio| {
        studio.script(Options::default(), studio.pictures(Name::Irregular, 12_000)?)
    })
    .expecting(Outcome::PlaysWithAtMostOneDiscontinuity)
    .lasting(12),
    Case::new("gop", "gop-keyframes-only", "every picture is an IDR", |studio: &Studio<'_>| {
        studio.script(Options::default(), studio.pictures(Name::AllKeyframes, LENGTH_MS)?)
    }),
];

/// A take, and half of it again after it.
fn twice(take: &Take, length_ms: i64) -> Take {
    let again = take.clone().each(|mut message| {
        (message.at_ms, message.stamp_ms) = (message.at_ms + length_ms, message.stamp_ms + length_ms);
        message
    });
    take.clone()
        .and(again.only(|message| message.at_ms < length_ms * 3 / 2 && (message.frame || message.kind == kind::DATA)))
}
