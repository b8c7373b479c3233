//! Real media, which the `ffmpeg` command line makes once per run: small pictures and a tone, split into frames to which scripts give
//! new timestamps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use bytes::Bytes;

use super::chunk::kind;
use super::flv::{self, Packet};
use crate::media::boxes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// 320x180 at 30 frames per second, a keyframe each second, AAC at 48 kHz in stereo. 22 s; the others have 8 s unless stated.
    Normal,
    BFrames,
    /// With keyframes that are not IDR pictures.
    OpenGop,
    /// 256x144.
    Small,
    /// 180x320.
    Portrait,
    /// As `Normal` in another profile, and so with other parameter sets.
    OtherSets,
    /// 30000/1001 frames per second.
    Rate2997,
    /// 60000/1001 frames per second.
    Rate5994,
    /// A keyframe every 250 frames, as OBS sends by default. 18 s.
    Keyframes250,
    /// A keyframe only at the start. 10 s.
    OneKeyframe,
    /// Keyframes at irregular distances, as at changes of scene. 12 s.
    Irregular,
    AllKeyframes,
    /// HEVC, without sound.
    Hevc,
    /// AV1, without sound.
    Av1,
    /// AAC at 44.1 kHz in stereo, without pictures.
    Sound44100,
    /// AAC at 48 kHz, mono.
    Mono,
    /// HE-AAC at 48 kHz in stereo on a core at 24 kHz; its header states only the core.
    HeAac,
    /// HE-AAC v2: as `HeAac`, on a core of one channel.
    HeAacV2,
    /// MP3 at 44.1 kHz.
    Mp3,
    /// 640x360 at 30 frames per second, a keyframe every 2 s, 600 kbit/s with audio. 16 s, which are whole frames of video and audio, so
    /// that it can be sent in a loop.
    Loop,
}

/// A frame of video.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Decode time from the start of the clip, milliseconds.
    pub at_ms: i64,
    /// Presentation time minus decode time, milliseconds.
    pub composition_ms: i32,
    /// Whether the encoder marked it as a keyframe.
    pub key: bool,
    /// Its bytes in a message, after the headers.
    pub data: Bytes,
}

/// A frame of audio.
#[derive(Debug, Clone)]
pub struct Sound {
    /// Time from the start of the clip, milliseconds.
    pub at_ms: i64,
    /// Its bytes in a message, after the headers.
    pub data: Bytes,
}

/// The media of a clip.
#[derive(Debug, Clone, Default)]
pub struct Clip {
    /// Decoder configuration of the video.
    pub picture_config: Bytes,
    /// The pictures in decoding order.
    pub pictures: Vec<Picture>,
    /// AudioSpecificConfig; empty for MP3.
    pub sound_config: Bytes,
    pub sounds: Vec<Sound>,
}

/// The clips of a run. Each is made when it is first requested.
#[derive(Debug)]
pub struct Clips {
    directory: PathBuf,
    made: Mutex<BTreeMap<Name, Arc<Clip>>>,
}

impl Clips {
    /// Makes clips in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), made: Mutex::default() }
    }

    /// A clip. Blocks this caller and all others while a clip is made.
    pub fn get(&self, name: Name) -> anyhow::Result<Arc<Clip>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clip) = made.get(&name) {
            return Ok(Arc::clone(clip));
        }
        let clip = Arc::new(make(&self.directory, name).with_context(|| format!("clip {name:?}"))?);
        made.insert(name, Arc::clone(&clip));
        Ok(clip)
    }
}

/// Settings of the video encoder.
struct Recipe {
    size: &'static str,
    rate: &'static str,
    seconds: u32,
    encoder: &'static str,
}

const X264: &str = "-c:v libx264 -preset ultrafast -g 30 -keyint_min 30 -sc_threshold 0 -b:v 250k";

