//! Records as x264 and hardware encoders write them, and garbage.

use proptest::prelude::*;

use super::*;

/// x264 baseline 320x240 at 30 frames a second, as FFmpeg sends it over RTMP.
pub(crate) const BASELINE: &str = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
/// x264 high 1920x1080 (cropped from 1088) at 60000/1001.
pub(crate) const HIGH: &str =
    "0164002affe100196764002aacd940780227e5c04400000fa4000753003c60c65801000468ef8fcbfdf8f800";
/// x264 main 854x480 (cropped from 864) at 25.
pub(crate) const MAIN: &str = "014d401effe10018674d401eeca06c1ef37808800000030080000019078b16cb01000468ef8fc8";

fn parse(text: &str) -> DecoderConfig {
    DecoderConfig::parse(&hex::decode(text).unwrap()).unwrap()
}

#[test]
fn picture_format_of_x264_records_is_read() {
    let seen = [BASELINE, HIGH, MAIN].map(|text| {
        let config = parse(text);
        assert!(config.progressive());
        (
            config.codec_string(),
            config.width(),
            config.height(),
            config.frame_rate_millihertz(),
            config.reorder_frames(),
        )
    });
    let expected = [
        ("avc1.42c00d".to_owned(), 320, 240, Some(30_000), Some(0)),
        ("avc1.64002a".to_owned(), 1920, 1080, Some(59_940), Some(2)),
        ("avc1.4d401e".to_owned(), 854, 480, Some(25_000), Some(2)),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn record_is_written_as_it_was_read() {
    for text in [BASELINE, HIGH, MAIN] {
        assert_eq!(hex::encode(parse(text).encode()), text);
    }
}

#[test]
fn annex_b_extradata_gives_the_same_configuration() {
    let config = parse(HIGH);
    let mut extradata = Vec::new();
    for set in config.sps().iter().chain(config.pps()).chain(config.sps()) {
        extradata.extend_from_slice(&[0, 0, 0, 1]);
        extradata.extend_from_slice(set);
    }
    assert_eq!(DecoderConfig::from_annex_b_extradata(&extradata), Ok(config));
}

#[test]
fn repeated_identical_parameter_sets_change_nothing() {
    let once = parse(BASELINE);
    let repeat = |sets: &[Bytes], mark: u8| {
        let mut out = vec![mark | 2];
        for set in [&sets[0], &sets[0]] {
            out.extend_from_slice(&u16::try_from(set.len()).unwrap().to_be_bytes());
            out.extend_from_slice(set);
        }
        out
    };
    let record = [&once.encode()[..5], &repeat(once.sps(), 0xe0), &repeat(once.pps(), 0)].concat();
    assert_eq!(DecoderConfig::parse(&record), Ok(once));
}

#[test]
fn idr_is_found_behind_other_nal_units() {
    let config = parse(BASELINE);
    assert!(config.is_idr(&[0, 0, 0, 2, 6, 0, 0, 0, 0, 2, 0x65, 1]));
    assert!(!config.is_idr(&[0, 0, 0, 2, 0x41, 1]));
    assert!(!config.is_idr(&[0, 0, 0, 9, 0x65, 1]), "length beyond the sample");
}

#[test]
fn record_without_what_a_decoder_needs_is_refused() {
    let good = hex::decode(MAIN).unwrap();
    for cut in 0..good.len() {
        assert!(DecoderConfig::parse(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut version = good.clone();
    version[0] = 0;
    assert!(DecoderConfig::parse(&version).is_err());
    let mut prefix_of_three = good;
    prefix_of_three[4] = 0xfe;
    assert!(DecoderConfig::parse(&prefix_of_three).is_err());
}

proptest! {
    #[test]
    fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = DecoderConfig::parse(&bytes);
        let _ = DecoderConfig::from_annex_b_extradata(&bytes);
        let _ = Sps::parse(&bytes);
    }

    #[test]
    fn damaged_records_do_not_panic_and_sides_stay_in_range(
        text in prop::sample::select(vec![BASELINE, HIGH, MAIN]),
        at in 0_usize..60,
        value: u8,
        cut in 0_usize..60,
    ) {
        let mut bytes = hex::decode(text).unwrap();
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(length - cut % length / 2);
        if let Ok(config) = DecoderConfig::parse(&bytes) {
            prop_assert!((1..=16_384).contains(&config.width()) && (1..=16_384).contains(&config.height()));
            prop_assert!(DecoderConfig::parse(&config.encode()).is_ok());
        }
    }
}

#[test]
fn settings_are_what_the_encoder_says_of_them() {
    let config = parse(BASELINE);
    let settings = [6, 5, 3, b'x', b'2', b'6', 0x80];
    let (timing, idr) = ([6, 1, 1, 0, 0x80], [0x65, 0x88]);
    let sample = |nals: &[&[u8]]| {
        let prefixed = |nal: &&[u8]| [&u32::try_from(nal.len()).unwrap().to_be_bytes(), *nal].concat();
        nals.iter().flat_map(prefixed).collect::<Vec<u8>>()
    };
    assert_eq!(config.encoder_settings(&sample(&[&timing, &settings, &idr])), Some(&settings[..]));
    assert_eq!(config.encoder_settings(&sample(&[&timing, &idr])), None);
    assert_eq!(config.encoder_settings(&sample(&[&idr])[..4]), None);
    let long = [&[6, 5][..], &[1; 5_000]].concat();
    assert_eq!(config.encoder_settings(&sample(&[&long, &idr])), None);
}
