//! Bodies of RTMP's audio and video messages: FLV tags (Video File Format 10.1, E.4.2 and E.4.3) and the FourCC form of
//! Enhanced RTMP, of which `avc1` and `mp4a` are taken. Pure.

use bytes::Bytes;

/// What an audio or video message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// AVC decoder configuration record.
    VideoConfig(Bytes),
    /// One access unit, length-prefixed.
    Video {
        /// Presentation time less decode time, in milliseconds, -2^23 to 2^23-1.
        composition_ms: i32,
        /// What the encoder says; the truth is in the NAL units.
        key: bool,
        /// NAL units.
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

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// A codec that is not supported: the publisher has to change its settings.
    #[error("{kind} codec {codec} is not supported: send {}", if *.kind == "video" { "H.264 (AVC)" } else { "AAC" })]
    Codec {
        /// `video` or `audio`.
        kind: &'static str,
        /// Its name.
        codec: String,
    },
    /// Ends within a header.
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
    if codec != 7 {
        return Err(FlvError::Codec { kind: "video", codec: video_codec_name(codec) });
    }
    let head = body.first_chunk::<5>().ok_or(FlvError::Truncated("video"))?;
    let [_, packet, cts @ ..] = *head;
    match packet {
        0 => Ok(Body::VideoConfig(body.slice(5..))),
        1 => Ok(access_unit(frame, cts, body.slice(5..))),
        _ => Ok(Body::Nothing),
    }
}

/// Enhanced RTMP v1, "Extended VideoTagHeader".
fn enhanced_video(first: u8, body: &Bytes) -> Result<Body, FlvError> {
    let (frame, packet) = ((first >> 4) & 0x07, first & 0x0F);
    let four_cc = body.get(1..5).ok_or(FlvError::Truncated("video"))?;
    if packet >= 6 {
        let codec = "in a multitrack or ModEx packet".to_owned();
        return Err(FlvError::Codec { kind: "video", codec });
    }
    if four_cc != b"avc1" {
        return Err(FlvError::Codec { kind: "video", codec: four_cc_name(four_cc) });
    }
    match packet {
        0 => Ok(Body::VideoConfig(body.slice(5..))),
        1 => {
            let cts = body.get(5..).and_then(|rest| rest.first_chunk::<3>()).ok_or(FlvError::Truncated("video"))?;
            Ok(access_unit(frame, *cts, body.slice(8..)))
        }
        3 => Ok(access_unit(frame, [0; 3], body.slice(5..))),
        _ => Ok(Body::Nothing),
    }
}

fn access_unit(frame: u8, [a, b, c]: [u8; 3], data: Bytes) -> Body {
    if data.is_empty() {
        return Body::Nothing;
    }
    // The sign of the 24-bit number is that of the 32-bit one whose lowest byte is dropped.
    let composition_ms = i32::from_be_bytes([a, b, c, 0]) >> 8;
    Body::Video { composition_ms, key: frame == 1, data }
}

/// Reads the body of an audio message (type 8).
pub fn audio(body: &Bytes) -> Result<Body, FlvError> {
    let Some(&first) = body.first() else { return Ok(Body::Nothing) };
    let (packet, start) = match first >> 4 {
        2 | 14 if body.len() == 1 => return Ok(Body::Nothing),
        2 | 14 => return Ok(Body::Mp3(body.slice(1..))),
        10 => (*body.get(1).ok_or(FlvError::Truncated("audio"))?, 2),
        9 => {
            let four_cc = body.get(1..5).ok_or(FlvError::Truncated("audio"))?;
            if four_cc != b"mp4a" {
                return Err(FlvError::Codec { kind: "audio", codec: four_cc_name(four_cc) });
            }
            (first & 0x0F, 5)
        }
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
        12 => "HEVC (12)".to_owned(),
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

    #[test]
    fn both_forms_of_avc_are_taken() {
        assert_eq!(
            video(&Bytes::from_static(b"\x17\x00\0\0\0cfg")).unwrap(),
            Body::VideoConfig(Bytes::from_static(b"cfg"))
        );
        assert_eq!(video(&Bytes::from_static(b"\x90avc1cfg")).unwrap(), Body::VideoConfig(Bytes::from_static(b"cfg")));
        let unit = Body::Video { composition_ms: 33, key: true, data: Bytes::from_static(b"nal") };
        assert_eq!(video(&Bytes::from_static(b"\x17\x01\0\0\x21nal")).unwrap(), unit);
        assert_eq!(video(&Bytes::from_static(b"\x91avc1\0\0\x21nal")).unwrap(), unit);
        let unit = Body::Video { composition_ms: 0, key: false, data: Bytes::from_static(b"nal") };
        assert_eq!(video(&Bytes::from_static(b"\xA3avc1nal")).unwrap(), unit);
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        for (bytes, name) in [
            (&b"\x1C\x01\0\0\0"[..], "HEVC (12)"),
            (b"\x90hvc1", "HEVC (hvc1)"),
            (b"\x90av01", "AV1 (av01)"),
            (b"\x96avc1", "multitrack"),
            (b"\x90\0\x01\"x", "\\x00"),
        ] {
            let error = video(&Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("H.264"), "{error}");
        }
        for (bytes, name) in [(&b"\xB2data"[..], "Speex"), (b"\x90Opus", "Opus")] {
            let error = audio(&Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("AAC"), "{error}");
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
