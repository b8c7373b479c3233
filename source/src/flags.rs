//! The command line of `source`, and of any binary that includes it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::{Config, FrameRate};

/// For `--help`, after the flags.
pub const EXAMPLES: &str = "\
Examples:
  source rtmp://127.0.0.1:1935/live --key-file key.txt
  source rtmp://127.0.0.1:1935/live/demo-key --size 1920x1080 --frame-rate 59.94 --bit-rate 6000000
  source rtmps://ingest.example/live --key-file key.txt --keyframe-interval 1000
  source rtmp://127.0.0.1:1935/live --key-file key.txt --file holiday.mp4

The picture shows the wall clock (UTC) as digits, and as two rows of blocks along its lower edge that programs can read at any
size. The sound beeps at the start of each second, higher at the start of each minute. When the server goes away it connects
again. Ctrl-C ends it.";

/// Longest stream key file read, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 4_096;

/// What to publish and where.
#[derive(Clone, clap::Args)]
pub struct Flags {
    /// rtmp:// or rtmps:// URL of server and application, with or without the stream key
    url: String,
    /// Stream key, appended to the URL (others on this machine can see it; see --key-file)
    #[arg(long, env = "SOURCE_KEY", hide_env_values = true, conflicts_with = "key_file")]
    key: Option<String>,
    /// File that holds the stream key
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Loop this file (H.264 and AAC) as it is instead of the pattern
    #[arg(long, conflicts_with_all = ["size", "frame_rate", "keyframe_interval", "bit_rate", "preset", "grain"])]
    file: Option<PathBuf>,
    /// Size of the picture in pixels, both even
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1280x720", value_parser = size)]
    size: (u32, u32),
    /// Frames a second, such as 30, 29.97 or 30000/1001
    #[arg(long, default_value = "30")]
    frame_rate: FrameRate,
    /// Distance of keyframes in milliseconds
    #[arg(long, default_value_t = 2_000)]
    keyframe_interval: u32,
    /// Bits a second of the picture
    #[arg(long, default_value_t = 2_500_000)]
    bit_rate: u64,
    /// x264 preset
    #[arg(long, default_value = "superfast")]
    preset: String,
    /// Film grain, 0 (none) to 64: with 24 or more the picture needs all its bits, as a film does
    #[arg(long, default_value_t = 0)]
    grain: u8,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    parsed.ok_or_else(|| "expected WIDTHxHEIGHT, such as 1280x720".to_owned())
}

impl TryFrom<Flags> for Config {
    type Error = anyhow::Error;

    /// Reads the key file, where there is one.
    fn try_from(flags: Flags) -> anyhow::Result<Self> {
        let key = match (flags.key, &flags.key_file) {
            (Some(key), _) => key,
            (None, Some(path)) => read_key(path)?,
            (None, None) => String::new(),
        };
        Ok(Self {
            url: flags.url,
            key,
            file: flags.file,
            width: flags.size.0,
            height: flags.size.1,
            frame_rate: flags.frame_rate,
            keyframe_interval_ms: flags.keyframe_interval,
            bit_rate: flags.bit_rate,
            preset: flags.preset,
            grain: flags.grain,
        })
    }
}

impl std::fmt::Debug for Flags {
    /// Without URL and key, which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flags").field("size", &self.size).field("frame_rate", &self.frame_rate).finish_non_exhaustive()
    }
}

fn read_key(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("cannot read the stream key from {}", path.display()))?;
    Ok(text.trim().to_owned())
}
