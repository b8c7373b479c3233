//! The decoder of video: H.264, HEVC or AV1. Decodes once for all rungs; survives any bytes in a packet.

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::threading;
use ffmpeg::frame;

use super::pipeline_state::{PipelineState, count};
use super::{Error, VideoFormat, VideoPacket, ffi, ticks};

/// A decoder for one set of parameter sets.
pub(super) struct Decoder {
    decoder: ffmpeg::decoder::Video,
}

impl Decoder {
    /// Opens a decoder with `threads` frame threads: each beyond the first is a frame of delay.
    pub(super) fn open(format: &VideoFormat, threads: usize) -> Result<Self, Error> {
        let (found, what) = match format {
            VideoFormat::Avc(_) => (ffmpeg::decoder::find(ffmpeg::codec::Id::H264), "cannot open the H.264 decoder"),
            VideoFormat::Hevc(_) => (ffmpeg::decoder::find(ffmpeg::codec::Id::HEVC), "cannot open the HEVC decoder"),
            VideoFormat::Av1(_) => (av1_decoder(), "cannot open the AV1 decoder"),
        };
        let failed = |detail: String| Error::Ffmpeg { what, detail };
        let codec = found.ok_or_else(|| failed("not built in".to_owned()))?;
        let mut context = ffi::context_with_extradata(codec, &format.encode())?;
        context.set_threading(threading::Config {
            kind: threading::Type::Frame,
            count: threads.max(1),
            ..threading::Config::default()
        });
        // After a lost keyframe, damaged pictures are better than none for a whole GOP: the timeline goes on.
        context.set_flags(ffmpeg::codec::Flags::OUTPUT_CORRUPT);
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(ffmpeg::Rational(1, 90_000));
        let decoder = decoder.video().map_err(|error| failed(error.to_string()))?;
        Ok(Self { decoder })
    }

    /// Skips the deblocking filter from here on. Only for single pictures: those predicted from an unfiltered picture would be wrong.
    pub(super) fn skip_loop_filter(&mut self) {
        self.decoder.skip_loop_filter(ffmpeg::Discard::All);
    }

    /// Decodes a packet and hands over the pictures that came out, in presentation order. `idr` says whether it is a keyframe. Counts
    /// garbage and does not report it.
    pub(super) fn push(
        &mut self,
        packet: &VideoPacket,
        idr: bool,
        shared: &PipelineState,
        take: &mut dyn FnMut(frame::Video),
    ) {
        let mut raw = ffmpeg::Packet::copy(&packet.data);
        raw.set_pts(Some(ticks(packet.pts)));
        raw.set_dts(Some(ticks(packet.dts)));
        if self.decoder.send_packet(&raw).is_err() {
            count(&shared.packets_refused);
            if idr {
                // The pictures that follow count their order from this keyframe. A decoder that has not seen it would take them all for
                // too late to show, up to the next keyframe.
                self.decoder.flush();
            }
        }
        self.receive(shared, take);
    }

    /// Hands over the pictures still inside. Afterwards it takes no more packets.
    pub(super) fn finish(&mut self, shared: &PipelineState, take: &mut dyn FnMut(frame::Video)) {
        // An error means that the decoder is finished already.
        let _ = self.decoder.send_eof();
        self.receive(shared, take);
    }

    fn receive(&mut self, shared: &PipelineState, take: &mut dyn FnMut(frame::Video)) {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {}
                Err(ffmpeg::Error::Other { .. } | ffmpeg::Error::Eof) => return,
                Err(_) => {
                    // A frame thread reports a decoding error of an earlier packet; the next call continues after it.
                    count(&shared.packets_refused);
                    continue;
                }
            }
            count(&shared.frames_decoded);
            if frame.is_corrupt() || frame.has_decode_errors() {
                count(&shared.frames_concealed);
            }
            take(frame);
        }
    }
}

/// A software decoder of AV1, because FFmpeg's own decoder only drives hardware.
fn av1_decoder() -> Option<ffmpeg::Codec> {
    ["libdav1d", "libaom-av1"].into_iter().find_map(ffmpeg::decoder::find_by_name)
}
