//! AAC: decoder configuration and silence. Pure, and safe on any input.

use bytes::Bytes;

use crate::bits::{BitReader, BitWriter};
use crate::{Error, Timescale};

/// samplingFrequencyIndex (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The samplingFrequencyIndex after which the rate follows in 24 bits.
const RATE_ESCAPE: u32 = 15;

/// Longest AudioSpecificConfig that the parser accepts, in bytes. HE-AAC v2 takes 7; a program config element may take a few more.
const CONFIG_BYTES_MAX: usize = 256;

const OBJECT_TYPE_LC: u8 = 2;
const OBJECT_TYPE_SBR: u8 = 5;
const OBJECT_TYPE_PS: u8 = 29;

/// syncExtensionType that announces SBR after a configuration that older decoders can read (1.6.2.1).
const SYNC_EXTENSION_SBR: u32 = 0x2b7;

/// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
///
/// Two configurations with the same meaning are equal even when their bytes differ: encoders first send two bytes, and later four or
/// five with an extension that says that there is no SBR.
#[derive(Debug, Clone)]
pub struct AudioSpecificConfig {
    raw: Bytes,
    object_type: u8,
    sample_rate_hz: u32,
    output_sample_rate_hz: u32,
    channels: u8,
    frame_samples: u32,
    sbr: bool,
}

impl PartialEq for AudioSpecificConfig {
    fn eq(&self, other: &Self) -> bool {
        let meaning = |config: &Self| {
            let Self { raw: _, object_type, sample_rate_hz, output_sample_rate_hz, channels, frame_samples, sbr } =
                config;
            (*object_type, *sample_rate_hz, *output_sample_rate_hz, *channels, *frame_samples, *sbr)
        };
        meaning(self) == meaning(other)
    }
}

impl Eq for AudioSpecificConfig {}

impl AudioSpecificConfig {
    /// Reads an AudioSpecificConfig, as in RTMP's AAC sequence header or an encoder's extradata.
    ///
    /// Errors when it is cut short or longer than 256 bytes, when the object type is not of the AAC family with frames of
    /// 1024 or 960 samples (main, LC, SSR, LTP, with or without SBR and PS), when the rate is 0, or when the channels are given
    /// by a program config element.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        const SHORT: Error = Error::Aac("configuration is cut short");
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(Error::Aac("configuration is longer than 256 bytes"));
        }
        let mut reader = BitReader::new(bytes);
        let object_type = read_object_type(&mut reader).ok_or(SHORT)?;
        let sample_rate_hz = read_rate(&mut reader).ok_or(SHORT)?;
        let channel_configuration = reader.bits(4).ok_or(SHORT)?;
        let mut output_sample_rate_hz = sample_rate_hz;
        let mut core_type = object_type;
        if matches!(object_type, OBJECT_TYPE_SBR | OBJECT_TYPE_PS) {
            output_sample_rate_hz = read_rate(&mut reader).ok_or(SHORT)?;
            core_type = read_object_type(&mut reader).ok_or(SHORT)?;
        }
        if !matches!(core_type, 1..=4) {
            return Err(Error::Aac("object type is not AAC main, LC, SSR or LTP"));
        }
        if sample_rate_hz == 0 || output_sample_rate_hz == 0 {
            return Err(Error::Aac("sample rate is 0 or reserved"));
        }
        let frame_samples = if reader.bit().ok_or(SHORT)? { 960 } else { 1024 };
        let channels = match channel_configuration {
            count @ 1..=6 => u8::try_from(count).map_err(|_| SHORT)?,
            7 => 8,
            _ => return Err(Error::Aac("channel configuration is not 1 to 7")),
        };
        let mut sbr = object_type != core_type;
        if !sbr && let Some(rate @ 1..) = read_sbr_extension(&mut reader) {
            (sbr, output_sample_rate_hz) = (true, rate);
        }
        let raw = Bytes::copy_from_slice(bytes);
        Ok(Self { raw, object_type, sample_rate_hz, output_sample_rate_hz, channels, frame_samples, sbr })
    }

    /// AAC-LC with frames of 1024 samples. Errors when the rate is 0 or needs more than 24 bits, or the channels are not 1 to 6 or 8.
    pub fn low_complexity(sample_rate_hz: u32, channels: u8) -> Result<Self, Error> {
        let configuration = match channels {
            1..=6 => u32::from(channels),
            8 => 7,
            _ => return Err(Error::Aac("channels are not 1 to 6 or 8")),
        };
        let mut writer = BitWriter::default();
        writer.put(5, u32::from(OBJECT_TYPE_LC));
        match (0..).zip(SAMPLE_RATES_HZ).find(|(_, rate)| *rate == sample_rate_hz) {
            Some((index, _)) => writer.put(4, index),
            None if sample_rate_hz >> 24 == 0 => {
                writer.put(4, RATE_ESCAPE);
                writer.put(24, sample_rate_hz);
            }
            None => return Err(Error::Aac("sample rate needs more than 24 bits")),
        }
        writer.put(4, configuration);
        writer.put(3, 0); // frameLengthFlag, dependsOnCoreCoder, extensionFlag
        Self::parse(&writer.finish())
    }

    /// The configuration, byte for byte as parsed.
    pub fn encode(&self) -> Bytes {
        self.raw.clone()
    }

    /// Audio object type: 2 is AAC-LC, 5 HE-AAC, 29 HE-AAC v2.
    pub const fn object_type(&self) -> u8 {
        self.object_type
    }

    /// Whether the configuration announces SBR (HE-AAC), explicitly or by the sync extension. Without an announcement the stream may
    /// still carry SBR (implicit signalling).
    pub const fn has_sbr(&self) -> bool {
        self.sbr
    }

    /// Samples per second and channel of the core coder.
    pub const fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Samples per second and channel of the decoder's output: with SBR usually twice the core's.
    pub const fn output_sample_rate_hz(&self) -> u32 {
        self.output_sample_rate_hz
    }

    /// Channels of the core coder, 1 to 8.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// Samples of the core coder per frame and channel: 1024 or 960.
    pub const fn frame_samples(&self) -> u32 {
        self.frame_samples
    }

    /// Timescale of the track: the core's sample rate, so that a frame lasts [`Self::frame_samples`] ticks.
    pub fn timescale(&self) -> Timescale {
        Timescale::new(self.sample_rate_hz).expect("checked in parse")
    }

    /// Codec string for CODECS, such as `mp4a.40.2` (RFC 6381, 3.3).
    pub fn codec_string(&self) -> String {
        let object_type = if self.sbr { self.object_type.max(OBJECT_TYPE_SBR) } else { self.object_type };
        format!("mp4a.40.{object_type}")
    }
}

