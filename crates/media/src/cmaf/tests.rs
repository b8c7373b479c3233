//! Boxes read back with mp4-atom. `tests/ffmpeg.rs` reads them with FFmpeg.

use bytes::Bytes;
use mp4_atom::{Atom, Codec, Decode, Ftyp, Header, Mdat, Moof, Moov};

use super::*;
use crate::aac::AudioSpecificConfig;
use crate::avc::DecoderConfig;
use crate::{Sample, Timescale, Timestamp, TrackConfig};

/// x264 high 1920x1080 at 60000/1001.
const HIGH: &str = "0164002affe100196764002aacd940780227e5c04400000fa4000753003c60c65801000468ef8fcbfdf8f800";

fn video() -> TrackConfig {
    let avc = DecoderConfig::parse(&hex::decode(HIGH).unwrap()).unwrap();
    TrackConfig::Video { avc, timescale: Timescale::VIDEO, frame_rate_millihertz: 59_940 }
}

fn audio() -> TrackConfig {
    TrackConfig::Audio { aac: AudioSpecificConfig::low_complexity(44_100, 2).unwrap() }
}

fn ticks(ticks: i64) -> Timestamp {
    Timestamp::new(ticks, Timescale::VIDEO)
}

fn sample(dts: i64, pts: i64, sync: bool, data: &'static [u8]) -> Sample {
    let data = Bytes::from_static(data);
    Sample { pts: ticks(pts), dts: ticks(dts), duration: ticks(1_500), sync, data }
}

fn read_init(track: &TrackConfig) -> (Ftyp, Moov) {
    let bytes = init_segment(track).unwrap();
    let mut rest = bytes.as_ref();
    let read = (Ftyp::decode(&mut rest).unwrap(), Moov::decode(&mut rest).unwrap());
    assert!(rest.is_empty(), "nothing after moov");
    read
}

#[test]
fn init_has_iso6_brand_zero_durations_mvex_and_no_samples() {
    for track in [video(), audio()] {
        let (ftyp, moov) = read_init(&track);
        assert_eq!(ftyp.major_brand, b"iso6".into());
        assert!(ftyp.compatible_brands.contains(&b"iso6".into()) && ftyp.compatible_brands.contains(&b"cmfc".into()));
        let trak = &moov.trak[0];
        assert_eq!((moov.mvhd.duration, trak.tkhd.duration, trak.mdia.mdhd.duration), (0, 0, 0));
        let trex = &moov.mvex.as_ref().unwrap().trex[0];
        let flags = if track.is_video() { FLAGS_NON_SYNC } else { FLAGS_SYNC };
        assert_eq!((trex.track_id, trex.default_sample_flags), (trak.tkhd.track_id, flags));
        assert_eq!(trak.mdia.mdhd.timescale, track.timescale().get());
        let stbl = &trak.mdia.minf.stbl;
        assert!(stbl.stts.entries.is_empty() && stbl.stsc.entries.is_empty());
        assert_eq!(stbl.stsz, mp4_atom::Stsz::default());
    }
}

#[test]
fn video_entry_carries_the_decoder_configuration_bit_for_bit() {
    let bytes = init_segment(&video()).unwrap();
    let record = hex::decode(HIGH).unwrap();
    assert!(bytes.windows(record.len()).any(|window| window == record));
    let (_, moov) = read_init(&video());
    let Codec::Avc1(avc1) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!("not avc1") };
    assert_eq!((avc1.visual.width, avc1.visual.height), (1920, 1080));
}

#[test]
fn audio_entry_carries_the_audio_specific_config() {
    let (_, moov) = read_init(&audio());
    let Codec::Mp4a(mp4a) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!("not mp4a") };
    let config = &mp4a.esds.es_desc.dec_config;
    assert_eq!((config.object_type_indication, config.stream_type), (0x40, 5));
    assert_eq!(config.dec_specific.as_ref().unwrap().raw, [0x12, 0x10]);
    assert_eq!((mp4a.audio.channel_count, mp4a.audio.sample_rate.integer()), (2, 44_100));
}

#[test]
fn fragment_reads_back_with_signed_offsets_and_data_where_it_says() {
    let base = ticks(1 << 40);
    let at = |n: i64| base.ticks + n * 1_500;
    let samples =
        [sample(at(0), at(0), true, b"idr"), sample(at(1), at(3), false, b"p"), sample(at(2), at(1), false, b"bb")];
    let bytes = fragment(7, base, &samples).unwrap();
    let mut rest = bytes.as_ref();
    let moof = Moof::decode(&mut rest).unwrap();
    let moof_bytes = bytes.len() - rest.len();
    let traf = &moof.traf[0];
    assert_eq!(moof.mfhd.sequence_number, 7);
    assert!(traf.tfhd.default_base_is_moof && traf.tfhd.base_data_offset.is_none());
    assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 1 << 40);
    let entries: Vec<_> =
        traf.trun[0].samples.iter().map(|e| (e.cts.unwrap(), e.flags.unwrap(), e.size.unwrap())).collect();
    assert_eq!(entries, [(0, FLAGS_SYNC, 3), (3_000, FLAGS_NON_SYNC, 1), (-1_500, FLAGS_NON_SYNC, 2)]);
    let header = Header::decode(&mut rest).unwrap();
    assert_eq!(header.kind, Mdat::KIND);
    assert_eq!(usize::try_from(traf.trun[0].data_offset.unwrap()).unwrap(), moof_bytes + 8);
    assert_eq!(rest, b"idrpbb");
    // tfdt and trun have version 1, whatever the values are.
    for kind in [b"tfdt", b"trun"] {
        let at = bytes.windows(4).position(|window| window == kind).unwrap();
        assert_eq!(bytes[at + 4], 1);
    }
}

#[test]
fn fragment_of_one_sample_has_its_flags() {
    let bytes = fragment(1, ticks(0), &[sample(0, 0, false, b"p")]).unwrap();
    let moof = Moof::decode(&mut bytes.as_ref()).unwrap();
    assert_eq!(moof.traf[0].trun[0].samples.get(0).unwrap().flags, Some(FLAGS_NON_SYNC));
}

#[test]
fn what_does_not_fit_a_box_is_an_error() {
    assert!(fragment(1, ticks(0), &[]).is_err());
    assert!(fragment(1, ticks(-1), &[sample(-1, -1, true, b"x")]).is_err());
    assert!(fragment(1, ticks(0), &[sample(0, 1 << 31, true, b"x")]).is_err());
    let mut empty = sample(0, 0, true, b"x");
    empty.duration = ticks(0);
    assert!(fragment(1, ticks(0), &[empty]).is_err());
}
