//! The init segment: `ftyp`, and a `moov` that describes the track without any samples. Pure.

use bytes::{Bytes, BytesMut};
use mp4_atom::{
    Audio, Avc1, Avcc, AvccExt, Codec, Compressor, Dinf, Dref, DrefEntry, Encode, Esds, FixedPoint, FourCC, Ftyp, Hdlr,
    Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Visual, Vmhd, esds,
};

use super::{FLAGS_NON_SYNC, FLAGS_SYNC, TRACK_ID, cannot_write};
use crate::{Error, TrackConfig, aac, avc};

/// Initial buffer size for an init segment, in bytes: one with a usual parameter set has about 700.
const INIT_BYTES_USUAL: usize = 1024;

/// The init segment of a track (ISO/IEC 23000-19, 7.3.1): brand `iso6`, all durations zero, no samples.
///
/// Errors when a side of the picture exceeds 65535 pixels; no parsed configuration has such a side.
pub fn init_segment(track: &TrackConfig) -> Result<Bytes, Error> {
    let mut out = BytesMut::with_capacity(INIT_BYTES_USUAL);
    let ftyp = Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: vec![FourCC::new(b"iso6"), FourCC::new(b"cmfc"), FourCC::new(b"mp41")],
    };
    ftyp.encode(&mut out).map_err(cannot_write)?;
    movie(track)?.encode(&mut out).map_err(cannot_write)?;
    Ok(out.freeze())
}

fn movie(track: &TrackConfig) -> Result<Moov, Error> {
    let timescale = track.timescale().get();
    let (codec, side_pixels) = match track {
        TrackConfig::Video { avc, .. } => {
            let (width, height) = picture_size(avc)?;
            (Codec::Avc1(video_entry(avc, width, height)), (width, height))
        }
        TrackConfig::Audio { aac } => (Codec::Mp4a(audio_entry(aac)?), (0, 0)),
    };
    let default_sample_flags = if track.is_video() { FLAGS_NON_SYNC } else { FLAGS_SYNC };
    let trex =
        Trex { track_id: TRACK_ID, default_sample_description_index: 1, default_sample_flags, ..Trex::default() };
    Ok(Moov {
        mvhd: Mvhd {
            timescale,
            rate: FixedPoint::new(1, 0),
            volume: FixedPoint::new(1, 0),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex { mehd: None, trex: vec![trex] }),
        trak: vec![Trak {
            tkhd: Tkhd {
                track_id: TRACK_ID,
                enabled: true,
                in_movie: true,
                volume: FixedPoint::new(u8::from(!track.is_video()), 0),
                width: FixedPoint::new(side_pixels.0, 0),
                height: FixedPoint::new(side_pixels.1, 0),
                ..Tkhd::default()
            },
            mdia: Mdia {
                mdhd: Mdhd { timescale, language: "und".to_owned(), ..Mdhd::default() },
                hdlr: handler(track),
                minf: media_information(track, codec),
            },
            ..Trak::default()
        }],
        ..Moov::default()
    })
}

fn handler(track: &TrackConfig) -> Hdlr {
    let (kind, name) = if track.is_video() { (b"vide", "video") } else { (b"soun", "audio") };
    Hdlr { handler: FourCC::new(kind), name: name.to_owned() }
}

fn media_information(track: &TrackConfig, codec: Codec) -> Minf {
    Minf {
        vmhd: track.is_video().then(Vmhd::default),
        smhd: (!track.is_video()).then(Smhd::default),
        // An empty location: the media is in the same file (ISO/IEC 14496-12, 8.7.2).
        dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
        // The tables are mandatory, and empty: all samples are in fragments.
        stbl: Stbl { stsd: Stsd { codecs: vec![codec] }, stco: Some(Stco::default()), ..Stbl::default() },
        ..Minf::default()
    }
}

fn picture_size(avc: &avc::DecoderConfig) -> Result<(u16, u16), Error> {
    let side = |pixels: u32| u16::try_from(pixels).map_err(|_| Error::Cmaf(format!("side of {pixels} pixels")));
    Ok((side(avc.width())?, side(avc.height())?))
}

/// `avc1` with its `avcC` (ISO/IEC 14496-15, 5.4.2.1).
fn video_entry(avc: &avc::DecoderConfig, width: u16, height: u16) -> Avc1 {
    let (chroma_format, bit_depth_luma, bit_depth_chroma) = avc.chroma_and_depths();
    let ext = avc.has_extension().then(|| AvccExt {
        chroma_format,
        bit_depth_luma,
        bit_depth_chroma,
        sequence_parameter_sets_ext: Vec::new(),
    });
    Avc1 {
        visual: Visual {
            data_reference_index: 1,
            width,
            height,
            compressor: Compressor::default(),
            ..Visual::default()
        },
        avcc: Avcc {
            configuration_version: 1,
            avc_profile_indication: avc.profile(),
            profile_compatibility: avc.constraints(),
            avc_level_indication: avc.level(),
            length_size: avc.length_size(),
            sequence_parameter_sets: avc.sps().iter().map(|set| set.to_vec()).collect(),
            picture_parameter_sets: avc.pps().iter().map(|set| set.to_vec()).collect(),
            ext,
        },
        ..Avc1::default()
    }
}

/// `mp4a` with its `esds` (ISO/IEC 14496-14, 5.6).
fn audio_entry(aac: &aac::AudioSpecificConfig) -> Result<Mp4a, Error> {
    const OBJECT_TYPE_MPEG4_AUDIO: u8 = 0x40;
    const STREAM_TYPE_AUDIO: u8 = 5;
    let raw = aac.encode().to_vec();
    // mp4-atom writes `raw`, not the parsed fields beside it.
    let dec_specific = esds::DecoderSpecific { raw, ..esds::DecoderSpecific::default() };
    let dec_config = esds::DecoderConfig {
        object_type_indication: OBJECT_TYPE_MPEG4_AUDIO,
        stream_type: STREAM_TYPE_AUDIO,
        dec_specific: Some(dec_specific),
        ..esds::DecoderConfig::default()
    };
    Ok(Mp4a {
        audio: Audio {
            data_reference_index: 1,
            channel_count: u16::from(aac.channels()),
            sample_size: 16,
            // A 16.16 number: a rate that does not fit is only in the `esds`.
            sample_rate: FixedPoint::new(u16::try_from(aac.sample_rate_hz()).unwrap_or(0), 0),
        },
        esds: Esds { es_desc: esds::EsDescriptor { dec_config, ..esds::EsDescriptor::default() } },
        btrt: None,
        taic: None,
    })
}
