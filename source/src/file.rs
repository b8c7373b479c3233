//! A file that is published over and over, as it is.

use std::path::Path;

use ffmpeg_next as ffmpeg;

use anyhow::{Context as _, bail};
use ffmpeg::{Rational, codec, media};

/// Time base of all packets of a looped file.
pub(crate) const TIME_BASE: Rational = Rational(1, 90_000);

/// Length assumed for the last packet of a round when the file does not say it.
const PACKET_TICKS_ASSUMED: i64 = 3_000;

/// A file, read round by round.
pub(crate) struct Looped {
    input: ffmpeg::format::context::Input,
    streams: Vec<(usize, Rational)>,
    parameters: Vec<codec::Parameters>,
    first: Option<i64>,
    end: i64,
    offset: i64,
    packets_in_round: u64,
}

impl Looped {
    /// Opens a file. Errors when it has neither H.264 nor AAC.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let input = ffmpeg::format::input(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut streams = Vec::new();
        let mut parameters = Vec::new();
        for medium in [media::Type::Video, media::Type::Audio] {
            if let Some(stream) = input.streams().best(medium) {
                if !matches!(stream.parameters().id(), codec::Id::H264 | codec::Id::AAC) {
                    bail!(
                        "{}: {:?} cannot be published as it is, only H.264 and AAC",
                        path.display(),
                        stream.parameters().id()
                    );
                }
                streams.push((stream.index(), stream.time_base()));
                parameters.push(stream.parameters().clone());
            }
        }
        if streams.is_empty() {
            bail!("{}: neither picture nor sound", path.display());
        }
        Ok(Self { input, streams, parameters, first: None, end: 0, offset: 0, packets_in_round: 0 })
    }

    /// Codec parameters of its streams, video first.
    pub(crate) fn parameters(&self) -> &[codec::Parameters] {
        &self.parameters
    }

    /// The next packet: its stream, its decode time since the start of the first round and itself, in [`TIME_BASE`].
    pub(crate) fn next(&mut self) -> anyhow::Result<(usize, i64, ffmpeg::Packet)> {
        loop {
            let mut packet = ffmpeg::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) if self.packets_in_round > 0 => {
                    self.input.seek(i64::MIN, ..).context("cannot start the file over")?;
                    (self.offset, self.packets_in_round) = (self.end, 0);
                    continue;
                }
                Err(error) => return Err(error).context("cannot read the file"),
            }
            let found = self.streams.iter().position(|(stream, _)| *stream == packet.stream());
            let Some((index, base)) = found.and_then(|index| Some((index, self.streams.get(index)?.1))) else {
                continue;
            };
            packet.rescale_ts(base, TIME_BASE);
            let Some(dts) = packet.dts().or_else(|| packet.pts()) else { continue };
            let shift = self.offset - *self.first.get_or_insert(dts);
            let at = dts + shift;
            packet.set_dts(Some(at));
            packet.set_pts(packet.pts().map(|pts| pts + shift));
            let duration = if packet.duration() > 0 { packet.duration() } else { PACKET_TICKS_ASSUMED };
            self.end = self.end.max(at + duration);
            self.packets_in_round += 1;
            return Ok((index, at, packet));
        }
    }
}