fn read_object_type(reader: &mut BitReader<'_>) -> Option<u8> {
    const ESCAPE: u32 = 31;
    let value = match reader.bits(5)? {
        ESCAPE => 32 + reader.bits(6)?,
        value => value,
    };
    u8::try_from(value).ok()
}

/// The output rate of SBR when an extension after GASpecificConfig announces it. The reader's position is after
/// `frameLengthFlag`.
fn read_sbr_extension(reader: &mut BitReader<'_>) -> Option<u32> {
    if reader.bit()? {
        reader.skip(14)?; // coreCoderDelay
    }
    if reader.bit()? {
        // extensionFlag: never set for the object types that `parse` accepts.
        return None;
    }
    let is_sbr = reader.bits(11)? == SYNC_EXTENSION_SBR && read_object_type(reader)? == OBJECT_TYPE_SBR;
    if is_sbr && reader.bit()? { read_rate(reader) } else { None }
}

/// The rate; 0 for a reserved index.
fn read_rate(reader: &mut BitReader<'_>) -> Option<u32> {
    match reader.bits(4)? {
        RATE_ESCAPE => reader.bits(24),
        index => Some(usize::try_from(index).ok().and_then(|i| SAMPLE_RATES_HZ.get(i)).copied().unwrap_or(0)),
    }
}

/// One raw AAC-LC frame of silence (ISO/IEC 14496-3, 4.4.2), the same for every sample rate; `None` for counts that have no
/// channel configuration (0, 7 and more than 8).
///
/// Every element has `max_sfb` 0, so it has no spectrum at all, and a decoder outputs exact zeros.
pub fn silent_frame(channels: u8) -> Option<Bytes> {
    const SINGLE: u32 = 0;
    const PAIR: u32 = 1;
    const LOW_FREQUENCY: u32 = 3;
    const END: u32 = 7;
    // Elements in the order of table 1.19.
    let elements: &[u32] = match channels {
        1 => &[SINGLE],
        2 => &[PAIR],
        3 => &[SINGLE, PAIR],
        4 => &[SINGLE, PAIR, SINGLE],
        5 => &[SINGLE, PAIR, PAIR],
        6 => &[SINGLE, PAIR, PAIR, LOW_FREQUENCY],
        8 => &[SINGLE, PAIR, PAIR, PAIR, LOW_FREQUENCY],
        _ => return None,
    };
    let mut writer = BitWriter::default();
    // element_instance_tag counts from 0 among elements of the same kind.
    let mut tags = [0_u32; 8];
    for element in elements {
        let tag = tags.get_mut(usize::try_from(*element).ok()?)?;
        writer.put(3, *element);
        writer.put(4, *tag);
        *tag += 1;
        if *element == PAIR {
            writer.put(1, 1); // common_window
            put_ics_info(&mut writer);
            writer.put(2, 0); // ms_mask_present
            for _ in 0..2 {
                writer.put(8, 0); // global_gain
                writer.put(3, 0); // pulse, TNS, gain control: none
            }
        } else {
            writer.put(8, 0);
            put_ics_info(&mut writer);
            writer.put(3, 0);
        }
    }
    writer.put(3, END);
    Some(writer.finish().into())
}