impl Recipe {
    /// The settings for a clip; `None` for audio alone.
    fn of(name: Name) -> Option<Self> {
        let normal = Self { size: "320x180", rate: "30", seconds: 8, encoder: X264 };
        Some(match name {
            Name::Normal => Self { seconds: 22, ..normal },
            Name::BFrames => {
                Self { encoder: "-c:v libx264 -preset veryfast -bf 2 -g 30 -sc_threshold 0 -b:v 250k", ..normal }
            }
            Name::OpenGop => {
                let encoder =
                    "-c:v libx264 -preset veryfast -bf 2 -g 30 -sc_threshold 0 -b:v 250k -x264-params open-gop=1";
                Self { encoder, ..normal }
            }
            Name::Small => Self { size: "256x144", ..normal },
            Name::Portrait => Self { size: "180x320", ..normal },
            Name::OtherSets => {
                Self { encoder: "-c:v libx264 -preset veryfast -bf 0 -g 30 -sc_threshold 0 -b:v 250k", ..normal }
            }
            Name::Rate2997 => Self { rate: "30000/1001", ..normal },
            Name::Rate5994 => Self {
                rate: "60000/1001",
                encoder: "-c:v libx264 -preset ultrafast -g 60 -keyint_min 60 -sc_threshold 0 -b:v 250k",
                ..normal
            },
            Name::Keyframes250 => Self {
                seconds: 18,
                encoder: "-c:v libx264 -preset ultrafast -g 250 -sc_threshold 0 -b:v 250k",
                ..normal
            },
            Name::OneKeyframe => Self {
                seconds: 10,
                encoder: "-c:v libx264 -preset ultrafast -g 9999 -sc_threshold 0 -b:v 250k",
                ..normal
            },
            Name::Irregular => Self {
                seconds: 12,
                encoder: "-c:v libx264 -preset ultrafast -g 9999 -sc_threshold 0 -b:v 250k -force_key_frames 0.7,1.1,3.4,3.6,4.0,6.9,7.0,9.2,10.4",
                ..normal
            },
            Name::Loop => Self {
                size: "640x360",
                seconds: 16,
                encoder: "-c:v libx264 -preset veryfast -bf 0 -g 60 -keyint_min 60 -sc_threshold 0 -b:v 536k -maxrate 536k -bufsize 536k",
                ..normal
            },
            Name::AllKeyframes => Self { encoder: "-c:v libx264 -preset ultrafast -g 1 -b:v 800k", ..normal },
            Name::Hevc => Self {
                encoder: "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error:keyint=30:min-keyint=30:scenecut=0:bframes=0 -b:v 250k",
                ..normal
            },
            Name::Av1 => Self {
                encoder: "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -g 30 -keyint_min 30 -b:v 250k",
                ..normal
            },
            Name::Sound44100 | Name::Mono | Name::HeAac | Name::HeAacV2 | Name::Mp3 => return None,
        })
    }
}

/// Sample rate, channels and encoder of the audio; `None` without audio from the tone.
fn tone(name: Name) -> Option<(u32, u32, &'static str)> {
    match name {
        Name::Hevc | Name::Av1 | Name::HeAac | Name::HeAacV2 => None,
        Name::Sound44100 => Some((44_100, 2, "-c:a aac -b:a 64k")),
        Name::Mono => Some((48_000, 1, "-c:a aac -b:a 48k")),
        Name::Mp3 => Some((44_100, 2, "-c:a libmp3lame -b:a 64k")),
        _ => Some((48_000, 2, "-c:a aac -b:a 64k")),
    }
}

fn make(directory: &Path, name: Name) -> anyhow::Result<Clip> {
    match name {
        Name::HeAac => {
            return Ok(adts(&Bytes::from_static(include_bytes!("../../testdata/he-aac.aac")), &[0x13, 0x10]));
        }
        Name::HeAacV2 => {
            return Ok(adts(&Bytes::from_static(include_bytes!("../../testdata/he-aac-v2.aac")), &[0x13, 0x08]));
        }
        _ => {}
    }
    let (recipe, tone) = (Recipe::of(name), tone(name));
    let seconds = recipe.as_ref().map_or(8, |recipe| recipe.seconds);
    let enhanced = matches!(name, Name::Hevc | Name::Av1);
    let file = directory.join(format!("{name:?}.{}", if enhanced { "mp4" } else { "flv" }));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]);
    if let Some(Recipe { size, rate, .. }) = &recipe {
        command.args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate={rate}:duration={seconds}")]);
    }
    if let Some((rate, channels, _)) = &tone {
        // All channels have the same tone.
        command.args(["-f", "lavfi", "-i", &format!("sine=frequency=440:sample_rate={rate}:duration={seconds}")]);
        command.args(["-ac", &channels.to_string()]);
    }
    if let Some(Recipe { encoder, .. }) = &recipe {
        command.args(encoder.split(' ')).args(["-pix_fmt", "yuv420p", "-threads", "1"]);
    }
    command.args(tone.iter().flat_map(|(_, _, encoder)| encoder.split(' ')));
    if enhanced {
        command.args(["-movflags", "delay_moov+default_base_moof+frag_every_frame"]);
    }
    let output = command.arg(&file).stdin(Stdio::null()).output().context("ffmpeg is not on the PATH")?;
    ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr).trim());
    let bytes = Bytes::from(std::fs::read(&file)?);
    let clip = if enhanced { fragments(&bytes) } else { file_of_tags(&bytes) };
    ensure!(recipe.is_none() || !clip.pictures.is_empty(), "ffmpeg made no pictures");
    ensure!(tone.is_none() || !clip.sounds.is_empty(), "ffmpeg made no sound");
    Ok(clip)
}

