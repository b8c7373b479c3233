//! A connection to an RTMP server, through libavformat. All `unsafe` of this crate is here.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ffmpeg_next as ffmpeg;

use anyhow::{Context as _, anyhow, bail};
use ffmpeg::format::context::Output;
use ffmpeg::{Dictionary, codec, ffi};
use tokio_util::sync::CancellationToken;

use crate::time::monotonic;

/// A server that takes no byte for this long counts as gone.
const STALL_MAX: Duration = Duration::from_secs(10);

/// What libavformat asks, while it waits for the network, to know whether to give up.
struct Watch {
    shutdown: CancellationToken,
    deadline: Mutex<Instant>,
}

impl Watch {
    fn restart(&self) {
        *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = monotonic() + STALL_MAX;
    }

    fn over(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.shutdown.is_cancelled() || monotonic() > deadline
    }
}

extern "C" fn interrupted(watch: *mut c_void) -> c_int {
    // SAFETY: libavformat hands back the pointer that `Connection::open` gave it, to a `Watch` that outlives the context.
    let watch = unsafe { &*watch.cast::<Watch>() };
    c_int::from(watch.over())
}

/// A published stream.
pub(crate) struct Connection {
    // Dropped in this order: the context asks the watch while it closes.
    output: Output,
    watch: Box<Watch>,
}

impl Connection {
    /// Connects, asks to publish and writes the header for `streams`. Ends early when `shutdown` is cancelled.
    pub(crate) fn open(
        target: &str,
        streams: &[codec::Parameters],
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let watch = Box::new(Watch { shutdown: shutdown.clone(), deadline: Mutex::new(monotonic() + STALL_MAX) });
        let output = connect(target, &watch)?;
        let mut connection = Self { output, watch };
        for parameters in streams {
            let mut stream = connection.output.add_stream(ffmpeg::encoder::find(codec::Id::None))?;
            stream.set_parameters(parameters.clone());
            clear_tag(&mut stream);
        }
        let mut options = Dictionary::new();
        options.set("flvflags", "no_duration_filesize");
        connection.output.write_header_with(options).context("the server refused the stream")?;
        Ok(connection)
    }

    /// Writes a packet of stream `index`, with times in `base`.
    pub(crate) fn write(
        &mut self,
        index: usize,
        base: ffmpeg::Rational,
        mut packet: ffmpeg::Packet,
    ) -> anyhow::Result<()> {
        self.watch.restart();
        let Some(own) = self.output.stream(index).map(|stream| stream.time_base()) else { bail!("no stream {index}") };
        packet.set_stream(index);
        packet.rescale_ts(base, own);
        packet.set_position(-1);
        packet.write_interleaved(&mut self.output).context("the server does not take the stream any more")
    }

    /// Ends the stream, so that the server sees a clean end.
    pub(crate) fn finish(mut self) {
        self.watch.restart();
        // The server may be gone already; then there is nothing to do.
        let _ = self.output.write_trailer();
    }
}

fn connect(target: &str, watch: &Watch) -> anyhow::Result<Output> {
    let url = CString::new(target).context("a NUL in the URL")?;
    let watch = ptr::from_ref(watch).cast_mut().cast::<c_void>();
    let callback = ffi::AVIOInterruptCB { callback: Some(interrupted), opaque: watch };
    let mut context: *mut ffi::AVFormatContext = ptr::null_mut();
    // SAFETY: `context` receives a fresh context or stays null. The strings live through the calls. The callback's pointer is to a
    // boxed `Watch` that the caller keeps for as long as the context. On success `Output::wrap` owns context and I/O and closes
    // both; on failure to connect there is no I/O and the context is freed here.
    unsafe {
        let code = ffi::avformat_alloc_output_context2(&mut context, ptr::null_mut(), c"flv".as_ptr(), url.as_ptr());
        if code < 0 || context.is_null() {
            return Err(ffmpeg::Error::from(code)).context("no FLV muxer");
        }
        (*context).interrupt_callback = callback;
        let code = ffi::avio_open2(&mut (*context).pb, url.as_ptr(), ffi::AVIO_FLAG_WRITE, &callback, ptr::null_mut());
        if code < 0 {
            ffi::avformat_free_context(context);
            return Err(unconnected(ffmpeg::Error::from(code)));
        }
        Ok(Output::wrap(context))
    }
}

/// Explains why no connection was opened. libavformat keeps the server's text in its own log, and reports each refusal as EPERM.
fn unconnected(error: ffmpeg::Error) -> anyhow::Error {
    match error {
        ffmpeg::Error::Other { errno: ffmpeg::error::EPERM } => {
            anyhow!("the server refused the stream: probably the key is wrong, or the stream is published already")
        }
        error => anyhow::Error::new(error).context("cannot connect"),
    }
}

/// Clears the codec tag: one from another container means nothing in FLV.
fn clear_tag(stream: &mut ffmpeg::StreamMut<'_>) {
    // SAFETY: the stream is alive and borrowed alone; its parameters were set a line before and are never null.
    unsafe {
        let raw = stream.as_mut_ptr();
        (*(*raw).codecpar).codec_tag = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_told_from_a_server_that_is_not_there() {
        let said = |errno| format!("{:#}", unconnected(ffmpeg::Error::Other { errno }));
        assert!(said(ffmpeg::error::EPERM).starts_with("the server refused the stream: probably the key is wrong"));
        assert_eq!(said(ffmpeg::error::ECONNREFUSED), "cannot connect: Connection refused");
    }
}