/// ics_info: one long window, sine shape, `max_sfb` 0, no prediction.
fn put_ics_info(writer: &mut BitWriter) {
    writer.put(1, 0); // ics_reserved_bit
    writer.put(2, 0); // window_sequence: ONLY_LONG_SEQUENCE
    writer.put(1, 0); // window_shape
    writer.put(6, 0); // max_sfb
    writer.put(1, 0); // predictor_data_present
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_complexity_is_the_two_bytes_that_obs_sends() {
        let config = AudioSpecificConfig::low_complexity(48_000, 2).unwrap();
        assert_eq!(config.encode().as_ref(), [0x11, 0x90]);
        assert_eq!(AudioSpecificConfig::low_complexity(44_100, 2).unwrap().encode().as_ref(), [0x12, 0x10]);
        assert_eq!((config.codec_string().as_str(), config.frame_samples()), ("mp4a.40.2", 1024));
    }

    #[test]
    fn every_rate_and_channel_count_reads_back() {
        for rate in SAMPLE_RATES_HZ.into_iter().chain([12_345, 1]) {
            for channels in [1, 2, 3, 4, 5, 6, 8] {
                let config = AudioSpecificConfig::low_complexity(rate, channels).unwrap();
                assert_eq!((config.sample_rate_hz(), config.channels()), (rate, channels));
                assert_eq!(AudioSpecificConfig::parse(&config.encode()), Ok(config));
            }
        }
    }

    #[test]
    fn he_aac_counts_in_the_core_rate_and_states_the_output_rate() {
        // AOT 5, 24 kHz, stereo, extension rate 48 kHz, core AOT 2.
        let config = AudioSpecificConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((config.object_type(), config.channels()), (5, 2));
        assert_eq!((config.sample_rate_hz(), config.output_sample_rate_hz()), (24_000, 48_000));
        assert_eq!(config.codec_string(), "mp4a.40.5");
    }

    #[test]
    fn sbr_that_is_announced_behind_the_configuration_is_seen() {
        // AAC-LC, 24 kHz, stereo, then: SBR, 48 kHz.
        let config = AudioSpecificConfig::parse(&[0x13, 0x10, 0x56, 0xe5, 0x98]).unwrap();
        assert_eq!((config.object_type(), config.has_sbr(), config.channels()), (2, true, 2));
        assert_eq!((config.sample_rate_hz(), config.output_sample_rate_hz()), (24_000, 48_000));
        assert_eq!(config.codec_string(), "mp4a.40.5");
        assert!(AudioSpecificConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap().has_sbr());
    }

    #[test]
    fn longer_configuration_that_says_the_same_is_the_same() {
        let short = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        for longer in [&[0x11, 0x90, 0x56, 0xe5, 0x00][..], &[0x11, 0x90, 0x56, 0xe5], &[0x11, 0x90, 0, 0]] {
            let longer = AudioSpecificConfig::parse(longer).unwrap();
            assert_eq!(short, longer);
            assert!(!longer.has_sbr() && longer.codec_string() == "mp4a.40.2");
        }
        let mono = AudioSpecificConfig::parse(&[0x11, 0x88]).unwrap();
        let with_sbr = AudioSpecificConfig::parse(&[0x11, 0x90, 0x56, 0xe5, 0x80]).unwrap();
        assert!(short != mono && short != with_sbr);
    }

    #[test]
    fn configurations_that_cannot_be_packaged_are_refused() {
        for bad in [&[][..], &[0x11], &[0x11, 0x80], &[0x16, 0x90], &[0xf8, 0xe8, 0x50, 0], &[0; 300]] {
            assert!(AudioSpecificConfig::parse(bad).is_err(), "{bad:02x?}");
        }
        assert!(AudioSpecificConfig::low_complexity(0, 2).is_err());
        assert!(AudioSpecificConfig::low_complexity(48_000, 7).is_err());
        assert_eq!(silent_frame(7), None);
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = AudioSpecificConfig::parse(&bytes);
        }
    }
}
