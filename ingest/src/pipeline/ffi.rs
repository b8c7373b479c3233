//! The few things that FFmpeg's safe wrapper does not reach. All `unsafe` of the pipeline is here.
#![allow(unsafe_code)]

use ffmpeg_next as ffmpeg;

use ffmpeg::codec;
use ffmpeg::ffi;
use ffmpeg::frame;

use super::Error;

/// A codec context for `codec`, with `extradata` (an `avcC`, an AudioSpecificConfig, or nothing), not opened yet.
pub(super) fn context_with_extradata(codec: ffmpeg::Codec, extradata: &[u8]) -> Result<codec::Context, Error> {
    let no_memory = || Error::Ffmpeg { what: "decoder context", detail: "out of memory".to_owned() };
    let mut context = codec::Context::new_with_codec(codec);
    let size = i32::try_from(extradata.len()).map_err(|_| no_memory())?;
    let padding = usize::try_from(ffi::AV_INPUT_BUFFER_PADDING_SIZE).map_err(|_| no_memory())?;
    // SAFETY: `as_mut_ptr` is the context that `new_with_codec` allocated (checked for null) and nobody else has. The buffer comes from
    // av_mallocz, as avcodec_free_context expects, is `size + padding` bytes of zeros, and exactly `size` bytes are copied into it.
    unsafe {
        let raw = context.as_mut_ptr();
        if raw.is_null() {
            return Err(no_memory());
        }
        if extradata.is_empty() {
            return Ok(context);
        }
        let buffer = ffi::av_mallocz(extradata.len() + padding).cast::<u8>();
        if buffer.is_null() {
            return Err(no_memory());
        }
        std::ptr::copy_nonoverlapping(extradata.as_ptr(), buffer, extradata.len());
        (*raw).extradata = buffer;
        (*raw).extradata_size = size;
    }
    Ok(context)
}

/// The extradata of an opened encoder: SPS and PPS in Annex B, or an AudioSpecificConfig.
pub(super) fn extradata(context: &codec::Context) -> Vec<u8> {
    // SAFETY: the context is alive for the call; FFmpeg keeps `extradata` null or valid for `extradata_size` bytes.
    unsafe {
        let raw = context.as_ptr();
        let (data, size) = ((*raw).extradata, (*raw).extradata_size);
        match usize::try_from(size) {
            Ok(size) if !data.is_null() => std::slice::from_raw_parts(data, size).to_vec(),
            _ => Vec::new(),
        }
    }
}

/// Whether nobody else holds the frame's buffers, so that it may be drawn into again.
pub(super) fn is_writable(frame: &mut frame::Video) -> bool {
    // SAFETY: the frame is alive and borrowed alone; av_frame_is_writable only reads its reference counts.
    unsafe { ffi::av_frame_is_writable(frame.as_mut_ptr()) > 0 }
}

/// A second reference to the same picture: its properties are its own, its pixels shared and not copied.
pub(super) fn reference(frame: &frame::Video) -> Result<frame::Video, ffmpeg::Error> {
    let mut own = frame::Video::empty();
    // SAFETY: both are valid frames, `own` is blank as av_frame_ref demands, and `frame` is only read. Buffers are counted atomically.
    let code = unsafe { ffi::av_frame_ref(own.as_mut_ptr(), frame.as_ptr()) };
    if code < 0 { Err(ffmpeg::Error::from(code)) } else { Ok(own) }
}

/// Sets the quality of this picture, for encoders with fixed quality.
pub(super) fn set_quality(frame: &mut frame::Video, quality: i32) {
    // SAFETY: the frame is alive and borrowed alone; `quality` is a plain field.
    unsafe { (*frame.as_mut_ptr()).quality = quality }
}

/// Sets the pixel aspect ratio of a picture.
pub(super) fn set_aspect(frame: &mut frame::Video, aspect: ffmpeg::Rational) {
    // SAFETY: the frame is alive and borrowed alone; `sample_aspect_ratio` is a plain field.
    unsafe { (*frame.as_mut_ptr()).sample_aspect_ratio = aspect.into() }
}

/// As [`reference`], for sound.
pub(super) fn audio_reference(frame: &frame::Audio) -> Result<frame::Audio, ffmpeg::Error> {
    let mut own = frame::Audio::empty();
    // SAFETY: as in `reference`.
    let code = unsafe { ffi::av_frame_ref(own.as_mut_ptr(), frame.as_ptr()) };
    if code < 0 { Err(ffmpeg::Error::from(code)) } else { Ok(own) }
}

/// The extradata of a file's stream.
pub(super) fn parameters_extradata(parameters: &codec::Parameters) -> Vec<u8> {
    // SAFETY: the parameters are alive for the call; FFmpeg keeps `extradata` null or valid for `extradata_size` bytes.
    unsafe {
        let raw = parameters.as_ptr();
        let (data, size) = ((*raw).extradata, (*raw).extradata_size);
        match usize::try_from(size) {
            Ok(size) if !data.is_null() => std::slice::from_raw_parts(data, size).to_vec(),
            _ => Vec::new(),
        }
    }
}
