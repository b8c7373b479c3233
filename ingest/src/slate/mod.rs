//! Makes the messages of the slate, which takes the place of a publisher that is away: pictures and silence, in real time. Pure.
//!
//! The messages and their stamps are like those of an encoder, so everything behind them works as usual.

use std::time::Duration;

use bytes::Bytes;
use media::aac::{AudioSpecificConfig, silent_frame};
use rtmp::flv::{Body, VideoCodec};

use crate::intake::publication::MediaMessage;
use crate::pipeline::Memory;
use crate::pipeline::slate::Slate;

/// How long a publisher has to be away before the slate is shown; until then there are gaps. Encoders that lose their connection
/// come back sooner, and each beginning and end of a slate is a discontinuity for viewers.
pub(crate) const BEGINS_AFTER: Duration = Duration::from_secs(2);

/// Silence in the format of what was published.
#[derive(Debug)]
struct Silence {
    config: Bytes,
    frame: Bytes,
    frame_samples: u64,
    sample_rate_hz: u64,
}

/// What an encoder with a still picture would send.
#[derive(Debug)]
pub(crate) struct Reel {
    slate: Slate,
    silence: Option<Silence>,
    /// When it began, on the monotonic clock.
    began: Duration,
    /// Formats (of sound and video) that were sent.
    configs: usize,
    pictures: u64,
    sounds: u64,
}

impl Reel {
    /// A reel that begins at `began`; without sound if the publisher had none.
    pub(crate) fn new(slate: Slate, sound: Option<&AudioSpecificConfig>, began: Duration) -> Self {
        let silence = sound.and_then(|aac| {
            Some(Silence {
                config: aac.encode(),
                frame: silent_frame(aac.channels())?,
                frame_samples: aac.frame_samples().into(),
                sample_rate_hz: aac.sample_rate_hz().max(1).into(),
            })
        });
        Self { slate, silence, began, configs: 0, pictures: 0, sounds: 0 }
    }

    /// Memory for the pipeline that shows the slate.
    pub(crate) fn memory(&self) -> Memory {
        self.slate.memory.clone()
    }

    /// When [`Self::message`] will return a message.
    pub(crate) fn next_deadline(&self) -> Duration {
        let next = self.next_sound().map_or(self.next_picture(), |sound| sound.min(self.next_picture()));
        self.began.saturating_add(next)
    }

    /// The next message, if it is due.
    pub(crate) fn message(&mut self, now: Duration) -> Option<MediaMessage> {
        if self.next_deadline() > now {
            return None;
        }
        if let Some(body) = self.config() {
            return Some(MediaMessage { stamp_ms: 0, body });
        }
        let picture = self.next_picture();
        let (at, body) = match (self.next_sound(), &self.silence) {
            (Some(sound), Some(silence)) if sound < picture => {
                self.sounds = self.sounds.saturating_add(1);
                (sound, Body::Audio(silence.frame.clone()))
            }
            _ => (picture, self.picture()?),
        };
        // Stamps are 32 bits, as RTMP's.
        let stamp_ms = u32::try_from(at.as_millis() & u128::from(u32::MAX)).unwrap_or(0);
        Some(MediaMessage { stamp_ms, body })
    }

    /// The next format that was not sent yet: sound, then video. Formats come before anything else.
    fn config(&mut self) -> Option<Body> {
        let picture = Body::VideoConfig(VideoCodec::Avc, self.slate.record.clone());
        let sound = self.silence.as_ref().map(|silence| Body::AudioConfig(silence.config.clone()));
        let config = sound.into_iter().chain([picture]).nth(self.configs)?;
        self.configs = self.configs.saturating_add(1);
        Some(config)
    }

    fn picture(&mut self) -> Option<Body> {
        let length = u64::try_from(self.slate.gop.len()).ok()?;
        let place = self.pictures.checked_rem(length)?;
        let data = self.slate.gop.get(usize::try_from(place).ok()?)?.clone();
        self.pictures = self.pictures.saturating_add(1);
        Some(Body::Video { codec: VideoCodec::Avc, composition_ms: 0, key: place == 0, data })
    }

    fn next_picture(&self) -> Duration {
        span(self.pictures.saturating_mul(1_000), self.slate.frame_rate_millihertz.max(1).into())
    }

    fn next_sound(&self) -> Option<Duration> {
        let silence = self.silence.as_ref()?;
        Some(span(self.sounds.saturating_mul(silence.frame_samples), silence.sample_rate_hz))
    }
}

