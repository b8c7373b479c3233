//! Input time: RTMP's 32-bit millisecond stamps on one 64-bit session timeline.
//!
//! Owns wrap-around, the common zero of audio and video, and the definition of a break. Deliberately does not repair small
//! irregularities: equal and slightly backward stamps pass, and the segmenter and [`crate::audio_clock`] repair them. Pure.

use crate::{Timescale, Timestamp};

/// Which of the two tracks a stamp belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Video (decode times).
    Video,
    Audio,
}

/// The stamps jumped: the timeline breaks, and a new epoch begins with a new clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{media:?} time jumped by {by_millis} ms")]
pub struct Break {
    pub media: Media,
    /// Size and direction of the jump in milliseconds.
    pub by_millis: i64,
}

/// Session time of the first sample in milliseconds. It shifts all times of a session, so that none becomes negative: neither decode
/// times before the first presentation time, nor audio that starts a little before the video.
pub const BASE_OFFSET_MILLIS: i64 = 10_000;

/// A stamp further ahead than this of the newest in its own track and in the other is a break, not a pause of the source. The limit
/// is well above the longest GOP and network stall that encoders bridge.
pub const FORWARD_MILLIS_MAX: i64 = 10_000;

/// A stamp further back than this is a break. Encoders step back by up to a frame or two (NVENC by 1/3 ms, AAC priming by 1 ms,
/// B-frames by a frame); a source that steps back by a second has started over.
pub const BACKWARD_MILLIS_MAX: i64 = 500;

/// When the first stamp of the second track is further than this from the newest of the first, the two tracks do not count from the
/// same zero (some sources send offsets of ±50 s). The clock then aligns the tracks by arrival.
pub const START_SKEW_MILLIS_MAX: i64 = 3_000;

/// Unwraps the stamps of one session.
#[derive(Debug, Default)]
pub struct InputClock {
    video: Option<Track>,
    audio: Option<Track>,
    zero_offset_millis: i64,
}

/// The newest position of a track: its stamp as received, and the session time it was mapped to.
#[derive(Debug, Clone, Copy)]
struct Track {
    stamp: u32,
    millis: i64,
}

impl InputClock {
    /// A clock that has seen no stamp yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much later the audio's stamps are than the video's, in milliseconds, when the clock aligned the two tracks by arrival
    /// ([`START_SKEW_MILLIS_MAX`]); otherwise 0.
    pub const fn zero_offset_millis(&self) -> i64 {
        self.zero_offset_millis
    }

    /// Maps an RTMP stamp (milliseconds modulo 2^32) to the session's timeline, in [`Timescale::MILLIS`]. The first stamp of the session
    /// becomes [`BASE_OFFSET_MILLIS`].
    ///
    /// Errors when the stamp jumped by more than [`FORWARD_MILLIS_MAX`] or [`BACKWARD_MILLIS_MAX`]. A track may pause while the other
    /// goes on: that is no jump as long as it resumes within those bounds of the other track.
    pub fn unwrap(&mut self, media: Media, stamp: u32) -> Result<Timestamp, Break> {
        let (own, other) = match media {
            Media::Video => (self.video, self.audio),
            Media::Audio => (self.audio, self.video),
        };
        let millis = match (own, other) {
            (Some(own), other) => follow(own, other, media, stamp)?,
            (None, Some(other)) => {
                let skew = signed_distance(other.stamp, stamp);
                if skew.abs() > START_SKEW_MILLIS_MAX {
                    self.zero_offset_millis = if media == Media::Audio { skew } else { -skew };
                    other.millis
                } else {
                    other.millis + skew
                }
            }
            (None, None) => BASE_OFFSET_MILLIS,
        };
        let track = Some(Track { stamp, millis });
        match media {
            Media::Video => self.video = track,
            Media::Audio => self.audio = track,
        }
        Ok(Timestamp::new(millis, Timescale::MILLIS))
    }
}

fn follow(own: Track, other: Option<Track>, media: Media, stamp: u32) -> Result<i64, Break> {
    let step = signed_distance(own.stamp, stamp);
    let millis = own.millis + step;
    let ahead_of_other = other.map_or(step, |other| millis - other.millis);
    if step < -BACKWARD_MILLIS_MAX || step.min(ahead_of_other) > FORWARD_MILLIS_MAX || millis < 0 {
        return Err(Break { media, by_millis: step });
    }
    Ok(millis)
}

