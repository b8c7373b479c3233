//! What to publish and where. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A source. Without a file it is the moving test pattern with clock and tone; size, rates and preset are the pattern's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Server and application: `rtmp://host:port/live`, or `rtmps://`. Default `rtmp://127.0.0.1:1935/live`.
    pub url: String,
    /// Stream key; appended to the URL. Empty (the default): the URL has it already.
    pub key: String,
    /// A file with H.264 and AAC that is published over and over, as it is. Default none.
    pub file: Option<PathBuf>,
    /// Width in pixels, even, 160 to 7680. Default 1280.
    pub width: u32,
    /// Height in pixels, even, 90 to 4320. Default 720.
    pub height: u32,
    /// Frames per second, 1 to 120. Default 30.
    pub frame_rate: FrameRate,
    /// Distance of keyframes in milliseconds, 100 to 20000, rounded to whole frames. Default 2000.
    pub keyframe_interval_ms: u32,
    /// Bits per second of the picture, 50,000 to 100,000,000. Default 2,500,000.
    pub bit_rate: u64,
    /// x264 preset. Default `superfast`.
    pub preset: String,
    /// Film grain, 0 to 64 of 255: with it the picture needs all its bits. Default 0, none.
    pub grain: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "rtmp://127.0.0.1:1935/live".to_owned(),
            key: String::new(),
            file: None,
            width: 1_280,
            height: 720,
            frame_rate: FrameRate::from(30),
            keyframe_interval_ms: 2_000,
            bit_rate: 2_500_000,
            preset: "superfast".to_owned(),
            grain: 0,
        }
    }
}

const FRAME_RATES: &str = "1 to 120, such as 30, 29.97 or 30000/1001";

/// A frame rate as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FrameRate {
    pub(crate) numerator: u32,
    pub(crate) denominator: u32,
}

impl FrameRate {
    /// 1 to 120 frames a second, in numbers that FFmpeg can count with.
    const fn sensible(self) -> bool {
        self.denominator > 0
            && self.numerator >= self.denominator
            && self.numerator / self.denominator <= 120
            && self.numerator <= 1_000_000
    }

