//! Bodies of RTMP's audio and video messages: FLV tags (Video File Format 10.1, E.4.2 and E.4.3) and the FourCC form of
//! Enhanced RTMP (v2, "Enhanced Video" and "Enhanced Audio") with `avc1`, `hvc1`, `av01`, `mp4a` and `.mp3`. Everything else, such as
//! several tracks or Opus, is refused with an error that names it, and never taken for something else. Pure.

use bytes::Bytes;

/// Packet type ModEx of both kinds: modifiers precede the packet.
const MOD_EX: u8 = 7;

/// Codec of a video message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
    Av1,
}

/// Content of an audio or video message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Decoder configuration record of the codec: `avcC`, `hvcC` or `av1C`.
    VideoConfig(VideoCodec, Bytes),
    /// One access unit: length-prefixed NAL units, or, of AV1, the OBUs of a temporal unit.
    Video {
        codec: VideoCodec,
        /// Presentation minus decode time, in milliseconds, -2^23 to 2^23-1.
        composition_ms: i32,
        /// The encoder's claim that this is a keyframe; only the data is reliable.
        key: bool,
        data: Bytes,
    },
    /// AudioSpecificConfig.
    AudioConfig(Bytes),
    /// One raw AAC frame.
    Audio(Bytes),
    /// One or more MP3 frames.
    Mp3(Bytes),
    /// Nothing to do: empty, end of sequence, metadata, seek commands.
    Nothing,
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The codec is not supported: the publisher has to change its settings.
    #[error("{kind} codec {codec} is not supported: send {}", if *.kind == "video" { "H.264 (AVC), HEVC or AV1" } else { "AAC" })]
    Codec {
        /// `video` or `audio`.
        kind: &'static str,
        /// For the publisher to read: `VP9 (vp09)`, `number 9`.
        codec: String,
    },
    /// Multitrack packets, with several tracks or one numbered track: the publisher has to send the plain form.
    #[error("multitrack {0} is not supported: send one track")]
    Multitrack(&'static str),
    /// Packets with extensions before their content (ModEx).
    #[error("{0} with ModEx extensions is not supported: send it without")]
    ModEx(&'static str),
    /// The body ends within a header.
    #[error("{0} tag is cut off")]
    Truncated(&'static str),
}

/// Reads the body of a video message (type 9).
pub fn video(body: &Bytes) -> Result<Body, FlvError> {
    let Some(&first) = body.first() else { return Ok(Body::Nothing) };
    if first & 0x80 != 0 {
        return enhanced_video(first, body);
    }
    let (frame, codec) = (first >> 4, first & 0x0F);
    if frame == 5 {
        return Ok(Body::Nothing);
    }
    let codec = match codec {
        7 => VideoCodec::Avc,
        // In no specification, but encoders older than the FourCC send it.
        12 => VideoCodec::Hevc,
        other => return Err(FlvError::Codec { kind: "video", codec: video_codec_name(other) }),
    };
    let head = body.first_chunk::<5>().ok_or(FlvError::Truncated("video"))?;
    let [_, packet, cts @ ..] = *head;
    match packet {
        0 => Ok(Body::VideoConfig(codec, body.slice(5..))),
        1 => Ok(access_unit(codec, frame, cts, body.slice(5..))),
        _ => Ok(Body::Nothing),
    }
}

/// "Extended VideoTagHeader".
fn enhanced_video(first: u8, body: &Bytes) -> Result<Body, FlvError> {
    const SEQUENCE_START: u8 = 0;
    const CODED_FRAMES: u8 = 1;
    const CODED_FRAMES_X: u8 = 3;
    const METADATA: u8 = 4;
    const TS_SEQUENCE_START: u8 = 5;
    const MULTITRACK: u8 = 6;
    const COMMAND_FRAME: u8 = 5;
    let refused = |codec: String| Err(FlvError::Codec { kind: "video", codec });
    let (frame, packet) = ((first >> 4) & 0x07, first & 0x0F);
    // These packets have other bytes in the place of the FourCC.
    match packet {
        ..MULTITRACK => {}
        MULTITRACK => return Err(FlvError::Multitrack("video")),
        MOD_EX => return Err(FlvError::ModEx("video")),
        other => return refused(format!("in packets of type {other}")),
    }
    if frame == COMMAND_FRAME && packet != METADATA {
        // A seek command, without a FourCC.
        return Ok(Body::Nothing);
    }
    let four_cc = body.get(1..5).ok_or(FlvError::Truncated("video"))?;
    let codec = match four_cc {
        b"avc1" => VideoCodec::Avc,
        b"hvc1" => VideoCodec::Hevc,
        b"av01" => VideoCodec::Av1,
        other => return refused(four_cc_name(other)),
    };
    match packet {
        SEQUENCE_START => Ok(Body::VideoConfig(codec, body.slice(5..))),
        // AV1 has no composition time: its timestamps are presentation times.
        CODED_FRAMES if codec != VideoCodec::Av1 => {
            let cts = body.get(5..).and_then(|rest| rest.first_chunk::<3>()).ok_or(FlvError::Truncated("video"))?;
            Ok(access_unit(codec, frame, *cts, body.slice(8..)))
        }
        CODED_FRAMES | CODED_FRAMES_X => Ok(access_unit(codec, frame, [0; 3], body.slice(5..))),
        TS_SEQUENCE_START => refused(format!("{} with a configuration of MPEG-2 TS", four_cc_name(four_cc))),
        _ => Ok(Body::Nothing),
    }
}

fn access_unit(codec: VideoCodec, frame: u8, [a, b, c]: [u8; 3], data: Bytes) -> Body {
    if data.is_empty() {
        return Body::Nothing;
    }
    // Shifting an i32 right by 8 bits extends the sign of the 24-bit number.
    let composition_ms = i32::from_be_bytes([a, b, c, 0]) >> 8;
    Body::Video { codec, composition_ms, key: frame == 1, data }
}

/// Reads the body of an audio message (type 8).
pub fn audio(body: &Bytes) -> Result<Body, FlvError> {
    let Some(&first) = body.first() else { return Ok(Body::Nothing) };
    let (packet, start) = match first >> 4 {
        2 | 14 if body.len() == 1 => return Ok(Body::Nothing),
        2 | 14 => return Ok(Body::Mp3(body.slice(1..))),
        10 => (*body.get(1).ok_or(FlvError::Truncated("audio"))?, 2),
        9 => return enhanced_audio(first, body),
        other => return Err(FlvError::Codec { kind: "audio", codec: audio_codec_name(other) }),
    };
    let data = body.slice(start..);
    match packet {
        _ if data.is_empty() => Ok(Body::Nothing),
        0 => Ok(Body::AudioConfig(data)),
        1 => Ok(Body::Audio(data)),
        _ => Ok(Body::Nothing),
    }
}

/// "Extended AudioTagHeader".
fn enhanced_audio(first: u8, body: &Bytes) -> Result<Body, FlvError> {
    const SEQUENCE_START: u8 = 0;
    const CODED_FRAMES: u8 = 1;
    const MULTITRACK: u8 = 5;
    let refused = |codec: String| Err(FlvError::Codec { kind: "audio", codec });
    let packet = first & 0x0F;
    match packet {
        ..MULTITRACK => {}
        MULTITRACK => return Err(FlvError::Multitrack("audio")),
        MOD_EX => return Err(FlvError::ModEx("audio")),
        other => return refused(format!("in packets of type {other}")),
    }
    let four_cc = body.get(1..5).ok_or(FlvError::Truncated("audio"))?;
    let data = body.slice(5..);
    match (four_cc, packet) {
        (b"mp4a" | b".mp3", _) if data.is_empty() => Ok(Body::Nothing),
        (b"mp4a", SEQUENCE_START) => Ok(Body::AudioConfig(data)),
        (b"mp4a", CODED_FRAMES) => Ok(Body::Audio(data)),
        (b".mp3", CODED_FRAMES) => Ok(Body::Mp3(data)),
        (b"mp4a" | b".mp3", _) => Ok(Body::Nothing),
        (other, _) => refused(four_cc_name(other)),
    }
}

fn four_cc_name(four_cc: &[u8]) -> String {
    match four_cc {
        b"hvc1" => "HEVC (hvc1)".to_owned(),
        b"av01" => "AV1 (av01)".to_owned(),
        b"vp09" => "VP9 (vp09)".to_owned(),
        b"Opus" => "Opus".to_owned(),
        other => format!("\"{}\"", other.escape_ascii()),
    }
}

fn video_codec_name(codec: u8) -> String {
    match codec {
        2 => "Sorenson H.263".to_owned(),
        3 | 6 => "Screen Video".to_owned(),
        4 | 5 => "VP6".to_owned(),
        13 => "AV1 (13)".to_owned(),
        other => format!("number {other}"),
    }
}

fn audio_codec_name(format: u8) -> String {
    match format {
        0 | 3 => "PCM".to_owned(),
        1 => "ADPCM".to_owned(),
        4..=6 => "Nellymoser".to_owned(),
        7 | 8 => "G.711".to_owned(),
        11 => "Speex".to_owned(),
        other => format!("number {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn composition_time_is_a_signed_24_bit_number() {
        let read = |cts: [u8; 3]| match video(&Bytes::from([&[0x27, 1][..], &cts, &[9]].concat())).unwrap() {
            Body::Video { composition_ms, key, .. } => (composition_ms, key),
            other => panic!("{other:?}"),
        };
        assert_eq!(read([0, 0, 66]), (66, false));
        assert_eq!(read([0xFF, 0xFF, 0xFF]), (-1, false));
        assert_eq!(read([0x80, 0, 0]), (-8_388_608, false));
    }

    fn body(bytes: &[u8]) -> Result<Body, FlvError> {
        video(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn both_forms_of_avc_and_hevc_are_taken() {
        for (codec, legacy, four_cc) in [(VideoCodec::Avc, 7, b"avc1"), (VideoCodec::Hevc, 12, b"hvc1")] {
            let config = Body::VideoConfig(codec, Bytes::from_static(b"cfg"));
            let unit = |composition_ms, key| {
                let data = Bytes::from_static(b"nal");
                Body::Video { codec, composition_ms, key, data }
            };
            let enhanced = |first: u8, rest: &[u8]| body(&[&[first][..], four_cc, rest].concat()).unwrap();
            assert_eq!(body(&[&[0x10 | legacy, 0, 0, 0, 0][..], b"cfg"].concat()).unwrap(), config);
            assert_eq!(body(&[&[0x10 | legacy, 1, 0, 0, 33][..], b"nal"].concat()).unwrap(), unit(33, true));
            assert_eq!(body(&[0x10 | legacy, 2, 0, 0, 0]).unwrap(), Body::Nothing);
            assert_eq!(enhanced(0x90, b"cfg"), config);
            assert_eq!(enhanced(0x91, b"\0\0\x21nal"), unit(33, true));
            assert_eq!(enhanced(0xA1, b"\xFF\xFF\xDFnal"), unit(-33, false));
            assert_eq!(enhanced(0xA3, b"nal"), unit(0, false));
            for (what, first) in [("end of sequence", 0x92), ("metadata", 0x94)] {
                assert_eq!(enhanced(first, b"rest"), Body::Nothing, "{what}");
            }
        }
    }

    #[test]
    fn av1_has_no_composition_time() {
        let unit =
            |key| Body::Video { codec: VideoCodec::Av1, composition_ms: 0, key, data: Bytes::from_static(b"obus") };
        assert_eq!(body(b"\x90av01cfg").unwrap(), Body::VideoConfig(VideoCodec::Av1, Bytes::from_static(b"cfg")));
        assert_eq!(body(b"\x91av01obus").unwrap(), unit(true));
        assert_eq!(body(b"\xA1av01obus").unwrap(), unit(false));
        assert_eq!(body(b"\xA3av01obus").unwrap(), unit(false));
        assert_eq!(body(b"\x92av01").unwrap(), Body::Nothing);
        assert_eq!(body(b"\x91av01").unwrap(), Body::Nothing);
    }

    #[test]
    fn seek_command_is_nothing_in_both_forms() {
        assert_eq!(body(b"\x57\x00").unwrap(), Body::Nothing);
        assert_eq!(body(b"\xD1\x00").unwrap(), Body::Nothing);
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        for (bytes, name) in [
            (&b"\x1D\x01\0\0\0"[..], "AV1 (13)"),
            (b"\x12\x01\0\0\0", "Sorenson"),
            (b"\x90vp09", "VP9 (vp09)"),
            (b"\x90HVC1", "\"HVC1\""),
            (b"\x98avc1", "packets of type 8"),
            (b"\x95av01data", "MPEG-2 TS"),
            (b"\x90\0\x01\"x", "\\x00"),
        ] {
            let error = video(&Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("H.264"), "{error}");
        }
        for (bytes, name) in [
            (&b"\xB2data"[..], "Speex"),
            (b"\x90Opus", "Opus"),
            (b"\x91Opusdata", "Opus"),
            (b"\x91ac-3data", "ac-3"),
            (b"\x96mp4a", "packets of type 6"),
        ] {
            let error = audio(&Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("AAC"), "{error}");
        }
    }

    #[test]
    fn several_tracks_and_extensions_are_refused_as_such() {
        type Read = fn(&Bytes) -> Result<Body, FlvError>;
        for (read, bytes, says) in [
            (video as Read, &b"\x96\x00hvc1\x00"[..], "multitrack video is not supported: send one track"),
            (video, b"\x97\x02\0\0\0\x01hvc1", "video with ModEx extensions is not supported: send it without"),
            (audio, b"\x95\x01Opus\x00", "multitrack audio is not supported: send one track"),
            (audio, b"\x95\x00mp4a\x00data", "multitrack audio is not supported: send one track"),
            (audio, b"\x97\x02\0\0\0\x01mp4a", "audio with ModEx extensions is not supported: send it without"),
        ] {
            assert_eq!(read(&Bytes::copy_from_slice(bytes)).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn aac_and_mp3_are_taken() {
        assert_eq!(audio(&Bytes::from_static(b"\x2Fmp3")).unwrap(), Body::Mp3(Bytes::from_static(b"mp3")));
        assert_eq!(audio(&Bytes::from_static(b"\x2F")).unwrap(), Body::Nothing);
        assert_eq!(
            audio(&Bytes::from_static(b"\xAF\0\x12\x10")).unwrap(),
            Body::AudioConfig(Bytes::from_static(b"\x12\x10"))
        );
        assert_eq!(audio(&Bytes::from_static(b"\xAF\x01raw")).unwrap(), Body::Audio(Bytes::from_static(b"raw")));
        assert_eq!(audio(&Bytes::from_static(b"\x91.mp3mp3")).unwrap(), Body::Mp3(Bytes::from_static(b"mp3")));
        assert_eq!(
            audio(&Bytes::from_static(b"\x90mp4a\x12\x10")).unwrap(),
            audio(&Bytes::from_static(b"\xAF\0\x12\x10")).unwrap()
        );
        assert_eq!(audio(&Bytes::from_static(b"\x91mp4araw")).unwrap(), Body::Audio(Bytes::from_static(b"raw")));
        assert_eq!(audio(&Bytes::from_static(b"\xAF\x01")).unwrap(), Body::Nothing);
        assert_eq!(audio(&Bytes::from_static(b"\xAF")), Err(FlvError::Truncated("audio")));
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            let _ = (video(&bytes), audio(&bytes));
        }
    }
}
