//! What to publish and where. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A source.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Server and application: `rtmp://host:port/live`, or `rtmps://`.
    pub url: String,
    /// Stream key; appended to the URL. Empty: the URL has it already.
    #[serde(default)]
    pub key: String,
    /// What to publish.
    #[serde(default)]
    pub input: Input,
}

/// What to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// The moving test pattern with clock and tone.
    Pattern(Pattern),
    /// A file with H.264 and AAC, over and over, as it is.
    File(PathBuf),
}

impl Default for Input {
    fn default() -> Self {
        Self::Pattern(Pattern::default())
    }
}

/// The test pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pattern {
    /// Width in pixels, even, 160 to 7680. Default 1280.
    pub width: u32,
    /// Height in pixels, even, 90 to 4320. Default 720.
    pub height: u32,
    /// Frames per second. Default 30.
    pub frame_rate: FrameRate,
    /// Distance of keyframes in milliseconds, 100 to 20000, rounded to whole frames. Default 2000.
    pub keyframe_interval_ms: u32,
    /// Bit rate of the picture in 1000 bit/s, 50 to 100000. Default 2500.
    pub kbit_per_second: u32,
    /// x264 preset. Default `superfast`.
    pub preset: String,
}

impl Default for Pattern {
    fn default() -> Self {
        Self {
            width: 1_280,
            height: 720,
            frame_rate: FrameRate { numerator: 30, denominator: 1 },
            keyframe_interval_ms: 2_000,
            kbit_per_second: 2_500,
            preset: "superfast".to_owned(),
        }
    }
}

/// A frame rate as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FrameRate {
    pub(crate) numerator: u32,
    pub(crate) denominator: u32,
}

impl FrameRate {
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

impl FromStr for FrameRate {
    type Err = InvalidConfig;

    /// `30`, `30000/1001`, or `23.976`, `29.97`, `59.94` for the NTSC ones; 1 to 120.
    fn from_str(text: &str) -> Result<Self, InvalidConfig> {
        let invalid = || InvalidConfig {
            field: "frame rate",
            value: text.to_owned(),
            range: "1 to 120, such as 30, 29.97 or 30000/1001",
        };
        let (numerator, denominator) = match text {
            "23.976" => (24_000, 1_001),
            "29.97" => (30_000, 1_001),
            "59.94" => (60_000, 1_001),
            _ => {
                let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
                (numerator.parse().map_err(|_| invalid())?, denominator.parse().map_err(|_| invalid())?)
            }
        };
        let sensible =
            denominator > 0 && numerator >= denominator && numerator / denominator <= 120 && numerator <= 1_000_000;
        if sensible { Ok(Self { numerator, denominator }) } else { Err(invalid()) }
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
        let Input::Pattern(pattern) = &self.input else { return Ok(()) };
        let ranges = [
            ("width", pattern.width, 160..=7_680, "even, 160 to 7680"),
            ("height", pattern.height, 90..=4_320, "even, 90 to 4320"),
        ];
        for (field, value, range, text) in ranges {
            if !range.contains(&value) || value % 2 != 0 {
                return invalid(field, value.to_string(), text);
            }
        }
        if !(100..=20_000).contains(&pattern.keyframe_interval_ms) {
            return invalid("keyframe interval", pattern.keyframe_interval_ms.to_string(), "100 to 20000 ms");
        }
        if !(50..=100_000).contains(&pattern.kbit_per_second) {
            return invalid("bit rate", pattern.kbit_per_second.to_string(), "50 to 100000 kbit/s");
        }
        Ok(())
    }

    /// The URL with the key.
    pub(crate) fn target(&self) -> String {
        if self.key.is_empty() { self.url.clone() } else { format!("{}/{}", self.url.trim_end_matches('/'), self.key) }
    }

    /// The URL as far as it may be shown: without the key, where one is inside.
    pub(crate) fn server(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let shown: Vec<&str> = rest.split('/').take(2).collect();
        format!("{scheme}://{}", shown.join("/"))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("url", &self.server()).field("key", &"…").field("input", &self.input).finish()
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
    fn key_is_never_shown() {
        let config =
            Config { url: "rtmp://host/live/inside".to_owned(), key: "secret".to_owned(), input: Input::default() };
        assert_eq!(config.target(), "rtmp://host/live/inside/secret");
        let shown = format!("{config:?} {}", config.server());
        assert!(!shown.contains("secret") && !shown.contains("inside"), "{shown}");
    }
}
