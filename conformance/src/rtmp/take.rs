//! What a script sends once it may publish: media with send times and timestamps, which cases may change. Pure.

use bytes::Bytes;

use super::amf::{self, Value};
use super::chunk::kind;
use super::clip::Clip;
use super::flv::{self, Packet, Pictures, Sounds};

/// Chunk stream of audio and metadata, as in librtmp.
const AUDIO_CSID: u32 = 4;
/// Chunk stream of video.
const VIDEO_CSID: u32 = 6;

/// A message with its time.
#[derive(Debug, Clone)]
pub struct Timed {
    /// When it is sent, in milliseconds from the moment at which publishing is allowed.
    pub at_ms: i64,
    /// Its timestamp in milliseconds; modulo 2^32 on the wire.
    pub stamp_ms: i64,
    /// Chunk stream.
    pub csid: u32,
    /// Message type.
    pub kind: u8,
    pub body: Bytes,
    /// Whether it is a frame, and not a sequence header or metadata.
    pub frame: bool,
}

/// Messages in the order in which they are sent.
#[derive(Debug, Clone, Default)]
pub struct Take(pub Vec<Timed>);

impl Take {
    /// The video of a clip from its start, after its sequence header, sent from `from_ms` to `to_ms` of the script.
    #[must_use]
    pub fn pictures(clip: &Clip, codec: Pictures, from_ms: i64, to_ms: i64) -> Self {
        let config = flv::video(codec, Packet::Config, true, 0, &clip.picture_config);
        let frames = clip.pictures.iter().map(|picture| {
            let body = flv::video(codec, Packet::Frame, picture.key, picture.composition_ms, &picture.data);
            (picture.at_ms, body)
        });
        Self::of(kind::VIDEO, VIDEO_CSID, Some(config), frames, from_ms, to_ms)
    }

    /// As [`Self::pictures`], for AVC with its codec number.
    #[must_use]
    pub fn avc(clip: &Clip, from_ms: i64, to_ms: i64) -> Self {
        Self::pictures(clip, Pictures::Number(7), from_ms, to_ms)
    }

    /// The audio of a clip from its start, after its sequence header if there is one.
    #[must_use]
    pub fn sound(clip: &Clip, codec: Sounds, from_ms: i64, to_ms: i64) -> Self {
        let config = (!clip.sound_config.is_empty()).then(|| flv::audio(codec, Packet::Config, &clip.sound_config));
        let frames = clip.sounds.iter().map(|sound| (sound.at_ms, flv::audio(codec, Packet::Frame, &sound.data)));
        Self::of(kind::AUDIO, AUDIO_CSID, config, frames, from_ms, to_ms)
    }

    /// As [`Self::sound`], for AAC.
    #[must_use]
    pub fn aac(clip: &Clip, from_ms: i64, to_ms: i64) -> Self {
        Self::sound(clip, Sounds::Aac, from_ms, to_ms)
    }

    /// AVC and AAC of a clip.
    #[must_use]
    pub fn both(clip: &Clip, from_ms: i64, to_ms: i64) -> Self {
        Self::avc(clip, from_ms, to_ms).and(Self::aac(clip, from_ms, to_ms))
    }

    /// One message that is not a frame; its timestamp is its time.
    #[must_use]
    pub fn one(at_ms: i64, kind: u8, body: Bytes) -> Self {
        let csid = if kind == kind::VIDEO { VIDEO_CSID } else { AUDIO_CSID };
        Self(vec![Timed { at_ms, stamp_ms: at_ms, csid, kind, body, frame: false }])
    }

    /// Metadata, in the form in which encoders send it.
    #[must_use]
    pub fn metadata(at_ms: i64, values: &Value) -> Self {
        let body = amf::write(&[Value::text("@setDataFrame"), Value::text("onMetaData"), values.clone()]);
        Self::one(at_ms, kind::DATA, body.into())
    }

    fn of(
        kind: u8,
        csid: u32,
        config: Option<Bytes>,
        frames: impl Iterator<Item = (i64, Bytes)>,
        from_ms: i64,
        to_ms: i64,
    ) -> Self {
        let timed = |at_ms, body, frame| Timed { at_ms, stamp_ms: at_ms, csid, kind, body, frame };
        let mut messages: Vec<_> = config.map(|body| timed(from_ms, body, false)).into_iter().collect();
        let until = to_ms.saturating_sub(from_ms);
        messages.extend(
            frames
                .filter(|(at_ms, _)| *at_ms < until)
                .map(|(at_ms, body)| timed(from_ms.saturating_add(at_ms), body, true)),
        );
        Self(messages)
    }

    /// Merges both in the order of their times; where times are equal, this one comes first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort_by_key(|message| message.at_ms);
        self
    }

    /// Gives each message the timestamp that `stamp` returns; when it is sent stays the same.
    #[must_use]
    pub fn stamped(self, stamp: impl Fn(&Timed) -> i64) -> Self {
        self.each(|mut message| {
            message.stamp_ms = stamp(&message);
            message
        })
    }

    /// Adds `by_ms` to all timestamps.
    #[must_use]
    pub fn later(self, by_ms: i64) -> Self {
        self.stamped(|message| message.stamp_ms.saturating_add(by_ms))
    }

    /// Replaces each message by what `change` returns.
    #[must_use]
    pub fn each(self, change: impl Fn(Timed) -> Timed) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Keeps only the wanted messages.
    #[must_use]
    pub fn only(self, wanted: impl Fn(&Timed) -> bool) -> Self {
        Self(self.0.into_iter().filter(wanted).collect())
    }

    /// Duration of its media in milliseconds, with 33 ms for the last frame.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        let last = self.0.iter().filter(|message| message.frame).map(|message| message.at_ms).max();
        last.map_or(0, |last| u64::try_from(last).unwrap_or(0).saturating_add(33))
    }
}

impl Timed {
    /// The timestamp on the wire.
    #[must_use]
    pub const fn wire_stamp(&self) -> u32 {
        // Timestamps wrap at 2^32.
        self.stamp_ms.rem_euclid(1 << 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::{Picture, Sound};
    use super::*;

    fn clip() -> Clip {
        let picture = |at_ms| Picture { at_ms, composition_ms: 0, key: at_ms == 0, data: Bytes::from_static(b"p") };
        let sound = |at_ms| Sound { at_ms, data: Bytes::from_static(b"s") };
        Clip {
            picture_config: Bytes::from_static(b"P"),
            pictures: [0, 33, 67].map(picture).into(),
            sound_config: Bytes::from_static(b"S"),
            sounds: [0, 21, 43, 64].map(sound).into(),
        }
    }

    #[test]
    fn take_is_in_order_and_begins_with_its_headers() {
        let take = Take::both(&clip(), 1_000, 1_050);
        let seen: Vec<_> = take.0.iter().map(|message| (message.at_ms, message.kind, message.frame)).collect();
        assert_eq!(
            seen,
            [
                (1_000, 9, false),
                (1_000, 9, true),
                (1_000, 8, false),
                (1_000, 8, true),
                (1_021, 8, true),
                (1_033, 9, true),
                (1_043, 8, true)
            ]
        );
        assert_eq!(take.length_ms(), 1_043 + 33);
    }

    #[test]
    fn stamps_wrap_at_32_bits_in_both_directions() {
        let take = Take::avc(&clip(), 0, 100);
        assert_eq!(take.clone().later((1 << 32) - 10).0[2].wire_stamp(), 23);
        assert_eq!(take.later(-1).0[1].wire_stamp(), u32::MAX);
    }
}