    /// Time of frame `index` since frame 0, in nanoseconds.
    pub(crate) fn nanos(self, index: u64) -> u64 {
        let nanos =
            u128::from(index) * 1_000_000_000 * u128::from(self.denominator) / u128::from(self.numerator.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// Frames in `millis`, rounded, at least one.
    pub(crate) fn frames(self, millis: u32) -> u32 {
        let per = 1_000 * u64::from(self.denominator.max(1));
        let frames = (u64::from(millis) * u64::from(self.numerator) + per / 2) / per;
        u32::try_from(frames).unwrap_or(u32::MAX).max(1)
    }
}

impl From<u32> for FrameRate {
    /// Whole frames per second. The range is checked with the configuration.
    fn from(frames_per_second: u32) -> Self {
        Self { numerator: frames_per_second, denominator: 1 }
    }
}

impl FromStr for FrameRate {
    type Err = InvalidConfig;

    /// `30`, `30000/1001`, or `23.976`, `29.97`, `59.94` for the NTSC ones; 1 to 120.
    fn from_str(text: &str) -> Result<Self, InvalidConfig> {
        let invalid = || InvalidConfig { field: "frame rate", value: text.to_owned(), range: FRAME_RATES };
        let (numerator, denominator) = match text {
            "23.976" => (24_000, 1_001),
            "29.97" => (30_000, 1_001),
            "59.94" => (60_000, 1_001),
            _ => {
                let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
                (numerator.parse().map_err(|_| invalid())?, denominator.parse().map_err(|_| invalid())?)
            }
        };
        let rate = Self { numerator, denominator };
        if rate.sensible() { Ok(rate) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for FrameRate {
    type Error = InvalidConfig;
    fn try_from(text: String) -> Result<Self, InvalidConfig> {
        text.parse()
    }
}

impl From<FrameRate> for String {
    fn from(rate: FrameRate) -> Self {
        format!("{}/{}", rate.numerator, rate.denominator)
    }
}

/// A value out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} is not valid: {range}")]
pub struct InvalidConfig {
    field: &'static str,
    value: String,
    range: &'static str,
}

impl Config {
    /// Checks all of it. Errors name the value and its range.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let invalid = |field, value: String, range| Err(InvalidConfig { field, value, range });
        if !self.url.starts_with("rtmp://") && !self.url.starts_with("rtmps://") {
            return invalid("url", self.server(), "rtmp://host:port/app or rtmps://host:port/app");
        }
        let ranges = [
            ("width", self.width, 160..=7_680, "even, 160 to 7680"),
            ("height", self.height, 90..=4_320, "even, 90 to 4320"),
        ];
        for (field, value, range, text) in ranges {
            if !range.contains(&value) || value % 2 != 0 {
                return invalid(field, value.to_string(), text);
            }
        }
        if !self.frame_rate.sensible() {
            return invalid("frame rate", self.frame_rate.into(), FRAME_RATES);
        }
        if !(100..=20_000).contains(&self.keyframe_interval_ms) {
            return invalid("keyframe interval", self.keyframe_interval_ms.to_string(), "100 to 20000 ms");
        }
        if !(50_000..=100_000_000).contains(&self.bit_rate) {
            return invalid("bit rate", self.bit_rate.to_string(), "50000 to 100000000 bit/s");
        }
        if self.grain > 64 {
            return invalid("grain", self.grain.to_string(), "0 to 64");
        }
        Ok(())
    }

    /// The URL with the key.
    pub(crate) fn target(&self) -> String {
        if self.key.is_empty() { self.url.clone() } else { format!("{}/{}", self.url.trim_end_matches('/'), self.key) }
    }

    /// The URL as it may be shown: without a key that it contains.
    pub(crate) fn server(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let shown: Vec<&str> = rest.split('/').take(2).collect();
        format!("{scheme}://{}", shown.join("/"))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, width, height, frame_rate, keyframe_interval_ms, bit_rate, preset, grain, .. } = self;
        f.debug_struct("Config")
            .field("url", &self.server())
            .field("key", &"…")
            .field("file", file)
            .field("size", &(width, height))
            .field("frame_rate", frame_rate)
            .field("keyframe_interval_ms", keyframe_interval_ms)
            .field("bit_rate", bit_rate)
            .field("preset", preset)
            .field("grain", grain)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_are_exact_fractions() {
        let ntsc: FrameRate = "29.97".parse().unwrap();
        assert_eq!(ntsc, FrameRate { numerator: 30_000, denominator: 1_001 });
        assert_eq!(ntsc.nanos(30_000), 1_001_000_000_000);
        assert_eq!((ntsc.frames(2_000), ntsc.frames(1)), (60, 1));
        for bad in ["", "0", "1/0", "121", "-5", "x", "29.98", "1/2"] {
            assert!(bad.parse::<FrameRate>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let ok = Config::default;
        assert_eq!(ok().check(), Ok(()));
        for (name, bad) in [
            ("url", Config { url: "http://x/secret".to_owned(), ..ok() }),
            ("width", Config { width: 1_281, ..ok() }),
            ("height", Config { height: 4_322, ..ok() }),
            ("frame rate", Config { frame_rate: 0.into(), ..ok() }),
            ("keyframe interval", Config { keyframe_interval_ms: 0, ..ok() }),
            ("bit rate", Config { bit_rate: 2_500, ..ok() }),
            ("grain", Config { grain: 65, ..ok() }),
        ] {
            assert!(bad.check().unwrap_err().to_string().starts_with(name), "{name}");
        }
    }

    #[test]
    fn key_is_never_shown() {
        let config =
            Config { url: "rtmp://host/live/inside".to_owned(), key: "secret".to_owned(), ..Config::default() };
        assert_eq!(config.target(), "rtmp://host/live/inside/secret");
        let shown = format!("{config:?} {}", config.server());
        assert!(!shown.contains("secret") && !shown.contains("inside"), "{shown}");
    }
}