/// `count` divided by a rate in hertz, rounded down. `count` is a total, so rounding errors do not add up.
fn span(count: u64, hertz: u64) -> Duration {
    let nanos = u128::from(count).saturating_mul(1_000_000_000) / u128::from(hertz);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOP: usize = 60;

    fn slate(frame_rate_millihertz: u32) -> Slate {
        let gop = (0..GOP).map(|place| Bytes::from(vec![u8::try_from(place).unwrap()])).collect();
        Slate { record: Bytes::from_static(b"avcC"), gop, frame_rate_millihertz, memory: Memory::default() }
    }

    fn reel(frame_rate_millihertz: u32, sample_rate_hz: u32) -> Reel {
        let sound = AudioSpecificConfig::low_complexity(sample_rate_hz, 2).unwrap();
        Reel::new(slate(frame_rate_millihertz), Some(&sound), BEGAN)
    }

    const BEGAN: Duration = Duration::from_secs(100);

    /// Messages up to `until`, each taken when it is due, with the time since the beginning.
    fn messages(reel: &mut Reel, until: Duration) -> Vec<(Duration, MediaMessage)> {
        let mut all = Vec::new();
        loop {
            let due = reel.next_deadline();
            if due > BEGAN + until {
                return all;
            }
            assert!(reel.message(due - Duration::from_nanos(1)).is_none(), "not before");
            all.push((due - BEGAN, reel.message(due).expect("the deadline says so")));
        }
    }

    fn is_picture(body: &Body) -> bool {
        matches!(body, Body::Video { .. })
    }

    #[test]
    fn formats_come_first_and_then_pictures_and_silence_as_time_goes_by() {
        let mut reel = reel(30_000, 48_000);
        let sent = messages(&mut reel, Duration::from_secs(10));
        assert!(matches!(sent[0].1.body, Body::AudioConfig(_)) && matches!(sent[1].1.body, Body::VideoConfig(..)));
        assert!(matches!(sent[2].1.body, Body::Video { key: true, .. }));
        let pictures = sent.iter().filter(|(_, message)| is_picture(&message.body)).count();
        let sounds = sent.iter().filter(|(_, message)| matches!(message.body, Body::Audio(_))).count();
        assert_eq!((pictures, sounds), (301, 469));
        for (due, message) in &sent {
            assert_eq!(u128::from(message.stamp_ms), due.as_millis());
        }
        assert!(sent.is_sorted_by_key(|(_, message)| message.stamp_ms));
    }

    #[test]
    fn group_of_pictures_is_repeated_with_its_keyframe_first() {
        let mut reel = reel(30_000, 48_000);
        let sent = messages(&mut reel, Duration::from_secs(7));
        let pictures = sent.iter().filter_map(|(due, message)| match &message.body {
            Body::Video { key, data, composition_ms: 0, .. } => Some((due.as_millis(), *key, usize::from(data[0]))),
            _ => None,
        });
        for (number, (at, key, place)) in pictures.enumerate() {
            assert_eq!((key, place), (number % GOP == 0, number % GOP));
            assert!(!key || at % 2_000 == 0, "{at}");
        }
    }

    #[test]
    fn stamps_of_a_day_at_an_odd_rate_drift_by_nothing_and_wrap_with_32_bits() {
        let mut reel = reel(29_970, 44_100);
        reel.pictures = 29_970 * 86_400 / 1_000;
        reel.sounds = 44_100 * 86_400 / 1_024;
        assert!(reel.next_picture().abs_diff(Duration::from_secs(86_400)) < Duration::from_millis(34));
        assert!(reel.next_sound().unwrap().abs_diff(Duration::from_secs(86_400)) < Duration::from_millis(24));
        reel.configs = 2;
        reel.pictures = 30 * 4_294_968;
        (reel.slate.frame_rate_millihertz, reel.silence) = (30_000, None);
        let late = reel.message(Duration::from_secs(5_000_000)).unwrap();
        assert_eq!(late.stamp_ms, 704);
    }

    #[test]
    fn stream_without_sound_gets_no_silence() {
        let mut reel = Reel::new(slate(25_000), None, BEGAN);
        let sent = messages(&mut reel, Duration::from_secs(1));
        assert_eq!(sent.len(), 1 + 26);
        assert!(sent.iter().skip(1).all(|(_, message)| is_picture(&message.body)));
    }
}
