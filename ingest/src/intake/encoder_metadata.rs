//! What an encoder says of itself in `onMetaData`. It is shown and compared with the media; nothing relies on it. Pure.

use media::BitsPerSecond;
use rtmp::amf::Value;

/// Longest name of an encoder that is shown, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Frame rates that are believed, in frames a second. Encoders write 0 and 1000 where they do not know.
const FRAME_RATES: std::ops::RangeInclusive<f64> = 1.0..=300.0;
/// Bit rates that are believed, in kbit/s.
const BIT_RATES: std::ops::RangeInclusive<f64> = 16.0..=200_000.0;

/// What an encoder announced in `onMetaData`; `None` where it announced nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EncoderMetadata {
    /// Name of the encoder, by itself.
    pub(crate) encoder: Option<String>,
    /// Frame rate, in thousandths of a hertz.
    pub(crate) frame_rate_millihertz: Option<u32>,
    /// Bit rate of video.
    pub(crate) bit_rate: Option<BitsPerSecond>,
}

impl EncoderMetadata {
    /// Reads the object of `onMetaData`. A value that is missing, of another type or out of range counts as not announced.
    pub(crate) fn of(metadata: &Value) -> Self {
        let within = |name: &str, range: std::ops::RangeInclusive<f64>| {
            metadata.get(name).and_then(Value::as_number).filter(|number| range.contains(number))
        };
        let encoder = ["encoder", "videodevice"].into_iter().find_map(|name| metadata.get(name)?.as_str());
        Self {
            encoder: encoder.map(plain).filter(|name| !name.is_empty()),
            frame_rate_millihertz: within("framerate", FRAME_RATES)
                .and_then(|rate| u32::try_from(thousandths(rate)).ok()),
            bit_rate: within("videodatarate", BIT_RATES).map(|kilobits| BitsPerSecond(thousandths(kilobits))),
        }
    }
}

/// A thousand times a number from a range above, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges are positive and small")]
fn thousandths(number: f64) -> u64 {
    (number * 1_000.0).round() as u64
}

/// The name as one line without control characters, so that a terminal shows it as it is.
fn plain(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).take(NAME_CHARS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &[(&str, Value)]) -> Value {
        Value::Object(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn what_obs_announces_is_read() {
        let announced = EncoderMetadata::of(&metadata(&[
            ("encoder", Value::text("obs-output module (libobs version 29.1.3)")),
            ("framerate", Value::Number(29.97)),
            ("videodatarate", Value::Number(2_500.0)),
            ("videocodecid", Value::text("avc1")),
        ]));
        assert_eq!(announced.encoder.as_deref(), Some("obs-output module (libobs version 29.1.3)"));
        assert_eq!(announced.frame_rate_millihertz, Some(29_970));
        assert_eq!(announced.bit_rate, Some(BitsPerSecond(2_500_000)));
    }

    #[test]
    fn what_cannot_be_is_not_announced() {
        for (rate, bits) in [(0.0, 0.0), (f64::NAN, f64::INFINITY), (-30.0, -1.0), (1e300, 1e300)] {
            let numbers = [("framerate", Value::Number(rate)), ("videodatarate", Value::Number(bits))];
            assert_eq!(EncoderMetadata::of(&metadata(&numbers)), EncoderMetadata::default(), "{rate} {bits}");
        }
        assert_eq!(EncoderMetadata::of(&metadata(&[("framerate", Value::text("30"))])), EncoderMetadata::default());
        assert_eq!(EncoderMetadata::of(&Value::Null), EncoderMetadata::default());
    }

    #[test]
    fn name_of_the_encoder_cannot_write_on_a_terminal() {
        let name = format!("\u{1b}[2J{}\r\n", "x".repeat(100));
        let announced = EncoderMetadata::of(&metadata(&[("encoder", Value::text(&name))]));
        let shown = announced.encoder.unwrap();
        assert!(shown.starts_with("[2Jx") && shown.chars().count() <= NAME_CHARS_MAX, "{shown:?}");
        assert!(!shown.chars().any(char::is_control));
    }
}