/// Distance between two stamps, the short way round the 32-bit circle: -2^31 to 2^31 - 1 ms.
fn signed_distance(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(clock: &mut InputClock, media: Media, stamp: u32) -> Result<i64, Break> {
        clock.unwrap(media, stamp).map(|time| time.rescale(Timescale::MILLIS).ticks - BASE_OFFSET_MILLIS)
    }

    #[test]
    fn stamps_go_on_over_the_32_bit_wrap() {
        let mut clock = InputClock::new();
        let start = u32::MAX - 15_000;
        for n in 0..60_000_u32 / 20 {
            assert_eq!(millis(&mut clock, Media::Video, start.wrapping_add(n * 20)), Ok(i64::from(n) * 20));
        }
    }

    #[test]
    fn audio_priming_one_millisecond_before_zero_is_negative_not_49_days() {
        let mut clock = InputClock::new();
        assert_eq!(millis(&mut clock, Media::Video, 0), Ok(0));
        assert_eq!(millis(&mut clock, Media::Audio, 0), Ok(0));
        assert_eq!(millis(&mut clock, Media::Audio, u32::MAX), Ok(-1));
        assert_eq!(millis(&mut clock, Media::Audio, 22), Ok(22));
    }

    #[test]
    fn small_steps_back_and_duplicates_go_through() {
        let mut clock = InputClock::new();
        for (stamp, expected) in [(100, 0), (100, 0), (133, 33), (132, 32), (166, 66)] {
            assert_eq!(millis(&mut clock, Media::Video, stamp), Ok(expected));
        }
    }

    #[test]
    fn jumps_break_the_timeline() {
        for (jump, size) in [(-1_000, -1_000), (-3_600_000, -3_600_000), (86_400_000, 86_400_000), (10_001, 10_001)] {
            let mut clock = InputClock::new();
            let start = 4_000_000_u32;
            millis(&mut clock, Media::Video, start).unwrap();
            let stamp = start.wrapping_add_signed(jump);
            assert_eq!(millis(&mut clock, Media::Video, stamp), Err(Break { media: Media::Video, by_millis: size }));
        }
    }

    #[test]
    fn track_that_paused_comes_back_beside_the_other() {
        let mut clock = InputClock::new();
        millis(&mut clock, Media::Audio, 0).unwrap();
        for n in 0..600 {
            millis(&mut clock, Media::Video, n * 100).unwrap();
        }
        assert_eq!(millis(&mut clock, Media::Audio, 59_950), Ok(59_950));
    }

    #[test]
    fn tracks_with_different_zeros_are_put_together() {
        for offset in [50_000_i32, -50_000] {
            let mut clock = InputClock::new();
            let start = 100_000_u32;
            millis(&mut clock, Media::Video, start).unwrap();
            millis(&mut clock, Media::Video, start + 33).unwrap();
            let audio = start.wrapping_add_signed(offset);
            assert_eq!(millis(&mut clock, Media::Audio, audio), Ok(33));
            assert_eq!(millis(&mut clock, Media::Audio, audio + 21), Ok(54));
            assert_eq!(clock.zero_offset_millis(), i64::from(offset) - 33);
        }
    }

    proptest! {
        #[test]
        fn any_steps_within_bounds_add_up(start: u32, steps in prop::collection::vec(0_i32..=10_000, 0..200)) {
            let mut clock = InputClock::new();
            let (mut stamp, mut sum) = (start, 0);
            prop_assert_eq!(millis(&mut clock, Media::Video, stamp), Ok(0));
            for step in steps {
                stamp = stamp.wrapping_add_signed(step);
                sum += i64::from(step);
                prop_assert_eq!(millis(&mut clock, Media::Video, stamp), Ok(sum));
            }
        }

        #[test]
        fn any_stamps_are_never_negative(stamps in prop::collection::vec((any::<bool>(), any::<u32>()), 0..50)) {
            let mut clock = InputClock::new();
            for (video, stamp) in stamps {
                let media = if video { Media::Video } else { Media::Audio };
                if let Ok(time) = clock.unwrap(media, stamp) {
                    prop_assert!(time.ticks >= 0);
                }
            }
        }
    }
}
