//! A record as x265 writes it, and garbage.

use proptest::prelude::*;

use super::*;

/// x265 main 320x180 (cropped from 184) at 30 frames a second, as FFmpeg puts it into a file, without its SEI message.
const MAIN: &str = "0101600000009000000000003cf000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003003c959409a10001002b42010101600000030090000003000003003ca00a080c1f3e595952930bc05a020000030002000003003c10a2000100064401c073c189";

fn record() -> Vec<u8> {
    hex::decode(MAIN).unwrap()
}

#[test]
fn configuration_of_x265_is_read() {
    let config = DecoderConfig::parse(&record()).unwrap();
    assert_eq!((config.width(), config.height()), (320, 180));
    assert_eq!(config.codec_string(), "hvc1.1.6.L60.90");
    assert_eq!(config.encode(), record());
}

#[test]
fn decoding_can_begin_with_idr_and_cra_pictures_and_with_no_others() {
    let config = DecoderConfig::parse(&record()).unwrap();
    // An SEI message before each.
    let sample = |kind: u8| [&[0, 0, 0, 2, 39 << 1, 1][..], &[0, 0, 0, 3, kind << 1, 1, 0x80]].concat();
    for kind in 0..40 {
        assert_eq!(config.is_sync(&sample(kind)), (16..=21).contains(&kind), "type {kind}");
    }
    assert!(!config.is_sync(&[0, 0, 0, 9, 19 << 1, 1]), "cut short");
}

#[test]
fn records_that_are_broken_are_refused() {
    let good = record();
    for length in 0..good.len() {
        assert!(DecoderConfig::parse(good.get(..length).unwrap()).is_err(), "{length} bytes of it");
    }
    let mut prefix = good.clone();
    prefix[21] = prefix[21] & !3 | 2;
    assert!(DecoderConfig::parse(&prefix).is_err(), "prefixes of three bytes");
    let mut version = good;
    version[0] = 0;
    assert!(DecoderConfig::parse(&version).is_err());
    assert!(DecoderConfig::parse(&vec![1; RECORD_BYTES_MAX + 1]).is_err());
}

proptest! {
    #[test]
    fn garbage_does_not_panic(at in 0_usize..120, value: u8, sample in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut bytes = record();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        if let Ok(config) = DecoderConfig::parse(&bytes) {
            prop_assert!((1..=SIDE_PIXELS_MAX).contains(&config.width()));
            let _ = config.is_sync(&sample);
        }
    }
}
