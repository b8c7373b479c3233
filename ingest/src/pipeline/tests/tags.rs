//! Files as RTMP messages, as an encoder would send them, byte for byte.

use media::UnixMillis;
use rtmp::flv::{self, VideoCodec};

use super::*;
use crate::intake::input::InputMapper;

/// Which form of video tags an encoder sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// FLV's own, with a codec number.
    Legacy,
    /// Enhanced RTMP's, with a FourCC; access units whose composition time is 0 leave it out.
    FourCc,
}

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    pub(super) stamp_ms: u32,
    pub(super) is_video: bool,
    pub(super) body: Bytes,
}

impl Tag {
    /// Raw AAC, or its header.
    pub(super) fn aac(stamp_ms: u32, header: bool, data: &[u8]) -> Self {
        let body = [&[0xAF, u8::from(!header)][..], data].concat().into();
        Self { stamp_ms, is_video: false, body }
    }
}

fn video_tag(format: &VideoFormat, form: Form, packet: u8, key: bool, composition_ms: i64, data: &[u8]) -> Bytes {
    let (number, four_cc) = match format {
        VideoFormat::Avc(_) => (7, b"avc1"),
        VideoFormat::Hevc(_) => (12, b"hvc1"),
        VideoFormat::Av1(_) => (13, b"av01"),
    };
    let frame = if key { 1_u8 } else { 2 } << 4;
    let cts = &i32::try_from(composition_ms).unwrap().to_be_bytes()[1..];
    match (form, packet) {
        (Form::Legacy, _) => [&[frame | number, packet][..], cts, data].concat().into(),
        (Form::FourCc, 1) if composition_ms != 0 => [&[0x80 | frame | 1][..], four_cc, cts, data].concat().into(),
        (Form::FourCc, 1) => [&[0x80 | frame | 3][..], four_cc, data].concat().into(),
        (Form::FourCc, _) => [&[0x80 | frame | packet][..], four_cc, data].concat().into(),
    }
}

/// The messages of a file; its first stamp is `start_ms`.
pub(super) fn tags(path: &Path, form: Form, start_ms: u32) -> Vec<Tag> {
    let ms = |time: Timestamp| time.rescale(Timescale::MILLIS).ticks;
    let stamp = |time: Timestamp| start_ms.wrapping_add_signed(i32::try_from(ms(time) - 10_000).unwrap());
    let mut picture = None;
    let mut tags = Vec::new();
    for input in read_file(path).unwrap() {
        tags.push(match input {
            Input::VideoConfig(format) => {
                let body = video_tag(&format, form, 0, true, 0, &format.encode());
                picture = Some(format);
                Tag { stamp_ms: start_ms, is_video: true, body }
            }
            Input::Video(VideoPacket { pts, dts, data }) => {
                let format = picture.as_ref().unwrap();
                let body = video_tag(format, form, 1, format.is_sync(&data), ms(pts) - ms(dts), &data);
                Tag { stamp_ms: stamp(dts), is_video: true, body }
            }
            Input::AudioConfig(AudioFormat::Aac(aac)) => Tag::aac(start_ms, true, &aac.encode()),
            Input::Audio(AudioPacket { pts, data }) => Tag::aac(stamp(pts), false, &data),
            other => panic!("{other:?}"),
        });
    }
    tags
}

/// The pipeline's inputs for these messages, on one timeline.
pub(super) fn inputs(tags: impl IntoIterator<Item = Tag>) -> Vec<Input> {
    let mut mapper = InputMapper::after(None);
    let mut inputs = Vec::new();
    for Tag { stamp_ms, is_video, body } in tags {
        let body = if is_video { flv::video(&body) } else { flv::audio(&body) };
        inputs.extend(mapper.push(stamp_ms, body.unwrap(), UnixMillis(1_700_000_000_000)).unwrap());
    }
    inputs
}

/// Codec of the video tags.
pub(super) fn codec(tags: &[Tag]) -> VideoCodec {
    let config = tags.iter().filter(|tag| tag.is_video).find_map(|tag| match flv::video(&tag.body) {
        Ok(flv::Body::VideoConfig(codec, _)) => Some(codec),
        _ => None,
    });
    config.unwrap()
}