/// Reads a clip from an FLV file.
fn file_of_tags(bytes: &Bytes) -> Clip {
    let mut clip = Clip::default();
    for tag in flv::tags(bytes) {
        let Some(parts) = flv::parts(&tag) else { continue };
        let at_ms = i64::from(tag.stamp_ms);
        let flv::Parts { packet, key, composition_ms, data } = parts;
        match (tag.kind, packet) {
            _ if data.is_empty() => {}
            (kind::VIDEO, Packet::Config) => clip.picture_config = data,
            (kind::VIDEO, Packet::Frame) => clip.pictures.push(Picture { at_ms, composition_ms, key, data }),
            (_, Packet::Config) => clip.sound_config = data,
            (_, Packet::Frame) => clip.sounds.push(Sound { at_ms, data }),
        }
    }
    clip
}

/// Reads a clip from fragmented MP4 with one frame per fragment, 30 frames per second, a keyframe each second and no reordering.
fn fragments(bytes: &Bytes) -> Clip {
    let mut clip = Clip::default();
    for found in boxes::walk(bytes).0 {
        if found.is(b"moov") {
            clip.picture_config =
                [b"hvcC", b"av1C"].into_iter().find_map(|kind| record(found.body, kind)).unwrap_or_default();
        }
        if found.is(b"mdat") {
            let index = i64::try_from(clip.pictures.len()).unwrap_or(i64::MAX);
            let data = Bytes::copy_from_slice(found.body);
            let at_ms = index.saturating_mul(1_000) / 30;
            clip.pictures.push(Picture { at_ms, composition_ms: 0, key: index % 30 == 0, data });
        }
    }
    clip
}

/// Reads the frames of an ADTS file without CRCs (ISO/IEC 14496-3, 1.A.2.2), each of 2048 samples at 48 kHz.
fn adts(bytes: &Bytes, config: &'static [u8]) -> Clip {
    const HEADER_BYTES: usize = 7;
    let mut clip = Clip { sound_config: config.into(), ..Clip::default() };
    let mut at = 0;
    while let Some([_, _, _, high, middle, low, _]) = bytes.get(at..at + HEADER_BYTES) {
        let length = usize::from(high & 3) << 11 | usize::from(*middle) << 3 | usize::from(low >> 5);
        if length < HEADER_BYTES || bytes.len() < at + length {
            break;
        }
        let at_ms = i64::try_from(clip.sounds.len()).unwrap_or(i64::MAX).saturating_mul(2_048 * 1_000) / 48_000;
        clip.sounds.push(Sound { at_ms, data: bytes.slice(at + HEADER_BYTES..at + length) });
        at += length;
    }
    clip
}

/// The body of a decoder configuration box, found by its type anywhere in `bytes`; nothing else there looks like it.
fn record(bytes: &[u8], kind: &[u8; 4]) -> Option<Bytes> {
    let at = bytes.windows(4).position(|window| window == kind)?;
    let size = u32::from_be_bytes(*bytes.get(at.checked_sub(4)?..)?.first_chunk()?);
    let end = at.checked_add(usize::try_from(size).ok()?)?.checked_sub(4)?;
    bytes.get(at + 4..end).map(Bytes::copy_from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffmpeg_makes_every_clip() {
        let directory = tempfile::tempdir().unwrap();
        let clips = Clips::new(directory.path());
        for name in [Name::Normal, Name::Hevc, Name::Av1, Name::Mp3, Name::OpenGop] {
            let clip = clips.get(name).unwrap();
            assert_eq!(clip.pictures.is_empty(), name == Name::Mp3, "{name:?}");
            assert_eq!(clip.picture_config.is_empty(), name == Name::Mp3, "{name:?}");
            assert_eq!(clip.sound_config.is_empty(), matches!(name, Name::Hevc | Name::Av1 | Name::Mp3), "{name:?}");
        }
        let normal = clips.get(Name::Normal).unwrap();
        assert_eq!((normal.pictures.len(), normal.pictures[30].key, normal.pictures[31].key), (660, true, false));
        for name in [Name::HeAac, Name::HeAacV2] {
            let sounds = &clips.get(name).unwrap().sounds;
            assert_eq!((sounds.len(), sounds[186].at_ms), (187, 7_936), "{name:?}");
        }
        let reordered = clips.get(Name::OpenGop).unwrap();
        assert!(reordered.pictures.iter().any(|picture| picture.composition_ms > 0));
    }
}
